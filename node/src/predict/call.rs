//! A call that was let in: the snapshot it is answered by, and its deadline.
//!
//! Apart from the dialects, which all find their endpoint and run its model through it. The rule a newcomer would break:
//! the snapshot is the one that the caller was judged by; nothing here asks the node for another.

use super::failure::{Failure, Reason};
use super::route;
use crate::engine::{Output, Tensor, Terms, Unanswered};
use crate::serving::{Endpoint, Serving, Version};
use std::sync::Arc;
use std::time::Instant;

/// A call that was let in.
pub struct Call {
    /// What it is answered by.
    pub serving: Arc<Serving>,
    /// When it is too late.
    pub deadline: Instant,
}

/// Which version is wanted.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Whichever the weights give.
    Any,
    /// This one, whatever its weight.
    Version(&'a str),
    /// The same for the same key.
    Dispatch(&'a str),
}

impl Call {
    /// The endpoint of that name, in the version that is wanted.
    ///
    /// # Errors
    /// Not found, when no such version has it.
    pub fn pick<'a>(&'a self, name: &'a str, wanted: Wanted<'_>) -> Result<(&'a Version, &'a Endpoint), Failure> {
        let having: Vec<&Version> = self.serving.endpoints(name).map(|(version, _)| version).collect();
        let Some(first) = having.first() else {
            return Err(Failure::new(Reason::NotFound, format!("there is no model {name}")));
        };
        let version = match wanted {
            Wanted::Version(wanted) => having
                .iter()
                .find(|version| version.name == wanted)
                .ok_or_else(|| Failure::new(Reason::NotFound, format!("model {name} has no version {wanted}")))?,
            // Where none of those that have it has a share, the first is as good as any.
            Wanted::Any => route::choose(&having, rand::random()).unwrap_or(first),
            Wanted::Dispatch(key) => route::choose(&having, route::ticket(key)).unwrap_or(first),
        };
        let endpoint = version
            .endpoint(name)
            .ok_or_else(|| Failure::new(Reason::NotFound, "there is no such model"))?;
        Ok((version, endpoint))
    }

    /// Sends the call away while all places of all versions are taken. Asked before the input is read as anything: who is
    /// sent away must cost those who are inside as little as possible.
    ///
    /// # Errors
    /// Full.
    pub fn room(&self, name: &str) -> Result<(), Failure> {
        let queue = self.serving.limits.queue;
        let mut having = self.serving.endpoints(name).peekable();
        if having.peek().is_some() && having.all(|(_, endpoint)| endpoint.model.is_full(queue)) {
            return Err(Unanswered::Full.into());
        }
        Ok(())
    }

    /// Runs the endpoint's model, one tensor per input.
    ///
    /// # Errors
    /// Why there are no outputs.
    pub async fn run(&self, endpoint: &Endpoint, inputs: Vec<Tensor>) -> Result<Vec<Output>, Failure> {
        let terms = Terms {
            queue: self.serving.limits.queue,
            deadline: self.deadline,
            most_rows: endpoint.max_batch_size,
        };
        Ok(endpoint.model.run(inputs, terms).await?)
    }
}
