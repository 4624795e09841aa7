//! The world that the acceptance tests play in: the built programs, a real database, real models, real callers.
//!
//! Apart from the tests, so that a test reads as what people do: `dana.post(…).expect(201)`. The rule a newcomer would
//! break: nothing here sleeps to let something happen, and nothing outlives its world; waiting is [`eventually()`].

// All of this package is test code: what does not hold ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod actor;
pub mod answer;
pub mod archive;
pub mod castoff;
pub mod cli;
pub mod cluster;
pub mod crowd;
pub mod deployed;
pub mod dice;
pub mod disk;
pub mod edge;
pub mod eventually;
pub mod faketime;
pub mod figure;
pub mod harbour;
pub mod load;
pub mod models;
pub mod network;
pub mod node;
pub mod objects;
pub mod onnx;
pub mod pen;
pub mod planes;
pub mod pooler;
pub mod ports;
pub mod postgres;
pub mod processes;
pub mod program;
pub mod promises;
pub mod proxy;
pub mod raw;
pub mod release;
pub mod scratch;
pub mod tell;
pub mod world;

pub use actor::Actor;
pub use answer::{Answer, Request};
pub use deployed::Deployed;
pub use edge::Edge;
pub use eventually::{Eventually, eventually};
pub use figure::{Figure, Report};
pub use load::Load;
pub use planes::Planes;
pub use pooler::Pooler;
pub use release::Release;
pub use serde_json::{Value, json};
pub use tell::{skipped, tell};
pub use world::{Cast, Database, World};

/// A test that runs on SQLite and on PostgreSQL, each time in a fresh world with its cast.
#[macro_export]
macro_rules! on_both_databases {
    ($($(#[$about:meta])* fn $name:ident($cast:ident: $type:ty) $body:block)*) => { $(
        $(#[$about])*
        mod $name {
            use super::*;

            fn play($cast: $type) $body

            #[test]
            fn on_sqlite() {
                play($crate::World::with_cast($crate::Database::Sqlite));
            }

            #[test]
            fn on_postgresql() {
                if let Some(database) = $crate::Database::postgres() {
                    play($crate::World::with_cast(database));
                }
            }
        }
    )* };
}
