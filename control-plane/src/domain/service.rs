//! Services and their versions.

use super::package::{Digest, Manifest};
use super::{ServiceName, Time, VersionName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Who may call a service's deployments that inherit from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceAccess {
    /// Whoever holds one of the service's keys.
    Keys,
    /// Anybody, where the infrastructure allows public. Said explicitly, and audited.
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

/// An immutable package of a service.
#[derive(Clone, Debug)]
pub struct Version {
    /// Never used again.
    pub id: Uuid,
    /// The service it belongs to.
    pub service_id: Uuid,
    /// Unique in the service, also after its deletion.
    pub name: VersionName,
    /// SHA-256 of the bytes as they were uploaded.
    pub digest: Digest,
    /// Bytes of the package as it was uploaded.
    pub size: u64,
    /// What is in it.
    pub manifest: Manifest,
    /// Who uploaded it.
    pub created_by: String,
    /// When.
    pub created_at: Time,
}
