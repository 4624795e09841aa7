//! Calls through the Service while all that may happen to pods and machines happens.

use super::Harbour;
use super::drained::Drained;
use acceptance::cluster::{Cluster, processes_of};
use acceptance::eventually::within;
use acceptance::{eventually, json, models, tell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Callers, each with a connection of its own, and calls a second of all together.
const CALLERS: u32 = 8;
const RATE: u32 = 200;
/// Each of two pods takes its drain to go, on a machine that has all else of this test to do.
const LIMIT: Duration = Duration::from_secs(180);
/// What must be left of it on a machine that has no time for more.
const LEAST: u32 = 50;

/// Waits until none of these pods is left and all is as it should be.
#[track_caller]
fn replaced(harbour: &Harbour, before: &BTreeSet<String>) {
    within(LIMIT, "they are replaced", || {
        let now = harbour.uids();
        match now.is_disjoint(before) && now.len() == before.len() {
            true => Ok(()),
            false => Err(format!("{now:?} after {before:?}")),
        }
    });
    harbour.stands("running");
}

/// New versions, new templates, pods deleted and evicted, the control plane killed, each machine drained: no call fails.
/// Of a pod whose process is killed only what was with it.
#[test]
fn no_call_fails_whatever_happens_to_pods_machines_and_the_control_plane() {
    let Some(cluster) = Cluster::there() else { return };
    // Machines of somebody's own cluster are not drained.
    if !cluster.is_ours() {
        return;
    }
    let mut harbour = Harbour::open(cluster, "load");
    harbour.deploy(json!({"replicas": 2}));
    let key = harbour.key("steady");
    let Some(calls) = harbour.calls(&key) else { return };
    let dana = harbour.cast.dana.clone();
    // Other bytes, so that each pod has to fetch and load them.
    for version in ["v2", "v3"] {
        let model = models::with_text("iris-columns.onnx", version);
        dana.upload("iris", version, model).expect(201);
    }

    let (load, begun) = (calls.begin(CALLERS, RATE), Instant::now());
    let passed = |what: &str| {
        let so_far = load.so_far();
        assert!(so_far.failures.is_empty(), "{what}: {so_far:?}");
    };
    let path = "/deployments/iris-on-kube";
    let both = json!([{"version": "v2", "weight": 50}, {"version": "v3", "weight": 50}]);
    for route in [
        json!({"version": "v2"}),
        json!({"route": both}),
        json!({"version": "v3"}),
    ] {
        dana.patch(&format!("{path}?wait=30s"), route).expect(200);
    }
    passed("other versions");
    let before = harbour.uids();
    harbour.set(json!({"labels": {"another": "template"}}));
    replaced(&harbour, &before);
    passed("another template");
    for pod in harbour.pod_names() {
        let before = harbour.uids();
        harbour
            .namespace
            .kubectl(&["delete", "pod", &pod])
            .expect("it is there");
        eventually("another one has come", || harbour.uids().len() == before.len());
        harbour.stands("running");
    }
    passed("pods deleted");
    harbour.cast.world.server.kill();
    harbour.cast.world.server.launch();
    harbour.stands("running");
    passed("the control plane killed");
    let ours = format!("castoff.dev/deployment-id={}", dana.get(path).expect(200).string("/id"));
    for machine in ["node-1", "node-2"] {
        let drained = Drained::of(&harbour.namespace, machine, &ours);
        harbour.stands("running");
        drop(drained);
    }
    passed("machines drained");

    let [victim, ..] = &harbour.uids().into_iter().collect::<Vec<_>>()[..] else {
        panic!("pods are there")
    };
    let [process] = processes_of(victim, "castoff-node")[..] else {
        panic!("its process is on this machine: its Service is reached from here")
    };
    process.kill();
    eventually("it has started again", || {
        let path = "jsonpath={.items[*].status.containerStatuses[0].restartCount} {.items[*].status.containerStatuses[0].ready}";
        let pods = ["get", "pods", "-l", "castoff.dev/installation", "-o", path];
        let said = harbour.namespace.kubectl(&pods)?;
        match said.contains('1') && !said.contains("false") {
            true => Ok(()),
            false => Err(said),
        }
    });
    let lost = load.so_far();
    // What was on the pod: of each caller one call, and one more on a connection that the dying process's socket still took. And who
    // was sent to it before the cluster knew that it was gone.
    let (refused, cut): (Vec<_>, Vec<_>) = lost.failures.iter().partition(|failure| failure.contains("refused"));
    assert!(cut.len() <= 2 * CALLERS as usize, "{cut:?}");
    for failure in cut {
        let of_a_dead_peer = ["reset", "hung up", "end of file", "Broken pipe"];
        assert!(of_a_dead_peer.iter().any(|how| failure.contains(how)), "{failure}");
    }
    eventually("calls go on", || {
        load.so_far().answers > lost.answers + 5 * RATE as usize
    });
    let all = load.end();
    assert_eq!(all.failures, lost.failures, "with the pod back nothing fails");
    let rate = all.answers as f64 / begun.elapsed().as_secs_f64();
    tell(&format!(
        "{} calls, {rate:.0} a second: none failed but for a pod that was killed, which cut {} and refused {}",
        all.answers,
        lost.failures.len() - refused.len(),
        refused.len()
    ));
    assert!(rate >= f64::from(LEAST), "{rate} calls a second");
}
