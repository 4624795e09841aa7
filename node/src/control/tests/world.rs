//! A control plane that says what the test tells it to, and a serving side that loads nothing.

use super::lines;
use crate::control::serves::{NotBuilt, Serves};
use crate::control::signing::Signer;
use castoff_wire::proto::control_server::{Control, ControlServer};
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{
    Config, FetchChunk, FetchRequest, FromNode, Health, Heartbeat, Hello, Nack, Position, Refusal, ToNode, Usage,
};
use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until something is so.
pub(super) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let polled = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, polled)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

/// The control plane.
pub(super) struct Fake {
    pub(super) signer: Signer,
    pub(super) address: String,
    shared: Arc<Shared>,
    lines: mpsc::Receiver<Talk>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    tokens: Mutex<Vec<String>>,
    files: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    silent: AtomicBool,
    refused: AtomicU64,
}

#[derive(Clone)]
pub(super) struct Service {
    shared: Arc<Shared>,
    lines: mpsc::Sender<Talk>,
}

/// One node's stream, from the control plane's end.
pub(super) struct Talk {
    pub(super) hello: Hello,
    pub(super) token: String,
    from_node: mpsc::Receiver<Up>,
    to_node: mpsc::Sender<Result<ToNode, Status>>,
}

impl Fake {
    pub(super) async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    /// One that shows a certificate, and knows no lines.
    pub(super) async fn start_with(identity: tonic::transport::Identity) -> Self {
        Self::serve("127.0.0.1:0", Some(identity), false).await
    }

    /// One that knows no lines.
    pub(super) async fn start_before_lines() -> Self {
        Self::serve("127.0.0.1:0", None, false).await
    }

    pub(super) async fn start_at(address: &str) -> Self {
        Self::serve(address, None, true).await
    }

    async fn serve(address: &str, identity: Option<tonic::transport::Identity>, knows_lines: bool) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        shared.tokens.lock().unwrap().push("join-token".into());
        let (sender, lines) = mpsc::channel(16);
        let service = Service {
            shared: shared.clone(),
            lines: sender,
        };
        let server = tokio::spawn(async move {
            let (calls, incoming) = mpsc::channel(16);
            let incoming = ReceiverStream::new(incoming);
            // Ends with this task.
            let mut accepting = JoinSet::new();
            accepting.spawn(lines::accept(listener, service.clone(), calls, knows_lines));
            let mut server = tonic::transport::Server::builder();
            if let Some(identity) = identity {
                server = server
                    .tls_config(tonic::transport::ServerTlsConfig::new().identity(identity))
                    .unwrap();
            }
            server
                .add_service(ControlServer::new(service))
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Self {
            signer: Signer::new(1),
            address,
            shared,
            lines,
            server,
        }
    }

    pub(super) async fn line(&mut self) -> Talk {
        tokio::time::timeout(PATIENCE, self.lines.recv())
            .await
            .expect("no node dialled")
            .unwrap()
    }

    /// Whether no node has dialled since the last that was taken.
    pub(super) fn is_alone(&self) -> bool {
        self.lines.is_empty()
    }

    /// Only these tokens are taken from now on.
    pub(super) fn take_tokens(&self, tokens: &[&str]) {
        *self.shared.tokens.lock().unwrap() = tokens.iter().map(ToString::to_string).collect();
    }

    /// Waits until so many have come with a token that is not taken.
    pub(super) async fn refused(&self, count: u64) {
        let refused = || self.shared.refused.load(Ordering::Relaxed) >= count;
        eventually("somebody is refused", refused).await;
    }

    /// A file that can be fetched under the digest of `named`.
    pub(super) fn store(&self, named: &[u8], bytes: &[u8]) {
        self.shared
            .files
            .lock()
            .unwrap()
            .insert(castoff_wire::sha256(&[named]).to_vec(), bytes.to_vec());
    }

    /// No heartbeats from now on.
    pub(super) fn fall_silent(&self) {
        self.shared.silent.store(true, Ordering::Relaxed);
    }

    pub(super) fn stop(self) -> String {
        self.server.abort();
        self.address
    }
}

impl Talk {
    pub(super) async fn say(&self, message: Down) {
        self.to_node.send(Ok(ToNode { message: Some(message) })).await.unwrap();
    }

