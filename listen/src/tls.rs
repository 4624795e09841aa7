//! What a port shows of itself over TLS.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// A certificate chain and its private key, both in PEM, for a port that speaks these protocols (`h2`, `http/1.1`).
///
/// # Errors
/// In plain words; nothing of the key is in them.
pub fn from_pem(chain: &str, key: &str, protocols: &[&str]) -> Result<Arc<ServerConfig>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate chain cannot be read: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in the chain".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| "the private key cannot be read: it must be PEM, and not encrypted".to_owned())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let mut config = config.map_err(|error| format!("certificate and key do not fit: {error}"))?;
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}
