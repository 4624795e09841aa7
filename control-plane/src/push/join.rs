//! Join documents: all that a node must be given.

use crate::authn::Secret;
use castoff_wire::Join;
use castoff_wire::join::SigningKey;
use std::sync::Arc;
use uuid::Uuid;

/// Makes join documents.
#[derive(Clone)]
pub struct Joins {
    url: Arc<str>,
    authority: Option<Arc<str>>,
    signing_key: SigningKey,
}

impl Joins {
    pub(super) fn new(url: String, authority: Option<String>, public: [u8; 32]) -> Self {
        Self {
            url: url.into(),
            authority: authority.map(Into::into),
            signing_key: SigningKey::of(&public),
        }
    }

    /// The document for the nodes of a deployment. It holds their token.
    pub fn document(&self, deployment: Uuid, token: &Secret) -> Join {
        Join {
            control_plane: self.url.to_string(),
            deployment,
            token: token.expose().to_owned(),
            ca_pem: self.authority.as_deref().map(str::to_owned),
            signing_keys: vec![self.signing_key.clone()],
        }
    }
}
