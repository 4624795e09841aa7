//! What a deployment's status says of pods that are made and do not serve, in the cluster's words and in ours.

use super::Harbour;
use acceptance::cluster::{Cluster, processes_of};
use acceptance::eventually::within;
use acceptance::faketime::Faketime;
use acceptance::{Database, Value, eventually, json, scratch};
use std::time::Duration;

/// What a kubelet or we look at once in a while.
const LONG: Duration = Duration::from_secs(240);

fn status(harbour: &Harbour) -> Value {
    let status = harbour.cast.dana.get("/deployments/iris-on-kube/status").expect(200);
    serde_json::from_str(&status.text()).expect("JSON")
}

/// Waits until the status says all of this.
#[track_caller]
fn says(harbour: &Harbour, parts: &[&str]) {
    within(LONG, "its status says so", || {
        let said = status(harbour)["message"].as_str().expect("a text").to_owned();
        match parts.iter().all(|part| said.contains(part)) {
            true => Ok(()),
            false => Err(said),
        }
    });
}

/// Waits until the status says none of this.
#[track_caller]
fn says_no_more(harbour: &Harbour, part: &str) {
    within(LONG, "its status does not say so any more", || {
        let said = status(harbour)["message"].as_str().expect("a text").to_owned();
        match said.contains(part) {
            true => Err(said),
            false => Ok(()),
        }
    });
}

fn create(harbour: &Harbour) {
    let body = json!({"service": "iris", "infrastructure": "kube", "version": "v1", "scale": {"replicas": 1}});
    harbour.cast.dana.post("/deployments", body).expect(201);
}

/// A pod that runs and whose node never comes; and what its node is called when it does.
#[test]
fn a_node_that_does_not_come_is_told_of() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "unheard");
    let nowhere = format!("https://{}:1", cluster.outside);
    harbour.set(json!({"control_plane": {"url": nowhere}}));
    create(&harbour);
    says(
        &harbour,
        &[
            "runs, but its node has not reached the control plane",
            "kubernetes.control_plane",
        ],
    );
    assert!(
        !status(&harbour).to_string().contains(&nowhere),
        "for who administers it"
    );
    harbour.set(json!({"control_plane": null}));
    let deleted = ["delete", "pods", "-l", "castoff.dev/installation", "--wait"];
    harbour.namespace.kubectl(&deleted).expect("they are there");
    harbour.stands("running");
    says_no_more(&harbour, "has not reached");
    let names = harbour.pod_names();
    let name = names.first().expect("a pod");
    eventually("its name is known", || {
        match status(&harbour)["nodes"][0]["pod"].as_str() {
            Some(said) if said == name => Ok(()),
            _ => Err(status(&harbour).to_string()),
        }
    });
    let table = harbour.cast.dana.cli(["status", "iris-on-kube"]).expect(0).out;
    assert!(table.contains("POD") && table.contains(name), "{table}");
}

/// A pod that keeps more than it may is ended by its machine; and what would do so is not taken.
#[test]
fn a_pod_that_its_machine_ends_says_why() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "evicted");
    harbour.set(json!({"packages": "1Mi"}));
    harbour.deploy(json!({"replicas": 1}));
    let uids = harbour.uids();
    let found = processes_of(uids.first().expect("a pod"), "castoff-node");
    let [process] = found[..] else {
        assert!(!cluster.is_here(), "its nodes are on this machine: {found:?}");
        return;
    };
    let packages = format!("/proc/{}/root/var/cache/castoff/too-much", process.pid);
    std::fs::write(packages, vec![1; 3 << 20]).expect("root may");
    says(
        &harbour,
        &["has ended it (Evicted)", "EmptyDir", "raise kubernetes.packages"],
    );
    // Another one takes its place, and for a while both are said.
    harbour.stands("running");
    says(&harbour, &["1 node ready", "has ended it (Evicted)"]);
}

/// What a machine cannot make of a pod stands in events of the cluster only.
#[test]
fn a_pod_that_its_machine_does_not_make_says_why() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "unmade");
    let class = harbour.namespace.name.clone();
    harbour.namespace.apply(&json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": class}, "handler": "not-there",
    }));
    harbour.set(json!({"placement": {"runtime_class": class}, "rollout": "recreate"}));
    create(&harbour);
    says(
        &harbour,
        &[
            "is not made by its machine: FailedCreatePodSandBox",
            "kubernetes.placement.runtime_class",
        ],
    );
    harbour.set(json!({"placement": {"runtime_class": null}}));
    harbour.stands("running");
    says_no_more(&harbour, "FailedCreatePodSandBox");
    harbour
        .namespace
        .kubectl(&["delete", "runtimeclass", &class])
        .expect("it is there");
}

