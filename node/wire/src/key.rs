//! API keys: their format and their two hashes.
//!
//! A minted key is `cst_`, 43 base62 digits of 256 random bits, and 6 base62 digits of the CRC-32 of what stands before
//! them: a typo dies before any look-up, and a leak scanner can tell a key from noise. Imported keys have no format.

use crate::sha256;
use uuid::Uuid;

/// What every minted key starts with.
pub const PREFIX: &str = "cst_";
/// 62^43 > 2^256 > 62^42: 43 digits hold 256 bits.
const RANDOM_DIGITS: usize = 43;
/// 62^6 > 2^32 > 62^5: 6 digits hold a CRC-32.
const CHECK_DIGITS: usize = 6;
const LENGTH: usize = PREFIX.len() + RANDOM_DIGITS + CHECK_DIGITS;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// SHA-256("castoff-key-v1\0" ‖ key): what the control plane keeps.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of a key as a caller sends it.
    pub fn of(key: &[u8]) -> Self {
        Self(sha256(&[b"castoff-key-v1\0", key]))
    }

    /// A hash as it was stored; `None` unless it has 32 bytes.
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes to store.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// SHA-256(deployment id ‖ this): what the nodes of that deployment keep. Useless at any other deployment.
    pub fn at(&self, deployment: Uuid) -> [u8; 32] {
        sha256(&[deployment.as_bytes(), &self.0])
    }
}

/// A new key from 256 random bits.
pub fn mint(random: &[u8; 32]) -> String {
    let mut number = *random;
    let mut digits = [b'0'; RANDOM_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = base62(divide_by_62(&mut number));
    }
    let mut key = String::with_capacity(LENGTH);
    key.push_str(PREFIX);
    key.extend(digits.iter().map(|&digit| char::from(digit)));
    let check = check_digits(key.as_bytes());
    key.extend(check.iter().map(|&digit| char::from(digit)));
    key
}

/// Whether the text is of our format and its check digits hold.
pub fn is_minted(text: &str) -> bool {
    looks_minted(text)
        && text
            .as_bytes()
            .split_at_checked(LENGTH - CHECK_DIGITS)
            .is_some_and(|(body, check)| check_digits(body) == check)
}

/// Whether the text has the shape of a minted key, its check digits right or wrong.
pub fn looks_minted(text: &str) -> bool {
    text.len() == LENGTH
        && text
            .strip_prefix(PREFIX)
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn check_digits(body: &[u8]) -> [u8; CHECK_DIGITS] {
    let mut crc = crc32fast::hash(body);
    let mut digits = [b'0'; CHECK_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = base62((crc % 62) as u8);
        crc /= 62;
    }
    digits
}

/// Divides the big-endian number in place and gives the remainder.
fn divide_by_62(number: &mut [u8; 32]) -> u8 {
    let mut remainder = 0u16;
    for byte in number.iter_mut() {
        // remainder < 62, so this is below 62 * 256 and the quotient below 256.
        let value = remainder << 8 | u16::from(*byte);
        *byte = (value / 62) as u8;
        remainder = value % 62;
    }
    remainder as u8
}

fn base62(digit: u8) -> u8 {
    ALPHABET.get(usize::from(digit)).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_has_its_form() {
        for random in [[0; 32], [255; 32], [7; 32]] {
            let key = mint(&random);
            assert_eq!(key.len(), LENGTH);
            assert!(is_minted(&key), "{key}");
        }
        assert_ne!(mint(&[1; 32]), mint(&[2; 32]));
    }

    #[test]
    fn any_single_typo_is_seen() {
        let key = mint(&[42; 32]);
        for place in PREFIX.len()..key.len() {
            let mut typo = key.clone().into_bytes();
            typo[place] = if typo[place] == b'x' { b'y' } else { b'x' };
            assert!(!is_minted(std::str::from_utf8(&typo).unwrap()), "typo at {place}");
        }
    }

    #[test]
    fn the_same_key_has_another_hash_at_each_deployment() {
        let hash = KeyHash::of(b"secret");
        assert_ne!(hash.at(Uuid::from_u128(1)), hash.at(Uuid::from_u128(2)));
        assert!(KeyHash::from_stored(hash.as_bytes()).is_some_and(|stored| stored == hash));
        assert!(KeyHash::from_stored(&[0; 31]).is_none());
    }
}
