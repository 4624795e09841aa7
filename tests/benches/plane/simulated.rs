//! A thousand nodes in one process, each as a node is to the control plane: a TLS connection of its own, the token, the
//! signature verified before anything is believed, an acknowledgement, a heartbeat for each heartbeat.

use acceptance::Value;
use castoff_wire::Join;
use castoff_wire::proto::control_client::ControlClient;
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{Ack, FromNode, Health, Hello};
use castoff_wire::signed::Trust;
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
const LIMIT: Duration = Duration::from_secs(60);

/// A config that a node has verified.
pub struct Applied {
    pub version: u64,
    pub at: Instant,
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
        let (join, trust, dialling) = (Arc::new(join), Arc::new(trust), Arc::new(Semaphore::new(DIALLING)));
        for _ in 0..nodes {
            let (join, trust, dialling) = (Arc::clone(&join), Arc::clone(&trust), Arc::clone(&dialling));
            runtime.spawn(follow(join, trust, dialling, sender.clone()));
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
        let mut times = Vec::with_capacity(self.nodes);
        let (applied, nodes) = (&mut self.applied, self.nodes);
        self.runtime.block_on(async {
            let all = async {
                while times.len() < nodes {
                    let applied = applied.recv().await.expect("nodes stay on the line");
                    if counts(&applied) {
                        times.push(applied.at);
                    }
                }
            };
            tokio::time::timeout(LIMIT, all).await.expect("every node gets it");
        });
        times
    }
}

async fn follow(join: Arc<Join>, trust: Arc<Trust>, dialling: Arc<Semaphore>, applied: mpsc::UnboundedSender<Applied>) {
    let permit = dialling.acquire().await.expect("it stays open");
    let authority = join.ca_pem.as_ref().expect("TLS");
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
    let channel = Channel::from_shared(join.control_plane.clone())
        .expect("an address")
        .tcp_nodelay(true)
        .tls_config(tls)
        .expect("an authority")
        .connect()
        .await
        .expect("the control plane listens");
    let (sender, receiver) = mpsc::channel(16);
    let say = async |message| sender.send(FromNode { message: Some(message) }).await.is_ok();
    let hello = Hello {
        node_id: Uuid::new_v4().as_bytes().to_vec(),
        deployment_id: join.deployment.as_bytes().to_vec(),
        release: "0.1.0".to_owned(),
        http_address: "127.0.0.1:8000".to_owned(),
        ops_address: "127.0.0.1:8001".to_owned(),
        ..Hello::default()
    };
    say(Up::Hello(hello)).await;
    let mut request = Request::new(ReceiverStream::new(receiver));
    let bearer = format!("Bearer {}", join.token).parse().expect("a token");
    request.metadata_mut().insert("authorization", bearer);
    let mut client = ControlClient::new(channel).max_decoding_message_size(16 << 20);
    let mut messages = client.follow(request).await.expect("the token is valid").into_inner();
    drop(permit);
    let mut ready = false;
    while let Ok(Some(message)) = messages.message().await {
        match message.message {
            Some(Down::Snapshot(signed)) => {
                let config = signed.open(&trust, join.deployment).expect("signed for us");
                let at = Instant::now();
                let position = Some(signed.position(&config));
                say(Up::Ack(Ack { position })).await;
                if !ready {
                    ready = true;
                    say(Up::Health(Health {
                        ready,
                        ..Health::default()
                    }))
                    .await;
                }
                let version = config.version;
                // Nobody listens any more at the end.
                let _ = applied.send(Applied { version, at });
            }
            Some(Down::Heartbeat(heartbeat)) => {
                say(Up::Heartbeat(heartbeat)).await;
            }
            _ => {}
        }
    }
}
