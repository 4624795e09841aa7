//! How many nodes share the rate limits of a deployment, as its nodes are told.
//!
//! Pure. More is told at once, for together they would let in too much; fewer only when it has been so for a while: nodes
//! that dial again after an outage are not counted for a moment, and a rollout has one more now and then. The rule a
//! newcomer would break: this is in no config. It changes with every pod that comes or goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// As long as a node may be silent before it is taken for lost.
const STEADY: Duration = Duration::from_secs(10);

/// What the nodes of a deployment are told now; 0 before any was counted.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<AtomicU32>);

impl Told {
    pub(super) fn nodes(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the nodes of a deployment are told, and since when it is too many.
#[derive(Default)]
pub(super) struct Share {
    told: Told,
    fewer_since: Option<Instant>,
}

impl Share {
    pub(super) fn told(&self) -> Told {
        self.told.clone()
    }

    /// So many nodes take calls now. Where none does, one is about to.
    pub(super) fn count(&mut self, nodes: u32, now: Instant) {
        let nodes = nodes.max(1);
        if nodes < self.told.nodes() {
            let since = *self.fewer_since.get_or_insert(now);
            if now.saturating_duration_since(since) < STEADY {
                return;
            }
        }
        self.fewer_since = None;
        self.told.0.store(nodes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_told_at_once_and_fewer_when_it_stays_so() {
        let mut share = Share::default();
        let (told, began) = (share.told(), Instant::now());
        assert_eq!(told.nodes(), 0);
        for (seconds, nodes, expected) in [
            (0, 0, 1),
            (1, 3, 3),
            // An outage: they are back before it is taken for the truth.
            (2, 0, 3),
            (11, 1, 3),
            (12, 3, 3),
            (13, 2, 3),
            (22, 2, 3),
            (23, 2, 2),
            (24, 5, 5),
            (25, 4, 5),
            (34, 3, 5),
            (35, 3, 3),
        ] {
            share.count(nodes, began + Duration::from_secs(seconds));
            assert_eq!(told.nodes(), expected, "after {seconds} s");
        }
    }
}
