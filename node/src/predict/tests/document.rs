//! `node/openapi.json`, held against the table of places.

use crate::predict::place::{Dialect, Of, Place, Records};
use http::Method;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

fn document() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The operations of a path, by their methods.
fn operations(item: &Value) -> &Map<String, Value> {
    item.as_object().unwrap()
}

/// Every place that is not nowhere, in one word. A new one does not compile until it is here.
fn word(place: &Place) -> &'static str {
    match place {
        Place::Live => "live",
        Place::Ready => "ready",
        Place::Server => "server",
        Place::Model { version: None, of, .. } => match of {
            Of::Metadata => "model",
            Of::Ready => "modelReady",
            Of::Infer => "infer",
        },
        Place::Model {
            version: Some(_), of, ..
        } => match of {
            Of::Metadata => "modelVersion",
            Of::Ready => "modelReadyVersion",
            Of::Infer => "inferVersion",
        },
        Place::Records { how, .. } => match how {
            Records::One => "predict",
            Records::Multi => "predictMulti",
            Records::Simple => "predictSimple",
        },
        Place::Simple { endpoint: Some(_) } => "simple",
        Place::Simple { endpoint: None } => "simpleOnly",
        Place::Nowhere(_) => "nowhere",
    }
}

const WORDS: [&str; 14] = [
    "live",
    "ready",
    "server",
    "model",
    "modelReady",
    "infer",
    "modelVersion",
    "modelReadyVersion",
    "inferVersion",
    "predict",
    "predictMulti",
    "predictSimple",
    "simple",
    "simpleOnly",
];

#[test]
fn every_place_is_documented_and_nothing_else() {
    let document = document();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let place = Place::of(&path.replace(['{', '}'], ""));
        let (method, operation) = operations(item).iter().next().unwrap();
        assert_eq!(operations(item).len(), 1, "{path}");
        let allowed = place.method().map(|method: Method| method.as_str().to_lowercase());
        assert_eq!(Some(method), allowed.as_ref(), "{path}");
        assert_eq!(operation["operationId"], word(&place), "{path}");
        assert_eq!(operation["tags"][0], place.dialect().name(), "{path}");
        let open = operation.get("security") == Some(&Value::Array(Vec::new()));
        assert_eq!(open, place.is_open(), "{path}");
        documented.insert(word(&place));
    }
    assert_eq!(documented, BTreeSet::from(WORDS));
}

/// How a dialect says no is part of what its clients read.
#[test]
fn every_refusal_is_documented_as_its_dialect_says_it() {
    for (path, item) in document()["paths"].as_object().unwrap() {
        for operation in operations(item).values() {
            let dialect = Place::of(&path.replace(['{', '}'], "")).dialect();
            let (kind, schema) = match dialect {
                Dialect::V2 => ("application/json", "Error"),
                Dialect::Records => ("application/problem+json", "Problem"),
                Dialect::Simple => ("application/json", "Detail"),
            };
            let content = &operation["responses"]["default"]["content"][kind]["schema"]["$ref"];
            assert_eq!(content, &format!("#/components/schemas/{schema}"), "{path}");
        }
    }
}
