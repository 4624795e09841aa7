//! A thousand nodes in one process, each as a node is to the control plane: a line over TLS of its own, the token, the
//! signature verified before anything is believed, an acknowledgement, a heartbeat for each heartbeat, and another dial when
//! the stream has ended.

use acceptance::Value;
use castoff_wire::Join;
use castoff_wire::delta;
use castoff_wire::line::{self, framed};
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{Ack, FromNode, Health, Hello, Opening, ToNode};
use castoff_wire::signed::Trust;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsConnector;
use uuid::Uuid;

/// TLS handshakes at once: more would only wait for the cores.
const DIALLING: usize = 32;
/// Against hanging.
const LIMIT: Duration = Duration::from_secs(300);
/// As large as a node takes, and more.
const MOST_MESSAGE: usize = 16 << 20;
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
    tls: TlsConnector,
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
        let authority = join.ca_pem.as_deref().expect("it has TLS");
        let line = Line {
            tls: castoff_node::control::line::tls(authority).expect("an authority"),
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
        let address = self.join.control_plane.trim_start_matches("https://");
        let (host, _) = address.split_once(':').ok_or("no port")?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut line = self.tls.connect(host.to_owned().try_into()?, stream).await?;
        let hello = Hello {
            node_id: id.as_bytes().to_vec(),
            deployment_id: self.join.deployment.as_bytes().to_vec(),
            release: "0.1.0".to_owned(),
            http_address: "127.0.0.1:8000".to_owned(),
            ops_address: "127.0.0.1:8001".to_owned(),
            ..Hello::default()
        };
        let opening = Opening {
            token: self.join.token.clone(),
            hello: Some(hello),
        };
        let (opened, inbox) = line::open(&mut line, &opening).await?;
        opened.verdict()?;
        let mut inbox = inbox.and_then_of(MOST_MESSAGE);
        drop(permit);
        let (mut ready, mut held) = (false, None);
        while let Some(ToNode { message }) = inbox.next(&mut line).await? {
            let message = match message {
                Some(Down::Delta(delta)) => {
                    let delta = delta.open(&self.trust, self.join.deployment)?;
                    let next = held.as_ref().and_then(|held| delta::apply(held, &delta));
                    Some(Down::Snapshot(next.ok_or("a delta that begins elsewhere")?))
                }
                message => message,
            };
            match message {
                Some(Down::Snapshot(signed)) => {
                    let config = signed.open(&self.trust, self.join.deployment)?;
                    let at = Instant::now();
                    let position = Some(signed.position(&config));
                    say(&mut line, Up::Ack(Ack { position })).await?;
                    if !ready {
                        ready = true;
                        let health = Health {
                            ready,
                            ..Health::default()
                        };
                        say(&mut line, Up::Health(health)).await?;
                    }
                    let version = config.version;
                    held = Some(signed);
                    self.applied.send(Applied { node, version, at })?;
                }
                Some(Down::Heartbeat(heartbeat)) => say(&mut line, Up::Heartbeat(heartbeat)).await?,
                _ => {}
            }
        }
        Ok(())
    }
}

async fn say(line: &mut (impl AsyncWrite + Unpin), message: Up) -> std::io::Result<()> {
    line.write_all(&framed(&FromNode { message: Some(message) })).await?;
    line.flush().await
}
