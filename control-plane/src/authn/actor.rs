//! Somebody who has proven who they are.

use crate::domain::AccountKind;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// How an actor proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// A session cookie.
    Session(Uuid),
    /// An access token, by id and name.
    Token(Uuid, String),
    /// The control plane itself, or its command line on the machine.
    Machine,
}

/// A group that the actor is a member of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The group.
    pub id: Uuid,
    /// Its name.
    pub name: String,
}

/// Somebody who has proven who they are, with the facts that every decision about them starts from.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The account.
    pub account_id: Uuid,
    /// Its name, for the audit.
    pub name: String,
    /// What it is.
    pub kind: AccountKind,
    /// The groups it is a member of.
    pub groups: Arc<[Membership]>,
    /// Platform admin, by a group or as an admin key.
    pub admin: bool,
    /// May create services.
    pub create_service: bool,
    /// How it proved who it is.
    pub via: Via,
    /// Where the call came from.
    pub source: Option<IpAddr>,
}

impl Actor {
    /// Whoever works on the machine itself: the first start, the command line.
    pub fn machine() -> Self {
        Self {
            account_id: Uuid::nil(),
            name: "castoff".to_owned(),
            kind: AccountKind::AdminKey,
            groups: Arc::default(),
            admin: true,
            create_service: true,
            via: Via::Machine,
            source: None,
        }
    }

    /// The ids of its groups.
    pub fn group_ids(&self) -> Vec<Uuid> {
        self.groups.iter().map(|group| group.id).collect()
    }

    /// The token it used, by name.
    pub fn token_name(&self) -> Option<&str> {
        match &self.via {
            Via::Token(_, name) => Some(name),
            Via::Session(_) | Via::Machine => None,
        }
    }
}
