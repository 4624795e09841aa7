//! What nodes come for: who they are, and for which deployment.
//!
//! The same for a line and for gRPC. The rule a newcomer would break: whoever has no valid token learns nothing but that;
//! not which part was wrong, nor whether a deployment exists.

use super::conversation::{self, Caller, Followed};
use super::ending::Ending;
use super::grpc::Call;
use super::hub::Hub;
use super::link::{Framed, Link, OUTBOX};
use super::sessions::NodeKey;
use crate::artifacts::Packages;
use crate::authn::{Secret, SecretKind};
use crate::domain::package::Digest;
use bytes::{Bytes, BytesMut};
use castoff_wire::life::Life;
use castoff_wire::proto::{FetchChunk, FetchRequest, FromNode, Hello, from_node};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::TaskTracker;
use tonic::{Request, Status, Streaming};
use uuid::Uuid;

/// What nodes dial for.
pub(super) struct Streams {
    hub: Arc<Hub>,
    packages: Packages,
    pub(super) ending: Ending,
    conversations: TaskTracker,
    places: Arc<Semaphore>,
}

/// The deployment that a token belongs to.
pub(super) struct Proven {
    deployment_id: Uuid,
    /// The token's hash.
    token: Vec<u8>,
}

/// Streams and fetches at once.
const MOST_STREAMS: usize = 20_000;
/// A node says at once who it is, or which file it wants.
pub(super) const HELLO: Duration = Duration::from_secs(5);
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

    /// A place among all that call.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted("too many streams are open"))
    }

    /// The deployment that a token belongs to. Found by the token's hash: a comparison of hashes tells nothing about the
    /// token.
    pub(super) async fn prove(&self, token: Option<&str>) -> Result<Proven, Status> {
        let refused = || Status::unauthenticated("the node token is not valid");
        let token = token
            .and_then(|token| Secret::presented(SecretKind::NodeToken, token))
            .ok_or_else(refused)?;
        let found = self.hub.store.deployment_of_token(&token).await;
        Ok(Proven {
            deployment_id: found.map_err(unavailable)?.ok_or_else(refused)?,
            token: token.hash().into_bytes(),
        })
    }

    /// Refuses whoever would have to move on at once.
    pub(super) fn stay(&self) -> Result<(), Status> {
        match self.ending.moving.is_cancelled() {
            // Whoever is in front may not know yet that it ends.
            true => Err(Status::unavailable("this control plane is about to end")),
            false => Ok(()),
        }
    }

    /// A node that is proven and says hello. From here on it is on the line.
    pub(super) async fn admit(
        &self,
        Proven { deployment_id, token }: Proven,
        hello: Option<Hello>,
        life: Life,
        place: OwnedSemaphorePermit,
    ) -> Result<Caller, Status> {
        let hello = hello.ok_or_else(|| Status::invalid_argument("the first message must be a hello"))?;
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
        Ok(Caller {
            session: self.hub.sessions.begin(NodeKey { deployment_id, node_id }),
            hello,
            followed: Followed {
                newest,
                tokens,
                nodes,
                token,
                life,
            },
            place,
        })
    }

    /// Talks with a node until one of the two ends it.
    pub(super) fn converse<L: Link>(&self, caller: Caller, link: L) -> impl Future<Output = ()> + Send + use<L> {
        let talking = conversation::hold(Arc::clone(&self.hub), caller, link, self.ending.clone());
        self.conversations.track_future(talking)
    }

    /// Holds a conversation with the node that calls; what it is sent.
    pub(super) async fn follow(&self, request: Request<Streaming<FromNode>>) -> Result<mpsc::Receiver<Framed>, Status> {
        let place = self.place()?;
        let proven = self.prove(bearer(&request)).await?;
        self.stay()?;
        let life = life(&request);
        let mut inbox = request.into_inner();
        let first = tokio::time::timeout(HELLO, inbox.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no hello came"))??;
        let hello = first.and_then(|first| match first.message {
            Some(from_node::Message::Hello(hello)) => Some(hello),
            _ => None,
        });
        let caller = self.admit(proven, hello, life, place).await?;
        let (outbox, receiver) = mpsc::channel(OUTBOX);
        tokio::spawn(self.converse(caller, Call { outbox, inbox }));
        Ok(receiver)
    }

    /// A file of the deployment's config, in pieces.
    pub(super) async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<BoxStream<'static, Result<FetchChunk, Status>>, Status> {
        let place = self.place()?;
        let Proven { deployment_id, .. } = self.prove(bearer(&request)).await?;
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

/// The token that a request comes with.
fn bearer<T>(request: &Request<T>) -> Option<&str> {
    let header = request.metadata().get("authorization")?;
    header.to_str().ok()?.strip_prefix("Bearer ")
}

/// The signs of life of the connection that a request came on.
fn life<T>(request: &Request<T>) -> Life {
    // Every connection has them: its port tells them.
    request.extensions().get().cloned().unwrap_or_else(Life::begin)
}

/// Counts whoever was not let in. Logged in detail only: anybody who finds the port can be refused without end.
pub(super) fn note_refused(spoken: &'static str, status: &Status) {
    let code = format!("{:?}", status.code());
    tracing::debug!(spoken, code, reason = status.message(), "a node was not let in");
    metrics::counter!("castoff_push_refused_total", "spoken" => spoken, "code" => code).increment(1);
}

fn unavailable(error: crate::store::Error) -> Status {
    tracing::error!(error = &error as &dyn std::error::Error, "a node could not be answered");
    Status::unavailable("the database does not answer")
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
