//! Passwords: Argon2id, never more than a few at a time.

use super::secret::{NoRandom, random_bytes};
use crate::domain::Invalid;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A password as it was typed. Never printed.
#[derive(Clone)]
pub struct Password(String);

/// Argon2id of a password, in PHC form.
#[derive(Clone)]
pub struct PasswordHash(String);

/// Hashes and verifies, two at a time: each takes 19 MiB and most of a core for tens of milliseconds, which a stranger
/// must not be able to ask for without bound.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
}

/// The work could not be done.
#[derive(Debug, thiserror::Error)]
#[error("a password could not be hashed")]
pub struct Unhashable;

impl Password {
    /// Takes a new password: 10 to 1024 bytes.
    ///
    /// # Errors
    /// Too short or too long.
    pub fn new(text: String) -> Result<Self, Invalid> {
        if (10..=1024).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(Invalid::new("/password", "must have 10 to 1024 bytes"))
        }
    }

    /// A new password: 18 random bytes are 24 characters and 144 bits.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, NoRandom> {
        Ok(Self(URL_SAFE_NO_PAD.encode(random_bytes::<18>()?)))
    }

    /// Takes a password to be verified; whatever is too long to be one is empty, and fits no hash.
    pub fn presented(text: String) -> Self {
        if text.len() > 1024 {
            Self(String::new())
        } else {
            Self(text)
        }
    }

    /// The text, to be shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PasswordHash {
    /// As it was stored.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// To store.
    pub fn into_stored(self) -> String {
        self.0
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(2)),
        }
    }
}

/// 19 MiB, two passes, one lane: the first choice of OWASP's password storage cheat sheet.
fn argon2id() -> Result<Argon2<'static>, Unhashable> {
    let params = Params::new(19 * 1024, 2, 1, None).map_err(|_| Unhashable)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

impl Passwords {
    /// Hashes a password with a salt of its own.
    ///
    /// # Errors
    /// The system has no random numbers, or no memory.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, Unhashable> {
        self.work(move || {
            let hash: phc::PasswordHash = argon2id()?
                .hash_password(password.0.as_bytes())
                .map_err(|_| Unhashable)?;
            Ok(PasswordHash(hash.to_string()))
        })
        .await
    }

    /// Whether the password fits. With no hash (no such user, or one without a password) it takes as long, and never
    /// fits.
    ///
    /// # Errors
    /// The work could not be done at all.
    pub async fn verify(&self, password: Password, hash: Option<PasswordHash>) -> Result<bool, Unhashable> {
        self.work(move || {
            let argon2 = argon2id()?;
            let Some(hash) = hash else {
                let _: phc::PasswordHash = argon2.hash_password(password.0.as_bytes()).map_err(|_| Unhashable)?;
                return Ok(false);
            };
            let hash = phc::PasswordHash::new(&hash.0).map_err(|_| Unhashable)?;
            Ok(argon2.verify_password(password.0.as_bytes(), &hash).is_ok())
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Unhashable> + Send + 'static,
    ) -> Result<T, Unhashable> {
        let _turn = self.turns.acquire().await.map_err(|_| Unhashable)?;
        tokio::task::spawn_blocking(work).await.map_err(|_| Unhashable)?
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_fits() {
        let passwords = Passwords::default();
        let right = Password::new("correct horse".into()).unwrap();
        let hash = passwords.hash(right.clone()).await.unwrap();
        assert!(passwords.verify(right.clone(), Some(hash.clone())).await.unwrap());
        assert!(
            !passwords
                .verify(Password::presented("wrong horse".into()), Some(hash))
                .await
                .unwrap()
        );
        assert!(!passwords.verify(right, None).await.unwrap());
    }
}
