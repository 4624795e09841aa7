//! Launching: from deployments that are wanted to processes that run.
//!
//! Apart from the push, which tells a running node what to serve: a launcher only sees to it that there are as many nodes
//! as wanted, and none besides. The rule a newcomer would break: what the launcher is going to start is recorded before it
//! is started, so that no process is ever forgotten.

mod addresses;
mod book;
pub mod kubernetes;
pub mod local;
pub mod rotation;
pub mod static_nodes;

pub use addresses::AddressSource;
pub use book::{JoinSource, NodeBook, StoredTokens, Wanted};
pub use local::logs::NodeLogs;

use crate::lease::Terms;
use crate::store::{Acting, Error, SystemStore};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// What becomes of the nodes when the control plane leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The control plane does not leave.
    Stay,
    /// Nodes go on; the control plane that comes back adopts them.
    WithoutNodes,
    /// Nodes are stopped first (`serve --stop-nodes`).
    WithNodes,
}

/// One kind of infrastructure: whatever starts its nodes and takes them away.
#[async_trait::async_trait]
pub trait Launcher: Send {
    /// Works in the terms of this control plane until it leaves, and has done then what is to become of the nodes.
    async fn run(self: Box<Self>, terms: Terms, leave: watch::Receiver<Leave>);
}

/// Does what needs no launching, every so often in the terms of this control plane, until it leaves; and says what was not
/// done when it fails.
async fn now_and_then<F: Future<Output = Result<(), Error>>>(
    every: Duration,
    store: SystemStore,
    terms: Terms,
    mut leave: watch::Receiver<Leave>,
    look: impl Fn(Acting) -> F,
    otherwise: &'static str,
) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = leave.wait_for(|leave| *leave != Leave::Stay) => return,
            _ = ticks.tick() => {}
        }
        let Some(term) = terms.borrow().clone() else { continue };
        if let Err(error) = look(store.acting(term.number())).await {
            tracing::warn!(%error, "{otherwise}");
        }
    }
}
