//! TLS for the port of the nodes, where it is reachable from other machines: an authority of the installation's own.
//!
//! Nodes pin it by their join document, so that no public authority can speak for a control plane. The certificate is
//! made anew at each start; the authority stays. An operator may bring a certificate and its authority instead.

use crate::store::{Installation, Store};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::net::IpAddr;

/// What the port shows to nodes, in PEM. Holds a private key: never printed.
pub struct Identity {
    /// The certificate of the authority that nodes trust.
    pub authority: String,
    /// The port's certificate, and those between it and the authority.
    pub chain: String,
    /// Its private key.
    pub key: String,
}

impl Identity {
    /// Takes the installation's authority, or makes it, and has it certify the names of the port.
    pub(super) async fn prepare(
        store: &Store,
        installation: &mut Installation,
        url: &str,
        more: &[String],
        listening: IpAddr,
    ) -> Result<Self, String> {
        let fail = |error: rcgen::Error| format!("a certificate for nodes cannot be made: {error}");
        let host = host(url)?;
        if installation.authority.is_none() {
            let key = KeyPair::generate().map_err(fail)?;
            let certificate = authority().self_signed(&key).map_err(fail)?;
            let kept = store
                .keep_authority(installation, certificate.pem(), key.serialize_pem())
                .await;
            kept.map_err(|error| error.to_string())?;
        }
        let (certificate, key) = installation.authority.clone().ok_or("the authority was not kept")?;
        let issuer = Issuer::new(authority(), KeyPair::from_pem(&key).map_err(fail)?);
        let mut names = vec![host.to_owned()];
        names.extend(more.iter().cloned());
        if !listening.is_unspecified() {
            names.push(listening.to_string());
        }
        let mut params = CertificateParams::new(names).map_err(fail)?;
        params.distinguished_name.push(DnType::CommonName, "castoff");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let own = KeyPair::generate().map_err(fail)?;
        let signed = params.signed_by(&own, &issuer).map_err(fail)?;
        Ok(Self {
            authority: certificate,
            chain: signed.pem(),
            key: own.serialize_pem(),
        })
    }
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

    #[test]
    fn hosts() {
        assert_eq!(host("https://castoff.example:8401").unwrap(), "castoff.example");
        assert_eq!(host("https://[::1]:8401").unwrap(), "::1");
        for wrong in ["http://a:1", "https://a", "https://:1", "https://b@a:1", "a:1"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }
}
