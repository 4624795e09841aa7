//! What people decide of an object, and whether all that is wanted is decided so, and by us: pure.
//!
//! The rule a newcomer would break: that all that is wanted is there does not mean that nothing was added, such as one more rule
//! to a policy. To which lists others may add, only the cluster knows; what they have changed it does not take for ours.

use super::labels::{INSTALLATION, manager};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// What is not decided of an object. Of what it is only its collection tells: those in a list do not say so.
const UNDECIDED: [&str; 3] = ["apiVersion", "kind", "status"];

/// An object without what the cluster itself writes, and without its name.
pub(super) fn decided(object: &Value) -> Value {
    let mut decided = object.clone();
    if let Some(fields) = decided.as_object_mut() {
        fields.retain(|name, _| !UNDECIDED.contains(&name.as_str()));
    }
    if let Some(metadata) = decided.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| matches!(name.as_str(), "labels" | "annotations"));
    }
    let notes = decided
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    if let Some(notes) = notes {
        notes.shift_remove("deployment.kubernetes.io/revision");
    }
    decided
}

/// What the cluster notes as ours of an object, field by field: what we have applied, as far as nobody has changed it since.
pub(super) fn ours(object: &Value) -> Option<&Value> {
    applied_by(object, installation(object)?)
}

/// What an installation has applied of an object.
pub(super) fn applied_by(object: &Value, installation: Uuid) -> Option<&Value> {
    let own = manager(installation);
    let mut noted = noted(object).filter(|noted| noted.get("subresource").is_none());
    let noted = noted.find(|noted| word(noted, "manager") == own && word(noted, "operation") == "Apply");
    noted?.get("fieldsV1")
}

/// Who else has changed an object last, by the name under which the cluster notes it. What only says how it is does not count.
pub(super) fn other(object: &Value) -> Option<&str> {
    let own = manager(installation(object)?);
    let others = noted(object).filter(|noted| noted.get("subresource").is_none());
    let others = others.filter(|noted| !word(noted, "manager").starts_with(&own));
    let last = others.max_by_key(|noted| word(noted, "time"))?;
    last.get("manager")?.as_str()
}

fn installation(object: &Value) -> Option<Uuid> {
    let labelled = object.pointer("/metadata/labels")?.get(INSTALLATION)?;
    labelled.as_str()?.parse().ok()
}

fn noted(object: &Value) -> impl Iterator<Item = &Value> {
    let noted = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    noted.into_iter().flatten()
}

fn word<'a>(noted: &'a Value, name: &str) -> &'a str {
    noted.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// An object, to be compared later.
pub(super) fn kept(object: &Value, decided: &Value) -> String {
    json!({"there": decided, "ours": ours(object)}).to_string()
}

/// Whether one that was kept is what is wanted: all of that is there and ours, whatever else is.
pub(super) fn is_as_wanted(kept: &str, wanted: &Value) -> bool {
    let kept: Value = serde_json::from_str(kept).unwrap_or_default();
    let (there, ours) = (kept.get("there"), kept.get("ours"));
    there
        .zip(ours)
        .is_some_and(|(there, ours)| holds(there, &decided(wanted), ours))
}

fn holds(there: &Value, wanted: &Value, ours: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            match there.get(name).zip(part(ours, name)) {
                Some((there, ours)) => holds(there, wanted, ours),
                // The API server leaves out what is empty.
                None => wanted.as_object().is_some_and(Map::is_empty),
            }
        }),
        (Value::Array(there), Value::Array(wanted)) if is_whole(ours) => {
            there.len() == wanted.len()
                && there
                    .iter()
                    .zip(wanted)
                    .all(|(there, wanted)| holds(there, wanted, ours))
        }
        // Others may have put theirs anywhere between.
        (Value::Array(there), Value::Array(wanted)) => wanted.iter().all(|wanted| {
            keys(ours).any(|(key, ours)| {
                is_of(wanted, &key)
                    && there
                        .iter()
                        .any(|there| is_of(there, &key) && holds(there, wanted, ours))
            })
        }),
        _ => there == wanted,
    }
}

/// What is ours of a field: all of it, where all of what it is in is.
fn part<'a>(ours: &'a Value, name: &str) -> Option<&'a Value> {
    match is_whole(ours) {
        true => Some(ours),
        false => ours.get(format!("f:{name}")),
    }
}

/// Whether it can only be decided as a whole, and is ours.
fn is_whole(ours: &Value) -> bool {
    ours.as_object().is_some_and(Map::is_empty)
}

