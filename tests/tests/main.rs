//! The acceptance tests: one program, so that it is linked once and shares one PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
