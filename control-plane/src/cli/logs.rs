//! The logs of a deployment's nodes.
//!
//! So far: text, as it was written. Followed: events, each a line with its node.

use super::Desk;
use super::events::{PAUSE, Unread};
use super::failure::Failure;
use super::table::{cell, moment, printable};
use clap::Args;
use serde_json::Value;
use std::collections::BTreeSet;
use tokio::time::sleep;

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
        let lines = self.ask(desk).await?;
        lines
            .iter()
            .try_for_each(|line| desk.out.line(&shown(line, desk.out.json())))
    }

    async fn follow(&self, desk: &Desk) -> Result<(), Failure> {
        let path = ["deployments", self.deployment.as_str(), "logs", "events"];
        let mut nodes = BTreeSet::new();
        let mut tail = self.tail.to_string();
        let mut heard = false;
        loop {
            let mut query = vec![("tail", tail.as_str())];
            query.extend(self.node.as_deref().map(|node| ("node", node)));
            match desk.server.listen(&path, &query, None).await {
                Ok(mut response) => {
                    heard = true;
                    let mut unread = Unread::default();
                    while let Ok(Some(bytes)) = response.chunk().await {
                        for event in unread.take(&bytes)? {
                            let (node, line) = (cell(&event, "/node"), cell(&event, "/line"));
                            let line = shown(&line, desk.out.json());
                            nodes.insert(node.clone());
                            match nodes.len() > 1 {
                                true => desk.out.line(&format!("{} {line}", node.get(..8).unwrap_or(&node)))?,
                                false => desk.out.line(&line)?,
                            }
                        }
                    }
                }
                // A server that was there comes back; one that never was is not waited for.
                Err(Failure::Unreachable(_)) if heard => {}
                Err(failure) => return Err(failure),
            }
            desk.out
                .note("the server has hung up: listening again; what is logged meanwhile may be missing here");
            tail = "1".to_owned();
            sleep(PAUSE).await;
        }
    }

    async fn ask(&self, desk: &Desk) -> Result<Vec<String>, Failure> {
        let tail = self.tail.to_string();
        let mut query = vec![("tail", tail.as_str())];
        query.extend(self.node.as_deref().map(|node| ("node", node)));
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
}
