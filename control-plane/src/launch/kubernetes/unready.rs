//! A container beside a node that runs and does not become ready, which keeps the pod from being given calls: pure.
//!
//! A cluster says nothing of why, nor that something is wrong. The rule a newcomer would break: one that has just started, or
//! has just stopped being ready, is no trouble yet.

use super::bounds::words;
use super::labels::CONTAINER;
use crate::domain::Time;
use serde_json::Value;

/// So long it may take, as a proxy of a service mesh does that fetches what it has to know.
const PATIENCE_MS: i64 = 30_000;

/// Such a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unready {
    pub(super) container: String,
    /// From when on it is told.
    pub(super) due: Time,
}

/// Of a pod as the API server gives it; none when its own container is not ready either, of which its node tells more.
pub(super) fn of(pod: &Value) -> Option<Unready> {
    let list = |pointer: &str| pod.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let name = |status: &Value| status.get("name").and_then(Value::as_str).map(str::to_owned);
    let is_ready = |status: &Value| status.get("ready").and_then(Value::as_bool) == Some(true);
    let (own, others): (Vec<_>, Vec<_>) =
        list("/status/containerStatuses").partition(|status| name(status).as_deref() == Some(CONTAINER));
    if !own.into_iter().any(is_ready) {
        return None;
    }
    // One that comes before ours, and runs while ours does, goes on beside it.
    let beside = others.into_iter().chain(list("/status/initContainerStatuses"));
    let not_ready = beside.filter(|status| !is_ready(status));
    // It may have been ready since it started.
    let lost = list("/status/conditions").find_map(|condition| {
        let is = |name: &str, value: &str| condition.get(name).and_then(Value::as_str) == Some(value);
        let is_lost = is("type", "Ready") && is("status", "False");
        time(condition.get("lastTransitionTime")).filter(|_| is_lost)
    });
    let found = not_ready.filter_map(|status| {
        let started = time(status.pointer("/state/running/startedAt"))?;
        Some(Unready {
            container: words(&name(status)?),
            due: started.max(lost.unwrap_or(started)).after_ms(PATIENCE_MS),
        })
    });
    found.min_by_key(|unready| unready.due)
}

fn time(value: Option<&Value>) -> Option<Time> {
    Time::parse(value?.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(name: &str, ready: bool, started: &str) -> Value {
        json!({"name": name, "ready": ready, "state": {"running": {"startedAt": started}}})
    }

    #[test]
    fn a_container_that_runs_beside_a_ready_node_has_some_time_to_become_ready() {
        let (began, later) = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
        let node = |ready| status("node", ready, began);
        let proxy = |ready, started| status("proxy", ready, started);
        let ended = json!({"name": "job", "ready": false, "state": {"terminated": {"exitCode": 0}}});
        let waits = json!({"name": "proxy", "ready": false, "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
        for (containers, initial, lost, due) in [
            (
                vec![node(true), proxy(false, began)],
                vec![],
                began,
                Some("2026-01-01T00:00:30Z"),
            ),
            (
                vec![node(true)],
                vec![proxy(false, began)],
                began,
                Some("2026-01-01T00:00:30Z"),
            ),
            // It has started anew.
            (
                vec![proxy(false, later), node(true)],
                vec![],
                began,
                Some("2026-01-01T01:00:30Z"),
            ),
            // It was ready for an hour.
            (
                vec![proxy(false, began), node(true)],
                vec![],
                later,
                Some("2026-01-01T01:00:30Z"),
            ),
            (
                vec![node(true), proxy(false, later), status("other", false, began)],
                vec![],
                began,
                Some("2026-01-01T00:00:30Z"),
            ),
            (
                vec![node(true), proxy(true, began)],
                vec![proxy(true, began)],
                began,
                None,
            ),
            (vec![node(false), proxy(false, began)], vec![], began, None),
            (vec![proxy(false, began)], vec![], began, None),
            // What has ended or waits is told otherwise.
            (vec![node(true), ended, waits], vec![], began, None),
            (vec![node(true), proxy(false, "long ago")], vec![], began, None),
        ] {
            let status = json!({
                "containerStatuses": containers, "initContainerStatuses": initial,
                "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": lost}],
            });
            let found = of(&json!({"status": status})).map(|unready| unready.due);
            assert_eq!(found, due.map(|due| Time::parse(due).unwrap()), "{status}");
        }
        assert_eq!(of(&json!({})), None);
    }
}
