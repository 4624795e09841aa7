//! Connections over real sockets: how they end, and what does not end them.

use super::Plan;
use axum::Router;
use axum::routing::get;
use castoff_listen::{Life, Phase, Port, open, serve};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

const CALL: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// More than the buffers of two sockets take.
const LARGE: usize = 64 << 20;

struct World {
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    connections: TaskTracker,
}

impl World {
    fn start(life: Life) -> Self {
        Self::with(Port {
            life,
            ..Port::default()
        })
    }

    /// With so many places, and all the time of the world for who has one.
    fn of(most: usize) -> Self {
        let long = Duration::from_secs(3_600);
        let life = Life {
            head: long,
            pace: long,
            ..Life::default()
        };
        Self::with(Port {
            life,
            most,
            ..Port::default()
        })
    }

    fn with(port: Port) -> Self {
        let listener = open("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "fast" })).route(
            "/slow",
            get(|| async {
                sleep(Duration::from_millis(300)).await;
                "slow"
            }),
        );
        let router = router.route("/large", get(|| async { "x".repeat(LARGE) }));
        let (phase, phases) = watch::channel(Phase::Open);
        let connections = TaskTracker::new();
        let listener = TcpListener::from_std(listener).unwrap();
        tokio::spawn(serve(listener, router, port, phases, connections.clone()));
        Self {
            address,
            phase,
            connections,
        }
    }

