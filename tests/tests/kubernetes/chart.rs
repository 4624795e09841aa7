//! The chart, by the steps that its notes name.

use super::call;
use acceptance::cluster::{Cluster, Forward, Namespace};
use acceptance::edge::Key;
use acceptance::{Actor, Value, eventually, json, models};
use std::collections::BTreeSet;
use std::path::Path;

/// One release of it in a namespace.
struct Release<'a> {
    namespace: &'a Namespace,
    images: Vec<String>,
}

impl Release<'_> {
    fn helm(&self, verb: &str, more: &[&str]) {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/castoff");
        let chart = chart.to_str().expect("a path");
        let mut arguments = vec![verb, "castoff", chart, "--wait", "--timeout", "120s"];
        for image in &self.images {
            arguments.extend(["--set", image.as_str()]);
        }
        arguments.extend(more);
        self.namespace.helm(&arguments).expect("helm is content");
    }

    /// What the first start has made, and how it is reached: as the notes say.
    fn opened(&self) -> (Forward, String) {
        let template = "go-template={{index .data \"first-password\" | base64decode}}";
        let secret = ["get", "secret", "castoff", "-o", template];
        let password = self.namespace.kubectl(&secret).expect("made at the first start");
        (Forward::to(self.namespace, "deployment/castoff", 8400), password)
    }

    fn pods(&self) -> String {
        let path = "jsonpath={.items[*].metadata.uid}";
        let pods = ["get", "pods", "-l", "castoff.dev/installation", "-o", path];
        self.namespace.kubectl(&pods).expect("kubectl lists")
    }

    fn rules(&self, role_in: &Namespace) -> BTreeSet<String> {
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
}

/// From nothing to a model that answers, through an upgrade, an end and a new beginning, during which it goes on answering.
#[test]
fn a_release_serves_outlives_its_end_and_is_taken_over() {
    let Some(cluster) = Cluster::there() else { return };
    let namespace = Namespace::new(cluster, "chart");
    let set = |what: &str, program: &str| {
        let (repository, tag) = cluster.image_parts(program);
        format!("{what}.repository={repository},{what}.tag={tag}")
    };
    let release = Release {
        namespace: &namespace,
        images: vec![set("image", "castoff"), set("nodeImage", "castoff-node")],
    };
    release.helm("install", &[]);
    let (door, password) = release.opened();
    let admin = Actor::log_in(&door.url, "admin", &password);
    admin.cli(["infra", "check", "cluster"]).expect(0);
    admin.post("/services", json!({"name": "iris"})).expect(201);
    admin
        .upload("iris", "v1", models::read("iris-columns.onnx"))
        .expect(201);
    admin
        .cli(["deploy", "iris", "v1", "--on", "cluster", "--wait", "60s"])
        .expect(0);
    let made = admin
        .post("/deployments/iris-on-cluster/keys?wait=30s", json!({"name": "first"}))
        .expect(201);
    let key = Key {
        id: made.string("/id"),
        key: made.string("/key"),
    };
    let at = Forward::to(&namespace, "service/iris-on-cluster", 8000);
    assert_eq!([call(&at.url, None), call(&at.url, Some(&key))], [401, 200]);

    let pods = release.pods();
    release.helm("upgrade", &["--set", "podAnnotations.again=yes"]);
    assert_eq!(
        (call(&at.url, Some(&key)), release.pods()),
        (200, pods.clone()),
        "no model's pod was replaced"
    );

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
    let (door, same) = release.opened();
    assert_eq!(same, password);
    let admin = Actor::with_token(&door.url, "admin", admin.token());
    let path = format!("/deployments/iris-on-cluster/keys/{}/revoke?wait=30s", key.id);
    eventually("the one that takes over knows its nodes", || {
        let status = admin.get("/deployments/iris-on-cluster/status").expect(200);
        match status["state"] == "running" {
            true => Ok(()),
            false => Err(status.text()),
        }
    });
    admin.post(&path, json!({})).expect(200);
    assert_eq!((call(&at.url, Some(&key)), release.pods()), (401, pods));

    // What the chart grants is what is asked of others' clusters: the one for its own token aside, no more and no less.
    let elsewhere = Namespace::new(cluster, "manifest");
    elsewhere.kubeconfig(&admin);
    let mut printed = release.rules(&elsewhere);
    assert!(printed.remove("create /serviceaccounts/token"));
    assert_eq!(release.rules(&namespace), printed);

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

/// Every set of values under `charts/castoff/ci` makes objects that the API server would take, and what does not go together
/// is refused before anything is made.
#[test]
fn what_is_rendered_is_taken() {
    let Some(cluster) = Cluster::there() else { return };
    let namespace = Namespace::new(cluster, "rendered");
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/castoff");
    let folder = chart.to_str().expect("a path");
    let mut combinations = 0;
    for file in std::fs::read_dir(chart.join("ci")).expect("values") {
        let values = file.expect("a file").path();
        let values = values.to_str().expect("a path");
        namespace
            .helm(&["lint", "--strict", folder, "--values", values])
            .expect(values);
        let release = [
            "install",
            "castoff",
            folder,
            "--values",
            values,
            "--dry-run=server",
            "--output",
            "json",
        ];
        // This cluster has neither the kinds of the Prometheus operator nor the namespaces of the example.
        let without = ["--set", "serviceMonitor.enabled=false", "--set-json", "namespaces=[]"];
        let rendered = namespace.helm(&[&release[..], &without].concat());
        let rendered: Value = serde_json::from_str(&rendered.expect(values)).expect("JSON");
        let manifest = rendered["manifest"].as_str().expect("a manifest");
        namespace.dry_run(manifest).expect(values);
        combinations += 1;
    }
    assert!(combinations >= 3, "{combinations}");
    for (set, says) in [
        ("replicas=3", "needs a PostgreSQL database"),
        (
            "replicas=3,database.url=postgres://db/c",
            "needs a volume that all of them can write",
        ),
        ("http.exposed=true", "needs a certificate"),
        ("ingress.enabled=true", "needs http.exposed"),
        ("replicas=many", "want integer"),
        ("persistence.size=8", "persistence"),
        ("colour=red", "colour"),
    ] {
        let refused = namespace.helm(&["template", "castoff", folder, "--kube-version", "1.34.0", "--set", set]);
        let refused = refused.expect_err(set);
        assert!(refused.contains(says), "{set}: {refused}");
    }
}
