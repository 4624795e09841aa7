//! What is in a cluster, as far as it was seen: a few facts of each object, not the object.
//!
//! Apart from watching, which fills it. The rule a newcomer would break: an object that looks as it did right after it was
//! applied is as it should be; a cluster adds defaults and fields of others, so any other is compared by what is noted as ours.

use super::bounds::{MOST_NAME, MOST_OBJECTS, MOST_PODS, MOST_UNREAD, words};
use super::decided::{decided, is_as_wanted, kept, other, ours};
use super::duels::Duels;
use super::labels::{APPLIED, DEPLOYMENT};
use super::objects::{Kind, Object};
use super::observe::Pod;
use super::{balancer, unscaled};
use ring::digest::{SHA256, digest};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio::time::Instant;
use uuid::Uuid;

/// Where an object is found.
pub(super) type Key = (Kind, String);

/// An object as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) deployment: Option<Uuid>,
    pub(super) uid: String,
    pub(super) resource_version: String,
    /// It was asked to go.
    pub(super) leaving: bool,
    /// SHA-256 of what was applied last, as the object itself says.
    pub(super) applied: Option<String>,
    /// The config in it, where that proves itself.
    pub(super) config: Option<(u64, u64)>,
    /// Who has changed it last but us.
    pub(super) other: Option<String>,
    /// Of a Deployment: how many pods it has now, while that is ours to say, and why it cannot have more.
    pub(super) replicas: Option<i64>,
    pub(super) failure: Option<String>,
    /// Of a Deployment: all its pods are as it says, and are there.
    pub(super) replaced: bool,
    /// Of an autoscaler: what it does not see.
    pub(super) unscaled: Option<String>,
    /// Of a Service: the host of its balancer.
    pub(super) balancer: Option<String>,
    /// A digest of all that people decide of it.
    look: [u8; 32],
    /// How it looked when it was as it should be; none while that is not known.
    settled: Option<[u8; 32]>,
    /// Of one that is not known to be so: itself, until it is compared.
    unread: Option<Box<str>>,
}

/// Everything of an installation that was seen in a namespace.
#[derive(Default)]
pub(super) struct Live {
    objects: HashMap<Key, Seen>,
    pods: HashMap<String, Pod>,
    by_deployment: BTreeMap<Uuid, BTreeSet<Key>>,
    pub(super) duels: Duels,
    /// Bytes of objects that are still to be compared.
    unread: usize,
}

impl Seen {
    /// From an object as the API server gives it. The config in it is for the view to judge.
    pub(super) fn of(object: &Value) -> Self {
        let short = |value: &Value| value.as_str().filter(|text| text.len() <= MOST_NAME).map(str::to_owned);
        let text = |pointer: &str| object.pointer(pointer).and_then(short);
        let noted = |of: &str, name: &str| object.pointer("/metadata")?.get(of)?.get(name).and_then(short);
        let decided = decided(object);
        let failure = object
            .pointer("/status/conditions")
            .and_then(Value::as_array)
            .and_then(|conditions| {
                let failed = conditions
                    .iter()
                    .find(|condition| condition.get("type").is_some_and(|kind| kind == "ReplicaFailure"))?;
                failed.get("message")?.as_str().map(words)
            });
        Self {
            deployment: noted("labels", DEPLOYMENT).and_then(|id| id.parse().ok()),
            uid: text("/metadata/uid").unwrap_or_default(),
            resource_version: text("/metadata/resourceVersion").unwrap_or_default(),
            leaving: text("/metadata/deletionTimestamp").is_some(),
            applied: noted("annotations", APPLIED),
            config: None,
            other: other(object).map(words),
            replicas: replicas_of_ours(object),
            failure,
            unscaled: unscaled::of(object),
            balancer: balancer::of(object),
            replaced: is_replaced(object),
            look: sha256(decided.to_string().as_bytes()),
            settled: None,
            unread: Some(kept(object, &decided).into()),
        }
    }

    /// The same, right after it was applied.
    pub(super) fn applied(object: &Value) -> Self {
        let seen = Self::of(object);
        Self {
            settled: Some(seen.look),
            unread: None,
            ..seen
        }
    }

    fn unread_bytes(&self) -> usize {
        self.unread.as_ref().map_or(0, |unread| unread.len())
    }

