//! Several control planes by two values, a database and a number: where their packages lie, and what a claim that is there
//! already allows.

use super::certificates::serial;
use super::replicas::pods;
use super::{Actor, Cluster, Forward, Namespace, Release, call, chart, json};
use crate::secrets::marker::{Marker, Search};
use acceptance::eventually::within;
use acceptance::postgres::OwnServer;
use acceptance::{models, scratch};
use std::collections::BTreeSet;
use std::time::Duration;

/// A pod is replaced, or made, within this.
const LIMIT: Duration = Duration::from_secs(120);

/// What helm is told: the URL has a password, so it stands in a file.
fn database(url: &str) -> String {
    let values = scratch::subfolder("values").join("values.json");
    std::fs::write(&values, json!({"database": {"url": url}}).to_string()).expect("the values");
    values.to_str().expect("a path").to_owned()
}

/// Three are ready, hold the same packages, and go on answering while one of them dies or is sent away; an exposed REST shows
/// certificates of one authority, and no log has a secret.
#[test]
fn a_database_and_a_number_are_enough() {
    let Some(cluster) = Cluster::there() else { return };
    // Of whose default class a volume can be written by several pods.
    if !cluster.is_ours() {
        return;
    }
    let Some((_postgres, url)) = OwnServer::start_at(&cluster.outside) else {
        return;
    };
    let namespace = Namespace::new(cluster, "available");
    let release = Release::of(cluster, &namespace);
    release.helm("install", &["--values", &database(&url), "--set", "replicas=3"]);
    let claim = namespace.get("persistentvolumeclaim/castoff").expect("it is there");
    assert_eq!(claim["spec"]["accessModes"], json!(["ReadWriteMany"]));
    let pods = three(&namespace, &[]);

    let doors = pods
        .iter()
        .map(|pod| Forward::to(&namespace, &format!("pod/{pod}"), 8400));
    let doors: Vec<Forward> = doors.collect();
    let admin = Actor::log_in(&doors[0].url, "admin", &release.password());
    let key = release.serves_iris(&admin, 1);
    let deployment = admin.get("/deployments/iris-on-cluster").expect(200).string("/id");
    let deployment = deployment.parse().expect("a UUID");
    let package = models::read("iris-columns.onnx");
    let reads = |door: &Forward| {
        let other = Actor::with_token(&door.url, "admin", admin.token());
        let read = other.get("/services/iris/versions/v1/package").expect(200);
        assert!(read.body == package, "another package through {}", door.url);
    };
    doors.iter().for_each(reads);
    let model = Forward::to(&namespace, "service/iris-on-cluster", 8000);
    assert_eq!([call(&model.url, Some(&key)), call(&model.url, None)], [200, 401]);
    let mut logs = logged(&namespace);

    let kill = ["delete", "pod", &pods[0], "--grace-period=0", "--force", "--wait=false"];
    namespace.kubectl(&kill).expect("it is there");
    let now = within(LIMIT, "another is in its place", || {
        // Those that live answer all the while.
        doors[1..].iter().for_each(reads);
        try_three(&namespace, &pods[..1])
    });
    let new = now.iter().find(|pod| !pods.contains(pod)).expect("one more");
    reads(&Forward::to(&namespace, &format!("pod/{new}"), 8400));
    logs += &logged(&namespace);

    // One may be sent away at a time: the next one only when it is replaced.
    within(LIMIT, "one may go", || evict(&namespace, &pods[1]));
    let refused = evict(&namespace, &pods[2]).expect_err("one would be left");
    assert!(refused.contains("disruption budget"), "{refused}");
    within(LIMIT, "the next one may go", || evict(&namespace, &pods[2]));
    let others = three(&namespace, &pods);

    release.helm("upgrade", &["--reuse-values", "--set", "http.exposed=true"]);
    let pods = three(&namespace, &others);
    let trusted = scratch::subfolder("trusted").join("ca.crt");
    std::fs::write(&trusted, release.kept("ca.crt")).expect("a file");
    let shown = pods.iter().map(|pod| {
        let pod = format!("pod/{pod}");
        within(LIMIT, "a certificate is shown", || {
            serial(&namespace, &pod, 8400, "localhost", &trusted)
        })
    });
    let shown: BTreeSet<String> = shown.collect();
    assert_eq!(shown.len(), 3, "each has its own: {shown:?}");
    logs += &logged(&namespace);
    let password = url.split(['/', ':', '@']).nth(4).expect("it has one");
    let markers = vec![
        Marker::new("the database's password", password),
        Marker::new("the first password", &release.password()),
        Marker::new("the master key", &release.kept("master-key")),
        Marker::new("the access token", admin.token()),
        Marker::key("the key", &key.key, deployment),
    ];
    let mut search = Search::new(markers, &[]);
    search.look("the logs", &logs);
    assert!(search.leaks.is_empty(), "{:#?}", search.leaks);
}

