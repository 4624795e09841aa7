//! What somebody does to our objects by hand, while a control plane acts and while none is there.

use super::{Harbour, small};
use acceptance::cluster::Cluster;
use acceptance::eventually::within;
use acceptance::{Value, eventually, json};
use std::collections::BTreeSet;
use std::time::Duration;

const HOST: &str = "{deployment}.models.example";

/// A field of ours in an object of this kind, and what somebody writes there.
fn edit(kind: &str) -> (&'static str, Value) {
    match kind {
        "serviceaccounts" => ("/automountServiceAccountToken", json!(true)),
        "secrets" => ("/data/config", json!("bm90IG91cnM=")),
        "networkpolicies.networking.k8s.io" => ("/spec/egress", json!([{}])),
        "services" => ("/spec/selector", json!({"other": "pods"})),
        "deployments.apps" => ("/spec/template/spec/terminationGracePeriodSeconds", json!(1)),
        "poddisruptionbudgets.policy" => ("/spec/maxUnavailable", json!(2)),
        "horizontalpodautoscalers.autoscaling" => ("/spec/maxReplicas", json!(9)),
        "ingresses.networking.k8s.io" => ("/spec/rules/0/host", json!("elsewhere.example")),
        "httproutes.gateway.networking.k8s.io" => ("/spec/hostnames", json!(["elsewhere.example"])),
        other => panic!("{other}: say here what of it somebody could edit"),
    }
}

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

/// Edits an object and deletes it: each is put right.
fn is_put_right(harbour: &Harbour, kind: &str) {
    let (pointer, value) = edit(kind);
    let ours = harbour.field(kind, pointer).expect("it is there");
    let uid = || harbour.field(kind, "/metadata/uid");
    let is_ours = || match harbour.field(kind, pointer)? {
        found if found == ours => Ok(()),
        found => Err(format!("{kind}{pointer}: {found}")),
    };
    patch(harbour, kind, "replace", pointer, &value);
    eventually("what was edited is put right", is_ours);
    let before = uid();
    let object = format!("{kind}/iris-on-kube");
    harbour.namespace.kubectl(&["delete", &object]).expect("it is there");
    eventually("what was deleted is there again", || match uid() {
        Ok(now) if Ok(&now) != before.as_ref() => is_ours(),
        other => Err(format!("{kind}: {other:?}")),
    });
}

/// Every kind of object that Castoff makes; and in the end none of any kind is left.
#[test]
fn whatever_is_edited_or_deleted_is_put_right() {
    let Some(cluster) = Cluster::there() else { return };
    let route = json!({"kind": "http-route", "host": HOST, "gateway": "shared"});
    let harbour = open(cluster, "edited", &route);
    let kinds = || harbour.namespace.owned_kinds().expect("the manifest was applied");
    let is_there = |kind: &str| harbour.field(kind, "/metadata/name").is_ok();
    let mut done = BTreeSet::new();
    for exposure in [
        route,
        json!({"kind": "ingress", "host": HOST, "gateway": null, "gateway_namespace": null}),
    ] {
        expose(&harbour, &exposure);
        let leads_in = match exposure["kind"] == "ingress" {
            true => "ingresses.networking.k8s.io",
            false => "httproutes.gateway.networking.k8s.io",
        };
        eventually("it is exposed", || is_there(leads_in));
        for kind in kinds().into_iter().filter(|kind| is_there(kind)) {
            if done.insert(kind.clone()) {
                is_put_right(&harbour, &kind);
            }
        }
    }
    assert_eq!(done, kinds().into_iter().collect(), "every kind");
    harbour.stands("running");

    let objects = harbour.objects();
    for kind in ["ingress.networking.k8s.io/", "horizontalpodautoscaler.autoscaling/"] {
        assert!(objects.iter().any(|object| object.starts_with(kind)), "{objects:?}");
    }
    let dana = &harbour.cast.dana;
    dana.post("/deployments/iris-on-kube/disable", json!({})).expect(200);
    dana.delete("/deployments/iris-on-kube").expect(204);
    eventually("nothing is left", || {
        let left = harbour.try_objects()?;
        match left.is_empty() {
            true => Ok(()),
            false => Err(format!("{left:?}")),
        }
    });
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

/// Another controller that insists on a field of ours is named, and both write once a minute instead of for ever.
#[test]
fn whoever_insists_on_a_field_of_ours_is_named() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "duel");
    harbour.deploy(json!({"replicas": 1}));
    let selector = || harbour.field("service", "/spec/selector");
    let ours = selector();
    let applied = || {
        let log = harbour.cast.world.server.logged();
        log.matches("an object was applied").count()
    };
    let before = applied();
    let theirs = json!([{"op": "replace", "path": "/spec/selector", "value": {"other": "pods"}}]).to_string();
    let theirs = [
        "patch",
        "service/iris-on-kube",
        "--field-manager=insistent",
        "--type=json",
        "-p",
        &theirs,
    ];
    eventually("its status says so", || {
        if selector() == ours {
            harbour.namespace.kubectl(&theirs)?;
        }
        let status = harbour.cast.dana.get("/deployments/iris-on-kube/status").expect(200);
        match status
            .string("/message")
            .contains("insistent changes Service iris-on-kube as often")
        {
            true => Ok(()),
            false => Err(status.text()),
        }
    });
    harbour.namespace.kubectl(&theirs).expect("it may once more");
    within(Duration::from_secs(150), "it is put right nevertheless", || {
        selector() == ours
    });
    assert_eq!(applied(), before + 6, "five times at once, and once after a minute");
}

/// What has lost our label is left alone, and the status has the words that give it back.
#[test]
fn what_has_lost_our_label_is_left_alone_until_it_has_it_again() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "label");
    harbour.deploy(json!({"replicas": 1}));
    let take = ["label", "service/iris-on-kube", "castoff.dev/installation-"];
    harbour.namespace.kubectl(&take).expect("it is there");
    harbour.says(
        "kube",
        "Service iris-on-kube has lost a label by which Castoff knows its own",
    );
    patch(
        &harbour,
        "service",
        "replace",
        "/spec/selector",
        &json!({"other": "pods"}),
    );
    let status = harbour.cast.dana.get("/deployments/iris-on-kube/status").expect(200);
    let message = status.string("/message");
    let command = message
        .split_once("(kubectl ")
        .and_then(|(_, rest)| rest.split_once(')'));
    let (command, _) = command.expect("it says how");
    let command: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(
        harbour.field("service", "/spec/selector"),
        Ok(r#"{"other":"pods"}"#.to_owned())
    );
    harbour.namespace.kubectl(&command).expect("it works as it stands");
    eventually("it is ours again, and as it should be", || {
        let status = harbour.cast.dana.get("/deployments/iris-on-kube/status").expect(200);
        match status.string("/message") == "1 node ready"
            && harbour.field("service", "/spec/selector")?.contains("castoff")
        {
            true => Ok(()),
            false => Err(status.text()),
        }
    });
}
