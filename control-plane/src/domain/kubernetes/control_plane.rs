//! Where the pods of a cluster dial the control plane, when it is another place than for the rest.

use super::super::Invalid;
use super::egress::is_cidr;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Longer is no address; more is no authority but a collection.
const MOST_URL_BYTES: usize = 255;
const MOST_CA_BYTES: usize = 64 << 10;

/// Where pods dial the control plane, such as a tunnel's end in their cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DialledAt {
    /// Such as `https://castoff.example:8401`.
    #[schema(max_length = 255, pattern = "^https://")]
    pub url: String,
    /// The authority that signed the certificate there, in PEM; null: the one of the control plane itself.
    #[serde(default)]
    #[schema(max_length = 65_536)]
    pub ca: Option<String>,
    /// Where that is, as CIDRs such as `192.0.2.7/32`, for the NetworkPolicy of pods; when empty what the control plane's own name
    /// server says of the host. Needed where that does not know it.
    #[serde(default)]
    #[schema(max_items = 20)]
    pub addresses: Vec<String>,
}

impl DialledAt {
    /// Checks that a node would dial it.
    ///
    /// # Errors
    /// The first field that it would refuse.
    pub fn check(&self) -> Result<(), Invalid> {
        let authority = self.url.strip_prefix("https://").unwrap_or_default();
        let host = authority.trim_end_matches('/');
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
        if self.url.len() > MOST_URL_BYTES || host.is_empty() || !host.bytes().all(is_host) {
            return Err(Invalid::new("/url", "must be https://HOST:PORT"));
        }
        if self.addresses.len() > 20 {
            return Err(Invalid::new("/addresses", "must have at most 20 entries"));
        }
        if let Some(place) = self.addresses.iter().position(|cidr| !is_cidr(cidr)) {
            return Err(Invalid::new(
                format!("/addresses/{place}"),
                "must be a CIDR such as 192.0.2.7/32",
            ));
        }
        let Some(ca) = &self.ca else { return Ok(()) };
        let wrong = |reason: &str| Err(Invalid::new("/ca", reason));
        if ca.len() > MOST_CA_BYTES {
            return wrong("must have at most 64 KiB");
        }
        // Whoever may see the infrastructure may see it.
        if ca.contains("PRIVATE KEY") {
            return wrong("has a private key in it: only certificates belong here");
        }
        let mut certificates = CertificateDer::pem_slice_iter(ca.as_bytes());
        match certificates.next() {
            Some(Ok(_)) if certificates.all(|next| next.is_ok()) => Ok(()),
            _ => wrong("must be a certificate in PEM"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_would_not_dial_is_refused() {
        let pem = "-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nMAo=\n-----END PRIVATE KEY-----\n";
        for (url, ca, place) in [
            ("https://castoff.example:8401", None, None),
            ("https://[fd00::1]:8401/", Some(pem), None),
            ("http://castoff.example:8401", None, Some("/url")),
            ("https://", None, Some("/url")),
            ("https://user@castoff.example", None, Some("/url")),
            ("https://castoff.example/path", None, Some("/url")),
            ("https://castoff.example", Some("pem"), Some("/ca")),
            ("https://castoff.example", Some(""), Some("/ca")),
            ("https://castoff.example", Some(key), Some("/ca")),
        ] {
            let dialled = DialledAt {
                url: url.to_owned(),
                ca: ca.map(str::to_owned),
                addresses: Vec::new(),
            };
            let wrong = dialled.check().err();
            assert_eq!(
                wrong.as_ref().map(|invalid| invalid.pointer.as_str()),
                place,
                "{url} {ca:?}"
            );
        }
    }

    #[test]
    fn addresses_are_ranges() {
        for (address, fits) in [
            ("192.0.2.7/32", true),
            ("fd00::/8", true),
            ("192.0.2.7", false),
            ("10.0.0.0/33", false),
        ] {
            let dialled = DialledAt {
                url: "https://castoff.example".to_owned(),
                ca: None,
                addresses: vec!["10.0.0.0/8".to_owned(), address.to_owned()],
            };
            let wrong = dialled.check().err().map(|invalid| invalid.pointer);
            assert_eq!(wrong, (!fits).then(|| "/addresses/1".to_owned()), "{address}");
        }
    }
}