    async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Dials and says this at once: it is there before the other side accepts.
    fn call(&self, text: &[u8]) -> TcpStream {
        let mut stream = std::net::TcpStream::connect(self.address).unwrap();
        std::io::Write::write_all(&mut stream, text).unwrap();
        stream.set_nonblocking(true).unwrap();
        TcpStream::from_std(stream).unwrap()
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
    let _silent = world.dial().await;
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
        age: Some(ms(200)),
        linger: ms(10_000),
        ..Life::default()
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

/// A plan that cuts what is idle at once.
const AT_ONCE: Plan = Plan {
    accept: Duration::ZERO,
    idle: Duration::ZERO,
    finish: Duration::from_secs(30),
};

/// Whoever thinks that the last connection has ended ends the process: so long as another one may be taken, it has not.
#[tokio::test]
async fn the_last_connection_has_not_ended_before_the_last_is_taken() {
    let world = World::start(Life::default());
    // Now it waits for the first.
    tokio::task::yield_now().await;
    world.connections.close();
    let ended = async || futures::poll!(std::pin::pin!(world.connections.wait())).is_ready();
    assert!(!ended().await, "it accepts");
    world.phase.send_replace(Phase::Closed);
    assert!(!ended().await, "it has not heard yet that it is not to");
    timeout(Duration::from_secs(60), world.connections.wait())
        .await
        .unwrap();
}

#[tokio::test]
async fn half_a_call_at_the_moment_of_the_cut_is_answered() {
    let world = World::start(Life::default());
    let (first, second) = CALL.split_at(9);
    let (mut new, mut kept) = (world.dial().await, world.dial().await);
    kept.write_all(CALL).await.unwrap();
    answer(&mut kept, "fast").await;
    for stream in [&mut new, &mut kept] {
        stream.write_all(first).await.unwrap();
    }
    let (phase, connections) = (world.phase.clone(), world.connections.clone());
    let mut phases = phase.subscribe();
    let leaving = tokio::spawn(async move { AT_ONCE.carry_out(&phase, &connections).await });
    phases.wait_for(|phase| *phase == Phase::Shut).await.unwrap();
    // Time for the mistake to happen.
    sleep(Duration::from_millis(50)).await;
    for stream in [&mut new, &mut kept] {
        stream.write_all(second).await.unwrap();
        assert!(answer(stream, "fast").await.contains("connection: close"));
    }
    assert!(leaving.await.unwrap());
}

#[tokio::test]
async fn half_a_call_that_stays_one_does_not_hold_a_leaving_node() {
    let world = World::start(Life {
        half: Duration::from_millis(50),
        ..Life::default()
    });
    let (mut new, mut kept) = (world.dial().await, world.dial().await);
    kept.write_all(CALL).await.unwrap();
    answer(&mut kept, "fast").await;
    for stream in [&mut new, &mut kept] {
        stream.write_all(b"GET").await.unwrap();
    }
    assert!(AT_ONCE.carry_out(&world.phase, &world.connections).await);
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_its_connection() {
    let world = World::start(Life {
        pace: Duration::from_millis(1_000),
        ..Life::default()
    });
    let (mut stuck, mut reader) = (world.dial().await, world.dial().await);
    for stream in [&mut stuck, &mut reader] {
        stream
            .write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
    }
    // Slow, but it reads.
    let mut buffer = vec![0; 1 << 20];
    let mut read = 0;
    while read < LARGE {
        read += match reader.read(&mut buffer).await.unwrap() {
            0 => panic!("cut after {read} bytes"),
            bytes => bytes,
        };
        if read < 20 << 20 {
            sleep(Duration::from_millis(10)).await;
        }
    }
    world.phase.send_replace(Phase::Closed);
    world.connections.close();
    drop(reader);
    world.connections.wait().await;
    stuck.write_all(CALL).await.ok();
    let mut rest = Vec::new();
    // A reset, or an end before the whole answer.
    assert!(stuck.read_to_end(&mut rest).await.is_err() || rest.len() < LARGE);
}

#[tokio::test]
async fn a_stream_of_http_2_that_nobody_takes_ends_with_its_connection() {
    let life = Life {
        age: Some(Duration::from_millis(100)),
        linger: Duration::from_millis(100),
        pace: Duration::from_millis(100),
        ..Life::default()
    };
    let world = World::start(life);
    let mut stuck = world.dial().await;
    // The preface, empty settings, and GET /large on stream 1 by the static table; the window stays as small as it is.
    stuck.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stuck.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let head = [&[0x82, 0x86, 0x04, 6][..], b"/large", &[0x01, 1], b"x"].concat();
    let frame = [0, 0, u8::try_from(head.len()).unwrap(), 1, 5, 0, 0, 0, 1];
    stuck.write_all(&[&frame[..], &head].concat()).await.unwrap();
    let mut said = Vec::new();
    stuck.read_to_end(&mut said).await.ok();
    assert!(said.len() > 60_000, "the answer began: {} bytes", said.len());
}

/// Whether the other side hangs up without a word; a minute is only against hanging.
async fn hung_up_on(stream: &mut TcpStream) -> bool {
    let read = timeout(Duration::from_secs(60), stream.read(&mut [0; 1])).await;
    read.is_ok_and(|read| read.is_ok_and(|bytes| bytes == 0))
}

#[tokio::test]
async fn who_is_silent_or_rests_makes_room_and_no_call_is_cut() {
    let world = World::of(4);
    let (first, second) = CALL.split_at(9);
    let mut large = world.call(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut half = world.call(first);
    let mut silent = world.dial().await;
    let mut resting = world.call(CALL);
    answer(&mut resting, "fast").await;

    // Each newcomer takes the place of one; who never spoke goes first.
    assert!(hung_up_on(&mut silent).await);
    let mut newcomer = world.call(CALL);
    answer(&mut newcomer, "fast").await;
    assert!(hung_up_on(&mut resting).await);

    half.write_all(second).await.unwrap();
    assert!(!answer(&mut half, "fast").await.contains("connection: close"));
    // The answer that nobody took for so long comes whole.
    let mut read = 0;
    let mut buffer = vec![0; 1 << 20];
    while read < LARGE {
        match large.read(&mut buffer).await.unwrap() {
            0 => panic!("cut after {read} bytes"),
            bytes => read += bytes,
        }
    }
}

#[tokio::test]
async fn a_caller_that_vanishes_takes_its_call_along() {
    let listener = open("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let held = Arc::new(());
    let hold = held.clone();
    let router = Router::new().route(
        "/",
        get(move || async move {
            let _hold = hold;
            std::future::pending::<()>().await;
        }),
    );
    let (_phase, phases) = watch::channel(Phase::Open);
    let listener = TcpListener::from_std(listener).unwrap();
    tokio::spawn(serve(listener, router, Port::default(), phases, TaskTracker::new()));
    let mut caller = TcpStream::connect(address).await.unwrap();
    let before = Arc::strong_count(&held);
    caller.write_all(CALL).await.unwrap();
    while Arc::strong_count(&held) == before {
        sleep(Duration::from_millis(1)).await;
    }
    drop(caller);
    while Arc::strong_count(&held) > before {
        sleep(Duration::from_millis(1)).await;
    }
}
