//! Access tokens, session cookies and node tokens: 256 random bits behind a prefix, kept only as a hash.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;

/// What a secret is for; each has its own prefix and its own hash, so that one never serves as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// Of a user or a service account, and admin keys.
    AccessToken,
    /// In the cookie of a browser.
    Session,
    /// Of the nodes of one deployment.
    NodeToken,
}

impl SecretKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::AccessToken => "castoff_",
            Self::Session => "castoff-session_",
            Self::NodeToken => "castoff-node_",
        }
    }
}

/// The text of a secret. Shown once; never printed.
#[derive(Clone)]
pub struct Secret {
    kind: SecretKind,
    text: String,
}

/// SHA-256 of a secret's kind and text. 256 random bits need no salt and no slow hash.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash(Vec<u8>);

/// The system has no random numbers to give.
#[derive(Debug, thiserror::Error)]
#[error("the system gave no random numbers")]
pub struct NoRandom;

/// Random bytes from the system.
///
/// # Errors
/// The system has none to give.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

impl Secret {
    /// A new secret.
    ///
    /// # Errors
    /// The system has no random numbers to give.
    pub fn mint(kind: SecretKind) -> Result<Self, NoRandom> {
        let random = random_bytes::<32>()?;
        Ok(Self {
            kind,
            text: format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(random)),
        })
    }

    /// A secret as a caller sent it; `None` when it is not of this kind's form.
    pub fn presented(kind: SecretKind, text: &str) -> Option<Self> {
        // 32 bytes are 43 digits of base64 without padding.
        let digits = text.strip_prefix(kind.prefix())?;
        let fits = digits.len() == 43 && URL_SAFE_NO_PAD.decode(digits).is_ok_and(|bytes| bytes.len() == 32);
        fits.then(|| Self {
            kind,
            text: text.to_owned(),
        })
    }

    /// What is kept of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash(castoff_wire::sha256(&[self.kind.prefix().as_bytes(), b"\0", self.text.as_bytes()]).to_vec())
    }

    /// The text, to be shown once or sent.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The last four characters.
    pub fn hint(&self) -> String {
        let count = self.text.chars().count();
        self.text.chars().skip(count.saturating_sub(4)).collect()
    }
}

impl SecretHash {
    /// The bytes to store and look up.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_never_serves_as_another() {
        let token = Secret::mint(SecretKind::AccessToken).unwrap();
        assert!(
            Secret::presented(SecretKind::AccessToken, token.expose()).is_some_and(|same| same.hash() == token.hash())
        );
        assert!(Secret::presented(SecretKind::Session, token.expose()).is_none());
        assert!(Secret::presented(SecretKind::AccessToken, "castoff_short").is_none());
        assert!(!format!("{token:?}").contains(token.expose()));
    }
}