    /// Ends the stream to the node and goes on reading.
    pub(super) fn hang_up(&mut self) {
        self.to_node = mpsc::channel(1).0;
    }

    /// The next message that is neither a heartbeat nor health nor usage.
    pub(super) async fn answer(&mut self) -> Up {
        loop {
            match self.next().await {
                Up::Heartbeat(_) | Up::Health(_) | Up::Usage(_) | Up::Received(_) => {}
                answer => return answer,
            }
        }
    }

    pub(super) async fn next(&mut self) -> Up {
        self.heard().await.expect("the node hung up")
    }

    /// The next message; `None` when the node has hung up.
    pub(super) async fn heard(&mut self) -> Option<Up> {
        tokio::time::timeout(PATIENCE, self.from_node.recv())
            .await
            .expect("the node is silent")
    }

    pub(super) async fn acked(&mut self) -> u64 {
        match self.answer().await {
            Up::Ack(ack) => ack.position.unwrap().version,
            other => panic!("not an ack: {other:?}"),
        }
    }

    pub(super) async fn nacked(&mut self) -> Nack {
        match self.answer().await {
            Up::Nack(nack) => nack,
            other => panic!("not a nack: {other:?}"),
        }
    }

    pub(super) async fn health(&mut self) -> Health {
        loop {
            if let Up::Health(health) = self.next().await {
                return health;
            }
        }
    }
}

#[tonic::async_trait]
impl Control for Service {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<ToNode, Status>> + Send>>;
    type FetchStream = Pin<Box<dyn Stream<Item = Result<FetchChunk, Status>> + Send>>;

    async fn follow(&self, request: Request<Streaming<FromNode>>) -> Result<Response<Self::FollowStream>, Status> {
        let token = self.admit(&request)?;
        let mut inbound = request.into_inner();
        let Some(Up::Hello(hello)) = inbound.message().await?.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (up, down) = self.talk(token, hello).await?;
        tokio::spawn(async move {
            while let Ok(Some(FromNode { message: Some(message) })) = inbound.message().await {
                if up.send(message).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(down))))
    }

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        self.admit(&request)?;
        let files = self.shared.files.lock().unwrap();
        let file = files
            .get(&request.get_ref().digest)
            .ok_or_else(|| Status::not_found("no such file"))?;
        let chunks: Vec<_> = file
            .chunks(3)
            .map(|data| Ok(FetchChunk { data: data.to_vec() }))
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks).map(|chunk| chunk))))
    }
}

