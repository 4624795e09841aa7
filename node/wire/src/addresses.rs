//! Where the files of a deployment's config can be fetched when no control plane answers: addresses in an object store that
//! let in whoever has them, until they end.
//!
//! They travel beside the config, unversioned and unsigned: what is fetched there is held against the digests of the config,
//! which is signed. The rule a newcomer would break: such an address is a secret, and never printed.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Bytes of the whole document: some 500 files with long addresses.
pub const MOST_BYTES: u64 = 1 << 20;
const MOST_ADDRESS: usize = 8192;

/// The addresses of a deployment's files.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageAddresses {
    /// When all of them end, in milliseconds since 1970.
    pub expires_at_ms: i64,
    /// Whether they may be asked without TLS beyond this machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_http: bool,
    /// Authorities to trust beside the system's, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// By digest, in hex.
    pub files: BTreeMap<String, String>,
}

impl PackageAddresses {
    /// Reads the document.
    ///
    /// # Errors
    /// It is not one. Nothing of it is in the error.
    pub fn parse(text: &[u8]) -> Result<Self, Unusable> {
        if text.len() as u64 > MOST_BYTES {
            return Err(Unusable);
        }
        let parsed: Self = serde_json::from_slice(text).map_err(|_| Unusable)?;
        let fits = parsed.files.values().all(|address| address.len() <= MOST_ADDRESS);
        fits.then_some(parsed).ok_or(Unusable)
    }

    /// Where the file of this digest is.
    pub fn of(&self, digest: &[u8]) -> Option<&str> {
        self.files.get(&hex::encode(digest)).map(String::as_str)
    }
}

/// Not a document of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the addresses of packages cannot be read")]
pub struct Unusable;

impl fmt::Debug for PackageAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackageAddresses")
            .field("expires_at_ms", &self.expires_at_ms)
            .field("files", &self.files.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_not_printed() {
        let text = br#"{"expires_at_ms":7,"files":{"0a":"https://store/0a?signature=very-secret"}}"#;
        let parsed = PackageAddresses::parse(text).unwrap();
        assert_eq!(parsed.of(&[10]), Some("https://store/0a?signature=very-secret"));
        assert_eq!(parsed.of(&[11]), None);
        assert!(!parsed.insecure_http && parsed.ca_pem.is_none());
        assert!(!format!("{parsed:?}").contains("secret"));
        assert_eq!(serde_json::to_vec(&parsed).unwrap(), text);
        // A later control plane may say more.
        let more = String::from_utf8_lossy(text).replace("{\"exp", "{\"more\":1,\"exp");
        assert_eq!(PackageAddresses::parse(more.as_bytes()), Ok(parsed));
        let long = format!(r#"{{"expires_at_ms":7,"files":{{"0a":"{}"}}}}"#, "a".repeat(9_000));
        for bad in [&text[..20], b"", b"[]", long.as_bytes()] {
            assert_eq!(PackageAddresses::parse(bad), Err(Unusable));
        }
    }
}
