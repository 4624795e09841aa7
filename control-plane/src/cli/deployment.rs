//! Deployments that are there: how they are, on and off, back, and away.

mod set;

use super::Desk;
use super::failure::Failure;
use super::service::put;
use super::session::hand_over;
use super::span::Span;
use super::table::{Table, cell, moment, route, scaled};
use super::wait;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// What can be done with deployments.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// The deployments you may see
    #[command(visible_alias = "ls", after_help = "Example:\n  castoff deployment list")]
    List(Which),
    /// One deployment with its nodes, as `castoff status` shows it
    #[command(after_help = "Example:\n  castoff deployment show iris-on-dev")]
    Show {
        /// The deployment
        deployment: String,
    },
    /// Switch on
    #[command(after_help = "Example:\n  castoff deployment enable iris-on-dev --wait 30s")]
    Enable(Switch),
    /// Switch off; its address and its keys stay
    #[command(after_help = "Example:\n  castoff deployment disable iris-on-dev --note 'costs too much'")]
    Disable {
        /// The deployment
        deployment: String,
        /// Why, for the history
        #[arg(long)]
        note: Option<String>,
    },
    /// Back to the route, scale and limits of an earlier revision
    #[command(after_help = "Example:\n  castoff deployment rollback iris-on-dev --to 3 --wait 30s")]
    Rollback {
        /// The revision; see `castoff deployment history`
        #[arg(long, value_name = "N")]
        to: u64,
        #[command(flatten)]
        switch: Switch,
    },
    /// Change its scale and its limits; what is not said of them stays
    #[command(after_help = "Examples:
  castoff deployment set iris-on-prod --scale '{\"autoscaling\": {\"min\": 2, \"max\": 6, \"cpu_percent\": 70}}'
  castoff deployment set iris-on-prod --scale '{\"resources\": {\"cpu\": \"500m\", \"memory_limit\": \"2Gi\"}}'
  castoff deployment set iris-on-prod --scale '{\"fixed\": true, \"replicas\": 3}' --limits limits.yaml

Null takes back what is its own: --scale '{\"autoscaling\": null}' is as the infrastructure says.")]
    Set(set::Set),
    /// What it served when, by whom and why
    #[command(after_help = "Example:\n  castoff deployment history iris-on-dev")]
    History {
        /// The deployment
        deployment: String,
    },
    /// Delete a deployment that is off, with its keys
    #[command(
        visible_alias = "rm",
        after_help = "Example:\n  castoff deployment delete iris-on-dev"
    )]
    Delete {
        /// The deployment
        deployment: String,
    },
    /// Give the nodes of a deployment a new token in place of theirs; the old one ends when all of them have it
    #[command(after_help = "Example:\n  castoff deployment rotate-token iris-on-prod")]
    RotateToken {
        /// The deployment
        deployment: String,
    },
    /// Make what a node of a static infrastructure joins with
    #[command(after_help = "Example:\n  castoff deployment node-token iris-on-edge --save join.json")]
    NodeToken {
        /// The deployment
        deployment: String,
        /// A new file for it, readable by you alone; else it is printed
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
    },
}

/// A deployment to bring up, why, and how long to wait for it.
#[derive(Args, Debug)]
pub struct Switch {
    /// The deployment
    deployment: String,
    /// Why, for the history
    #[arg(long)]
    note: Option<String>,
    /// Wait until it runs, so long at most [when given without a span: 60s]
    #[arg(long, value_name = "SPAN", num_args = 0..=1, default_missing_value = "60s")]
    wait: Option<Span>,
}

/// Which deployments to list.
#[derive(Args, Debug, Default)]
pub struct Which {
    /// Of this service only
    #[arg(long)]
    service: Option<String>,
    /// On this infrastructure only
    #[arg(long)]
    infra: Option<String>,
}

