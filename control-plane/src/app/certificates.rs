//! What the ports show: certificates that are files, and the one that Castoff makes for REST.
//!
//! Of the files: whoever renews them puts new ones in their place, and they are shown without a restart.
//!
//! The rule a newcomer would break: two files are never replaced in one moment, so a pair that does not fit is asked for
//! again, and meanwhile the last one that did is shown.

use super::first::write_private;
use crate::config::{Serve, read_secret};
use crate::launch::kubernetes::OwnSecret;
use crate::push::Identity;
use crate::store::{Installation, Store};
use castoff_listen::tls::Shown;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A chain of a few certificates is 10 KiB.
const LARGEST_PEM: u64 = 1 << 20;
/// Renewed certificates have weeks left; two small files are nothing to read.
const LOOK: Duration = Duration::from_secs(5);

/// What whoever calls from this machine, or by a forwarded port, calls REST by.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The certificate of the REST port, where Castoff is to make it. What its callers are to trust is told where they find it.
pub(super) async fn own_of_rest(
    config: &Serve,
    store: &Store,
    installation: &mut Installation,
) -> Result<Option<Arc<Shown>>, String> {
    if config.tls_san.is_empty() {
        return Ok(None);
    }
    let mut names = config.tls_san.clone();
    names.extend(HERE.map(str::to_owned));
    if !config.listen.ip().is_unspecified() {
        names.push(config.listen.ip().to_string());
    }
    let identity = Identity::certify(store, installation, names).await?;
    match &config.keeping.own_secret {
        Some(name) => {
            let secret = OwnSecret::open(name.as_str())?;
            secret.put("ca.crt", &identity.authority).await?;
        }
        None => {
            let path = config.place.data_dir.join("ca.crt");
            write_private(&path, &identity.authority)?;
            eprintln!("castoff: clients of REST are to trust {}", path.display());
        }
    }
    Shown::from_pem(&identity.chain, &identity.key).map(Some)
}

/// A chain and its key, as files.
#[derive(Clone)]
pub(super) struct Pair {
    flags: &'static str,
    chain: PathBuf,
    key: PathBuf,
}

impl Pair {
    /// The certificate of the REST port, if it has one.
    pub(super) fn of_rest(config: &Serve) -> Option<Self> {
        Some(Self {
            flags: "--tls-cert, --tls-key",
            chain: config.tls_cert.clone()?,
            key: config.tls_key.clone()?,
        })
    }

    /// The operator's own certificate for the port of the nodes.
    pub(super) fn of_nodes(config: &Serve) -> Option<Self> {
        Some(Self {
            flags: "--node-tls-cert, --node-tls-key",
            chain: config.node_tls_cert.clone()?,
            key: config.node_tls_key.clone()?,
        })
    }

    fn read(&self) -> Result<(String, String), String> {
        Ok((
            read_secret(&self.chain, LARGEST_PEM)?,
            read_secret(&self.key, LARGEST_PEM)?,
        ))
    }

    /// What a port shows of it.
    pub(super) fn shown(&self) -> Result<Arc<Shown>, String> {
        let (chain, key) = self.read()?;
        Shown::from_pem(&chain, &key).map_err(|error| format!("{}: {error}", self.flags))
    }

    /// The same with the authority that nodes trust.
    pub(super) fn identity(&self, config: &Serve) -> Result<Option<Identity>, String> {
        let Some(authority) = &config.node_tls_ca else {
            return Ok(None);
        };
        let (chain, key) = self.read()?;
        Ok(Some(Identity {
            authority: read_secret(authority, LARGEST_PEM)?,
            chain,
            key,
        }))
    }

    /// Looks after it for as long as it is shown.
    pub(super) async fn renew(self, shown: Arc<Shown>, stopping: CancellationToken) {
        let mut renewal = Renewal::new(self, shown);
        while stopping.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            renewal.look();
        }
    }
}

/// What is shown of two files, and what was wrong with them when they were last read.
struct Renewal {
    pair: Pair,
    shown: Arc<Shown>,
    known: Option<String>,
    refused: Option<String>,
}

impl Renewal {
    fn new(pair: Pair, shown: Arc<Shown>) -> Self {
        Self {
            pair,
            shown,
            known: None,
            refused: None,
        }
    }

    fn look(&mut self) {
        let read = self.pair.read().and_then(|(chain, key)| {
            if self.known.as_ref() != Some(&chain) {
                self.shown.replace(&chain, &key)?;
            }
            Ok(chain)
        });
        match read {
            Ok(chain) => {
                let before = self.known.replace(chain);
                self.refused = None;
                // The first look finds what the start has read.
                if before.is_some() && before != self.known {
                    tracing::info!(files = self.pair.flags, "a renewed certificate is shown");
                }
            }
            // Once for each, not twelve times a minute.
            Err(error) if self.refused.as_ref() != Some(&error) => {
                tracing::warn!(files = self.pair.flags, error, "the last certificate is still shown");
                self.refused = Some(error);
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
    use std::fs;

    /// Whether whoever trusts this certificate and nothing else is content with what is shown.
    fn shows(shown: &Arc<Shown>, trusted: &rcgen::Certificate) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("castoff.example").unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(shown).config(&["h2"]).unwrap()).unwrap();
        while client.is_handshaking() {
            let mut said = Vec::new();
            client.write_tls(&mut said).unwrap();
            server.read_tls(&mut said.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut said = Vec::new();
            server.write_tls(&mut said).unwrap();
            client.read_tls(&mut said.as_slice()).unwrap();
            if client.process_new_packets().is_err() {
                return false;
            }
        }
        true
    }

    #[test]
    fn what_is_renewed_is_shown_as_soon_as_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair {
            flags: "--tls-cert, --tls-key",
            chain: folder.path().join("tls.crt"),
            key: folder.path().join("tls.key"),
        };
        let made = || rcgen::generate_simple_self_signed(["castoff.example".to_owned()]).unwrap();
        let (first, second) = (made(), made());
        fs::write(&pair.chain, first.cert.pem()).unwrap();
        fs::write(&pair.key, first.signing_key.serialize_pem()).unwrap();
        let shown = pair.shown().unwrap();
        let mut renewal = Renewal::new(pair.clone(), Arc::clone(&shown));
        renewal.look();
        assert!(shows(&shown, &first.cert) && !shows(&shown, &second.cert));

        fs::write(&pair.chain, second.cert.pem()).unwrap();
        renewal.look();
        assert!(shows(&shown, &first.cert), "half of a pair is not shown");
        assert!(renewal.refused.as_ref().is_some_and(|said| said.contains("do not fit")));
        fs::write(&pair.key, second.signing_key.serialize_pem()).unwrap();
        renewal.look();
        assert!(shows(&shown, &second.cert) && !shows(&shown, &first.cert));

        fs::remove_file(&pair.chain).unwrap();
        renewal.look();
        assert!(shows(&shown, &second.cert), "the last one stays");
    }
}
