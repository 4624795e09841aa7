//! Ports, and the life of their connections: how many there may be, how long each may live and how they end.
//!
//! Apart from what is answered on them, and shared by both programs, so that no port is guarded less than another. The
//! rule a newcomer would break: a connection takes its place before it is accepted; what has none waits in the kernel,
//! and meanwhile who says nothing makes room (`places`).

pub mod beside;
pub mod body;
mod connection;
pub mod descriptors;
pub mod linger;
mod places;
mod pulse;
mod threads;
pub mod tls;
mod turns;

pub use threads::Threads;

use axum::extract::Request;
use axum::response::Response;
use beside::Beside;
use places::{Place, Places};
use rustls::ServerConfig;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

/// Connections that wait to be accepted; the kernel may have a limit of its own.
const WAITING: i32 = 4_096;
/// Places for operators. Probes and scrapers need a handful; with more, a crowd that says nothing passes sooner: of those
/// who may wait, 512 are let in and out each second, all in 8 s.
pub const OPERATORS: usize = 512;
/// After a connection that could not be accepted.
const BREATH: Duration = Duration::from_millis(50);

/// What answers requests: a router, or a service that knows its routes.
pub trait Answers:
    tower::Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Answers for S where
    S: tower::Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// How a port is kept.
#[derive(Clone)]
pub struct Port {
    /// How long a connection may take for what.
    pub life: Life,
    /// Connections at once. Each takes a descriptor and, once it speaks, some 35 kB; others wait in the kernel's
    /// queue, and whoever is silent for a second makes room for them.
    pub most: usize,
    /// Spoken before anything else, when it is there.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether a request says where it came from, as axum's `ConnectInfo`.
    pub tells_peer: bool,
    /// Whether a request has the signs of life of its connection.
    pub tells_life: bool,
    /// Where its connections are served; without them, on the threads of whoever serves the port.
    pub threads: Option<Threads>,
    /// What is spoken on it beside HTTP.
    pub beside: Option<Beside>,
}

impl Default for Port {
    fn default() -> Self {
        Self {
            life: Life::default(),
            most: 1_000,
            tls: None,
            tells_peer: false,
            tells_life: false,
            threads: None,
            beside: None,
        }
    }
}

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// From the first byte of a call to the last of its head; also for the first byte itself, and for TLS before it.
    /// So long may a connection be idle, too; one of HTTP/2 twice as long.
    pub head: Duration,
    /// From its start to the answer that says "close", a tenth more or less: so that new replicas get load. Without it a
    /// connection lives as long as it is used.
    pub age: Option<Duration>,
    /// From then to the cut, when no call came that could be answered so.
    pub linger: Duration,
    /// When it should end and half a call has come: how long the other half may take.
    pub half: Duration,
    /// In so much time, whoever is sent an answer takes some of it, or is hung up on.
    pub pace: Duration,
}

impl Default for Life {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            head: seconds(30),
            age: None,
            linger: seconds(30),
            half: seconds(5),
            pace: seconds(30),
        }
    }
}

/// How far a port is from being closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Open,
    /// Still accepting, but every answer ends its connection.
    Leaving,
    /// Not accepting any more.
    Closed,
    /// Idle connections are cut.
    Shut,
}

/// Opens the listening socket.
///
/// # Errors
/// When the address is taken or not this machine's.
pub fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    // The standard library lets 128 wait. Who finds no room sends again after a second, then two, then four.
    rustix::net::listen(&listener, WAITING)?;
    Ok(listener)
}

/// Takes the listening socket that standard input is.
///
/// # Errors
/// When standard input is something else.
pub fn from_stdin() -> io::Result<std::net::TcpListener> {
    let stdin = io::stdin();
    let listening = rustix::net::sockopt::socket_acceptconn(stdin.as_fd()).unwrap_or(false);
    if !listening {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "standard input is not a listening socket",
        ));
    }
    let listener = std::net::TcpListener::from(stdin.as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts until the phase is [`Phase::Closed`]; `connections` ends when the last of them has, and none can come any more. The
/// service must always be ready.
pub async fn serve<S: Answers>(
    listener: TcpListener,
    service: S,
    port: Port,
    mut phase: watch::Receiver<Phase>,
    connections: TaskTracker,
) {
    let places = Places::new(port.most);
    let mut failing = false;
    // Whoever waits for the last connection may end the process then.
    let _may_take_more = connections.token();
    loop {
        let accepted = tokio::select! {
            biased;
            // An end of whoever says the phases is an end of the port.
            _ = phase.wait_for(|phase| *phase >= Phase::Closed) => return,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok(((stream, peer), place)) => {
                failing = false;
                let (service, port, phase) = (service.clone(), port.clone(), phase.clone());
                let threads = port.threads.clone();
                let connection = async move {
                    match TcpStream::from_std(stream) {
                        Ok(stream) => connection::serve((stream, peer), &place, service, port, phase).await,
                        Err(error) => tracing::warn!(%error, "a connection cannot be served"),
                    }
                };
                match threads {
                    Some(threads) => threads.serve(&connections, connection),
                    None => drop(connections.spawn(connection)),
                }
            }
            Err(error) => {
                // Out of descriptors, most likely: one that ends makes room. Said once, not twenty times a second.
                if !failing {
                    tracing::warn!(%error, "connections cannot be accepted");
                }
                failing = true;
                sleep(BREATH).await;
            }
        }
    }
}

/// A connection, which no runtime looks after yet.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Places>,
) -> io::Result<((std::net::TcpStream, SocketAddr), Place)> {
    let free = places.free().await?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(((stream.into_std()?, peer), places.give(free)))
}
