//! Running models: a model is loaded once per version into sessions, each with a thread; callers hand tensors over and
//! wait, or run it where they are when that is over before a thread could be woken. Calls that come at the same time may be
//! answered by one run.
//!
//! Apart from the dialects, which know nothing of threads, and from the runtime, which one file knows. The rule a
//! newcomer would break: [`Model::run`] is the only way to a session, so that queue, deadline and the count of runs hold
//! for every protocol.

mod admission;
mod batcher;
mod classes;
mod external;
mod gathering;
mod ort;
mod seat;
pub mod tensor;
mod watch;
mod worker;

pub use admission::Load;
pub use tensor::{ClassRow, Data, DataType, Label, Output, Port, PortKind, Tensor};

use batcher::{Batch, Manner};
use seat::{Ended, Seat, Taken};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use watch::Watch;
use worker::{Answer, Job, Reply};

/// The runtime, loaded. One per process.
pub struct Engine {
    environment: ort::Environment,
    /// Runs by title, so that a model that is loaded again goes on counting.
    runs: Mutex<HashMap<String, Arc<AtomicU64>>>,
    watch: Arc<Watch>,
}

/// What a run may take.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Calls that may wait for a session.
    pub queue: usize,
    /// When it is too late.
    pub deadline: Instant,
    /// Rows that one run may have, with those of other calls; 1: it runs alone. Of a model without a batch dimension each
    /// call does.
    pub most_rows: usize,
}

/// Why a call got no outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// As many calls wait as may.
    Full,
    /// Its deadline passed, waiting or running.
    Late,
    /// The model does not take this input; the text is for the caller alone.
    Input(String),
    /// The model gave something that cannot be passed on.
    Output(String),
    /// A bug, here or in the runtime.
    Broken(String),
}

impl Engine {
    /// Loads the runtime's library.
    ///
    /// # Errors
    /// A line for people, with the path.
    pub fn open(library: &Path) -> Result<Self, String> {
        let environment = ort::open(library)?;
        Ok(Self {
            environment,
            runs: Mutex::default(),
            watch: Watch::start()?,
        })
    }

    /// Loads a model from memory into as many sessions as asked for. The title names it to people. Blocks for as long as that takes.
    ///
    /// # Errors
    /// Why it cannot be loaded: corrupt, external data, inputs or outputs that no protocol carries.
    pub fn load(&self, title: &str, bytes: &[u8], sessions: usize) -> Result<Model, String> {
        external::refuse(bytes)?;
        let sessions = sessions.clamp(1, MOST_SESSIONS);
        let mut ports = None;
        let mut loaded = Vec::with_capacity(sessions);
        for _ in 0..sessions {
            // A model with a type that the binding does not know makes it panic instead of failing.
            let (session, inputs, outputs) =
                catch_unwind(AssertUnwindSafe(|| ort::Loaded::load(&self.environment, bytes)))
                    .unwrap_or_else(|_| Err("it has an input or output of an unknown type".to_owned()))?;
            ports = Some((inputs, outputs));
            loaded.push(session);
        }
        let (inputs, outputs) = ports.unwrap_or_default();
        let load = Arc::new(Load::new(sessions));
        let mut counters = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = Arc::clone(counters.entry(title.to_owned()).or_default());
        let seconds = metrics::histogram!("castoff_node_run_seconds", "model" => title.to_owned());
        let seats = loaded
            .into_iter()
            .map(|session| Seat::new(session, Arc::clone(&load), Arc::clone(&runs), seconds.clone()).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        for seat in &seats {
            self.watch.add(seat);
        }
        let jobs = worker::start(title, &seats)?;
        Ok(Model {
            has_batch_dimension: batcher::has_batch_dimension(&inputs, &outputs),
            inputs,
            outputs,
            classes: classes::of(bytes),
            load,
            runs,
            seats,
            watch: Arc::clone(&self.watch),
            jobs,
        })
    }
}

/// How long a caller that would run a quick model itself waits for a session that another has: as long as a quick run.
const BRIEF: Duration = Duration::from_micros(50);

/// More sessions than this is a mistake: each is a thread with its own copy of the weights.
pub const MOST_SESSIONS: usize = 256;

/// A loaded model. Dropping it ends its threads once they have finished what they run.
pub struct Model {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    has_batch_dimension: bool,
    classes: Vec<Label>,
    load: Arc<Load>,
    runs: Arc<AtomicU64>,
    seats: Vec<Arc<Seat>>,
    watch: Arc<Watch>,
    jobs: flume::Sender<worker::Job>,
}

impl Model {
    /// What it takes, in its own order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// What it gives, in its own order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// What it calls its classes, in the order of its probabilities; empty when it does not say.
    pub fn classes(&self) -> &[Label] {
        &self.classes
    }

