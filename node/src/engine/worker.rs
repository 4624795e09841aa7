//! The threads of a model: each owns a session and takes jobs from one channel.
//!
//! A thread and not a pool of futures, since a run is `&mut` and blocks. The rule a newcomer would break: a worker
//! outlives whatever a job does to it; a panic is that job's answer.

use super::admission::Load;
use super::ort::{Brake, Loaded, RunFailure};
use super::{Output, Tensor, Unanswered};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// Tensors on their way to a session, and where the answer goes.
pub(super) struct Job {
    inputs: Vec<Tensor>,
    deadline: Instant,
    reply: oneshot::Sender<Result<Vec<Output>, Unanswered>>,
    cab: Arc<OnceLock<Running>>,
}

/// The caller's end of a job. Dropping it ends the job, in the queue or in a session.
pub(super) struct Answer {
    reply: oneshot::Receiver<Result<Vec<Output>, Unanswered>>,
    cab: Arc<OnceLock<Running>>,
    done: bool,
}

/// Which run of which worker a job became.
struct Running {
    cab: Arc<Cab>,
    run: u64,
}

/// What a caller can reach of a worker: its brake, for as long as the caller's own run lasts.
struct Cab {
    brake: Brake,
    /// The run that goes on. A brake is pulled and released only under this lock, so that none meets the wrong run.
    current: Mutex<Option<u64>>,
}

impl Job {
    pub(super) fn new(inputs: Vec<Tensor>, deadline: Instant) -> (Self, Answer) {
        let (reply, answer) = oneshot::channel();
        let cab = Arc::new(OnceLock::new());
        (
            Self {
                inputs,
                deadline,
                reply,
                cab: Arc::clone(&cab),
            },
            Answer {
                reply: answer,
                cab,
                done: false,
            },
        )
    }
}

impl Answer {
    pub(super) async fn wait(&mut self) -> Result<Vec<Output>, Unanswered> {
        let answer = (&mut self.reply).await;
        self.done = true;
        answer.unwrap_or_else(|_| Err(ended()))
    }

    /// Waits on the spot, at most so long. A task that is put aside has to be woken by the model's thread, and the
    /// runtime then wakes a second thread of its own to look for more: three switches, which take longer than the run of
    /// a small model.
    pub(super) fn wait_briefly(&mut self, most: Duration) -> Option<Result<Vec<Output>, Unanswered>> {
        let end = Instant::now() + most;
        let answer = loop {
            match self.reply.try_recv() {
                Ok(answer) => break answer,
                Err(TryRecvError::Closed) => break Err(ended()),
                Err(TryRecvError::Empty) if Instant::now() >= end => return None,
                // Where there is but one core, it is the model's turn.
                Err(TryRecvError::Empty) => std::thread::yield_now(),
            }
        };
        self.done = true;
        Some(answer)
    }
}

fn ended() -> Unanswered {
    Unanswered::Broken("the model's thread ended".to_owned())
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // Closed first: a worker that has not looked yet will skip the job.
        self.reply.close();
        if let Some(running) = self.cab.get() {
            running.cab.stop(running.run);
        }
    }
}

impl Cab {
    fn stop(&self, run: u64) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == Some(run) {
            self.brake.pull();
        }
    }

    fn begin(&self, run: u64) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(run);
    }

    fn end(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = None;
        self.brake.release();
    }
}

/// Starts a thread per session. They end when the sender is dropped.
pub(super) fn start(
    title: &str,
    sessions: Vec<Loaded>,
    load: &Arc<Load>,
    runs: &Arc<AtomicU64>,
) -> Result<flume::Sender<Job>, String> {
    debug_assert_eq!(load.sessions(), sessions.len());
    let (sender, receiver) = flume::unbounded();
    for (number, session) in sessions.into_iter().enumerate() {
        let cab = Arc::new(Cab {
            brake: Brake::new()?,
            current: Mutex::new(None),
        });
        let seconds = metrics::histogram!("castoff_node_run_seconds", "model" => title.to_owned());
        let worker = Worker {
            seconds,
            session,
            cab,
            load: Arc::clone(load),
            runs: Arc::clone(runs),
            jobs: receiver.clone(),
        };
        std::thread::Builder::new()
            .name(format!("model-{number}"))
            .spawn(move || worker.work())
            .map_err(|error| format!("no thread for a session of {title}: {error}"))?;
    }
    Ok(sender)
}

struct Worker {
    session: Loaded,
    cab: Arc<Cab>,
    load: Arc<Load>,
    runs: Arc<AtomicU64>,
    seconds: metrics::Histogram,
    jobs: flume::Receiver<Job>,
}

impl Worker {
    fn work(mut self) {
        while let Ok(job) = self.jobs.recv() {
            if job.reply.is_closed() {
                continue;
            }
            let answer = if job.deadline <= Instant::now() {
                Err(Unanswered::Late)
            } else {
                self.run(job.inputs, &job.reply, &job.cab)
            };
            // The caller may have gone meanwhile; then nobody wants the answer.
            let _ = job.reply.send(answer);
        }
    }

    fn run(
        &mut self,
        inputs: Vec<Tensor>,
        reply: &oneshot::Sender<Result<Vec<Output>, Unanswered>>,
        slot: &OnceLock<Running>,
    ) -> Result<Vec<Output>, Unanswered> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        self.cab.begin(run);
        let _ = slot.set(Running {
            cab: Arc::clone(&self.cab),
            run,
        });
        // The caller closes, then looks for the brake; we show the brake, then look for the close: one of us sees.
        let outcome = if reply.is_closed() {
            Ok(Err(RunFailure::Stopped))
        } else {
            let started = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| self.session.run(inputs, &self.cab.brake)));
            let took = started.elapsed();
            self.load.ran(took);
            self.seconds.record(took);
            outcome
        };
        self.cab.end();
        match outcome {
            Ok(Ok(outputs)) => Ok(outputs),
            Ok(Err(RunFailure::Input(reason))) => Err(Unanswered::Input(reason)),
            Ok(Err(RunFailure::Output(reason))) => Err(Unanswered::Output(reason)),
            Ok(Err(RunFailure::Stopped)) => Err(Unanswered::Late),
            Err(_) => {
                tracing::error!("a run of the model panicked");
                Err(Unanswered::Broken("the model broke on this input".to_owned()))
            }
        }
    }
}
