//! Revocations that came ahead of their config.
//!
//! Pure. The rule a newcomer would break: a delta is forgotten when a config of its `to` or higher is in force, not
//! before and not later: later would revoke a key that was activated again since.

use super::copy::{Unusable, order};
use castoff_wire::proto::{Delta, Position, SignedDelta};
use castoff_wire::{Refused, Trust};
use prost::Message;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Deltas whose config has not come, as they were signed.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    waiting: Vec<Waiting>,
}

#[derive(Clone, Debug)]
struct Waiting {
    signed: SignedDelta,
    to: Position,
    revoked: Vec<Vec<u8>>,
}

impl Overlay {
    /// Adds an opened delta; `false` when the config in force has it behind it already, or when it revokes nothing.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when the delta does not say where it leads.
    pub fn add(&mut self, signed: SignedDelta, delta: Delta, in_force: Option<&Position>) -> Result<bool, Refused> {
        let Some(to) = delta.to else {
            return Err(Refused::Malformed("a delta that leads nowhere"));
        };
        let behind = in_force.is_some_and(|in_force| order(in_force, &to).is_ge());
        let known = self.waiting.iter().any(|waiting| waiting.signed.delta == signed.delta);
        if behind || known || delta.revoked.is_empty() {
            return Ok(false);
        }
        self.waiting.push(Waiting {
            signed,
            to,
            revoked: delta.revoked,
        });
        Ok(true)
    }

    /// What is left of it when this config is in force.
    pub fn beyond(&self, in_force: &Position) -> Self {
        let waiting = self
            .waiting
            .iter()
            .filter(|waiting| order(&waiting.to, in_force).is_gt());
        Self {
            waiting: waiting.cloned().collect(),
        }
    }

    /// What either of the two holds.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        for waiting in other.waiting {
            if self
                .waiting
                .iter()
                .all(|known| known.signed.delta != waiting.signed.delta)
            {
                self.waiting.push(waiting);
            }
        }
        self
    }

    /// Ids of the keys that are revoked.
    pub fn revoked(&self) -> BTreeSet<&[u8]> {
        self.waiting
            .iter()
            .flat_map(|waiting| &waiting.revoked)
            .map(Vec::as_slice)
            .collect()
    }

    /// Whether nothing is revoked ahead of its config.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The signed deltas, each with its length before it.
    pub fn encode(&self) -> Vec<u8> {
        self.waiting
            .iter()
            .flat_map(|waiting| waiting.signed.encode_length_delimited_to_vec())
            .collect()
    }

    /// Opens what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`Unusable`] when any of it is torn or not to be believed.
    pub fn decode(mut bytes: &[u8], trust: &Trust, deployment: Uuid) -> Result<Self, Unusable> {
        const NAME: &str = "revoked";
        let mut overlay = Self::default();
        while !bytes.is_empty() {
            let signed =
                SignedDelta::decode_length_delimited(&mut bytes).map_err(|error| Unusable::Torn(NAME, error))?;
            let opened = signed.open(trust, deployment);
            let added = opened.and_then(|delta| overlay.add(signed, delta, None));
            added.map_err(|error| Unusable::Refused(NAME, error))?;
        }
        Ok(overlay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::signing::{Signer, at};

    fn add(overlay: &mut Overlay, signer: &Signer, to: u64, key: &str, in_force: u64) -> bool {
        let signed = signer.revocation(to, &[key]);
        let delta = signed.open(&signer.trust, signer.deployment).unwrap();
        overlay.add(signed, delta, Some(&at(1, in_force))).unwrap()
    }

    #[test]
    fn a_delta_is_dropped_by_any_config_of_its_version_or_higher() {
        let signer = Signer::new(1);
        let mut overlay = Overlay::default();
        assert!(add(&mut overlay, &signer, 6, "a", 4));
        assert!(add(&mut overlay, &signer, 8, "b", 4));
        assert!(!add(&mut overlay, &signer, 8, "b", 4), "the same again");
        for (epoch, version, left) in [
            (1, 5, &["a", "b"][..]),
            (1, 6, &["b"]),
            (1, 7, &["b"]),
            (1, 8, &[]),
            (2, 1, &[]),
            (0, 99, &["a", "b"]),
        ] {
            let left: BTreeSet<_> = left.iter().map(|key| key.as_bytes()).collect();
            assert_eq!(overlay.beyond(&at(epoch, version)).revoked(), left, "{epoch}.{version}");
        }
    }

    #[test]
    fn a_delta_that_is_behind_revokes_nothing() {
        let signer = Signer::new(1);
        let mut overlay = Overlay::default();
        assert!(!add(&mut overlay, &signer, 6, "a", 6));
        assert!(!add(&mut overlay, &signer, 6, "a", 7));
        assert!(overlay.is_empty());
    }

    #[test]
    fn it_comes_back_whole_or_not_at_all() {
        let signer = Signer::new(1);
        let mut overlay = Overlay::default();
        add(&mut overlay, &signer, 6, "a", 4);
        add(&mut overlay, &signer, 7, "b", 4);
        let bytes = overlay.encode();
        assert_eq!(
            Overlay::decode(&bytes, &signer.trust, signer.deployment)
                .unwrap()
                .revoked(),
            overlay.revoked()
        );
        assert!(Overlay::decode(&bytes[..bytes.len() - 1], &signer.trust, signer.deployment).is_err());
        assert!(Overlay::decode(&bytes, &Signer::new(2).trust, signer.deployment).is_err());
    }
}
