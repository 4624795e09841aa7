//! Waits until a deployment runs what it was told to run.
//!
//! "running" alone is not enough: just after a change the nodes still run what was before, so each must have acknowledged
//! the config of the change or a later one.

use super::Desk;
use super::failure::Failure;
use super::span::Span;
use super::table::cell;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const POLL: Duration = Duration::from_millis(250);

/// A node that fails may have failed at what was before the change, and the next status may know better.
const BENEFIT_OF_DOUBT: Duration = Duration::from_secs(5);

/// The place of a config in their order.
pub(super) type Position = (u64, u64);

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Runs,
    Failed(String),
    NotYet(String),
}

/// The config that a deployment, as the API shows it, wants its nodes to have.
pub(super) fn wanted(deployment: &Value) -> Position {
    position(deployment.get("config"))
}

fn position(config: Option<&Value>) -> Position {
    let part = |name| {
        config
            .and_then(|config| config.get(name))
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    (part("epoch"), part("version"))
}

/// Waits until the deployment runs this config, for so long at most.
pub(super) async fn until_running(desk: &Desk, deployment: &str, wanted: Position, most: Span) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        let status = desk.server.get(&["deployments", deployment, "status"], &[]).await;
        let why = match status {
            Ok(status) => match judge(&status, wanted, start.elapsed()) {
                Verdict::Runs => return Ok(()),
                Verdict::Failed(why) => return Err(Failure::Waited(format!("{deployment} does not run: {why}"))),
                Verdict::NotYet(why) => why,
            },
            // The server may be starting again; the nodes do not mind.
            Err(Failure::Unreachable(why)) => why,
            Err(failure) if failure.status().is_some_and(|status| status >= 500) => "the server fails".to_owned(),
            Err(failure) => return Err(failure),
        };
        if start.elapsed() >= most.duration() {
            let seconds = most.duration().as_secs_f64();
            return Err(Failure::Waited(format!(
                "{deployment} does not run after {seconds} s: {why}"
            )));
        }
        sleep(POLL).await;
    }
}

fn judge(status: &Value, wanted: Position, waited: Duration) -> Verdict {
    let state = cell(status, "/state");
    let nodes = status
        .get("nodes")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    // What is on its way out has no say.
    let here: Vec<&Value> = nodes
        .iter()
        .filter(|node| !matches!(cell(node, "/state").as_str(), "stopping" | "lost"))
        .collect();
    let behind = here.iter().filter(|node| position(node.get("acked")) < wanted).count();
    if state == "running" && behind == 0 && !here.is_empty() {
        return Verdict::Runs;
    }
    let why = explain(status, &here, &state, behind);
    let refused = here.iter().any(|node| {
        let count = node.get("refused_configs").and_then(Value::as_u64).unwrap_or_default();
        // What it has refused before this change says nothing about it.
        let said = !cell(node, "/reason").is_empty() || position(node.pointer("/refused/config")) >= wanted;
        count > 0 && position(node.get("acked")) < wanted && said
    });
    match state.as_str() {
        "off" => Verdict::Failed("it is switched off".to_owned()),
        "crash-looping" if waited >= BENEFIT_OF_DOUBT => Verdict::Failed(why),
        _ if refused && waited >= BENEFIT_OF_DOUBT => Verdict::Failed(why),
        _ => Verdict::NotYet(why),
    }
}

fn explain(status: &Value, here: &[&Value], state: &str, behind: usize) -> String {
    let mut lines = vec![match cell(status, "/message") {
        message if message.is_empty() => format!("it is {state}"),
        message => format!("it is {state}, {message}"),
    }];
    if here.is_empty() {
        lines.push("no node is there".to_owned());
    } else if behind > 0 {
        lines.push(format!("{behind} of {} nodes have not taken it over", here.len()));
    }
    for node in here {
        let last_exit = match cell(node, "/state").as_str() {
            "ready" => String::new(),
            _ => cell(node, "/last_exit"),
        };
        let reasons = [cell(node, "/reason"), last_exit, cell(node, "/refused/message")];
        if let Some(reason) = reasons.iter().find(|reason| !reason.is_empty()) {
            lines.push(format!(
                "node {} ({}): {reason}",
                cell(node, "/id"),
                cell(node, "/state")
            ));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(state: &str, version: u64) -> Value {
        json!({"id": "n1", "state": state, "acked": {"epoch": 1, "version": version}, "refused_configs": 0})
    }

    #[test]
    fn running_means_every_node_has_the_change() {
        let soon = Duration::ZERO;
        let status = |state: &str, nodes: Vec<Value>| json!({"state": state, "nodes": nodes});
        assert_eq!(
            judge(&status("running", vec![node("ready", 7)]), (1, 7), soon),
            Verdict::Runs
        );
        assert_eq!(
            judge(&status("running", vec![node("ready", 9)]), (1, 7), soon),
            Verdict::Runs
        );
        let old_goes = vec![node("ready", 7), node("stopping", 6)];
        assert_eq!(judge(&status("running", old_goes), (1, 7), soon), Verdict::Runs);
        for waiting in [
            status("running", vec![node("ready", 6)]),
            status("running", vec![]),
            status("starting", vec![node("ready", 7)]),
            status("crash-looping", vec![node("crash-looping", 6)]),
            json!({}),
        ] {
            assert!(matches!(judge(&waiting, (1, 7), soon), Verdict::NotYet(_)), "{waiting}");
        }
    }

    #[test]
    fn failures_say_what_the_node_says() {
        let late = Duration::from_secs(6);
        let mut sick = node("not-ready", 6);
        sick["refused_configs"] = json!(1);
        sick["reason"] = json!("the model has no input x");
        let status = json!({"state": "degraded", "message": "1 of 1 nodes refused it", "nodes": [sick]});
        let Verdict::Failed(why) = judge(&status, (1, 7), late) else {
            panic!("must fail")
        };
        assert_eq!(
            why,
            "it is degraded, 1 of 1 nodes refused it\n1 of 1 nodes have not taken it over\n\
             node n1 (not-ready): the model has no input x"
        );
        assert!(matches!(
            judge(&json!({"state": "off"}), (1, 7), late),
            Verdict::Failed(_)
        ));
        for (refused, fails) in [
            (json!({"epoch": 1, "version": 7}), true),
            (json!({"epoch": 1, "version": 5}), false),
            (Value::Null, false),
        ] {
            let mut node = node("ready", 6);
            node["refused_configs"] = json!(1);
            node["refused"] = json!({"config": refused, "message": "refused"});
            let verdict = judge(&json!({"state": "running", "nodes": [node]}), (1, 7), late);
            assert_eq!(matches!(verdict, Verdict::Failed(_)), fails, "{refused}: {verdict:?}");
        }
    }
}
