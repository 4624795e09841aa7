//! On a real Kubernetes cluster.

use acceptance::cluster::{Cluster, Forward, Namespace, processes_of};
use acceptance::edge::Key;
use acceptance::{Database, Edge, Request, Value, World, eventually, json, models, ports, skipped};

/// What a node is given in a pod: root of nothing, a file system that it cannot write to, and no way up.
fn pod(image: &str) -> Value {
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": 8002}, "periodSeconds": 1});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "node", "labels": {"app": "node"}},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "node", "image": image, "imagePullPolicy": "IfNotPresent",
                "args": [
                    "--join", "/etc/castoff/join.json", "--data-dir", "/var/lib/castoff", "--packages", "/var/cache/castoff",
                    "--listen", "0.0.0.0:8000", "--ops-listen", "0.0.0.0:8002",
                ],
                "ports": [{"name": "http", "containerPort": 8000}, {"name": "ops", "containerPort": 8002}],
                "readinessProbe": probe("/readyz"), "livenessProbe": probe("/livez"),
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                },
                "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                "volumeMounts": [
                    {"name": "join", "mountPath": "/etc/castoff", "readOnly": true},
                    {"name": "data", "mountPath": "/var/lib/castoff"},
                    {"name": "packages", "mountPath": "/var/cache/castoff"},
                ],
            }],
            "volumes": [
                {"name": "join", "secret": {"secretName": "join", "defaultMode": 0o400}},
                {"name": "data", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
                {"name": "packages", "emptyDir": {"sizeLimit": "1Gi"}},
            ],
        },
    })
}

fn call(url: &str, key: Option<&Key>) -> u16 {
    let mut request = Request::post(format!("{url}/public/api/v1/iris/iris/predict")).json(&models::setosa());
    if let Some(key) = key {
        request = request.header("x-api-key", &key.key);
    }
    request.try_send().map_or(0, |answer| answer.status)
}

/// Nobody gives our image more than the strictest profile does, and it needs no more: it dials the control plane by TLS,
/// serves who has a key, obeys at once, and comes back from what lies in its pod when there is nobody to ask.
#[test]
fn a_node_in_a_pod_serves_obeys_and_comes_back_alone() {
    let Some(cluster) = Cluster::there() else { return };
    let dialled = format!("{}:{}", cluster.outside, ports::range().0);
    let url = format!("https://{dialled}");
    let arguments = ["--node-listen", dialled.as_str(), "--node-url", url.as_str()];
    let mut edge = Edge::of(World::with_cast_and(Database::Sqlite, &arguments));
    let (kept, revoked) = (edge.new_key("kept"), edge.new_key("revoked"));

    let namespace = Namespace::new(cluster, "pod");
    namespace.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "join"},
        "stringData": {"join.json": edge.join(&url).to_string()},
    }));
    namespace.apply(&pod(&cluster.image("castoff-node")));
    namespace.ready("node", 0);
    let at = Forward::to(&namespace, "pod/node", 8000);
    assert_eq!(
        [
            call(&at.url, None),
            call(&at.url, Some(&kept)),
            call(&at.url, Some(&revoked))
        ],
        [401, 200, 200]
    );

    let receipt = edge.revoke(&revoked, "?wait=30s");
    assert_eq!((receipt.status, &receipt["receipts"][0]["pending"]), (200, &json!([])));
    assert_eq!([call(&at.url, Some(&kept)), call(&at.url, Some(&revoked))], [200, 401]);

    edge.cast.world.server.kill();
    assert_eq!([call(&at.url, Some(&kept)), call(&at.url, Some(&revoked))], [200, 401]);
    let uid = namespace.get("pod/node").expect("the pod is there");
    let processes = processes_of(uid["metadata"]["uid"].as_str().expect("an id"), "castoff-node");
    let [process] = processes[..] else {
        let elsewhere = std::env::var_os("CI").is_none_or(|ci| ci != "true");
        assert!(elsewhere, "in CI the cluster is on this machine: {processes:?}");
        skipped(
            "in part",
            &format!("the pod's process is not on this machine: {processes:?}"),
        );
        return;
    };
    process.kill();
    namespace.ready("node", 1);
    let at = Forward::to(&namespace, "pod/node", 8000);
    eventually("it serves from what lies in its pod", || {
        call(&at.url, Some(&kept)) == 200
    });
    assert_eq!([call(&at.url, None), call(&at.url, Some(&revoked))], [401, 401]);
}

/// The namespaces of these tests refuse what they say they refuse, or nothing above would be shown by a pod's being taken.
#[test]
fn a_pod_that_wants_more_is_not_admitted() {
    let Some(cluster) = Cluster::there() else { return };
    let namespace = Namespace::new(cluster, "refused");
    for (why, path, value) in [
        (
            "runAsNonRoot != true",
            "/spec/securityContext/runAsNonRoot",
            json!(false),
        ),
        (
            "allowPrivilegeEscalation != false",
            "/spec/containers/0/securityContext/allowPrivilegeEscalation",
            json!(true),
        ),
        (
            "unrestricted capabilities",
            "/spec/containers/0/securityContext/capabilities",
            json!({}),
        ),
    ] {
        let mut pod = pod(&cluster.image("castoff-node"));
        *pod.pointer_mut(path).expect("it is there") = value;
        let refused = namespace.try_apply(&pod).expect_err(why);
        assert!(
            refused.contains("violates PodSecurity") && refused.contains(why),
            "{refused}"
        );
    }
    namespace.get("pod/node").expect_err("none of them is there");
}
