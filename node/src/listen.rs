//! The listening socket, and the life of its connections: how long each may live and how they end.
//!
//! Apart from what is answered on them. The rule a newcomer would break: when this node stops accepting, what waits in the
//! socket is not its own; another replica may take it.

mod connection;
mod pulse;
#[cfg(test)]
mod tests;

use axum::Router;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

/// Each takes a descriptor and some 10 kB: more wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 10_000;

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// From the first byte of a call to the last of its head; also for the first byte itself.
    pub head: Duration,
    /// From its start to the answer that says "close", a tenth more or less: so that new replicas get load.
    pub age: Duration,
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
            age: seconds(60),
            linger: seconds(30),
            half: seconds(5),
            pace: seconds(30),
        }
    }
}

/// How far this node is from leaving.
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

/// Accepts until the phase is [`Phase::Closed`]; `connections` ends when the last of them has.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    life: Life,
    mut phase: watch::Receiver<Phase>,
    connections: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            _ = phase.wait_for(|phase| *phase >= Phase::Closed) => return,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let serving = connection::serve(stream, router.clone(), life, phase.clone());
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: one that ends makes room.
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}
