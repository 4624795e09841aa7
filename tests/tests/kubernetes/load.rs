//! Calls through the Service while all that may happen to pods and machines happens.

use super::Harbour;
use acceptance::cluster::{Cluster, processes_of};
use acceptance::{eventually, json, models, tell};
use std::collections::BTreeSet;

/// Callers, each with a connection of its own, and calls a second of all together.
const CALLERS: u32 = 8;
const RATE: u32 = 200;

/// A machine that takes no new pods; it takes them again in the end, however that comes.
struct Drained<'a> {
    harbour: &'a Harbour,
    machine: &'a str,
}

impl Drop for Drained<'_> {
    fn drop(&mut self) {
        let namespace = &self.harbour.namespace;
        namespace.kubectl(&["uncordon", self.machine]).ok();
    }
}

/// Waits until none of these pods is left and all is as it should be.
#[track_caller]
fn replaced(harbour: &Harbour, before: &BTreeSet<String>) {
    eventually("they are replaced", || {
        let now = harbour.uids();
        match now.is_disjoint(before) && now.len() == before.len() {
            true => Ok(()),
            false => Err(format!("{now:?} after {before:?}")),
        }
    });
    harbour.stands("running");
}

/// Takes all pods of the deployment away from a machine, by evictions that its disruption budget allows.
#[track_caller]
fn drain<'a>(harbour: &'a Harbour, machine: &'a str, ours: &str) -> Drained<'a> {
    let drained = Drained { harbour, machine };
    let drain = [
        "drain",
        machine,
        "--pod-selector",
        ours,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--timeout=150s",
    ];
    harbour.namespace.kubectl(&drain).expect("its pods can go elsewhere");
    drained
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
    dana.upload("iris", "v2", models::read("iris-columns.onnx")).expect(201);

    let load = calls.begin(CALLERS, RATE);
    let passed = |what: &str| {
        let so_far = load.so_far();
        assert!(so_far.failures.is_empty(), "{what}: {so_far:?}");
    };
    let path = "/deployments/iris-on-kube";
    dana.patch(&format!("{path}?wait=30s"), json!({"version": "v2"}))
        .expect(200);
    passed("another version");
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
        let drained = drain(&harbour, machine, &ours);
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
    for failure in &lost.failures {
        let of_a_dead_peer = ["reset", "refused", "hung up", "end of file", "Broken pipe"];
        assert!(
            of_a_dead_peer.iter().any(|how| failure.contains(how)),
            "{:?}",
            lost.failures
        );
    }
    eventually("calls go on", || {
        load.so_far().answers > lost.answers + 5 * RATE as usize
    });
    let all = load.end();
    assert_eq!(all.failures, lost.failures, "with the pod back nothing fails");
    tell(&format!(
        "{} calls; {} were lost with a pod that was killed",
        all.answers,
        lost.failures.len()
    ));
}