/// The names of the three of a release, ready, none of them one of these before.
#[track_caller]
fn three(namespace: &Namespace, before: &[String]) -> Vec<String> {
    within(LIMIT, "three are ready", || try_three(namespace, before))
}

fn try_three(namespace: &Namespace, before: &[String]) -> Result<Vec<String>, String> {
    let pods = pods(namespace);
    let names: Vec<String> = pods
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .filter(|pod| pod["status"]["containerStatuses"][0]["ready"] == true)
        .map(|pod| pod["metadata"]["name"].as_str().expect("a name").to_owned())
        .collect();
    match names.len() == 3 && !names.iter().any(|pod| before.contains(pod)) {
        true => Ok(names),
        false => Err(format!("of {} pods {names:?} are ready", pods.len())),
    }
}

/// Asks the API server to send a pod away, as who drains a machine does.
fn evict(namespace: &Namespace, pod: &str) -> Result<(), String> {
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace.name},
    });
    let file = scratch::subfolder("eviction").join("eviction.json");
    std::fs::write(&file, eviction.to_string()).expect("a file");
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", namespace.name);
    let asked = ["create", "--raw", &path, "-f", file.to_str().expect("a path")];
    namespace.kubectl(&asked).map(drop)
}

/// All that the pods of the release and of its models have logged so far.
fn logged(namespace: &Namespace) -> String {
    let of = |selector: &str| {
        let logs = ["logs", "-l", selector, "--all-containers", "--prefix", "--tail", "-1"];
        namespace.kubectl(&logs).expect("they log")
    };
    let (control, models) = (of("app.kubernetes.io/name=castoff"), of("castoff.dev/installation"));
    assert!(!control.is_empty() && !models.is_empty());
    control + models.as_str()
}

/// A claim cannot change how it is mounted: what would have it changed, or have it shared by pods that cannot, is refused
/// with what to do, before anything is changed.
#[test]
fn a_claim_that_is_there_stays_as_it_is() {
    let Some(cluster) = Cluster::there() else { return };
    let namespace = Namespace::new(cluster, "claimed");
    let folder = chart();
    let folder = folder.to_str().expect("a path");
    let rendered = |set: &str| {
        let database = format!("database.url=postgres://db/c,{set}");
        namespace.helm(&["install", "castoff", folder, "--dry-run=server", "--set", &database])
    };
    let claim = |name: &str, mode: &str| {
        namespace.apply(&json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name, "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {
                    "meta.helm.sh/release-name": "castoff", "meta.helm.sh/release-namespace": namespace.name,
                },
            },
            "spec": {
                "accessModes": [mode], "storageClassName": namespace.name,
                "resources": {"requests": {"storage": "8Gi"}},
            },
        }));
    };
    claim("castoff", "ReadWriteOnce");
    claim("shared", "ReadWriteMany");
    let kept = rendered("replicas=1").expect("it stays as it is");
    assert!(kept.contains("accessModes: [\"ReadWriteOnce\"]"), "{kept}");
    // The pod before has the volume, perhaps on another machine.
    assert!(kept.contains("strategy: {type: Recreate}"), "{kept}");
    for (set, says) in [
        (
            "replicas=3",
            "would share the claim castoff, which is ReadWriteOnce for good",
        ),
        (
            "replicas=3,persistence.accessMode=ReadWriteMany",
            "would share the claim castoff, which is ReadWriteOnce for good",
        ),
        (
            "persistence.accessMode=ReadWriteMany",
            "the claim castoff is there, and is ReadWriteOnce for good",
        ),
    ] {
        let refused = rendered(set).expect_err(set);
        assert!(refused.contains(says), "{set}: {refused}");
    }
    let other = rendered("replicas=3,persistence.existingClaim=shared").expect("it can be shared");
    assert!(other.contains("claimName: shared"), "{other}");

    let gone = ["delete", "persistentvolumeclaim", "castoff", "--wait=true"];
    namespace.kubectl(&gone).expect("nobody mounts it");
    claim("castoff", "ReadWriteMany");
    // Of three that become one again.
    let kept = rendered("replicas=1").expect("it stays as it is");
    assert!(kept.contains("accessModes: [\"ReadWriteMany\"]"), "{kept}");
    assert!(kept.contains("type: RollingUpdate"), "{kept}");
}
