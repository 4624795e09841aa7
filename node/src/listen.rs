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

/// Each takes a descriptor and some 10 kB: more wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 10_000;
/// Calls at a time on one HTTP/2 connection.
const MOST_STREAMS: u32 = 250;
const LARGEST_HEAD: u32 = 64 << 10;

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// From the first byte of a call to the last of its head; also for the first byte itself.
    pub head: Duration,
    /// From its start to the answer that says "close", a tenth more or less: so that new replicas get load.
    pub age: Duration,
    /// From then to the cut, when no call came that could be answered so.
    pub linger: Duration,
}

impl Default for Life {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            head: seconds(30),
            age: seconds(60),
            linger: seconds(30),
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
                let serving = connection(stream, router.clone(), life, phase.clone());
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

async fn connection(stream: TcpStream, router: Router, life: Life, mut phase: watch::Receiver<Phase>) {
    let signs = Arc::new(Signs::default());
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(life.head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(life.head)
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(LARGEST_HEAD);
    let answers = answers(router, signs.clone());
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), answers));

    let age = about(life.age, rand::random());
    let (mut silent, mut old, mut overdue) = (pin!(sleep(life.head)), pin!(sleep(age)), pin!(sleep(age + life.linger)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Plan;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const CALL: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    struct World {
        address: SocketAddr,
        phase: watch::Sender<Phase>,
        connections: TaskTracker,
    }

    impl World {
        fn start(life: Life) -> Self {
            let listener = open("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            let router = Router::new().route("/", get(|| async { "fast" })).route(
                "/slow",
                get(|| async {
                    sleep(Duration::from_millis(300)).await;
                    "slow"
                }),
            );
            let (phase, phases) = watch::channel(Phase::Open);
            let connections = TaskTracker::new();
            let listener = TcpListener::from_std(listener).unwrap();
            tokio::spawn(serve(listener, router, life, phases, connections.clone()));
            Self {
                address,
                phase,
                connections,
            }
        }

        async fn dial(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }
    }

    /// The next answer with its head, as long as this body.
    async fn answer(stream: &mut TcpStream, body: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(body) {
            let byte = stream.read_u8().await.expect("an answer");
            text.push(char::from(byte));
        }
        text
    }

    #[tokio::test]
    async fn leaving_ends_connections_by_their_answers_and_cuts_no_call() {
        let world = World::start(Life::default());
        let (mut busy, mut kept) = (world.dial().await, world.dial().await);
        for stream in [&mut busy, &mut kept] {
            stream.write_all(CALL).await.unwrap();
            assert!(!answer(stream, "fast").await.contains("connection: close"));
        }
        busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        sleep(Duration::from_millis(50)).await;

        let plan = Plan {
            accept: Duration::from_millis(200),
            idle: Duration::ZERO,
            finish: Duration::from_secs(5),
        };
        let (phase, connections) = (world.phase.clone(), world.connections.clone());
        let leaving = tokio::spawn(async move { plan.carry_out(&phase, &connections).await });
        sleep(Duration::from_millis(50)).await;
        let mut late = world.dial().await;
        for stream in [&mut kept, &mut late] {
            stream.write_all(CALL).await.unwrap();
            assert!(answer(stream, "fast").await.contains("connection: close"));
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "closed after the answer");
        }
        assert!(answer(&mut busy, "slow").await.starts_with("HTTP/1.1 200"));
        assert!(leaving.await.unwrap());
        assert!(TcpStream::connect(world.address).await.is_err());
    }

    #[tokio::test]
    async fn an_idle_connection_does_not_hold_a_leaving_node() {
        let world = World::start(Life::default());
        let mut idle = world.dial().await;
        idle.write_all(CALL).await.unwrap();
        answer(&mut idle, "fast").await;
        let mut silent = world.dial().await;
        silent.write_all(b"P").await.unwrap();
        let plan = Plan {
            accept: Duration::ZERO,
            idle: Duration::from_millis(50),
            finish: Duration::from_secs(5),
        };
        assert!(plan.carry_out(&world.phase, &world.connections).await);
    }

    #[tokio::test]
    async fn an_old_connection_is_told_to_go_and_a_silent_one_is_cut() {
        let ms = Duration::from_millis;
        let world = World::start(Life {
            head: ms(150),
            age: ms(200),
            linger: ms(10_000),
        });
        let (mut old, mut silent, mut slow) = (world.dial().await, world.dial().await, world.dial().await);
        slow.write_all(b"GET / HT").await.unwrap();
        let mut told_to_go = 0;
        for _ in 0..4 {
            old.write_all(CALL).await.unwrap();
            if answer(&mut old, "fast").await.contains("connection: close") {
                told_to_go += 1;
                break;
            }
            sleep(ms(80)).await;
        }
        assert_eq!(told_to_go, 1);
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
        let mut rest = String::new();
        slow.read_to_string(&mut rest).await.unwrap();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
    }
}
