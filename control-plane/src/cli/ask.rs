//! Questions: may I, and who did.

use super::Desk;
use super::failure::{Failure, missing};
use super::span::When;
use super::table::{cell, moment};
use crate::clock::Clock;
use clap::Args;
use serde_json::Value;

/// Whether you may do something.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  castoff can-i change-deployment --service iris --infra prod

Exit code 0 for yes and 4 for no. A wrong action is answered with the list of actions.")]
pub struct CanI {
    /// The action
    action: String,
    /// On this service
    #[arg(long)]
    service: Option<String>,
    /// On this infrastructure
    #[arg(long)]
    infra: Option<String>,
}

/// Who changed what.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  castoff audit --since 1h\n  castoff audit --actor dana -o json")]
pub struct Audit {
    /// Of this object only, by name
    #[arg(long)]
    object: Option<String>,
    /// By this account only
    #[arg(long)]
    actor: Option<String>,
    /// Not before: a time, or a span back from now
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// So many at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

impl CanI {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let mut query = vec![("action", self.action.as_str())];
        query.extend(self.service.as_deref().map(|service| ("service", service)));
        query.extend(self.infra.as_deref().map(|infra| ("infrastructure", infra)));
        let answer = desk.server.get(&["can-i"], &query).await?;
        let allowed = answer.get("allowed").and_then(Value::as_bool) == Some(true);
        if desk.out.json() {
            desk.out.raw(&answer)?;
        } else {
            words(&answer, allowed)
                .iter()
                .try_for_each(|line| desk.out.line(line))?;
        }
        if allowed { Ok(()) } else { Err(Failure::Forbidden) }
    }
}

fn words(answer: &Value, allowed: bool) -> Vec<String> {
    let each = |name: &str, label: &str| -> Vec<String> {
        let parts = answer.get(name).and_then(Value::as_array).into_iter().flatten();
        parts.map(|part| format!("  {label}: {}", cell(part, ""))).collect()
    };
    let mut lines = vec![if allowed { "yes" } else { "no" }.to_owned()];
    lines.extend(each("because", "because"));
    if !allowed {
        lines.extend(each("have", "you have"));
        lines.extend(missing(answer));
    }
    lines
}

impl Audit {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let since = self
            .since
            .and_then(|when| when.behind(Clock::default().now()))
            .map(|time| time.to_string());
        let mut query = Vec::new();
        query.extend(self.object.as_deref().map(|object| ("object", object)));
        query.extend(self.actor.as_deref().map(|actor| ("actor", actor)));
        query.extend(since.as_deref().map(|since| ("since", since)));
        let items = desk.server.list(&["audit"], &query, self.limit).await?;
        desk.out.list(
            &items,
            &["AT", "WHO", "TOKEN", "ACTION", "OBJECT", "OUTCOME", "FROM"],
            |item| {
                vec![
                    moment(item, "/at"),
                    cell(item, "/actor"),
                    cell(item, "/token"),
                    cell(item, "/action"),
                    format!("{} {}", cell(item, "/object_kind"), cell(item, "/object")),
                    cell(item, "/outcome"),
                    cell(item, "/source"),
                ]
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_no_says_what_is_missing_and_who_has_it() {
        let answer = json!({"allowed": false, "because": [], "have": ["view on infrastructure prod"],
            "missing": ["deploy on infrastructure prod"], "ask": {"owner": null, "groups": ["sre"]}});
        assert_eq!(
            words(&answer, false),
            [
                "no",
                "  you have: view on infrastructure prod",
                "  missing: deploy on infrastructure prod",
                "  who can give it: group sre",
                "  they type: castoff infra grant prod GROUP deploy",
            ]
        );
        let answer = json!({"allowed": true, "because": ["group ds has deploy on infrastructure dev (grant)"]});
        assert_eq!(
            words(&answer, true),
            ["yes", "  because: group ds has deploy on infrastructure dev (grant)"]
        );
    }
}
