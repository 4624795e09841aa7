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
