//! A thousand nodes in one process, each as a node is to the control plane: a TLS connection of its own, the token, the
//! signature verified before anything is believed, an acknowledgement, a heartbeat for each heartbeat, and another dial when
//! the stream has ended.

use acceptance::Value;
use castoff_wire::Join;
use castoff_wire::proto::control_client::ControlClient;
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{Ack, FromNode, Health, Hello};
use castoff_wire::signed::Trust;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use uuid::Uuid;

/// TLS handshakes at once: more would only wait for the cores.
const DIALLING: usize = 32;
/// Against hanging.
const LIMIT: Duration = Duration::from_secs(300);
/// Until it dials again.
const PAUSE: Duration = Duration::from_millis(200);

/// A config that a node has verified.
struct Applied {
    node: usize,
    version: u64,
    at: Instant,
}

/// What nodes are told of, and what they tell.
#[derive(Clone)]
struct Line {
    join: Arc<Join>,
    trust: Arc<Trust>,
    dialling: Arc<Semaphore>,
    applied: mpsc::UnboundedSender<Applied>,
}

/// Nodes on the line.
pub struct Fleet {
    runtime: Runtime,
    applied: mpsc::UnboundedReceiver<Applied>,
    nodes: usize,
}

impl Fleet {
    /// Dials with so many nodes, and waits until all have a config.
    pub fn join(join: &Value, nodes: usize) -> Self {
        let (join, trust) = Join::parse(&join.to_string()).expect("a join document");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let (sender, applied) = mpsc::unbounded_channel();
        let line = Line {
            join: Arc::new(join),
            trust: Arc::new(trust),
            dialling: Arc::new(Semaphore::new(DIALLING)),
            applied: sender,
        };
        for node in 0..nodes {
            let line = line.clone();
            runtime.spawn(async move {
                let id = Uuid::new_v4();
                loop {
                    // What ended the stream does not matter here: it is dialled again.
                    let _ = line.follow(node, id).await;
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        let mut fleet = Self {
            runtime,
            applied,
            nodes,
        };
        fleet.all(|_| true);
        fleet
    }

    /// When each node had a config of this version.
    pub fn have(&mut self, version: u64) -> Vec<Instant> {
        self.all(|applied| applied.version == version)
    }

    fn all(&mut self, counts: impl Fn(&Applied) -> bool) -> Vec<Instant> {
        let mut times = vec![None; self.nodes];
        let (applied, mut missing) = (&mut self.applied, self.nodes);
        self.runtime.block_on(async {
            let all = async {
                while missing > 0 {
                    let applied = applied.recv().await.expect("nodes stay on the line");
                    // One that has dialled again gets the same again.
                    if counts(&applied) && times[applied.node].is_none() {
                        times[applied.node] = Some(applied.at);
                        missing -= 1;
                    }
                }
            };
            tokio::time::timeout(LIMIT, all).await.expect("every node gets it");
        });
        times.into_iter().flatten().collect()
    }
}

impl Line {
    async fn follow(&self, node: usize, id: Uuid) -> Result<(), Box<dyn Error + Send + Sync>> {
        let permit = self.dialling.acquire().await?;
        let authority = self.join.ca_pem.as_ref().ok_or("no TLS")?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
        let channel = Channel::from_shared(self.join.control_plane.clone())?
            .tcp_nodelay(true)
            .tls_config(tls)?
            .connect()
            .await?;
        let (sender, receiver) = mpsc::channel(16);
        let say = async |message| sender.send(FromNode { message: Some(message) }).await;
        let hello = Hello {
            node_id: id.as_bytes().to_vec(),
            deployment_id: self.join.deployment.as_bytes().to_vec(),
            release: "0.1.0".to_owned(),
            http_address: "127.0.0.1:8000".to_owned(),
            ops_address: "127.0.0.1:8001".to_owned(),
            ..Hello::default()
        };
        say(Up::Hello(hello)).await?;
        let mut request = Request::new(ReceiverStream::new(receiver));
        let bearer = format!("Bearer {}", self.join.token).parse()?;
        request.metadata_mut().insert("authorization", bearer);
        let mut client = ControlClient::new(channel).max_decoding_message_size(16 << 20);
        let mut messages = client.follow(request).await?.into_inner();
        drop(permit);
        let mut ready = false;
        while let Some(message) = messages.message().await? {
            match message.message {
                Some(Down::Snapshot(signed)) => {
                    let config = signed.open(&self.trust, self.join.deployment)?;
                    let at = Instant::now();
                    let position = Some(signed.position(&config));
                    say(Up::Ack(Ack { position })).await?;
                    if !ready {
                        ready = true;
                        let health = Health {
                            ready,
                            ..Health::default()
                        };
                        say(Up::Health(health)).await?;
                    }
                    let version = config.version;
                    self.applied.send(Applied { node, version, at })?;
                }
                Some(Down::Heartbeat(heartbeat)) => say(Up::Heartbeat(heartbeat)).await?,
                _ => {}
            }
        }
        Ok(())
    }
}
