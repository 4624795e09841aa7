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
        /// What it takes the place of.
        over: Version,
        /// How many pods there are, when that is somebody else's to decide from now on.
        hand_over: Option<i64>,
        /// It was so before, and somebody has changed it.
        corrects: bool,
    },
    /// It should not be there.
    Delete { key: Key, over: Version },
    /// It was compared, and is as it should be.
    Settle {
        key: Key,
        /// Of what was compared: a change in between is not settled with it.
        resource_version: String,
    },
}

/// An object as it was seen: one that has changed since, is gone or is another of the same name, is left as it is. So a control
/// plane that was away for a while undoes nothing that another has done meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Version {
    pub(super) uid: String,
    pub(super) resource_version: String,
}

impl Version {
    pub(super) fn of(seen: &Seen) -> Self {
        Self {
            uid: seen.uid.clone(),
            resource_version: seen.resource_version.clone(),
        }
    }
}

impl Step {
    /// Whether it is right though another one before it could not be taken. What pods need is there before them and goes after
    /// them; the way that leads to them stays until there is another; nothing else waits for anything.
    pub(super) fn is_right_without(&self, failed: &Self) -> bool {
        match (self, failed) {
            (Self::Settle { .. }, _) | (_, Self::Settle { .. }) => true,
            (Self::Delete { key, .. }, Self::Delete { key: failed, .. }) => {
                key.0 >= Kind::Deployment || failed.0 > Kind::Deployment
            }
            (Self::Delete { key, .. }, Self::Create(failed) | Self::Update { object: failed, .. }) => {
                !(key.0.leads_in() && failed.kind.leads_in())
            }
            (
                Self::Create(object) | Self::Update { object, .. },
                Self::Create(failed) | Self::Update { object: failed, .. },
            ) => object.kind < Kind::Deployment || failed.kind > Kind::Deployment,
            (Self::Create(_) | Self::Update { .. }, Self::Delete { .. }) => true,
        }
    }

    /// Of what kind is the object that is as it should be with it.
    pub(super) fn keeps(&self) -> Option<Kind> {
        match self {
            Self::Settle { key, .. } => Some(key.0),
            Self::Create(_) | Self::Update { .. } | Self::Delete { .. } => self.makes(),
        }
    }

    /// What kind of object it makes or changes.
    pub(super) fn makes(&self) -> Option<Kind> {
        match self {
            Self::Create(object) | Self::Update { object, .. } => Some(object.kind),
            Self::Delete { .. } | Self::Settle { .. } => None,
        }
    }
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
            Some(seen) if seen.is(object, &hash) => steps.push(Step::Settle {
                key,
                resource_version: seen.resource_version.clone(),
            }),
            Some(seen) => steps.push(Step::Update {
                hand_over: seen.replicas.filter(|_| is_scaled_by_others(object)),
                corrects: seen.applied.as_ref() == Some(&hash),
                object: marked(object, &hash),
                over: Version::of(seen),
            }),
        }
    }
    let is_wanted = |key: &Key| {
        let is = |object: &Object| object.kind == key.0 && object.name == key.1;
        wanted.leaves_alone(key.0) || wanted.items().iter().any(is)
    };
    let surplus = live.iter().rev().filter(|(key, seen)| !is_wanted(key) && !seen.leaving);
    steps.extend(surplus.map(|(key, seen)| Step::Delete {
        key: key.clone(),
        over: Version::of(seen),
    }));
    steps
}

