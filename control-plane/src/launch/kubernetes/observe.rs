//! What becomes of a deployment's pods, in plain words: pure.

use super::bounds::words;
use super::evicted::Eviction;
use super::labels::{CONTAINER, DEPLOYMENT};
use super::last_words::last_words;
use super::stage::{self, Stage};
use super::unready::{self, Unready};
use super::{refused, unpulled};
use crate::domain::Time;
use crate::domain::kubernetes::Template;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

/// A pod as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) deployment: Uuid,
    /// Its node's id.
    pub(super) uid: Option<Uuid>,
    pub(super) name: String,
    /// It has ended, or was asked to.
    pub(super) is_over: bool,
    /// Its process may still be there.
    pub(super) may_run: bool,
    /// It takes calls, as the cluster finds.
    pub(super) is_ready: bool,
    /// How far its node's container has come.
    pub(super) stage: Stage,
    /// Since when it was seen to be so far: by our own clock, as the cluster's may be another.
    pub(super) since: Option<Instant>,
    /// Why its machine has ended it.
    pub(super) evicted: Option<Eviction>,
    /// What hinders it.
    hindrance: Option<Hindrance>,
    /// What does if it goes on.
    unready: Option<Unready>,
}

/// What hinders a pod, the worst last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hindrance {
    Unready,
    Other(String),
    /// Of a container that is not ours.
    Beside {
        what: Box<Self>,
        container: String,
    },
    Ended {
        code: i64,
        why: String,
    },
    OutOfMemory,
    Image(&'static str),
    Unschedulable(String),
}

impl Pod {
    /// From a pod as the API server gives it; none when it is not of a deployment.
    pub(super) fn of(pod: &Value) -> Option<Self> {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
        let labels = pod.pointer("/metadata/labels")?;
        let phase = text("/status/phase").unwrap_or_default();
        let ended = matches!(phase, "Succeeded" | "Failed");
        Some(Self {
            deployment: labels.get(DEPLOYMENT)?.as_str()?.parse().ok()?,
            uid: text("/metadata/uid").and_then(|uid| uid.parse().ok()),
            name: text("/metadata/name").unwrap_or_default().to_owned(),
            is_over: ended || text("/metadata/deletionTimestamp").is_some(),
            may_run: !ended,
            is_ready: stage::is_ready(pod),
            stage: Stage::of(pod),
            since: None,
            evicted: Eviction::of(pod),
            hindrance: hindrance(pod),
            unready: unready::of(pod),
        })
    }

    /// The same, seen now, after it was seen as it was before.
    pub(super) fn seen(self, before: Option<&Self>, now: Instant) -> Self {
        let same = before.filter(|before| before.uid == self.uid && before.stage == self.stage);
        let since = same.and_then(|before| before.since);
        Self {
            since: since.or(Some(now)),
            ..self
        }
    }

    fn hindrance_at(&self, now: Time) -> Option<Hindrance> {
        let unready = || self.unready.as_ref().filter(|unready| unready.due <= now);
        let beside = |unready: &Unready| Hindrance::Beside {
            container: unready.container.clone(),
            what: Box::new(Hindrance::Unready),
        };
        self.hindrance.clone().or_else(|| unready().map(beside))
    }
}

fn hindrance(pod: &Value) -> Option<Hindrance> {
    let list = |pointer: &str| pod.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let unscheduled = list("/status/conditions").find_map(|condition| {
        let word = |name: &str| condition.get(name).and_then(Value::as_str).unwrap_or_default();
        let is = word("type") == "PodScheduled" && word("status") == "False";
        is.then(|| Hindrance::Unschedulable(words(word("message"))))
    });
    let main = list("/status/containerStatuses").filter_map(|status| match name_of(status) {
        CONTAINER => of_container(status),
        _ => beside(status),
    });
    // We have none that come before: whoever puts others beside ours may.
    let initial = list("/status/initContainerStatuses").filter_map(beside);
    unscheduled.into_iter().chain(main).chain(initial).max()
}

