//! The listening socket, and the life of its connections: how long each may live and how they end.
//!
//! Apart from what is answered on them. The rule a newcomer would break: a connection on which a call may be on its way
//! is not closed; the next answer on it says `Connection: close` (HTTP/2: GOAWAY), and only the idle rest is cut.

use crate::control::backoff::about;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tower::Service;

/// From the first byte of a call to the last of its head; also what a silent connection may take.
const HEAD: Duration = Duration::from_secs(30);
/// So that new replicas get load.
const MAX_AGE: Duration = Duration::from_secs(60);
/// From the last answer that says "close" being possible to the cut.
const LINGER: Duration = Duration::from_secs(30);
/// Each takes a descriptor and some 10 kB: more wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 10_000;
/// Calls at a time on one HTTP/2 connection.
const MOST_STREAMS: u32 = 250;
const LARGEST_HEAD: u32 = 64 << 10;

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
pub async fn serve(listener: TcpListener, router: Router, mut phase: watch::Receiver<Phase>, connections: TaskTracker) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            _ = phase.wait_for(|phase| *phase >= Phase::Closed) => return,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let life = connection(stream, router.clone(), phase.clone());
                connections.spawn(async move {
                    life.await;
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

/// What the answers on a connection need to know of its life, and the other way round.
#[derive(Default)]
struct Signs {
    /// A call has come.
    spoke: AtomicBool,
    /// It came by HTTP/2.
    http2: AtomicBool,
    /// The next answer is the last.
    last: AtomicBool,
}

async fn connection(stream: TcpStream, router: Router, mut phase: watch::Receiver<Phase>) {
    let signs = Arc::new(Signs::default());
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD)
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(LARGEST_HEAD);
    let answers = answers(router, signs.clone());
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), answers));

    let age = about(MAX_AGE, rand::random());
    let (mut silent, mut old, mut overdue) = (pin!(sleep(HEAD)), pin!(sleep(age)), pin!(sleep(age + LINGER)));
    let (mut waited, mut cut) = (false, false);
    phase.mark_changed();
    loop {
        let last = signs.last.load(Ordering::Relaxed);
        let cut_now = tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection ended early");
                }
                return;
            }
            () = &mut silent, if !waited => {
                waited = true;
                !signs.spoke.load(Ordering::Relaxed)
            }
            () = &mut old, if !last => {
                signs.last.store(true, Ordering::Relaxed);
                signs.http2.load(Ordering::Relaxed)
            }
            () = &mut overdue, if !cut => true,
            Ok(()) = phase.changed(), if !cut => {
                let phase = *phase.borrow_and_update();
                if phase >= Phase::Leaving {
                    signs.last.store(true, Ordering::Relaxed);
                }
                phase == Phase::Shut || (phase >= Phase::Leaving && signs.http2.load(Ordering::Relaxed))
            }
        };
        if cut_now && !cut {
            cut = true;
            // What is in flight is finished.
            serving.as_mut().graceful_shutdown();
        }
    }
}

fn answers(
    router: Router,
    signs: Arc<Signs>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future = impl Future<Output = Result<axum::response::Response, Infallible>> + Send,
> {
    hyper::service::service_fn(move |request: Request<Incoming>| {
        let http2 = request.version() == Version::HTTP_2;
        signs.spoke.store(true, Ordering::Relaxed);
        signs.http2.store(http2, Ordering::Relaxed);
        let answer = router.clone().call(request.map(Body::new));
        let signs = signs.clone();
        async move {
            let mut answer = answer.await?;
            if !http2 && signs.last.load(Ordering::Relaxed) {
                answer
                    .headers_mut()
                    .insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer)
        }
    })
}
