//! Signing configs with the installation's key.

use super::plan;
use crate::domain::Time;
use crate::store::{ConfigFacts, Installation, Publish, Published, StoredConfig};
use castoff_wire::proto::{Position, Signed, SignedDelta, SignedVouched, Vouched};
use castoff_wire::signed::{config_message, delta_message, key_id, vouched_message};
use castoff_wire::{delta, sha256};
use prost::Message;
use ring::signature::{Ed25519KeyPair, KeyPair};

/// Writes and signs configs.
pub struct Publisher {
    pair: Ed25519KeyPair,
    key_id: String,
}

fn pair(installation: &Installation) -> Result<Ed25519KeyPair, String> {
    Ed25519KeyPair::from_seed_unchecked(&installation.signing_seed).map_err(|_| "the signing key is damaged".to_owned())
}

/// The public half of the installation's signing key.
pub(super) fn public(installation: &Installation) -> Result<[u8; 32], String> {
    pair(installation)?
        .public_key()
        .as_ref()
        .try_into()
        .map_err(|_| "the signing key is damaged".to_owned())
}

impl Publisher {
    /// Signs for an installation.
    ///
    /// # Errors
    /// Its key is damaged.
    pub fn new(installation: &Installation) -> Result<Self, String> {
        Ok(Self {
            pair: pair(installation)?,
            key_id: key_id(&public(installation)?),
        })
    }
}

impl Publish for Publisher {
    fn publish(&self, facts: &ConfigFacts) -> Published {
        let config = plan::config(facts).encode_to_vec();
        let signature = self.pair.sign(&config_message(&config)).as_ref().to_vec();
        Published {
            digest: sha256(&[&config]),
            key_id: self.key_id.clone(),
            signature,
            config,
        }
    }

    fn vouch(&self, config: &StoredConfig, at: Time) -> Vec<u8> {
        let vouched = Vouched {
            deployment_id: config.deployment_id.as_bytes().to_vec(),
            position: Some(Position {
                epoch: config.epoch,
                version: config.version,
                digest: config.digest.clone(),
            }),
            at_ms: at.ms(),
        }
        .encode_to_vec();
        let signed = SignedVouched {
            key_id: self.key_id.clone(),
            signature: self.pair.sign(&vouched_message(&vouched)).as_ref().to_vec(),
            vouched,
        };
        signed.encode_to_vec()
    }

    fn delta(&self, before: &Signed, after: &Signed) -> Option<SignedDelta> {
        let delta = delta::between(before, after)?.encode_to_vec();
        // A node does more with it than with the config: not worth it for a few keys.
        (delta.len() * 2 < after.config.len()).then(|| SignedDelta {
            key_id: self.key_id.clone(),
            signature: self.pair.sign(&delta_message(&delta)).as_ref().to_vec(),
            delta,
        })
    }
}
