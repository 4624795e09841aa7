//! What is not what was meant: another cluster, one that says nothing, a namespace that goes or that another Castoff has, too.

use super::Harbour;
use acceptance::cluster::Cluster;
use acceptance::faketime::Faketime;
use acceptance::proxy::certified;
use acceptance::{Database, Value, eventually, json, models, scratch};
use std::net::TcpListener;
use std::time::Duration;

/// More than a cluster's certificates are made for.
const YEARS_AHEAD: Duration = Duration::from_secs(150 * 365 * 86_400);

/// Each stands in the status with what to do, and one that is slow keeps nothing else waiting.
#[test]
fn another_cluster_a_silent_one_and_a_namespace_that_goes_say_so() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::beside(cluster, "strangers");
    let kubeconfig: Value = serde_json::from_str(&harbour.namespace.kubeconfig(&harbour.cast.admin)).expect("JSON");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut told = kubeconfig.clone();
    told["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", silent.local_addr().expect("it listens")));
    harbour.infrastructure("silent", "models", &told.to_string());
    let path = "/deployments/iris-on-silent";
    let body = json!({"service": "iris", "infrastructure": "silent", "version": "v1"});
    harbour.cast.dana.post("/deployments", body).expect(201);

    let mut told = kubeconfig.clone();
    let (authority, _) = certified("127.0.0.1");
    told["clusters"][0]["cluster"]["certificate-authority-data"] = json!(models::base64(authority.as_bytes()));
    harbour.infrastructure("another", "models", &told.to_string());
    harbour.says("another", "does not vouch for");

    // One that goes cannot end while something in it is kept.
    harbour.namespace.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "kept", "finalizers": ["castoff.dev/test"]},
    }));
    let name = &harbour.namespace.name;
    harbour
        .namespace
        .kubectl(&["delete", "namespace", name, "--wait=false"])
        .expect("it is there");
    harbour.infrastructure("kube", name, &kubeconfig.to_string());
    harbour.says("kube", "the namespace is being deleted");
    let free = r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#;
    harbour
        .namespace
        .kubectl(&["patch", "configmap", "kept", "--type", "json", "-p", free])
        .expect("it is there");

    eventually("the silent one is given up for now", || {
        let status = harbour.cast.dana.get(&format!("{path}/status")).expect(200);
        match status.string("/message").contains("cannot be reached") {
            true => Ok(()),
            false => Err(status.text()),
        }
    });
}

/// A clock that is years ahead of the cluster's finds its certificate at an end.
#[test]
fn a_clock_that_is_wrong_is_named() {
    let Some(cluster) = Cluster::there() else { return };
    let clock = Faketime::new(&scratch::subfolder("clock"));
    let environment = clock.environment();
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut harbour = Harbour::on(cluster, "clock", Database::Sqlite, &environment);
    let kubeconfig = harbour.namespace.kubeconfig(&harbour.cast.admin);
    let server = &mut harbour.cast.world.server;
    assert_eq!(server.stop(), Some(0));
    clock.turn_by(YEARS_AHEAD);
    server.launch();
    harbour.infrastructure("kube", &harbour.namespace.name, &kubeconfig);
    harbour.says("kube", "set the clock of Castoff's machine or of the cluster right");
}

