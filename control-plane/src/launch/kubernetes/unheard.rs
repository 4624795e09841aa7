//! Pods that run and whose nodes have never come to the control plane, in plain words: pure.
//!
//! Nobody else would say it: a cluster finds nothing wrong with such a pod, and the control plane knows nothing of its node. The
//! rule a newcomer would break: which address it dials is for those to know who administer the infrastructure.

use super::observe::Pod;
use super::stage::Stage;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// A node dials as soon as it runs, and again and again: after so long something keeps it from coming.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether one that is missed has come: its cluster does not tell.
const AGAIN: Duration = Duration::from_secs(10);

/// What is to be said of a deployment's pods, of whose nodes these have been heard; and after how long it may be something else.
pub(super) fn of(pods: &[Pod], heard: &[Uuid], now: Instant) -> (Option<String>, Option<Duration>) {
    let is_unheard = |pod: &&Pod| {
        let runs = pod.stage == Stage::Runs && !pod.is_over;
        runs && pod.uid.is_some_and(|uid| !heard.contains(&uid))
    };
    let waited = |pod: &Pod| {
        pod.since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    };
    let unheard: Vec<&Pod> = pods.iter().filter(is_unheard).collect();
    let missed = unheard.iter().filter(|pod| waited(pod) >= PATIENCE);
    let Some(first) = missed.map(|pod| pod.name.as_str()).min() else {
        let left = unheard.iter().map(|pod| PATIENCE.saturating_sub(waited(pod)));
        return (None, left.min());
    };
    let sentence = format!(
        "pod {first} runs, but its node has not reached the control plane: `castoff logs` shows why not; see that \
         kubernetes.control_plane of the infrastructure (else --node-url of the control plane) is an address that pods reach, \
         with the ca that has signed for it, and that no network policy of the cluster stands between"
    );
    (Some(sentence), Some(AGAIN))
}

#[cfg(test)]
mod tests {
    use super::super::labels::DEPLOYMENT;
    use super::*;
    use serde_json::json;

    fn pod(id: u128, state: &str, before: Option<&Pod>, now: Instant) -> Pod {
        let (uid, deployment) = (Uuid::from_u128(id), Uuid::from_u128(9));
        let pod = json!({
            "metadata": {"name": format!("p{id}"), "uid": uid, "labels": {DEPLOYMENT: deployment}},
            "status": {"containerStatuses": [{"name": "node", "state": {state: {}}}]},
        });
        Pod::of(&pod).unwrap().seen(before, now)
    }

    #[test]
    fn a_node_that_does_not_come_is_told_of_after_a_while() {
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let first = pod(1, "running", None, start);
        let seen_again = pod(1, "running", Some(&first), after(25));
        let other = pod(2, "running", None, after(20));
        let pods = [other, seen_again];
        let heard = [Uuid::from_u128(2)];
        assert_eq!(of(&pods, &[], after(25)), (None, Some(Duration::from_secs(5))));
        let (said, again) = of(&pods, &heard, after(31));
        let said = said.unwrap();
        assert!(said.starts_with("pod p1 runs, but its node has not reached"), "{said}");
        for advice in ["castoff logs", "kubernetes.control_plane", "ca that", "network policy"] {
            assert!(said.contains(advice), "{said}");
        }
        assert_eq!(again, Some(AGAIN));
        assert_eq!(of(&pods, &[heard[0], Uuid::from_u128(1)], after(31)), (None, None));
    }

    #[test]
    fn a_container_that_starts_again_has_its_time_again() {
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let first = pod(1, "running", None, start);
        let ended = pod(1, "terminated", Some(&first), after(40));
        assert_eq!(of(std::slice::from_ref(&ended), &[], after(40)), (None, None));
        let again = pod(1, "running", Some(&ended), after(41));
        let (said, wait) = of(&[again], &[], after(42));
        assert_eq!((said, wait), (None, Some(Duration::from_secs(29))));
    }
}
