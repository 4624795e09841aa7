//! The two methods that nodes call, in gRPC.
//!
//! By hand where the generated server has every node's messages encoded apart: a config is the same for all nodes of a
//! deployment, and encoding it for each took as much memory on every stream as the config has, for as long as it lived.
//! The rule a newcomer would break: a message is framed once, and its bytes are shared by whoever is sent it.

use super::stream::Streams;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::post;
use bytes::{BufMut, Bytes, BytesMut};
use castoff_wire::proto::{FetchChunk, FetchRequest, FromNode, ToNode};
use futures::stream::BoxStream;
use http_body::Frame;
use prost::Message;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::codec::{Codec, Streaming};
use tonic::server::{Grpc, ServerStreamingService};
use tonic_prost::ProstCodec;

/// A message from a node is a few hundred bytes; usage of 10,000 keys is 400 KiB.
const MOST_MESSAGE: usize = 1 << 20;
/// Before each message: whether it is compressed (none is), and its length.
const PREFIX: usize = 5;

/// A message as it goes over the line.
#[derive(Clone)]
pub(super) struct Framed(Bytes);

impl Framed {
    /// Encodes a message.
    pub(super) fn new(message: &ToNode) -> Self {
        let length = message.encoded_len();
        let mut framed = BytesMut::with_capacity(PREFIX + length);
        framed.put_u8(0);
        // A config is bounded far below the 4 GiB that can be said here.
        framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        message.encode_raw(&mut framed);
        Self(framed.freeze())
    }
}

/// What nodes dial.
pub(super) fn router(streams: Streams) -> axum::Router {
    axum::Router::new()
        .route("/castoff.node.v1.Control/Follow", post(follow))
        .route("/castoff.node.v1.Control/Fetch", post(fetch))
        .fallback(async || Status::unimplemented("there is no such method").into_http::<Body>())
        .with_state(Arc::new(streams))
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
        Err(status) => status.into_http(),
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
            Some(Framed(bytes)) => Frame::data(bytes),
            None => {
                self.0 = None;
                let ok = HeaderValue::from_static("0");
                Frame::trailers(HeaderMap::from_iter([(Status::GRPC_STATUS, ok)]))
            }
        })))
    }
}

async fn fetch(State(streams): State<Arc<Streams>>, request: Request) -> Response {
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
