//! The keys that open a deployment or a service.
//!
//! A key is printed when it is made and never again, so it goes to standard output alone, or to a file with `--save`.

use super::Desk;
use super::credentials::read_secret;
use super::failure::Failure;
use super::key_bounds::{Bounds, quota, rate};
use super::service::{put, something, word};
use super::session::{hand_over, may_save};
use super::span::Span;
use super::table::{Table, cell, moment};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// What can be done with keys.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make a key; it is shown this once
    #[command(after_help = "Examples:
  castoff keys create web-shop --deployment iris-on-dev --save key.txt
  castoff keys create partner --deployment iris-on-dev --rate-limit 100/1m --burst 20
  castoff keys create old-key --deployment iris-on-dev --import old-key.txt")]
    Create(Create),
    /// The keys, masked
    #[command(
        visible_alias = "ls",
        after_help = "Example:\n  castoff keys list --deployment iris-on-dev"
    )]
    List {
        #[command(flatten)]
        of: Owner,
    },
    /// Refuse a key from now on; prints which nodes have confirmed
    #[command(after_help = "Example:\n  castoff keys revoke web-shop --deployment iris-on-dev

Exit code 9 when a node has not confirmed in time; the key is revoked nevertheless, and the node learns it when it can.")]
    Revoke(Turn),
    /// Accept a revoked key again
    #[command(after_help = "Example:\n  castoff keys activate web-shop --deployment iris-on-dev")]
    Activate(Turn),
    /// Make a successor; the old key works on for the overlap
    #[command(after_help = "Example:\n  castoff keys rotate web-shop --deployment iris-on-dev --overlap 1h")]
    Rotate(Rotate),
    /// Show a recoverable key
    #[command(after_help = "Example:\n  castoff keys reveal web-shop --deployment iris-on-dev")]
    Reveal {
        #[command(flatten)]
        which: Which,
    },
    /// Rename a key, or change when, for what and how often it is accepted
    #[command(after_help = "Examples:
  castoff keys set web-shop --deployment iris-on-dev --expires 90d
  castoff keys set web-shop --deployment iris-on-dev --rate-limit 50/1s
  castoff keys set web-shop --deployment iris-on-dev --rate-limit none")]
    Set {
        #[command(flatten)]
        which: Which,
        /// A new name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        bounds: Bounds,
    },
    /// Delete a revoked key
    #[command(
        visible_alias = "rm",
        after_help = "Example:\n  castoff keys delete web-shop --deployment iris-on-dev"
    )]
    Delete {
        #[command(flatten)]
        which: Which,
    },
}

/// What the keys open.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Owner {
    /// Keys of this deployment
    #[arg(short, long)]
    deployment: Option<String>,
    /// Keys of this service
    #[arg(short, long)]
    service: Option<String>,
}

/// One key.
#[derive(Args, Debug)]
pub struct Which {
    /// The key, by name or id
    key: String,
    #[command(flatten)]
    of: Owner,
}

/// A key to make.
#[derive(Args, Debug)]
pub struct Create {
    /// What to call it
    name: String,
    #[command(flatten)]
    of: Owner,
    /// Whether it can be shown again
    #[arg(long, value_enum)]
    class: Option<Class>,
    /// Take this key instead of making one: a file, or - for standard input
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
    /// Accept an imported key of less than 16 characters
    #[arg(long, requires = "import")]
    weak: bool,
    #[command(flatten)]
    bounds: Bounds,
    /// A new file for the key, readable by you alone; else it is printed
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// How long to wait until the nodes accept it
    #[arg(long, value_name = "SPAN", default_value = "2s")]
    wait: Span,
}

/// Whether a key can be shown again.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Class {
    /// Never
    RevealOnce,
    /// With `castoff keys reveal`
    Recoverable,
}

/// A key to switch, and how long to wait for the nodes.
#[derive(Args, Debug)]
pub struct Turn {
    #[command(flatten)]
    which: Which,
    /// How long to wait until every node has confirmed
    #[arg(long, value_name = "SPAN", default_value = "2s")]
    wait: Span,
}

/// A key to replace.
#[derive(Args, Debug)]
pub struct Rotate {
    #[command(flatten)]
    which: Which,
    /// How long both work
    #[arg(long, value_name = "SPAN")]
    overlap: Option<Span>,
    /// What to call the successor
    #[arg(long)]
    name: Option<String>,
    /// A new file for the key, readable by you alone; else it is printed
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// How long to wait until the nodes accept it
    #[arg(long, value_name = "SPAN", default_value = "2s")]
    wait: Span,
}

