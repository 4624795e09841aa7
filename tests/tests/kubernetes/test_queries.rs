//! Test queries of packages, in pods.

use super::{Harbour, call};
use crate::test_queries::{SAID, package, right, wrong};
use acceptance::cluster::{Cluster, Forward};
use acceptance::{eventually, json};

/// Pods that answer wrongly keep the version of before, and a new one takes no calls. Both until somebody rolls back.
#[test]
fn pods_that_answer_wrongly_take_no_new_version_over() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "queries");
    harbour.deploy(json!({"replicas": 2}));
    let key = harbour.key("kept");
    let dana = &harbour.cast.dana;
    dana.upload("iris", "v2", package(&wrong())).expect(201);
    dana.upload("iris", "v3", package(&right())).expect(201);
    let route = |version: &str| {
        let path = "/deployments/iris-on-kube?wait=0s";
        dana.patch(path, json!({"version": version})).expect_any(&[200, 202]);
    };
    route("v2");
    harbour.says("kube", &format!("2 nodes ready: {SAID}"));
    let ours = "castoff.dev/installation";
    let pods = harbour.namespace.kubectl(&["get", "pods", "-l", ours, "-o", "name"]);
    let pods = pods.expect("they are there");
    let first = pods.lines().next().expect("a pod");
    harbour.namespace.kubectl(&["delete", first]).expect("it is there");
    harbour.says("kube", &format!("1 of 2 nodes ready: {SAID}"));
    let at = Forward::to(&harbour.namespace, "service/iris-on-kube", 8000);
    assert_eq!(call(&at.url, Some(&key)), 200);
    drop(at);
    dana.post("/deployments/iris-on-kube/rollback", json!({"to": 1}))
        .expect_any(&[200, 202]);
    harbour.says("kube", "2 nodes ready");
    route("v3");
    eventually("it is over", || {
        let status = dana.get("/deployments/iris-on-kube/status").expect(200);
        let newest = &status["config"];
        let nodes = status["nodes"].as_array().expect("nodes");
        let is_over = status["message"] == "2 nodes ready" && nodes.iter().all(|node| node["acked"] == *newest);
        is_over.then_some(()).ok_or_else(|| status.text())
    });
}
