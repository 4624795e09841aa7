//! The rows, one file a table. Private to the store: nothing outside may name one.

// The derive macro asks for public items.
#![allow(unreachable_pub)]

pub(super) mod accounts;
pub(super) mod api_keys;
pub(super) mod audit;
pub(super) mod configs;
pub(super) mod deployments;
pub(super) mod events;
pub(super) mod groups;
pub(super) mod idempotency;
pub(super) mod infrastructure_grants;
pub(super) mod infrastructures;
pub(super) mod installation;
pub(super) mod leftovers;
pub(super) mod members;
pub(super) mod node_tokens;
pub(super) mod nodes;
pub(super) mod package_addresses;
pub(super) mod revisions;
pub(super) mod service_grants;
pub(super) mod services;
pub(super) mod sessions;
pub(super) mod tokens;
pub(super) mod versions;