impl Owner {
    fn path(&self) -> [&str; 3] {
        match (&self.deployment, &self.service) {
            (Some(deployment), _) => ["deployments", deployment, "keys"],
            // clap lets nobody through who gave neither; an empty name would be refused as a path.
            (None, service) => ["services", service.as_deref().unwrap_or_default(), "keys"],
        }
    }

    /// The command that lists them.
    fn listing(&self) -> String {
        match (&self.deployment, &self.service) {
            (Some(deployment), _) => format!("castoff keys list --deployment {deployment}"),
            (None, service) => format!("castoff keys list --service {}", service.as_deref().unwrap_or_default()),
        }
    }

    fn at<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [self.path().as_slice(), more].concat()
    }
}

impl Which {
    /// The id of the key.
    async fn id(&self, desk: &Desk) -> Result<String, Failure> {
        let keys = desk.server.list(&self.of.path(), &[], usize::MAX).await?;
        pick(&keys, &self.key).map_err(|failure| match failure {
            Failure::Missing(text) => Failure::Missing(format!("{text}\nthose there are: {}", self.of.listing())),
            other => other,
        })
    }
}

/// The key with this id, else the only one with this name.
fn pick(keys: &[Value], wanted: &str) -> Result<String, Failure> {
    let by = |at: &str| keys.iter().filter(|key| cell(key, at) == wanted).collect::<Vec<_>>();
    let found = match by("/id") {
        none if none.is_empty() => by("/name"),
        found => found,
    };
    match found.as_slice() {
        [] => Err(Failure::Missing(format!("there is no key {wanted}"))),
        [one] => Ok(cell(one, "/id")),
        several => {
            let ids = several
                .iter()
                .map(|key| format!("{} ({})", cell(key, "/id"), cell(key, "/state")));
            let ids = ids.collect::<Vec<_>>().join("\n");
            Err(Failure::Usage(format!(
                "several keys are called {wanted}; give one of the ids\n{ids}"
            )))
        }
    }
}

impl Command {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(desk).await,
            Self::List { of } => {
                let items = desk.server.list(&of.path(), &[], usize::MAX).await?;
                desk.out.list(&items, HEADING, row)
            }
            Self::Revoke(turn) => turn.run(desk, "revoke", "revoked").await,
            Self::Activate(turn) => turn.run(desk, "activate", "active").await,
            Self::Rotate(rotate) => rotate.run(desk).await,
            Self::Reveal { which } => {
                let id = which.id(desk).await?;
                let revealed = desk.server.post(&which.of.at(&[&id, "reveal"]), &[], None).await?.body;
                if desk.out.json() {
                    desk.out.raw(&revealed)
                } else {
                    desk.out.line(&cell(&revealed, "/key"))
                }
            }
            Self::Set { which, name, bounds } => {
                let mut body = Map::new();
                put(&mut body, "name", name);
                bounds.put(&mut body);
                something(&body)?;
                let id = which.id(desk).await?;
                let changed = desk.server.patch(&which.of.at(&[&id]), &[], &body.into()).await?.body;
                desk.out.done(&changed, &format!("changed key {}", which.key))
            }
            Self::Delete { which } => {
                let id = which.id(desk).await?;
                desk.server.delete(&which.of.at(&[&id])).await?;
                desk.out.done(&Value::Null, &format!("deleted key {}", which.key))
            }
        }
    }
}

impl Create {
    async fn run(self, desk: &Desk) -> Result<(), Failure> {
        may_save(self.save.as_deref())?;
        let mut body = Map::new();
        put(&mut body, "name", Some(&self.name));
        put(&mut body, "class", self.class.map(word));
        if let Some(path) = &self.import {
            put(&mut body, "key", Some(read_secret(path)?.expose()));
        }
        if self.weak {
            body.insert("weak".to_owned(), Value::Bool(true));
        }
        self.bounds.put(&mut body);
        let wait = self.wait.query();
        let made = desk
            .server
            .post(&self.of.path(), &[("wait", &wait)], Some(&body.into()))
            .await?
            .body;
        remark(desk, &made);
        if self.import.is_some() && made.get("key").is_none() {
            return desk.out.done(&made, &format!("imported key {}", self.name));
        }
        hand_over(desk.out, &made, "key", self.save.as_deref())
    }
}

