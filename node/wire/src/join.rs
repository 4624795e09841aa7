//! The join document: all that a node must be given to find its control plane and to know whom to believe.
//!
//! A file of JSON with mode 0600, written by the launcher or shown once to the operator of a static node. What a later
//! control plane adds to it means nothing to a node of this release, and does not keep it from starting.

use crate::signed::Trust;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Where to dial, as whom, and whom to believe.
#[derive(Clone, Serialize, Deserialize)]
pub struct Join {
    /// `http://127.0.0.1:8444` or `https://castoff.example:8444`. Plain http only on loopback.
    pub control_plane: String,
    /// The one deployment that this node serves.
    pub deployment: Uuid,
    /// The deployment's node token.
    pub token: String,
    /// The authority that signed the control plane's certificate, in PEM. Absent: plain http on loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// One or two keys that sign configs.
    pub signing_keys: Vec<SigningKey>,
}

/// The public half of a key that signs configs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SigningKey {
    /// As [`crate::signed::key_id`] makes it.
    pub id: String,
    /// 32 bytes of Ed25519, in hex.
    pub public: String,
}

/// Why a join document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Not the JSON that is asked for.
    #[error("not a join document: {0}")]
    Syntax(#[from] serde_json::Error),
    /// No key, more than two, or one whose id is not its own.
    #[error("signing_keys must hold one or two Ed25519 keys, each with its own id")]
    SigningKeys,
    /// A token would travel in the clear.
    #[error("control_plane must be https:// with ca_pem, or http:// on loopback")]
    ControlPlane,
}

impl Join {
    /// Reads a join document, and the trust in it.
    ///
    /// # Errors
    /// [`Unusable`] says what does not hold.
    pub fn parse(text: &str) -> Result<(Self, Trust), Unusable> {
        let join: Self = serde_json::from_str(text)?;
        if !is_dialable(&join.control_plane, join.ca_pem.is_some()) {
            return Err(Unusable::ControlPlane);
        }
        let keys = join
            .signing_keys
            .iter()
            .map(SigningKey::decode)
            .collect::<Option<Vec<_>>>();
        let trust = keys.and_then(Trust::new).ok_or(Unusable::SigningKeys)?;
        Ok((join, trust))
    }
}

impl SigningKey {
    /// The key with the id that belongs to it.
    pub fn of(public: &[u8; 32]) -> Self {
        Self {
            id: crate::signed::key_id(public),
            public: hex::encode(public),
        }
    }

    fn decode(&self) -> Option<(String, [u8; 32])> {
        let public: [u8; 32] = hex::decode(&self.public).ok()?.try_into().ok()?;
        (crate::signed::key_id(&public) == self.id).then(|| (self.id.clone(), public))
    }
}

/// Whether a token may travel there: by https to whom a known authority vouches for, or without leaving this machine.
pub fn is_dialable(url: &str, authority: bool) -> bool {
    (url.starts_with("https://") && authority) || is_plain_loopback(url)
}

fn is_plain_loopback(url: &str) -> bool {
    let Some(authority) = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()) else {
        return false;
    };
    let Some((host, _port)) = authority.rsplit_once(':') else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl fmt::Debug for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join")
            .field("control_plane", &self.control_plane)
            .field("deployment", &self.deployment)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(url: &str, ca: bool) -> String {
        let key = SigningKey::of(&[9; 32]);
        let mut join = serde_json::json!({
            "control_plane": url, "deployment": Uuid::from_u128(1), "token": "t",
            "signing_keys": [{"id": key.id, "public": key.public}],
        });
        if ca {
            join["ca_pem"] = "pem".into();
        }
        join.to_string()
    }

    #[test]
    fn a_token_never_travels_in_the_clear_off_this_machine() {
        for (url, ca, accepted) in [
            ("http://127.0.0.1:8444", false, true),
            ("http://[::1]:8444", false, true),
            ("http://localhost:8444", false, true),
            ("http://10.0.0.1:8444", true, false),
            ("http://127.0.0.1.example:8444", false, false),
            ("http://127.0.0.1@example.org:8444", false, false),
            ("https://castoff.example:8444", false, false),
            ("https://castoff.example:8444", true, true),
        ] {
            assert_eq!(Join::parse(&document(url, ca)).is_ok(), accepted, "{url}");
        }
    }

    #[test]
    fn what_a_later_control_plane_adds_is_left_out() {
        let mut join: serde_json::Value = serde_json::from_str(&document("http://127.0.0.1:1", false)).unwrap();
        join["more"] = serde_json::json!({"a": 1});
        join["signing_keys"][0]["more"] = true.into();
        assert!(Join::parse(&join.to_string()).is_ok());
    }

    #[test]
    fn a_token_is_not_printed() {
        let (join, _) = Join::parse(&document("http://127.0.0.1:1", false)).unwrap();
        assert!(!format!("{join:?}").contains("token"));
    }
}
