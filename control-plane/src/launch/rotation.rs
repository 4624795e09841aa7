//! The end of old node tokens: when every node has the new one, and it lies where nodes boot from.
//!
//! Apart from the launchers, since it is the same for every kind of infrastructure.

use super::{Leave, now_and_then};
use crate::lease::Terms;
use crate::store::{Acting, Error, SystemStore};
use std::time::Duration;
use tokio::sync::watch;

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Lets old tokens end in the terms of this control plane, until it leaves.
pub async fn run(store: SystemStore, terms: Terms, leave: watch::Receiver<Leave>) {
    let (every, otherwise) = (LOOK_EVERY, "old node tokens were not ended");
    now_and_then(every, store, terms, leave, look, otherwise).await;
}

async fn look(acting: Acting) -> Result<(), Error> {
    for (deployment, newest) in acting.system().rotated().await? {
        let end = acting.end_tokens_before(deployment, newest).await?;
        let message = format!("all nodes have the new node token; the old one ends at {end}");
        acting.note_event(deployment, "node-token-rotated", &message).await?;
    }
    Ok(())
}
