//! Join documents: all that a node must be given.

use crate::authn::Secret;
use crate::store::JoinSize;
use castoff_wire::Join;
use castoff_wire::join::SigningKey;
use castoff_wire::signed::{Trust, key_id};
use std::sync::Arc;
use uuid::Uuid;

/// Makes join documents.
#[derive(Clone)]
pub struct Joins {
    url: Arc<str>,
    authority: Option<Arc<str>>,
    signing_key: SigningKey,
    trust: Trust,
}

impl Joins {
    pub(super) fn new(url: String, authority: Option<String>, public: [u8; 32]) -> Self {
        Self {
            url: url.into(),
            authority: authority.map(Into::into),
            signing_key: SigningKey::of(&public),
            trust: Trust::new(vec![(key_id(&public), public)]).unwrap_or_default(),
        }
    }

    /// Whether nodes would take the documents: better said at the start than by every node.
    pub(super) fn check(&self) -> Result<(), String> {
        let secure = self.url.starts_with("https://");
        if secure != self.authority.is_some() {
            return Err(format!(
                "--node-url {} does not fit: the port of the nodes has TLS beyond this machine or with --node-tls-cert, and else none",
                self.url
            ));
        }
        let join = self.with_token(Uuid::nil(), String::new());
        let text = serde_json::to_string(&join).map_err(|error| error.to_string())?;
        Join::parse(&text)
            .map(drop)
            .map_err(|error| format!("--node-url {}: {error}", self.url))
    }

    /// What the documents take, but for their tokens.
    pub(super) fn size(&self) -> JoinSize {
        let bytes = |join: &Join| serde_json::to_string(join).map_or(0, |text| text.len());
        let whole = self.with_token(Uuid::nil(), String::new());
        let alone = Join {
            ca_pem: None,
            ..whole.clone()
        };
        let (whole, alone) = (bytes(&whole), bytes(&alone));
        JoinSize {
            alone,
            authority: whole.saturating_sub(alone),
        }
    }

    /// Whom nodes with these documents believe.
    pub fn trust(&self) -> Trust {
        self.trust.clone()
    }

    /// The document for the nodes of a deployment. It holds their token.
    pub fn document(&self, deployment: Uuid, token: &Secret) -> Join {
        self.with_token(deployment, token.expose().to_owned())
    }

    fn with_token(&self, deployment: Uuid, token: String) -> Join {
        Join {
            control_plane: self.url.to_string(),
            deployment,
            token,
            ca_pem: self.authority.as_deref().map(str::to_owned),
            signing_keys: vec![self.signing_key.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_nodes_would_refuse_is_refused_at_the_start() {
        let ca = || Some("pem".to_owned());
        for (url, authority, fits) in [
            ("http://127.0.0.1:8401", None, true),
            ("https://castoff.example:8401", ca(), true),
            ("http://castoff.example:8401", None, false),
            ("https://castoff.example:8401", None, false),
            ("http://127.0.0.1:8401", ca(), false),
            ("castoff.example:8401", None, false),
        ] {
            let joins = Joins::new(url.to_owned(), authority, [9; 32]);
            assert_eq!(joins.check().is_ok(), fits, "{url}");
        }
    }
}
