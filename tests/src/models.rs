//! The committed models and what they must answer.

use serde_json::Value;
use std::path::PathBuf;

/// Where they lie.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models")
}

/// A model's bytes, by file name.
#[track_caller]
pub fn read(name: &str) -> Vec<u8> {
    let path = folder().join(name);
    match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// A model with a text of its own in it: other bytes, the same answers. It is the `doc_string`, field 6 of the model, of
/// which the last one counts.
pub fn with_text(name: &str, text: &str) -> Vec<u8> {
    let mut model = read(name);
    model.push(6 << 3 | 2);
    let mut length = text.len();
    while length > 127 {
        model.push(u8::try_from(length & 127).expect("a byte") | 128);
        length >>= 7;
    }
    model.push(u8::try_from(length).expect("a byte"));
    model.extend_from_slice(text.as_bytes());
    model
}

/// What Python's ONNX Runtime answered, by model.
#[track_caller]
pub fn expected(model: &str) -> Value {
    let bytes = read(&format!("expected/{model}.json"));
    serde_json::from_slice(&bytes).expect("expectations are JSON")
}

/// A request body of the records dialect for the iris model with one input per column: a *setosa*.
pub fn setosa() -> Value {
    serde_json::json!({"features": {
        "sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2,
    }})
}

/// `Authorization: Basic` with a key as the user name and no password (K34).
pub fn basic(key: &str) -> String {
    format!("Basic {}", base64(format!("{key}:").as_bytes()))
}

/// Bytes in base64.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place > chunk.len() { '=' } else { letter.into() });
        }
    }
    text
}
