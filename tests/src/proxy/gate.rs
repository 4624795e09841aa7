//! Between control planes and a cluster's API server: takes their questions over TLS, and lets them through when it is told.

use super::front::certified;
use crate::cluster::Namespace;
use crate::{eventually, models};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch::Sender;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Ends with its owner.
pub struct Gate {
    /// For whoever is to go this way.
    pub kubeconfig: String,
    state: Arc<State>,
    _runtime: Runtime,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

struct State {
    /// How the next question begins that is to be held.
    wanted: Mutex<Option<String>>,
    held: Sender<Held>,
    /// Whether anything goes through, either way.
    open: Sender<bool>,
}

/// The question that is held.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    None,
    Here,
    LetGo,
    /// By this status.
    Answered(u16),
}

impl Gate {
    /// Before the cluster of a namespace, for who has this kubeconfig. It is open.
    #[track_caller]
    pub fn before(namespace: &Namespace, kubeconfig: &str) -> Self {
        let (certificate, shown) = certified("127.0.0.1");

        let template =
            r#"go-template={{index (index .clusters 0).cluster "certificate-authority-data" | base64decode}}"#;
        let authority = namespace.kubectl(&["config", "view", "--minify", "--flatten", "-o", template]);
        let authority = authority.expect("kubectl knows");
        let mut believed = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            believed.add(certificate.expect("PEM")).expect("an authority");
        }
        let asking = ClientConfig::builder()
            .with_root_certificates(believed)
            .with_no_client_auth();

        let mut told: Value = serde_json::from_str(kubeconfig).expect("JSON");
        let server = told["clusters"][0]["cluster"]["server"].as_str().expect("a URL");
        let beyond = server.trim_start_matches("https://").trim_end_matches('/').to_owned();
        let runtime = Runtime::new().expect("threads");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("it listens");
        told["clusters"][0]["cluster"]["server"] = json!(format!("https://{address}"));
        told["clusters"][0]["cluster"]["certificate-authority-data"] = json!(models::base64(certificate.as_bytes()));
        let state = Arc::new(State {
            wanted: Mutex::default(),
            held: Sender::new(Held::None),
            open: Sender::new(true),
        });
        let way = Arc::new(Way {
            beyond,
            front: TlsAcceptor::from(Arc::new(shown)),
            back: TlsConnector::from(Arc::new(asking)),
            state: Arc::clone(&state),
        });
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&way).lead(client));
            }
        });
        Self {
            kubeconfig: told.to_string(),
            state,
            _runtime: runtime,
        }
    }

    /// Holds the next question that begins so, such as `PATCH /api/v1/`. Others go through.
    pub fn hold(&self, beginning: String) {
        self.state.held.send_replace(Held::None);
        *self.state.wanted.lock().expect("nobody panics") = Some(beginning);
    }

    /// Waits until one is held.
    #[track_caller]
    pub fn holds(&self) {
        eventually("a question is held", || *self.state.held.borrow() == Held::Here);
    }

    /// Lets it go, and gives the status by which it was answered.
    #[track_caller]
    pub fn let_go(&self) -> u16 {
        self.state.held.send_replace(Held::LetGo);
        eventually("it is answered", || match *self.state.held.borrow() {
            Held::Answered(status) => Some(status),
            _ => None,
        })
    }

    /// Lets everything through, or nothing: connections are still taken.
    pub fn open(&self, open: bool) {
        self.state.open.send_replace(open);
    }
}

struct Way {
    /// Host and port of the API server.
    beyond: String,
    front: TlsAcceptor,
    back: TlsConnector,
    state: Arc<State>,
}

impl Way {
    async fn lead(self: Arc<Self>, client: TcpStream) {
        let Ok(client) = self.front.accept(client).await else {
            return;
        };
        let server = TcpStream::connect(&self.beyond).await.expect("the API server is there");
        let host = self
            .beyond
            .rsplit_once(':')
            .map_or(self.beyond.as_str(), |(host, _)| host);
        let name = ServerName::try_from(host.to_owned()).expect("a name");
        let Ok(server) = self.back.connect(name, server).await else {
            return;
        };
        let (from_client, to_client) = split(client);
        let (from_server, to_server) = split(server);
        let was_held = AtomicBool::new(false);
        tokio::select! {
            () = self.ask(from_client, to_server, &was_held) => {}
            () = self.answer(from_server, to_client, &was_held) => {}
        }
    }

    async fn is_open(&self) {
        let mut open = self.state.open.subscribe();
        open.wait_for(|open| *open).await.ok();
    }

    /// Each question begins with what is read next: none is sent before the one before it is answered.
    async fn ask(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, was_held: &AtomicBool) {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let said = &bytes[..count];
            self.is_open().await;
            let is_wanted = {
                let mut wanted = self.state.wanted.lock().expect("nobody panics");
                let is = |beginning: &mut String| said.starts_with(beginning.as_bytes());
                wanted.take_if(is).is_some()
            };
            if is_wanted {
                self.state.held.send_replace(Held::Here);
                let mut held = self.state.held.subscribe();
                held.wait_for(|held| *held == Held::LetGo).await.ok();
                was_held.store(true, Ordering::SeqCst);
            }
            if to.write_all(said).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
    }

    async fn answer(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, was_held: &AtomicBool) {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let said = &bytes[..count];
            self.is_open().await;
            if was_held.swap(false, Ordering::SeqCst) {
                let status = String::from_utf8_lossy(said);
                let status = status.split_whitespace().nth(1).and_then(|status| status.parse().ok());
                self.state.held.send_replace(Held::Answered(status.unwrap_or(0)));
            }
            if to.write_all(said).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
    }
}
