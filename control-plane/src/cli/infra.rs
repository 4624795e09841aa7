//! Infrastructures, and which groups may do what on them.

use super::Desk;
use super::cluster_settings::ClusterSettings;
use super::failure::Failure;
use super::manifest;
use super::service::{Grant, RevokeGrant, grants, put, something, word};
use super::table::{Table, cell, moment};
use super::upgrade::Upgrade;
use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

/// What can be done with infrastructures.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// The infrastructures you may see
    #[command(visible_alias = "ls", after_help = "Example:\n  castoff infra list")]
    List,
    /// One infrastructure
    #[command(after_help = "Example:\n  castoff infra show dev")]
    Show {
        /// The infrastructure
        infrastructure: String,
    },
    /// Create an infrastructure (for platform admins)
    #[command(
        after_help = "Examples:\n  castoff infra create dev --kind local --stage dev\n  castoff infra create prod --kind kubernetes --stage prod --namespace models --kubeconfig prod.yaml"
    )]
    Create {
        /// Lower-case letters, digits and hyphens, at most 29
        name: String,
        /// Who starts the nodes
        #[arg(long, value_enum)]
        kind: Kind,
        /// Its place in the life cycle: dev, test, prod or a label of your own
        #[arg(long)]
        stage: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Change an infrastructure's settings
    #[command(
        after_help = "Examples:\n  castoff infra set dev --allow inherit,personal-keys\n  castoff infra set prod --kubeconfig castoff.yaml --same-cluster"
    )]
    Set {
        /// The infrastructure
        infrastructure: String,
        /// Its place in the life cycle
        #[arg(long)]
        stage: Option<String>,
        #[command(flatten)]
        settings: Settings,
        /// The kubeconfig opens the same cluster as before, whose API server has another address now: deployments stay
        #[arg(long, requires = "kubeconfig")]
        same_cluster: bool,
    },
    /// Delete an infrastructure without deployments
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  castoff infra delete dev\n  castoff infra delete old --force 'its cluster was taken down'"
    )]
    Delete {
        /// The infrastructure
        infrastructure: String,
        /// Give up what could not be taken away from its cluster, because of this
        #[arg(long, value_name = "REASON")]
        force: Option<String>,
    },
    /// Look whether an infrastructure can be used, and what is missing
    #[command(after_help = "Example:\n  castoff infra check prod")]
    Check {
        /// The infrastructure
        infrastructure: String,
    },
    /// Move deployments to the image and template that new ones have, a few at a time
    Upgrade(Upgrade),
    /// Print what lets Castoff into a cluster: a ServiceAccount that may work in one namespace
    #[command(
        after_help = "Example:\n  castoff infra manifest models\n\nIts first lines say how to apply it, and how to make a kubeconfig of it."
    )]
    Manifest {
        /// The namespace, which must be there
        namespace: String,
    },
    /// Who may do what on an infrastructure
    #[command(after_help = "Example:\n  castoff infra grants dev")]
    Grants {
        /// The infrastructure
        infrastructure: String,
    },
    /// Give a group privileges: view, deploy, admin
    #[command(after_help = "Example:\n  castoff infra grant prod data-scientists view")]
    Grant(Grant),
    /// Take all privileges from a group
    #[command(after_help = "Example:\n  castoff infra revoke-grant prod data-scientists")]
    RevokeGrant(RevokeGrant),
}

/// Who starts the nodes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// The server, as processes on its own machine
    Local,
    /// You, wherever you like
    Static,
    /// A Kubernetes cluster, as pods
    Kubernetes,
}

/// What can be set of an infrastructure.
#[derive(clap::Args, Debug)]
pub struct Settings {
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// What deployments here may do beside having keys of their own; `none` for nothing
    #[arg(long, value_enum, value_delimiter = ',')]
    allow: Option<Vec<Allow>>,
    #[command(flatten)]
    cluster: ClusterSettings,
}

/// What an infrastructure may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Allow {
    /// Access as the service says, with the service's keys
    Inherit,
    /// Access without a key
    Public,
    /// Keys of users
    PersonalKeys,
    /// None of these
    None,
}