impl Rotate {
    async fn run(self, desk: &Desk) -> Result<(), Failure> {
        may_save(self.save.as_deref())?;
        let mut body = Map::new();
        put(&mut body, "name", self.name.as_ref());
        if let Some(overlap) = self.overlap {
            body.insert("overlap_seconds".to_owned(), Value::from(overlap.duration().as_secs()));
        }
        let id = self.which.id(desk).await?;
        let wait = self.wait.query();
        let path = self.which.of.at(&[&id, "rotate"]);
        let made = desk
            .server
            .post(&path, &[("wait", &wait)], Some(&body.into()))
            .await?
            .body;
        remark(desk, &made);
        hand_over(desk.out, &made, "key", self.save.as_deref())
    }
}

impl Turn {
    async fn run(self, desk: &Desk, verb: &str, state: &str) -> Result<(), Failure> {
        let id = self.which.id(desk).await?;
        let wait = self.wait.query();
        let path = self.which.of.at(&[&id, verb]);
        let turned = desk.server.post(&path, &[("wait", &wait)], None).await?.body;
        desk.out.done(&turned, &format!("key {} is {state}", self.which.key))?;
        let receipts = receipts(&turned);
        if !desk.out.json() && !receipts.is_empty() {
            desk.out.table(&table(receipts))?;
        }
        if !self.wait.duration().is_zero() && receipts.iter().any(open) {
            return Err(Failure::Waited(format!(
                "key {} is {state}, but not every node has confirmed it",
                self.which.key
            )));
        }
        Ok(())
    }
}

fn receipts(key: &Value) -> &[Value] {
    key.get("receipts")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Whether a node has not confirmed yet, or the copy a node boots from is not written.
fn open(receipt: &Value) -> bool {
    let pending = receipt
        .get("pending")
        .and_then(Value::as_array)
        .is_some_and(|nodes| !nodes.is_empty());
    pending || receipt.get("durable_copy_written").and_then(Value::as_bool) == Some(false)
}

/// A new key works when the nodes have it; the person should know when they do not.
fn remark(desk: &Desk, made: &Value) {
    for receipt in receipts(made).iter().filter(|receipt| open(receipt)) {
        let deployment = cell(receipt, "/deployment");
        desk.out
            .note(&format!("the key is not yet known to every node of {deployment}"));
    }
}

fn table(receipts: &[Value]) -> Table {
    let mut table = Table::new(&[
        "DEPLOYMENT",
        "CONFIG",
        "NODES",
        "CONFIRMED",
        "PENDING",
        "COPY WRITTEN",
        "MS",
    ]);
    for receipt in receipts {
        table.row(
            [
                "/deployment",
                "/version",
                "/nodes",
                "/acked",
                "/pending",
                "/durable_copy_written",
                "/elapsed_ms",
            ]
            .map(|at| cell(receipt, at)),
        );
    }
    table
}

const HEADING: &[&str] = &[
    "NAME",
    "KEY",
    "STATE",
    "EXPIRES",
    "RATE LIMIT",
    "QUOTA USED",
    "LAST USED",
    "CALLS",
    "ID",
];

fn row(key: &Value) -> Vec<String> {
    let weak = key.get("weak").and_then(Value::as_bool) == Some(true);
    let masked = cell(key, "/masked");
    vec![
        cell(key, "/name"),
        if weak { format!("{masked} (weak)") } else { masked },
        cell(key, "/state"),
        moment(key, "/expires_at"),
        rate(key),
        quota(key),
        moment(key, "/last_used_at"),
        cell(key, "/calls"),
        cell(key, "/id"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_named_by_id_or_by_a_name_that_is_one() {
        let keys = [
            json!({"id": "1", "name": "shop", "state": "active"}),
            json!({"id": "2", "name": "twin", "state": "active"}),
            json!({"id": "3", "name": "twin", "state": "revoked"}),
            json!({"id": "4", "name": "1", "state": "active"}),
        ];
        assert_eq!(pick(&keys, "shop").unwrap(), "1");
        assert_eq!(pick(&keys, "3").unwrap(), "3");
        assert_eq!(pick(&keys, "1").unwrap(), "1", "an id goes before a name");
        assert_eq!(pick(&keys, "twin").unwrap_err().code(), 2);
        assert_eq!(pick(&keys, "none").unwrap_err().code(), 5);
    }

    #[test]
    fn a_receipt_is_closed_when_all_have_it() {
        let receipt = |pending: Value, copy: bool| json!({"pending": pending, "durable_copy_written": copy});
        assert!(!open(&receipt(json!([]), true)));
        assert!(open(&receipt(json!(["n1"]), true)));
        assert!(open(&receipt(json!([]), false)));
    }
}
