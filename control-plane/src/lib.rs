//! The control plane: models services, infrastructures and deployments, decides who may do what, and pushes to the nodes
//! what they serve and which keys open it.

pub mod admin;
pub mod app;
pub mod artifacts;
pub mod authn;
pub mod authz;
mod causes;
pub mod cli;
pub mod clock;
pub mod collector;
pub mod config;
pub mod domain;
pub mod http;
pub mod launch;
pub mod lease;
mod process;
pub mod push;
pub mod store;
pub mod telemetry;
