//! Pods that have a machine and do not come to run there, in plain words.
//!
//! A pod itself does not say why, only events of the cluster do. They are asked for when a pod has waited for long, for all pods
//! of a namespace at a time. The rule a newcomer would break: without the permission to read them nothing fails.

use super::bounds::words;
use super::connection::answer;
use super::observe::Pod;
use super::stage::Stage;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// A pod that is made for so long waits for something.
const PATIENCE: Duration = Duration::from_secs(20);
/// While its image is fetched it waits, too, and no event warns of that: without one it is told of later.
const LONG: Duration = Duration::from_secs(90);
/// Between two questions to a cluster, whatever waits there; also between two looks whether it still does.
const AGAIN: Duration = Duration::from_secs(30);
/// Events in one answer.
const MOST_EVENTS: u32 = 500;

/// What a cluster has said last of pods that wait.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Told>);

#[derive(Default)]
struct Told {
    asked: Option<Instant>,
    warnings: HashMap<Uuid, Warning>,
}

/// The last warning about a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Warning {
    reason: String,
    message: String,
}

impl Waiting {
    /// What is to be said of a deployment's pods, and after how long it may be something else.
    pub(super) async fn look(
        &self,
        pods: &[Pod],
        client: &Client,
        namespace: &str,
    ) -> (Option<String>, Option<Duration>) {
        let now = Instant::now();
        let waits = |pod: &&Pod| pod.stage == Stage::Made && !pod.is_over;
        let waited = |pod: &Pod| {
            pod.since
                .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
        };
        let Some(longest) = pods.iter().filter(waits).max_by_key(|pod| (waited(pod), &pod.name)) else {
            return (None, None);
        };
        let left = PATIENCE.saturating_sub(waited(longest));
        if left > Duration::ZERO {
            return (None, Some(left));
        }
        if self.is_to_ask(now) {
            let warnings = ask(client, namespace).await;
            self.told().warnings = warnings;
        }
        let warning = longest.uid.and_then(|uid| self.told().warnings.get(&uid).cloned());
        (said(&longest.name, warning.as_ref(), waited(longest)), Some(AGAIN))
    }

    /// Whether this is the moment to ask: whoever is told so does.
    fn is_to_ask(&self, now: Instant) -> bool {
        let mut told = self.told();
        let is_due = told
            .asked
            .is_none_or(|asked| now.saturating_duration_since(asked) >= AGAIN);
        if is_due {
            told.asked = Some(now);
        }
        is_due
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last warnings about pods, by their ids; none where they may not be read.
async fn ask(client: &Client, namespace: &str) -> HashMap<Uuid, Warning> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let of_pods = ListParams::default()
        .fields("involvedObject.kind=Pod,type=Warning")
        .limit(MOST_EVENTS);
    match answer(api.list(&of_pods)).await {
        Ok(events) => last(events.items),
        Err(trouble) => {
            tracing::debug!(namespace, reason = trouble.sentence, "events of pods are not read");
            HashMap::new()
        }
    }
}

/// The last of each pod.
fn last(mut events: Vec<Event>) -> HashMap<Uuid, Warning> {
    let at = |event: &Event| {
        let series = event
            .series
            .as_ref()
            .and_then(|series| series.last_observed_time.as_ref());
        let precise = series.or(event.event_time.as_ref()).map(|time| time.0);
        precise.max(event.last_timestamp.as_ref().map(|time| time.0))
    };
    events.sort_by_key(at);
    let warning = |event: Event| {
        let of = event.involved_object.uid?.parse().ok()?;
        let reason = words(&event.reason.unwrap_or_default());
        let message = words(&event.message.unwrap_or_default());
        Some((of, Warning { reason, message }))
    };
    events.into_iter().filter_map(warning).collect()
}

fn said(pod: &str, warning: Option<&Warning>, waited: Duration) -> Option<String> {
    let Some(Warning { reason, message }) = warning else {
        return (waited >= LONG).then(|| {
            format!(
                "pod {pod} is not made by its machine yet, which may be fetching its image: `kubectl describe pod {pod}` says what \
                 it waits for"
            )
        });
    };
    let advice = match reason.as_str() {
        "FailedMount" | "FailedAttachVolume" => {
            "Castoff keeps the Secret that is mounted; see to what else stands there, and to the machine's disks"
                .to_owned()
        }
        "FailedCreatePodSandBox" => {
            "see to the network and the container runtime of its machine, and to kubernetes.placement.runtime_class"
                .to_owned()
        }
        _ => format!("`kubectl describe pod {pod}` says more"),
    };
    let message = message.trim_end_matches(['.', ' ']);
    Some(format!(
        "pod {pod} is not made by its machine: {reason}: {message}: {advice}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(id: u128, reason: &str, times: serde_json::Value) -> Event {
        let mut event = json!({
            "metadata": {"name": "e"}, "reason": reason, "message": format!("{reason} it is."),
            "involvedObject": {"kind": "Pod", "uid": Uuid::from_u128(id)},
        });
        for (name, time) in times.as_object().unwrap() {
            event[name] = time.clone();
        }
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn the_last_warning_of_a_pod_is_told() {
        let events = vec![
            event(1, "FailedMount", json!({"lastTimestamp": "2026-01-01T00:00:09Z"})),
            event(
                1,
                "FailedCreatePodSandBox",
                json!({"lastTimestamp": "2026-01-01T00:00:08Z"}),
            ),
            event(2, "Early", json!({"eventTime": "2026-01-01T00:00:01.000000Z"})),
            event(
                2,
                "Late",
                json!({
                    "eventTime": "2026-01-01T00:00:00.000000Z",
                    "series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:02.000000Z"},
                }),
            ),
            event(3, "Timeless", json!({})),
        ];
        let last = last(events);
        let reason = |id: u128| last[&Uuid::from_u128(id)].reason.as_str();
        assert_eq!([reason(1), reason(2), reason(3)], ["FailedMount", "Late", "Timeless"]);
    }

    #[test]
    fn whatever_a_pod_waits_for_says_what_to_do() {
        for (reason, advice) in [
            ("FailedMount", "the Secret that is mounted"),
            ("FailedAttachVolume", "the machine's disks"),
            ("FailedCreatePodSandBox", "kubernetes.placement.runtime_class"),
            ("Unknown", "kubectl describe pod p"),
        ] {
            let warning = Warning {
                reason: reason.to_owned(),
                message: "it is so. ".to_owned(),
            };
            let said = said("p", Some(&warning), PATIENCE).unwrap();
            let begins = format!("pod p is not made by its machine: {reason}: it is so: ");
            assert!(said.starts_with(&begins) && said.contains(advice), "{said}");
        }
        assert_eq!(said("p", None, PATIENCE), None, "its image may be fetched");
        assert!(said("p", None, LONG).unwrap().contains("kubectl describe pod p"));
    }

    #[test]
    fn a_cluster_is_asked_once_in_a_while() {
        let (waiting, start) = (Waiting::default(), Instant::now());
        let asked = [0, 1, 29, 30, 31, 60].map(|second| waiting.is_to_ask(start + Duration::from_secs(second)));
        assert_eq!(asked, [true, false, false, true, false, true]);
    }
}