/// The entries of a list that are ours, each by what tells it from the others.
fn keys(ours: &Value) -> impl Iterator<Item = (Map<String, Value>, &Value)> {
    ours.as_object().into_iter().flatten().filter_map(|(name, ours)| {
        let key = serde_json::from_str(name.strip_prefix("k:")?).ok()?;
        Some((key, ours))
    })
}

fn is_of(entry: &Value, key: &Map<String, Value>) -> bool {
    key.iter().all(|(name, value)| entry.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A policy and what starts pods in one, as the cluster gives it.
    fn given() -> Value {
        let installation = Uuid::from_u128(9);
        json!({
            "metadata": {
                "name": "iris", "labels": {INSTALLATION: installation},
                "managedFields": [
                    {"manager": "somebody", "operation": "Update", "fieldsV1": {"f:spec": {}}},
                    {"manager": manager(installation), "operation": "Apply", "fieldsV1": {
                        "f:metadata": {"f:labels": {format!("f:{INSTALLATION}"): {}}},
                        "f:spec": {
                            "f:egress": {}, "f:selector": {},
                            "f:containers": {
                                r#"k:{"name":"node"}"#: {".": {}, "f:name": {}, "f:args": {}, "f:probe": {"f:path": {}}},
                            },
                        },
                    }},
                ],
            },
            "spec": {
                "egress": [{"port": 1}], "selector": {"a": "b"}, "policy": "default",
                "containers": [{"name": "node", "args": ["x"], "probe": {"path": "/", "seconds": 1}}],
            },
            "status": {},
        })
    }

    fn wanted() -> Value {
        json!({
            "kind": "K", "metadata": {"name": "iris", "labels": {INSTALLATION: Uuid::from_u128(9)}, "annotations": {}},
            "spec": {
                "egress": [{"port": 1}], "selector": {"a": "b"},
                "containers": [{"name": "node", "args": ["x"], "probe": {"path": "/"}}],
            },
        })
    }

    fn is(given: &Value) -> bool {
        is_as_wanted(&kept(given, &decided(given)), &wanted())
    }

    #[test]
    fn what_the_cluster_and_others_add_beside_ours_stays() {
        let mut given = given();
        assert!(is(&given));
        given["metadata"]["annotations"] = json!({"theirs": "stays"});
        let containers = given["spec"]["containers"].as_array_mut().unwrap();
        containers.insert(0, json!({"name": "aside", "args": ["y"]}));
        assert!(is(&given), "one that comes before ours");
    }

    #[test]
    fn what_is_added_to_what_only_we_decide_is_seen() {
        let changed = |pointer: &str, value: Value| {
            let mut given = given();
            *given.pointer_mut(pointer).unwrap() = value;
            is(&given)
        };
        for (pointer, value) in [
            ("/spec/egress", json!([{"port": 1}, {}])),
            ("/spec/egress", json!([])),
            ("/spec/containers/0/args", json!(["x", "y"])),
            ("/spec/containers/0/args", json!(["z"])),
            ("/spec/containers/0/name", json!("other")),
        ] {
            assert!(!changed(pointer, value.clone()), "{pointer}: {value}");
        }
        // The cluster notes it as somebody else's, whatever it looks like.
        let noted = "/metadata/managedFields/1/fieldsV1/f:spec";
        for name in ["f:egress", "f:selector", "f:containers"] {
            let mut given = given();
            given.pointer_mut(noted).unwrap().as_object_mut().unwrap().remove(name);
            assert!(!is(&given), "{name}");
        }
        assert!(!changed("/metadata/managedFields", json!([])));
        assert!(!changed("/metadata/managedFields/1/operation", json!("Update")));
        assert!(!is_as_wanted("", &wanted()));
    }

    #[test]
    fn who_changed_it_last_is_named() {
        let (installation, time) = (Uuid::from_u128(9), |second: u8| format!("2026-01-01T00:00:0{second}Z"));
        let noted =
            |manager: &str, second: u8| json!({"manager": manager, "operation": "Update", "time": time(second)});
        let mut object = json!({"metadata": {"labels": {INSTALLATION: installation}, "managedFields": [
            noted("first", 1), noted("last", 3), noted("between", 2),
            noted(&manager(installation), 9), noted(&format!("{}-scale", manager(installation)), 9),
            {"manager": "kubelet", "operation": "Update", "subresource": "status", "time": time(9)},
        ]}});
        assert_eq!(other(&object), Some("last"));
        object["metadata"]["managedFields"] = json!([noted(&manager(installation), 1)]);
        assert_eq!((other(&object), other(&json!({}))), (None, None));
    }
}
