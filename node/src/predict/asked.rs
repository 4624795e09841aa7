//! A call that was let in and has been read, and where it is answered.
//!
//! The rule a newcomer would break: a thread that serves callers answers only what is over before another could be woken to do
//! it; all else is answered aside, for the thread's other callers wait meanwhile.

use super::call::Call;
use super::failure::{Failure, Reason};
use super::place::{Of, Place};
use super::{records, simple, v2};
use axum::response::Response;
use castoff_listen::body::Whole;
use http::Uri;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// Bytes of a body that take some 50 µs to be read as JSON.
const BRIEF: usize = 8 << 10;

/// A call that was let in and has been read.
pub(super) struct Asked {
    pub(super) call: Call,
    pub(super) place: Place,
    pub(super) uri: Uri,
    pub(super) body: Whole,
    pub(super) arrived: Instant,
}

impl Asked {
    /// Answers it here or, where that may take long, on the threads of this runtime. A caller who goes away takes it along.
    pub(super) async fn answer(self, aside: &Handle) -> Result<Response, Failure> {
        if self.is_brief() {
            return self.answer_here().await;
        }
        let answered = AbortOnDropHandle::new(aside.spawn(self.answer_here())).await;
        answered.unwrap_or_else(|_| Err(Failure::new(Reason::Broken, "a bug; it was logged")))
    }

    /// Nobody knows of a model that has not run how long it takes.
    fn is_brief(&self) -> bool {
        self.body.len() <= BRIEF && self.call.serving.models().all(|model| model.load().is_quick(0))
    }

    async fn answer_here(self) -> Result<Response, Failure> {
        let Self {
            call,
            place,
            uri,
            body,
            arrived,
        } = self;
        match place {
            Place::Model {
                model,
                version,
                of: Of::Infer,
            } => v2::infer(&call, &model, version.as_deref(), &body).await,
            Place::Model { model, version, of } => v2::model(&call, &model, version.as_deref(), of),
            Place::Records { service, endpoint, how } => {
                let asked = records::Asked {
                    query: uri.query().unwrap_or_default(),
                    body: &body,
                    arrived,
                };
                records::answer(&call, &service, &endpoint, how, asked).await
            }
            Place::Simple { endpoint } => simple::answer(&call, endpoint.as_deref(), &body).await,
            Place::Server => Ok(v2::server()),
            Place::Live | Place::Ready | Place::Nowhere(_) => {
                Err(Failure::new(Reason::NotFound, "there is nothing here"))
            }
        }
    }
}
