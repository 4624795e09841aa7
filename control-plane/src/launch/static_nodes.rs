//! Nodes that an operator starts, with a join document from `POST …/node-tokens`.
//!
//! There is nothing to launch. A deployment waits until the first of its nodes is on the line, and a node is known by
//! what it says of itself only. The rule a newcomer would break: silence does not prove that such a node has ended, so it
//! stays in the list as lost, and in receipts as pending, for a day.

use super::{Leave, now_and_then};
use crate::lease::Terms;
use crate::store::{Acting, SystemStore};
use std::time::Duration;
use tokio::sync::watch;

/// A node that has been silent for a day may be listed some minutes longer.
const LOOK_EVERY: Duration = Duration::from_secs(300);

/// Forgets static nodes that have been silent for a day, in the terms of this control plane, until it leaves.
pub async fn run(store: SystemStore, terms: Terms, leave: watch::Receiver<Leave>) {
    let look = |acting: Acting| async move { acting.forget_silent_nodes().await };
    let (every, otherwise) = (LOOK_EVERY, "silent nodes were not forgotten");
    now_and_then(every, store, terms, leave, look, otherwise).await;
}
