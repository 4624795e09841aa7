//! TLS where a port is reachable from other machines: an authority of the installation's own, for the port of the nodes and,
//! where it is told to, for REST.
//!
//! Nodes pin it by their join document, so that no public authority can speak for a control plane. The certificate is
//! made anew at each start; the authority stays. Neither ends while anybody runs it. An operator may bring a certificate and
//! its authority instead.

use crate::store::{Installation, Store};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::net::IpAddr;

/// What a port shows, in PEM. Holds a private key: never printed.
pub struct Identity {
    /// The certificate of the authority that whoever dials trusts.
    pub authority: String,
    /// The port's certificate, and those between it and the authority.
    pub chain: String,
    /// Its private key.
    pub key: String,
}

impl Identity {
    /// For the port of nodes, by the names under which they dial it.
    pub(super) async fn prepare(
        store: &Store,
        installation: &mut Installation,
        url: &str,
        more: &[String],
        listening: IpAddr,
    ) -> Result<Self, String> {
        let mut names = vec![host(url)?.to_owned()];
        names.extend(more.iter().cloned());
        if !listening.is_unspecified() {
            names.push(listening.to_string());
        }
        Self::certify(store, installation, names).await
    }

    /// Takes the installation's authority, or makes it, and has it certify these names and addresses of a port.
    ///
    /// # Errors
    /// In plain words: a name cannot be in a certificate, or the database failed.
    pub async fn certify(store: &Store, installation: &mut Installation, names: Vec<String>) -> Result<Self, String> {
        if installation.authority.is_none() {
            let key = KeyPair::generate().map_err(fail)?;
            let certificate = authority().self_signed(&key).map_err(fail)?;
            let kept = store
                .keep_authority(installation, certificate.pem(), key.serialize_pem())
                .await;
            kept.map_err(|error| error.to_string())?;
        }
        let (certificate, key) = installation.authority.clone().ok_or("the authority was not kept")?;
        signed(certificate, &key, names)
    }
}

/// What an authority certifies; both are PEM.
fn signed(certificate: String, key: &str, names: Vec<String>) -> Result<Identity, String> {
    let issuer = Issuer::new(authority(), KeyPair::from_pem(key).map_err(fail)?);
    let mut params = CertificateParams::new(names).map_err(fail)?;
    params.distinguished_name.push(DnType::CommonName, "castoff");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Strict clients, Python's among them, find the authority by it.
    params.use_authority_key_identifier_extension = true;
    let own = KeyPair::generate().map_err(fail)?;
    let signed = params.signed_by(&own, &issuer).map_err(fail)?;
    Ok(Identity {
        authority: certificate,
        chain: signed.pem(),
        key: own.serialize_pem(),
    })
}

fn fail(error: rcgen::Error) -> String {
    format!("a certificate cannot be made: {error}")
}

/// The authority, the same at each start but for its key.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "castoff nodes");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// The host of `https://host:port`.
fn host(url: &str) -> Result<&str, String> {
    let wrong = || format!("--node-url {url} must be https://HOST:PORT");
    let authority = url.strip_prefix("https://").ok_or_else(wrong)?;
    let (host, _port) = authority.trim_end_matches('/').rsplit_once(':').ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.contains(['/', '@']) {
        Err(wrong())
    } else {
        Ok(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use std::sync::Arc;
    use std::time::Duration;

    const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

    /// Whether who trusts this authority and no other, so long after 1970, takes the port for the one of this name.
    fn trusts(authority: &str, shown: &Identity, name: &str, at: Duration) -> bool {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
        roots.add(authority).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let own = CertificateDer::from_pem_slice(shown.chain.as_bytes()).unwrap();
        let name = ServerName::try_from(name).unwrap();
        let verifier = verifier.build().unwrap();
        let verified = verifier.verify_server_cert(&own, &[], &name, &[], UnixTime::since_unix_epoch(at));
        verified.is_ok()
    }

    #[test]
    fn each_start_shows_another_certificate_of_the_same_authority() {
        let made = || {
            let key = KeyPair::generate().unwrap();
            let certificate = authority().self_signed(&key).unwrap();
            (certificate.pem(), key.serialize_pem())
        };
        let ((ours, key), (others, _)) = (made(), made());
        let names = ["castoff.models.svc", "127.0.0.1", "*.castoff.example"].map(str::to_owned);
        let start = || signed(ours.clone(), &key, names.to_vec()).unwrap();
        let (first, second) = (start(), start());
        assert_ne!(first.chain, second.chain);
        for shown in [&first, &second] {
            assert_eq!(shown.authority, ours);
            for name in ["castoff.models.svc", "127.0.0.1", "rest.castoff.example"] {
                assert!(trusts(&ours, shown, name, YEAR * 56), "{name}");
                // A process that is not started again for this long.
                assert!(trusts(&ours, shown, name, YEAR * 156), "{name}");
                assert!(!trusts(&others, shown, name, YEAR * 56), "{name}");
            }
            assert!(!trusts(&ours, shown, "castoff.prod.svc", YEAR * 56));
        }
    }

    #[test]
    fn hosts() {
        assert_eq!(host("https://castoff.example:8401").unwrap(), "castoff.example");
        assert_eq!(host("https://[::1]:8401").unwrap(), "::1");
        for wrong in ["http://a:1", "https://a", "https://:1", "https://b@a:1", "a:1"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }
}
