//! What people decide of an object, and whether all that is wanted is decided so: pure.

use serde_json::{Map, Value};

/// What is not decided of an object. Of what it is only its collection tells: those in a list do not say so.
const UNDECIDED: [&str; 3] = ["apiVersion", "kind", "status"];

/// An object without what the cluster itself writes.
pub(super) fn decided(object: &Value) -> Value {
    let mut decided = object.clone();
    if let Some(fields) = decided.as_object_mut() {
        fields.retain(|name, _| !UNDECIDED.contains(&name.as_str()));
    }
    if let Some(metadata) = decided.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| matches!(name.as_str(), "name" | "namespace" | "labels" | "annotations"));
    }
    let notes = decided
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    if let Some(notes) = notes {
        notes.shift_remove("deployment.kubernetes.io/revision");
    }
    decided
}

/// Whether all that is wanted is there, whatever else is.
pub(super) fn holds(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| match there.get(name) {
            Some(there) => holds(there, wanted),
            // The API server leaves out what is empty.
            None => wanted.as_object().is_some_and(Map::is_empty),
        }),
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() >= wanted.len() && there.iter().zip(wanted).all(|(there, wanted)| holds(there, wanted))
        }
        _ => there == wanted,
    }
}
