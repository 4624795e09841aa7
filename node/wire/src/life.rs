//! Signs of life on a connection: when bytes last came.
//!
//! Both ends hang up on a peer that is silent. A large message takes its time on a slow line, and its bytes are a sign of
//! life as good as a heartbeat, which waits behind it. The rule a newcomer would break: bytes say only that somebody is
//! there. What was said, and that the control plane was in contact, is known when a message is whole.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};
use tonic::transport::server::Connected;

/// So long without a byte, and the peer is gone: three heartbeats of one second, and half a one for the road.
pub const SILENCE: Duration = Duration::from_millis(3_500);
/// So long without a whole message, bytes or not. Of what nodes are sent, the largest config, 10,000 keys in some 2 MB, takes it
/// at 3.5 kB/s. Of what they say, usage of as many keys, 400 KiB, takes it at 0.7 kB/s, and the most that is heard, 1 MiB, at
/// 1.75 kB/s. A line that is slower never comes to its heartbeats, one a second, and is of no use.
pub const LONGEST_MESSAGE: Duration = Duration::from_secs(600);

/// When bytes last came. Clones are of one connection.
#[derive(Clone, Debug)]
pub struct Life {
    began: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Life {
    /// Of a connection that begins now.
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            last_ms: Arc::default(),
        }
    }

    /// When the last bytes came; the beginning, before any.
    pub fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    /// Waits until nothing has come for so long.
    pub async fn silent_for(&self, long: Duration) {
        loop {
            let until = self.last() + long;
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }

    fn note(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(since, Ordering::Relaxed);
    }
}

/// A connection whose signs of life are noted.
#[derive(Debug)]
pub struct Living<T> {
    inner: T,
    life: Life,
}

impl<T> Living<T> {
    /// Notes what comes on this connection.
    pub fn new(inner: T, life: Life) -> Self {
        Self { inner, life }
    }
}

/// A server finds the signs of life among the extensions of a request.
impl<T> Connected for Living<T> {
    type ConnectInfo = Life;

    fn connect_info(&self) -> Life {
        self.life.clone()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Living<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.life.note();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Living<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn only_bytes_that_come_are_a_sign_of_life() {
        const SHORT: Duration = Duration::from_millis(20);
        let (mut peer, connection) = tokio::io::duplex(64);
        let life = Life::begin();
        let mut connection = Living::new(connection, life.clone());
        let began = life.last();
        life.silent_for(SHORT).await;
        peer.write_all(b"x").await.unwrap();
        connection.read_exact(&mut [0]).await.unwrap();
        let last = life.last();
        assert!(last >= began + SHORT, "it came after the silence");
        life.silent_for(SHORT).await;
        // What is written is none: nobody may be there to read it. Nor is the end.
        connection.write_all(b"x").await.unwrap();
        drop(peer);
        assert_eq!(connection.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(life.last(), last);
    }
}
