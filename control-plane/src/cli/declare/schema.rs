//! What the API takes, by its own description: `openapi.json`, as it is committed beside the sources.
//!
//! Apart from the documents, which have more in them than the API: files, and what belongs to a thing. The rule a newcomer
//! would break: nothing of the API is written down a second time here, so that a new setting can be declared at once.

use super::yaml::{Wrong, step};
use serde_json::{Map, Value};
use std::sync::OnceLock;

/// The schemas of the API by name.
fn schemas() -> &'static Map<String, Value> {
    static SCHEMAS: OnceLock<Map<String, Value>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let text = include_str!("../../../../openapi.json");
        let document: Value = serde_json::from_str(text).unwrap_or_default();
        let schemas = document.pointer("/components/schemas").and_then(Value::as_object);
        schemas.cloned().unwrap_or_default()
    })
}

/// The members that a schema names.
pub(super) fn members(schema: &str) -> impl Iterator<Item = (&'static String, &'static Value)> {
    let found = schemas()
        .get(schema)
        .and_then(|schema| schema.get("properties")?.as_object());
    found.into_iter().flatten()
}

/// A member of a schema.
pub(super) fn member(schema: &str, name: &str) -> Option<&'static Value> {
    members(schema)
        .find(|(found, _)| *found == name)
        .map(|(_, schema)| schema)
}

/// Holds a value against a schema, and notes everything that is wrong.
pub(super) fn check(schema: &Value, value: &Value, pointer: &str, wrong: &mut Vec<Wrong>) {
    let mut note = |reason: String| wrong.push(Wrong::new(pointer, reason));
    if schema.get("readOnly") == Some(&Value::Bool(true)) {
        return note("cannot be set".to_owned());
    }
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let named = name.rsplit('/').next().and_then(|name| schemas().get(name));
        if let Some(named) = named {
            check(named, value, pointer, wrong);
        }
        return;
    }
    if let Some(ways) = schema.get("oneOf").and_then(Value::as_array) {
        return one_of(ways, value, pointer, wrong);
    }
    let types = types(schema);
    if !types.is_empty() && !types.iter().any(|kind| is_a(value, kind)) {
        return note(format!("must be {}, and is {}", or(&types), called(value)));
    }
    match value {
        Value::String(text) => {
            let words = schema.get("enum").and_then(Value::as_array);
            let words: Vec<&str> = words.into_iter().flatten().filter_map(Value::as_str).collect();
            if !words.is_empty() && !words.contains(&text.as_str()) {
                note(format!("must be {}", or(&words)));
            }
            let most = bound(schema, "maxLength").unwrap_or(u64::MAX);
            if u64::try_from(text.chars().count()).is_ok_and(|length| length > most) {
                note(format!("must have at most {most} characters"));
            }
        }
        Value::Number(number) => {
            let (least, most) = (schema.get("minimum"), schema.get("maximum"));
            let of = |bound: Option<&Value>| bound.and_then(Value::as_f64);
            let number = number.as_f64().unwrap_or_default();
            if of(least).is_some_and(|least| number < least) || of(most).is_some_and(|most| number > most) {
                let least = least.map(|least| format!("at least {least}"));
                let most = most.map(|most| format!("at most {most}"));
                let bounds: Vec<String> = least.into_iter().chain(most).collect();
                note(format!("must be {}", bounds.join(" and ")));
            }
        }
        Value::Array(items) => {
            let length = u64::try_from(items.len()).unwrap_or(u64::MAX);
            let (least, most) = (bound(schema, "minItems"), bound(schema, "maxItems"));
            if least.is_some_and(|least| length < least) || most.is_some_and(|most| length > most) {
                let most = most.map(|most| format!(" to {most}")).unwrap_or_default();
                note(format!("must have {}{most} items", least.unwrap_or_default()));
            }
            if let Some(schema) = schema.get("items") {
                for (at, item) in items.iter().enumerate() {
                    check(schema, item, &step(pointer, &at.to_string()), wrong);
                }
            }
        }
        Value::Object(given) => object(schema, given, pointer, wrong),
        Value::Null | Value::Bool(_) => {}
    }
}

fn object(schema: &Value, given: &Map<String, Value>, pointer: &str, wrong: &mut Vec<Wrong>) {
    let none = Map::new();
    let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let more = schema.get("additionalProperties");
    for (name, value) in given {
        let pointer = step(pointer, name);
        match (known.get(name), more) {
            (Some(schema), _) => check(schema, value, &pointer, wrong),
            (None, Some(schema @ Value::Object(_))) => check(schema, value, &pointer, wrong),
            (None, None) if known.is_empty() => {}
            (None, _) => wrong.push(unknown(pointer, known.keys().map(String::as_str))),
        }
    }
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !given.contains_key(name) {
            wrong.push(Wrong::new(pointer, format!("must have {name}")));
        }
    }
}

/// A name that is none of those there are.
pub(super) fn unknown<'a>(pointer: String, known: impl Iterator<Item = &'a str>) -> Wrong {
    let known: Vec<&str> = known.collect();
    Wrong::new(pointer, format!("is unknown; known here: {}", known.join(", ")))
}

