//! Calls of a quick model that come at the same time on one thread, gathered for one run.
//!
//! Nobody waits for more to come: the first puts a task behind all that have their turn on this thread already, and who has
//! asked by then runs with it. The rule a newcomer would break: jobs stay on their thread, for to wake another one takes
//! longer than a quick run.

use super::Model;
use super::worker::Job;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;

/// What is gathered for one run; `None` since that has begun.
struct Gathering(Mutex<Option<Vec<Job>>>);

thread_local! {
    /// What is gathered on this thread, by the address of the model. Its task keeps a model where it is until then.
    static GATHERED: RefCell<Vec<(usize, Arc<Gathering>)>> = const { RefCell::new(Vec::new()) };
}

/// Has a job run with those that come at the same time; gives it back where there is no runtime to do so.
pub(super) fn gather(model: &Arc<Model>, job: Job) {
    let Ok(runtime) = Handle::try_current() else {
        return job.give_back();
    };
    let address = Arc::as_ptr(model).addr();
    GATHERED.with_borrow_mut(|gathered| {
        let mut job = job;
        if let Some((_, gathering)) = gathered.iter().find(|(of, _)| *of == address) {
            match gathering.add(job) {
                None => return,
                Some(late) => job = late,
            }
        }
        gathered.retain(|(_, gathering)| !gathering.has_begun());
        let gathering = Arc::new(Gathering(Mutex::new(Some(vec![job]))));
        gathered.push((address, Arc::clone(&gathering)));
        let model = Arc::clone(model);
        runtime.spawn(async move { model.run_gathered(gathering.begin()) });
    });
}

impl Gathering {
    fn add(&self, job: Job) -> Option<Job> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(jobs) => {
                jobs.push(job);
                None
            }
            None => Some(job),
        }
    }

    fn has_begun(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn begin(&self) -> Vec<Job> {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.take().unwrap_or_default()
    }
}