/// A config is never put back, not even by whoever acted before and does not know yet that it does not any more.
pub(super) fn is_newer(seen: &Seen, object: &Object) -> bool {
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

#[cfg(test)]
mod tests {
    use super::super::labels::{CONFIG, DEPLOYMENT, INSTALLATION, manager};
    use super::super::objects::built;
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    fn object(kind: Kind, body: Value) -> Object {
        let name = "iris".to_owned();
        Object { kind, name, body }
    }

    fn workload(spec: Value) -> Object {
        object(Kind::Deployment, json!({"metadata": {"annotations": {}}, "spec": spec}))
    }

    fn secret(version: u64) -> Object {
        let position = format!("1.{version}");
        object(Kind::Secret, json!({"metadata": {"annotations": {CONFIG: position}}}))
    }

    /// As a cluster gives what was applied.
    fn given(object: &Object) -> Value {
        let mut given = marked(object, &hash(object)).body;
        let installation = Uuid::from_u128(2);
        given["metadata"]["labels"] = json!({DEPLOYMENT: Uuid::from_u128(1), INSTALLATION: installation});
        let ours = json!({"f:metadata": {"f:annotations": {}, "f:labels": {}}, "f:spec": {}});
        given["metadata"]["managedFields"] =
            json!([{"manager": manager(installation), "operation": "Apply", "fieldsV1": ours}]);
        given["metadata"]["uid"] = json!("u");
        given["metadata"]["resourceVersion"] = json!("7");
        given
    }

    fn version() -> Version {
        Version {
            uid: "u".to_owned(),
            resource_version: "7".to_owned(),
        }
    }

    fn live(object: &Object, given: &Value) -> BTreeMap<Key, Seen> {
        BTreeMap::from([((object.kind, object.name.clone()), Seen::of(given))])
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_surplus_goes() {
        let wanted = secret(1);
        let made = steps(&built(vec![wanted.clone()], None), &BTreeMap::new());
        assert_eq!(made, [Step::Create(marked(&wanted, &hash(&wanted)))]);
        let there = live(&wanted, &given(&wanted));
        let key = (Kind::Secret, "iris".to_owned());
        let settled = Step::Settle {
            key: key.clone(),
            resource_version: "7".to_owned(),
        };
        assert_eq!(steps(&built(vec![wanted.clone()], None), &there), [settled]);
        let over = version();
        assert_eq!(steps(&built(Vec::new(), None), &there), [Step::Delete { key, over }]);
        let mut leaving = given(&wanted);
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let leaving = live(&wanted, &leaving);
        assert_eq!(steps(&built(Vec::new(), None), &leaving), []);
        assert_eq!(steps(&built(vec![wanted], None), &leaving), [], "its end is waited for");
    }

    #[test]
    fn what_cannot_be_done_keeps_nothing_that_does_not_need_it() {
        use Kind::{
            Deployment, HorizontalPodAutoscaler, HttpRoute, Ingress, NetworkPolicy, Secret, Service, ServiceAccount,
        };
        let make = |kind| Step::Create(object(kind, json!({})));
        let change = |kind| Step::Update {
            object: object(kind, json!({})),
            over: version(),
            hand_over: None,
            corrects: false,
        };
        let delete = |kind| Step::Delete {
            key: (kind, "iris".to_owned()),
            over: version(),
        };
        for (failed, step, is_right) in [
            // A config is written whatever else is wrong; a pod is not made without what keeps it in.
            (make(ServiceAccount), change(Secret), true),
            (make(Service), change(Secret), true),
            (make(NetworkPolicy), make(Deployment), false),
            (change(Secret), change(Deployment), false),
            (make(Deployment), make(HttpRoute), false),
            (make(HorizontalPodAutoscaler), make(HttpRoute), true),
            (make(Ingress), make(HttpRoute), true),
            // What is switched off or not wanted goes, but for the way that there is.
            (make(HttpRoute), delete(Deployment), true),
            (make(Service), delete(Deployment), true),
            (make(HttpRoute), delete(HorizontalPodAutoscaler), true),
            (make(HttpRoute), delete(Ingress), false),
            (change(Ingress), delete(HttpRoute), false),
            (delete(HttpRoute), delete(Deployment), true),
            (delete(HttpRoute), delete(Ingress), true),
            (delete(Deployment), delete(Secret), false),
            (delete(Secret), delete(ServiceAccount), false),
        ] {
            assert_eq!(step.is_right_without(&failed), is_right, "{step:?} without {failed:?}");
        }
    }

    #[test]
    fn what_another_release_makes_is_left_as_it_is() {
        let there = workload(json!({"replicas": 5, "template": "of another release"}));
        let live = live(&there, &given(&there));
        assert_eq!(steps(&built(Vec::new(), Some(Kind::Deployment)), &live), []);
        let removed = steps(&built(Vec::new(), Some(Kind::Secret)), &live);
        assert!(matches!(removed[..], [Step::Delete { .. }]), "{removed:?}");
    }

    #[test]
    fn a_newer_config_is_never_put_back() {
        // What is noted of it, and what it has been proven to be.
        let is_written = |own: u64, noted: u64, proven: Option<u64>| {
            let mut live = live(&secret(noted), &given(&secret(noted)));
            for seen in live.values_mut() {
                seen.config = proven.map(|version| (1, version));
            }
            let steps = steps(&built(vec![secret(own)], None), &live);
            matches!(steps[..], [Step::Update { .. }])
        };
        assert!(is_written(3, 2, Some(2)) && !is_written(2, 3, Some(3)) && !is_written(3, 3, Some(3)));
        assert!(
            is_written(2, 9, Some(2)) && is_written(2, 9, None),
            "anybody can note what is not so"
        );
        assert!(!is_written(2, 1, Some(3)));
    }

    #[test]
    fn an_autoscaler_gets_the_number_that_there_is() {
        let mut counted = given(&workload(json!({"replicas": 5})));
        let scaled = workload(json!({"paused": false}));
        let not_ours = steps(&built(vec![scaled.clone()], None), &live(&scaled, &counted));
        assert!(
            matches!(not_ours[..], [Step::Update { hand_over: None, .. }]),
            "it is an autoscaler's already"
        );
        let installation = Uuid::from_u128(9);
        counted["metadata"]["labels"][INSTALLATION] = json!(installation);
        counted["metadata"]["managedFields"] = json!([
            {"manager": manager(installation), "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        ]);
        let there = live(&scaled, &counted);
        let [Step::Update { hand_over, over, .. }] = &steps(&built(vec![scaled], None), &there)[..] else {
            panic!("one update");
        };
        assert_eq!((*hand_over, over), (Some(5), &version()));
        let own = workload(json!({"replicas": 2}));
        let there = live(&own, &counted);
        assert!(matches!(
            steps(&built(vec![own], None), &there)[..],
            [Step::Update { hand_over: None, .. }]
        ));
    }
}