/// How the deployments are.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  castoff status\n  castoff status iris-on-dev")]
pub struct Status {
    /// One deployment in full
    #[arg(conflicts_with_all = ["service", "infra"])]
    deployment: Option<String>,
    #[command(flatten)]
    which: Which,
}

/// How to call a deployment.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  castoff sample iris-on-dev --python")]
pub struct Sample {
    /// The deployment
    deployment: String,
    /// In Python instead of curl
    #[arg(long)]
    python: bool,
}

impl Command {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::List(which) => list(desk, &which).await,
            Self::Show { deployment } => full(desk, &deployment).await,
            Self::Enable(switch) => switch.run(desk, "enable", Map::new(), "switched on").await,
            Self::Disable { deployment, note } => {
                let switch = Switch {
                    deployment,
                    note,
                    wait: None,
                };
                switch.run(desk, "disable", Map::new(), "switched off").await
            }
            Self::Rollback { to, switch } => {
                let body = Map::from_iter([("to".to_owned(), Value::from(to))]);
                switch
                    .run(desk, "rollback", body, &format!("back at revision {to}"))
                    .await
            }
            Self::Set(set) => set.run(desk).await,
            Self::History { deployment } => {
                let path = ["deployments", &deployment, "revisions"];
                let items = desk.server.list(&path, &[], usize::MAX).await?;
                desk.out
                    .list(&items, &["N", "ROUTE", "REPLICAS", "BY", "AT", "NOTE"], |item| {
                        vec![
                            cell(item, "/n"),
                            route(item, "/route"),
                            cell(item, "/scale/replicas"),
                            cell(item, "/by"),
                            moment(item, "/at"),
                            cell(item, "/note"),
                        ]
                    })
            }
            Self::Delete { deployment } => {
                desk.server.delete(&["deployments", &deployment]).await?;
                desk.out.done(&Value::Null, &format!("deleted deployment {deployment}"))
            }
            Self::RotateToken { deployment } => {
                let path = ["deployments", deployment.as_str(), "node-tokens", "rotate"];
                let begun = desk.server.post(&path, &[], None).await?.body;
                let pending = begun.pointer("/pending").and_then(Value::as_array).map_or(0, Vec::len);
                let done = format!(
                    "{deployment}: a new token is on its way to {pending} nodes; the old one ends five minutes after all have it (castoff events {deployment})"
                );
                desk.out.done(&begun, &done)
            }
            Self::NodeToken { deployment, save } => {
                let mut made = desk
                    .server
                    .post(&["deployments", &deployment, "node-tokens"], &[], None)
                    .await?
                    .body;
                if let Some(join) = made.get_mut("join") {
                    *join = Value::String(join.to_string());
                }
                hand_over(desk.out, &made, "join", save.as_deref())
            }
        }
    }
}

impl Switch {
    async fn run(self, desk: &Desk, verb: &str, mut body: Map<String, Value>, done: &str) -> Result<(), Failure> {
        let Self { deployment, note, wait } = self;
        put(&mut body, "note", note);
        let path = ["deployments", deployment.as_str(), verb];
        let changed = desk.server.post(&path, &[], Some(&body.into())).await?.body;
        if let Some(most) = wait {
            wait::until_running(desk, &deployment, wait::wanted(&changed), most).await?;
        }
        desk.out.done(&changed, &format!("{deployment}: {done}"))
    }
}

impl Status {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match &self.deployment {
            Some(deployment) => full(desk, deployment).await,
            None => list(desk, &self.which).await,
        }
    }
}

impl Sample {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let sample = desk
            .server
            .get(&["deployments", &self.deployment, "sample"], &[])
            .await?;
        if desk.out.json() {
            return desk.out.raw(&sample);
        }
        let at = if self.python { "/python" } else { "/curl" };
        if let Some(hint) = sample.get("key_hint").and_then(Value::as_str) {
            desk.out
                .note(&format!("set CASTOFF_KEY to a key of it, such as {hint}"));
        }
        // Code of several lines, made by the server: line ends stay, the rest is checked.
        cell(&sample, at).lines().try_for_each(|line| desk.out.line(line))
    }
}

