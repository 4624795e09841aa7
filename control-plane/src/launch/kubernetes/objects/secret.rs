//! What a pod starts with when there is nobody to ask: its join document, the newest signed config and, from an object
//! store, where its packages are. What is made anew again and again, these and until when the config was the newest, is in
//! keys of its own and has no version.

use super::super::labels::{CONFIG, position};
use super::{Desired, Kind, Object};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub(super) fn object(desired: &Desired) -> Object {
    let boot = &desired.boot;
    let mut fields = json!({
        "type": "Opaque",
        "data": {"join.json": STANDARD.encode(&boot.join), "config": STANDARD.encode(&boot.config)},
    });
    if let Some(data) = fields.pointer_mut("/data").and_then(Value::as_object_mut) {
        let vouched = boot.vouched.as_ref().map(|vouched| &vouched.document);
        for (name, bytes) in [("packages", boot.packages.document()), ("vouched", vouched)] {
            data.extend(bytes.map(|bytes| (name.to_owned(), STANDARD.encode(bytes).into())));
        }
    }
    let mut made = super::object(desired, Kind::Secret, fields);
    let annotations = made
        .body
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    if let Some(annotations) = annotations {
        annotations.insert(CONFIG.to_owned(), position(boot.position).into());
    }
    made
}
