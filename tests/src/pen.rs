//! A key that signs configs, held by somebody who is not the control plane.

use castoff_wire::proto::{Config, Delta, Signed, SignedDelta};
use castoff_wire::signed;
use prost::Message;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// An Ed25519 key of the test's own.
#[derive(Debug)]
pub struct Pen {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl Pen {
    /// The key of this seed.
    pub fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
        let public = pair.public_key().as_ref().try_into().expect("32 bytes");
        Self { pair, public }
    }

    /// As it stands in a join document.
    pub fn in_join(&self) -> Value {
        json!({"id": self.id(), "public": self.public.iter().map(|byte| format!("{byte:02x}")).collect::<String>()})
    }

    /// Its id.
    pub fn id(&self) -> String {
        signed::key_id(&self.public)
    }

    /// Signs these bytes as a config, whatever they are.
    pub fn sign_bytes(&self, config: Vec<u8>) -> Signed {
        let signature = self.pair.sign(&signed::config_message(&config));
        Signed {
            key_id: self.id(),
            signature: signature.as_ref().to_vec(),
            config,
        }
    }

    /// Signs a config.
    pub fn sign(&self, config: &Config) -> Signed {
        self.sign_bytes(config.encode_to_vec())
    }

    /// Signs a change of a key set.
    pub fn sign_delta(&self, delta: &Delta) -> SignedDelta {
        let delta = delta.encode_to_vec();
        let signature = self.pair.sign(&signed::delta_message(&delta));
        SignedDelta {
            key_id: self.id(),
            signature: signature.as_ref().to_vec(),
            delta,
        }
    }
}
