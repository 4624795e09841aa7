//! Opening what is signed: the only way from bytes to a [`Config`], a [`Delta`] or a [`Vouched`] that a node may obey.

use crate::proto::{Config, Delta, Position, Signed, SignedDelta, SignedVouched, Vouched};
use crate::sha256;
use prost::Message;
use ring::signature::{ED25519, UnparsedPublicKey};
use uuid::Uuid;

const CONFIG_CONTEXT: &[u8] = b"castoff-config-v1\0";
const DELTA_CONTEXT: &[u8] = b"castoff-delta-v1\0";
const VOUCHED_CONTEXT: &[u8] = b"castoff-vouched-v1\0";

/// The keys that a node believes: at most two, so that one can replace the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    keys: Vec<(String, [u8; 32])>,
}

/// More keys than this are not a rotation but a mistake.
pub const MOST_TRUSTED_KEYS: usize = 2;

/// Why a signed document is not obeyed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Signed by nobody that is trusted, or not by whom it says.
    #[error("the signature is not one of a trusted key")]
    BadSignature,
    /// Signed, but not a document of this release.
    #[error("the document cannot be read: {0}")]
    Malformed(&'static str),
    /// Signed, but for somebody else.
    #[error("the document is for another deployment")]
    OtherDeployment,
}

impl Trust {
    /// Trusts these Ed25519 public keys; `None` for no key or more than two.
    pub fn new(keys: Vec<(String, [u8; 32])>) -> Option<Self> {
        (!keys.is_empty() && keys.len() <= MOST_TRUSTED_KEYS).then_some(Self { keys })
    }

    fn verify(&self, key_id: &str, context: &[u8], document: &[u8], signature: &[u8]) -> Result<(), Refused> {
        let (_, public) = self
            .keys
            .iter()
            .find(|(id, _)| id == key_id)
            .ok_or(Refused::BadSignature)?;
        UnparsedPublicKey::new(&ED25519, public)
            .verify(&message(context, document), signature)
            .map_err(|_| Refused::BadSignature)
    }
}

/// What the signature of a config is over.
pub fn config_message(config: &[u8]) -> Vec<u8> {
    message(CONFIG_CONTEXT, config)
}

/// What the signature of a delta is over.
pub fn delta_message(delta: &[u8]) -> Vec<u8> {
    message(DELTA_CONTEXT, delta)
}

/// What the signature of a moment is over.
pub fn vouched_message(vouched: &[u8]) -> Vec<u8> {
    message(VOUCHED_CONTEXT, vouched)
}

/// The id of a signing key: the first 16 hex digits of the SHA-256 of its public half.
pub fn key_id(public: &[u8; 32]) -> String {
    let digest = hex::encode(sha256(&[public]));
    digest.chars().take(16).collect()
}

fn message(context: &[u8], document: &[u8]) -> Vec<u8> {
    [context, document].concat()
}

impl Signed {
    /// The config inside, when a trusted key signed it for this deployment.
    ///
    /// # Errors
    /// [`Refused`] says which of the three did not hold.
    pub fn open(&self, trust: &Trust, deployment: Uuid) -> Result<Config, Refused> {
        trust.verify(&self.key_id, CONFIG_CONTEXT, &self.config, &self.signature)?;
        let config = Config::decode(self.config.as_slice()).map_err(|_| Refused::Malformed("not a config"))?;
        if config.deployment_id != deployment.as_bytes() {
            return Err(Refused::OtherDeployment);
        }
        Ok(config)
    }

    /// SHA-256 of the config's bytes.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&[&self.config])
    }

    /// Where this config stands.
    pub fn position(&self, config: &Config) -> Position {
        Position {
            epoch: config.epoch,
            version: config.version,
            digest: self.digest().to_vec(),
        }
    }
}

impl SignedDelta {
    /// The delta inside, when a trusted key signed it for this deployment.
    ///
    /// # Errors
    /// [`Refused`] says which of the three did not hold.
    pub fn open(&self, trust: &Trust, deployment: Uuid) -> Result<Delta, Refused> {
        trust.verify(&self.key_id, DELTA_CONTEXT, &self.delta, &self.signature)?;
        let delta = Delta::decode(self.delta.as_slice()).map_err(|_| Refused::Malformed("not a delta"))?;
        if delta.deployment_id != deployment.as_bytes() {
            return Err(Refused::OtherDeployment);
        }
        Ok(delta)
    }
}

impl SignedVouched {
    /// The moment inside, when a trusted key signed it for this deployment.
    ///
    /// # Errors
    /// [`Refused`] says which of the three did not hold.
    pub fn open(&self, trust: &Trust, deployment: Uuid) -> Result<Vouched, Refused> {
        trust.verify(&self.key_id, VOUCHED_CONTEXT, &self.vouched, &self.signature)?;
        let vouched = Vouched::decode(self.vouched.as_slice()).map_err(|_| Refused::Malformed("not a moment"))?;
        if vouched.deployment_id != deployment.as_bytes() {
            return Err(Refused::OtherDeployment);
        }
        Ok(vouched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    fn signer(seed: u8) -> (Ed25519KeyPair, [u8; 32]) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        (pair, public)
    }

    fn signed(pair: &Ed25519KeyPair, public: &[u8; 32], deployment: Uuid) -> Signed {
        let config = Config {
            deployment_id: deployment.as_bytes().to_vec(),
            version: 3,
            ..Config::default()
        }
        .encode_to_vec();
        let signature = pair.sign(&config_message(&config)).as_ref().to_vec();
        Signed {
            config,
            key_id: key_id(public),
            signature,
        }
    }

    #[test]
    fn only_a_trusted_signature_for_this_deployment_opens() {
        let (pair, public) = signer(1);
        let trust = Trust::new(vec![(key_id(&public), public)]).unwrap();
        let here = Uuid::from_u128(1);
        let good = signed(&pair, &public, here);
        assert_eq!(good.open(&trust, here).unwrap().version, 3);
        assert_eq!(good.open(&trust, Uuid::from_u128(2)), Err(Refused::OtherDeployment));

        let mut torn = good.clone();
        torn.config.push(0);
        assert_eq!(torn.open(&trust, here), Err(Refused::BadSignature));

        let (other, other_public) = signer(2);
        let mut forged = signed(&other, &other_public, here);
        assert_eq!(forged.open(&trust, here), Err(Refused::BadSignature));
        forged.key_id = key_id(&public);
        assert_eq!(forged.open(&trust, here), Err(Refused::BadSignature));
    }

    #[test]
    fn a_config_signature_does_not_serve_for_a_delta() {
        let (pair, public) = signer(1);
        let trust = Trust::new(vec![(key_id(&public), public)]).unwrap();
        let here = Uuid::from_u128(1);
        let config = signed(&pair, &public, here);
        let delta = SignedDelta {
            delta: config.config,
            key_id: config.key_id,
            signature: config.signature,
        };
        assert_eq!(delta.open(&trust, here), Err(Refused::BadSignature));
    }
}
