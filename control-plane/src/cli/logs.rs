//! The logs of a deployment's nodes.
//!
//! The API shows the last lines only, so following means asking again and finding where what is known ends. That is done
//! node by node: lines of several nodes mixed would have no such place.

use super::Desk;
use super::failure::Failure;
use super::table::{cell, moment, printable};
use clap::Args;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::sleep;

const POLL: Duration = Duration::from_secs(1);

/// What the nodes log.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  castoff logs iris-on-dev --tail 50\n  castoff logs iris-on-dev -f")]
pub struct Logs {
    /// The deployment
    deployment: String,
    /// Of this node only
    #[arg(long)]
    node: Option<String>,
    /// So many of the last lines
    #[arg(long, default_value_t = 200)]
    tail: u32,
    /// Go on with new lines until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

impl Logs {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        if self.follow {
            return self.follow(desk).await;
        }
        let lines = self.ask(desk, self.node.as_deref()).await?;
        lines
            .iter()
            .try_for_each(|line| desk.out.line(&shown(line, desk.out.json())))
    }

    async fn follow(&self, desk: &Desk) -> Result<(), Failure> {
        let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
        loop {
            let nodes = match &self.node {
                Some(node) => vec![node.clone()],
                None => {
                    let path = ["deployments", self.deployment.as_str(), "nodes"];
                    let nodes = desk.server.list(&path, &[], usize::MAX).await?;
                    nodes.iter().map(|node: &Value| cell(node, "/id")).collect()
                }
            };
            let many = nodes.len() > 1;
            for node in nodes {
                let now = match self.ask(desk, Some(&node)).await {
                    Ok(now) => now,
                    // A node may end between the list and the question.
                    Err(failure) if self.node.is_none() && failure.status() == Some(404) => continue,
                    Err(failure) => return Err(failure),
                };
                let before = known.get(&node).map(Vec::as_slice).unwrap_or_default();
                for line in fresh(before, &now) {
                    let line = shown(line, desk.out.json());
                    if many {
                        desk.out.line(&format!("{} {line}", node.get(..8).unwrap_or(&node)))?;
                    } else {
                        desk.out.line(&line)?;
                    }
                }
                known.insert(node, now);
            }
            sleep(POLL).await;
        }
    }

    async fn ask(&self, desk: &Desk, node: Option<&str>) -> Result<Vec<String>, Failure> {
        let tail = self.tail.to_string();
        let mut query = vec![("tail", tail.as_str())];
        if let Some(node) = node {
            query.push(("node", node));
        }
        let text = desk
            .server
            .text(&["deployments", &self.deployment, "logs"], &query)
            .await?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// A line as a program or a person reads it.
fn shown(line: &str, json: bool) -> String {
    if json { line.to_owned() } else { readable(line) }
}

/// A line of a node for people: when, how grave, what, and the facts; where in our code it comes from is for `-o json`.
/// What is no such line, as the runtime may write, stays as it is.
fn readable(line: &str) -> String {
    let Ok(Value::Object(entry)) = serde_json::from_str(line) else {
        return printable(line);
    };
    let said = Value::Object(entry.clone());
    let first = [
        moment(&said, "/timestamp"),
        cell(&said, "/level"),
        cell(&said, "/message"),
    ];
    let facts = entry
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "timestamp" | "level" | "message" | "target"))
        .map(|(name, value)| format!("{name}={}", cell(value, "")));
    let words: Vec<String> = first.into_iter().chain(facts).filter(|word| !word.is_empty()).collect();
    printable(&words.join(" "))
}

/// The lines of `now` that come after those of `before`: the window has moved on by as few lines as possible.
fn fresh<'a>(before: &[String], now: &'a [String]) -> &'a [String] {
    for gone in 0..=before.len() {
        let kept = before.get(gone..).unwrap_or_default();
        if let Some(new) = now.strip_prefix(kept) {
            return new;
        }
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_words() {
        let line = r#"{"timestamp":"2026-11-25T10:39:15.623458Z","level":"INFO","message":"config in force","config.epoch":1,"config.version":3,"target":"castoff_node::control"}"#;
        assert_eq!(
            readable(line),
            "2026-11-25 10:39:15 INFO config in force config.epoch=1 config.version=3"
        );
        assert_eq!(shown(line, true), line);
        for other in ["==> node 1 <==", "plain words", "[1]", "{\"half"] {
            assert_eq!(readable(other), other);
        }
        assert_eq!(readable("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
    }

    #[test]
    fn new_lines_are_those_after_the_known() {
        let lines = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (before, now, new) in [
            ("", "a b", "a b"),
            ("a b", "a b", ""),
            ("a b", "a b c", "c"),
            ("a b c", "b c d e", "d e"),
            ("a b c", "x y z", "x y z"),
            ("a a a", "a a a", ""),
            ("a b", "", ""),
        ] {
            assert_eq!(fresh(&lines(before), &lines(now)), lines(new), "{before} | {now}");
        }
    }
}
