//! Addresses that are others than was thought: of a cluster that has moved, and of the control plane as its pods know it.

use super::{Harbour, small};
use acceptance::cluster::{Cluster, Namespace};
use acceptance::proxy::{Front, Gate};
use acceptance::{Cast, Database, World, json, ports, scratch};

/// A cluster whose API server has another address than before is the same one where its admin says so: no pod is replaced, and
/// what is changed then is brought about. By itself another address is another cluster, whose pods would be left behind.
#[test]
fn a_cluster_that_has_moved_keeps_its_deployments() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "moved");
    let admin = &harbour.cast.admin;
    harbour.deploy(json!({"replicas": 1}));
    let before = harbour.uids();
    let gate = Gate::before(&harbour.namespace, &harbour.namespace.kubeconfig(admin));
    let path = "/infrastructures/kube";
    let refused = admin.patch(path, json!({"kubeconfig": gate.kubeconfig})).expect(409);
    assert!(refused.text().contains("same_cluster"), "{}", refused.text());
    let refused = admin.patch(path, json!({"same_cluster": true})).expect(422);
    assert_eq!(refused["errors"][0]["pointer"], "/same_cluster");
    let elsewhere = json!({"same_cluster": true, "kubeconfig": gate.kubeconfig, "kubernetes": {"namespace": "other"}});
    admin.patch(path, elsewhere).expect(409);

    let file = scratch::subfolder("moved").join("castoff.yaml");
    std::fs::write(&file, &gate.kubeconfig).expect("a file");
    let file = file.to_str().expect("a path");
    let set = ["infra", "set", "kube", "--kubeconfig", file, "--same-cluster"];
    admin.cli(set).expect(0);
    let key = harbour.key("after the move");
    let receipt = harbour
        .cast
        .dana
        .post(
            &format!("/deployments/iris-on-kube/keys/{}/revoke?wait=30s", key.id),
            json!({}),
        )
        .expect(200);
    assert_eq!(
        receipt["receipts"][0]["durable_copy_written"],
        true,
        "{}",
        receipt.text()
    );
    harbour.stands("running");
    assert_eq!(harbour.uids(), before);
    let audit = admin.get("/audit").expect(200);
    assert!(audit.text().contains("\"same_cluster\":true"), "{}", audit.text());

    // It is really the new address by which it is reached.
    gate.open(false);
    let path = "/deployments/iris-on-kube";
    let scale = json!({"scale": {"replicas": 2}});
    harbour.cast.dana.patch(path, scale).expect(200);
    harbour.says("kube", "the cluster cannot be reached");
    assert_eq!(harbour.uids(), before);
    gate.open(true);
    harbour.stands("running");
}

/// Pods dial the control plane where the infrastructure says, and believe the authority that it names: here what ends TLS in front
/// of a control plane that has none. Its policy lets them out to there.
#[test]
fn pods_dial_where_their_infrastructure_says() {
    let Some(cluster) = Cluster::there() else { return };
    let listening = format!("127.0.0.1:{}", ports::range().0);
    let image = cluster.image("castoff-node");
    let arguments = ["--node-listen", &listening, "--node-image", &image];
    let cast = Cast::gather(World::start_with(Database::Sqlite, &arguments));
    cast.iris();
    let harbour = Harbour {
        namespace: Namespace::new(cluster, "dialled"),
        cast,
        dialled: listening.clone(),
    };
    harbour.open_namespace();
    let front = Front::before(&cluster.outside, &listening);
    let dialled = json!({"url": front.url, "ca": front.authority});
    harbour.set(json!({"control_plane": dialled, "resources": small()}));
    // As long as a name may be.
    let name = format!("iris-{}-end", "x".repeat(63 - "iris--end".len()));
    let body = json!({"name": name, "service": "iris", "infrastructure": "kube", "version": "v1"});
    harbour.cast.dana.post("/deployments", body).expect(201);
    let path = format!("/deployments/{name}");
    acceptance::eventually("it runs", || {
        let status = harbour.cast.dana.get(&format!("{path}/status")).expect(200);
        match status["state"] == "running" {
            true => Ok(()),
            false => Err(status.text()),
        }
    });
    assert!(front.led() > 0);
    let made = harbour
        .cast
        .dana
        .post(&format!("{path}/keys?wait=30s"), json!({"name": "k"}))
        .expect(201);
    let receipt = &made["receipts"][0];
    assert_eq!(
        (&receipt["pending"], &receipt["durable_copy_written"]),
        (&json!([]), &json!(true)),
        "{}",
        made.text()
    );
    for kind in [
        "deployment",
        "secret",
        "service",
        "serviceaccount",
        "networkpolicy",
        "poddisruptionbudget",
    ] {
        harbour
            .namespace
            .get(&format!("{kind}/{name}"))
            .expect("by its name, whole");
    }
    harbour
        .cast
        .dana
        .post(&format!("{path}/disable"), json!({}))
        .expect(200);
    harbour.cast.dana.delete(&path).expect(204);
    acceptance::eventually("nothing is left", || {
        let left = harbour.objects();
        match left.is_empty() {
            true => Ok(()),
            false => Err(format!("{left:?}")),
        }
    });
}
