//! The protocol between a node and the control plane, with somebody in the middle who holds messages back, sends them
//! again or in another order, and puts in his own.
//!
//! He has no key of the installation: whatever a node obeys through him, it obeys because it is signed.

use castoff_wire::proto::control_client::ControlClient;
use castoff_wire::proto::control_server::{Control, ControlServer};
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{FetchChunk, FetchRequest, FromNode, Received, Signed, ToNode};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

/// As large as a node takes.
const MOST_MESSAGE: usize = 33 << 20;

/// A listener on loopback that speaks to the control plane for the nodes that dial it.
#[derive(Debug)]
pub struct Messages {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    /// Ends with its owner, and all connections with it.
    _runtime: Runtime,
}

#[derive(Debug, Default)]
struct Shared {
    target: Option<String>,
    /// What nodes say is lost, and no other is let in.
    deaf: bool,
    /// What is held back, in the order in which it came; `None`: it passes.
    held: Option<Vec<Down>>,
    /// What the control plane sent, heartbeats left out.
    sent: Vec<Down>,
    /// What nodes said, heartbeats left out.
    said: Vec<Up>,
    to_nodes: Vec<UnboundedSender<Result<ToNode, Status>>>,
}

impl Shared {
    fn pass(&mut self, message: &Down) {
        let message = ToNode {
            message: Some(message.clone()),
        };
        self.to_nodes.retain(|node| node.send(Ok(message.clone())).is_ok());
    }
}

impl Messages {
    /// One that passes everything on to the control plane's `host:port`.
    pub fn to(target: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Mutex::new(Shared {
            target: Some(format!("http://{target}")),
            ..Shared::default()
        }));
        let service = ControlServer::new(Between(Arc::clone(&shared)));
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self {
            address,
            shared,
            _runtime: runtime,
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("the state of the proxy")
    }

    /// Where nodes dial.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Holds back what the control plane sends from now on; heartbeats pass.
    pub fn hold_back(&self) {
        self.shared().held.get_or_insert_default();
    }

    /// What is held back.
    pub fn held(&self) -> Vec<Down> {
        self.shared().held.clone().unwrap_or_default()
    }

    /// Sends these to the nodes instead of what was held back, and lets everything pass from now on.
    pub fn let_go(&self, instead: &[Down]) {
        let mut shared = self.shared();
        shared.held = None;
        for message in instead {
            shared.pass(message);
        }
    }

    /// Loses what nodes say, or no longer. Whoever dials meanwhile is refused.
    pub fn set_deaf(&self, deaf: bool) {
        self.shared().deaf = deaf;
    }

    /// Puts in a message of its own.
    pub fn inject(&self, message: Down) {
        self.shared().pass(&message);
    }

    /// The configs that the control plane has sent so far.
    pub fn configs(&self) -> Vec<Signed> {
        let of = |message: &Down| match message {
            Down::Snapshot(signed) => Some(signed.clone()),
            _ => None,
        };
        self.shared().sent.iter().filter_map(of).collect()
    }

    /// What nodes have said so far.
    pub fn said(&self) -> Vec<Up> {
        self.shared().said.clone()
    }
}

/// The service as nodes see it.
struct Between(Arc<Mutex<Shared>>);

impl Between {
    async fn client<T>(
        &self,
        from: &Request<T>,
    ) -> Result<(ControlClient<tonic::transport::Channel>, tonic::metadata::MetadataMap), Status> {
        let target = self.0.lock().expect("the state").target.clone().expect("a target");
        let client = ControlClient::connect(target)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok((client.max_decoding_message_size(MOST_MESSAGE), from.metadata().clone()))
    }
}

fn proven<T>(message: T, metadata: &tonic::metadata::MetadataMap) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = metadata.get("authorization") {
        request.metadata_mut().insert("authorization", token.clone());
    }
    request
}

#[tonic::async_trait]
impl Control for Between {
    type FollowStream = UnboundedReceiverStream<Result<ToNode, Status>>;
    type FetchStream = BoxStream<'static, Result<FetchChunk, Status>>;

    async fn follow(&self, request: Request<Streaming<FromNode>>) -> Result<Response<Self::FollowStream>, Status> {
        if self.0.lock().expect("the state").deaf {
            return Err(Status::unavailable("deaf"));
        }
        let (mut client, metadata) = self.client(&request).await?;
        let (shared, mut from_node) = (Arc::clone(&self.0), request.into_inner());
        let (to_control, said) = unbounded_channel();
        let taken = to_control.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = from_node.next().await {
                {
                    let mut shared = shared.lock().expect("the state");
                    if shared.deaf {
                        continue;
                    }
                    match &message.message {
                        Some(Up::Heartbeat(_)) | None => {}
                        Some(said) => shared.said.push(said.clone()),
                    }
                }
                if to_control.send(message).is_err() {
                    return;
                }
            }
        });
        let said = proven(UnboundedReceiverStream::new(said), &metadata);
        let mut from_control = client.follow(said).await?.into_inner();
        let (to_node, receiver) = unbounded_channel();
        let shared = Arc::clone(&self.0);
        shared.lock().expect("the state").to_nodes.push(to_node.clone());
        tokio::spawn(async move {
            while let Some(Ok(message)) = from_control.next().await {
                let Some(sent) = message.message.clone() else { continue };
                if matches!(sent, Down::Heartbeat(_)) {
                    if to_node.send(Ok(message)).is_err() {
                        break;
                    }
                    continue;
                }
                let mut shared = shared.lock().expect("the state");
                shared.sent.push(sent.clone());
                match &mut shared.held {
                    // In the node's name, for otherwise the control plane would wait with the next.
                    Some(held) => {
                        if let Down::Snapshot(signed) = &sent {
                            let digest = signed.digest().to_vec();
                            let message = Some(Up::Received(Received { digest }));
                            taken.send(FromNode { message }).ok();
                        }
                        held.push(sent);
                    }
                    None => drop(to_node.send(Ok(message))),
                }
            }
            // The control plane hung up: so does this.
            shared
                .lock()
                .expect("the state")
                .to_nodes
                .retain(|node| !node.same_channel(&to_node));
        });
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let (mut client, metadata) = self.client(&request).await?;
        let chunks = client.fetch(proven(request.into_inner(), &metadata)).await?;
        Ok(Response::new(chunks.into_inner().boxed()))
    }
}
