//! A connection's socket, which notes what passes through it.
//!
//! Apart from the loop that decides on it. The rule a newcomer would break: nothing here waits or ends a connection; it
//! only says what was seen.

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// What is known of a connection from its bytes and its calls.
#[derive(Default)]
pub(super) struct Pulse {
    /// Bytes came that belong to no call yet.
    begun: AtomicBool,
    /// Calls that are being answered.
    inside: AtomicUsize,
    /// Calls of HTTP/2 whose answer is not out yet, and all that there ever were.
    unfinished: AtomicUsize,
    calls: AtomicU64,
    /// The other side does not take what is to be written.
    blocked: AtomicBool,
    /// Bytes that it has taken.
    written: AtomicU64,
}

impl Pulse {
    /// A call that is being answered, until this is dropped: then its bytes are accounted for.
    pub(super) fn enter(self: &Arc<Self>) -> Inside {
        self.inside.fetch_add(1, Ordering::Relaxed);
        Inside(Arc::clone(self))
    }

    /// Whether a call is being answered.
    pub(super) fn is_inside(&self) -> bool {
        self.inside.load(Ordering::Relaxed) > 0
    }

    /// A call of HTTP/2, until its answer is out and this is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.unfinished.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Whether a call of HTTP/2 is not yet answered to its end.
    pub(super) fn is_busy(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed) > 0
    }

    /// Calls of HTTP/2 so far.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether the other side does not take what is to be written.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
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

/// A call of HTTP/2 whose answer is not out yet.
pub(super) struct Busy(Arc<Pulse>);

impl Drop for Busy {
    fn drop(&mut self) {
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
}

impl Line {
    fn wrote(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.pulse.blocked.store(outcome.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(bytes)) = &outcome {
            self.pulse.written.fetch_add(*bytes as u64, Ordering::Relaxed);
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
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
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
                (Some(bytes), _) => {
                    if bytes > 0 {
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
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = self.write(context, |stream| stream.try_write(bytes));
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
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