/// A LimitRange is no matter of permissions: it says which of our settings it is about.
#[test]
fn a_limit_range_names_the_setting() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "limited");
    harbour.namespace.apply(&json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "128Mi"}}]},
    }));
    let check = harbour.cast.admin.cli(["infra", "check", "kube"]).expect(1).out;
    assert!(check.contains("lower resources.memory_limit"), "{check}");
    assert!(!check.contains("lacks a permission"), "{check}");
    create(&harbour);
    says(
        &harbour,
        &[
            "maximum memory usage per Container is 128Mi",
            "lower resources.memory_limit",
        ],
    );
    harbour
        .namespace
        .kubectl(&["delete", "limitrange/small"])
        .expect("it is there");
    harbour.set(json!({"labels": {"tried": "again"}}));
    harbour.stands("running");
    harbour.cast.admin.cli(["infra", "check", "kube"]).expect(0);
}

/// A token that cannot be exchanged is told before it ends, and so is a clock that is not the cluster's.
#[test]
fn a_token_that_is_not_renewed_and_a_clock_that_is_off_are_told() {
    let Some(cluster) = Cluster::there() else { return };
    let clock = Faketime::new(&scratch::subfolder("clock"));
    let environment = clock.environment();
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let harbour = Harbour::on(cluster, "unrenewed", Database::Sqlite, &environment);
    harbour.open_namespace();
    let check = || harbour.cast.admin.cli(["infra", "check", "kube"]);
    let works = check().expect(0).out;
    assert!(
        works.contains("serviceaccounts/token") && works.contains("agrees with Castoff's"),
        "{works}"
    );
    let role = harbour.namespace.get("role/castoff").expect("the manifest made it");
    let mut without = json!({"apiVersion": role["apiVersion"], "kind": "Role", "metadata": {"name": "castoff"}});
    let is_other =
        |rule: &&Value| !["serviceaccounts/token", "events"].contains(&rule["resources"][0].as_str().expect("one"));
    let rules = role["rules"].as_array().expect("rules").iter().filter(is_other);
    without["rules"] = rules.cloned().collect();
    harbour.namespace.apply(&without);
    harbour.deploy(json!({"replicas": 1}));
    let refused = check().expect(1).out;
    assert!(
        refused.contains("account castoff may not create one: apply what"),
        "{refused}"
    );
    assert!(refused.contains("why a pod is not made is not said"), "{refused}");
    clock.turn_by(Duration::from_secs(13 * 3_600));
    says(
        &harbour,
        &[
            "token by which Castoff enters the cluster is not renewed",
            "castoff infra manifest",
        ],
    );
    let off = "the clock of the cluster is about 13 h behind";
    assert!(check().expect(1).out.contains(off));
    harbour.namespace.kubeconfig(&harbour.cast.admin);
    says_no_more(&harbour, "is not renewed");
    says(&harbour, &[off, "have NTP set both"]);
    let nodes = status(&harbour)["nodes"].to_string();
    assert!(nodes.contains("the clock of this node is about 13 h behind"), "{nodes}");
}

/// What somebody does to our objects is put right, and told.
#[test]
fn what_is_put_right_is_told() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "mended");
    harbour.deploy(json!({"replicas": 1}));
    let events = harbour.cast.dana.request("GET", "/deployments/iris-on-kube/events");
    let events = events.header("last-event-id", "0").stream();
    let theirs = r#"{"data":{"config":"bm90IG91cnM="}}"#;
    let edit = [
        "patch",
        "secret/iris-on-kube",
        "-p",
        theirs,
        "--field-manager",
        "mallory",
    ];
    harbour.namespace.kubectl(&edit).expect("it is there");
    eventually("the edit is told", || {
        events
            .text()
            .contains("Secret iris-on-kube was changed by somebody else (field manager mallory)")
    });
    harbour
        .namespace
        .kubectl(&["delete", "service/iris-on-kube"])
        .expect("it is there");
    eventually("the deletion is told", || {
        events
            .text()
            .contains("Service iris-on-kube was deleted by somebody else, and is made anew")
    });
    harbour
        .cast
        .dana
        .post("/deployments/iris-on-kube/disable", json!({}))
        .expect(200);
    eventually("its pods go", || harbour.objects() == ["service/iris-on-kube"]);
    harbour
        .cast
        .dana
        .post("/deployments/iris-on-kube/enable", json!({}))
        .expect(200);
    harbour.stands("running");
    let told = events.text().matches("event: put-right").count();
    assert_eq!(told, 2, "what we take away ourselves is not told: {}", events.text());
}
