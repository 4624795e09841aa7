//! Several control planes by the chart, on a real database and a volume that all can write.

use super::super::drained::Drained;
use super::{Actor, Cluster, Namespace, Release, Value, json, new_key};
use acceptance::eventually::within;
use acceptance::load::{Load, Steady};
use acceptance::postgres::OwnServer;
use acceptance::{Request, scratch};
use std::os::unix::fs::chown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// As whom our images run.
const USER: u32 = 65532;
/// Callers of inference, each with a connection of its own, and calls a second of all together.
const CALLERS: u32 = 8;
const RATE: u32 = 200;
/// Between the calls of one caller: 50 a second of inference, 20 of REST.
pub(super) const INFERENCE: Duration = Duration::from_millis(20);
const REST: Duration = Duration::from_millis(50);
/// Between two keys that are revoked: a roll needs the cores, too.
const BREATH: Duration = Duration::from_millis(100);
const REPLICAS: usize = 3;
const NODES: u32 = 2;
const MACHINES: [&str; 2] = ["node-1", "node-2"];
/// The control planes of a namespace.
const SELECTOR: &str = "app.kubernetes.io/name=castoff";

/// A folder of this machine as the volume of a release, for as long as it is needed.
pub(super) struct SharedVolume<'a>(&'a Namespace);

impl<'a> SharedVolume<'a> {
    pub(super) fn new(namespace: &'a Namespace) -> Self {
        let folder = scratch::subfolder("shared");
        chown(&folder, Some(USER), Some(USER)).expect("root makes the cluster");
        namespace.apply(&json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace.name},
            "spec": {
                "capacity": {"storage": "8Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": namespace.name,
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": folder, "type": "Directory"},
                "claimRef": {"namespace": namespace.name, "name": "castoff"},
            },
        }));
        Self(namespace)
    }
}

impl Drop for SharedVolume<'_> {
    fn drop(&mut self) {
        let gone = ["delete", "persistentvolume", &self.0.name, "--wait=false"];
        self.0.kubectl(&gone).ok();
    }
}

/// What helm is told of several replicas on this database and that volume. The URL, which has a password, stands in a file.
pub(super) fn told_of(namespace: &Namespace, url: &str, replicas: usize) -> Vec<String> {
    let values = scratch::subfolder("values").join("values.json");
    std::fs::write(&values, json!({"database": {"url": url}}).to_string()).expect("the values");
    let volume = format!(
        "persistence.accessMode=ReadWriteMany,persistence.storageClass={}",
        namespace.name
    );
    let exposed = format!("replicas={replicas},http.exposed=true,http.insecure=true");
    let values = values.to_str().expect("a path");
    ["--values", values, "--set", &volume, "--set", &exposed]
        .map(str::to_owned)
        .to_vec()
}

pub(super) fn address(namespace: &Namespace, service: &str) -> String {
    let service = namespace.get(&format!("service/{service}")).expect("it is there");
    service["spec"]["clusterIP"].as_str().expect("an address").to_owned()
}

/// How it went with a node's line, by its own count.
#[derive(Debug, PartialEq)]
struct Line {
    /// How often it was away.
    gaps: u64,
    /// How often it went from a control plane that was about to end to another one.
    moves: u64,
    is_there: bool,
}

/// The lines of the nodes of iris.
fn lines(namespace: &Namespace) -> Vec<Line> {
    let path = "jsonpath={.items[*].status.podIP}";
    let pods = ["get", "pods", "-l", "castoff.dev/installation", "-o", path];
    let addresses = namespace.kubectl(&pods).expect("kubectl lists");
    let line = |address: &str| {
        let metrics = Request::get(format!("http://{address}:8002/metrics")).send();
        let metrics = metrics.expect(200).text();
        let count = |metric: &str| {
            let number = metrics
                .lines()
                .find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
            number.map_or(0, |number| number.parse().expect("a count"))
        };
        Line {
            gaps: count("castoff_node_stream_gap_seconds_count"),
            moves: count("castoff_node_stream_moves_total"),
            is_there: count("castoff_node_on_line") == 1,
        }
    };
    addresses.split_whitespace().map(line).collect()
}

/// Keys are made and revoked until told to stop: each revocation must be acknowledged by every node. How many, and the
/// longest time in which one was.
fn revoked(admin: &Actor, stop: &AtomicBool) -> (usize, Duration) {
    let (mut count, mut longest) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        let key = new_key(admin, &format!("roll-{count}"));
        let path = format!("/deployments/iris-on-cluster/keys/{}/revoke?wait=30s", key.id);
        let receipt = admin.post(&path, json!({})).expect(200);
        assert_eq!(receipt["receipts"][0]["pending"], json!([]), "{}", receipt.text());
        let took = &receipt["receipts"][0]["elapsed_ms"];
        longest = longest.max(took.as_u64().expect("it says how long it took"));
        count += 1;
        thread::sleep(BREATH);
    }
    (count, Duration::from_millis(longest))
}

