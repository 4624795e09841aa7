//! What somebody does to our objects by hand, while a control plane acts and while none is there.

use super::{Harbour, small};
use acceptance::cluster::Cluster;
use acceptance::{Value, eventually, json};

const HOST: &str = "{deployment}.models.example";

/// A deployment that is scaled by load, in a cluster that knows every kind.
fn open(cluster: &'static Cluster, subject: &str, exposure: &Value) -> Harbour {
    cluster.define();
    let harbour = Harbour::open(cluster, subject);
    expose(&harbour, exposure);
    harbour.deploy(json!({"autoscaling": {"min": 1, "max": 2, "cpu_percent": 80}}));
    harbour
}

fn expose(harbour: &Harbour, exposure: &Value) {
    let namespace = &harbour.namespace.name;
    harbour.set(json!({"namespace": namespace, "resources": small(), "exposure": exposure}));
}

fn patch(harbour: &Harbour, kind: &str, op: &str, path: &str, value: &Value) {
    let patch = json!([{"op": op, "path": path, "value": value}]).to_string();
    let object = format!("{kind}/iris-on-kube");
    let patch = ["patch", &object, "--type=json", "-p", &patch];
    harbour.namespace.kubectl(&patch).expect("somebody may");
}

/// With no control plane there: what was added to what only Castoff decides is seen when one comes back, and nothing but that
/// is written. What others may add beside it stays.
#[test]
fn what_was_added_while_nobody_looked_is_put_right() {
    let Some(cluster) = Cluster::there() else { return };
    let mut harbour = open(cluster, "added", &json!({"kind": "ingress", "host": HOST}));
    let spec = |harbour: &Harbour, kind: &str| harbour.field(kind, "/spec");
    let applied = |harbour: &Harbour| {
        let log = harbour.cast.world.server.logged();
        log.matches("an object was applied").count()
    };
    let rule = json!({"host": "elsewhere.example", "http": {"paths": [{
        "path": "/", "pathType": "Prefix", "backend": {"service": {"name": "iris-on-kube", "port": {"number": 8000}}},
    }]}});
    let memory = json!({"type": "Resource", "resource": {
        "name": "memory", "target": {"type": "Utilization", "averageUtilization": 1},
    }});
    for (round, edits) in [
        vec![
            ("networkpolicy", "/spec/egress/-", json!({})),
            (
                "deployment",
                "/spec/template/spec/containers/0/args/-",
                json!("--never"),
            ),
            ("service", "/spec/selector/other", json!("pods")),
            ("horizontalpodautoscaler", "/spec/metrics/-", memory),
            ("ingress", "/spec/rules/-", rule),
        ],
        vec![(
            "networkpolicy",
            "/spec/ingress/0/ports/-",
            json!({"protocol": "TCP", "port": 9_999}),
        )],
        vec![(
            "networkpolicy",
            "/spec/podSelector/matchExpressions",
            json!([{"key": "never", "operator": "Exists"}]),
        )],
    ]
    .into_iter()
    .enumerate()
    {
        let ours: Vec<_> = edits.iter().map(|(kind, ..)| spec(&harbour, kind)).collect();
        harbour.cast.world.server.kill();
        for (kind, path, value) in &edits {
            patch(&harbour, kind, "add", path, value);
        }
        if round == 0 {
            patch(
                &harbour,
                "service",
                "add",
                "/spec/ports/-",
                &json!({"name": "theirs", "port": 9}),
            );
            patch(&harbour, "secret", "add", "/data/theirs", &json!("c3RheXM="));
        }
        let before = applied(&harbour);
        harbour.cast.world.server.launch();
        for ((kind, ..), ours) in edits.iter().zip(&ours) {
            eventually("it is as it was", || {
                let mut now = spec(&harbour, kind)?;
                if *kind == "service" && round == 0 {
                    let mut value: Value = serde_json::from_str(&now).map_err(|error| error.to_string())?;
                    value["ports"].as_array_mut().ok_or("it has ports")?.pop();
                    now = value.to_string();
                }
                match &now == ours.as_ref()? {
                    true => Ok(()),
                    false => Err(format!("{kind}: {now}")),
                }
            });
        }
        assert_eq!(applied(&harbour), before + edits.len(), "nothing else is written");
    }
    let ports = harbour.field("service", "/spec/ports").expect("it is there");
    assert!(ports.contains("theirs"), "{ports}");
    harbour.field("secret", "/data/theirs").expect("it stays");
    harbour.stands("running");
}

/// Somebody notes that the Secret is newer than it is, while a control plane acts and while none does: revocations reach it.
#[test]
fn what_is_noted_by_hand_keeps_no_revocation_away() {
    let Some(cluster) = Cluster::there() else { return };
    let mut harbour = Harbour::open(cluster, "noted");
    harbour.deploy(json!({"replicas": 1}));
    let (one, other) = (harbour.key("one"), harbour.key("other"));
    let note = |harbour: &Harbour| {
        let note = "castoff.dev/config-version=9.9";
        let note = ["annotate", "secret/iris-on-kube", "--overwrite", note];
        harbour.namespace.kubectl(&note).expect("it is there");
    };
    let revoke = |harbour: &Harbour, id: &str| {
        let path = format!("/deployments/iris-on-kube/keys/{id}/revoke?wait=20s");
        let receipt = harbour.cast.dana.post(&path, json!({})).expect(200)["receipts"][0].clone();
        assert_eq!(receipt["durable_copy_written"], true, "{receipt}");
        let noted = harbour.field("secret", "/metadata/annotations/castoff.dev~1config-version");
        assert_eq!(noted, Ok(format!("{}.{}", receipt["epoch"], receipt["version"])));
    };
    note(&harbour);
    revoke(&harbour, &one.id);
    harbour.cast.world.server.kill();
    note(&harbour);
    harbour.cast.world.server.launch();
    revoke(&harbour, &other.id);
}