impl Service {
    /// Where what a node says is put in, and what it is told is taken out.
    pub(super) async fn talk(
        &self,
        token: String,
        hello: Hello,
    ) -> Result<(mpsc::Sender<Up>, mpsc::Receiver<Result<ToNode, Status>>), Status> {
        let (up, from_node) = mpsc::channel(64);
        let (to_node, down) = mpsc::channel(64);
        let (beats, shared) = (to_node.downgrade(), self.shared.clone());
        tokio::spawn(async move {
            while let Some(beats) = beats.upgrade() {
                let beat = ToNode {
                    message: Some(Down::Heartbeat(Heartbeat::default())),
                };
                if !shared.silent.load(Ordering::Relaxed) && beats.send(Ok(beat)).await.is_err() {
                    return;
                }
                drop(beats);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let talk = Talk {
            hello,
            token,
            from_node,
            to_node,
        };
        let sent = self.lines.send(talk).await;
        sent.map_err(|_| Status::unavailable("over")).map(|()| (up, down))
    }

    fn admit<T>(&self, request: &Request<T>) -> Result<String, Status> {
        let header = request
            .metadata()
            .get("authorization")
            .and_then(|header| header.to_str().ok());
        let token = header
            .and_then(|header| header.strip_prefix("Bearer "))
            .unwrap_or_default();
        self.admit_token(token)
    }

    pub(super) fn admit_token(&self, token: &str) -> Result<String, Status> {
        let known = self.shared.tokens.lock().unwrap().iter().any(|known| known == token);
        self.shared.refused.fetch_add(u64::from(!known), Ordering::Relaxed);
        known
            .then(|| token.to_owned())
            .ok_or_else(|| Status::unauthenticated("no such token"))
    }
}

/// The serving side: what is built is the config itself. A version named `slow` is loaded when the gate opens, one named
/// `broken` never.
#[derive(Default)]
pub(super) struct Stage {
    served: Mutex<Option<Arc<Config>>>,
    revoked: Mutex<Vec<Vec<u8>>>,
    usage: Mutex<Usage>,
    pub(super) refused: AtomicU64,
    refusal: Mutex<Option<Refusal>>,
    trouble: Mutex<Option<String>>,
    pub(super) stale: AtomicBool,
    pub(super) nodes: AtomicU32,
    gate: (Mutex<bool>, Condvar),
}

impl Stage {
    pub(super) fn open_gate(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }

    /// The version of the config whose models are served; 0 for none.
    pub(super) fn version(&self) -> u64 {
        self.served.lock().unwrap().as_ref().map_or(0, |served| served.version)
    }

    /// The ids of the keys that open it.
    pub(super) fn keys(&self) -> Vec<String> {
        let served = self.served.lock().unwrap().clone();
        let revoked = self.revoked.lock().unwrap();
        let keys = served.iter().flat_map(|served| &served.access.as_ref().unwrap().keys);
        let open = keys.filter(|key| !revoked.contains(&key.id));
        open.map(|key| String::from_utf8(key.id.clone()).unwrap()).collect()
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    pub(super) fn call(&self) {
        self.usage.lock().unwrap().anonymous_calls += 1;
    }
}

impl Serves for Stage {
    type Built = Arc<Config>;

    fn build(
        &self,
        config: &Config,
        _: &Position,
        packages: &Path,
        _: Option<&Self::Built>,
    ) -> Result<Self::Built, NotBuilt> {
        for version in &config.serving.as_ref().unwrap().versions {
            let digest = &version.endpoints[0].model.as_ref().unwrap().digest;
            assert!(packages.join(hex::encode(digest)).exists(), "built without its file");
            match version.name.as_str() {
                "slow" => drop(
                    self.gate
                        .1
                        .wait_while(self.gate.0.lock().unwrap(), |open| !*open)
                        .unwrap(),
                ),
                "broken" => return Err(NotBuilt::Model("no such operator".into())),
                _ => {}
            }
        }
        Ok(Arc::new(config.clone()))
    }

    fn swap(&self, built: Self::Built) {
        *self.served.lock().unwrap() = Some(built);
    }

    fn revoke_at_once(&self, key_ids: Vec<Vec<u8>>) {
        *self.revoked.lock().unwrap() = key_ids;
    }

    fn share(&self, nodes: u32) -> bool {
        self.nodes.swap(nodes, Ordering::Relaxed) != nodes
    }

    fn contact(&self, _: i64) {}

    fn set_stale(&self, stale: bool) {
        self.stale.store(stale, Ordering::Relaxed);
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap() = trouble;
    }

    fn note_refused(&self, refusal: Refusal) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        *self.refusal.lock().unwrap() = Some(refusal);
    }

    fn end_refused(&self) {
        *self.refusal.lock().unwrap() = None;
    }

    fn take_usage(&self) -> Usage {
        std::mem::take(&mut self.usage.lock().unwrap())
    }

    fn put_back(&self, usage: Usage) {
        self.usage.lock().unwrap().anonymous_calls += usage.anonymous_calls;
    }

    fn health(&self) -> Health {
        let refused_configs = self.refused.load(Ordering::Relaxed);
        Health {
            ready: self.version() > 0,
            stale: self.is_stale(),
            refused_configs,
            refused: self.refusal.lock().unwrap().clone(),
            reason: self.trouble.lock().unwrap().clone().unwrap_or_default(),
            ..Health::default()
        }
    }
}
