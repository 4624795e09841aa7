//! What changed in the key set from one config to the next, and back from that to the next config.
//!
//! Pure, and the same for both sides. The rule a newcomer would break: a delta is no authority of its own. It is a shorter way
//! to the very bytes that were signed, and where it does not lead there it is not used.

use crate::proto::{Config, Delta, Key, Signed};
use crate::sha256;
use prost::Message;
use std::collections::{HashMap, HashSet};

/// What changed between two signed configs, if nothing but keys has. The first of the two is taken as it is.
pub fn between(before: &Signed, after: &Signed) -> Option<Delta> {
    let (old, new) = (decode(&before.config)?, decode(&after.config)?);
    let (old_keys, new_keys) = (keys(&old)?, keys(&new)?);
    let was: HashMap<&[u8], &Key> = old_keys.iter().map(|key| (key.id.as_slice(), key)).collect();
    let is: HashSet<&[u8]> = new_keys.iter().map(|key| key.id.as_slice()).collect();
    let revoked = old_keys.iter().filter(|key| !is.contains(key.id.as_slice()));
    let put = new_keys.iter().filter(|key| was.get(key.id.as_slice()) != Some(key));
    let delta = Delta {
        deployment_id: new.deployment_id.clone(),
        from: Some(before.position(&old)),
        to: Some(after.position(&new)),
        revoked: revoked.map(|key| key.id.clone()).collect(),
        put: put.cloned().collect(),
        key_id: after.key_id.clone(),
        signature: after.signature.clone(),
    };
    (apply(before, &delta).as_ref() == Some(after)).then_some(delta)
}

/// The config that a delta leads to from this one; `None` when it does not begin here, or does not lead where it says.
pub fn apply(before: &Signed, delta: &Delta) -> Option<Signed> {
    let (from, to) = (delta.from.as_ref()?, delta.to.as_ref()?);
    if delta.signature.is_empty() || before.digest() != from.digest.as_slice() {
        return None;
    }
    let mut config = decode(&before.config)?;
    (config.epoch, config.version) = (to.epoch, to.version);
    let own = &mut config.access.as_mut()?.keys;
    let put = delta.put.iter().map(|key| &key.id);
    let gone: HashSet<&Vec<u8>> = delta.revoked.iter().chain(put).collect();
    own.retain(|key| !gone.contains(&key.id));
    own.extend(delta.put.iter().cloned());
    own.sort_by(|one, other| one.id.cmp(&other.id));
    let config = config.encode_to_vec();
    (sha256(&[&config]) == to.digest.as_slice()).then(|| Signed {
        config,
        key_id: delta.key_id.clone(),
        signature: delta.signature.clone(),
    })
}

fn decode(config: &[u8]) -> Option<Config> {
    Config::decode(config).ok()
}

fn keys(config: &Config) -> Option<&[Key]> {
    config.access.as_ref().map(|access| access.keys.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Access, Position};

    fn key(id: u8, expires_at_ms: i64) -> Key {
        Key {
            id: vec![id; 16],
            expires_at_ms,
            ..Key::default()
        }
    }

    fn config(version: u64, keys: &[Key], header: &str) -> Signed {
        let access = Access {
            key_header: header.to_owned(),
            keys: keys.to_vec(),
            ..Access::default()
        };
        let config = Config {
            deployment_id: vec![7; 16],
            epoch: 1,
            version,
            access: Some(access),
            ..Config::default()
        };
        Signed {
            config: config.encode_to_vec(),
            key_id: "k".to_owned(),
            signature: vec![version as u8; 64],
        }
    }

    #[test]
    fn what_changed_of_the_keys_leads_to_the_same_bytes() {
        let before = config(1, &[key(1, 0), key(3, 0), key(5, 0)], "x");
        for (keys, revoked, put) in [
            (vec![key(1, 0), key(5, 0)], 1, 0),
            (vec![key(1, 0), key(2, 0), key(3, 0), key(5, 0)], 0, 1),
            (vec![key(1, 0), key(3, 9), key(5, 0)], 0, 1),
            (vec![key(0, 0), key(6, 1)], 3, 2),
            (vec![], 3, 0),
            (vec![key(1, 0), key(3, 0), key(5, 0)], 0, 0),
        ] {
            let after = config(2, &keys, "x");
            let delta = between(&before, &after).unwrap();
            assert_eq!((delta.revoked.len(), delta.put.len()), (revoked, put));
            assert_eq!(apply(&before, &delta), Some(after));
        }
    }

    #[test]
    fn what_is_no_change_of_keys_alone_has_no_delta() {
        let before = config(1, &[key(1, 0), key(3, 0)], "x");
        let bare = Signed {
            config: Config::default().encode_to_vec(),
            ..before.clone()
        };
        let torn = Signed {
            config: vec![0xff],
            ..before.clone()
        };
        for after in [
            config(2, &[key(1, 0), key(3, 0)], "y"),
            config(2, &[key(3, 0), key(1, 0)], "x"),
            bare,
            torn,
        ] {
            assert_eq!(between(&before, &after), None);
        }
    }

    #[test]
    fn a_delta_leads_nowhere_from_elsewhere_or_when_it_was_changed() {
        let (before, after) = (config(1, &[key(1, 0), key(3, 0)], "x"), config(2, &[key(1, 0)], "x"));
        let delta = between(&before, &after).unwrap();
        assert_eq!(apply(&after, &delta), None);
        assert_eq!(apply(&config(1, &[key(1, 0), key(4, 0)], "x"), &delta), None);
        let changed = |change: fn(&mut Delta)| {
            let mut changed = delta.clone();
            change(&mut changed);
            apply(&before, &changed)
        };
        assert_eq!(changed(|_| {}), Some(after.clone()));
        for change in [
            (|delta: &mut Delta| delta.revoked.clear()) as fn(&mut Delta),
            |delta| delta.put.push(key(9, 0)),
            |delta| delta.to = Some(Position::default()),
            |delta| delta.to = None,
            |delta| delta.from = None,
            |delta| delta.signature.clear(),
        ] {
            assert_eq!(changed(change), None);
        }
    }
}
