//! Calls from the outside in: headers and bytes, a real model, bytes and a status.
//!
//! Skipped without a runtime; `CASTOFF_ONNXRUNTIME` names its library.

mod access;
mod batches;
mod dialects;
mod document;
mod limits;
mod onnx;
mod overload;
mod test_queries;
mod v2;
mod world;
