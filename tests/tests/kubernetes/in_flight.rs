//! Pods by how many calls are inside them, which a metrics API of the cluster tells the autoscaler.

use super::Harbour;
use acceptance::cluster::Cluster;
use acceptance::eventually::within;
use acceptance::{Request, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The autoscaler looks every 5 s, and asks every half minute which metrics APIs there are.
const LIMIT: Duration = Duration::from_secs(240);
const DEPLOYMENT: &str = "/deployments/endless-on-kube";
const API: &str = "apiservice/v1beta2.custom.metrics.k8s.io";
/// More than four for each of the most pods that there may be.
const CALLERS: usize = 14;

/// Without a metrics API the status says what is missing. With one, calls that wait make one pod three, though the
/// processor is of no account, and their end makes it one again.
#[test]
fn calls_that_wait_bring_pods_and_their_end_takes_them_away() {
    let Some(cluster) = Cluster::there() else { return };
    if !cluster.is_ours() {
        return;
    }
    let harbour = Harbour::beside(cluster, "in-flight");
    harbour.cast.service("endless", "endless.onnx");
    harbour.open_namespace();
    // What an earlier run has left.
    let gone = ["delete", API, "--ignore-not-found", "--wait=true"];
    harbour.namespace.kubectl(&gone).expect("kubectl deletes");
    let autoscaling = json!({"min": 1, "max": 3, "in_flight": 4, "scale_down_s": 5});
    // One call at a time turns round and round, within a small limit; the others wait, until their deadline.
    let body = json!({
        "service": "endless", "infrastructure": "kube", "version": "v1",
        "scale": {"autoscaling": autoscaling, "resources": {"cpu": "10m", "memory": "64Mi", "cpu_limit": "300m", "memory_limit": "256Mi"}},
        "limits": {"sessions": 1, "queue": 40, "deadline_ms": 3000},
    });
    harbour.cast.dana.post("/deployments", body).expect(201);
    let message = || harbour.cast.dana.get(&format!("{DEPLOYMENT}/status")).expect(200);
    within(LIMIT, "the status says what is missing", || {
        let said = message().string("/message");
        let is_said = [
            "1 node ready",
            "not scaled by calls in flight",
            "castoff_node_in_flight of pods",
        ];
        is_said.iter().all(|part| said.contains(part)).then_some(()).ok_or(said)
    });

    cluster.apply_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/calls.yaml"));
    within(LIMIT, "nothing is missing any more", || {
        let said = message().string("/message");
        (said == "1 node ready").then_some(()).ok_or(said)
    });
    let made = harbour
        .cast
        .dana
        .post(&format!("{DEPLOYMENT}/keys?wait=20s"), json!({"name": "k"}));
    let key = made.expect(201).string("/key");
    let address = harbour.namespace.get("service/endless-on-kube").expect("a Service")["spec"]["clusterIP"].clone();
    let url = format!(
        "http://{}:8000/v2/models/endless/infer",
        address.as_str().expect("an address")
    );
    let over = AtomicBool::new(false);
    let answers = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(|| call(&url, &key, &over))).collect();
        let end = End(&over);
        within(LIMIT, "three pods", || pods(&harbour, 3));
        let shown = within(LIMIT, "the autoscaler shows the figure", || {
            let autoscaler = harbour.namespace.get("horizontalpodautoscaler/endless-on-kube")?;
            let figure = autoscaler["status"]["currentMetrics"][0]["pods"].clone();
            match figure["current"]["averageValue"].is_string() {
                true => Ok(figure),
                false => Err(autoscaler["status"].to_string()),
            }
        });
        assert_eq!(shown["metric"]["name"], "castoff_node_in_flight", "{shown}");
        drop(end);
        let mut all = BTreeMap::new();
        for caller in callers {
            for (answer, count) in caller.join().expect("a caller") {
                *all.entry(answer).or_insert(0) += count;
            }
        }
        all
    });
    // Each has waited for as long as it may.
    println!("{answers:?}");
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["504"], "{answers:?}");
    within(LIMIT, "one pod again", || pods(&harbour, 1));
    let said = message().string("/message");
    assert_eq!(said, "1 node ready");
}

/// Ends all calls when it goes, however it goes.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Calls again and again, and counts what came back.
fn call(url: &str, key: &str, over: &AtomicBool) -> BTreeMap<String, u32> {
    let input = json!({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}]});
    let mut answers = BTreeMap::new();
    while !over.load(Ordering::Relaxed) {
        let answer = Request::post(url).header("x-api-key", key).json(&input).try_send();
        let said = answer.map_or_else(|error| error, |answer| answer.status.to_string());
        *answers.entry(said).or_insert(0) += 1;
    }
    answers
}

fn pods(harbour: &Harbour, count: usize) -> Result<(), String> {
    let status = harbour.cast.dana.get(&format!("{DEPLOYMENT}/status")).expect(200);
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    let ready = nodes.iter().filter(|node| node["state"] == "ready").count();
    match (ready, nodes.len()) == (count, count) {
        true => Ok(()),
        false => Err(status.text()),
    }
}
