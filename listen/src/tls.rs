//! What a port shows of itself over TLS.
//!
//! The rule a newcomer would break: a certificate lives for weeks and a port for months, so what is shown can be replaced
//! while connections come.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// The certificate chain that a port shows, with its private key.
pub struct Shown(watch::Sender<Arc<CertifiedKey>>);

impl Shown {
    /// A certificate chain and its private key, both in PEM.
    ///
    /// # Errors
    /// In plain words; nothing of the key is in them.
    pub fn from_pem(chain: &str, key: &str) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self(watch::Sender::new(certified(chain, key)?))))
    }

    /// Shows another one from the next connection on; the one before stays when this one cannot be shown.
    ///
    /// # Errors
    /// As [`Shown::from_pem`].
    pub fn replace(&self, chain: &str, key: &str) -> Result<(), String> {
        self.0.send_replace(certified(chain, key)?);
        Ok(())
    }

    /// For a port that speaks these protocols (`h2`, `http/1.1`).
    ///
    /// # Errors
    /// When there is no TLS to be had of this program.
    pub fn config(self: Arc<Self>, protocols: &[&str]) -> Result<Arc<ServerConfig>, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(self);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow()))
    }
}

fn certified(chain: &str, key: &str) -> Result<Arc<CertifiedKey>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate chain cannot be read: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in the chain".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| "the private key cannot be read: it must be PEM, and not encrypted".to_owned())?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map(Arc::new)
        .map_err(|error| format!("certificate and key do not fit: {error}"))
}
