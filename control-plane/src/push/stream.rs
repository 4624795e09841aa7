//! The service that nodes dial: who dials, and for which deployment.
//!
//! The rule a newcomer would break: whoever has no valid token learns nothing but that; not which part was wrong, nor
//! whether a deployment exists.

use super::conversation::{Conversation, Line};
use super::ending::Ending;
use super::grpc::Framed;
use super::hub::Hub;
use super::sessions::NodeKey;
use crate::artifacts::Packages;
use crate::authn::{Secret, SecretKind};
use crate::domain::package::Digest;
use bytes::{Bytes, BytesMut};
use castoff_wire::life::Life;
use castoff_wire::proto::{FetchChunk, FetchRequest, FromNode, from_node};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::TaskTracker;
use tonic::{Request, Status, Streaming};
use uuid::Uuid;

/// The service that nodes dial.
pub(super) struct Streams {
    hub: Arc<Hub>,
    packages: Packages,
    ending: Ending,
    conversations: TaskTracker,
    places: Arc<Semaphore>,
}

/// Streams and fetches at once.
const MOST_STREAMS: usize = 20_000;
/// A node says hello at once.
const HELLO: Duration = Duration::from_secs(5);
/// Bytes of a file in one message. A store may give them out in drops of 8 KiB, or in floods.
const CHUNK: usize = 256 << 10;

impl Streams {
    pub(super) fn new(hub: Arc<Hub>, packages: Packages, ending: Ending, conversations: TaskTracker) -> Self {
        Self {
            hub,
            packages,
            ending,
            conversations,
            places: Arc::new(Semaphore::new(MOST_STREAMS)),
        }
    }

    /// The deployment that the caller's token belongs to, and the token's hash. Found by the token's hash: a comparison of hashes tells nothing
    /// about the token.
    async fn deployment<T>(&self, request: &Request<T>) -> Result<(Uuid, Vec<u8>), Status> {
        let refused = || Status::unauthenticated("the node token is not valid");
        let token = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.strip_prefix("Bearer "))
            .and_then(|token| Secret::presented(SecretKind::NodeToken, token))
            .ok_or_else(refused)?;
        let found = self.hub.store.deployment_of_token(&token).await;
        let deployment_id = found.map_err(unavailable)?.ok_or_else(refused)?;
        Ok((deployment_id, token.hash().into_bytes()))
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted("too many streams are open"))
    }
}

/// The signs of life of the connection that a request came on.
fn life<T>(request: &Request<T>) -> Life {
    // Every connection has them: its port tells them.
    request.extensions().get().cloned().unwrap_or_else(Life::begin)
}

fn unavailable(error: crate::store::Error) -> Status {
    tracing::error!(error = &error as &dyn std::error::Error, "a node could not be answered");
    Status::unavailable("the database does not answer")
}

impl Streams {
    /// Holds a conversation with the node that dials; what it is sent.
    pub(super) async fn follow(&self, request: Request<Streaming<FromNode>>) -> Result<mpsc::Receiver<Framed>, Status> {
        let place = self.place()?;
        let (deployment_id, token) = self.deployment(&request).await?;
        if self.ending.moving.is_cancelled() {
            // Whoever is in front may not know yet that it ends.
            return Err(Status::unavailable("this control plane is about to end"));
        }
        let life = life(&request);
        let mut inbox = request.into_inner();
        let first = tokio::time::timeout(HELLO, inbox.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no hello came"))??;
        let Some(from_node::Message::Hello(hello)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        if hello.deployment_id != deployment_id.as_bytes() {
            return Err(Status::permission_denied("the token belongs to another deployment"));
        }
        let node_id =
            Uuid::from_slice(&hello.node_id).map_err(|_| Status::invalid_argument("node_id must be a UUID"))?;
        let (newest, tokens, nodes) = self
            .hub
            .follow(deployment_id, hello.have.as_ref())
            .await
            .map_err(unavailable)?;
        let session = self.hub.sessions.begin(NodeKey { deployment_id, node_id });
        let line = Line {
            newest,
            tokens,
            nodes,
            token,
            life,
        };
        let (conversation, outbox) = Conversation::new(Arc::clone(&self.hub), session, &hello, line);
        let ending = self.ending.clone();
        self.conversations.spawn(async move {
            let _place = place;
            conversation.hold(hello, inbox, ending).await;
        });
        Ok(outbox)
    }

    /// A file of the deployment's config, in pieces.
    pub(super) async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<BoxStream<'static, Result<FetchChunk, Status>>, Status> {
        let place = self.place()?;
        let (deployment_id, _) = self.deployment(&request).await?;
        let unknown = || Status::not_found("the config names no such file");
        let digest: [u8; 32] = request.into_inner().digest.try_into().map_err(|_| unknown())?;
        let digest = Digest::new(digest);
        let config = self.hub.store.config(deployment_id).await.map_err(unavailable)?;
        config
            .filter(|config| config.files.iter().any(|(file, _)| *file == digest))
            .ok_or_else(unknown)?;
        let found = self.packages.read(&digest).await.map_err(|error| {
            tracing::error!(%error, file.digest = %digest, "a file could not be read");
            Status::unavailable("the file cannot be read")
        })?;
        let (_, bytes) = found.ok_or_else(|| {
            tracing::error!(file.digest = %digest, "a file that a config names is missing");
            Status::unavailable("the file is missing on the control plane")
        })?;
        let chunks = chunks(bytes).map(move |chunk| {
            let _held = &place;
            chunk.map_err(|_| Status::data_loss("the file broke off"))
        });
        Ok(chunks.boxed())
    }
}

/// The same bytes in messages of one size, but for the last.
fn chunks(bytes: BoxStream<'static, io::Result<Bytes>>) -> impl Stream<Item = io::Result<FetchChunk>> + Send {
    stream::try_unfold((bytes.fuse(), BytesMut::new()), |(mut bytes, mut held)| async move {
        while held.len() < CHUNK {
            match bytes.next().await {
                Some(more) => held.extend_from_slice(&more?),
                None => break,
            }
        }
        if held.is_empty() {
            return Ok(None);
        }
        let size = held.len().min(CHUNK);
        let data = held.split_to(size).to_vec();
        Ok(Some((FetchChunk { data }, (bytes, held))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_goes_out_in_chunks_of_one_size_whatever_the_store_gives() {
        for (piece, count) in [(8 << 10, 100), (3 << 20, 1), (1, 1), (CHUNK, 2)] {
            let pieces: Vec<io::Result<Bytes>> = (0..count).map(|_| Ok(Bytes::from(vec![7; piece]))).collect();
            let sizes: Vec<usize> = chunks(stream::iter(pieces).boxed())
                .map(|chunk| chunk.unwrap().data.len())
                .collect()
                .await;
            assert_eq!(sizes.iter().sum::<usize>(), piece * count);
            let (last, whole) = sizes.split_last().unwrap();
            assert!(*last <= CHUNK && whole.iter().all(|size| *size == CHUNK), "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn a_file_that_breaks_off_is_not_taken_for_a_whole_one() {
        let pieces = vec![Ok(Bytes::from_static(b"half")), Err(io::Error::other("gone"))];
        let sent: Vec<_> = chunks(stream::iter(pieces).boxed()).collect().await;
        assert!(sent.last().unwrap().is_err());
    }
}