impl Settings {
    /// The JSON of those that are given.
    fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        put(&mut body, "description", self.description.as_ref());
        if let Some(allow) = &self.allow {
            let has = |what| allow.contains(&what);
            body.insert(
                "allow".to_owned(),
                json!({
                    "inherit": has(Allow::Inherit),
                    "public": has(Allow::Public),
                    "personal_keys": has(Allow::PersonalKeys),
                }),
            );
        }
        self.cluster.put(&mut body)?;
        Ok(body)
    }
}

impl Command {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        const KIND: &str = "infrastructures";
        match self {
            Self::List => {
                let items = desk.server.list(&[KIND], &[], usize::MAX).await?;
                desk.out
                    .list(&items, &["NAME", "KIND", "STAGE", "YOU MAY", "DESCRIPTION"], |item| {
                        ["/name", "/kind", "/stage", "/my_privileges", "/description"]
                            .map(|at| cell(item, at))
                            .to_vec()
                    })
            }
            Self::Show { infrastructure } => {
                let found = desk.server.get(&[KIND, &infrastructure], &[]).await?;
                desk.out.show(&found, facts)
            }
            Self::Create {
                name,
                kind,
                stage,
                settings,
            } => {
                let mut body = settings.body()?;
                put(&mut body, "name", Some(&name));
                put(&mut body, "kind", Some(word(kind)));
                put(&mut body, "stage", Some(stage));
                let made = desk.server.post(&[KIND], &[], Some(&body.into())).await?.body;
                desk.out.done(&made, &format!("created infrastructure {name}"))
            }
            Self::Set {
                infrastructure,
                stage,
                settings,
                same_cluster,
            } => {
                let mut body = settings.body()?;
                put(&mut body, "stage", stage);
                if same_cluster {
                    body.insert("same_cluster".to_owned(), true.into());
                }
                something(&body)?;
                let changed = desk
                    .server
                    .patch(&[KIND, &infrastructure], &[], &body.into())
                    .await?
                    .body;
                desk.out
                    .done(&changed, &format!("changed infrastructure {infrastructure}"))
            }
            Self::Check { infrastructure } => {
                let path = [KIND, infrastructure.as_str(), "check"];
                let found = desk.server.post(&path, &[], None).await?.body;
                desk.out.show(&found, findings)?;
                let works = found.get("works").and_then(Value::as_bool) == Some(true);
                if works { Ok(()) } else { Err(Failure::Unfit) }
            }
            Self::Upgrade(upgrade) => upgrade.run(desk).await,
            Self::Manifest { namespace } => desk.out.text(&manifest::of(&namespace)?),
            Self::Delete { infrastructure, force } => {
                let query: Vec<(&str, &str)> = force.iter().map(|reason| ("force", reason.as_str())).collect();
                desk.server.delete_with(&[KIND, &infrastructure], &query).await?;
                desk.out
                    .done(&Value::Null, &format!("deleted infrastructure {infrastructure}"))
            }
            Self::Grants { infrastructure } => grants(desk, KIND, &infrastructure).await,
            Self::Grant(grant) => grant.run(desk, KIND).await,
            Self::RevokeGrant(grant) => grant.run(desk, KIND).await,
        }
    }
}

fn findings(check: &Value) -> Table {
    let mut table = Table::new(&["WHAT", "WORKS", "FOUND"]);
    let found = check.get("findings").and_then(Value::as_array);
    for finding in found.into_iter().flatten() {
        table.row(["/what", "/works", "/message"].map(|at| cell(finding, at)).to_vec());
    }
    table
}

fn facts(infrastructure: &Value) -> Table {
    let mut facts = Table::facts();
    for (name, at) in [
        ("name", "/name"),
        ("kind", "/kind"),
        ("stage", "/stage"),
        ("description", "/description"),
        ("allows inherited access", "/allow/inherit"),
        ("allows public access", "/allow/public"),
        ("allows personal keys", "/allow/personal_keys"),
        ("a pod's processor", "/pods/resources/cpu"),
        ("a pod's memory", "/pods/resources/memory"),
        ("namespace", "/kubernetes/namespace"),
        ("cluster", "/kubernetes/cluster"),
        ("image", "/kubernetes/image"),
        ("exposed by", "/kubernetes/exposure/kind"),
        ("you may", "/my_privileges"),
        ("admins", "/admin_groups"),
    ] {
        facts.fact(name, cell(infrastructure, at));
    }
    facts.fact("created", moment(infrastructure, "/created_at"));
    facts.fact("changed", moment(infrastructure, "/updated_at"));
    facts
}
