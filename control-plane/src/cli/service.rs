//! Services, and which groups may do what with them.

use super::Desk;
use super::failure::Failure;
use super::table::{Table, cell, moment};
use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

/// What can be done with services.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Create a service; you become its owner
    #[command(after_help = "Example:\n  castoff service create iris --description 'Which iris is it'")]
    Create {
        /// Lower-case letters, digits and hyphens, at most 29
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// The services you may see
    #[command(visible_alias = "ls", after_help = "Example:\n  castoff service list")]
    List,
    /// One service
    #[command(after_help = "Example:\n  castoff service show iris")]
    Show {
        /// The service
        service: String,
    },
    /// Change a service's settings
    #[command(after_help = "Examples:
  castoff service set iris --description 'Which iris is it'
  castoff service set iris --owner omar

A new owner is an account that you may see: for platform admins everybody, for others themselves and the owners of
services that they may read. Whoever else shall have it: a platform admin can hand it over.")]
    Set {
        /// The service
        service: String,
        #[command(flatten)]
        settings: Settings,
        /// Hand the service over to this account, which must be one that you may see
        #[arg(long)]
        owner: Option<String>,
    },
    /// Delete a service without deployments
    #[command(visible_alias = "rm", after_help = "Example:\n  castoff service delete iris")]
    Delete {
        /// The service
        service: String,
    },
    /// Who may do what with a service
    #[command(after_help = "Example:\n  castoff service grants iris")]
    Grants {
        /// The service
        service: String,
    },
    /// Give a group privileges: read, write, deploy, admin
    #[command(after_help = "Example:\n  castoff service grant iris data-scientists read deploy")]
    Grant(Grant),
    /// Take all privileges from a group
    #[command(after_help = "Example:\n  castoff service revoke-grant iris data-scientists")]
    RevokeGrant(RevokeGrant),
}

/// What can be set of a service.
#[derive(clap::Args, Debug)]
pub struct Settings {
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// What deployments that inherit ask of their callers
    #[arg(long, value_enum)]
    access: Option<Access>,
    /// Who may reveal its recoverable keys
    #[arg(long, value_enum)]
    key_visibility: Option<KeyVisibility>,
}

/// Who may call.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Access {
    /// Callers with a key
    Keys,
    /// Everybody
    Public,
}

/// Who may reveal a recoverable key.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum KeyVisibility {
    /// Its creator
    Owner,
    /// Whoever may list it
    Readers,
}

/// A grant to give, on a service or an infrastructure.
#[derive(clap::Args, Debug)]
pub struct Grant {
    /// What the grant is on
    on: String,
    /// The group
    group: String,
    /// The privileges; they take the place of those it has
    #[arg(required = true)]
    privileges: Vec<String>,
}

/// A grant to take away.
#[derive(clap::Args, Debug)]
pub struct RevokeGrant {
    /// What the grant is on
    on: String,
    /// The group
    group: String,
}

impl Settings {
    /// The JSON of those that are given.
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        put(&mut body, "description", self.description.as_ref());
        put(&mut body, "access", self.access.map(word));
        put(&mut body, "key_visibility", self.key_visibility.map(word));
        body
    }
}

impl Command {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Create { name, settings } => {
                let mut body = settings.body();
                put(&mut body, "name", Some(&name));
                let made = desk.server.post(&["services"], &[], Some(&body.into())).await?.body;
                desk.out.done(&made, &format!("created service {name}"))
            }
            Self::List => {
                let items = desk.server.list(&["services"], &[], usize::MAX).await?;
                desk.out
                    .list(&items, &["NAME", "OWNER", "ACCESS", "YOU MAY", "DESCRIPTION"], |item| {
                        ["/name", "/owner", "/access", "/my_privileges", "/description"]
                            .map(|at| cell(item, at))
                            .to_vec()
                    })
            }
            Self::Show { service } => {
                let found = desk.server.get(&["services", &service], &[]).await?;
                desk.out.show(&found, facts)
            }
            Self::Set {
                service,
                settings,
                owner,
            } => {
                let mut body = settings.body();
                put(&mut body, "owner", owner.as_ref());
                something(&body)?;
                let changed = desk
                    .server
                    .patch(&["services", &service], &[], &body.into())
                    .await?
                    .body;
                desk.out.done(&changed, &format!("changed service {service}"))
            }
            Self::Delete { service } => {
                desk.server.delete(&["services", &service]).await?;
                desk.out.done(&Value::Null, &format!("deleted service {service}"))
            }
            Self::Grants { service } => grants(desk, "services", &service).await,
            Self::Grant(grant) => grant.run(desk, "services").await,
            Self::RevokeGrant(grant) => grant.run(desk, "services").await,
        }
    }
}

fn facts(service: &Value) -> Table {
    let mut facts = Table::facts();
    for (name, at) in [
        ("name", "/name"),
        ("description", "/description"),
        ("owner", "/owner"),
        ("access", "/access"),
        ("key visibility", "/key_visibility"),
        ("you may", "/my_privileges"),
        ("admins", "/admin_groups"),
    ] {
        facts.fact(name, cell(service, at));
    }
    facts.fact("created", moment(service, "/created_at"));
    facts.fact("changed", moment(service, "/updated_at"));
    facts
}

/// Shows the grants on something.
pub(super) async fn grants(desk: &Desk, kind: &str, name: &str) -> Result<(), Failure> {
    let items = desk.server.list(&[kind, name, "grants"], &[], usize::MAX).await?;
    let row = |item: &Value| vec![cell(item, "/group"), cell(item, "/privileges")];
    desk.out.list(&items, &["GROUP", "PRIVILEGES"], row)
}

impl Grant {
    pub(super) async fn run(self, desk: &Desk, kind: &str) -> Result<(), Failure> {
        let Self { on, group, privileges } = self;
        let body = json!({"privileges": privileges});
        let given = desk.server.put(&[kind, &on, "grants", &group], Some(&body)).await?.body;
        desk.out
            .done(&given, &format!("group {group} has {} on {on}", privileges.join(", ")))
    }
}

impl RevokeGrant {
    pub(super) async fn run(self, desk: &Desk, kind: &str) -> Result<(), Failure> {
        let Self { on, group } = self;
        desk.server.delete(&[kind, &on, "grants", &group]).await?;
        desk.out
            .done(&Value::Null, &format!("group {group} has no grant on {on}"))
    }
}

/// Sets a member of a body, if there is a value for it.
pub(super) fn put(body: &mut Map<String, Value>, name: &str, value: Option<impl Into<String>>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), Value::String(value.into()));
    }
}

/// How a choice is spelled, on the command line and in the API alike.
pub(super) fn word(choice: impl ValueEnum) -> String {
    choice
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

/// A change has to change something.
pub(super) fn something(body: &Map<String, Value>) -> Result<(), Failure> {
    if body.is_empty() {
        return Err(Failure::Usage("say what to change; see --help".to_owned()));
    }
    Ok(())
}
