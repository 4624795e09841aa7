//! Nodes that an operator starts, with a join document from `POST …/node-tokens`.
//!
//! There is nothing to launch. A deployment waits until the first of its nodes is on the line, and a node is known by
//! what it says of itself only. The rule a newcomer would break: silence does not prove that such a node has ended, so it
//! stays in the list as lost, and in receipts as pending, for a day.

use super::{Launcher, Leave};
use crate::lease::Terms;
use crate::store::SystemStore;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// A node that has been silent for a day may be listed some minutes longer.
const LOOK_EVERY: Duration = Duration::from_secs(300);

/// Forgets static nodes that have been silent for a day.
pub struct StaticNodes {
    store: SystemStore,
}

impl StaticNodes {
    /// For the nodes in this store.
    pub fn new(store: SystemStore) -> Self {
        Self { store }
    }
}

#[async_trait::async_trait]
impl Launcher for StaticNodes {
    async fn run(self: Box<Self>, terms: Terms, mut leave: watch::Receiver<Leave>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = leave.wait_for(|leave| *leave != Leave::Stay) => return,
                _ = look.tick() => {}
            }
            let Some(term) = terms.borrow().clone() else { continue };
            if let Err(error) = self.store.acting(term.number()).forget_silent_nodes().await {
                tracing::warn!(%error, "silent nodes were not forgotten");
            }
        }
    }
}