    /// Versions of one object grow, as far as they are numbers.
    fn order(&self) -> u64 {
        self.resource_version.parse().unwrap_or(0)
    }

    /// Whether it is as it should be.
    pub(super) fn is(&self, object: &Object, hash: &str) -> bool {
        if self.applied.as_deref() != Some(hash) {
            return false;
        }
        match (self.settled, &self.unread) {
            (Some(settled), _) => settled == self.look,
            (None, Some(unread)) => is_as_wanted(unread, &object.body),
            (None, None) => false,
        }
    }
}

impl Live {
    /// Whether there is no room for one more object.
    pub(super) fn is_full(&self) -> bool {
        self.objects.len() >= MOST_OBJECTS || self.pods.len() >= MOST_PODS
    }

    /// Notes an object, and says of which deployments it is and was.
    pub(super) fn see(&mut self, key: Key, seen: Seen) -> Vec<Uuid> {
        let before = self.objects.get(&key);
        if let Some(before) = before {
            // An answer to what was applied may come before the watch's older news, or after its newest.
            if before.uid == seen.uid && before.order() > seen.order() {
                return Vec::new();
            }
            if before.resource_version == seen.resource_version {
                if seen.settled.is_some() {
                    self.settle(&key, &seen.resource_version);
                }
                return Vec::new();
            }
        }
        let settled = seen.settled.or(before.and_then(|before| before.settled));
        // One that looks otherwise is compared again: others may have added something, which stays.
        let settled = settled.filter(|settled| *settled == seen.look);
        let mut touched = self.forget(&key);
        // One that cannot be compared is written once more.
        let unread = seen
            .unread
            .filter(|unread| settled.is_none() && self.unread + unread.len() <= MOST_UNREAD);
        let seen = Seen {
            unread,
            settled,
            ..seen
        };
        self.unread += seen.unread_bytes();
        if let Some(deployment) = seen.deployment {
            self.by_deployment.entry(deployment).or_default().insert(key.clone());
            touched.push(deployment);
        }
        self.objects.insert(key, seen);
        touched
    }

    /// Notes that an object is not there any more.
    pub(super) fn forget(&mut self, key: &Key) -> Vec<Uuid> {
        let before = self.objects.remove(key);
        self.unread -= before.as_ref().map_or(0, Seen::unread_bytes);
        let before = before.and_then(|seen| seen.deployment);
        if let Some(deployment) = before
            && let Some(keys) = self.by_deployment.get_mut(&deployment)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.by_deployment.remove(&deployment);
            }
        }
        before.into_iter().collect()
    }

    /// Takes an object as it was compared: it is as it should be. Not if it has changed since.
    pub(super) fn settle(&mut self, key: &Key, resource_version: &str) {
        if let Some(seen) = self.objects.get_mut(key)
            && seen.resource_version == resource_version
        {
            self.unread -= seen.unread_bytes();
            (seen.settled, seen.unread) = (Some(seen.look), None);
        }
    }

    /// The names of all objects of a kind.
    pub(super) fn names(&self, kind: Kind) -> Vec<String> {
        let of_kind = self.objects.keys().filter(|(of, _)| *of == kind);
        of_kind.map(|(_, name)| name.clone()).collect()
    }

    /// The objects of a deployment.
    pub(super) fn objects(&self, deployment: Uuid) -> BTreeMap<Key, Seen> {
        let keys = self.by_deployment.get(&deployment);
        let found = keys.into_iter().flatten();
        found
            .filter_map(|key| Some((key.clone(), self.objects.get(key)?.clone())))
            .collect()
    }

    /// Whether new pods of a deployment start with this config or a newer one. A Secret that is about to go is none, nor is one
    /// that somebody has edited.
    pub(super) fn boots_from(&self, deployment: Uuid, position: (u64, u64)) -> bool {
        let objects = self.objects(deployment);
        let mut secrets = objects.iter().filter(|((kind, _), _)| *kind == Kind::Secret);
        secrets.any(|(_, seen)| !seen.leaving && seen.settled == Some(seen.look) && seen.config >= Some(position))
    }

    /// The deployments that have objects.
    pub(super) fn deployments(&self) -> Vec<Uuid> {
        self.by_deployment.keys().copied().collect()
    }

    /// Notes a pod, and says of which deployment it is.
    pub(super) fn see_pod(&mut self, name: String, pod: Pod) -> Uuid {
        let deployment = pod.deployment;
        let pod = pod.seen(self.pods.get(&name), Instant::now());
        self.pods.insert(name, pod);
        deployment
    }

    /// Notes that a pod is not there any more.
    pub(super) fn forget_pod(&mut self, name: &str) -> Option<Uuid> {
        self.pods.remove(name).map(|pod| pod.deployment)
    }

    /// The names of all pods.
    pub(super) fn pod_names(&self) -> Vec<String> {
        self.pods.keys().cloned().collect()
    }

    /// The pods of a deployment.
    pub(super) fn pods(&self, deployment: Uuid) -> Vec<Pod> {
        let own = self.pods.values().filter(|pod| pod.deployment == deployment);
        own.cloned().collect()
    }
}

