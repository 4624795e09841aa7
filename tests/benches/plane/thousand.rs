//! A thousand deployments in one cluster: how long until it has all that they become, and what it costs to have nothing to do.
//!
//! The cluster is the one without nodes: a real API server and etcd, and nothing beside us that asks them anything.

use crate::usage::memory;
use acceptance::cluster::Cluster;
use acceptance::eventually::within;
use acceptance::harbour::Harbour;
use acceptance::{Figure, Report, json};
use std::thread;
use std::time::{Duration, Instant};

const DEPLOYMENTS: usize = 1_000;
/// Of each: ServiceAccount, Secret, NetworkPolicy, Service, Deployment, PodDisruptionBudget.
const OBJECTS: usize = 6 * DEPLOYMENTS;
const KINDS: &str = "deployments,secrets,services,serviceaccounts,networkpolicies,poddisruptionbudgets";
/// What was needed for a while is given back meanwhile.
const IDLE: Duration = Duration::from_secs(20);
/// For so long calls are counted.
const COUNTED: Duration = Duration::from_secs(30);
/// Against hanging.
const LIMIT: Duration = Duration::from_secs(600);

pub fn measure(report: &mut Report) {
    let Some(cluster) = Cluster::second() else { return };
    let mut harbour = Harbour::open(cluster, "thousand");
    for number in 0..DEPLOYMENTS {
        let body = json!({"name": format!("d{number}"), "service": "iris", "infrastructure": "kube", "version": "v1"});
        harbour.cast.dana.post("/deployments", body).expect(201);
    }
    let applied = |harbour: &Harbour| {
        harbour
            .cast
            .world
            .server
            .logged()
            .matches("an object was applied")
            .count()
    };
    let all_from = |harbour: &Harbour, before: usize| {
        within(LIMIT, "all is there", || applied(harbour) >= before + OBJECTS);
    };
    all_from(&harbour, 0);

    harbour.cast.world.server.kill();
    let ours = ["delete", KINDS, "-l", "castoff.dev/installation", "--wait=false"];
    harbour.namespace.kubectl(&ours).expect("they are there");
    let before = applied(&harbour);
    let begun = Instant::now();
    harbour.cast.world.server.launch();
    all_from(&harbour, before);
    let what = format!("{DEPLOYMENTS} deployments: from the start until the cluster has all {OBJECTS} objects");
    report.add(Figure::of(what, "s", begun.elapsed().as_secs_f64()).at_most(60.0));

    let before = applied(&harbour);
    harbour.cast.world.server.kill();
    harbour.cast.world.server.launch();
    thread::sleep(IDLE);
    let calls = asked(&harbour);
    thread::sleep(COUNTED);
    let calls = (asked(&harbour) - calls) / COUNTED.as_secs_f64();
    let written = applied(&harbour) - before;
    report.add(
        Figure::of(
            "objects written by a pass after which nothing has changed",
            "",
            written as f64,
        )
        .at_most(0.0),
    );
    report.add(
        Figure::of(
            "calls to the API server besides watches, while nothing changes",
            "/s",
            calls,
        )
        .at_most(1.0),
    );
    let memory = memory(harbour.cast.world.server.process().pid);
    report.add(
        Figure::of(
            format!("memory with {DEPLOYMENTS} deployments in a cluster"),
            "MB",
            memory,
        )
        .at_most(250.0),
    );
}

/// What the API server has been asked so far but for watches, by its own count, and for that count.
fn asked(harbour: &Harbour) -> f64 {
    let metrics = harbour
        .namespace
        .kubectl(&["get", "--raw", "/metrics"])
        .expect("it counts");
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("apiserver_request_total{"));
    let of_others = |line: &&str| !["verb=\"WATCH\"", "/metrics"].iter().any(|what| line.contains(what));
    let numbers = counted
        .filter(of_others)
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    numbers.sum()
}
