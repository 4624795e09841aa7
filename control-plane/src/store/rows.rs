//! Rows that are no table's: the platform itself, and the place of a deployment that does not exist yet.

use crate::domain::{Infrastructure, Service};

/// Castoff as a whole: what platform admins administer.
#[derive(Clone, Copy, Debug)]
pub struct Platform;

/// A service and an infrastructure, on which a deployment may be made.
#[derive(Clone, Debug)]
pub struct Site {
    /// What is to be deployed.
    pub service: Service,
    /// Where.
    pub infrastructure: Infrastructure,
}
