//! How many calls may be inside a model at once: one per session runs, `queue` more wait, the next is sent away at once.
//!
//! Apart from the channel to the threads, which has no bound of its own, so that the bound can change in place. The
//! rule a newcomer would break: a place is held until the caller has its answer, not until its job is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A run that takes no longer is made by whoever asks for it, on the spot. Handing it to another thread and being woken by
/// that takes 20 to 60 µs on an idle core (`make bench ONLY=iris`), during which nobody else's call is answered faster.
const QUICK: Duration = Duration::from_micros(50);

/// So many slow runs in a row are not quick any more. Fewer can be the machine's: a thread that is interrupted in its run
/// gets its core back after milliseconds, and the calls that were then handed over interrupted others in turn.
const SLOW_RUNS: usize = 3;

/// What is inside a model now.
pub struct Load {
    sessions: usize,
    inside: AtomicUsize,
    /// Inputs that are smaller run quickly: larger than what did, no larger than what did not since.
    quick_below: AtomicUsize,
    /// Slow runs in a row of inputs that count as quick, and the smallest of those inputs.
    slow_runs: AtomicUsize,
    slow_from: AtomicUsize,
}

impl Load {
    pub(super) fn new(sessions: usize) -> Self {
        Self {
            sessions,
            inside: AtomicUsize::new(0),
            quick_below: AtomicUsize::new(0),
            slow_runs: AtomicUsize::new(0),
            slow_from: AtomicUsize::new(usize::MAX),
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

    /// Notes how long a run took on inputs of this size.
    pub(crate) fn ran(&self, size: usize, took: Duration) {
        if took <= QUICK {
            self.quick_below.fetch_max(size.saturating_add(1), Ordering::Relaxed);
            if size >= self.slow_from.load(Ordering::Relaxed) {
                self.forget_slow();
            }
        } else if self.is_quick(size) {
            let from = self.slow_from.fetch_min(size, Ordering::Relaxed).min(size);
            if self.slow_runs.fetch_add(1, Ordering::Relaxed) + 1 >= SLOW_RUNS {
                self.quick_below.fetch_min(from, Ordering::Relaxed);
                self.forget_slow();
            }
        }
    }

    fn forget_slow(&self) {
        self.slow_runs.store(0, Ordering::Relaxed);
        self.slow_from.store(usize::MAX, Ordering::Relaxed);
    }

    /// Whether a run on inputs of this size is likely to be quick.
    pub fn is_quick(&self, size: usize) -> bool {
        size < self.quick_below.load(Ordering::Relaxed)
    }

    /// So many elements may be tried at once: twice as many as were quick are slow at worst, and tell whether they are quick.
    pub(super) fn reach(&self) -> usize {
        self.quick_below
            .load(Ordering::Relaxed)
            .saturating_sub(1)
            .saturating_mul(2)
    }

    fn places(&self, queue: usize) -> usize {
        self.sessions.saturating_add(queue)
    }

    /// Whether a call that came now would find all places taken.
    pub(super) fn is_full(&self, queue: usize) -> bool {
        self.in_flight() >= self.places(queue)
    }

    /// A place inside, given back when dropped; `None` when all are taken.
    pub(super) fn enter(load: &Arc<Self>, queue: usize) -> Option<Place> {
        let most = load.places(queue);
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
        assert!(load.is_full(1) && !load.is_full(2));
        places.pop();
        assert!(!load.is_full(1));
        assert!(Load::enter(&load, 1).is_some());
        assert!(Load::enter(&load, 0).is_none());
        places.clear();
        assert_eq!(load.in_flight(), 0);
    }

    #[test]
    fn what_is_no_larger_than_what_was_quick_is_quick() {
        let (load, slow) = (Load::new(1), QUICK + Duration::from_nanos(1));
        let slowly = |size| (0..SLOW_RUNS).for_each(|_| load.ran(size, slow));
        assert!(!load.is_quick(0), "nothing has run");
        load.ran(4, QUICK);
        assert!(load.is_quick(0) && load.is_quick(4) && !load.is_quick(5));
        slowly(400);
        assert!(load.is_quick(4));
        slowly(4);
        assert!(!load.is_quick(4) && load.is_quick(3));
        load.ran(8, QUICK);
        assert!(load.is_quick(8));
    }

    #[test]
    fn a_run_that_was_interrupted_is_still_quick() {
        let (load, slow) = (Load::new(1), QUICK + Duration::from_nanos(1));
        load.ran(8, QUICK);
        for _ in 1..SLOW_RUNS {
            load.ran(8, slow);
        }
        assert!(load.is_quick(8), "one short of a row");
        load.ran(4, QUICK);
        load.ran(6, slow);
        assert!(
            !load.is_quick(6) && load.is_quick(5),
            "smaller inputs say nothing of larger ones"
        );
        load.ran(8, QUICK);
        load.ran(8, slow);
        load.ran(8, QUICK);
        for _ in 1..SLOW_RUNS {
            load.ran(8, slow);
        }
        assert!(load.is_quick(8), "the row was broken");
    }
}
