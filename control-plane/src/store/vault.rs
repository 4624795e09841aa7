//! What is kept encrypted: recoverable keys, the signing key, node tokens.
//!
//! AES-256-GCM under a data key, which is itself wrapped by the master key: the master key can be replaced without
//! touching a row. What is sealed is bound to its table, row and owner, so that it cannot be moved to another row and
//! revealed there.

use super::Error;
use crate::authn::random_bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::fmt;
use uuid::Uuid;

/// 256 bits from outside the database.
#[derive(Clone)]
pub struct MasterKey([u8; 32]);

/// Seals and opens with the installation's data key.
pub struct Vault {
    data_key: LessSafeKey,
}

/// Where something sealed belongs.
pub(super) struct Place<'a> {
    pub(super) table: &'a str,
    pub(super) row: Uuid,
    pub(super) owner: Uuid,
}

impl MasterKey {
    /// From its 32 bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A new master key.
    ///
    /// # Errors
    /// The system has no random numbers to give.
    pub fn mint() -> Result<Self, Error> {
        Ok(Self(random_bytes().map_err(|_| Error::NoRandom)?))
    }

    /// To be written to a file.
    pub fn expose_hex(&self) -> String {
        hex::encode(self.0)
    }

    fn key(&self) -> Result<LessSafeKey, Error> {
        key(&self.0)
    }

    /// A new data key, and how it is stored.
    pub(super) fn new_vault(&self) -> Result<(Vault, Vec<u8>), Error> {
        let data_key = random_bytes::<32>().map_err(|_| Error::NoRandom)?;
        let wrapped = seal(&self.key()?, b"castoff-data-key-v1", &data_key)?;
        Ok((
            Vault {
                data_key: key(&data_key)?,
            },
            wrapped,
        ))
    }

    /// The vault whose data key was stored; `None` when it was wrapped by another master key.
    pub(super) fn open_vault(&self, wrapped: &[u8]) -> Result<Option<Vault>, Error> {
        let Some(data_key) = open(&self.key()?, b"castoff-data-key-v1", wrapped) else {
            return Ok(None);
        };
        let Ok(data_key) = <[u8; 32]>::try_from(data_key) else {
            return Ok(None);
        };
        Ok(Some(Vault {
            data_key: key(&data_key)?,
        }))
    }
}

impl Place<'_> {
    fn aad(&self) -> Vec<u8> {
        [self.table.as_bytes(), b"\0", self.row.as_bytes(), self.owner.as_bytes()].concat()
    }
}

impl Vault {
    pub(super) fn seal(&self, place: &Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        seal(&self.data_key, &place.aad(), plain)
    }

    pub(super) fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        open(&self.data_key, &place.aad(), sealed).ok_or(Error::Unreadable("a sealed value"))
    }
}

fn key(bytes: &[u8; 32]) -> Result<LessSafeKey, Error> {
    let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| Error::Unreadable("a key of 256 bits"))?;
    Ok(LessSafeKey::new(key))
}

/// nonce ‖ ciphertext ‖ tag. 96 random bits of nonce: 2^32 seals leave a chance of a repeat below 2^-32.
fn seal(key: &LessSafeKey, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, Error> {
    let nonce = random_bytes::<NONCE_LEN>().map_err(|_| Error::NoRandom)?;
    let mut text = plain.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut text)
        .map_err(|_| Error::Unreadable("a value to seal"))?;
    Ok([nonce.as_slice(), &text].concat())
}

fn open(key: &LessSafeKey, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = text.to_vec();
    let plain = key.open_in_place(nonce, Aad::from(aad), &mut text).ok()?;
    Some(plain.to_vec())
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_in_its_place_and_with_its_key() {
        let master = MasterKey::mint().unwrap();
        let (vault, wrapped) = master.new_vault().unwrap();
        let place = |row| Place {
            table: "api_keys",
            row: Uuid::from_u128(row),
            owner: Uuid::nil(),
        };
        let sealed = vault.seal(&place(1), b"secret").unwrap();
        let again = master.open_vault(&wrapped).unwrap().unwrap();
        assert_eq!(again.open(&place(1), &sealed).unwrap(), b"secret");
        assert!(again.open(&place(2), &sealed).is_err());
        assert!(MasterKey::mint().unwrap().open_vault(&wrapped).unwrap().is_none());
        assert!(again.open(&place(1), &sealed[..5]).is_err());
    }
}
