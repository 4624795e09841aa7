//! One step of a plan: what it changes, the call that does it, and whether the caller may.
//!
//! A secret that a call needs is kept beside its body and put in when it is sent: a step can be shown as it is.

use super::difference::Change;
use super::local::Package;
use crate::cli::credentials::Secret;
use crate::cli::failure::missing;
use axum::http::Method;
use serde_json::{Value, json};
use std::path::PathBuf;

/// One step.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) kind: Kind,
    /// As in `deployment iris-on-dev`.
    pub(super) what: String,
    pub(super) changes: Vec<Change>,
    pub(super) verdict: Verdict,
    pub(super) act: Act,
}

/// What it does to the thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    Change,
    Remove,
    /// Nothing: what is there cannot be seen, so that nobody can say what is to be done.
    Compare,
}

/// Whether it can be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// The server is still to be asked.
    Ask(Question),
    Allowed,
    /// The caller may not: what is missing and who can give it, as the server says it.
    Forbidden(Value),
    /// Nobody can, as things are.
    Impossible(String),
}

/// What is asked of `can-i`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    pub(super) action: &'static str,
    pub(super) service: Option<String>,
    pub(super) infrastructure: Option<String>,
    /// Known to be missing: asked is only who can give it.
    pub(super) lacks: Option<String>,
}

/// How it is done.
#[derive(Debug)]
pub(super) enum Act {
    /// By a call.
    Call(Call),
    /// By an upload.
    Push {
        service: String,
        version: String,
        path: PathBuf,
        package: Package,
    },
    /// By a call whose answer has a new key in it, for a new file.
    Save(Call, PathBuf),
    /// Not at all.
    Nothing,
}

/// A call of the API.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: Vec<String>,
    /// So many parts of the path name the thing that is changed; what follows is what is done with it.
    pub(super) thing: usize,
    pub(super) body: Option<Value>,
    /// Goes into the body under this name when it is sent.
    pub(super) secret: Option<(&'static str, Secret)>,
    /// What was read: somebody else's change in between is a conflict.
    pub(super) revision: Option<u64>,
}

impl Call {
    /// A call about the thing that its path names.
    pub(super) fn new(method: Method, path: &[&str], body: Option<Value>, revision: Option<u64>) -> Self {
        Self {
            method,
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            thing: path.len(),
            body,
            secret: None,
            revision,
        }
    }

    /// A call that does something with a thing: the last part of its path says what.
    pub(super) fn verb(path: &[&str], revision: Option<u64>) -> Self {
        let call = Self::new(Method::POST, path, None, revision);
        Self {
            thing: path.len().saturating_sub(1),
            ..call
        }
    }

    /// The thing, for its revision.
    pub(super) fn thing(&self) -> String {
        self.path.get(..self.thing).unwrap_or_default().join("/")
    }
}

impl Step {
    /// To compare what cannot be seen; the server has said why.
    pub(super) fn unseen(what: String, answer: &Value) -> Self {
        Self {
            kind: Kind::Compare,
            what,
            changes: Vec::new(),
            verdict: Verdict::Forbidden(answer.clone()),
            act: Act::Nothing,
        }
    }

    /// A step that is done by a call.
    pub(super) fn call(kind: Kind, what: String, changes: Vec<Change>, verdict: Verdict, call: Call) -> Self {
        Self {
            kind,
            what,
            changes,
            verdict,
            act: Act::Call(call),
        }
    }

    /// Whether it can be done.
    pub(super) fn stands(&self) -> bool {
        self.verdict == Verdict::Allowed
    }

