//! Strings that databases and parsers stumble over, wherever the API takes a string: a 4xx, never a 500.
//!
//! Where it takes one is read from its description.

use acceptance::{Cast, Request, on_both_databases};
use serde_json::{Map, Value, json};

/// Encoded for a path or a query, and as it is.
const STRINGS: [(&str, &str); 7] = [
    ("%00", "\u{0}"),
    ("a%00b", "a\u{0}b"),
    ("%F0%9F%9A%A2", "\u{1f6a2}"),
    ("..%2F..%2Fetc", "../../etc"),
    ("%27%20OR%201%3D1--", "' OR 1=1--"),
    ("%25_%25", "%_%"),
    ("99999999999999999999999999", "99999999999999999999999999"),
];

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(pointer) => document.pointer(pointer.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

/// A body in which every string is this one.
fn body(document: &Value, operation: &Value, text: &str) -> Option<Value> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let properties = resolve(document, schema)["properties"].as_object()?;
    let filled = properties.iter().filter_map(|(name, schema)| {
        let schema = resolve(document, schema);
        let kind = |kind: &str| {
            schema["type"] == kind
                || schema["type"]
                    .as_array()
                    .is_some_and(|kinds| kinds.contains(&json!(kind)))
        };
        let value = match () {
            () if kind("string") => json!(text),
            () if kind("array") => json!([text]),
            () => return None,
        };
        Some((name.clone(), value))
    });
    Some(Value::Object(filled.collect::<Map<_, _>>()))
}

on_both_databases! {
    /// In every part of every path, in every parameter of every query, in every string of every body.
    fn strange_strings_get_a_4xx(cast: Cast) {
        cast.iris();
        let deployment = json!({"service": "iris", "infrastructure": "dev", "version": "v1", "enabled": false});
        cast.dana.post("/deployments", deployment).expect(201);
        let document = Request::get(format!("{}/openapi.json", cast.world.server.url)).send().expect(200).json;
        let mut wrong = Vec::new();
        let mut sent = 0;
        for (path, operations) in document["paths"].as_object().unwrap() {
            let path = path.trim_start_matches("/api/v1");
            for (method, operation) in operations.as_object().unwrap() {
                let method = method.to_uppercase();
                // Would end this test's own session, or go on without end.
                if path.ends_with("/events") || (method == "DELETE" && path.starts_with("/session")) {
                    continue;
                }
                for (encoded, text) in STRINGS {
                    let mut targets = vec![filled(path, encoded)];
                    let parameters = operation["parameters"].as_array().into_iter().flatten();
                    for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
                        let name = parameter["name"].as_str().unwrap();
                        targets.push(format!("{}?{name}={encoded}{}", there(path), beside(path, name)));
                    }
                    let body = body(&document, operation, text);
                    if body.is_some() && method != "DELETE" {
                        targets.push(there(path));
                    }
                    for target in targets.iter().filter(|target| method != "DELETE" || target.contains(encoded)) {
                        // Dana is refused in many places, and refusals are put on record.
                        for caller in [&cast.dana, &cast.admin] {
                            let mut request = caller.request(&method, target);
                            if method != "GET" {
                                request = request.json(body.as_ref().unwrap_or(&json!({})));
                            }
                            let answer = request.send();
                            sent += 1;
                            if answer.status >= 500 {
                                wrong.push(format!("{method} {target} with {text:?}: {} {}", answer.status, answer.text()));
                            }
                        }
                    }
                }
            }
        }
        assert!(sent > 500, "{sent}");
        assert!(wrong.is_empty(), "{} of {sent}: {wrong:#?}\n{}", wrong.len(), cast.world.server.tail());
    }
}

/// What a query needs beside this parameter, so that it is looked at.
fn beside(path: &str, name: &str) -> &'static str {
    match (path, name) {
        ("/can-i", "service") => "&action=see-service",
        ("/can-i", "infrastructure") => "&action=see-infrastructure",
        _ => "",
    }
}

/// The path with this in place of its last variable part, what is there in the others.
fn filled(path: &str, text: &str) -> String {
    match path.rfind('{') {
        Some(place) => there(&path[..place]) + text + path[place..].split_once('}').map_or("", |(_, rest)| rest),
        None => path.to_owned(),
    }
}

/// The path with what is there.
fn there(path: &str) -> String {
    [
        ("{service}", "iris"),
        ("{version}", "v1"),
        ("{infrastructure}", "dev"),
        ("{deployment}", "iris-on-dev"),
        ("{group}", "devops"),
        ("{user}", "sam"),
        ("{account}", "ci"),
        ("{token}", "t"),
        ("{key}", "00000000-0000-0000-0000-000000000000"),
        ("{n}", "1"),
    ]
    .iter()
    .fold(path.to_owned(), |path, (name, text)| path.replace(name, text))
}
