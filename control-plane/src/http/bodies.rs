//! Bodies of JSON: read whole, bounded in bytes and in time.
//!
//! Apart from what is made of them, and from packages, which are streamed. The rule a newcomer would break: a body that
//! says itself that it is too large is refused before it is read.

use super::problem::{Kind, Problem};
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use std::time::Duration;

/// Bytes of a JSON body. The largest that makes sense is a route of ten versions and a few limits.
pub(super) const MOST_JSON: usize = 256 << 10;

/// Reads bodies of JSON.
#[derive(Clone, Debug)]
pub struct Bodies {
    patience: Duration,
}

impl Bodies {
    /// Each must come whole within `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { patience }
    }

    /// The whole of a body.
    ///
    /// # Errors
    /// 413, 408, or 400 when it was cut off.
    pub(super) async fn read(&self, body: Body) -> Result<Bytes, Problem> {
        // Not waited for, and whoever asked first (`Expect`) is not told to send it.
        if body.size_hint().lower() > MOST_JSON as u64 {
            return Err(too_large());
        }
        match tokio::time::timeout(self.patience, to_bytes(body, MOST_JSON)).await {
            Ok(read) => read.map_err(|error| too_large_or_cut(&error)),
            Err(_) => Err(Problem::new(
                Kind::Slow,
                format!("the body must come within {} s", self.patience.as_secs()),
            )),
        }
    }
}

fn too_large() -> Problem {
    Problem::new(Kind::TooLarge, format!("the body must have at most {MOST_JSON} bytes"))
}

fn too_large_or_cut(error: &axum::Error) -> Problem {
    let limited =
        std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
    if limited {
        too_large()
    } else {
        Problem::new(Kind::Malformed, "the body was cut off")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let status = |read: Result<Bytes, Problem>| read.map_or_else(|problem| problem.status(), |_| StatusCode::OK);
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
