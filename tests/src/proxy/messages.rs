//! The protocol between a node and the control plane, with somebody in the middle who holds messages back, sends them
//! again or in another order, and puts in his own.
//!
//! He has no key of the installation: whatever a node obeys through him, it obeys because it is signed.

use super::between::{Between, accept};
use castoff_wire::delta;
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{Delta, FromNode, Received, Signed, ToNode};
use prost::Message;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedSender;

/// What is spoken with nodes. With the control plane it is always a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// A line.
    Line,
    /// gRPC, as a control plane does that knows no lines.
    Grpc,
}

impl Spoken {
    /// By the name that a node has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Line => castoff_wire::line::PROTOCOL,
            Self::Grpc => "h2",
        }
    }
}

/// A listener on loopback that speaks to the control plane for the nodes that dial it.
#[derive(Debug)]
pub struct Messages {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    /// Ends with its owner, and all connections with it.
    _runtime: Runtime,
}

/// What is said to a node.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Message(ToNode),
    /// On a line, whatever it is.
    Bytes(Vec<u8>),
    /// Nothing more: it is hung up on.
    End,
    /// Nothing more, without a word.
    Hush,
}

/// What passes, and what has passed.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// What nodes say is lost, and no other is let in.
    pub(super) deaf: bool,
    /// What is held back, in the order in which it came; `None`: it passes.
    held: Option<Vec<Down>>,
    /// What the control plane sent of configs, whole or what changed: each whole.
    configs: Vec<Signed>,
    /// What nodes said, heartbeats left out.
    said: Vec<Up>,
    pub(super) to_nodes: Vec<UnboundedSender<Said>>,
}

impl Shared {
    fn pass(&mut self, said: &Said) {
        self.to_nodes.retain(|node| node.send(said.clone()).is_ok());
    }

    /// What becomes of a message from a node.
    pub(super) fn hear(&mut self, message: FromNode) -> Option<FromNode> {
        if self.deaf {
            return None;
        }
        match &message.message {
            Some(Up::Heartbeat(_)) | None => {}
            Some(said) => self.said.push(said.clone()),
        }
        Some(message)
    }

    /// Passes a message on to a node, or holds it back; what the control plane is to be told then.
    pub(super) fn tell(&mut self, message: ToNode, node: &UnboundedSender<Said>) -> Option<FromNode> {
        let sent = message.message.clone()?;
        let config = self.config(&sent);
        self.configs.extend(config.clone());
        match &mut self.held {
            Some(held) if !matches!(sent, Down::Heartbeat(_)) => {
                held.push(sent);
                // In the node's name, for otherwise the control plane would wait with the next.
                let digest = config?.digest().to_vec();
                let message = Some(Up::Received(Received { digest }));
                Some(FromNode { message })
            }
            _ => {
                // It may have gone: whoever reads from it sees that.
                node.send(Said::Message(message)).ok();
                None
            }
        }
    }

    /// The config that this leads to, if it is about one.
    fn config(&self, sent: &Down) -> Option<Signed> {
        match sent {
            Down::Snapshot(signed) => Some(signed.clone()),
            Down::Delta(signed) => {
                let changed = Delta::decode(signed.delta.as_slice()).expect("a delta");
                let from = self.configs.iter().rev();
                Some(
                    from.filter_map(|from| delta::apply(from, &changed))
                        .next()
                        .expect("it was sent"),
                )
            }
            _ => None,
        }
    }
}

impl Messages {
    /// One that passes everything on to the control plane's `host:port`, and speaks this with nodes.
    pub fn to(target: &str, spoken: Spoken) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::<Mutex<Shared>>::default();
        let between = Between {
            target: target.to_owned(),
            spoken,
            shared: Arc::clone(&shared),
        };
        runtime.spawn(accept(listener, between));
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
            shared.pass(&Said::Message(to_node(message.clone())));
        }
    }

    /// Loses what nodes say, or no longer. Whoever dials meanwhile is refused.
    pub fn set_deaf(&self, deaf: bool) {
        self.shared().deaf = deaf;
    }

    /// Puts in a message of its own.
    pub fn inject(&self, message: Down) {
        self.shared().pass(&Said::Message(to_node(message)));
    }

    /// Puts these bytes on each line, whatever they are.
    pub fn inject_bytes(&self, bytes: &[u8]) {
        self.shared().pass(&Said::Bytes(bytes.to_vec()));
    }

    /// Puts these bytes on each line and hangs up.
    pub fn end_with(&self, bytes: &[u8]) {
        let mut shared = self.shared();
        shared.pass(&Said::Bytes(bytes.to_vec()));
        shared.pass(&Said::End);
    }

    /// Puts these bytes on each line, after which nothing comes on it; it stays.
    pub fn fall_silent_with(&self, bytes: &[u8]) {
        let mut shared = self.shared();
        shared.pass(&Said::Bytes(bytes.to_vec()));
        shared.pass(&Said::Hush);
    }

    /// The configs that the control plane has sent so far.
    pub fn configs(&self) -> Vec<Signed> {
        self.shared().configs.clone()
    }

    /// What nodes have said so far.
    pub fn said(&self) -> Vec<Up> {
        self.shared().said.clone()
    }
}

fn to_node(message: Down) -> ToNode {
    ToNode { message: Some(message) }
}
