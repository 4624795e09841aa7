//! Pods that their machine has ended, in plain words: pure.
//!
//! Another pod takes the place of one that was evicted, and meets the same end: without a word the two would follow each other
//! for ever. The rule a newcomer would break: pods that have ended stay in a cluster for long, so an old end says nothing.

use super::bounds::words;
use super::observe::Pod;
use crate::domain::Time;
use serde_json::Value;
use std::time::Duration;

/// An end is told for so long, and for longer while no pod takes calls.
const SHORT_MS: i64 = 5 * 60_000;
const LONG_MS: i64 = 60 * 60_000;

/// How a machine has ended a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Eviction {
    /// By the cluster's clock.
    at: Time,
    /// One word: `Evicted`, or why it was not taken at all.
    reason: String,
    message: String,
}

impl Eviction {
    /// Of a pod as the API server gives it; none when no machine has ended it.
    pub(super) fn of(pod: &Value) -> Option<Self> {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
        if text("/status/phase") != Some("Failed") {
            return None;
        }
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        let changed = conditions.into_iter().flatten().filter_map(|condition| {
            let at = condition.get("lastTransitionTime")?.as_str()?;
            Time::parse(at).ok()
        });
        let started = text("/status/startTime").and_then(|at| Time::parse(at).ok());
        Some(Self {
            at: changed.max().or(started)?,
            reason: words(text("/status/reason")?),
            message: words(text("/status/message").unwrap_or_default().trim()),
        })
    }

    /// What to do about it.
    fn advice(&self) -> &'static str {
        let says = |part: &str| self.message.contains(part);
        if self.reason.starts_with("OutOf") {
            "give smaller resources or another placement"
        } else if says("volume \"packages\"") {
            "its model files need more: raise kubernetes.packages of the infrastructure, or deploy fewer or smaller versions"
        } else if says("ephemeral local storage usage exceeds") || says("exceeded its local ephemeral storage limit") {
            "a LimitRange of the namespace limits ephemeral-storage: raise that"
        } else if says("low on resource: memory") {
            "raise resources.memory, so that pods get a machine that has it, or give the cluster more"
        } else if says("low on resource") {
            "give the machines of the cluster more room on their disks, or choose others by kubernetes.placement"
        } else {
            "`kubectl describe pod` says more"
        }
    }
}

/// What is to be said of the last of a deployment's pods that a machine has ended; and after how long it is not any more.
pub(super) fn of(pods: &[Pod], now: Time) -> (Option<String>, Option<Duration>) {
    let is_served = pods.iter().any(|pod| pod.is_ready && !pod.is_over);
    let most = if is_served { SHORT_MS } else { LONG_MS };
    let ended = pods.iter().filter_map(|pod| Some((pod.evicted.as_ref()?, &pod.name)));
    let Some((last, name)) = ended.max_by_key(|(eviction, name)| (eviction.at, *name)) else {
        return (None, None);
    };
    let left = last.at.after_ms(most).ms().saturating_sub(now.ms());
    let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) else {
        return (None, None);
    };
    let (reason, message, advice) = (&last.reason, &last.message, last.advice());
    let message = message.trim_end_matches(['.', ' ']);
    let sentence = format!("the machine of pod {name} has ended it ({reason}): {message}: {advice}");
    (Some(sentence), Some(Duration::from_millis(left)))
}

#[cfg(test)]
mod tests {
    use super::super::labels::DEPLOYMENT;
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    const AT: &str = "2026-01-01T12:00:00Z";

    fn pod(name: &str, status: Value) -> Pod {
        let labels = json!({DEPLOYMENT: Uuid::from_u128(1)});
        Pod::of(&json!({"metadata": {"name": name, "labels": labels}, "status": status})).unwrap()
    }

    fn evicted(name: &str, reason: &str, message: &str, at: &str) -> Pod {
        let conditions = json!([
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T11:00:00Z"},
            {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": at},
        ]);
        let status = json!({"phase": "Failed", "reason": reason, "message": message, "conditions": conditions});
        pod(name, status)
    }

    fn after(minutes: i64) -> Time {
        Time::parse(AT).unwrap().after_ms(minutes * 60_000)
    }

    #[test]
    fn each_end_says_what_to_do() {
        let volume = "Usage of EmptyDir volume \"packages\" exceeds the limit \"4Gi\". ";
        let storage = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ";
        let own = "Container node exceeded its local ephemeral storage limit \"1Gi\". ";
        let memory = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi. ";
        let disk = "The node was low on resource: ephemeral-storage. ";
        let cpu = "Node didn't have enough resource: cpu, requested: 100, used: 950, capacity: 1000";
        for (reason, message, advice) in [
            ("Evicted", volume, "raise kubernetes.packages"),
            ("Evicted", storage, "a LimitRange of the namespace"),
            ("Evicted", own, "a LimitRange of the namespace"),
            ("Evicted", memory, "raise resources.memory"),
            ("Evicted", disk, "more room on their disks"),
            ("OutOfcpu", cpu, "give smaller resources"),
            ("UnexpectedAdmissionError", "", "kubectl describe pod"),
        ] {
            let said = of(&[evicted("p", reason, message, AT)], after(1)).0.unwrap();
            let begins = format!("the machine of pod p has ended it ({reason}): ");
            assert!(said.starts_with(&begins) && said.contains(advice), "{said}");
        }
    }

    #[test]
    fn the_last_end_is_told_for_a_while_and_longer_where_nothing_serves() {
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        let ends = || {
            let before = evicted("a", "Evicted", "before", "2026-01-01T11:30:00Z");
            [before, evicted("b", "Evicted", "last", AT)]
        };
        let serving = ends().into_iter().chain([pod("c", ready)]).collect::<Vec<_>>();
        let said = |pods: &[Pod], minutes| of(pods, after(minutes)).0;
        assert!(said(&serving, 4).is_some_and(|said| said.contains("pod b") && said.contains("last")));
        assert_eq!(of(&serving, after(4)).1, Some(Duration::from_secs(60)));
        assert_eq!(of(&serving, after(6)), (None, None));
        assert!(said(&ends(), 6).is_some());
        assert_eq!(of(&ends(), after(61)), (None, None));
    }

    #[test]
    fn a_pod_that_has_ended_by_itself_was_not_evicted() {
        let failed = json!({"phase": "Failed", "conditions": [{"type": "Ready", "lastTransitionTime": AT}]});
        for status in [failed, json!({"phase": "Running", "reason": "Evicted"}), json!({})] {
            assert_eq!(of(&[pod("p", status)], after(1)), (None, None));
        }
    }
}
