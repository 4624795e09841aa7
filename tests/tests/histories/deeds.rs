//! What may happen in a company, and how it is asked for over HTTP.

use super::company::{Key, Privileges, Ring};
use acceptance::Value;
use acceptance::json;

/// The password of every user.
pub const PASSWORD: &str = "a password of all of them";

type Name = String;

/// Something that somebody tries.
#[derive(Clone, Debug)]
pub enum Deed {
    Account {
        nouns: &'static str,
        name: Name,
    },
    Disable {
        nouns: &'static str,
        name: Name,
        disabled: bool,
    },
    RemoveAccount {
        nouns: &'static str,
        name: Name,
    },
    Group {
        name: Name,
        create_service: bool,
        admin: bool,
    },
    ChangeGroup {
        name: Name,
        create_service: bool,
        admin: bool,
    },
    RemoveGroup {
        name: Name,
    },
    Join {
        group: Name,
        account: Name,
    },
    Leave {
        group: Name,
        account: Name,
    },
    Grant {
        nouns: &'static str,
        name: Name,
        group: Name,
        privileges: Privileges,
    },
    Withdraw {
        nouns: &'static str,
        name: Name,
        group: Name,
    },
    Service {
        name: Name,
    },
    HandOver {
        name: Name,
        to: Name,
    },
    LetReadersReveal {
        name: Name,
        readers: bool,
    },
    RemoveService {
        name: Name,
    },
    Infrastructure {
        name: Name,
    },
    ChangeInfrastructure {
        name: Name,
    },
    RemoveInfrastructure {
        name: Name,
    },
    Deploy {
        name: Name,
        service: Name,
        infrastructure: Name,
    },
    ChangeDeployment {
        name: Name,
    },
    RemoveDeployment {
        name: Name,
    },
    Key {
        ring: Ring,
    },
    RenameKey {
        key: Key,
    },
    RevealKey {
        key: Key,
    },
    RevokeKey {
        key: Key,
    },
    RemoveKey {
        key: Key,
    },
}

fn ring_path(ring: &Ring) -> String {
    match ring {
        Ring::Service(name) => format!("/services/{name}/keys"),
        Ring::Deployment(name) => format!("/deployments/{name}/keys"),
    }
}

/// Where a key is, below `/api/v1`.
pub fn key_path(key: &Key) -> String {
    format!("{}/{}", ring_path(&key.ring), key.id)
}

impl Deed {
    /// How it is asked for: method, path, body, and the status when it is done.
    pub fn request(&self) -> (&'static str, String, Value, u16) {
        let none = Value::Null;
        match self {
            Self::Account { nouns, name } => match *nouns {
                "users" => (
                    "POST",
                    "/users".into(),
                    json!({"name": name, "password": PASSWORD}),
                    201,
                ),
                nouns => ("POST", format!("/{nouns}"), json!({"name": name}), 201),
            },
            Self::Disable { nouns, name, disabled } => {
                ("PATCH", format!("/{nouns}/{name}"), json!({"disabled": disabled}), 200)
            }
            Self::RemoveAccount { nouns, name } => ("DELETE", format!("/{nouns}/{name}"), none, 204),
            Self::Group {
                name,
                create_service,
                admin,
            } => {
                let body = json!({"name": name, "create_service": create_service, "admin": admin});
                ("POST", "/groups".into(), body, 201)
            }
            Self::ChangeGroup {
                name,
                create_service,
                admin,
            } => {
                let body = json!({"create_service": create_service, "admin": admin});
                ("PATCH", format!("/groups/{name}"), body, 200)
            }
            Self::RemoveGroup { name } => ("DELETE", format!("/groups/{name}"), none, 204),
            Self::Join { group, account } => ("PUT", format!("/groups/{group}/members/{account}"), none, 204),
            Self::Leave { group, account } => ("DELETE", format!("/groups/{group}/members/{account}"), none, 204),
            Self::Grant {
                nouns,
                name,
                group,
                privileges,
            } => (
                "PUT",
                format!("/{nouns}/{name}/grants/{group}"),
                json!({"privileges": privileges}),
                200,
            ),
            Self::Withdraw { nouns, name, group } => ("DELETE", format!("/{nouns}/{name}/grants/{group}"), none, 204),
            Self::Service { name } => ("POST", "/services".into(), json!({"name": name}), 201),
            Self::HandOver { name, to } => ("PATCH", format!("/services/{name}"), json!({"owner": to}), 200),
            Self::LetReadersReveal { name, readers } => {
                let visibility = if *readers { "readers" } else { "owner" };
                (
                    "PATCH",
                    format!("/services/{name}"),
                    json!({"key_visibility": visibility}),
                    200,
                )
            }
            Self::RemoveService { name } => ("DELETE", format!("/services/{name}"), none, 204),
            Self::Infrastructure { name } => (
                "POST",
                "/infrastructures".into(),
                json!({"name": name, "kind": "static", "stage": "dev"}),
                201,
            ),
            Self::ChangeInfrastructure { name } => (
                "PATCH",
                format!("/infrastructures/{name}"),
                json!({"description": "changed"}),
                200,
            ),
            Self::RemoveInfrastructure { name } => ("DELETE", format!("/infrastructures/{name}"), none, 204),
            Self::Deploy {
                name,
                service,
                infrastructure,
            } => {
                let body = json!({
                    "name": name, "service": service, "infrastructure": infrastructure, "version": "v1", "enabled": false,
                });
                ("POST", "/deployments".into(), body, 201)
            }
            Self::ChangeDeployment { name } => {
                ("PATCH", format!("/deployments/{name}"), json!({"note": "changed"}), 200)
            }
            Self::RemoveDeployment { name } => ("DELETE", format!("/deployments/{name}"), none, 204),
            Self::Key { ring } => (
                "POST",
                ring_path(ring),
                json!({"name": "k", "class": "recoverable"}),
                201,
            ),
            Self::RenameKey { key } => ("PATCH", key_path(key), json!({"name": "renamed"}), 200),
            Self::RevealKey { key } => ("POST", key_path(key) + "/reveal", none, 200),
            Self::RevokeKey { key } => ("POST", key_path(key) + "/revoke", none, 200),
            Self::RemoveKey { key } => ("DELETE", key_path(key), none, 204),
        }
    }
}
