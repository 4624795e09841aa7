//! How far the node of a pod has come, as its cluster sees it: pure.

use super::labels::CONTAINER;
use super::observe::name_of;
use serde_json::Value;

/// How far the container of a node has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is being made, on the machine that its pod has.
    Made,
    Runs,
    /// None of these.
    Other,
}

impl Stage {
    /// Of a pod as the API server gives it.
    pub(super) fn of(pod: &Value) -> Self {
        let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
        let own = statuses
            .into_iter()
            .flatten()
            .find(|status| name_of(status) == CONTAINER);
        let Some(state) = own.and_then(|status| status.get("state")) else {
            return Self::Other;
        };
        match state.pointer("/waiting/reason").and_then(Value::as_str) {
            Some("ContainerCreating" | "PodInitializing") => Self::Made,
            None if state.get("running").is_some() => Self::Runs,
            _ => Self::Other,
        }
    }
}

/// Whether a pod takes calls, as the API server gives it.
pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        let is = |name: &str, value: &str| condition.get(name).and_then(Value::as_str) == Some(value);
        is("type", "Ready") && is("status", "True")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_as_far_as_its_node() {
        for (name, state, stage) in [
            (
                "node",
                json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}),
                Stage::Runs,
            ),
            ("node", json!({"waiting": {"reason": "ContainerCreating"}}), Stage::Made),
            ("node", json!({"waiting": {"reason": "PodInitializing"}}), Stage::Made),
            ("node", json!({"waiting": {"reason": "CrashLoopBackOff"}}), Stage::Other),
            ("node", json!({"terminated": {"exitCode": 1}}), Stage::Other),
            ("proxy", json!({"running": {}}), Stage::Other),
        ] {
            let pod = json!({"status": {"containerStatuses": [{"name": name, "state": state}]}});
            assert_eq!(Stage::of(&pod), stage, "{pod}");
        }
        assert_eq!(Stage::of(&json!({})), Stage::Other);
        let ready = |status: &str| json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
        assert!(is_ready(&ready("True")) && !is_ready(&ready("False")) && !is_ready(&json!({})));
    }
}
