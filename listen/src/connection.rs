//! One connection, from its first byte to its end.
//!
//! Apart from accepting. The rule a newcomer would break: a connection on which a call may be on its way is not closed;
//! the next answer on it says `Connection: close` (HTTP/2: GOAWAY), and only the idle rest is cut.

use super::beside::{Beside, Stream};
use super::places::Place;
use super::pulse::{Line, Pulse, Unfinished};
use super::threads::Pace;
use super::turns::Turns;
use super::{Answers, Life, Phase, Port};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Version, header};
use axum::response::Response;
use castoff_wire::life::{Life as Heard, Living};
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Calls at a time on one HTTP/2 connection.
const MOST_STREAMS: u32 = 250;
const LARGEST_HEAD: u32 = 64 << 10;
/// Whoever takes fewer bytes of an answer in [`Life::pace`](super::Life::pace) does not read it. More than HTTP/2 says by
/// itself.
const LEAST_TAKEN: u64 = 1 << 10;
/// How often HTTP/2 asks whether the other side is there, at the least, and how long it may take to say so: a node that
/// vanished is noticed in twice that.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Longer than any process lives, and small enough for a clock to add it.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What became due.
enum Due {
    /// Nothing that ends it.
    Nothing,
    /// It ends if no call is on its way.
    End,
    /// It ends.
    Cut,
}

/// What answers on one connection.
struct Answering<S> {
    service: S,
    /// Where the calls come from, when they say so.
    peer: Option<SocketAddr>,
    /// The signs of life of the connection, when calls have them.
    heard: Option<Heard>,
    /// The next answer is the last.
    last: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
}

pub(super) async fn serve<S: Answers>(
    (stream, peer): (TcpStream, SocketAddr),
    place: &Place,
    service: S,
    port: Port,
    mut phase: watch::Receiver<Phase>,
) {
    let (pulse, stream) = (place.pulse().clone(), Arc::new(stream));
    let heard = Heard::begin();
    let answering = Answering {
        service,
        peer: port.tells_peer.then_some(peer),
        heard: port.tells_life.then(|| heard.clone()),
        last: Arc::default(),
        pulse: pulse.clone(),
    };
    let line = Line {
        stream: stream.clone(),
        pulse,
        pace: Pace::default(),
    };
    let line = Living::new(line, heard.clone());
    if port.tls.is_none() && port.beside.is_none() {
        return Box::pin(hold(line, &stream, place, answering, &port, phase)).await;
    }
    let greeted = tokio::select! {
        greeted = timeout(port.life.head, greet(line, &stream, &port)) => greeted,
        // Nothing is on its way before there is a line.
        _ = phase.wait_for(|phase| *phase >= Phase::Closed) => return,
        () = silent_and_wanted(place, &stream) => return,
    };
    // What HTTP has to remember is not kept for a line that speaks something else.
    match greeted {
        Ok(Ok(Greeted::Plain(line))) => Box::pin(hold(line, &stream, place, answering, &port, phase)).await,
        Ok(Ok(Greeted::Tls(line))) => Box::pin(hold(line, &stream, place, answering, &port, phase)).await,
        Ok(Ok(Greeted::Beside(beside, line))) => {
            drop((answering, phase));
            speak((beside.speak)(line, heard), &stream, place, port.life).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
        Err(_) => tracing::debug!("a handshake was not finished in time"),
    }
}

/// What a connection turned out to be.
enum Greeted<L> {
    Plain(L),
    Tls(Box<TlsStream<L>>),
    Beside(Beside, Box<dyn Stream>),
}

/// Finds out what is to be spoken on a connection.
async fn greet<L>(line: L, stream: &TcpStream, port: &Port) -> io::Result<Greeted<L>>
where
    L: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let beside = port.beside.as_ref();
    let Some(tls) = &port.tls else {
        let mut first = [0];
        let came = stream.peek(&mut first).await? > 0;
        return Ok(match beside.filter(|beside| came && first == [beside.first]) {
            Some(beside) => Greeted::Beside(beside.clone(), Box::new(line)),
            None => Greeted::Plain(line),
        });
    };
    let line = TlsAcceptor::from(tls.clone()).accept(line).await?;
    let asked_for = line.get_ref().1.alpn_protocol();
    Ok(
        match beside.filter(|beside| asked_for == Some(beside.protocol.as_bytes())) {
            Some(beside) => Greeted::Beside(beside.clone(), Box::new(line)),
            None => Greeted::Tls(Box::new(line)),
        },
    )
}

/// Holds a connection on which something else than HTTP is spoken. Whoever does not take what it is sent is cut off.
async fn speak(mut speaking: BoxFuture<'static, ()>, stream: &TcpStream, place: &Place, life: Life) {
    let pulse = place.pulse();
    let mut pace = interval_at(Instant::now() + life.pace, life.pace);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut taken = 0;
    loop {
        tokio::select! {
            () = &mut speaking => return,
            _ = pace.tick() => {
                let before = std::mem::replace(&mut taken, pulse.written());
                if pulse.is_blocked() && taken - before < LEAST_TAKEN {
                    tracing::debug!("whoever does not take what it is sent is cut off");
                    // Whoever speaks is told by the next read.
                    pulse.cut(stream);
                }
            }
        }
    }
}

/// Waits until the place is wanted for somebody else; for ever if the handshake has begun by then.
async fn silent_and_wanted(place: &Place, stream: &TcpStream) {
    place.wanted().await;
    if place.pulse().is_half_said(stream) {
        std::future::pending().await
    }
}

