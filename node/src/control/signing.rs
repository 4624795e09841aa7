//! A control plane's pen, for tests.

use castoff_wire::proto::{
    Access, Config, Delta, Endpoint, File, Key, Position, RoutedVersion, Serving, Signed, SignedDelta, SignedVouched,
    Vouched,
};
use castoff_wire::{Trust, signed};
use prost::Message;
use ring::signature::{Ed25519KeyPair, KeyPair};
use uuid::Uuid;

pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    pub(crate) public: [u8; 32],
    pub(crate) trust: Trust,
    pub(crate) deployment: Uuid,
}

pub(crate) fn at(epoch: u64, version: u64) -> Position {
    Position {
        epoch,
        version,
        digest: vec![0; 32],
    }
}

impl Signer {
    pub(crate) fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
        let trust = Trust::new(vec![(signed::key_id(&public), public)]).unwrap();
        Self {
            pair,
            public,
            trust,
            deployment: Uuid::from_u128(1),
        }
    }

    /// The join document of a node that believes this pen.
    pub(crate) fn join(&self, control_plane: &str, token: &str) -> String {
        serde_json::json!({
            "control_plane": control_plane, "deployment": self.deployment, "token": token,
            "signing_keys": [{"id": signed::key_id(&self.public), "public": hex::encode(self.public)}],
        })
        .to_string()
    }

    /// A config whose keys have these ids and which serves no model.
    pub(crate) fn config(&self, epoch: u64, version: u64, keys: &[&str]) -> Signed {
        self.serving(epoch, version, keys, &[])
    }

    /// A config that serves these model files, each `(name of the version, bytes of the model)`.
    pub(crate) fn serving(&self, epoch: u64, version: u64, keys: &[&str], models: &[(&str, &[u8])]) -> Signed {
        let versions = models.iter().map(|&(name, model)| RoutedVersion {
            name: name.into(),
            weight: 100,
            digest: castoff_wire::sha256(&[model]).to_vec(),
            endpoints: vec![Endpoint {
                name: "default".into(),
                kind: 1,
                model: Some(file(model)),
                ..Endpoint::default()
            }],
        });
        let serving = Serving {
            service: "iris".into(),
            versions: versions.collect(),
            limits: None,
        };
        let keys = keys.iter().map(|id| Key {
            id: id.as_bytes().to_vec(),
            hash: vec![0; 32],
            ..Key::default()
        });
        let access = Access {
            keys: keys.collect(),
            ..Access::default()
        };
        self.sign(&Config {
            deployment_id: self.deployment.as_bytes().to_vec(),
            deployment: "iris-on-dev".into(),
            epoch,
            version,
            serving: Some(serving),
            access: Some(access),
        })
    }

    pub(crate) fn sign(&self, config: &Config) -> Signed {
        let config = config.encode_to_vec();
        let signature = self.pair.sign(&signed::config_message(&config)).as_ref().to_vec();
        Signed {
            config,
            key_id: signed::key_id(&self.public),
            signature,
        }
    }

    /// That a config was the newest one then.
    pub(crate) fn vouched(&self, position: &Position, at_ms: i64) -> SignedVouched {
        let vouched = Vouched {
            deployment_id: self.deployment.as_bytes().to_vec(),
            position: Some(position.clone()),
            at_ms,
        }
        .encode_to_vec();
        let signature = self.pair.sign(&signed::vouched_message(&vouched)).as_ref().to_vec();
        SignedVouched {
            vouched,
            key_id: signed::key_id(&self.public),
            signature,
        }
    }

    /// A delta that leads to version `to` of epoch 1.
    pub(crate) fn revocation(&self, to: u64, revoked: &[&str]) -> SignedDelta {
        self.sign_delta(&Delta {
            deployment_id: self.deployment.as_bytes().to_vec(),
            from: Some(at(1, to - 1)),
            to: Some(at(1, to)),
            revoked: revoked.iter().map(|id| id.as_bytes().to_vec()).collect(),
            ..Delta::default()
        })
    }

    pub(crate) fn sign_delta(&self, delta: &Delta) -> SignedDelta {
        let delta = delta.encode_to_vec();
        let signature = self.pair.sign(&signed::delta_message(&delta)).as_ref().to_vec();
        SignedDelta {
            delta,
            key_id: signed::key_id(&self.public),
            signature,
        }
    }
}

pub(crate) fn file(model: &[u8]) -> File {
    File {
        path: "model.onnx".into(),
        digest: castoff_wire::sha256(&[model]).to_vec(),
        size: model.len() as u64,
    }
}
