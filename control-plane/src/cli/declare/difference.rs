//! How settings that are asked for differ from those that are there. Pure.
//!
//! What is not asked for is no difference. What the server fills in or writes in its own way (defaults in the items of a
//! list, `1024Mi` as `1Gi`, a time in UTC) is none either, or a second `apply` would not be a silent one.

use crate::domain::Time;
use crate::domain::kubernetes::{Bytes, Cpu};
use serde_json::{Map, Value};

/// One setting that is to be another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    /// Its place, with dots: `scale.replicas`.
    pub(super) field: String,
    pub(super) before: Value,
    pub(super) after: Value,
}

impl Change {
    pub(super) fn new(field: impl Into<String>, before: impl Into<Value>, after: impl Into<Value>) -> Self {
        Self {
            field: field.into(),
            before: before.into(),
            after: after.into(),
        }
    }
}

/// What the server puts into items of a list that do not say it, and its description does not tell.
const IN_ITEMS: [(&str, &str); 3] = [
    ("operator", "equal"),
    ("max_skew", "1"),
    ("when_unsatisfiable", "schedule-anyway"),
];

/// What differs, of what is asked for.
pub(super) fn between(wanted: &Map<String, Value>, there: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    walk(wanted, there, "", &mut changes);
    changes
}

fn walk(wanted: &Map<String, Value>, there: &Value, prefix: &str, changes: &mut Vec<Change>) {
    for (name, after) in wanted {
        let before = there.get(name).unwrap_or(&Value::Null);
        let field = format!("{prefix}{name}");
        match (after, before) {
            (Value::Object(after), Value::Object(_)) => walk(after, before, &format!("{field}."), changes),
            _ if same(after, before) => {}
            _ => changes.push(Change::new(field, before.clone(), after.clone())),
        }
    }
}

fn same(wanted: &Value, there: &Value) -> bool {
    match (wanted, there) {
        (Value::String(wanted), Value::String(there)) => wanted == there || equal(wanted, there),
        (Value::Array(wanted), Value::Array(there)) => {
            wanted.len() == there.len() && wanted.iter().zip(there).all(|(wanted, there)| same_item(wanted, there))
        }
        // Said as nothing, where there is nothing.
        (Value::Object(wanted), Value::Null) => wanted.values().all(Value::is_null) && !wanted.is_empty(),
        _ => wanted == there,
    }
}

/// In a list, which is replaced as a whole, what is left out is asked for, too: as nothing, or as the default.
fn same_item(wanted: &Value, there: &Value) -> bool {
    let (Value::Object(wanted), Value::Object(there)) = (wanted, there) else {
        return same(wanted, there);
    };
    let filled_in = |name: &String, value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        value.is_null() || IN_ITEMS.contains(&(name.as_str(), text.as_str()))
    };
    let asked = wanted
        .iter()
        .all(|(name, wanted)| same_item(wanted, there.get(name).unwrap_or(&Value::Null)));
    asked
        && there
            .iter()
            .all(|(name, value)| wanted.contains_key(name) || filled_in(name, value))
}

/// Two ways to write the same amount or moment.
fn equal(wanted: &str, there: &str) -> bool {
    fn both<T: PartialEq>(read: impl Fn(&str) -> Option<T>, wanted: &str, there: &str) -> bool {
        read(wanted).is_some_and(|wanted| read(there) == Some(wanted))
    }
    both(|text| Cpu::try_from(text.to_owned()).ok(), wanted, there)
        || both(|text| Bytes::try_from(text.to_owned()).ok(), wanted, there)
        || both(|text| Time::parse(text).ok(), wanted, there)
}

/// The settings that are to be sent: of those that differ the whole, laid over what is there where the API wants it whole.
pub(super) fn patch(
    wanted: &Map<String, Value>,
    there: &Value,
    whole: &[&str],
    changes: &[Change],
) -> Map<String, Value> {
    let differs = |name: &str| {
        let mut fields = changes.iter().map(|change| change.field.split('.').next());
        fields.any(|field| field == Some(name))
    };
    let wanted = wanted.iter().filter(|(name, _)| differs(name));
    let sent = wanted.map(|(name, value)| {
        let before = there.get(name).unwrap_or(&Value::Null);
        let value = match whole.contains(&name.as_str()) {
            true => over(before, value),
            false => shed(before, value),
        };
        (name.clone(), value)
    });
    sent.collect()
}

/// One value laid over another. Null stays: it may be another value than the default of what is left out.
fn over(before: &Value, value: &Value) -> Value {
    let (Value::Object(before), Value::Object(value)) = (before, value) else {
        return value.clone();
    };
    let mut both = before.clone();
    for (name, value) in value {
        let merged = over(both.get(name).unwrap_or(&Value::Null), value);
        both.insert(name.clone(), merged);
    }
    both.into()
}

