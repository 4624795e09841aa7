//! `docs/infrastructure.md`: its table is what the OpenAPI document says of the settings, and its examples are settings.

use crate::domain::{Kubernetes, NamespaceName};
use serde_json::Value;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/infrastructure.md");
const HEADING: &str = "| setting | what it is | default | |\n|---|---|---|---|\n";

/// The document that describes the API, and the rows that were made of it.
struct Rows {
    schemas: Value,
    text: String,
}

impl Rows {
    /// A schema without what only refers to another or allows null. What is nearer says more.
    fn resolved(&self, schema: &Value) -> Value {
        let mut schema = schema.clone();
        let choices = schema
            .get("oneOf")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        if let [one, null] = &choices[..]
            && null["type"] == "null"
        {
            return self.resolved(one);
        }
        let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) else {
            return schema;
        };
        let mut whole = self.resolved(&self.schemas[name]);
        if let Some(description) = schema.as_object_mut().and_then(|own| own.remove("description")) {
            whole["description"] = description;
        }
        whole
    }

    fn row(&mut self, place: &str, schema: &Value, default: Option<&Value>) {
        let default = match default {
            None | Some(Value::Null) => String::new(),
            Some(Value::Array(list)) if list.is_empty() => String::new(),
            Some(Value::Object(_)) => String::new(),
            Some(Value::String(text)) => format!("`{text}`"),
            Some(value) => format!("`{value}`"),
        };
        let description = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
        self.text += &format!("| `{place}` | {} | {default} | {description} |\n", kind(schema));
    }

    fn walk(&mut self, place: &str, schema: &Value, default: Option<&Value>) {
        let schema = self.resolved(schema);
        if schema["readOnly"] == true {
            return;
        }
        if !place.is_empty() {
            self.row(place, &schema, default);
        }
        let inner = |name: &str| match place {
            "" => name.to_owned(),
            place => format!("{place}.{name}"),
        };
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            self.walk(&inner(name), field, default.and_then(|default| default.get(name)));
        }
        for variant in schema["oneOf"].as_array().cloned().into_iter().flatten() {
            let kind = variant["properties"]["kind"]["enum"][0].as_str().unwrap_or_default();
            self.row(&inner(&format!("kind: {kind}")), &variant, None);
            let fields = variant["properties"].as_object().into_iter().flatten();
            for (name, field) in fields.filter(|(name, _)| *name != "kind") {
                self.walk(&inner(name), field, None);
            }
        }
        let item = self.resolved(&schema["items"]);
        for (name, field) in item["properties"].as_object().into_iter().flatten() {
            self.walk(&format!("{place}[].{name}"), field, None);
        }
    }
}

/// What stands there, in a word or two.
fn kind(schema: &Value) -> String {
    let of = |name: &str| schema[name].clone();
    let word = |value: &Value| value.as_str().map(|word| format!("`{word}`"));
    let words = |list: &Value| -> Vec<String> { list.as_array().into_iter().flatten().filter_map(word).collect() };
    let is = |name: &str| schema["type"] == name || words(&schema["type"]).contains(&format!("`{name}`"));
    let constants = schema["oneOf"].as_array().into_iter().flatten();
    let constants: Vec<String> = constants.flat_map(|one| words(&one["enum"])).collect();
    match () {
        () if schema["enum"].is_array() => words(&schema["enum"]).join(", "),
        () if !constants.is_empty() => constants.join(", "),
        () if schema["oneOf"].is_array() || schema["properties"]["kind"].is_object() => String::new(),
        () if is("integer") => match (of("minimum"), of("maximum")) {
            (Value::Null, Value::Null) => "number".to_owned(),
            (least, Value::Null) => format!("{least} or more"),
            (Value::Null, most) => format!("at most {most}"),
            (least, most) => format!("{least} to {most}"),
        },
        () if is("boolean") => "`true` or `false`".to_owned(),
        () if is("array") => "list".to_owned(),
        () if schema["additionalProperties"].is_object() => "names and values".to_owned(),
        () if schema["properties"].is_object() || is("object") => "settings".to_owned(),
        () => "text".to_owned(),
    }
}

fn table() -> String {
    let document: Value = serde_json::from_str(&super::document_text()).unwrap();
    let mut rows = Rows {
        schemas: document["components"]["schemas"].clone(),
        text: String::new(),
    };
    let usual = serde_json::to_value(Kubernetes::of(NamespaceName::parse("models").unwrap())).unwrap();
    let mut usual = usual.as_object().unwrap().clone();
    usual.shift_remove("namespace");
    let schema = rows.schemas["Kubernetes"].clone();
    rows.walk("", &schema, Some(&Value::Object(usual)));
    rows.text
}

/// `CASTOFF_UPDATE=1` writes it.
#[test]
fn the_document_of_settings_is_current() {
    let text = std::fs::read_to_string(PATH).unwrap();
    let (before, committed) = text.split_once(HEADING).unwrap();
    let table = table();
    if std::env::var_os("CASTOFF_UPDATE").is_some() {
        std::fs::write(PATH, format!("{before}{HEADING}{table}")).unwrap();
        return;
    }
    assert!(
        committed == table,
        "docs/infrastructure.md is not current: run CASTOFF_UPDATE=1 cargo test document"
    );
}

#[test]
fn the_examples_are_settings() {
    let text = std::fs::read_to_string(PATH).unwrap();
    let mut kinds = Vec::new();
    for example in text.split("```yaml\n").skip(1) {
        let example = example.split("```").next().unwrap();
        let settings: Kubernetes =
            serde_yaml_ng::from_str(example).unwrap_or_else(|wrong| panic!("{example}: {wrong}"));
        settings
            .clone()
            .check()
            .unwrap_or_else(|wrong| panic!("{example}: {wrong}"));
        kinds.push(serde_json::to_value(&settings.exposure).unwrap()["kind"].clone());
    }
    assert_eq!(
        kinds,
        ["ingress", "http-route", "load-balancer", "cluster-ip"],
        "one of each"
    );
}
