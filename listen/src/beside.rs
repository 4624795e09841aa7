//! What a port speaks beside HTTP.
//!
//! Apart from the connection's life, which is the same for both up to the first word: places, TLS, and the time that each may
//! take. The rule a newcomer would break: whoever speaks it has the connection for as long as it wants, and no phase of
//! the port ends it. It ends by itself.

use castoff_wire::life::Life;
use futures::future::BoxFuture;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection, with TLS or without.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Speaks on one connection, within the task that accepted it, until one of the two has had enough.
pub type Speak = dyn Fn(Box<dyn Stream>, Life) -> BoxFuture<'static, ()> + Send + Sync;

/// A protocol of a port's own.
#[derive(Clone)]
pub struct Beside {
    /// By this name it is asked for over TLS (ALPN); the port's TLS must offer it.
    pub protocol: &'static str,
    /// Without TLS it begins with this byte, which is left for whoever speaks. No request of HTTP may begin with it.
    pub first: u8,
    /// Speaks it.
    pub speak: Arc<Speak>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Life as Times, Phase, Port, serve};
    use axum::routing::get;
    use futures::FutureExt;
    use std::io::ErrorKind;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::{mpsc, watch};
    use tokio::time::timeout;
    use tokio_util::task::TaskTracker;

    const FIRST: u8 = 0xca;
    /// Only against hanging.
    const PATIENCE: Duration = Duration::from_secs(60);

    struct Open {
        address: SocketAddr,
        phase: watch::Sender<Phase>,
        connections: TaskTracker,
        /// How each that was spoken with has ended.
        ends: mpsc::UnboundedReceiver<std::io::Result<()>>,
    }

    /// A port that answers calls, and sends whatever it is sent on what begins with the byte, a thousand times each.
    async fn open(most: usize, life: Times) -> Open {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (said, ends) = mpsc::unbounded_channel();
        let speak = move |mut line: Box<dyn Stream>, _| {
            let said = said.clone();
            async move {
                let speaking = async {
                    loop {
                        let byte = [line.read_u8().await?; 100_000];
                        for _ in 0..1_000 {
                            line.write_all(&byte).await?;
                        }
                    }
                };
                said.send(speaking.await).unwrap();
            }
            .boxed()
        };
        let port = Port {
            life,
            most,
            beside: Some(Beside {
                protocol: "echo",
                first: FIRST,
                speak: Arc::new(speak),
            }),
            ..Port::default()
        };
        let router = axum::Router::new().route("/", get(async || "called"));
        let (phase, phases) = watch::channel(Phase::Open);
        let connections = TaskTracker::new();
        tokio::spawn(serve(listener, router, port, phases, connections.clone()));
        Open {
            address,
            phase,
            connections,
            ends,
        }
    }

    async fn call(address: SocketAddr) -> String {
        let mut caller = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        caller.write_all(request).await.unwrap();
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_first_byte_says_what_is_spoken() {
        let mut port = open(10, Times::default()).await;
        assert!(call(port.address).await.ends_with("called"));
        let mut line = TcpStream::connect(port.address).await.unwrap();
        line.write_all(&[FIRST]).await.unwrap();
        let mut spoken = [0; 1_000];
        line.read_exact(&mut spoken).await.unwrap();
        assert_eq!(spoken, [FIRST; 1_000]);
        assert!(call(port.address).await.ends_with("called"));
        drop(line);
        let end = timeout(PATIENCE, port.ends.recv()).await.unwrap().unwrap();
        assert!(end.is_err(), "nobody is there");
    }

    #[tokio::test]
    async fn who_does_not_take_what_it_is_sent_is_cut_off() {
        let pace = Duration::from_millis(200);
        let mut port = open(
            10,
            Times {
                pace,
                ..Times::default()
            },
        )
        .await;
        let mut line = TcpStream::connect(port.address).await.unwrap();
        line.write_all(&[FIRST]).await.unwrap();
        let end = timeout(PATIENCE, port.ends.recv()).await.unwrap().unwrap();
        // A write that waits, and a read.
        let kinds = [ErrorKind::BrokenPipe, ErrorKind::TimedOut];
        assert!(kinds.contains(&end.unwrap_err().kind()));
    }

    #[tokio::test]
    async fn who_is_spoken_with_keeps_its_place_and_who_says_nothing_does_not() {
        let port = open(2, Times::default()).await;
        let mut line = TcpStream::connect(port.address).await.unwrap();
        line.write_all(&[FIRST]).await.unwrap();
        line.read_u8().await.unwrap();
        let mut silent = TcpStream::connect(port.address).await.unwrap();
        assert!(timeout(PATIENCE, call(port.address)).await.unwrap().ends_with("called"));
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
        line.read_exact(&mut vec![0; 1_000_000]).await.unwrap();
    }

    #[tokio::test]
    async fn who_has_said_nothing_ends_with_the_port() {
        let port = open(2, Times::default()).await;
        let mut silent = TcpStream::connect(port.address).await.unwrap();
        assert!(call(port.address).await.ends_with("called"), "it is accepted by now");
        port.phase.send_replace(Phase::Closed);
        port.connections.close();
        timeout(PATIENCE, port.connections.wait()).await.unwrap();
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    }
}