pub(super) fn name_of(status: &Value) -> &str {
    status.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// What hinders a pod by a container that somebody else has put there. One that is done hinders nobody.
fn beside(status: &Value) -> Option<Hindrance> {
    let what = of_container(status).filter(|what| !matches!(what, Hindrance::Ended { code: 0, .. }))?;
    Some(Hindrance::Beside {
        container: words(name_of(status)),
        what: Box::new(what),
    })
}

/// What hinders a container, by its status.
fn of_container(status: &Value) -> Option<Hindrance> {
    let word = |pointer: &str| status.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let ended = |state: &str| {
        let code = status
            .pointer(&format!("/{state}/terminated/exitCode"))
            .and_then(Value::as_i64)?;
        Some(match word(&format!("/{state}/terminated/reason")) {
            "OOMKilled" => Hindrance::OutOfMemory,
            _ => Hindrance::Ended {
                code,
                why: words(word(&format!("/{state}/terminated/message"))),
            },
        })
    };
    let (reason, message) = (word("/state/waiting/reason"), word("/state/waiting/message"));
    match reason {
        "CrashLoopBackOff" => ended("lastState").or_else(|| Some(Hindrance::Other(words(message)))),
        "" | "ContainerCreating" | "PodInitializing" => {
            // A first end is told at once; one long ago, of a pod that works again, is not.
            ended("state").or_else(|| {
                let is_ready = status.get("ready").and_then(Value::as_bool) == Some(true);
                if is_ready { None } else { ended("lastState") }
            })
        }
        reason => Some(match unpulled::of(reason, message) {
            Some(why) => Hindrance::Image(why),
            None => Hindrance::Other(words(&format!("{reason}: {message}"))),
        }),
    }
}

/// In how many milliseconds more may be wrong with them though nothing changes.
pub(super) fn due(pods: &[Pod], now: Time) -> Option<u64> {
    let waits = pods.iter().filter(|pod| !pod.is_over);
    let waits = waits.filter_map(|pod| u64::try_from(pod.unready.as_ref()?.due.ms() - now.ms()).ok());
    waits.filter(|wait| *wait > 0).min()
}

/// What goes wrong with a deployment in its cluster, and what to do about it; none when nothing does.
pub(super) fn condition(pods: &[Pod], failure: Option<&str>, now: Time) -> Option<String> {
    if let Some(failure) = failure {
        let advice = refused::of(failure).map(|refusal| refusal.advice);
        let advice = advice.unwrap_or_else(|| "`castoff infra check` looks for the reason".to_owned());
        return Some(format!("the cluster does not make its pods: {failure}: {advice}"));
    }
    let worst = pods
        .iter()
        .filter(|pod| !pod.is_over)
        .filter_map(|pod| Some((pod.hindrance_at(now)?, &pod.name)));
    let (hindrance, name) = worst.max()?;
    Some(match hindrance {
        Hindrance::Unschedulable(why) => {
            format!("no machine of the cluster takes pod {name}: {why}: give smaller resources or another placement")
        }
        Hindrance::Image(why) => {
            format!("pod {name} does not get its image: {why}: set kubernetes.image or kubernetes.image_pull_secrets")
        }
        Hindrance::OutOfMemory => {
            format!("pod {name} was ended for using more memory than it may (OOMKilled): raise resources.memory_limit")
        }
        Hindrance::Ended { code, why } => format!("pod {name} {}: see `castoff logs`", end(code, &why)),
        Hindrance::Beside { container, what } => {
            let what = match *what {
                Hindrance::Ended { code, why } => end(code, &why),
                Hindrance::OutOfMemory => "was ended for using more memory than it may (OOMKilled)".to_owned(),
                Hindrance::Image(why) => format!("does not get its image: {why}"),
                Hindrance::Other(why) | Hindrance::Unschedulable(why) => format!("does not run: {why}"),
                Hindrance::Unready => "runs but is not ready, which keeps calls from the pod".to_owned(),
                Hindrance::Beside { .. } => "does not run".to_owned(),
            };
            format!(
                "container {container} of pod {name} {what}: something in the cluster has put it there, such as a service \
                 mesh: mend that, or keep it away by kubernetes.labels or kubernetes.annotations"
            )
        }
        Hindrance::Other(why) => format!(
            "pod {name} does not start: {why}: see that kubernetes.image is an image of castoff-node that runs there; `kubectl \
             describe pod {name}` says more"
        ),
        Hindrance::Unready => format!("pod {name} is not ready"),
    })
}

/// How a container ended.
fn end(code: i64, log: &str) -> String {
    let why = last_words(log);
    let colon = if why.is_empty() { "" } else { ": " };
    format!("ended with exit code {code}{colon}{why}")
}

/// That pods are by a template which this release does not make, and what to do about it.
pub(super) fn left_alone(template: u32, infrastructure: &str) -> String {
    let newest = Template::NEWEST.number();
    let release = if template > newest { "a later" } else { "an earlier" };
    format!(
        "its pods are left as they are, their number and settings too: they are by template {template}, of {release} release of \
         Castoff; start that release again, or make them by template {newest}: castoff infra upgrade {infrastructure}"
    )
}

/// Both of what may be said, the worse first.
pub(super) fn both(first: Option<String>, second: Option<String>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{first}; {second}")),
        (first, second) => first.or(second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn now() -> Time {
        Time::parse("2026-01-01T00:00:00Z").unwrap()
    }

    fn pod(status: Value) -> Pod {
        let id = Uuid::from_u128(1);
        Pod::of(&json!({"metadata": {"name": "p", "uid": id, "labels": {DEPLOYMENT: id}}, "status": status})).unwrap()
    }

    #[test]
    fn each_hindrance_says_what_to_do() {
        let waiting = |reason: &str| json!({"containerStatuses": [{"name": "node", "state": {"waiting": {"reason": reason, "message": "m"}}}]});
        let ended = |reason: &str, state: &str| {
            let waiting = if state == "lastState" {
                json!({"waiting": {"reason": "CrashLoopBackOff"}})
            } else {
                json!({})
            };
            let mut container = json!({ "name": "node", "state": waiting });
            container[state] = json!({"terminated": {"exitCode": 2, "reason": reason, "message": "one\ntwo"}});
            json!({"containerStatuses": [container]})
        };
        let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/2 nodes"}]});
        for (status, says) in [
            (waiting("ImagePullBackOff"), "kubernetes.image"),
            (
                waiting("CreateContainerConfigError"),
                "CreateContainerConfigError: m: see that",
            ),
            (waiting("RunContainerError"), "kubectl describe pod p"),
            (ended("OOMKilled", "lastState"), "resources.memory_limit"),
            (
                ended("Error", "lastState"),
                "exit code 2: one / two: see `castoff logs`",
            ),
            (ended("Error", "state"), "exit code 2: one / two: see `castoff logs`"),
            (unscheduled, "0/2 nodes: give smaller resources or another placement"),
        ] {
            let said = condition(&[pod(json!({})), pod(status.clone())], None, now()).unwrap();
            assert!(said.contains(says), "{status}: {said}");
        }
        assert_eq!(condition(&[pod(waiting("ContainerCreating"))], None, now()), None);
        assert_eq!(
            condition(
                &[pod(
                    json!({"phase": "Running", "containerStatuses": [{"name": "node", "ready": true}]})
                )],
                None,
                now()
            ),
            None
        );
        for (failure, advice) in [
            ("exceeded quota: q", "give smaller resources"),
            ("violates PodSecurity \"baseline\"", "something in the cluster adds"),
            (
                "maximum cpu usage per Pod is 1, but limit is 2",
                "lower resources.cpu_limit",
            ),
            ("no words for this", "castoff infra check"),
        ] {
            let said = condition(&[], Some(failure), now()).unwrap();
            assert!(said.contains(failure) && said.contains(advice), "{said}");
        }
    }

    #[test]
    fn what_others_put_beside_a_node_is_told_from_it() {
        let ended = |code: u8| json!({"terminated": {"exitCode": code, "reason": "Error", "message": "no route"}});
        let status = |name: &str, state: &Value| json!({"name": name, "ready": false, "state": state});
        let runs = status("node", &json!({"running": {}}));
        let waits = status("node", &json!({"waiting": {"reason": "PodInitializing"}}));
        let looping = json!({
            "name": "proxy", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(1),
        });
        let unpulled = status(
            "proxy",
            &json!({"waiting": {"reason": "ErrImagePull", "message": "r/p:1: not found"}}),
        );
        for (main, initial, says) in [
            (
                vec![looping.clone(), runs.clone()],
                vec![],
                Some("container proxy of pod p ended with exit code 1: no route"),
            ),
            (
                vec![unpulled, runs.clone()],
                vec![],
                Some("container proxy of pod p does not get its image"),
            ),
            (
                vec![waits.clone()],
                vec![looping.clone()],
                Some("container proxy of pod p ended"),
            ),
            (
                vec![waits.clone()],
                vec![status("setup", &ended(3))],
                Some("container setup of pod p ended with exit code 3"),
            ),
            // It has done what it had to do.
            (vec![waits], vec![status("setup", &ended(0))], None),
            (vec![runs, status("job", &ended(0))], vec![], None),
            // The node's own end is the nearer one.
            (
                vec![looping, status("node", &ended(2))],
                vec![],
                Some("pod p ended with exit code 2: no route: see"),
            ),
        ] {
            let status = json!({"containerStatuses": main, "initContainerStatuses": initial});
            let said = condition(&[pod(status.clone())], None, now());
            match says {
                Some(says) => assert!(
                    said.as_ref().is_some_and(|said| said.starts_with(says)),
                    "{status}: {said:?}"
                ),
                None => assert_eq!(said, None, "{status}"),
            }
        }
    }

    #[test]
    fn what_is_not_ready_beside_a_node_is_told_after_a_while() {
        let node = json!({"name": "node", "ready": true, "state": {"running": {}}});
        let started =
            |name: &str| json!({"name": name, "ready": false, "state": {"running": {"startedAt": now().to_string()}}});
        let starting = pod(json!({"containerStatuses": [node, started("proxy")]}));
        let wait = due(std::slice::from_ref(&starting), now()).unwrap();
        let later = now().after_ms(i64::try_from(wait).unwrap());
        assert_eq!(
            condition(std::slice::from_ref(&starting), None, later.after_ms(-1)),
            None
        );
        let said = condition(std::slice::from_ref(&starting), None, later).unwrap();
        assert!(
            said.starts_with("container proxy of pod p runs but is not ready, which"),
            "{said}"
        );
        assert_eq!(
            due(std::slice::from_ref(&starting), later),
            None,
            "nothing more comes of it"
        );
        // What does not run is worse, whatever it is called.
        let ended = json!({"name": "aside", "state": {"terminated": {"exitCode": 3}}});
        let ended = pod(json!({"containerStatuses": [node, started("proxy"), ended]}));
        let said = condition(&[starting, ended], None, later).unwrap();
        assert!(said.starts_with("container aside of pod p ended"), "{said}");
    }

    #[test]
    fn a_template_of_another_release_says_what_to_do() {
        for (template, whose) in [(Template::NEWEST.number() + 1, "a later"), (0, "an earlier")] {
            let said = left_alone(template, "prod");
            let whose = format!("by template {template}, of {whose} release of Castoff");
            assert!(
                said.contains(&whose) && said.ends_with("castoff infra upgrade prod"),
                "{said}"
            );
        }
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(both(said("a"), said("b")), said("a; b"));
        assert_eq!((both(None, said("b")), both(said("a"), None)), (said("b"), said("a")));
    }

    #[test]
    fn a_pod_that_leaves_hinders_nobody() {
        let id = Uuid::from_u128(1);
        let leaving = json!({
            "metadata": {"name": "p", "labels": {DEPLOYMENT: id}, "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"containerStatuses": [{"name": "node", "state": {"terminated": {"exitCode": 1}}}]},
        });
        assert_eq!(condition(&[Pod::of(&leaving).unwrap()], None, now()), None);
        assert_eq!(Pod::of(&json!({"metadata": {"labels": {}}})), None);
    }
}