async fn list(desk: &Desk, which: &Which) -> Result<(), Failure> {
    let mut items = desk.server.list(&["deployments"], &[], usize::MAX).await?;
    let fits =
        |item: &Value, at: &str, asked: &Option<String>| asked.as_ref().is_none_or(|asked| cell(item, at) == *asked);
    items.retain(|item| fits(item, "/service", &which.service) && fits(item, "/infrastructure", &which.infra));
    desk.out.list(
        &items,
        &["NAME", "SERVICE", "ON", "VERSION", "STATE", "ACCESS", "URL"],
        |item| {
            vec![
                cell(item, "/name"),
                cell(item, "/service"),
                cell(item, "/infrastructure"),
                route(item, "/route"),
                cell(item, "/state"),
                cell(item, "/access"),
                cell(item, "/url"),
            ]
        },
    )
}

async fn full(desk: &Desk, name: &str) -> Result<(), Failure> {
    let status = desk.server.get(&["deployments", name, "status"], &[]).await?;
    if desk.out.json() {
        return desk.out.raw(&status);
    }
    let deployment = desk.server.get(&["deployments", name], &[]).await?;
    desk.out.table(&facts(&deployment, &status))?;
    desk.out.text("\n")?;
    desk.out.table(&nodes(&status))
}

fn facts(deployment: &Value, status: &Value) -> Table {
    let mut facts = Table::facts();
    facts.fact("name", cell(deployment, "/name"));
    facts.fact("service", cell(deployment, "/service"));
    facts.fact("infrastructure", cell(deployment, "/infrastructure"));
    facts.fact("version", route(deployment, "/route"));
    facts.fact("state", cell(status, "/state"));
    facts.fact("message", cell(status, "/message"));
    facts.fact("url", cell(deployment, "/url"));
    facts.fact("access", cell(deployment, "/access"));
    facts.fact(
        "replicas",
        scaled(deployment).map_or_else(
            || cell(deployment, "/scale/replicas"),
            |scaled| format!("{scaled}, by what they have to do"),
        ),
    );
    facts.fact("config", place(deployment, "/config"));
    facts.fact("changed", moment(deployment, "/updated_at"));
    let until = moment(status, "/package_addresses_expire_at");
    if !until.is_empty() {
        facts.fact("packages", format!("in reach without a control plane until {until}"));
    }
    if let Some(pods) = status.get("pods").filter(|pods| pods.is_object()) {
        facts.fact("image", cell(pods, "/image"));
        facts.fact("template", cell(pods, "/template"));
        let upgrade = upgrade(pods, &cell(deployment, "/infrastructure"));
        if let Some(upgrade) = upgrade {
            facts.fact("upgrade", upgrade);
        }
    }
    facts
}

/// What is to be had for pods, or on its way.
fn upgrade(pods: &Value, infrastructure: &str) -> Option<String> {
    if pods.get("moving").and_then(Value::as_bool) == Some(true) {
        return Some("its pods are being replaced by such".to_owned());
    }
    let next = pods.get("next").filter(|next| next.is_object())?;
    let image = next.get("another_image").and_then(Value::as_bool) == Some(true);
    let template = cell(next, "/template");
    let what = match (image, cell(pods, "/template") != template) {
        (true, true) => format!("another image, template {template}"),
        (true, false) => "another image".to_owned(),
        (false, _) => format!("template {template}"),
    };
    Some(format!("{what} by castoff infra upgrade {infrastructure}"))
}

