//! A change that lost a race is made again, on what the winner left; unless its `If-Match` says which state it means.
//!
//! Apart from the handlers, because everything is asked anew: who is calling, what they may, and what is there. The rule a
//! newcomer would break: a body is kept as it is read, not read ahead; what the path names is decided before.

use super::bodies::MOST_JSON;
use crate::store::noting_commits;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use std::sync::{Arc, Mutex, PoisonError};

/// How often. Each time somebody else has won, so that so many callers at once all get their turn.
const AGAIN: usize = 32;

/// What was read of a body; nothing when it was too much to be kept.
#[derive(Clone)]
struct Kept(Arc<Mutex<Option<Vec<u8>>>>);

impl Kept {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }

    fn add(&self, bytes: &Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *kept {
            Some(before) if before.len() + bytes.len() <= MOST_JSON => before.extend_from_slice(bytes),
            _ => *kept = None,
        }
    }

    fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Makes changes again that lost a race.
pub async fn layer(request: Request, next: Next) -> Response {
    if request.method() == Method::PUT || request.method().is_safe() || names_a_state(request.headers()) {
        return noting_commits(next.run(request)).await;
    }
    let (parts, body) = request.into_parts();
    let kept = Kept::new();
    let body = Body::new(body.inspect_frame({
        let kept = kept.clone();
        move |frame| frame.data_ref().into_iter().for_each(|bytes| kept.add(bytes))
    }));
    let mut response = noting_commits(next.clone().run(Request::from_parts(parts.clone(), body))).await;
    if response.status() != StatusCode::PRECONDITION_FAILED {
        return response;
    }
    // It was read to its end, or the change would not have been tried.
    let Some(read) = kept.take().map(Bytes::from) else {
        return response;
    };
    for _ in 0..AGAIN {
        let request = Request::from_parts(parts.clone(), Body::from(read.clone()));
        response = noting_commits(next.clone().run(request)).await;
        if response.status() != StatusCode::PRECONDITION_FAILED {
            break;
        }
    }
    response
}

/// Whether the caller means one state of the thing and no other.
fn names_a_state(headers: &HeaderMap) -> bool {
    headers
        .get(header::IF_MATCH)
        .is_some_and(|value| value.as_bytes().trim_ascii() != b"*")
}
