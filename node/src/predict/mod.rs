//! What callers reach: three dialects behind one judge.
//!
//! A request goes through [`service`]'s one function in a fixed order: what does the path mean, may this caller, is there
//! such a thing, read the body, answer. The rule a newcomer would break: nothing is looked up, and no body is read,
//! before the judge has let the caller in.

mod asked;
pub mod call;
pub mod caller;
mod columns;
mod counts;
pub mod failure;
mod judgement;
pub mod place;
mod prediction;
mod records;
pub mod route;
mod simple;
pub mod tensors;
pub(crate) mod test_queries;
mod v2;
mod v2_wire;

#[cfg(test)]
mod tests;

use self::asked::Asked;
use self::call::Call;
use self::counts::Counts;
use self::failure::{Failure, Reason};
use self::place::Place;
use crate::state::Node;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use castoff_listen::body::{Unread, Whole};
use castoff_listen::linger::Lingering;
use futures::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Version, header};
use tokio::runtime::Handle;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

/// Every inference route, behind one judge of keys. Only `/v2/health/live` and `/v2/health/ready` need none. Calls are
/// counted by the recorder that is installed by now, and answered on the threads of `aside` where that may take long.
///
/// No router of a framework: [`Place`] knows the routes, and to look one up here would cost what checking a key does.
pub fn service(
    node: Arc<Node>,
    aside: Handle,
) -> impl tower::Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static {
    let shared = Arc::new(Shared {
        node,
        counts: Counts::new(),
        aside,
    });
    tower::service_fn(move |request: Request| {
        let shared = Arc::clone(&shared);
        async move {
            let place = Place::of(request.uri().path());
            let dialect = place.dialect();
            let answered = AssertUnwindSafe(serve(&shared, place, request)).catch_unwind().await;
            Ok(answered.unwrap_or_else(|_| Failure::new(Reason::Broken, "a bug; it was logged").render(dialect)))
        }
    })
}

/// What every call needs.
struct Shared {
    node: Arc<Node>,
    counts: Counts,
    aside: Handle,
}

async fn serve(shared: &Shared, place: Place, request: Request) -> Response {
    let Shared { node, counts, .. } = shared;
    let arrived = Instant::now();
    let (version, is_head) = (request.version(), request.method() == Method::HEAD);
    let dialect = place.dialect();
    let mut response = match answer(shared, place, linger(request), arrived).await {
        Ok(response) => response,
        Err(failure) => failure.render(dialect),
    };
    counts.record(dialect, response.status(), arrived.elapsed());
    if node.is_draining() && version < Version::HTTP_2 {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if is_head { bodiless(response) } else { response }
}

/// A refusal comes before the body was read; a client that is still sending it must get to read the refusal. One that
/// asks first (`Expect`) sends nothing when it is refused.
fn linger(request: Request) -> Request {
    if request.headers().contains_key(header::EXPECT) {
        return request;
    }
    request.map(|body| Body::new(Lingering::new(body)))
}

/// The answer of a GET, without its body.
fn bodiless(response: Response) -> Response {
    let length = response.body().size_hint().exact();
    let mut response = response.map(|_| Body::empty());
    if let Some(length) = length {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

async fn answer(shared: &Shared, place: Place, request: Request, arrived: Instant) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let node = &shared.node;
    let call = if place.is_open() {
        None
    } else {
        Some(judgement::admit(node, &place, &head, arrived)?)
    };
    let Some(allowed) = place.method() else {
        return Err(Failure::new(Reason::NotFound, "there is nothing here"));
    };
    let method = if head.method == Method::HEAD {
        Method::GET
    } else {
        head.method
    };
    if method != allowed {
        let allow = if allowed == Method::POST { "POST" } else { "GET, HEAD" };
        return Err(Failure::new(
            Reason::Method(allow),
            format!("this is called by {allow}"),
        ));
    }
    let Some(call) = call else {
        return v2::health(node, &place);
    };
    let body = if allowed == Method::POST {
        read(node, &call, &head.headers, body).await?
    } else {
        Whole::default()
    };
    let asked = Asked {
        call,
        place,
        uri: head.uri,
        body,
        arrived,
    };
    asked.answer(&shared.aside).await
}

/// The body, when it is small enough, arrives in time and is not compressed.
async fn read(node: &Node, call: &Call, headers: &HeaderMap, body: Body) -> Result<Whole, Failure> {
    let most = call.serving.limits.max_body_bytes;
    let encoded = headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| encoding.as_bytes() != b"identity");
    if encoded {
        return Err(Failure::new(
            Reason::Encoding,
            "send the body without a content encoding",
        ));
    }
    let read = node.bodies().read(body, most, call.deadline.into()).await;
    read.map_err(|unread| match unread {
        Unread::TooLarge => Failure::new(Reason::TooLarge, format!("the body may have at most {most} bytes")),
        Unread::Slow => Failure::new(Reason::SlowBody, "the body did not arrive before the deadline"),
        Unread::Cut => Failure::new(Reason::Request, "the body was cut short"),
        Unread::Full => Failure::new(Reason::Full, "too many bodies are being read; try again"),
    })
}

/// An answer of JSON.
fn json(body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
