//! Services and their versions.

use super::{ServiceName, Time};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Who may call a service's deployments that inherit from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceAccess {
    /// Whoever holds one of the service's keys.
    Keys,
    /// Anybody. Said explicitly, and audited.
    Public,
}

/// Who may reveal a recoverable key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyVisibility {
    /// Its creator only.
    Owner,
    /// Whoever may list it.
    Readers,
}

/// Something deployable.
#[derive(Clone, Debug)]
pub struct Service {
    /// Never used again.
    pub id: Uuid,
    /// Unique.
    pub name: ServiceName,
    /// For people.
    pub description: String,
    /// The account that has every privilege on it.
    pub owner_id: Uuid,
    /// The owner's name.
    pub owner: String,
    /// What deployments with `inherit` take over.
    pub access: ServiceAccess,
    /// Who may reveal its recoverable keys.
    pub key_visibility: KeyVisibility,
    /// When it was made.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
    /// Raised by every change.
    pub revision: i64,
}
