//! A connection's socket, which notes what passes through it.
//!
//! Apart from the loop that decides on it. The rule a newcomer would break: nothing here waits or ends a connection; it
//! only says what was seen.

use super::threads::Pace;
use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What is known of a connection from its bytes and its calls.
pub(super) struct Pulse {
    /// When it was accepted.
    accepted: Instant,
    /// Bytes came that belong to no call yet.
    begun: AtomicBool,
    /// Calls that are being answered.
    inside: AtomicUsize,
    /// Calls whose answer is not out yet, and all that there ever were.
    unfinished: AtomicUsize,
    calls: AtomicU64,
    /// The last call came by HTTP/2.
    http2: AtomicBool,
    /// Milliseconds from its beginning to the end of the last answer.
    answered_ms: AtomicU64,
    /// The other side does not take what is to be written.
    blocked: AtomicBool,
    /// Bytes that it has taken.
    written: AtomicU64,
    /// It was cut off.
    cut: AtomicBool,
}

/// What can be seen of a connection from outside, and for how long it has been so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not a byte has come.
    Silent(Duration),
    /// Of HTTP/1: all calls are answered to their end, and nothing came since.
    Resting(Duration),
    /// A call may be on its way.
    Engaged,
}

impl Pulse {
    /// Of a connection that was just accepted.
    pub(super) fn begin_now() -> Self {
        Self {
            accepted: Instant::now(),
            begun: AtomicBool::default(),
            inside: AtomicUsize::default(),
            unfinished: AtomicUsize::default(),
            calls: AtomicU64::default(),
            http2: AtomicBool::default(),
            answered_ms: AtomicU64::default(),
            blocked: AtomicBool::default(),
            written: AtomicU64::default(),
            cut: AtomicBool::default(),
        }
    }

    /// A call that is being answered, until this is dropped: then its bytes are accounted for.
    pub(super) fn enter(self: &Arc<Self>) -> Inside {
        self.inside.fetch_add(1, Ordering::Relaxed);
        Inside(Arc::clone(self))
    }

    /// Whether a call is being answered.
    pub(super) fn is_inside(&self) -> bool {
        self.inside.load(Ordering::Relaxed) > 0
    }

    /// A call, until its answer is out and this is dropped.
    pub(super) fn begin(self: &Arc<Self>, http2: bool) -> Busy {
        self.http2.store(http2, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.unfinished.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Whether a call is not yet answered to its end.
    pub(super) fn is_busy(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed) > 0
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether calls come by HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// What can be seen of it now.
    pub(super) fn standing(&self) -> Standing {
        let begun = self.begun.load(Ordering::Relaxed);
        if begun || self.is_inside() || self.is_busy() || self.is_blocked() || self.is_http2() {
            return Standing::Engaged;
        }
        let open = self.accepted.elapsed();
        if self.calls() == 0 {
            return Standing::Silent(open);
        }
        let answered = Duration::from_millis(self.answered_ms.load(Ordering::Relaxed));
        Standing::Resting(open.saturating_sub(answered))
    }

    /// Whether the other side does not take what is to be written.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Ends its reads and writes. They fail, since nobody on the other side has ended anything.
    pub(super) fn cut(&self, stream: &TcpStream) {
        self.cut.store(true, Ordering::Relaxed);
        // It may be over already.
        let _ = rustix::net::shutdown(stream, rustix::net::Shutdown::Both);
    }

    /// Whether a call is on its way: begun and not answered, or waiting unread in the socket.
    pub(super) fn is_half_said(&self, stream: &TcpStream) -> bool {
        self.begun.load(Ordering::Relaxed) || rustix::io::ioctl_fionread(stream).is_ok_and(|unread| unread > 0)
    }
}

/// A call that is being answered.
pub(super) struct Inside(Arc<Pulse>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.begun.store(false, Ordering::Relaxed);
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call whose answer is not out yet.
pub(super) struct Busy(Arc<Pulse>);

impl Drop for Busy {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.accepted.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.answered_ms.store(now, Ordering::Relaxed);
        self.0.unfinished.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer that is not out yet.
pub(super) struct Unfinished {
    body: Body,
    _busy: Busy,
}

impl Unfinished {
    pub(super) fn new(body: Body, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl HttpBody for Unfinished {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The socket, shared with the loop that looks whether something waits in it.
pub(super) struct Line {
    pub(super) stream: Arc<TcpStream>,
    pub(super) pulse: Arc<Pulse>,
    /// How soon the caller asks again.
    pub(super) pace: Pace,
}

impl Line {
    fn wrote(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.pulse.blocked.store(outcome.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(bytes)) = &outcome {
            self.pulse.written.fetch_add(*bytes as u64, Ordering::Relaxed);
            self.pace.answered(std::time::Instant::now());
        }
        outcome
    }

    fn write(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            let mut read = None;
            // Fewer bytes than there is room for: the socket is empty, and the next read waits for more instead of asking
            // in vain, as the runtime's own does.
            let asked = self.stream.try_io(Interest::READABLE, || {
                let bytes = self.stream.try_read_buf(buffer)?;
                read = Some(bytes);
                if bytes > 0 && buffer.remaining() > 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(())
            });
            match (read, asked) {
                (Some(0), _) if self.pulse.cut.load(Ordering::Relaxed) && buffer.remaining() > 0 => {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                (Some(bytes), _) => {
                    if bytes > 0 {
                        self.pace.asked(std::time::Instant::now());
                        self.pulse.begun.store(true, Ordering::Relaxed);
                    }
                    return Poll::Ready(Ok(()));
                }
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                (None, outcome) => return Poll::Ready(outcome),
            }
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = self.write(context, |stream| stream.try_write(bytes));
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.write(context, |stream| stream.try_write_vectored(slices));
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write) {
            // The other side was quicker.
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Engaged, Resting, Silent};

    #[test]
    fn a_standing_is_of_what_came_last() {
        let pulse = Arc::new(Pulse::begin_now());
        assert!(matches!(pulse.standing(), Silent(_)));
        pulse.begun.store(true, Ordering::Relaxed);
        assert_eq!(pulse.standing(), Engaged, "half a head");
        let (inside, busy) = (pulse.enter(), pulse.begin(false));
        drop(inside);
        assert_eq!(pulse.standing(), Engaged, "an answer that goes on");
        drop(busy);
        assert!(matches!(pulse.standing(), Resting(_)));
        pulse.blocked.store(true, Ordering::Relaxed);
        assert_eq!(pulse.standing(), Engaged, "its last bytes are not taken yet");
        pulse.blocked.store(false, Ordering::Relaxed);
        drop(pulse.begin(true));
        assert_eq!(pulse.standing(), Engaged, "HTTP/2 may be used at any time");
    }
}
