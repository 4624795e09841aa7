//! The config in a Secret, as far as it proves itself: pure.
//!
//! The rule a newcomer would break: what an annotation says of it is for people. Whoever may edit the Secret may write there
//! that it is newer than it is, and would never be given a revocation again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use castoff_wire::proto::Signed;
use castoff_wire::signed::Trust;
use prost::Message;
use serde_json::Value;
use uuid::Uuid;

/// Where the config in a Secret stands, as (epoch, version); none where it is not one of this deployment that nodes would obey.
pub(super) fn position(secret: &Value, deployment: Uuid, trust: &Trust) -> Option<(u64, u64)> {
    let encoded = secret.pointer("/data/config")?.as_str()?;
    let signed = Signed::decode(STANDARD.decode(encoded).ok()?.as_slice()).ok()?;
    let config = signed.open(trust, deployment).ok()?;
    Some((config.epoch, config.version))
}

#[cfg(test)]
mod tests {
    use super::super::labels::CONFIG;
    use super::*;
    use castoff_wire::proto::Config;
    use castoff_wire::signed::{config_message, key_id};
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::json;

    /// What this seed signs, and the trust in it.
    fn signed(seed: u8, deployment: Uuid) -> (Signed, Trust) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
        let config = Config {
            deployment_id: deployment.as_bytes().to_vec(),
            epoch: 1,
            version: 7,
            ..Config::default()
        };
        let config = config.encode_to_vec();
        let signature = pair.sign(&config_message(&config)).as_ref().to_vec();
        let key_id = key_id(&public);
        let trust = Trust::new(vec![(key_id.clone(), public)]).unwrap();
        let signed = Signed {
            config,
            key_id,
            signature,
        };
        (signed, trust)
    }

    #[test]
    fn only_a_config_that_nodes_would_obey_is_believed() {
        let (own, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (good, trust) = signed(1, own);
        let of = |config: &[u8]| {
            let secret = json!({
                "metadata": {"annotations": {CONFIG: "9.9"}}, "data": {"config": STANDARD.encode(config)},
            });
            position(&secret, own, &trust)
        };
        assert_eq!(of(&good.encode_to_vec()), Some((1, 7)), "not what is noted beside it");
        assert_eq!(of(&signed(2, own).0.encode_to_vec()), None, "signed by somebody else");
        assert_eq!(of(&signed(1, other).0.encode_to_vec()), None, "of another deployment");
        let mut torn = good;
        torn.config.push(0);
        assert_eq!((of(&torn.encode_to_vec()), of(b"none"), of(b"")), (None, None, None));
        for secret in [
            json!({}),
            json!({"data": {"config": 1}}),
            json!({"data": {"config": "?"}}),
        ] {
            assert_eq!(position(&secret, own, &trust), None, "{secret}");
        }
    }
}
