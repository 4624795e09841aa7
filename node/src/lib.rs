//! A node: serves one deployment, as its control plane says.

pub mod config;
pub mod control;
pub mod drain;
pub mod listen;
pub mod telemetry;
