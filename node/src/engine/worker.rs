//! The threads of a model: each has a session and takes jobs from one channel.
//!
//! A thread and not a pool of futures, since a run is `&mut` and blocks. The rule a newcomer would break: a worker
//! outlives whatever a job does to it; a panic is that job's answer.

use super::seat::{Ended, Seat};
use super::{Output, Tensor, Unanswered};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::oneshot;

/// Tensors on their way to a session, and where the answer goes.
pub(super) struct Job {
    inputs: Vec<Tensor>,
    deadline: Instant,
    reply: oneshot::Sender<Result<Vec<Output>, Unanswered>>,
    run: Arc<OnceLock<Running>>,
}

/// The caller's end of a job. Dropping it ends the job, in the queue or in a session.
pub(super) struct Answer {
    reply: oneshot::Receiver<Result<Vec<Output>, Unanswered>>,
    run: Arc<OnceLock<Running>>,
    done: bool,
}

/// Which run of which session a job became.
struct Running {
    seat: Arc<Seat>,
    run: u64,
}

impl Job {
    pub(super) fn new(inputs: Vec<Tensor>, deadline: Instant) -> (Self, Answer) {
        let (reply, answer) = oneshot::channel();
        let run = Arc::new(OnceLock::new());
        (
            Self {
                inputs,
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
}

impl Answer {
    pub(super) async fn wait(&mut self) -> Result<Vec<Output>, Unanswered> {
        let answer = (&mut self.reply).await;
        self.done = true;
        answer.unwrap_or_else(|_| Err(Unanswered::Broken("the model's thread ended".to_owned())))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // Closed first: a worker that has not looked yet will skip the job.
        self.reply.close();
        if let Some(running) = self.run.get() {
            running.seat.stop(running.run);
        }
    }
}

/// Starts a thread per session. They end when the sender is dropped.
pub(super) fn start(title: &str, seats: &[Arc<Seat>]) -> Result<flume::Sender<Job>, String> {
    let (sender, receiver) = flume::unbounded::<Job>();
    for (number, seat) in seats.iter().enumerate() {
        let (seat, jobs) = (Arc::clone(seat), receiver.clone());
        std::thread::Builder::new()
            .name(format!("model-{number}"))
            .spawn(move || {
                while let Ok(job) = jobs.recv() {
                    work(&seat, job);
                }
            })
            .map_err(|error| format!("no thread for a session of {title}: {error}"))?;
    }
    Ok(sender)
}

fn work(seat: &Arc<Seat>, job: Job) {
    if job.reply.is_closed() {
        return;
    }
    let mut taken = seat.take();
    let answer = if job.deadline <= Instant::now() {
        Err(Unanswered::Late)
    } else {
        // The caller closes, then looks for the run; we show the run, then look for the close: one of us sees.
        let ended = taken.run(&job.inputs, None, |run| {
            let seat = Arc::clone(seat);
            let _ = job.run.set(Running { seat, run });
            !job.reply.is_closed()
        });
        match ended {
            Ended::Answered(answer) => answer,
            Ended::Stopped => Err(Unanswered::Late),
        }
    };
    drop(taken);
    // The caller may have gone meanwhile; then nobody wants the answer.
    let _ = job.reply.send(answer);
}
