//! What is to be done so that a cluster has what it should: pure.

use super::labels::APPLIED;
use super::live::{Key, Seen, hash};
use super::objects::{Kind, Object, Objects, Prepared};
use serde_json::Value;
use std::collections::BTreeMap;

/// One thing to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// It is not there, as far as was seen.
    Create(Object),
    /// It is there and differs.
    Update {
        object: Object,
        /// Of what was seen: a change in between is a conflict.
        resource_version: String,
        /// How many pods there are, when that is somebody else's to decide from now on.
        hand_over: Option<i64>,
    },
    /// It should not be there.
    Delete { key: Key, uid: String },
    /// It was compared for the first time, and is as it should be.
    Settle(Key),
}

/// What is to be done, in order: what pods need comes before them, and goes after them.
pub(super) fn steps(wanted: &Objects<Prepared>, live: &BTreeMap<Key, Seen>) -> Vec<Step> {
    let mut steps = Vec::new();
    for object in wanted.items() {
        let (key, hash) = ((object.kind, object.name.clone()), hash(object));
        match live.get(&key) {
            None => steps.push(Step::Create(marked(object, &hash))),
            // Its end is seen, and then it is made anew.
            Some(seen) if seen.leaving => {}
            Some(seen) if is_newer(seen, object) => {}
            Some(seen) if seen.is(object, &hash) => steps.push(Step::Settle(key)),
            Some(seen) => steps.push(Step::Update {
                hand_over: seen.replicas.filter(|_| is_scaled_by_others(object)),
                object: marked(object, &hash),
                resource_version: seen.resource_version.clone(),
            }),
        }
    }
    let is_wanted = |key: &Key| {
        wanted
            .items()
            .iter()
            .any(|object| object.kind == key.0 && object.name == key.1)
    };
    let surplus = live.iter().rev().filter(|(key, seen)| !is_wanted(key) && !seen.leaving);
    steps.extend(surplus.map(|(key, seen)| Step::Delete {
        key: key.clone(),
        uid: seen.uid.clone(),
    }));
    steps
}

/// A config is never put back, not even by whoever acted before and does not know yet that it does not any more.
fn is_newer(seen: &Seen, object: &Object) -> bool {
    object.kind == Kind::Secret && seen.config > object.position()
}

fn is_scaled_by_others(object: &Object) -> bool {
    object.kind == Kind::Deployment && object.body.pointer("/spec/replicas").is_none()
}

/// The object with a note of what it is.
fn marked(object: &Object, hash: &str) -> Object {
    let mut marked = object.clone();
    let notes = marked
        .body
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    if let Some(notes) = notes {
        notes.insert(APPLIED.to_owned(), hash.into());
    }
    marked
}
