//! One connection, from its first byte to its end.
//!
//! Apart from accepting. The rule a newcomer would break: a connection on which a call may be on its way is not closed;
//! the next answer on it says `Connection: close` (HTTP/2: GOAWAY), and only the idle rest is cut.

use super::pulse::{Line, Pulse};
use super::{Life, Phase};
use crate::control::backoff::about;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Version, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep};
use tower::Service;

/// Calls at a time on one HTTP/2 connection.
const MOST_STREAMS: u32 = 250;
const LARGEST_HEAD: u32 = 64 << 10;
/// Whoever takes fewer bytes of an answer in [`Life::pace`] does not read it. More than HTTP/2 says by itself.
const LEAST_TAKEN: u64 = 1 << 10;

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

/// What became due.
enum Due {
    /// Nothing that ends it.
    Nothing,
    /// It ends if no call is on its way.
    End,
    /// It ends.
    Cut,
}

pub(super) async fn serve(stream: TcpStream, router: Router, life: Life, mut phase: watch::Receiver<Phase>) {
    let (signs, pulse, stream) = (Arc::new(Signs::default()), Arc::new(Pulse::default()), Arc::new(stream));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(life.head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(life.head)
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(LARGEST_HEAD);
    let line = TokioIo::new(Line {
        stream: stream.clone(),
        pulse: pulse.clone(),
    });
    let mut serving = pin!(builder.serve_connection(line, answers(router, signs.clone(), pulse.clone())));

    let age = about(life.age, rand::random());
    let (mut silent, mut old, mut overdue) = (pin!(sleep(life.head)), pin!(sleep(age)), pin!(sleep(age + life.linger)));
    let mut other_half = pin!(sleep(Duration::MAX));
    let mut pace = interval_at(Instant::now() + life.pace, life.pace);
    let (mut waited, mut ending, mut cut, mut taken) = (false, false, false, 0);
    phase.mark_changed();
    loop {
        let last = signs.last.load(Ordering::Relaxed);
        let due = tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection ended early");
                }
                return;
            }
            () = &mut silent, if !waited => {
                waited = true;
                if signs.spoke.load(Ordering::Relaxed) { Due::Nothing } else { Due::Cut }
            }
            () = &mut old, if !last => {
                signs.last.store(true, Ordering::Relaxed);
                if signs.http2.load(Ordering::Relaxed) { Due::Cut } else { Due::Nothing }
            }
            () = &mut overdue, if !ending => Due::End,
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
            Ok(()) = phase.changed(), if !ending => {
                let phase = *phase.borrow_and_update();
                if phase >= Phase::Leaving {
                    signs.last.store(true, Ordering::Relaxed);
                }
                match phase {
                    Phase::Shut => Due::End,
                    Phase::Leaving | Phase::Closed if signs.http2.load(Ordering::Relaxed) => Due::Cut,
                    _ => Due::Nothing,
                }
            }
        };
        let cut_now = match due {
            Due::Nothing => false,
            Due::Cut => true,
            Due::End => {
                ending = true;
                signs.last.store(true, Ordering::Relaxed);
                other_half.as_mut().reset(Instant::now() + life.half);
                pulse.is_inside() || !pulse.is_half_said(&stream)
            }
        };
        if cut_now && !cut {
            (cut, ending) = (true, true);
            // What is in flight is finished.
            serving.as_mut().graceful_shutdown();
        }
    }
}

fn answers(
    router: Router,
    signs: Arc<Signs>,
    pulse: Arc<Pulse>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response,
    Error = Infallible,
    Future = impl Future<Output = Result<Response, Infallible>> + Send,
> {
    hyper::service::service_fn(move |request: Request<Incoming>| {
        let http2 = request.version() == Version::HTTP_2;
        signs.spoke.store(true, Ordering::Relaxed);
        signs.http2.store(http2, Ordering::Relaxed);
        let inside = pulse.enter();
        let answer = router.clone().call(request.map(Body::new));
        let signs = signs.clone();
        async move {
            let answer = answer.await;
            drop(inside);
            let mut answer = answer?;
            if !http2 && signs.last.load(Ordering::Relaxed) {
                answer
                    .headers_mut()
                    .insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer)
        }
    })
}