/// How many pods a Deployment has, if the number is what we applied last: an autoscaler that has taken it over is not told.
fn replicas_of_ours(object: &Value) -> Option<i64> {
    ours(object)?.pointer("/f:spec/f:replicas")?;
    object.pointer("/spec/replicas")?.as_i64()
}

/// Whether a Deployment has been looked at since it was changed, and no pod is left of what it was.
fn is_replaced(object: &Value) -> bool {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let wanted = number("/spec/replicas");
    let counted = |name: &str| number(&format!("/status/{name}"));
    number("/metadata/generation") == number("/status/observedGeneration")
        && ["replicas", "updatedReplicas", "availableReplicas"]
            .into_iter()
            .all(|name| counted(name) == wanted)
}

/// The digest by which it is known what was applied.
pub(super) fn hash(object: &Object) -> String {
    hex::encode(sha256(object.body.to_string().as_bytes()))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut own = [0; 32];
    for (own, byte) in own.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *own = *byte;
    }
    own
}

#[cfg(test)]
mod tests {
    use super::super::labels::{INSTALLATION, manager};
    use super::*;
    use serde_json::json;

    fn key() -> Key {
        (Kind::Deployment, "iris".to_owned())
    }

    fn wanted() -> Object {
        Object {
            kind: Kind::Deployment,
            name: "iris".to_owned(),
            body: json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "iris"}, "spec": {"replicas": 2, "list": [{"a": 1}], "notes": {}},
            }),
        }
    }

    /// As the cluster gives it: with what it adds.
    fn given(version: &str, replicas: u32, hash: &str) -> Value {
        let installation = Uuid::from_u128(9);
        json!({
            "metadata": {
                "name": "iris", "uid": "u", "resourceVersion": version, "managedFields": [{
                    "manager": manager(installation), "operation": "Apply",
                    "fieldsV1": {"f:spec": {"f:replicas": {}, "f:list": {}}},
                }],
                "labels": {DEPLOYMENT: Uuid::from_u128(1), INSTALLATION: installation}, "annotations": {APPLIED: hash},
            },
            "spec": {"replicas": replicas, "list": [{"a": 1, "b": "default"}], "paused": false},
            "status": {"observed": version},
        })
    }

    #[test]
    fn what_looks_as_it_did_when_applied_is_as_it_should_be() {
        let (object, mut live) = (wanted(), Live::default());
        let hash = hash(&object);
        live.see(key(), Seen::applied(&given("1", 2, &hash)));
        let is = |live: &Live| live.objects(Uuid::from_u128(1))[&key()].is(&object, &hash);
        assert!(is(&live));
        assert_eq!(
            live.see(key(), Seen::of(&given("2", 2, &hash))),
            [Uuid::from_u128(1), Uuid::from_u128(1)]
        );
        assert!(is(&live), "only its status has changed");
        let mut added = given("3", 2, &hash);
        added["metadata"]["annotations"]["theirs"] = "stays".into();
        live.see(key(), Seen::of(&added));
        assert!(is(&live), "somebody has put something beside it");
        live.see(key(), Seen::of(&given("4", 5, &hash)));
        assert!(!is(&live), "somebody has edited it");
        live.see(key(), Seen::of(&given("5", 2, "other")));
        assert!(!is(&live), "something else was applied");
    }

    #[test]
    fn what_was_there_before_is_compared_once() {
        let (object, mut live) = (wanted(), Live::default());
        let hash = hash(&object);
        let is = |live: &Live| live.objects(Uuid::from_u128(1))[&key()].is(&object, &hash);
        live.see(key(), Seen::of(&given("1", 2, &hash)));
        assert!(is(&live));
        live.settle(&key(), "1");
        live.see(key(), Seen::of(&given("2", 2, &hash)));
        assert!(is(&live));
        let mut edited = Live::default();
        edited.see(key(), Seen::of(&given("1", 3, &hash)));
        assert!(!is(&edited));
    }

    #[test]
    fn what_somebody_changes_right_after_it_was_compared_is_put_right() {
        let (object, mut live) = (wanted(), Live::default());
        let hash = hash(&object);
        let is = |live: &Live| live.objects(Uuid::from_u128(1))[&key()].is(&object, &hash);
        live.see(key(), Seen::of(&given("1", 2, &hash)));
        assert!(is(&live));
        live.see(key(), Seen::of(&given("2", 3, &hash)));
        live.settle(&key(), "1");
        assert!(!is(&live));
    }

    #[test]
    fn pods_are_replaced_when_none_is_left_of_what_was() {
        let status = |generation: u32, all: u32, updated: u32, available: u32| {
            let object = json!({
                "metadata": {"generation": 4}, "spec": {"replicas": 2},
                "status": {
                    "observedGeneration": generation, "replicas": all,
                    "updatedReplicas": updated, "availableReplicas": available,
                },
            });
            Seen::of(&object).replaced
        };
        assert!(status(4, 2, 2, 2));
        for (generation, all, updated, available) in [(3, 2, 2, 2), (4, 3, 2, 2), (4, 2, 1, 2), (4, 2, 2, 1)] {
            assert!(!status(generation, all, updated, available));
        }
        assert!(!Seen::of(&json!({"metadata": {"generation": 1}, "spec": {"replicas": 1}})).replaced);
    }

    #[test]
    fn what_is_kept_to_be_compared_has_a_bound() {
        let mut live = Live::default();
        let (one, other) = (key(), (Kind::Secret, "iris".to_owned()));
        let large = |version: &str| {
            let mut given = given(version, 2, "");
            given["metadata"]["annotations"]["x"] = "x".repeat(MOST_UNREAD / 2 + 1).into();
            Seen::of(&given)
        };
        live.see(one.clone(), large("1"));
        live.see(other.clone(), large("1"));
        let kept = |live: &Live, key: &Key| live.objects[key].unread_bytes();
        assert!(kept(&live, &one) > 0 && kept(&live, &other) == 0);
        live.see(one.clone(), large("2"));
        assert_eq!(live.unread, kept(&live, &one), "it took the place of itself");
        live.settle(&one, "2");
        live.see(other.clone(), large("2"));
        assert!(kept(&live, &one) == 0 && live.unread == kept(&live, &other));
        live.forget(&other);
        assert_eq!(live.unread, 0);
    }

    #[test]
    fn pods_start_with_what_the_secret_holds() {
        let secret = |config: Option<(u64, u64)>, deleted: Option<&str>| {
            let mut given = given("1", 2, "");
            given["metadata"]["deletionTimestamp"] = deleted.into();
            let seen = Seen::applied(&given);
            Seen { config, ..seen }
        };
        let of = |kind, seen| {
            let mut live = Live::default();
            live.see((kind, "iris".to_owned()), seen);
            live.boots_from(Uuid::from_u128(1), (1, 7))
        };
        assert!(of(Kind::Secret, secret(Some((1, 7)), None)) && of(Kind::Secret, secret(Some((2, 1)), None)));
        assert!(!of(Kind::Secret, secret(Some((1, 6)), None)) && !of(Kind::Secret, secret(None, None)));
        assert!(
            !of(Kind::Secret, secret(Some((1, 7)), Some("2026-11-29T00:00:00Z"))),
            "it is about to go"
        );
        assert!(!of(Kind::Deployment, secret(Some((1, 7)), None)));
        let unknown = Seen {
            settled: None,
            ..secret(Some((1, 7)), None)
        };
        assert!(!of(Kind::Secret, unknown), "nobody has compared it");
    }

    #[test]
    fn what_is_gone_belongs_to_nobody() {
        let mut live = Live::default();
        live.see(key(), Seen::of(&given("1", 2, "")));
        assert_eq!(live.deployments(), [Uuid::from_u128(1)]);
        assert_eq!(live.forget(&key()), [Uuid::from_u128(1)]);
        assert!(live.deployments().is_empty() && live.forget(&key()).is_empty());
    }
}
