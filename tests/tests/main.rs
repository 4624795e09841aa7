//! The acceptance tests: one program, so that it is linked once and shares one PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod access;
mod accounts;
mod answers;
mod bad_input;
mod behaviours;
mod beyond;
mod calling;
mod cluster;
mod concurrency;
mod declarative;
mod deployments;
mod descriptors;
mod documents;
mod faults;
mod forged;
mod garbage;
mod histories;
mod house;
mod infrastructures;
mod keys;
mod kubernetes;
mod leaving;
mod limits;
mod line;
mod lists;
mod migrations;
mod node_tokens;
mod objects;
mod once;
mod oracle;
mod packages;
mod permissions;
mod pooler;
mod quotas;
mod readme;
mod refusals;
mod releases;
mod replicas;
mod routes;
mod secrets;
mod services;
mod static_node;
mod store;