/// Of two installations in one namespace each leaves alone what is the other's, until its end.
#[test]
fn two_castoffs_in_one_namespace_leave_each_other_alone() {
    let Some(cluster) = Cluster::there() else { return };
    let one = Harbour::open(cluster, "shared");
    one.deploy(json!({"replicas": 1}));
    let pods = one.uids();
    let other = Harbour::beside(cluster, "guest");
    let kubeconfig = one.namespace.kubeconfig(&other.cast.admin);
    other.infrastructure("kube", &one.namespace.name, &kubeconfig);
    other.says("kube", "belongs to somebody else");
    let body = json!({"name": "theirs", "service": "iris", "infrastructure": "kube", "version": "v1"});
    other.cast.dana.post("/deployments", body).expect(201);
    eventually("it runs under another name", || {
        let status = other.cast.dana.get("/deployments/theirs/status").expect(200);
        match status["state"] == "running" {
            true => Ok(()),
            false => Err(status.text()),
        }
    });
    for name in ["theirs", "iris-on-kube"] {
        let path = format!("/deployments/{name}");
        other.cast.dana.post(&format!("{path}/disable"), json!({})).expect(200);
        other.cast.dana.delete(&path).expect(204);
    }
    eventually("its own is taken away, and nothing else", || {
        let gone = other.cast.admin.delete("/infrastructures/kube");
        match gone.status {
            204 => Ok(()),
            _ => Err(gone.text()),
        }
    });
    // A pod that has ended is still listed for a moment.
    eventually("the pods that were there, and no others", || one.uids() == pods);
    one.stands("running");
}

/// Somebody puts a container beside a node, as a service mesh does: its log stays readable, and what is wrong with the other
/// is said of that one. So it is with one that has to end before a node begins, and with one that is to go on beside it.
#[test]
fn a_container_beside_a_node_is_told_from_it() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "beside");
    harbour.deploy(json!({"replicas": 1}));
    let change = |of: &str, container: Value| {
        let patch = json!({"spec": {"template": {"spec": {of: [container]}}}}).to_string();
        let patch = ["patch", "deployment/iris-on-kube", "-p", &patch];
        harbour.namespace.kubectl(&patch).expect("others' fields stay");
    };
    // It ends at once: it is told nothing of what it has to know.
    let failing = |more: Value| {
        let mut container = json!({
            "name": "aside", "image": cluster.image("castoff-node"), "imagePullPolicy": "IfNotPresent",
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            "resources": small_limits(),
        });
        if let (Some(container), Value::Object(more)) = (container.as_object_mut(), more) {
            container.extend(more);
        }
        container
    };
    for (of, more, starts) in [
        ("containers", json!({}), 2),
        ("initContainers", json!({}), 1),
        ("initContainers", json!({"restartPolicy": "Always"}), 1),
    ] {
        change(of, failing(more));
        harbour.says("kube", "container aside of pod iris-on-kube-");
        harbour.says("kube", "keep it away by kubernetes.labels or kubernetes.annotations");
        eventually("the nodes' logs are there", || {
            let logs = harbour
                .cast
                .dana
                .get("/deployments/iris-on-kube/logs")
                .expect(200)
                .text();
            match logs.matches("node started").count() >= starts {
                true => Ok(()),
                false => Err(logs),
            }
        });
        change(of, json!({"name": "aside", "$patch": "delete"}));
        eventually("nothing is wrong any more", || {
            let status = harbour.cast.dana.get("/deployments/iris-on-kube/status").expect(200);
            match status.string("/message") == "1 node ready" {
                true => Ok(()),
                false => Err(status.text()),
            }
        });
    }
}

/// One that goes on beside a node and does not become ready keeps calls from the pod, and nobody else says so.
#[test]
fn a_container_beside_a_node_that_does_not_become_ready_is_told() {
    let Some(cluster) = Cluster::there().filter(|cluster| cluster.is_ours()) else {
        return;
    };
    let harbour = Harbour::open(cluster, "unready");
    harbour.deploy(json!({"replicas": 1}));
    // It does nothing at all, and nobody listens where it is asked.
    let container = json!({
        "name": "aside", "image": "localhost/pause:test", "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "runAsUser": 65532, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        },
        "resources": small_limits(), "readinessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 1},
    });
    let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}}).to_string();
    let patch = ["patch", "deployment/iris-on-kube", "-p", &patch];
    harbour.namespace.kubectl(&patch).expect("others' fields stay");
    harbour.says("kube", "container aside of pod iris-on-kube-");
    harbour.says("kube", "runs but is not ready, which keeps calls from the pod");
}

fn small_limits() -> Value {
    json!({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}})
}