/// One of several shapes: that of nothing, or the one whose `kind` it has.
fn one_of(ways: &[Value], value: &Value, pointer: &str, wrong: &mut Vec<Wrong>) {
    let is_null = |way: &&Value| way.get("type") == Some(&Value::from("null"));
    if value.is_null() && ways.iter().any(|way| is_null(&way)) {
        return;
    }
    let ways: Vec<&Value> = ways.iter().filter(|way| !is_null(way)).collect();
    if let [only] = ways.as_slice() {
        return check(only, value, pointer, wrong);
    }
    let kinds = |way: &Value| -> Vec<String> {
        let kinds = way.pointer("/properties/kind/enum").and_then(Value::as_array);
        kinds
            .into_iter()
            .flatten()
            .filter_map(|kind| Some(kind.as_str()?.to_owned()))
            .collect()
    };
    let kind = value.get("kind").and_then(Value::as_str);
    let way = ways
        .iter()
        .find(|way| kind.is_some_and(|kind| kinds(way).iter().any(|known| known == kind)));
    match way {
        Some(way) => {
            // What belongs to another kind is no mistake of the schema's, which leaves it open.
            let closed = Map::from_iter([("additionalProperties".to_owned(), Value::Bool(false))]);
            let mut way = (*way).clone();
            if let Some(way) = way.as_object_mut() {
                way.extend(closed);
            }
            check(&way, value, pointer, wrong);
        }
        None => {
            let known: Vec<String> = ways.iter().flat_map(|way| kinds(way)).collect();
            wrong.push(Wrong::new(pointer, format!("must have a kind: {}", or(&known))));
        }
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
    .into_iter()
    .map(|name| match name {
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "names with values",
        _ => "null",
    })
    .collect()
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "text" => value.is_string(),
        "a whole number" => value.is_i64() || value.is_u64(),
        "a number" => value.is_number(),
        "true or false" => value.is_boolean(),
        "a list" => value.is_array(),
        "names with values" => value.is_object(),
        _ => value.is_null(),
    }
}

/// The kind of a value, never the value.
pub(super) fn called(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false (in quotes it is text)",
        Value::Number(_) => "a number (in quotes it is text)",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "names with values",
    }
}

fn bound(schema: &Value, name: &str) -> Option<u64> {
    schema.get(name)?.as_u64()
}

fn or(words: &[impl AsRef<str>]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        words => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(schema: &str, value: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
        check(&schema, value, "", &mut wrong);
        wrong
            .into_iter()
            .map(|wrong| format!("{} {}", wrong.pointer, wrong.reason))
            .collect()
    }

    #[test]
    fn the_description_is_there() {
        for (schema, name) in [
            ("NewService", "key_visibility"),
            ("NewInfrastructure", "kubernetes"),
            ("NewDeployment", "limits"),
            ("NewKey", "expires_at"),
        ] {
            assert!(member(schema, name).is_some(), "{schema} {name}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_and_no_value_of_it() {
        let settings = json!({
            "namespace": "models", "cluster": "https://x", "resources": {"cpu": 2, "memroy": "1Gi"},
            "exposure": {"kind": "ingress", "gateway": "g"}, "rollout": "sudden", "autoscaling": {"min": 0, "max": 3},
            "egress": [{"cidr": "10.0.0.0/8"}], "labels": {"team": 3}, "placement": {"affinity": {"nodeAffinity": {}}}});
        let known = "is unknown; known here: cpu, cpu_limit, memory, memory_limit";
        assert_eq!(
            of("Kubernetes", &settings),
            [
                "/cluster cannot be set".to_owned(),
                "/resources/cpu must be text, and is a number (in quotes it is text)".to_owned(),
                format!("/resources/memroy {known}"),
                "/exposure/gateway is unknown; known here: host, class, tls_secret, kind".to_owned(),
                "/exposure must have host".to_owned(),
                "/rollout must be surge or recreate".to_owned(),
                "/autoscaling/min must be at least 1 and at most 200".to_owned(),
                "/egress/0 must have port".to_owned(),
                "/labels/team must be text, and is a number (in quotes it is text)".to_owned(),
            ]
        );
        assert_eq!(
            of("Kubernetes", &json!({"namespace": "m", "exposure": {}})),
            ["/exposure must have a kind: cluster-ip, load-balancer, ingress or http-route"]
        );
    }

    #[test]
    fn what_the_api_takes_passes() {
        let scale = json!({"replicas": 2, "autoscaling": null, "resources": {"cpu": "1", "cpu_limit": null}});
        assert!(of("Scale", &scale).is_empty(), "{:?}", of("Scale", &scale));
        let exposure = json!({"namespace": "m", "exposure": {"kind": "ingress", "host": "{deployment}.x.org"}});
        assert!(of("Kubernetes", &exposure).is_empty());
        assert_eq!(
            of("Limits", &json!({"queue": 1.5})),
            ["/queue must be a whole number, and is a number (in quotes it is text)"]
        );
    }
}
