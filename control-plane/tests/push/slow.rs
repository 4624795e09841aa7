//! Whoever begins to ask, and does not come to an end.

use super::world::{PATIENCE, World, bearer};
use castoff_wire::proto::{FetchChunk, FetchRequest};
use futures::{StreamExt, stream};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

/// With a token or without: a file is asked for at once, or not at all.
#[tokio::test]
async fn a_question_that_does_not_end_is_answered_all_the_same() {
    let world = World::new().await;
    for token in [world.token.expose(), "castoff-node_stranger"] {
        let channel = Channel::from_shared(world.join.control_plane.clone()).unwrap();
        let mut grpc = Grpc::new(channel.connect().await.unwrap());
        grpc.ready().await.unwrap();
        let asked = FetchRequest { digest: vec![7; 32] };
        let mut request = Request::new(stream::iter([asked]).chain(stream::pending()));
        request.metadata_mut().insert("authorization", bearer(token));
        let path = PathAndQuery::from_static("/castoff.node.v1.Control/Fetch");
        let codec = ProstCodec::<FetchRequest, FetchChunk>::default();
        let answer = tokio::time::timeout(PATIENCE, grpc.client_streaming(request, path, codec));
        let answer = answer.await.expect("it is answered");
        assert_eq!(answer.unwrap_err().code(), Code::DeadlineExceeded);
    }
    world.end().await;
}
