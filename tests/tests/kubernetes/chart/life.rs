//! A release from its first day to its last, and what it may do in the cluster.

use super::{Actor, Cluster, Forward, Namespace, Release, call};
use acceptance::{Value, eventually, json};
use std::collections::BTreeSet;

fn rules(role_in: &Namespace) -> BTreeSet<String> {
    let role = role_in.get("role/castoff").expect("it is there");
    let rules = role["rules"].as_array().cloned().expect("rules");
    let words = |rule: &Value, name: &str| -> Vec<String> {
        let words = rule[name].as_array().cloned().unwrap_or_default();
        words
            .iter()
            .map(|word| word.as_str().expect("a word").to_owned())
            .collect()
    };
    let mut all = BTreeSet::new();
    for rule in &rules {
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                all.extend(
                    words(rule, "verbs")
                        .into_iter()
                        .map(|verb| format!("{verb} {group}/{resource}")),
                );
            }
        }
    }
    all
}

/// Whether the control plane may do this in a namespace, such as `get secrets`.
fn may(namespace: &Namespace, right: &str, place: &str) -> bool {
    let account = format!("system:serviceaccount:{}:castoff", namespace.name);
    let asked: Vec<&str> = ["auth", "can-i", "--quiet", "--as", &account, "--namespace", place]
        .into_iter()
        .chain(right.split(' '))
        .collect();
    namespace.kubectl(&asked).is_ok()
}

/// From nothing to a model that answers, through an upgrade, an end and a new beginning, during which it goes on answering.
#[test]
fn a_release_serves_outlives_its_end_and_is_taken_over() {
    let Some(cluster) = Cluster::there() else { return };
    let [namespace, more, elsewhere] = ["chart", "more", "elsewhere"].map(|name| Namespace::new(cluster, name));
    let release = Release::of(cluster, &namespace);
    let namespaces = format!("namespaces=[{:?}]", more.name);
    // Nobody needs it here: the images are on the machines.
    let pulled = "imagePullSecrets=[{\"name\":\"registry\"}]";
    release.helm("install", &["--set-json", &namespaces, "--set-json", pulled]);
    release.proves_itself();
    let own = namespace.name.as_str();
    for (right, place, expected) in [
        ("get secrets", own, true),
        ("create pods", own, true),
        ("get pods --subresource=log", own, true),
        ("delete pods", own, false),
        ("create pods --subresource=exec", own, false),
        ("create serviceaccounts --subresource=token", own, false),
        ("create roles", own, false),
        ("get secrets", &more.name, true),
        ("get secrets", &elsewhere.name, false),
        ("list secrets", "kube-system", false),
        ("list pods", "kube-system", false),
        ("list namespaces", own, false),
        ("list nodes", own, false),
    ] {
        assert_eq!(may(&namespace, right, place), expected, "{right} in {place}");
    }
    let (door, password) = (release.door(), release.password());
    let admin = Actor::log_in(&door.url, "admin", &password);
    admin.cli(["infra", "check", "cluster"]).expect(0);
    let first = admin.get("/infrastructures/cluster").expect(200);
    assert_eq!(first["kubernetes"]["image_pull_secrets"], json!(["registry"]));
    // As the notes say of what is listed beside it.
    let create = [
        "infra",
        "create",
        "more",
        "--kind",
        "kubernetes",
        "--stage",
        "prod",
        "--namespace",
    ];
    admin.cli(create.into_iter().chain([more.name.as_str()])).expect(0);
    admin.cli(["infra", "check", "more"]).expect(0);
    admin.cli(["infra", "delete", "more"]).expect(0);
    let key = release.serves_iris(&admin, 1);
    let at = Forward::to(&namespace, "service/iris-on-cluster", 8000);
    assert_eq!([call(&at.url, None), call(&at.url, Some(&key))], [401, 200]);

    let pods = release.pods();
    release.helm("upgrade", &["--set", "podAnnotations.again=yes"]);
    assert_eq!(
        (call(&at.url, Some(&key)), release.pods()),
        (200, pods.clone()),
        "no model's pod was replaced"
    );
    // It is listed no more.
    assert!(!may(&namespace, "get secrets", &more.name) && may(&namespace, "get secrets", own));

    namespace
        .helm(&["uninstall", "castoff", "--wait"])
        .expect("it was there");
    namespace.get("deployment/castoff").expect_err("it is gone");
    assert_eq!(
        (call(&at.url, Some(&key)), release.pods()),
        (200, pods.clone()),
        "models go on"
    );
    release.helm("install", &[]);
    assert_eq!(release.password(), password);
    let door = release.door();
    let admin = Actor::with_token(&door.url, "admin", admin.token());
    let path = format!("/deployments/iris-on-cluster/keys/{}/revoke?wait=30s", key.id);
    release.runs(&admin);
    admin.post(&path, json!({})).expect(200);
    assert_eq!((call(&at.url, Some(&key)), release.pods()), (401, pods));

    // What the chart grants is what is asked of others' clusters: the one for its own token aside, no more and no less.
    elsewhere.kubeconfig(&admin);
    let mut printed = rules(&elsewhere);
    assert!(printed.remove("create /serviceaccounts/token"));
    assert_eq!(rules(&namespace), printed);

    // A master key that is lost is asked for, and never made anew under what was sealed with the old one.
    let lost = [
        "patch",
        "secret",
        "castoff",
        "--type",
        "json",
        "-p",
        r#"[{"op": "remove", "path": "/data/master-key"}]"#,
    ];
    namespace.kubectl(&lost).expect("it is there");
    namespace
        .kubectl(&["rollout", "restart", "deployment/castoff"])
        .expect("it is there");
    eventually("it says what is missing", || {
        let logs = namespace.kubectl(&["logs", "deployment/castoff"])?;
        match logs.contains("its master-key is missing") {
            true => Ok(()),
            false => Err(logs),
        }
    });
    let key = namespace.kubectl(&["get", "secret", "castoff", "-o", "jsonpath={.data.master-key}"]);
    assert_eq!(key, Ok(String::new()));
}

/// `persistence.keep=false`: what the control plane has made itself goes with the release, too.
#[test]
fn a_release_that_keeps_nothing_leaves_nothing() {
    let Some(cluster) = Cluster::there() else { return };
    let namespace = Namespace::new(cluster, "forgets");
    let release = Release::of(cluster, &namespace);
    release.helm("install", &["--set", "persistence.keep=false"]);
    release.password();
    namespace
        .helm(&["uninstall", "castoff", "--wait"])
        .expect("it was there");
    for what in ["secret", "persistentvolumeclaim"] {
        let left = ["get", what, "-o", "jsonpath={.items[*].metadata.name}"];
        eventually(what, || match namespace.kubectl(&left)? {
            left if left.is_empty() => Ok(()),
            left => Err(left),
        });
    }
    for what in [
        "serviceaccount/castoff-forget",
        "role/castoff-forget",
        "job/castoff-forget",
    ] {
        namespace.get(what).expect_err("it has done its work");
    }
}
