//! Receipts: which node has a change, and which not yet.

use super::hub::Hub;
use crate::store::{Change, Error, Progress};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::Instant;
use uuid::Uuid;

/// How far a config has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The deployment.
    pub deployment_id: Uuid,
    /// Of the config.
    pub epoch: u64,
    /// Of the config.
    pub version: u64,
    /// Nodes that have it, or a newer one, in force and on their disk.
    pub acked: Vec<Uuid>,
    /// Nodes that do not, and are not proven to have ended.
    pub pending: Vec<Uuid>,
    /// Nodes write their durable copy before they acknowledge: true when none is pending, and on Kubernetes the Secret that
    /// pods boot from has it, too.
    pub durable_copy_written: bool,
    /// Since the question.
    pub elapsed_ms: u64,
}

/// Answers how far a config has come.
#[derive(Clone)]
pub struct Receipts {
    hub: Arc<Hub>,
}

/// An acknowledgement may come to another replica, and be seen in the database only.
const LOOK: Duration = Duration::from_millis(250);

impl Receipts {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// Waits until every node has a config, at most for `wait`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn wait(&self, deployment_id: Uuid, config: (u64, u64), wait: Duration) -> Result<Receipt, Error> {
        let start = Instant::now();
        let until = start + wait;
        let mut changes = self.hub.store.changes();
        loop {
            let nodes = self.hub.store.progress(deployment_id).await?;
            let (acked, pending) = self.split(deployment_id, config, &nodes);
            let copied = self.hub.store.is_copied(deployment_id, config).await?;
            if (pending.is_empty() && copied) || Instant::now() >= until {
                return Ok(Receipt {
                    deployment_id,
                    epoch: config.0,
                    version: config.1,
                    durable_copy_written: pending.is_empty() && copied,
                    acked,
                    pending,
                    elapsed_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
                });
            }
            // Acknowledgements are heard in memory: to ask the database at each of a thousand would take longer than the
            // push. The last one, or the time, asks again.
            let look = until.min(Instant::now() + LOOK);
            if pending.is_empty() {
                let written = copied_here(&mut changes, deployment_id);
                let _ = tokio::time::timeout_at(look, written).await;
                continue;
            }
            let wait = self.hub.sessions.wait_for(deployment_id, config, pending);
            let _ = tokio::time::timeout_at(look, wait.all_have_it()).await;
        }
    }

    /// The nodes that are not proven to have ended, by whether they have a config or a newer one.
    fn split(&self, deployment_id: Uuid, config: (u64, u64), nodes: &[Progress]) -> (Vec<Uuid>, Vec<Uuid>) {
        let mut here = self.hub.sessions.on_line(deployment_id);
        let (mut acked, mut pending) = (Vec::with_capacity(nodes.len()), Vec::new());
        let mut add = |id, newest: Option<(u64, u64)>| match newest >= Some(config) {
            true => acked.push(id),
            false => pending.push(id),
        };
        for node in nodes {
            let said = here.remove(&node.id);
            if !node.ended {
                add(node.id, said.flatten().max(node.acked));
            }
        }
        // On the line, and not yet written down.
        here.into_iter().for_each(|(id, said)| add(id, said));
        (acked, pending)
    }
}

/// Waits until this control plane has written a deployment's config where its nodes boot from, or may have.
async fn copied_here(changes: &mut broadcast::Receiver<Change>, deployment: Uuid) {
    loop {
        match changes.recv().await {
            Ok(Change::Copy(id)) if id == deployment => return,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            // The time alone ends it.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
