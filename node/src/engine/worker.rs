//! The threads of a model: each has a session and takes jobs from one channel.
//!
//! A thread and not a pool of futures, since a run is `&mut` and blocks. The rule a newcomer would break: a worker
//! outlives whatever a job does to it; a panic is that job's answer.

use super::batcher::{Batch, Manner};
use super::seat::Seat;
use super::{Output, Tensor, Unanswered};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::oneshot;

/// Tensors on their way to a session, and where the answer goes.
pub(super) struct Job {
    pub(super) inputs: Vec<Tensor>,
    /// Of one run, with those of other jobs.
    pub(super) most_rows: usize,
    pub(super) deadline: Instant,
    reply: oneshot::Sender<Reply>,
    run: Arc<Mutex<Option<Running>>>,
}

/// What comes of a job.
pub(super) enum Reply {
    Answered(Result<Vec<Output>, Unanswered>),
    /// It was not run where it was, and its inputs are given back.
    Returned(Vec<Tensor>),
}

/// The caller's end of a job. Dropping it ends the job, in the queue or in a session.
pub(super) struct Answer {
    reply: oneshot::Receiver<Reply>,
    run: Arc<Mutex<Option<Running>>>,
    done: bool,
}

/// Which run of which session a job became.
struct Running {
    seat: Arc<Seat>,
    run: u64,
    /// Callers who still wait for it.
    wanted_by: Arc<AtomicUsize>,
}

impl Job {
    pub(super) fn new(inputs: Vec<Tensor>, most_rows: usize, deadline: Instant) -> (Self, Answer) {
        let (reply, answer) = oneshot::channel();
        let run = Arc::default();
        (
            Self {
                inputs,
                most_rows,
                deadline,
                reply,
                run: Arc::clone(&run),
            },
            Answer {
                reply: answer,
                run,
                done: false,
            },
        )
    }

    /// Whether its caller is still there.
    pub(super) fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    pub(super) fn answer(self, answer: Result<Vec<Output>, Unanswered>) {
        // Whoever asked may have gone.
        let _ = self.reply.send(Reply::Answered(answer));
    }

    pub(super) fn give_back(self) {
        let _ = self.reply.send(Reply::Returned(self.inputs));
    }
}

impl Answer {
    pub(super) async fn wait(&mut self) -> Reply {
        let reply = (&mut self.reply).await;
        self.done = true;
        let ended = |_| Reply::Answered(Err(Unanswered::Broken("the model's thread ended".to_owned())));
        reply.unwrap_or_else(ended)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // Closed first: a worker that has not looked yet will skip the job.
        self.reply.close();
        if let Some(running) = lock(&self.run).take() {
            running.leave();
        }
    }
}

impl Running {
    /// The last who leaves stops it.
    fn leave(self) {
        if self.wanted_by.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.seat.stop(self.run);
        }
    }
}

fn lock(run: &Mutex<Option<Running>>) -> MutexGuard<'_, Option<Running>> {
    run.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread per session, all taking from one channel. They end when the sender is dropped.
pub(super) fn start(title: &str, seats: &[Arc<Seat>]) -> Result<flume::Sender<Job>, String> {
    let (sender, receiver) = flume::unbounded::<Job>();
    for (number, seat) in seats.iter().enumerate() {
        let (seat, jobs) = (Arc::clone(seat), receiver.clone());
        std::thread::Builder::new()
            .name(format!("model-{number}"))
            .spawn(move || {
                while let Ok(job) = jobs.recv() {
                    work(&seat, job, &jobs);
                }
            })
            .map_err(|error| format!("no thread for a session of {title}: {error}"))?;
    }
    Ok(sender)
}

/// Runs a job, with those that wait behind it where they may run together.
fn work(seat: &Arc<Seat>, job: Job, waiting: &flume::Receiver<Job>) {
    let mut next = Some(job);
    while let Some(job) = next.take() {
        // The queue may hold jobs whose callers went away while they waited.
        if !job.is_wanted() {
            continue;
        }
        let mut taken = seat.take();
        let mut batch = Batch::of(job);
        while batch.has_room() && next.is_none() {
            let Ok(job) = waiting.try_recv() else { break };
            next = batch.take_in(job, usize::MAX);
        }
        let manner = Manner {
            most: None,
            begin: &|run, jobs| begin(seat, run, jobs),
        };
        for stopped in batch.run(&mut taken, &manner) {
            // Nobody waits for it, or it would not have been stopped.
            stopped.answer(Err(Unanswered::Late));
        }
    }
}

/// Shows the callers of these jobs which run they became, so that they can stop it; whether any is still there.
fn begin(seat: &Arc<Seat>, run: u64, jobs: &[Job]) -> bool {
    let wanted_by = Arc::new(AtomicUsize::new(jobs.len()));
    for job in jobs {
        *lock(&job.run) = Some(Running {
            seat: Arc::clone(seat),
            run,
            wanted_by: Arc::clone(&wanted_by),
        });
    }
    // A caller closes, then looks for the run; we show the run, then look for the close: one of us sees.
    let gone = jobs.iter().filter(|job| !job.is_wanted());
    for running in gone.filter_map(|job| lock(&job.run).take()) {
        running.leave();
    }
    wanted_by.load(Ordering::Acquire) > 0
}
