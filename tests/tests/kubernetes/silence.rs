//! A cluster that takes every question and answers none.

use super::Harbour;
use acceptance::cluster::Cluster;
use acceptance::eventually::within;
use acceptance::proxy::Gate;
use acceptance::{eventually, json};
use std::time::Duration;

const SAYS: &str = "the cluster cannot be reached: it has not answered for 30 s";

/// From the beginning, and after it has been seen: either stands in the status, and is over when it answers.
#[test]
fn a_cluster_that_says_nothing_is_told_of_and_seen_again() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::beside(cluster, "silence");
    let gate = Gate::before(&harbour.namespace, &harbour.namespace.kubeconfig(&harbour.cast.admin));
    gate.open(false);
    harbour.infrastructure("kube", &harbour.namespace.name, &gate.kubeconfig);
    harbour.says("kube", SAYS);
    gate.open(true);
    harbour.stands("running");

    gate.open(false);
    // It is asked once in half a minute, and given as long.
    within(Duration::from_secs(120), "nothing has changed, and it says so", || {
        let status = harbour.cast.dana.get("/deployments/iris-on-kube/status").expect(200);
        match status.string("/message").contains(SAYS) {
            true => Ok(()),
            false => Err(status.text()),
        }
    });
    gate.open(true);
    harbour.stands("running");
    let scale = json!({"scale": {"replicas": 2}});
    harbour.cast.dana.patch("/deployments/iris-on-kube", scale).expect(200);
    eventually("what happens in the cluster is heard again", || {
        let status = harbour.cast.dana.get("/deployments/iris-on-kube/status").expect(200);
        match status["state"] == "running" && status["nodes"].as_array().map(Vec::len) == Some(2) {
            true => Ok(()),
            false => Err(status.text()),
        }
    });
}
