//! Bodies of JSON: read whole, bounded in bytes and in time, and all together.
//!
//! Apart from what is made of them, and from packages, which are streamed. The rule a newcomer would break: a body that
//! says itself that it is too large is refused before it is read.

use super::problem::{Kind, Problem};
use axum::body::Body;
use castoff_listen::body::{Budget, Unread, Whole};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of a JSON body. The largest that makes sense is a route of ten versions and a few limits.
pub(super) const MOST_JSON: usize = 256 << 10;
/// Of all that are being read: some hundred of the largest, many thousand of the usual.
const MEMORY: usize = 32 << 20;

/// Reads bodies of JSON.
#[derive(Clone, Debug)]
pub struct Bodies {
    patience: Duration,
    memory: Budget,
}

impl Bodies {
    /// Each must come whole within `patience`.
    pub fn new(patience: Duration) -> Self {
        Self {
            patience,
            memory: Budget::new(MEMORY),
        }
    }

    /// The whole of a body.
    ///
    /// # Errors
    /// 413, 408, 400 when it was cut off, or 503 when too many are being read.
    pub(super) async fn read(&self, body: Body) -> Result<Whole, Problem> {
        let read = self.memory.read(body, MOST_JSON, Instant::now() + self.patience).await;
        read.map_err(|unread| match unread {
            Unread::TooLarge => Problem::new(Kind::TooLarge, format!("the body must have at most {MOST_JSON} bytes")),
            Unread::Slow => Problem::new(
                Kind::Slow,
                format!("the body must come within {} s", self.patience.as_secs()),
            ),
            Unread::Cut => Problem::new(Kind::Malformed, "the body was cut off"),
            Unread::Full => Problem::new(Kind::Unavailable, "too many bodies are being read: try again"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use axum::http::StatusCode;
    use futures::{StreamExt, stream};

    #[tokio::test]
    async fn bodies_are_bounded() {
        let body = |stream| Body::from_stream(stream);
        let begun = || stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))]);
        let (patient, hasty) = (
            Bodies::new(Duration::from_secs(60)),
            Bodies::new(Duration::from_millis(5)),
        );
        let status = |read: Result<Whole, Problem>| read.map_or_else(|problem| problem.status(), |_| StatusCode::OK);
        assert_eq!(status(patient.read(body(begun().boxed())).await), StatusCode::OK);
        let stalled = begun().chain(stream::pending()).boxed();
        assert_eq!(status(hasty.read(body(stalled)).await), StatusCode::REQUEST_TIMEOUT);
        let cut = begun()
            .chain(stream::iter([Err(std::io::Error::other("gone"))]))
            .boxed();
        assert_eq!(status(patient.read(body(cut)).await), StatusCode::BAD_REQUEST);
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 1_000])));
        assert_eq!(
            status(patient.read(body(endless.boxed())).await),
            StatusCode::PAYLOAD_TOO_LARGE
        );
        let announced = Body::from(vec![b' '; MOST_JSON + 1]);
        assert_eq!(status(patient.read(announced).await), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
