//! A line of bytes that can be cut, fall silent without a word, or become slow.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What the line does with the bytes that it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Passes them on.
    Open,
    /// Ends every connection, and each new one at once.
    Cut,
    /// Takes them and passes nothing on; connections stay. One that has lost bytes this way never passes any again.
    Swallow,
    /// Passes so many bytes a second to the node, and what the node says as ever.
    Slow(u32),
}

/// A slow line passes its bytes in so many drops a second.
const DROPS: u32 = 8;

/// A listener on loopback that leads to the control plane's port of nodes.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    way: watch::Sender<Way>,
    shared: Arc<Shared>,
    /// Ends with its owner, and all connections with it.
    _runtime: Runtime,
}

#[derive(Debug, Default)]
struct Shared {
    target: Mutex<Option<String>>,
    dials: AtomicUsize,
    to_node: AtomicUsize,
}

impl Line {
    /// An open line that leads nowhere yet: who dials is hung up on.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let way = watch::Sender::new(Way::Open);
        runtime.spawn(accept(listener, Arc::clone(&shared), way.subscribe()));
        Self {
            address,
            way,
            shared,
            _runtime: runtime,
        }
    }

    /// A line to this `host:port`.
    pub fn to(target: &str) -> Self {
        let line = Self::new();
        line.lead_to(target);
        line
    }

    /// Leads to this `host:port` from the next connection on.
    pub fn lead_to(&self, target: &str) {
        *self.shared.target.lock().expect("the target") = Some(target.to_owned());
    }

    /// Where nodes dial.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Does this from now on, with the connections that are there, too.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Connections so far.
    pub fn dials(&self) -> usize {
        self.shared.dials.load(Ordering::SeqCst)
    }

    /// Bytes passed on to nodes so far.
    pub fn bytes_to_node(&self) -> usize {
        self.shared.to_node.load(Ordering::SeqCst)
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, way: watch::Receiver<Way>) {
    while let Ok((node, _)) = listener.accept().await {
        shared.dials.fetch_add(1, Ordering::SeqCst);
        let (shared, mut way) = (Arc::clone(&shared), way.clone());
        tokio::spawn(async move {
            let mut cut = way.clone();
            tokio::select! {
                () = connect(node, &shared, &mut way) => {}
                // Both sockets are dropped, with whatever was on the way.
                _ = cut.wait_for(|way| *way == Way::Cut) => {}
            }
        });
    }
}

async fn connect(node: TcpStream, shared: &Arc<Shared>, way: &mut watch::Receiver<Way>) {
    let lost = Arc::new(AtomicBool::new(*way.borrow() == Way::Swallow));
    let target = shared.target.lock().expect("the target").clone();
    let Some(control) = dial(target).await else { return };
    node.set_nodelay(true).expect("no delay");
    let (from_node, to_node) = node.into_split();
    let (from_control, to_control) = control.into_split();
    let down = pump(from_control, to_node, way.clone(), &lost, Some(&shared.to_node));
    let up = pump(from_node, to_control, way.clone(), &lost, None);
    tokio::join!(down, up);
}

/// With a small buffer, so that a slow line is felt by whoever sends.
async fn dial(target: Option<String>) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_recv_buffer_size(8 << 10).ok()?;
    let control = socket.connect(target?.parse().ok()?).await.ok()?;
    control.set_nodelay(true).ok()?;
    Some(control)
}

/// `counted` is given for what goes to the node; only there a slow line is slow.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: watch::Receiver<Way>,
    lost: &AtomicBool,
    counted: Option<&AtomicUsize>,
) {
    let mut buffer = [0; 1024];
    loop {
        let now = *way.borrow();
        // A slow line passes a little all the time, not much now and then.
        let most = match (now, counted) {
            (Way::Slow(rate), Some(_)) => (rate / DROPS).clamp(1, 1024) as usize,
            _ => buffer.len(),
        };
        let Ok(size @ 1..) = from.read(&mut buffer[..most]).await else {
            break;
        };
        let now = *way.borrow();
        if now == Way::Swallow {
            lost.store(true, Ordering::SeqCst);
        }
        if lost.load(Ordering::SeqCst) {
            continue;
        }
        if to.write_all(&buffer[..size]).await.is_err() {
            break;
        }
        if let (Some(counted), bytes) = (counted, size) {
            counted.fetch_add(bytes, Ordering::SeqCst);
            if let Way::Slow(rate) = now {
                let seconds = f64::from(u32::try_from(bytes).expect("small")) / f64::from(rate);
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            }
        }
    }
    if lost.load(Ordering::SeqCst) {
        // The other end is not told: it must find out by itself.
        std::future::pending::<()>().await;
    }
    to.shutdown().await.ok();
}
