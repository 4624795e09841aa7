//! Pods by what they have to do.

use super::{Harbour, call};
use acceptance::cluster::Cluster;
use acceptance::edge::Key;
use acceptance::eventually::within;
use acceptance::{Request, eventually, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The autoscaler looks every 5 s at figures of the last 15 s, and a connection lives for up to 66 s.
const LIMIT: Duration = Duration::from_secs(240);

/// As many as there are stay when their number becomes the autoscaler's: not named any more, it would fall back to one.
#[test]
fn an_autoscaler_takes_over_as_many_pods_as_there_are() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "handover");
    harbour.deploy(json!({"replicas": 3}));
    let before = harbour.uids();
    let scale = json!({"replicas": 3, "autoscaling": {"min": 1, "max": 4, "cpu_percent": 80}});
    let path = "/deployments/iris-on-kube";
    harbour.cast.dana.patch(path, json!({"scale": scale})).expect(200);
    let own = format!(
        "castoff-{}",
        harbour
            .field("service", "/metadata/labels/castoff.dev~1installation")
            .expect("ours")
    );
    eventually("the number is not ours any more", || {
        let deployment = harbour.namespace.get("deployment/iris-on-kube");
        harbour.namespace.get("horizontalpodautoscaler/iris-on-kube")?;
        let fields =
            harbour
                .namespace
                .kubectl(&["get", "deployment/iris-on-kube", "--show-managed-fields", "-o", "json"])?;
        let object: acceptance::Value = serde_json::from_str(&fields).map_err(|error| error.to_string())?;
        let managers = object["metadata"]["managedFields"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ours = managers.iter().find(|fields| fields["manager"] == own.as_str());
        match ours.is_some_and(|ours| ours["fieldsV1"]["f:spec"]["f:replicas"].is_null()) {
            true => deployment.map(drop),
            false => Err(format!("{managers:?}")),
        }
    });
    assert_eq!(harbour.field("deployment", "/spec/replicas"), Ok("3".to_owned()));
    assert_eq!(harbour.uids(), before, "the same three");

    // And back: the number is the deployment's again.
    harbour
        .cast
        .dana
        .patch(path, json!({"scale": {"replicas": 2}}))
        .expect(200);
    eventually("as many as the deployment says", || harbour.uids().len() == 2);
    harbour
        .namespace
        .get("horizontalpodautoscaler/iris-on-kube")
        .expect_err("it is gone");
}

/// Load makes one pod three, each of them gets its share of it and of the rate limits, and they go when there is nothing to
/// do; no call fails.
#[test]
fn load_brings_pods_and_its_end_takes_them_away() {
    let Some(cluster) = Cluster::there() else { return };
    // The metrics of somebody's own cluster are theirs.
    if !cluster.is_ours() {
        return;
    }
    cluster.apply_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/metrics.yaml"));
    let harbour = Harbour::open(cluster, "scaling");
    let autoscaling = json!({"min": 1, "max": 3, "cpu_percent": 50, "scale_down_s": 5});
    // Of so little that any load is more.
    let resources = json!({"cpu": "50m", "memory": "64Mi", "cpu_limit": "1", "memory_limit": "256Mi"});
    harbour.deploy(json!({"autoscaling": autoscaling, "resources": resources}));
    let key = harbour.key("steady");
    let Some(calls) = harbour.calls(&key) else { return };
    let load = calls.begin(8, 200);
    within(LIMIT, "three pods", || ready_pods(&harbour, 3));
    within(LIMIT, "each of them has calls", || {
        let served = served(&harbour)?;
        match served.len() == 3 && served.values().all(|calls| *calls > 100) {
            true => Ok(()),
            false => Err(format!("{served:?}")),
        }
    });
    within(LIMIT, "each of them keeps its share of the limits", || {
        shared_by(&harbour, 3)
    });
    let let_in: BTreeMap<_, _> = limited(&harbour, 6);
    assert!(
        let_in.len() == 3 && let_in.values().all(|calls| *calls == 2),
        "{let_in:?}"
    );
    let steady = load.end();
    assert!(steady.failures.is_empty(), "{steady:?}");
    // A little goes on, on connections to all of them, so that pods which leave would be noticed: so little that one pod is enough.
    let rest = calls.begin(8, 2);
    within(LIMIT, "one pod again", || ready_pods(&harbour, 1));
    within(LIMIT, "it has the limits for itself", || shared_by(&harbour, 1));
    let steady = rest.end();
    assert!(steady.failures.is_empty(), "{steady:?}");
}

fn ready_pods(harbour: &Harbour, count: usize) -> Result<(), String> {
    let status = harbour.cast.dana.get("/deployments/iris-on-kube/status").expect(200);
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    let ready = nodes.iter().filter(|node| node["state"] == "ready").count();
    match (ready, nodes.len()) == (count, count) {
        true => Ok(()),
        false => Err(status.text()),
    }
}

/// How many calls each pod lets in with a key that may be used so often an hour, of as many as all of them together may.
fn limited(harbour: &Harbour, most: usize) -> BTreeMap<String, usize> {
    let limit = json!({"requests": most, "seconds": 3_600});
    let body = json!({"name": "limited", "rate_limit": limit});
    let path = "/deployments/iris-on-kube/keys?wait=30s";
    let made = harbour.cast.dana.post(path, body).expect(201);
    let key = Key {
        id: made.string("/id"),
        key: made.string("/key"),
    };
    let pods = addresses(harbour).expect("kubectl lists");
    let let_in = |address: &str| {
        let asked = (0..most).map(|_| call(&format!("http://{address}:8000"), Some(&key)));
        asked.filter(|status| *status == 200).count()
    };
    pods.iter()
        .map(|(name, address)| (name.clone(), let_in(address)))
        .collect()
}

/// The pods' addresses, by name.
fn addresses(harbour: &Harbour) -> Result<BTreeMap<String, String>, String> {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.status.podIP}{\"\\n\"}{end}";
    let pods = ["get", "pods", "-l", "castoff.dev/installation", "-o", path];
    let pods = harbour.namespace.kubectl(&pods)?;
    let pairs = pods.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs
        .map(|(name, address)| (name.to_owned(), address.to_owned()))
        .collect())
}

/// Whether there are so many pods, and each knows it.
fn shared_by(harbour: &Harbour, count: usize) -> Result<(), String> {
    let told = counted(harbour, "castoff_node_limit_nodes ")?;
    match told.len() == count && told.values().all(|nodes| *nodes == count as u64) {
        true => Ok(()),
        false => Err(format!("{told:?}")),
    }
}

/// Calls that each pod has answered.
fn served(harbour: &Harbour) -> Result<BTreeMap<String, u64>, String> {
    counted(harbour, "castoff_node_calls_total")
}

/// What each pod counts: the sum of its figures that begin so.
fn counted(harbour: &Harbour, metric: &str) -> Result<BTreeMap<String, u64>, String> {
    let mut found = BTreeMap::new();
    for (name, address) in addresses(harbour)? {
        let metrics = Request::get(format!("http://{address}:8002/metrics"))
            .try_send()?
            .text();
        let figures = metrics.lines().filter(|line| line.starts_with(metric));
        let sum = figures
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>();
        found.insert(name, sum as u64);
    }
    Ok(found)
}
