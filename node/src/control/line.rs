//! A line to a control plane (`castoff_wire::line`): the connection, TLS where the address asks for it, and the opening.
//!
//! Apart from [`dial`](super::dial), which knows where to and with which token. The rule a newcomer would break: a control
//! plane of a release before knows no lines. That is no failure: it hangs up, and gRPC is tried.

use super::dial::chain;
use castoff_wire::life::{Life, Living, SILENCE};
use castoff_wire::line::{self, Inbox, Unheard};
use castoff_wire::proto::{FromNode, Opening, ToNode};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_stream::{Stream, StreamExt};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::transport::Uri;
use tower::ServiceExt;

/// The whole of TCP and TLS, and of HTTP/2 where that is spoken.
pub const HANDSHAKES: Duration = Duration::from_secs(6);

/// A connection, with TLS or without.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Why no line stands.
pub enum NotOpened {
    /// The other side knows no lines.
    Unknown,
    /// It does not take this one.
    Refused(Status),
    /// It is not there, or not whom we know; in one line.
    Failed(String),
}

/// A line that is taken.
pub struct Taken {
    /// Its signs of life.
    pub life: Life,
    connection: Box<dyn Connection>,
    inbox: Inbox,
}

/// A line to whom this authority vouches for; `None` when it is none.
pub fn tls(authority: &str) -> Option<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.ok()?).ok()?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let mut config = builder
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A control plane that knows no lines answers with the other, and is called again.
    config.alpn_protocols = [line::PROTOCOL, "h2"].map(|name| name.as_bytes().to_vec()).into();
    Some(TlsConnector::from(Arc::new(config)))
}

/// Dials, and opens a line.
///
/// # Errors
/// [`NotOpened`].
pub async fn open(
    tcp: HttpConnector,
    uri: Uri,
    tls: Option<&TlsConnector>,
    opening: &Opening,
    most: usize,
) -> Result<Taken, NotOpened> {
    let life = Life::begin();
    let connecting = timeout(HANDSHAKES, connect(tcp, uri, tls, life.clone()));
    let no_answer = || NotOpened::Failed("no answer".to_owned());
    let mut connection = connecting.await.map_err(|_| no_answer())??;
    let opened = timeout(SILENCE, line::open(&mut connection, opening)).await;
    let (opened, inbox) = opened.map_err(|_| no_answer())?.map_err(|_| NotOpened::Unknown)?;
    opened.verdict().map_err(NotOpened::Refused)?;
    Ok(Taken {
        life,
        connection,
        inbox: inbox.and_then_of(most),
    })
}

async fn connect(
    tcp: HttpConnector,
    uri: Uri,
    tls: Option<&TlsConnector>,
    life: Life,
) -> Result<Box<dyn Connection>, NotOpened> {
    fn failed(error: impl std::error::Error) -> NotOpened {
        NotOpened::Failed(chain(&error))
    }
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = tcp.oneshot(uri).await.map_err(failed)?.into_inner();
    let stream = Living::new(stream, life);
    let Some(tls) = tls else {
        return Ok(Box::new(stream));
    };
    let name = ServerName::try_from(host).map_err(failed)?;
    let stream = tls.connect(name, stream).await.map_err(failed)?;
    match stream.get_ref().1.alpn_protocol() {
        Some(protocol) if protocol == line::PROTOCOL.as_bytes() => Ok(Box::new(stream)),
        _ => Err(NotOpened::Unknown),
    }
}

impl Taken {
    /// Says what is taken out here; what comes back.
    pub fn say(self, calls: impl Stream<Item = FromNode> + Send + 'static) -> Heard {
        let (from, to) = tokio::io::split(self.connection);
        Heard {
            from,
            inbox: self.inbox,
            _saying: AbortOnDropHandle::new(tokio::spawn(say(to, calls))),
        }
    }
}

async fn say(mut to: WriteHalf<Box<dyn Connection>>, calls: impl Stream<Item = FromNode>) {
    let mut calls = pin!(calls);
    while let Some(message) = calls.next().await {
        let written = async {
            to.write_all(&line::framed(&message)).await?;
            to.flush().await
        };
        // That it broke is seen by whoever reads.
        if written.await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// What comes on a line that is taken. To drop it hangs up.
pub struct Heard {
    from: ReadHalf<Box<dyn Connection>>,
    inbox: Inbox,
    _saying: AbortOnDropHandle<()>,
}

impl Heard {
    /// The next message; `None` when the control plane has hung up. May be dropped and called again.
    ///
    /// # Errors
    /// [`Unheard`].
    pub fn message(&mut self) -> impl Future<Output = Result<Option<ToNode>, Unheard>> + Send + '_ {
        self.inbox.next(&mut self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use castoff_wire::proto::Opened;
    use tokio::net::TcpListener;

    /// How a dial ends where these bytes are the answer to its opening, and then somebody hangs up or says nothing more.
    async fn dialled(answer: &[u8], hangs_up: bool) -> Result<(), &'static str> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            line::opening(&mut stream).await.unwrap();
            stream.write_all(answer).await.unwrap();
            if hangs_up {
                drop(stream);
            }
            std::future::pending::<()>().await;
        };
        let opening = Opening::default();
        let opened = tokio::select! {
            opened = open(HttpConnector::new(), uri, None, &opening, 1 << 20) => opened,
            () = answering => return Err("nobody"),
        };
        opened.map(drop).map_err(|not_opened| match not_opened {
            NotOpened::Unknown => "unknown",
            NotOpened::Refused(_) => "refused",
            NotOpened::Failed(_) => "failed",
        })
    }

    #[tokio::test]
    async fn what_is_no_answer_opens_nothing() {
        let opened = |code| {
            line::framed(&Opened {
                code,
                reason: String::new(),
            })
        };
        let long = u32::try_from(line::MOST_ANSWER + 1).unwrap().to_be_bytes();
        let (unknown, refused, failed) = (Err("unknown"), Err("refused"), Err("failed"));
        let (hangs_up, stays) = (true, false);
        let cases: [(&[u8], bool, Result<(), &str>); 15] = [
            (&opened(0), stays, Ok(())),
            (&opened(16), hangs_up, refused),
            (&opened(u32::MAX), hangs_up, refused),
            (b"", hangs_up, unknown),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", stays, unknown),
            (b"SSH-2.0-OpenSSH_9.9\r\n", stays, unknown),
            // An alert of TLS.
            (&[0x15, 3, 3, 0, 2, 2, 0x46], stays, unknown),
            (&long, stays, unknown),
            (&[0xff; 4], stays, unknown),
            (&[0, 0, 0, 2, 0xff, 0xff], stays, unknown),
            (&[0, 0], hangs_up, unknown),
            (&opened(16)[..5], hangs_up, unknown),
            (b"", stays, failed),
            (&[0, 0], stays, failed),
            (&opened(16)[..5], stays, failed),
        ];
        let all = cases.iter().map(|(answer, hangs_up, _)| dialled(answer, *hangs_up));
        let ends = futures::future::join_all(all).await;
        for ((answer, hangs_up, expected), end) in cases.iter().zip(ends) {
            assert_eq!(end, *expected, "{answer:?}, {hangs_up}");
        }
    }
}
