//! People and programs that call the control plane, and the groups they are in.

use super::{AccountName, GroupName, Time, Title};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AccountKind {
    /// A person with a password.
    User,
    /// A program with tokens and no password.
    ServiceAccount,
    /// A token made on the machine itself, with all rights of a platform admin.
    AdminKey,
}

/// A user, a service account or an admin key.
#[derive(Clone, Debug)]
pub struct Account {
    /// Never used again.
    pub id: Uuid,
    /// What it is.
    pub kind: AccountKind,
    /// Unique among all accounts.
    pub name: AccountName,
    /// What people call it; for a service account its description.
    pub display_name: String,
    /// A disabled account cannot prove who it is.
    pub disabled: bool,
    /// The groups it is a member of, by name.
    pub groups: Vec<String>,
    /// When it was made.
    pub created_at: Time,
    /// Raised by every change.
    pub revision: i64,
}

/// A group of accounts, and what it may do everywhere.
#[derive(Clone, Debug)]
pub struct Group {
    /// Never used again.
    pub id: Uuid,
    /// Unique.
    pub name: GroupName,
    /// Its members may create services.
    pub create_service: bool,
    /// Its members are platform admins.
    pub admin: bool,
    /// When it was made.
    pub created_at: Time,
    /// Raised by every change.
    pub revision: i64,
}

/// An access token as it is listed: never the token itself.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// Never used again.
    pub id: Uuid,
    /// Unique in its account.
    pub name: Title,
    /// The last four characters.
    pub hint: String,
    /// When it was made.
    pub created_at: Time,
    /// When it ends; never when absent.
    pub expires_at: Option<Time>,
    /// To the minute.
    pub last_used_at: Option<Time>,
}
