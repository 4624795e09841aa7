//! A connection's socket, which notes what passes through it.
//!
//! Apart from the loop that decides on it. The rule a newcomer would break: nothing here waits or ends a connection; it
//! only says what was seen.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What is known of a connection from its bytes and its calls.
#[derive(Default)]
pub(super) struct Pulse {
    /// Bytes came that belong to no call yet.
    begun: AtomicBool,
    /// Calls that are being answered.
    inside: AtomicUsize,
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
            match self.stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(bytes) => {
                    if bytes > 0 {
                        self.pulse.begun.store(true, Ordering::Relaxed);
                    }
                    return Poll::Ready(Ok(()));
                }
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