    /// `create deployment iris-on-dev`.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.kind.verb(), self.what)
    }

    /// For people: a line, one for each change, and what stands against it.
    pub(super) fn lines(&self) -> Vec<String> {
        let sign = if self.stands() { self.kind.sign() } else { '!' };
        let mut lines = vec![format!("{sign} {}", self.title())];
        lines.extend(self.changes.iter().map(|change| match change.before {
            Value::Null => format!("    {}: {}", change.field, shown(&change.after)),
            _ => format!(
                "    {}: {} → {}",
                change.field,
                shown(&change.before),
                shown(&change.after)
            ),
        }));
        match &self.verdict {
            Verdict::Allowed | Verdict::Ask(_) => {}
            Verdict::Impossible(why) => lines.extend(why.lines().map(|line| format!("    cannot be done: {line}"))),
            Verdict::Forbidden(answer) => {
                lines.push(match self.kind {
                    Kind::Compare => "    you may not see what there is".to_owned(),
                    Kind::Create | Kind::Change | Kind::Remove => "    you may not do this".to_owned(),
                });
                lines.extend(missing(answer).iter().map(|line| format!("  {line}")));
            }
        }
        lines
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let changes = self.changes.iter();
        let changes =
            changes.map(|change| json!({"field": change.field, "before": change.before, "after": change.after}));
        let (verdict, more) = match &self.verdict {
            Verdict::Allowed | Verdict::Ask(_) => ("allowed", Vec::new()),
            Verdict::Impossible(why) => ("impossible", vec![("reason", Value::from(why.as_str()))]),
            Verdict::Forbidden(answer) => {
                let part = |name| (name, answer.get(name).cloned().unwrap_or_default());
                ("not-allowed", vec![part("missing"), part("ask")])
            }
        };
        let step = [
            ("action", Value::from(self.kind.verb())),
            ("what", Value::from(self.what.as_str())),
            ("changes", changes.collect()),
            ("verdict", Value::from(verdict)),
        ];
        let members = step.into_iter().chain(more);
        members.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Kind {
    fn verb(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Remove => "remove",
            Self::Compare => "compare",
        }
    }

    fn sign(self) -> char {
        match self {
            Self::Create => '+',
            Self::Change | Self::Compare => '~',
            Self::Remove => '-',
        }
    }
}

/// A value in a line: text as it is, the rest as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.lines().collect::<Vec<_>>().join(" ⏎ "),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// What a plan comes to, in a line.
pub(super) fn summary(steps: &[Step]) -> String {
    let count = |kind: Kind| steps.iter().filter(|step| step.kind == kind).count();
    let parts = [
        (count(Kind::Create), "to create"),
        (count(Kind::Change), "to change"),
        (count(Kind::Remove), "to remove"),
        (count(Kind::Compare), "that cannot be compared"),
        (
            steps
                .iter()
                .filter(|step| matches!(step.verdict, Verdict::Forbidden(_)))
                .count(),
            "not allowed",
        ),
        (
            steps
                .iter()
                .filter(|step| matches!(step.verdict, Verdict::Impossible(_)))
                .count(),
            "that cannot be done",
        ),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    match parts.as_slice() {
        [] => "nothing to do: everything is as the files say".to_owned(),
        parts => format!("plan: {}", parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(verdict: Verdict) -> Step {
        Step {
            kind: Kind::Change,
            what: "deployment iris-on-prod".to_owned(),
            changes: vec![
                Change::new("version", "v1", "v2"),
                Change::new("access", Value::Null, "keys"),
            ],
            verdict,
            act: Act::Nothing,
        }
    }

    #[test]
    fn a_step_says_what_stands_against_it() {
        assert_eq!(
            step(Verdict::Allowed).lines(),
            [
                "~ change deployment iris-on-prod",
                "    version: v1 → v2",
                "    access: keys"
            ]
        );
        let answer =
            json!({"allowed": false, "missing": ["deploy on infrastructure prod"], "ask": {"groups": ["sre"]}});
        let forbidden = step(Verdict::Forbidden(answer));
        assert_eq!(
            forbidden.lines().split_off(3),
            [
                "    you may not do this",
                "    missing: deploy on infrastructure prod",
                "    who can give it: group sre",
                "    they type: castoff infra grant prod GROUP deploy",
            ]
        );
        assert_eq!(forbidden.lines()[0], "! change deployment iris-on-prod");
        assert_eq!(forbidden.json()["missing"][0], "deploy on infrastructure prod");
        let impossible = step(Verdict::Impossible("there is no version v2".to_owned()));
        assert_eq!(impossible.lines()[3], "    cannot be done: there is no version v2");
        assert_eq!(
            summary(&[impossible, forbidden]),
            "plan: 2 to change, 1 not allowed, 1 that cannot be done"
        );
        assert_eq!(summary(&[]), "nothing to do: everything is as the files say");
    }

    #[test]
    fn the_thing_of_a_verb_is_what_stands_before_it() {
        let call = Call::verb(&["deployments", "d", "disable"], Some(3));
        assert_eq!(call.thing(), "deployments/d");
    }
}
