//! What all streams share: the newest config of each deployment, loaded once, and what nodes have acknowledged.

use crate::store::{Change, Error, SystemStore};
use castoff_wire::proto::{Position, Signed};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A config on its way to nodes.
#[derive(Debug)]
pub(super) struct Pushed {
    pub(super) position: Position,
    pub(super) signed: Signed,
}

/// What streams look at: the config to be in force; none when the deployment is gone.
pub(super) type Newest = Option<Arc<Pushed>>;

/// Configs are looked for this often, told or not: another replica may have raised one.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Hub {
    pub(super) store: SystemStore,
    newest: Mutex<HashMap<Uuid, watch::Sender<Newest>>>,
    /// (deployment, epoch, version) that a node has acknowledged to this replica.
    acked: Mutex<HashMap<Uuid, (Uuid, u64, u64)>>,
    acks: watch::Sender<u64>,
}

impl Hub {
    pub(super) fn new(store: SystemStore) -> Self {
        let (acks, _) = watch::channel(0);
        Self {
            store,
            newest: Mutex::default(),
            acked: Mutex::default(),
            acks,
        }
    }

    /// The config of a deployment, now and from now on.
    pub(super) async fn follow(&self, deployment_id: Uuid) -> Result<watch::Receiver<Newest>, Error> {
        let receiver = {
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            newest
                .entry(deployment_id)
                .or_insert_with(|| watch::channel(None).0)
                .subscribe()
        };
        // Looked for after subscribing: what is raised in between is told.
        self.load(deployment_id).await?;
        Ok(receiver)
    }

    /// Looks for raised configs until it is told to stop.
    pub(super) async fn watch(self: Arc<Self>, stopping: CancellationToken) {
        let mut changes = self.store.changes();
        loop {
            let told = tokio::select! {
                () = stopping.cancelled() => return,
                told = changes.recv() => told.ok(),
                () = tokio::time::sleep(LOOK) => None,
            };
            let looked = match told {
                Some(Change::Config(id) | Change::Deployment(id)) if self.is_followed(id) => self.load(id).await,
                Some(_) => continue,
                None => self.look().await,
            };
            if let Err(error) = looked {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "configs could not be looked for"
                );
            }
        }
    }

    fn is_followed(&self, deployment_id: Uuid) -> bool {
        self.newest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&deployment_id)
    }

    /// Compares every followed deployment's position with the database; forgets those that nobody follows.
    async fn look(&self) -> Result<(), Error> {
        let followed: Vec<(Uuid, Option<(u64, u64)>)> = {
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            newest.retain(|_, sender| sender.receiver_count() > 0);
            let position = |newest: &Newest| {
                newest
                    .as_ref()
                    .map(|pushed| (pushed.position.epoch, pushed.position.version))
            };
            newest
                .iter()
                .map(|(id, sender)| (*id, position(&sender.borrow())))
                .collect()
        };
        if followed.is_empty() {
            return Ok(());
        }
        let stored: HashMap<Uuid, (u64, u64)> = self
            .store
            .config_positions()
            .await?
            .into_iter()
            .map(|(id, epoch, version)| (id, (epoch, version)))
            .collect();
        for (id, known) in followed {
            if stored.get(&id) != known.as_ref() {
                self.load(id).await?;
            }
        }
        Ok(())
    }

    async fn load(&self, deployment_id: Uuid) -> Result<(), Error> {
        let stored = self.store.config(deployment_id).await?;
        let pushed = stored.map(|stored| {
            Arc::new(Pushed {
                position: Position {
                    epoch: stored.epoch,
                    version: stored.version,
                    digest: stored.digest,
                },
                signed: Signed {
                    config: stored.config,
                    key_id: stored.key_id,
                    signature: stored.signature,
                },
            })
        });
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = newest.get(&deployment_id) {
            sender.send_if_modified(|before| {
                let order = |newest: &Newest| {
                    newest
                        .as_ref()
                        .map(|pushed| (pushed.position.epoch, pushed.position.version))
                };
                // Two loads may overtake each other; only a deletion takes a config away.
                let newer = pushed.is_none() && before.is_some() || order(&pushed) > order(before);
                if newer {
                    before.clone_from(&pushed);
                }
                newer
            });
        }
        Ok(())
    }

    /// Notes that a node has a config in force.
    pub(super) fn note_ack(&self, node_id: Uuid, deployment_id: Uuid, position: &Position) {
        let mut acked = self.acked.lock().unwrap_or_else(PoisonError::into_inner);
        acked.insert(node_id, (deployment_id, position.epoch, position.version));
        drop(acked);
        self.acks.send_modify(|count| *count += 1);
    }

    /// Forgets what a node said on a stream that has ended.
    pub(super) fn forget_acks(&self, node_id: Uuid) {
        self.acked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&node_id);
    }

    /// What a node has acknowledged to this replica.
    pub(super) fn acked(&self, node_id: Uuid, deployment_id: Uuid) -> Option<(u64, u64)> {
        let acked = self.acked.lock().unwrap_or_else(PoisonError::into_inner);
        acked
            .get(&node_id)
            .filter(|(of, ..)| *of == deployment_id)
            .map(|(_, epoch, version)| (*epoch, *version))
    }

    /// Wakes at every acknowledgement.
    pub(super) fn acks(&self) -> watch::Receiver<u64> {
        self.acks.subscribe()
    }
}
