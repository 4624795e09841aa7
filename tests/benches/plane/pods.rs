//! How soon a revoked key is refused by the last of ten pods of a real cluster, and lies where new ones boot from.

use crate::nodes::{Caller, until_refused};
use acceptance::cluster::Cluster;
use acceptance::figure::quantile;
use acceptance::harbour::Harbour;
use acceptance::{Figure, Report, Value, json};
use castoff_control_plane::domain::Time;
use std::thread;
use std::time::Instant;

const PODS: usize = 10;
const KEYS: usize = 100;
const ROUNDS: usize = 100;

/// Seconds between what its node says of its config and what the cluster says of the pod, which tells whole seconds only.
fn until_ready(harbour: &Harbour, pod: &Value) -> f64 {
    let time = |text: &str| Time::parse(text).expect("a moment").ms();
    let name = pod["metadata"]["name"].as_str().expect("a name");
    let logged = harbour.namespace.kubectl(&["logs", name]).expect("it logs");
    let lines = logged.lines().filter_map(|line| line.parse::<Value>().ok());
    let in_force = lines.clone().find(|line| line["message"] == "config in force");
    let in_force = time(in_force.expect("it is")["timestamp"].as_str().expect("a text"));
    let conditions = pod["status"]["conditions"].as_array().expect("a list");
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    let ready = time(ready.expect("it is")["lastTransitionTime"].as_str().expect("a text"));
    (ready - in_force).max(0) as f64 / 1e3
}

/// Pods are asked by their own addresses, in turn, on connections that stay.
pub fn measure(report: &mut Report) {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "bench");
    harbour.deploy(json!({"replicas": PODS}));
    for number in 1..KEYS {
        harbour.key(&format!("kept-{number}"));
    }
    let pods = harbour.namespace.get("pods").expect("kubectl lists");
    let addresses = pods["items"].as_array().expect("a list").iter().map(|pod| {
        let address = pod["status"]["podIP"].as_str().expect("it runs");
        format!("http://{address}:8000")
    });
    let waited = pods["items"].as_array().expect("a list").iter();
    let longest = waited.map(|pod| until_ready(&harbour, pod)).fold(0.0, f64::max);
    let what =
        format!("from a pod's config in force, models loaded, until it is ready, the longest of {PODS}, to the second");
    report.add(Figure::of(what, "s", longest).at_most(2.0));
    let mut callers: Vec<Caller> = addresses.map(|url| Caller::of(&url)).collect();
    assert_eq!(callers.len(), PODS);
    let (mut refused, mut receipts) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    for round in 0..ROUNDS {
        // The receipt of a new key says that every pod has it.
        let key = harbour.key(&format!("revoked-{round}"));
        let path = format!("/deployments/iris-on-kube/keys/{}/revoke?wait=10s", key.id);
        let started = Instant::now();
        let receipt = thread::scope(|scope| {
            let revoking = scope.spawn(|| {
                let receipt = harbour.cast.dana.post(&path, json!({})).expect(200);
                assert_eq!(
                    receipt["receipts"][0]["durable_copy_written"], true,
                    "the Secret has it"
                );
                started.elapsed()
            });
            until_refused(&mut callers, &key.key, started);
            refused.push(started.elapsed().as_secs_f64() * 1e3);
            revoking.join().expect("it is revoked")
        });
        receipts.push(receipt.as_secs_f64() * 1e3);
    }
    let what = format!("revoke until the last of {PODS} pods refuses, p99 of {ROUNDS}");
    report.add(Figure::of(what, "ms", quantile(&refused, 0.99)).at_most(100.0));
    report.add(Figure::of("the same, p50", "ms", quantile(&refused, 0.5)));
    let what = "revoke until the receipt: in force in all pods, and in the Secret, p99";
    report.add(Figure::of(what, "ms", quantile(&receipts, 0.99)));
    report.add(Figure::of("the same, p50", "ms", quantile(&receipts, 0.5)));
}
