//! A session and its brake: one run at a time, on whatever thread has taken it.
//!
//! Apart from the threads, since a quick model is run by its caller. The rule a newcomer would break: a brake is pulled and
//! released only under the lock of the run that goes on, so that none meets the next one.

use super::admission::Load;
use super::ort::{Brake, Loaded, RunFailure};
use super::{Output, Tensor, Unanswered};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A session of a model.
pub(super) struct Seat {
    session: Mutex<Loaded>,
    /// Threads that wait for the session. They are let in before callers who run it themselves.
    wanted: AtomicUsize,
    brake: Brake,
    current: Mutex<Current>,
    load: Arc<Load>,
    runs: Arc<AtomicU64>,
    seconds: metrics::Histogram,
}

/// The run that goes on.
#[derive(Default)]
struct Current {
    run: Option<u64>,
    /// When it is to be stopped by whoever looks.
    until: Option<Instant>,
}

/// How a run ended.
pub(super) enum Ended {
    /// By itself.
    Answered(Result<Vec<Output>, Unanswered>),
    /// Its brake was pulled.
    Stopped,
}

/// A taken session.
pub(super) struct Taken<'a> {
    seat: &'a Seat,
    session: MutexGuard<'a, Loaded>,
}

impl Seat {
    pub(super) fn new(
        session: Loaded,
        load: Arc<Load>,
        runs: Arc<AtomicU64>,
        seconds: metrics::Histogram,
    ) -> Result<Self, String> {
        Ok(Self {
            session: Mutex::new(session),
            wanted: AtomicUsize::new(0),
            brake: Brake::new()?,
            current: Mutex::default(),
            load,
            runs,
            seconds,
        })
    }

    /// Takes it, and waits for whoever has it.
    pub(super) fn take(&self) -> Taken<'_> {
        self.wanted.fetch_add(1, Ordering::Relaxed);
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        self.wanted.fetch_sub(1, Ordering::Relaxed);
        Taken { seat: self, session }
    }

    /// Takes it if nobody has it or waits for it.
    pub(super) fn try_take(&self) -> Option<Taken<'_>> {
        if self.wanted.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let session = self.session.try_lock().ok()?;
        Some(Taken { seat: self, session })
    }

    /// Stops this run, when it goes on.
    pub(super) fn stop(&self, run: u64) {
        let current = self.current();
        if current.run == Some(run) {
            self.brake.pull();
        }
    }

    /// Stops the run that goes on, when it should have ended by now. Whether there is one that has such a time.
    pub(super) fn stop_overdue(&self, now: Instant) -> bool {
        let current = self.current();
        if current.until.is_some_and(|until| until <= now) {
            self.brake.pull();
        }
        current.until.is_some()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken<'_> {
    /// Runs the model. `begun` is told the run's number, for [`Seat::stop`], and says whether it is still wanted; whoever
    /// looks stops it after `most`.
    pub(super) fn run(&mut self, inputs: &[Tensor], most: Option<Duration>, begun: impl FnOnce(u64) -> bool) -> Ended {
        let seat = self.seat;
        let run = seat.runs.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        *seat.current() = Current {
            run: Some(run),
            until: most.map(|most| started + most),
        };
        let outcome = if begun(run) {
            let outcome = catch_unwind(AssertUnwindSafe(|| self.session.run(inputs, &seat.brake)));
            let took = started.elapsed();
            seat.load.ran(size(inputs), took);
            seat.seconds.record(took);
            outcome
        } else {
            Ok(Err(RunFailure::Stopped))
        };
        let mut current = seat.current();
        *current = Current::default();
        seat.brake.release();
        drop(current);
        Ended::Answered(match outcome {
            Ok(Ok(outputs)) => Ok(outputs),
            Ok(Err(RunFailure::Input(reason))) => Err(Unanswered::Input(reason)),
            Ok(Err(RunFailure::Output(reason))) => Err(Unanswered::Output(reason)),
            Ok(Err(RunFailure::Stopped)) => return Ended::Stopped,
            Err(_) => {
                tracing::error!("a run of the model panicked");
                Err(Unanswered::Broken("the model broke on this input".to_owned()))
            }
        })
    }
}

/// How much there is to read in all of them.
pub(super) fn size(inputs: &[Tensor]) -> usize {
    inputs.iter().map(Tensor::size).sum()
}
