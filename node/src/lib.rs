//! A node: one process that serves one deployment, as the control plane says.
//!
//! `engine` runs models and knows no caller; `serving` is what one config came to; `limiter` how
//! often a key may be used; `state` holds the one in force;
//! `predict` is what callers reach, `ops` what operators reach; `control` obeys the control plane. The rule a newcomer
//! would break: nothing under `predict` reads the config in force twice in one call; it is judged and answered by the
//! same snapshot.

pub mod clock;
pub mod config;
pub mod control;
pub mod drain;
pub mod engine;
pub mod limiter;
pub mod ops;
pub mod predict;
pub mod serving;
pub mod state;
pub mod telemetry;