/// A merge patch that leaves nothing of another kind behind: from an Ingress to a LoadBalancer, its host goes.
fn shed(before: &Value, value: &Value) -> Value {
    let (Value::Object(before), Value::Object(value)) = (before, value) else {
        return value.clone();
    };
    let other_kind = value.get("kind").is_some_and(|kind| before.get("kind") != Some(kind));
    let gone = before.keys().filter(|name| other_kind && !value.contains_key(*name));
    let stays = value.iter().map(|(name, value)| {
        let before = before.get(name).unwrap_or(&Value::Null);
        (name.clone(), shed(before, value))
    });
    stays.chain(gone.map(|name| (name.clone(), Value::Null))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(wanted: &Value, there: &Value) -> Vec<String> {
        let changes = between(wanted.as_object().unwrap(), there);
        changes.into_iter().map(|change| change.field).collect()
    }

    #[test]
    fn what_is_a_difference_and_what_is_none() {
        let none: [&str; 0] = [];
        for (wanted, there, differs) in [
            (json!({}), json!({"a": 1}), none.as_slice()),
            (json!({"a": 1}), json!({"a": 1, "b": 2}), &[]),
            (json!({"a": 1}), json!({}), &["a"]),
            (json!({"a": null}), json!({}), &[]),
            (json!({"a": null}), json!({"a": 1}), &["a"]),
            (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 1, "c": 3}}), &["a.c"]),
            (json!({"a": {"b": 1}}), json!({"a": null}), &["a"]),
            (json!({"a": {}}), json!({"a": {"b": 1}}), &[]),
            (json!({"m": "1024Mi", "c": "2000m"}), json!({"m": "1Gi", "c": "2"}), &[]),
            (json!({"m": "1025Mi"}), json!({"m": "1Gi"}), &["m"]),
            (
                json!({"t": "2027-01-31T13:00:00+01:00"}),
                json!({"t": "2027-01-31T12:00:00.000Z"}),
                &[],
            ),
            (json!({"l": [1, 2]}), json!({"l": [2, 1]}), &["l"]),
            (json!({"l": []}), json!({"l": [1]}), &["l"]),
            (
                json!({"l": [{"key": "gpu"}]}),
                json!({"l": [{"key": "gpu", "operator": "equal", "value": null, "effect": null}]}),
                &[],
            ),
            // What was in the item and is no more asked for.
            (
                json!({"l": [{"key": "gpu"}]}),
                json!({"l": [{"key": "gpu", "operator": "equal", "effect": "no-execute"}]}),
                &["l"],
            ),
            (
                json!({"l": [{"topology_key": "z"}]}),
                json!({"l": [{"topology_key": "z", "max_skew": 1}]}),
                &[],
            ),
        ] {
            assert_eq!(fields(&wanted, &there), differs, "{wanted} {there}");
        }
    }

    #[test]
    fn what_is_sent() {
        let of = |wanted: Value, there: Value, whole: &[&str]| {
            let wanted = wanted.as_object().unwrap();
            Value::Object(patch(wanted, &there, whole, &between(wanted, &there)))
        };
        // A merge patch holds only what differs at its top.
        assert_eq!(
            of(
                json!({"stage": "dev", "allow": {"public": true, "inherit": true}}),
                json!({"stage": "dev", "allow": {"public": false, "inherit": true}}),
                &[]
            ),
            json!({"allow": {"public": true, "inherit": true}})
        );
        // What the API takes as a whole keeps what nobody spoke of.
        assert_eq!(
            of(
                json!({"limits": {"queue": 9}, "scale": {"autoscaling": null}}),
                json!({"limits": {"queue": 1, "sessions": 4}, "scale": {"replicas": 3, "autoscaling": {"min": 1, "max": 2}}}),
                &["limits", "scale"]
            ),
            json!({"limits": {"queue": 9, "sessions": 4}, "scale": {"replicas": 3, "autoscaling": null}})
        );
        // Null is no limit, and not the limit of who says nothing.
        assert_eq!(
            of(
                json!({"scale": {"resources": {"cpu_limit": null}}}),
                json!({"scale": {"replicas": 3, "resources": {"cpu": "1", "cpu_limit": "2"}}}),
                &["scale"]
            ),
            json!({"scale": {"replicas": 3, "resources": {"cpu": "1", "cpu_limit": null}}})
        );
        // One kind of exposure leaves nothing behind for another.
        assert_eq!(
            of(
                json!({"kubernetes": {"exposure": {"kind": "load-balancer"}}}),
                json!({"kubernetes": {"exposure": {"kind": "ingress", "host": "x", "class": null}}}),
                &[]
            ),
            json!({"kubernetes": {"exposure": {"kind": "load-balancer", "host": null, "class": null}}})
        );
    }
}
