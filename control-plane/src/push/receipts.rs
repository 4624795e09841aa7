//! Receipts: which node has a change, and which not yet.

use super::hub::Hub;
use super::sessions::NodeKey;
use crate::store::{Error, Node};
use std::sync::Arc;
use std::time::Duration;
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
    /// Nodes write their durable copy before they acknowledge: true when none is pending.
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
        let mut acks = self.hub.sessions.acks();
        loop {
            let nodes = self.hub.store.nodes(deployment_id).await?;
            let (acked, pending) = self.split(deployment_id, config, &nodes);
            if pending.is_empty() || Instant::now() >= until {
                return Ok(Receipt {
                    deployment_id,
                    epoch: config.0,
                    version: config.1,
                    durable_copy_written: pending.is_empty(),
                    acked,
                    pending,
                    elapsed_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
                });
            }
            // An acknowledgement is looked for among those nodes in memory: to ask the database at each of a thousand
            // would take longer than the push. The last one, or the time, asks again.
            let rest = async {
                while acks.changed().await.is_ok() {
                    if self.split(deployment_id, config, &nodes).1.is_empty() {
                        return;
                    }
                }
            };
            let _ = tokio::time::timeout_at(until.min(Instant::now() + LOOK), rest).await;
        }
    }

    fn split(&self, deployment_id: Uuid, config: (u64, u64), nodes: &[Node]) -> (Vec<Uuid>, Vec<Uuid>) {
        let has = |node: &Node| {
            let node_key = NodeKey {
                deployment_id,
                node_id: node.id,
            };
            let newest = self.hub.sessions.acked(node_key).max(node.acked);
            newest.is_some_and(|acked| acked >= config)
        };
        let living = nodes.iter().filter(|node| !is_ended(node));
        let (acked, pending): (Vec<&Node>, Vec<&Node>) = living.partition(|node| has(node));
        let ids = |nodes: Vec<&Node>| nodes.into_iter().map(|node| node.id).collect();
        (ids(acked), ids(pending))
    }
}

/// Whether a node is proven to have ended: its launcher saw its process end and has started no other, and nobody is on
/// the line under its name. One that has no process yet may be about to have one. A static node proves nothing.
fn is_ended(node: &Node) -> bool {
    node.launched && node.pid.is_none() && node.last_exit.is_some() && !node.connected
}
