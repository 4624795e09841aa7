//! What has to be done with keys. Pure, as the rest of the plan.
//!
//! A key has no other name than what people call it, and after a rotation two are called the same: the one that opens, and
//! of several the newest, is the one that a file means. One that somebody revoked is left alone until a file says otherwise.

use super::desired::{Key, Keys, Source};
use super::difference::{Change, between, patch};
use super::plan::{Facts, revision};
use super::state::Part;
use super::step::{Act, Call, Kind, Step, Verdict};
use crate::cli::table::cell;
use axum::http::Method;
use serde_json::{Map, Value};

/// Where keys live.
#[derive(Debug)]
pub(super) struct Place<'a> {
    kind: &'a str,
    name: &'a str,
    /// On whoever changes its keys.
    verdict: Verdict,
}

impl<'a> Place<'a> {
    pub(super) fn new(kind: &'a str, name: &'a str, verdict: Verdict) -> Self {
        Self { kind, name, verdict }
    }

    /// The steps for the keys that a file lists, and for those that it leaves out.
    pub(super) fn steps(
        &self,
        facts: Facts<'_>,
        wanted: Option<&Keys>,
        there: &Part,
        (steps, gone): (&mut Vec<Step>, &mut Vec<Step>),
    ) {
        let Some(wanted) = wanted.filter(|wanted| facts.prune || !wanted.is_empty()) else {
            return;
        };
        if let Part::Hidden(answer) = there {
            let what = format!("keys of {} {}", self.kind.trim_end_matches('s'), self.name);
            steps.push(Step::unseen(what, answer));
            return;
        }
        for (name, key) in wanted {
            match meant(there.items(), name) {
                Some(found) => self.change(facts, name, key, found, steps),
                // There is nothing that could open.
                None if key.revoked == Some(true) => {}
                None => steps.push(self.create(facts, name, key)),
            }
        }
        let left_out = |key: &&Value| facts.prune && !wanted.contains_key(&cell(key, "/name"));
        for key in there.items().iter().filter(left_out) {
            let (name, id) = (cell(key, "/name"), cell(key, "/id"));
            if cell(key, "/state") != "revoked" {
                gone.push(self.turn(&name, &id, "revoke", revision(key)));
            }
            let call = Call::new(Method::DELETE, &self.path(&[&id]), None, revision(key));
            let changes = vec![Change::new("key", cell(key, "/masked"), Value::Null)];
            gone.push(Step::call(
                Kind::Remove,
                self.what(&name),
                changes,
                self.verdict.clone(),
                call,
            ));
        }
    }

    fn what(&self, key: &str) -> String {
        format!("key {key} of {} {}", self.kind.trim_end_matches('s'), self.name)
    }

    fn path<'p>(&'p self, rest: &[&'p str]) -> Vec<&'p str> {
        [[self.kind, self.name, "keys"].as_slice(), rest].concat()
    }

    fn turn(&self, name: &str, id: &str, verb: &str, held: Option<u64>) -> Step {
        let changes = vec![Change::new("revoked", verb != "revoke", verb == "revoke")];
        let call = Call::verb(&self.path(&[id, verb]), held);
        Step::call(Kind::Change, self.what(name), changes, self.verdict.clone(), call)
    }

    fn create(&self, facts: Facts<'_>, name: &str, key: &Key) -> Step {
        let mut body = Map::from_iter([("name".to_owned(), Value::from(name))]);
        body.extend(key.settings.clone());
        let mut changes = between(&key.settings, &Value::Null);
        let mut call = Call::new(Method::POST, &self.path(&[]), Some(body.into()), None);
        let mut verdict = self.verdict.clone();
        let mut save = None;
        match &key.source {
            None => {
                let why = "it is not there: to make it, write import: FILE with the file that holds it, or save: FILE";
                verdict = Verdict::Impossible(why.to_owned());
            }
            Some(Source::Import(path)) => {
                changes.push(Change::new("import", Value::Null, path.display().to_string()));
                match facts.local.secrets.get(path) {
                    Some(Ok(secret)) => call.secret = Some(("key", secret.clone())),
                    Some(Err(why)) => {
                        let other = "put the key there, or write save: FILE for a new one";
                        verdict = Verdict::Impossible(format!("{why}; {other}"));
                    }
                    None => {}
                }
            }
            Some(Source::Save(path)) => {
                changes.push(Change::new("save", Value::Null, path.display().to_string()));
                if let Some(Err(why)) = facts.local.places.get(path) {
                    verdict = Verdict::Impossible(why.clone());
                }
                save = Some(path.clone());
            }
        }
        Step {
            kind: Kind::Create,
            what: self.what(name),
            changes,
            verdict,
            act: match save {
                Some(path) => Act::Save(call, path),
                None => Act::Call(call),
            },
        }
    }

    fn change(&self, facts: Facts<'_>, name: &str, key: &Key, found: &Value, steps: &mut Vec<Step>) {
        let id = cell(found, "/id");
        let revoked = cell(found, "/state") == "revoked";
        match key.revoked {
            Some(true) if !revoked => steps.push(self.turn(name, &id, "revoke", revision(found))),
            Some(false) if revoked => steps.push(self.turn(name, &id, "activate", revision(found))),
            _ => {}
        }
        // A short key is taken when it is made, and stays what it is.
        let mut settings = key.settings.clone();
        settings.shift_remove("weak");
        let changes = between(&settings, found);
        if let Some(other) = other_secret(facts, key, found).filter(|_| !revoked) {
            let changes = vec![Change::new("key", cell(found, "/masked"), other)];
            let why =
                "it is there with another secret: give the new one another name, or revoke and delete this one first";
            let verdict = Verdict::Impossible(why.to_owned());
            steps.push(Step {
                kind: Kind::Change,
                what: self.what(name),
                changes,
                verdict,
                act: Act::Nothing,
            });
            return;
        }
        if changes.is_empty() {
            return;
        }
        // The API takes a limit as a whole.
        let body = patch(&settings, found, &["rate_limit", "quota"], &changes);
        let verdict = match changes.iter().any(|change| change.field == "class") {
            true => Verdict::Impossible("whether a key can be shown again is said when it is made".to_owned()),
            false => self.verdict.clone(),
        };
        let call = Call::new(Method::PATCH, &self.path(&[&id]), Some(body.into()), revision(found));
        steps.push(Step::call(Kind::Change, self.what(name), changes, verdict, call));
    }
}

/// The key that a name means.
pub(super) fn meant<'k>(keys: &'k [Value], name: &str) -> Option<&'k Value> {
    let named = keys.iter().filter(|key| cell(key, "/name") == name);
    named.max_by_key(|key| {
        let opens = match cell(key, "/state").as_str() {
            "revoked" => 0,
            "expired" => 1,
            _ => 2,
        };
        // A rotated key goes on until its overlap ends; its successor was made later. Times of the API sort as text.
        (opens, cell(key, "/created_at"))
    })
}

/// The masked form of a secret that is at hand and is not the one that is there, as far as that can be seen.
fn other_secret(facts: Facts<'_>, key: &Key, found: &Value) -> Option<String> {
    let Some(Source::Import(path)) = &key.source else {
        return None;
    };
    let secret = facts.local.secrets.get(path)?.as_ref().ok()?.expose();
    let masked = cell(found, "/masked");
    let (head, tail) = masked.split_once('…').filter(|(head, _)| !head.is_empty())?;
    let is = secret.starts_with(head) && secret.ends_with(tail);
    (!is).then(|| "another".to_owned())
}
