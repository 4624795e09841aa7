//! Who looks after callers that run a quick model themselves: a run that is not quick after all is stopped.
//!
//! Without it such a run would keep a thread of the runtime for as long as it likes, and with it everybody whose turn it
//! is there: other calls, the stream of the control plane, a revocation. The rule a newcomer would break: a run is shown
//! before it is announced, so that a look that saw nothing new can be the last.

use super::seat::Seat;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// A run that a caller makes itself is stopped after so long, a hundred times what it was expected to take.
pub(super) const OVERDUE: Duration = Duration::from_millis(5);
/// Between two looks, while there are such runs. When there are none, nobody looks.
const LOOK: Duration = Duration::from_millis(5);

/// The sessions that are looked after, by one thread.
#[derive(Default)]
pub(super) struct Watch {
    seats: Mutex<Vec<Weak<Seat>>>,
    /// Runs that were announced.
    begun: AtomicU64,
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Watch {
    /// Starts the thread. It ends with what is returned.
    pub(super) fn start() -> Result<Arc<Self>, String> {
        let watch = Arc::new(Self::default());
        let watching = Arc::downgrade(&watch);
        let thread = thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || look(&watching))
            .map_err(|error| format!("no thread to look after quick runs: {error}"))?;
        let _ = watch.thread.set(thread.thread().clone());
        Ok(watch)
    }

    /// Looks after this session from now on, for as long as it is there.
    pub(super) fn add(&self, seat: &Arc<Seat>) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|seat| seat.strong_count() > 0);
        seats.push(Arc::downgrade(seat));
    }

    /// A run that is to be looked after has begun, and its session shows it.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Stops what is overdue. Whether anything goes on that will have to be looked at again.
    fn stop_overdue(&self) -> bool {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // Every one is looked at, whatever the others say.
        seats
            .iter()
            .filter_map(Weak::upgrade)
            .map(|seat| seat.stop_overdue(now))
            .fold(false, |any, one| any | one)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.wake();
    }
}

fn look(watch: &Weak<Watch>) {
    let mut seen = 0;
    while let Some(watching) = watch.upgrade() {
        let goes_on = watching.stop_overdue();
        let begun = watching.begun.load(Ordering::SeqCst);
        if goes_on || begun != seen {
            seen = begun;
            drop(watching);
            thread::sleep(LOOK);
            continue;
        }
        watching.asleep.store(true, Ordering::SeqCst);
        if watching.begun.load(Ordering::SeqCst) == seen {
            drop(watching);
            thread::park();
        }
    }
}
