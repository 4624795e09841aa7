//! Several control planes by two values, a database and a number: where their packages lie, and what a claim that is there
//! already allows.

use super::replicas::named_pods;
use super::{Actor, Cluster, Namespace, Release, chart, json};
use acceptance::cluster::Forward;
use acceptance::eventually::within;
use acceptance::postgres::OwnServer;
use acceptance::{models, scratch};
use std::time::Duration;

/// A pod is replaced, or made, within this.
const LIMIT: Duration = Duration::from_secs(120);

/// What helm is told: the URL has a password, so it stands in a file.
fn database(url: &str) -> String {
    let values = scratch::subfolder("values").join("values.json");
    std::fs::write(&values, json!({"database": {"url": url}}).to_string()).expect("the values");
    values.to_str().expect("a path").to_owned()
}

/// Three are ready, hold the same packages, and go on answering while one of them dies.
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
    let deployment = namespace.get("deployment/castoff").expect("it is there");
    assert_eq!(deployment["status"]["readyReplicas"], 3);
    let pods = named_pods(&namespace);
    assert_eq!(pods.len(), 3, "{pods:?}");

    let doors = pods
        .iter()
        .map(|pod| Forward::to(&namespace, &format!("pod/{pod}"), 8400));
    let doors: Vec<Forward> = doors.collect();
    let admin = Actor::log_in(&doors[0].url, "admin", &release.password());
    admin.post("/services", json!({"name": "iris"})).expect(201);
    let package = models::read("iris-columns.onnx");
    admin.upload("iris", "v1", package.clone()).expect(201);
    let reads = |door: &Forward| {
        let other = Actor::with_token(&door.url, "admin", admin.token());
        let read = other.get("/services/iris/versions/v1/package").expect(200);
        assert!(read.body == package, "another package through {}", door.url);
    };
    doors.iter().for_each(reads);

    let kill = ["delete", "pod", &pods[0], "--grace-period=0", "--force", "--wait=false"];
    namespace.kubectl(&kill).expect("it is there");
    within(LIMIT, "another is in its place", || {
        // Those that live answer all the while.
        doors[1..].iter().for_each(reads);
        let status = namespace.get("deployment/castoff")?["status"].take();
        let is_replaced = !named_pods(&namespace).contains(&pods[0]);
        (is_replaced && status["readyReplicas"] == 3)
            .then_some(())
            .ok_or(status.to_string())
    });
    let others = named_pods(&namespace);
    let new = others.iter().find(|pod| !pods.contains(pod)).expect("one more");
    reads(&Forward::to(&namespace, &format!("pod/{new}"), 8400));
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