fn nodes(status: &Value) -> Table {
    let all = || status.get("nodes").and_then(Value::as_array).into_iter().flatten();
    let in_pods = all().any(|node| !cell(node, "/pod").is_empty());
    let mut names = vec!["NODE"];
    names.extend(in_pods.then_some("POD"));
    names.extend(["STATE", "CONFIG", "RESTARTS", "SEEN", "ADDRESS", "REASON"]);
    let mut table = Table::new(&names);
    for node in all() {
        let stale = node.get("stale").and_then(Value::as_bool) == Some(true);
        let state = cell(node, "/state");
        // How its process ended once is no reason for a node that is ready since.
        let last_exit = if state == "ready" {
            String::new()
        } else {
            cell(node, "/last_exit")
        };
        let reasons = [cell(node, "/reason"), last_exit, cell(node, "/refused/message")];
        let mut row = vec![cell(node, "/id")];
        row.extend(in_pods.then(|| cell(node, "/pod")));
        row.extend([
            if stale { format!("{state} (stale)") } else { state },
            place(node, "/acked"),
            cell(node, "/restarts"),
            moment(node, "/last_seen_at"),
            cell(node, "/http_address"),
            reasons
                .into_iter()
                .find(|reason| !reason.is_empty())
                .unwrap_or_default(),
        ]);
        table.row(row);
    }
    table
}

/// A config's place: epoch and version.
fn place(value: &Value, at: &str) -> String {
    match value.pointer(at) {
        Some(config) if config.is_object() => format!("{}.{}", cell(config, "/epoch"), cell(config, "/version")),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_an_upgrade_would_bring_is_said() {
        let of = |moving: bool, next: Value| {
            let pods = json!({"image": "node:1", "template": 1, "moving": moving, "next": next});
            upgrade(&pods, "prod")
        };
        let by = |what: &str| Some(format!("{what} by castoff infra upgrade prod"));
        assert_eq!(of(false, Value::Null), None);
        for (another_image, template, what) in [
            (false, 2, "template 2"),
            (true, 2, "another image, template 2"),
            (true, 1, "another image"),
        ] {
            let next = json!({"another_image": another_image, "template": template});
            assert_eq!(of(false, next), by(what));
        }
        let moving = of(true, Value::Null).unwrap();
        assert!(moving.contains("being replaced"), "{moving}");
    }

    #[test]
    fn nodes_say_why_they_are_not_ready() {
        let status = json!({"state": "degraded", "nodes": [
            {"id": "n1", "state": "ready", "acked": {"epoch": 1, "version": 7}, "restarts": 0, "stale": true,
             "last_seen_at": "2026-11-25T12:00:00.000Z", "http_address": "127.0.0.1:8500", "last_exit": "signal 9"},
            {"id": "n2", "state": "crash-looping", "acked": null, "restarts": 4, "last_exit": "exit code 3"},
            {"id": "n3", "state": "ready", "acked": {"epoch": 1, "version": 7}, "restarts": 0, "reason": null,
             "refused": {"reason": "older", "message": "refused config 1.4, older than the one it holds"}}]});
        assert_eq!(
            nodes(&status).lines(),
            [
                "NODE  STATE          CONFIG  RESTARTS  SEEN                 ADDRESS         REASON",
                "n1    ready (stale)  1.7     0         2026-11-25 12:00:00  127.0.0.1:8500",
                "n2    crash-looping          4                                              exit code 3",
                "n3    ready          1.7     0                                              \
                 refused config 1.4, older than the one it holds",
            ]
        );
    }

    #[test]
    fn pods_are_called_what_their_cluster_calls_them() {
        let status = json!({"state": "running", "nodes": [
            {"id": "n1", "pod": "iris-7d4-x2", "state": "ready", "acked": {"epoch": 1, "version": 7}, "restarts": 0},
            {"id": "n2", "pod": null, "state": "not-ready", "acked": null, "restarts": 0, "reason": "new"}]});
        assert_eq!(
            nodes(&status).lines(),
            [
                "NODE  POD          STATE      CONFIG  RESTARTS  SEEN  ADDRESS  REASON",
                "n1    iris-7d4-x2  ready      1.7     0",
                "n2                 not-ready          0                        new",
            ]
        );
    }
}