    /// Runs under its title since the process started, whatever came of them.
    pub fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// What runs and waits now.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// Whether a call that came now would be [`Unanswered::Full`]: known before its inputs are made.
    pub fn is_full(&self, queue: usize) -> bool {
        self.load.is_full(queue)
    }

    /// Runs it on one tensor per input, in the order of [`inputs`](Self::inputs). A caller that goes away takes its job along:
    /// it is skipped, or stopped when it runs for nobody else.
    ///
    /// # Errors
    /// [`Unanswered`] says why there are no outputs.
    pub async fn run(self: &Arc<Self>, inputs: Vec<Tensor>, terms: Terms) -> Result<Vec<Output>, Unanswered> {
        let Terms { queue, deadline, .. } = terms;
        let _place = Load::enter(&self.load, queue).ok_or(Unanswered::Full)?;
        let is_quick = self.load.is_quick(seat::size(&inputs));
        let most_rows = if self.has_batch_dimension { terms.most_rows } else { 1 };
        let inputs = match (is_quick, most_rows) {
            (true, ..=1) => match self.run_here(&inputs, deadline) {
                Some(answer) => return answer,
                None => inputs,
            },
            (true, _) => match self.run_with_others(Job::new(inputs, most_rows, deadline)).await {
                Reply::Answered(answer) => return answer,
                Reply::Returned(inputs) => inputs,
            },
            (false, _) => inputs,
        };
        let (job, mut answer) = Job::new(inputs, most_rows, deadline);
        // Had the threads ended, the answer would say so.
        let _ = self.jobs.send(job);
        let remaining = deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        match tokio::time::timeout(remaining, answer.wait()).await {
            Ok(Reply::Answered(answer)) => answer,
            Ok(Reply::Returned(_)) | Err(_) => Err(Unanswered::Late),
        }
    }

    /// Has a job run on this thread with those that come at the same time. Not timed: a quick run takes less than a timer.
    async fn run_with_others(self: &Arc<Self>, (job, mut answer): (Job, Answer)) -> Reply {
        gathering::gather(self, job);
        answer.wait().await
    }

    /// Runs jobs on this thread, as many at once as may be.
    fn run_gathered(&self, jobs: Vec<Job>) {
        let mut jobs = jobs.into_iter();
        let mut next = jobs.next();
        while let Some(job) = next {
            let (mut batch, reach) = (Batch::of(job), self.load.reach());
            next = jobs.next();
            while let Some(job) = next {
                next = batch.take_in(job, reach);
                if next.is_some() {
                    break;
                }
                next = jobs.next();
            }
            self.run_batch_here(batch);
        }
    }

    /// Likewise for one batch, unless no session is free in time or the run turns out not to be quick.
    fn run_batch_here(&self, batch: Batch) {
        let Some(mut seat) = self.seat_by(Instant::now() + BRIEF) else {
            return batch.into_jobs().into_iter().for_each(Job::give_back);
        };
        let begin = |_, _: &[Job]| {
            self.watch.begin();
            true
        };
        let manner = Manner {
            most: Some(watch::OVERDUE),
            begin: &begin,
        };
        batch.run(&mut seat, &manner).into_iter().for_each(Job::give_back);
    }

    /// Runs it on this thread, unless no session is free in time or the run turns out not to be quick.
    fn run_here(&self, inputs: &[Tensor], deadline: Instant) -> Option<Result<Vec<Output>, Unanswered>> {
        let now = Instant::now();
        let mut seat = self.seat_by(deadline.min(now + BRIEF))?;
        let ended = seat.run(inputs, Some(watch::OVERDUE), |_| {
            self.watch.begin();
            true
        });
        match ended {
            Ended::Answered(answer) => Some(answer),
            Ended::Stopped => None,
        }
    }

    /// Keeps its first session from everybody, for as long as what is given is kept.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Sized {
        self.seats[0].take()
    }

    /// Takes one place inside, as a call does, for as long as what is given is kept.
    #[cfg(test)]
    pub(crate) fn occupy(&self, queue: usize) -> impl Sized {
        Load::enter(&self.load, queue).unwrap()
    }

    /// A free session; `None` when there was none until then.
    fn seat_by(&self, until: Instant) -> Option<Taken<'_>> {
        loop {
            if let Some(seat) = self.seats.iter().find_map(|seat| seat.try_take()) {
                return Some(seat);
            }
            if Instant::now() >= until {
                return None;
            }
            // Not yielding: the core would be somebody else's for milliseconds.
            std::hint::spin_loop();
        }
    }
}
