//! What somebody else has changed or taken away in a cluster and was put right: told to people, though not again and again.
//!
//! The rule a newcomer would break: what we take away ourselves, and what differs since something else is wanted, is nobody's
//! doing.

use super::live::{Key, Seen};
use super::objects::{Kind, Object};
use super::plan::Step;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Of one object not more often: somebody else's controller may change it without end.
const QUIET: Duration = Duration::from_secs(60);
/// Objects of which anything is remembered. When more go at once, not each is told of.
const MOST: usize = 1_000;

/// What is to be told, and what was.
#[derive(Default)]
pub(super) struct Mended(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// We have asked these to go.
    removed: HashSet<Key>,
    /// These went, and not by us.
    lost: HashSet<Key>,
    told: HashMap<Key, Instant>,
    untold: HashMap<Uuid, Vec<String>>,
}

impl Mended {
    /// A step is about to be taken.
    pub(super) fn begin(&self, step: &Step) {
        if let Step::Delete { key, .. } = step {
            add(&mut self.inner().removed, key.clone());
        }
    }

    /// An object that was there is not any more.
    pub(super) fn gone(&self, key: Key) {
        let mut inner = self.inner();
        if !inner.removed.remove(&key) {
            add(&mut inner.lost, key);
        }
    }

    /// A step was taken for a deployment, of which this was seen before.
    pub(super) fn taken(&self, deployment: Uuid, step: &Step, live: &BTreeMap<Key, Seen>, now: Instant) {
        let key = |object: &Object| (object.kind, object.name.clone());
        match step {
            Step::Create(object) => {
                let key = key(object);
                let mut inner = self.inner();
                inner.removed.remove(&key);
                if inner.lost.remove(&key) {
                    let what = "was deleted by somebody else, and is made anew";
                    inner.tell(deployment, key, what, now);
                }
            }
            Step::Update {
                object, corrects: true, ..
            } => {
                let key = key(object);
                let other = live.get(&key).and_then(|seen| seen.other.as_ref());
                let by = other.map(|by| format!(" (field manager {by})")).unwrap_or_default();
                let what = format!("was changed by somebody else{by}: what is Castoff's of it is put right");
                self.inner().tell(deployment, key, &what, now);
            }
            Step::Update { .. } | Step::Delete { .. } | Step::Settle { .. } => {}
        }
    }

    /// What is to be told of a deployment, once.
    pub(super) fn told(&self, deployment: Uuid) -> Vec<String> {
        self.inner().untold.remove(&deployment).unwrap_or_default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn tell(&mut self, deployment: Uuid, key: Key, what: &str, now: Instant) {
        self.told.retain(|_, at| now.saturating_duration_since(*at) < QUIET);
        if self.told.contains_key(&key) || self.told.len() >= MOST {
            return;
        }
        let [_, _, kind, _]: [&str; 4] = Kind::api(key.0);
        let sentence = format!("{kind} {} {what}", key.1);
        self.told.insert(key, now);
        self.untold.entry(deployment).or_default().push(sentence);
    }
}

fn add(keys: &mut HashSet<Key>, key: Key) {
    if keys.len() < MOST {
        keys.insert(key);
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels::{APPLIED, DEPLOYMENT, INSTALLATION, manager};
    use super::super::plan::Version;
    use super::*;
    use serde_json::json;

    const ID: Uuid = Uuid::from_u128(1);

    fn object(hash: &str) -> Object {
        Object {
            kind: Kind::Secret,
            name: "iris".to_owned(),
            body: json!({"metadata": {"annotations": {APPLIED: hash}}}),
        }
    }

    fn key() -> Key {
        (Kind::Secret, "iris".to_owned())
    }

    fn there(hash: &str) -> BTreeMap<Key, Seen> {
        let given = json!({"metadata": {
            "annotations": {APPLIED: hash}, "labels": {DEPLOYMENT: ID, INSTALLATION: ID},
            "managedFields": [
                {"manager": manager(ID), "time": "2026-01-01T00:00:09Z"},
                {"manager": "kubectl-edit", "time": "2026-01-01T00:00:08Z"},
                {"manager": "early", "time": "2026-01-01T00:00:07Z"},
                {"manager": "controller", "time": "2026-01-01T00:00:10Z", "subresource": "status"},
            ],
        }});
        BTreeMap::from([(key(), Seen::of(&given))])
    }

    fn version() -> Version {
        Version {
            uid: "u".to_owned(),
            resource_version: "1".to_owned(),
        }
    }

    fn update(corrects: bool) -> Step {
        Step::Update {
            object: object("a"),
            over: version(),
            hand_over: None,
            corrects,
        }
    }

    #[test]
    fn what_somebody_changes_is_told_once_a_minute() {
        let (mended, start) = (Mended::default(), Instant::now());
        let after = |seconds: u64| {
            mended.taken(ID, &update(true), &there("a"), start + Duration::from_secs(seconds));
            mended.told(ID)
        };
        let says = "Secret iris was changed by somebody else (field manager kubectl-edit): what is Castoff's of it is put right";
        assert_eq!(after(0), [says]);
        assert!(after(1).is_empty() && after(59).is_empty());
        assert_eq!(after(60), [says]);
        mended.taken(ID, &update(false), &there("a"), start + Duration::from_secs(200));
        assert!(mended.told(ID).is_empty(), "something else is wanted");
    }

    #[test]
    fn what_somebody_takes_away_is_told_and_what_we_take_is_not() {
        let (mended, now) = (Mended::default(), Instant::now());
        let made = || {
            mended.taken(ID, &Step::Create(object("a")), &BTreeMap::new(), now);
            mended.told(ID)
        };
        assert!(made().is_empty(), "it was not there before");
        mended.begin(&Step::Delete {
            key: key(),
            over: version(),
        });
        mended.gone(key());
        assert!(made().is_empty());
        mended.gone(key());
        assert_eq!(made(), ["Secret iris was deleted by somebody else, and is made anew"]);
        assert!(mended.told(Uuid::from_u128(2)).is_empty());
    }
}