async fn hold<S: Answers>(
    line: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    stream: &TcpStream,
    place: &Place,
    answering: Answering<S>,
    port: &Port,
    mut phase: watch::Receiver<Phase>,
) {
    let life = port.life;
    let (last, pulse) = (answering.last.clone(), answering.pulse.clone());
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(life.head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(life.head.min(KEEP_ALIVE))
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(LARGEST_HEAD);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(line), answers(answering)));
    let turns = Turns::new();

    let age = life.age.map_or(NEVER, |age| about(age, rand::random()));
    let (mut silent, mut old, mut overdue) = (pin!(sleep(life.head)), pin!(sleep(age)), pin!(sleep(age + life.linger)));
    let mut other_half = pin!(sleep(NEVER));
    let mut pace = interval_at(Instant::now() + life.pace, life.pace);
    let mut look = interval_at(Instant::now() + life.head, life.head);
    // Looks that were missed (a machine that slept) are not made up for: nobody had time to do anything in between.
    for interval in [&mut pace, &mut look] {
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let (mut waited, mut ending, mut cut, mut taken, mut calls) = (false, false, false, 0, 0);
    phase.mark_changed();
    // Kept from one turn to the next: to begin to wait takes a lock that is shared with all connections of the port.
    let (mut turned, mut wanted) = (pin!(turn(phase)), pin!(place.wanted()));
    loop {
        let due = tokio::select! {
            ended = poll_fn(|context| turns.poll(context, |context| serving.as_mut().poll(context))) => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection ended early");
                }
                return;
            }
            () = &mut silent, if !waited => {
                waited = true;
                if pulse.calls() > 0 { Due::Nothing } else { Due::Cut }
            }
            () = &mut old, if !last.load(Ordering::Relaxed) => {
                last.store(true, Ordering::Relaxed);
                if pulse.is_http2() { Due::Cut } else { Due::Nothing }
            }
            () = &mut overdue, if !ending => Due::End,
            () = &mut wanted, if !ending => Due::End,
            () = &mut other_half, if ending && !cut => {
                if !pulse.is_inside() {
                    return;
                }
                Due::Cut
            }
            _ = pace.tick() => {
                let (before, stays) = (taken, pulse.is_blocked() || (cut && !pulse.is_inside()));
                taken = pulse.written();
                if stays && taken - before < LEAST_TAKEN {
                    tracing::debug!("whoever does not take an answer is hung up on");
                    return;
                }
                Due::Nothing
            }
            // Of HTTP/1 the head's own time sees to it.
            _ = look.tick(), if !cut && pulse.is_http2() => {
                let before = std::mem::replace(&mut calls, pulse.calls());
                if calls == before && !pulse.is_busy() { Due::Cut } else { Due::Nothing }
            }
            mut phases = &mut turned, if !ending => {
                let phase = *phases.borrow_and_update();
                turned.set(turn(phases));
                if phase >= Phase::Leaving {
                    last.store(true, Ordering::Relaxed);
                }
                match phase {
                    Phase::Shut => Due::End,
                    Phase::Leaving | Phase::Closed if pulse.is_http2() => Due::Cut,
                    _ => Due::Nothing,
                }
            }
        };
        let cut_now = match due {
            Due::Nothing => false,
            Due::Cut => true,
            Due::End => {
                ending = true;
                last.store(true, Ordering::Relaxed);
                other_half.as_mut().reset(Instant::now() + life.half);
                pulse.is_inside() || !pulse.is_half_said(stream)
            }
        };
        if cut_now && !cut {
            (cut, ending) = (true, true);
            // What is in flight is finished.
            serving.as_mut().graceful_shutdown();
        }
    }
}

/// Waits for the next phase; whoever says them has ended when none comes.
async fn turn(mut phases: watch::Receiver<Phase>) -> watch::Receiver<Phase> {
    if phases.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    phases
}

fn answers<S: Answers>(
    answering: Answering<S>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response<Unfinished>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Unfinished>, Infallible>> + Send,
> {
    hyper::service::service_fn(move |mut request: Request<Incoming>| {
        let Answering {
            service,
            peer,
            heard,
            last,
            pulse,
        } = &answering;
        let http2 = request.version() == Version::HTTP_2;
        if let Some(peer) = peer {
            request.extensions_mut().insert(ConnectInfo(*peer));
        }
        if let Some(heard) = heard {
            request.extensions_mut().insert(heard.clone());
        }
        let inside = pulse.enter();
        // Of HTTP/2 other calls go on beside this one; whether any does is counted until its answer is out.
        let busy = pulse.begin(http2);
        let answer = service.clone().call(request.map(Body::new));
        let last = last.clone();
        async move {
            let answer = answer.await;
            drop(inside);
            let mut answer = answer?;
            if !http2 && last.load(Ordering::Relaxed) {
                answer
                    .headers_mut()
                    .insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer.map(|body| Unfinished::new(body, busy)))
        }
    })
}

/// `mean` less or more a tenth of it; `random` is uniform in 0..1. Connections that began together do not end together.
fn about(mean: Duration, random: f64) -> Duration {
    mean.mul_f64(0.9 + 0.2 * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_is_within_a_tenth() {
        let mean = Duration::from_secs(60);
        assert_eq!(about(mean, 0.0), Duration::from_secs(54));
        assert_eq!(about(mean, 0.5), mean);
        assert_eq!(about(mean, 1.0), Duration::from_secs(66));
    }
}
