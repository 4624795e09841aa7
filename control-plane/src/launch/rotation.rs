//! The end of old node tokens: when every node has the new one, and it lies where nodes boot from.
//!
//! Apart from the launchers, since it is the same for every kind of infrastructure.

use super::{Launcher, Leave};
use crate::lease::{Term, Terms};
use crate::store::{Error, SystemStore};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Lets old tokens end.
pub struct Rotation {
    store: SystemStore,
}

impl Rotation {
    /// Of the deployments in this store.
    pub fn new(store: SystemStore) -> Self {
        Self { store }
    }

    async fn look(&self, term: &Term) -> Result<(), Error> {
        let acting = self.store.acting(term.number());
        for (deployment, newest) in self.store.rotated().await? {
            let end = acting.end_tokens_before(deployment, newest).await?;
            let message = format!("all nodes have the new node token; the old one ends at {end}");
            acting.note_event(deployment, "node-token-rotated", &message).await?;
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Launcher for Rotation {
    async fn run(self: Box<Self>, terms: Terms, mut leave: watch::Receiver<Leave>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = leave.wait_for(|leave| *leave != Leave::Stay) => return,
                _ = look.tick() => {}
            }
            let Some(term) = terms.borrow().clone() else { continue };
            if let Err(error) = self.look(&term).await {
                tracing::warn!(%error, "old node tokens were not ended");
            }
        }
    }
}
