//! What callers reach.

pub mod route;

use crate::state::Node;
use std::sync::Arc;

/// Every inference route, behind one judge of keys.
pub fn router(node: Arc<Node>) -> axum::Router {
    axum::Router::new().with_state(node)
}