/// Every replica is replaced, and each machine drained of them, while programs call the model, people and pipelines call REST, and
/// keys are revoked.
#[test]
fn a_control_plane_that_is_rolled_fails_nobody() {
    let Some(cluster) = Cluster::there() else { return };
    // Machines of somebody's own cluster are not drained.
    if !cluster.is_ours() {
        return;
    }
    let Some((_postgres, url)) = OwnServer::start_at(&cluster.outside) else {
        return;
    };
    let namespace = Namespace::new(cluster, "replicas");
    let _volume = SharedVolume::new(&namespace);
    let release = Release::of(cluster, &namespace);
    let told = told_of(&namespace, &url, REPLICAS);
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    release.helm("install", &told);
    release.proves_itself();
    let rest = format!("http://{}:8400", address(&namespace, "castoff"));
    let admin = Actor::log_in(&rest, "admin", &release.password());
    let key = release.serves_iris(&admin, NODES);

    let model = format!("http://{}:8000", address(&namespace, "iris-on-cluster"));
    let inference = Load::of_iris(&model, &key);
    assert!(inference.is_taken(), "the Service leads to its pods");
    let bearer = format!("Bearer {}", admin.token());
    let listing = Load::get(
        &rest,
        "/api/v1/deployments",
        &[("authorization", &bearer)],
        "iris-on-cluster",
    );
    let before = ready_pods(&namespace);
    let (stop, started) = (AtomicBool::new(false), Instant::now());
    let (calls, lists, revocations) = thread::scope(|scope| {
        let calls = inference.begin(CALLERS, RATE);
        let lists = scope.spawn(|| listing.steadily(REST, &stop));
        let revocations = scope.spawn(|| revoked(&admin, &stop));
        // The callers end when this does, however it does.
        let moved = || {
            roll(&namespace, &before);
            MACHINES.iter().for_each(|machine| drain(&namespace, machine));
        };
        let rolled = thread::scope(|moving| moving.spawn(moved).join());
        stop.store(true, Ordering::SeqCst);
        rolled.expect("it is rolled");
        (
            calls.end(),
            lists.join().expect("lists"),
            revocations.join().expect("each revocation is acknowledged"),
        )
    });
    let took = started.elapsed();
    let lines = lines(&namespace);
    println!("rolled in {took:?}\ninference {calls:?}\nREST {lists:?}\n{lines:?}, revoked {revocations:?}");
    let fine = |steady: &Steady| steady.failures.is_empty() && steady.answers >= 10;
    assert!(fine(&calls) && fine(&lists), "inference {calls:?}\nREST {lists:?}");
    assert!(
        lists.connections >= 1,
        "whoever leaves sends its callers away first: {lists:?}"
    );
    assert!(revocations.0 > 0);
    let stayed = |line: &Line| line.is_there && line.gaps == 0 && line.moves > 0;
    assert!(lines.len() == NODES as usize && lines.iter().all(stayed), "{lines:?}");
}

/// Replaces every pod, and waits until none of those before is there.
fn roll(namespace: &Namespace, before: &[String]) {
    namespace
        .kubectl(&["rollout", "restart", "deployment/castoff"])
        .expect("it is there");
    namespace
        .kubectl(&["rollout", "status", "deployment/castoff", "--timeout=240s"])
        .expect("it is rolled");
    within(Duration::from_secs(120), "those before are gone", || {
        let now = ready_pods(namespace);
        match now.len() == REPLICAS && !now.iter().any(|pod| before.contains(pod)) {
            true => Ok(()),
            false => Err(format!("{now:?}")),
        }
    });
}

/// Sends all control planes away from a machine, and waits until as many as before are ready elsewhere.
fn drain(namespace: &Namespace, machine: &str) {
    let _drained = Drained::of(namespace, machine, SELECTOR);
    namespace
        .kubectl(&["rollout", "status", "deployment/castoff", "--timeout=240s"])
        .expect("they run elsewhere");
    let left = pods(namespace)
        .into_iter()
        .filter(|pod| pod["spec"]["nodeName"] == machine);
    assert_eq!(left.count(), 0, "on {machine}");
}

pub(super) fn ready_pods(namespace: &Namespace) -> Vec<String> {
    let pods = pods(namespace);
    let ids = pods.iter().map(|pod| pod["metadata"]["uid"].as_str());
    ids.map(|id| id.expect("an id").to_owned()).collect()
}

/// The pods of control planes.
pub(super) fn pods(namespace: &Namespace) -> Vec<Value> {
    let selector = ["get", "pods", "-l", SELECTOR, "-o", "json"];
    let pods = namespace.kubectl(&selector).expect("kubectl lists");
    let pods: Value = serde_json::from_str(&pods).expect("JSON");
    pods["items"].as_array().expect("a list").clone()
}
