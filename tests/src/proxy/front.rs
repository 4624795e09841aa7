//! In front of a control plane: ends the TLS of nodes by a certificate of its own, as a load balancer or a tunnel does.

use crate::scratch;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// Ends with its owner.
#[derive(Debug)]
pub struct Front {
    /// `https://host:port`.
    pub url: String,
    /// The authority that signed for it, in PEM: itself.
    pub authority: String,
    led: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl Front {
    /// At a port of this address, leading to a control plane that listens without TLS at another one.
    #[track_caller]
    pub fn before(address: &str, beyond: &str) -> Self {
        let (authority, mut shown) = certified(address);
        shown.alpn_protocols = vec![castoff_wire::line::PROTOCOL.into(), b"h2".to_vec()];
        let runtime = Runtime::new().expect("threads");
        let listener = runtime.block_on(TcpListener::bind((address, 0))).expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("it listens"));
        let (front, beyond, led) = (TlsAcceptor::from(Arc::new(shown)), beyond.to_owned(), Arc::default());
        let counted: Arc<AtomicUsize> = Arc::clone(&led);
        runtime.spawn(async move {
            while let Ok((node, _)) = listener.accept().await {
                let (front, beyond, counted) = (front.clone(), beyond.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let mut node = front.accept(node).await.ok()?;
                    let mut control = TcpStream::connect(beyond).await.ok()?;
                    counted.fetch_add(1, Ordering::SeqCst);
                    copy_bidirectional(&mut node, &mut control).await.ok()
                });
            }
        });
        Self {
            url,
            authority,
            led,
            _runtime: runtime,
        }
    }

    /// How many connections it has led on.
    pub fn led(&self) -> usize {
        self.led.load(Ordering::SeqCst)
    }
}

/// A certificate for an address that nobody has signed but itself, in PEM, and a server that shows it.
#[track_caller]
pub fn certified(address: &str) -> (String, ServerConfig) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let folder = scratch::subfolder("certified");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=front",
        ])
        .args(["-addext", &format!("subjectAltName=IP:{address}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(&folder)
        .output();
    let made = made.expect("openssl is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let own = CertificateDer::from_pem_file(folder.join("certificate.pem")).expect("PEM");
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("PEM");
    let shown = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own], key)
        .expect("a certificate and its key");
    let pem = fs::read_to_string(folder.join("certificate.pem")).expect("it is there");
    (pem, shown)
}
