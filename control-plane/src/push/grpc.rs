//! The two methods that nodes call, in gRPC: files are fetched by it, and a node that knows no lines follows by it.
//!
//! By hand where the generated server has every node's messages encoded apart: encoding a config for each took as much
//! memory on every stream as the config has, for as long as it lived. The rule a newcomer would break: nothing that is
//! decided stands here, for a line asks for the same.

use super::ending::Ended;
use super::link::{Framed, Link, MOST_MESSAGE, PREFIX};
use super::stream::{HELLO, Streams, note_refused};
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use castoff_wire::proto::{FetchChunk, FetchRequest, FromNode, ToNode};
use futures::stream::BoxStream;
use http_body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;
use tonic::codec::{Codec, Streaming};
use tonic::server::{Grpc, ServerStreamingService};
use tonic_prost::ProstCodec;

/// A conversation's end of a stream.
pub(super) struct Call {
    pub(super) outbox: mpsc::Sender<Framed>,
    pub(super) inbox: Streaming<FromNode>,
}

impl Link for Call {
    const SPOKEN: &str = "h2";
    const TAKES_DELTAS: bool = false;

    fn put(&mut self, message: Framed) -> Result<(), Ended> {
        self.outbox.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Ended::NotReading,
            mpsc::error::TrySendError::Closed(_) => Ended::Broken,
        })
    }

    fn is_clear(&self) -> bool {
        self.outbox.capacity() == self.outbox.max_capacity()
    }

    async fn hear(&mut self) -> Result<FromNode, Ended> {
        let message = self.inbox.message().await.map_err(|_| Ended::Broken)?;
        message.ok_or(Ended::HungUp)
    }

    async fn hang_up(self) {}
}

/// What nodes dial.
pub(super) fn router(streams: Arc<Streams>) -> axum::Router {
    axum::Router::new()
        .route("/castoff.node.v1.Control/Follow", post(follow))
        .route("/castoff.node.v1.Control/Fetch", post(fetch))
        .fallback(async || Status::unimplemented("there is no such method").into_http::<Body>())
        .with_state(streams)
}

async fn follow(State(streams): State<Arc<Streams>>, request: Request) -> Response {
    let decoder = ProstCodec::<ToNode, FromNode>::default().decoder();
    let request = request.map(|body| Streaming::new_request(decoder, body, None, Some(MOST_MESSAGE)));
    match streams.follow(tonic::Request::from_http(request)).await {
        Ok(messages) => {
            let mut response = Response::new(Body::new(Messages(Some(messages))));
            let grpc = HeaderValue::from_static("application/grpc");
            response.headers_mut().insert(header::CONTENT_TYPE, grpc);
            response
        }
        Err(status) => {
            note_refused(Call::SPOKEN, &status);
            status.into_http()
        }
    }
}

/// The messages of a stream, and the word that it ended as it should.
struct Messages(Option<mpsc::Receiver<Framed>>);

impl HttpBody for Messages {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(messages) = &mut self.0 else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(Ok(match ready!(messages.poll_recv(context)) {
            Some(message) => Frame::data(message.for_grpc()),
            None => {
                self.0 = None;
                let ok = HeaderValue::from_static("0");
                Frame::trailers(HeaderMap::from_iter([(Status::GRPC_STATUS, ok)]))
            }
        })))
    }
}

async fn fetch(State(streams): State<Arc<Streams>>, request: Request) -> Response {
    // Before anybody asks who it is: it has to come, like a hello, at once.
    let (head, body) = request.into_parts();
    let body = match timeout(HELLO, to_bytes(body, PREFIX + MOST_MESSAGE)).await {
        Ok(Ok(body)) => Body::from(body),
        Ok(Err(_)) => return Status::invalid_argument("the request cannot be read").into_http(),
        Err(_) => return Status::deadline_exceeded("no request came").into_http(),
    };
    let request = Request::from_parts(head, body);
    let mut grpc = Grpc::new(ProstCodec::<FetchChunk, FetchRequest>::default())
        .apply_max_message_size_config(Some(MOST_MESSAGE), None);
    grpc.server_streaming(Fetch(streams), request).await.map(Body::new)
}

struct Fetch(Arc<Streams>);

impl ServerStreamingService<FetchRequest> for Fetch {
    type Response = FetchChunk;
    type ResponseStream = BoxStream<'static, Result<FetchChunk, Status>>;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<FetchRequest>) -> Self::Future {
        let streams = Arc::clone(&self.0);
        Box::pin(async move { streams.fetch(request).await.map(tonic::Response::new) })
    }
}
