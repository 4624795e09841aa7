//! What handlers work with.

use super::bodies::Bodies;
use crate::artifacts::Packages;
use crate::authn::{Passwords, SlowDown};
use crate::authz::DecisionTable;
use crate::launch::NodeLogs;
use crate::launch::kubernetes::Clusters;
use crate::push::{Joins, Receipts};
use crate::store::Store;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Everything that a handler may use. Rows are behind permits, even so.
#[derive(Clone)]
pub struct Api {
    /// The rows.
    pub store: Store,
    /// Who may do what.
    pub table: Arc<DecisionTable>,
    /// Where packages are kept.
    pub packages: Packages,
    /// Hashes and verifies passwords.
    pub passwords: Passwords,
    /// Slows down whoever guesses.
    pub slow_down: Arc<SlowDown>,
    /// Which node has which config.
    pub receipts: Receipts,
    /// Makes join documents.
    pub joins: Joins,
    /// Reads the logs of local nodes.
    pub logs: NodeLogs,
    /// Asks clusters.
    pub clusters: Clusters,
    /// Reads bodies of JSON.
    pub bodies: Bodies,
    /// Cookies are sent over TLS only.
    pub secure_cookies: bool,
    /// Ends long answers when the control plane stops.
    pub stopping: CancellationToken,
}
