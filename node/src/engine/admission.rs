//! How many calls may be inside a model at once: one per session runs, `queue` more wait, the next is sent away at once.
//!
//! Apart from the channel to the threads, which has no bound of its own, so that the bound can change in place. The
//! rule a newcomer would break: a place is held until the caller has its answer, not until its job is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What is inside a model now.
pub struct Load {
    sessions: usize,
    inside: AtomicUsize,
    /// Nanoseconds of the last run; none yet is as long as can be.
    last_run: AtomicU64,
}

impl Load {
    pub(super) fn new(sessions: usize) -> Self {
        Self {
            sessions,
            inside: AtomicUsize::new(0),
            last_run: AtomicU64::new(u64::MAX),
        }
    }

    /// Sessions, hence calls that can run at once.
    pub fn sessions(&self) -> usize {
        self.sessions
    }

    /// Calls inside: running or waiting.
    pub fn in_flight(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }

    /// Calls that wait for a session.
    pub fn queued(&self) -> usize {
        self.in_flight().saturating_sub(self.sessions)
    }

    /// Notes how long a run took.
    pub(super) fn ran(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.last_run.store(nanoseconds, Ordering::Relaxed);
    }

    /// Whether the one call inside is likely to be through within so long.
    pub(super) fn is_alone_and_quick(&self, most: Duration) -> bool {
        self.in_flight() == 1 && Duration::from_nanos(self.last_run.load(Ordering::Relaxed)) <= most
    }

    /// A place inside, given back when dropped; `None` when all are taken.
    pub(super) fn enter(load: &Arc<Self>, queue: usize) -> Option<Place> {
        let most = load.sessions.saturating_add(queue);
        load.inside
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |inside| {
                (inside < most).then_some(inside + 1)
            })
            .is_ok()
            .then(|| Place(Arc::clone(load)))
    }
}

/// A call's place inside a model.
pub(super) struct Place(Arc<Load>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_what_comes_on_top_of_the_sessions() {
        let load = Arc::new(Load::new(2));
        let mut places: Vec<_> = (0..5).map_while(|_| Load::enter(&load, 1)).collect();
        assert_eq!((places.len(), load.in_flight(), load.queued()), (3, 3, 1));
        places.pop();
        assert!(Load::enter(&load, 1).is_some());
        assert!(Load::enter(&load, 0).is_none());
        places.clear();
        assert_eq!(load.in_flight(), 0);
    }

    #[test]
    fn only_one_call_alone_at_a_quick_model_is_worth_waiting_for() {
        let (load, quick) = (Arc::new(Load::new(2)), Duration::from_micros(50));
        let one = Load::enter(&load, 0);
        assert!(!load.is_alone_and_quick(quick), "nothing has run");
        load.ran(Duration::from_micros(51));
        assert!(!load.is_alone_and_quick(quick));
        load.ran(quick);
        assert!(load.is_alone_and_quick(quick));
        let other = Load::enter(&load, 0);
        assert!(!load.is_alone_and_quick(quick));
        drop((one, other));
    }
}
