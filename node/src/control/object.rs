//! A file from an object store, by an address that lets in whoever has it.
//!
//! One connection for each file, over HTTP/1.1: it is for the rare start without a control plane. The rule a newcomer would
//! break: the address is a secret. It is in no error and no log, and nobody is followed who points elsewhere.

use bytes::Bytes;
use castoff_wire::PackageAddresses;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The whole of names, TCP and TLS.
const CONNECT: Duration = Duration::from_secs(10);
/// Without a byte, and the store is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer's head.
const MOST_HEAD: usize = 16 << 10;

/// Why a file did not come. None of these has an address in it.
#[derive(Debug, thiserror::Error)]
pub enum NotGiven {
    /// Nobody said where the file is, or not so that it can be understood.
    #[error("its address in the object store is not known")]
    Unknown,
    /// Models would be read on their way.
    #[error("its address in the object store has no TLS")]
    Plain,
    /// Nobody answers there, or not the one that should.
    #[error("the object store cannot be reached: {0}")]
    Io(#[from] io::Error),
    /// Nobody vouches for the one who answers there.
    #[error("the object store shows a certificate {0}")]
    Untrusted(String),
    /// It did not keep to the protocol.
    #[error("the object store broke off: {}", if .0.is_timeout() { "too slow" } else { "not HTTP, or not to its end" })]
    Broken(#[from] hyper::Error),
    /// It has no such file, or does not give it.
    #[error("the object store answered {}", .0.as_u16())]
    Status(StatusCode),
    /// Nothing came for long.
    #[error("the object store stopped answering")]
    Stalled,
}

/// A file on its way.
pub struct Object {
    body: Incoming,
    connection: JoinHandle<()>,
}

impl Object {
    /// Asks for the file of this digest.
    pub async fn ask(addresses: &PackageAddresses, digest: &[u8]) -> Result<Self, NotGiven> {
        let address = addresses.of(digest).ok_or(NotGiven::Unknown)?;
        let place = Place::parse(address, addresses.insecure_http)?;
        let authorities = addresses.ca_pem.as_deref();
        let connected = timeout(CONNECT, place.connect(authorities)).await;
        let (mut sender, connection) = connected.map_err(|_| NotGiven::Stalled)??;
        let request = Request::get(place.path)
            .header(header::HOST, place.authority)
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Empty::new())
            .map_err(|_| NotGiven::Unknown)?;
        let answer = timeout(PATIENCE, sender.send_request(request)).await;
        let (head, body) = answer.map_err(|_| NotGiven::Stalled)??.into_parts();
        match head.status {
            StatusCode::OK => Ok(Self { body, connection }),
            // A redirection, too: what is there was not signed for us.
            other => Err(NotGiven::Status(other)),
        }
    }

    /// The next bytes; none at its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, NotGiven> {
        loop {
            let frame = timeout(PATIENCE, self.body.frame()).await;
            match frame.map_err(|_| NotGiven::Stalled)?.transpose()? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Where to connect, and what to ask for.
#[derive(Clone, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    tls: bool,
    authority: String,
    path: String,
}

impl Place {
    fn parse(address: &str, insecure_http: bool) -> Result<Self, NotGiven> {
        let uri: Uri = address.parse().map_err(|_| NotGiven::Unknown)?;
        let authority = uri.authority().ok_or(NotGiven::Unknown)?;
        if authority.as_str().contains('@') {
            return Err(NotGiven::Unknown);
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(NotGiven::Unknown),
        };
        let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if !(tls || is_here || insecure_http) {
            return Err(NotGiven::Plain);
        }
        Ok(Self {
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.to_string(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            host,
            tls,
        })
    }

    async fn connect(
        &self,
        authorities: Option<&str>,
    ) -> Result<(http1::SendRequest<Empty<Bytes>>, JoinHandle<()>), NotGiven> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        if !self.tls {
            return talk(tcp).await;
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|_| NotGiven::Unknown)?;
        let tls = TlsConnector::from(Arc::new(trusting(authorities)?));
        talk(tls.connect(name, tcp).await.map_err(refused)?).await
    }
}

/// Why hands were not shaken.
fn refused(error: io::Error) -> NotGiven {
    use rustls::{CertificateError, Error};
    let Some(Error::InvalidCertificate(why)) = error.get_ref().and_then(|inner| inner.downcast_ref()) else {
        return error.into();
    };
    NotGiven::Untrusted(match why {
        // The other is of one that only calls itself the same.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "of an authority that is not trusted here: name it to the control plane with --packages-ca".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "that is not for its name".to_owned()
        }
        other => format!("that does not hold: {other}"),
    })
}

/// Speaks HTTP/1.1 over this. What is said goes on beside us, until it is aborted.
async fn talk<S>(stream: S) -> Result<(http1::SendRequest<Empty<Bytes>>, JoinHandle<()>), NotGiven>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MOST_HEAD)
        .handshake(TokioIo::new(stream))
        .await?;
    // How it ended is seen by who reads.
    Ok((sender, tokio::spawn(async move { drop(connection.await) })))
}

/// Trusts whom this system trusts, kept up to date with its packages, and these.
fn trusting(authorities: Option<&str>) -> Result<ClientConfig, NotGiven> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_slice_iter(authorities.unwrap_or_default().as_bytes()) {
        let certificate = certificate.map_err(|_| io::Error::other("an authority is no certificate"))?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(io::Error::other)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_tls_is_for_this_machine_or_for_who_allows_it() {
        for (address, allowed, port) in [
            ("https://store.example/a?sig=b", false, Some(443)),
            ("https://store.example:9000/a", false, Some(9000)),
            ("http://127.0.0.1:9000/a", false, Some(9000)),
            ("http://[::1]/a", false, Some(80)),
            ("http://10.0.0.1/a", true, Some(80)),
            ("http://10.0.0.1/a", false, None),
            ("http://127.0.0.1.example/a", false, None),
            ("http://127.0.0.1@store.example/a", false, None),
            ("file:///etc/passwd", true, None),
            ("store.example", true, None),
        ] {
            let place = Place::parse(address, allowed).ok();
            assert_eq!(place.as_ref().map(|place| place.port), port, "{address}");
        }
        let place = Place::parse("https://store.example/a?sig=b", false).ok().unwrap();
        assert_eq!(
            (place.path.as_str(), place.host.as_str()),
            ("/a?sig=b", "store.example")
        );
    }

    #[test]
    fn no_reason_has_an_address_in_it() {
        let refused = Place::parse("http://10.0.0.1/a?sig=very-secret", false).err().unwrap();
        assert!(!format!("{refused} {refused:?}").contains("very-secret"));
    }
}
