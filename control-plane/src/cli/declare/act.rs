//! Does the steps of a plan, one after the other, and stops at the first that fails.
//!
//! Every change names the revision that the plan has read, so that what somebody else has changed since is a conflict and
//! is never overwritten. The rule a newcomer would break: a secret goes from a file to the server or back, and nowhere else.

use super::local;
use super::step::{Act, Call, Step};
use crate::cli::Desk;
use crate::cli::credentials::save_secret;
use crate::cli::failure::Failure;
use crate::cli::session::may_save;
use crate::cli::version;
use crate::cli::wait::{self, Position};
use axum::http::Method;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// How long a key may take to reach the nodes before the next step.
const KEYS_WAIT: (&str, &str) = ("wait", "2s");

/// What is being done.
#[derive(Debug)]
pub(super) struct Acting<'a> {
    desk: &'a Desk,
    /// Why, for the history of deployments.
    note: Option<&'a str>,
    /// Of things that were changed here: they have moved on by our own doing.
    revisions: BTreeMap<String, u64>,
    /// Deployments that are to run now, and the config that they are to run.
    pub(super) to_run: BTreeMap<String, Position>,
}

impl<'a> Acting<'a> {
    pub(super) fn new(desk: &'a Desk, note: Option<&'a str>) -> Self {
        Self {
            desk,
            note,
            revisions: BTreeMap::new(),
            to_run: BTreeMap::new(),
        }
    }

    /// Does one step.
    pub(super) async fn act(&mut self, step: &Step) -> Result<(), Failure> {
        let done = match &step.act {
            Act::Nothing => Ok(()),
            Act::Push {
                service,
                version,
                path,
                package,
            } => {
                let (file, found) = local::open(path.clone()).await?;
                if found != *package {
                    let text = format!("{} has changed since the plan was made", path.display());
                    return Err(Failure::Conflict(text));
                }
                let pushed = version::upload(self.desk, [service, version], file, package.size).await;
                pushed.map(|_| ())
            }
            Act::Call(call) => self.call(call).await.map(|_| ()),
            Act::Save(call, path) => self.save(call, path).await,
        };
        done.map_err(|failure| {
            failure
                .hint(412, || {
                    "somebody has changed it since the plan was made, and nothing of theirs was overwritten\n\
                     look at what there is now with `castoff plan`, then apply again"
                        .to_owned()
                })
                .hint(409, || {
                    "look at what there is now with `castoff plan`, then apply again".to_owned()
                })
        })
    }

    async fn call(&mut self, call: &Call) -> Result<Value, Failure> {
        let thing = call.thing();
        // What is made has none yet.
        let revision = call
            .revision
            .map(|read| self.revisions.get(&thing).copied().unwrap_or(read));
        let body = self.body(call);
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let of_keys = path.get(2) == Some(&"keys") && call.method == Method::POST;
        let query: &[(&str, &str)] = if of_keys { &[KEYS_WAIT] } else { &[] };
        let answer = self
            .desk
            .server
            .change(call.method.clone(), &path, query, body.as_ref(), revision)
            .await?;
        if let Some(now) = revision.and_then(|_| answer.body.get("revision")?.as_u64()) {
            self.revisions.insert(thing, now);
        }
        if let (["deployments"] | ["deployments", _] | ["deployments", _, "enable" | "disable"], Some(name)) =
            (path.as_slice(), answer.body.get("name").and_then(Value::as_str))
        {
            match answer.body.get("enabled") {
                Some(Value::Bool(true)) => drop(self.to_run.insert(name.to_owned(), wait::wanted(&answer.body))),
                _ => drop(self.to_run.remove(name)),
            }
        }
        Ok(answer.body)
    }

    /// What is sent: the body, its secret, and for a deployment the note.
    fn body(&self, call: &Call) -> Option<Value> {
        let mut body = match &call.body {
            Some(Value::Object(body)) => body.clone(),
            _ => Map::new(),
        };
        if let Some((name, secret)) = &call.secret {
            body.insert((*name).to_owned(), Value::from(secret.expose()));
        }
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let noted = matches!(
            path.as_slice(),
            ["deployments"] | ["deployments", _] | ["deployments", _, "enable" | "disable"]
        );
        if let Some(note) = self.note.filter(|_| noted && call.method != Method::DELETE) {
            body.insert("note".to_owned(), Value::from(note));
        }
        (!body.is_empty()).then(|| body.into())
    }

    /// A key that cannot be kept must not be: nobody would have it, and it would open.
    async fn save(&mut self, call: &Call, path: &Path) -> Result<(), Failure> {
        may_save(Some(path))?;
        let made = self.call(call).await?;
        let Some(key) = made.get("key").and_then(Value::as_str) else {
            return Err(Failure::Unreachable("the server sent no key".to_owned()));
        };
        let Err(failure) = save_secret(path, key) else {
            return Ok(());
        };
        let id = made.get("id").and_then(Value::as_str).unwrap_or_default();
        let at: Vec<&str> = call.path.iter().map(String::as_str).chain([id]).collect();
        let revoke: Vec<&str> = at.iter().copied().chain(["revoke"]).collect();
        let ended = self.desk.server.post(&revoke, &[], None).await;
        let deleted = self.desk.server.delete(&at).await;
        match ended.and(deleted) {
            Ok(_) => Err(failure),
            Err(_) => Err(Failure::Local(format!(
                "{}\nthe key that was made could neither be kept nor deleted: revoke it with `castoff keys revoke`",
                failure.lines().join(" ")
            ))),
        }
    }
}
