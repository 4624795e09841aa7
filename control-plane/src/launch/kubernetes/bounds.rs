//! How much a cluster may answer: the API server is whatever an infrastructure's admin has named, and its answers are read by
//! the control plane that all share.
//!
//! A layer around the client, so that nothing is asked past it. The rule a newcomer would break: bytes alone bound no memory,
//! as of `{},{},…` each entry becomes an object of hundreds of bytes; so what the text opens and divides is counted, too.

use super::clocks::Clocks;
use axum::body::Bytes;
use axum::http::{Request, Response};
use futures::TryFutureExt;
use futures::future::MapOk;
use http_body::{Body, Frame, SizeHint};
use kube::client::{Body as Asked, DynBody};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower::{BoxError, Layer, Service};

/// Of one answer. A page of Secrets, none of which has more than 1 MiB (1.4 in base64), fits.
pub(super) const MOST_ANSWER_BYTES: usize = 32 << 20;
/// Of one thing that is told of while it is watched.
pub(super) const MOST_EVENT_BYTES: usize = 4 << 20;
/// Values in either. A page of pods, each with some thousand, fits.
const MOST_VALUES: usize = 400_000;
/// Entries of a page, but of Secrets, which are larger.
pub(super) const PAGE: u32 = 100;
pub(super) const PAGE_OF_SECRETS: u32 = 20;

/// It is more than is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooMuch {
    #[error("more than {} MiB in one answer", MOST_ANSWER_BYTES >> 20)]
    Answer,
    #[error("more than {} MiB about one object", MOST_EVENT_BYTES >> 20)]
    Event,
    #[error("more than {MOST_VALUES} values in one answer")]
    Values,
}

/// Objects of all kinds, and pods, that are remembered of one namespace.
pub(super) const MOST_OBJECTS: usize = 50_000;
pub(super) const MOST_PODS: usize = 20_000;
/// Bytes of objects that were there before this process looked and are still to be compared.
pub(super) const MOST_UNREAD: usize = 64 << 20;
/// No name is longer.
pub(super) const MOST_NAME: usize = 253;

/// Bounds what a client is answered, and notes what time it was there.
#[derive(Clone)]
pub(super) struct Bounds(pub(super) Clocks);

impl<S> Layer<S> for Bounds {
    type Service = Bounded<S>;

    fn layer(&self, service: S) -> Self::Service {
        Bounded(service, self.0.clone())
    }
}

/// A service whose answers are bounded.
pub(super) struct Bounded<S>(S, Clocks);

impl<S> Service<Request<Asked>> for Bounded<S>
where
    S: Service<Request<Asked>, Response = Response<Box<DynBody>>>,
{
    type Response = Response<Counted>;
    type Error = S::Error;
    type Future = MapOk<S::Future, Box<dyn FnOnce(Response<Box<DynBody>>) -> Response<Counted> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, asked: Request<Asked>) -> Self::Future {
        let count = Count::of(asked.uri().path(), asked.uri().query().unwrap_or_default());
        metrics::counter!("castoff_cluster_calls_total", "of" => count.shape.word()).increment(1);
        let clocks = self.1.clone();
        self.0.call(asked).map_ok(Box::new(move |answer| {
            clocks.note(answer.headers());
            answer.map(|body| Counted { body, count })
        }))
    }
}

/// A body that ends with an error where it is too much.
pub(super) struct Counted {
    body: Box<DynBody>,
    count: Count,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(frame) => frame?,
        };
        if let Some(bytes) = frame.data_ref() {
            self.count.add(bytes)?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One value of JSON.
    Whole,
    /// Values of JSON, one to a line, for as long as somebody listens.
    Lines,
    /// No JSON: what a pod has logged.
    Text,
}

impl Shape {
    /// What was asked, as it is counted.
    fn word(self) -> &'static str {
        match self {
            Self::Whole => "objects",
            Self::Lines => "watch",
            Self::Text => "logs",
        }
    }
}

/// What has come so far: of the answer, or of a line of it.
#[derive(Clone, Copy, Debug)]
struct Count {
    shape: Shape,
    bytes: usize,
    values: usize,
    in_text: bool,
    escaped: bool,
}

impl Count {
    /// Of the answer to a question.
    fn of(path: &str, query: &str) -> Self {
        let shape = if path.ends_with("/log") {
            Shape::Text
        } else if query.split('&').any(|part| matches!(part, "watch=true" | "watch=1")) {
            Shape::Lines
        } else {
            Shape::Whole
        };
        Self {
            shape,
            bytes: 0,
            values: 0,
            in_text: false,
            escaped: false,
        }
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), TooMuch> {
        let (most, too_much) = match self.shape {
            Shape::Lines => (MOST_EVENT_BYTES, TooMuch::Event),
            Shape::Whole | Shape::Text => (MOST_ANSWER_BYTES, TooMuch::Answer),
        };
        if self.shape == Shape::Text {
            self.bytes = self.bytes.saturating_add(bytes.len());
            return if self.bytes > most { Err(too_much) } else { Ok(()) };
        }
        for byte in bytes {
            // No line of JSON has its end in a text.
            if *byte == b'\n' && self.shape == Shape::Lines {
                *self = Self::of("", "watch=true");
                continue;
            }
            self.bytes += 1;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                b'{' | b'[' | b',' if !self.in_text => self.values += 1,
                _ => {}
            }
            if self.bytes > most {
                return Err(too_much);
            }
            if self.values > MOST_VALUES {
                return Err(TooMuch::Values);
            }
        }
        Ok(())
    }
}

/// As much of what a cluster says in words as is kept and shown.
pub(super) fn words(said: &str) -> String {
    const MOST: usize = 2_000;
    said.chars().take(MOST).collect()
}

#[cfg(test)]
mod tests;
