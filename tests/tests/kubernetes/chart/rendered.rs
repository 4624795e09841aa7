//! What the chart renders, for each set of values under its `ci`, and what it refuses.

use super::{Cluster, Namespace, chart};
use acceptance::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Each makes objects that the API server would take, those of kinds that nobody serves here among them.
#[test]
fn what_is_rendered_is_taken() {
    let Some(cluster) = Cluster::there() else { return };
    cluster.define();
    let namespace = Namespace::new(cluster, "rendered");
    let more = [
        Namespace::new(cluster, "models"),
        Namespace::new(cluster, "models-prod"),
    ];
    let namespaces = format!("namespaces=[{:?},{:?}]", more[0].name, more[1].name);
    let chart = chart();
    let folder = chart.to_str().expect("a path");
    let mut kinds = BTreeSet::new();
    for file in std::fs::read_dir(chart.join("ci")).expect("values") {
        let values = file.expect("a file").path();
        let values = values.to_str().expect("a path");
        let mut release = vec!["install", "castoff", folder, "--dry-run=server", "--output", "json"];
        release.extend(["--values", values]);
        if std::fs::read_to_string(values).expect(values).contains("namespaces:") {
            // Those of the example are not there.
            release.extend(["--set-json", &namespaces]);
        }
        let rendered = namespace.helm(&release).expect(values);
        let rendered: Value = serde_json::from_str(&rendered).expect("JSON");
        let tests = rendered["hooks"].as_array().expect("the pod of `helm test`");
        let tests = tests.iter().map(|hook| &hook["manifest"]);
        for manifest in tests.chain([&rendered["manifest"]]) {
            let manifest = manifest.as_str().expect("a manifest");
            for object in manifest.split("\n---\n") {
                let is_in = |other: &&Namespace| object.contains(&format!("\n  namespace: {}\n", other.name));
                let its = more.iter().find(is_in).unwrap_or(&namespace);
                its.dry_run(object).expect(values);
            }
            let named = manifest.lines().filter_map(|line| line.strip_prefix("kind: "));
            kinds.extend(named.map(str::to_owned));
        }
    }
    for kind in [
        "Certificate",
        "ConfigMap",
        "Deployment",
        "Ingress",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "Pod",
        "PodDisruptionBudget",
        "PodMonitor",
        "Role",
        "Secret",
        "ServiceMonitor",
    ] {
        assert!(kinds.contains(kind), "no set of values makes a {kind}: {kinds:?}");
    }
    // A definition that takes everything would prove nothing.
    let wrong = "{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: a}, spec: {secretName: 1}}";
    namespace.dry_run(wrong).expect_err("a name is no number");
}

/// What a balancer publishes is for callers and nodes: metrics and health ask for no key.
#[test]
fn what_is_published_asks_for_a_key() {
    let Some(cluster) = Cluster::there() else { return };
    let namespace = Namespace::new(cluster, "published");
    let chart = chart();
    let folder = chart.to_str().expect("a path");
    let ports = |kind: &str, name: &str| -> Vec<i64> {
        let set = format!("service.type={kind},http.exposed=true,http.tlsSecret=tls");
        let render = [
            "install",
            "castoff",
            folder,
            "--dry-run=client",
            "--output",
            "json",
            "--set",
            &set,
        ];
        let rendered: Value = serde_json::from_str(&namespace.helm(&render).expect("it renders")).expect("JSON");
        let manifest = rendered["manifest"].as_str().expect("a manifest");
        let is_it =
            |object: &&str| object.contains("kind: Service\n") && object.contains(&format!("\n  name: {name}\n"));
        let found = manifest.split("\n---\n").find(is_it).unwrap_or_default();
        let port = |line: &str| line.split_once(" port: ")?.1.split(',').next()?.parse().ok();
        found.lines().filter_map(port).collect()
    };
    assert_eq!(ports("ClusterIP", "castoff"), [8401, 8402, 8400]);
    for kind in ["LoadBalancer", "NodePort"] {
        assert_eq!(ports(kind, "castoff"), [8401, 8400]);
        assert_eq!(ports(kind, "castoff-ops"), [8402]);
    }
}

/// What does not go together, or is of another type, is refused before anything is made.
#[test]
fn what_cannot_be_is_refused() {
    let Some(cluster) = Cluster::there() else { return };
    let namespace = Namespace::new(cluster, "values");
    let chart = chart();
    let folder = chart.to_str().expect("a path");
    for (set, says) in [
        ("replicas=3", "needs a PostgreSQL database"),
        (
            "replicas=3,database.url=postgres://db/c,persistence.accessMode=ReadWriteOnce",
            "needs a place for packages that all of them reach",
        ),
        ("database.directUrl=postgres://db/c", "the pooler of database.url"),
        (
            "database.existingSecret=db,database.directUrl=postgres://db/c",
            "by database.existingSecretDirectKey",
        ),
        (
            "database.existingSecretDirectKey=direct",
            "a key of database.existingSecret",
        ),
        ("objectStore.region=here", "needs objectStore.url"),
        ("objectStore.url=/models", "objectStore"),
        (
            "objectStore.url=s3://models,objectStore.endpoint=http://minio:9000",
            "without TLS",
        ),
        ("http.hosts={castoff.example}", "an exposed REST"),
        ("ingress.enabled=true", "needs http.exposed"),
        ("certManager.enabled=true", "needs certManager.issuerRef.name"),
        ("replicas=many", "want integer"),
        ("persistence.size=8", "persistence"),
        ("persistence.keep=maybe", "want boolean"),
        ("certManager.issuer=company", "issuer"),
        ("colour=red", "colour"),
    ] {
        let refused = namespace.helm(&["template", "castoff", folder, "--kube-version", "1.34.0", "--set", set]);
        let refused = refused.expect_err(set);
        assert!(refused.contains(says), "{set}: {refused}");
    }
}

/// A cluster older than the chart was written for is refused, by the version that Chart.yaml says.
#[test]
fn an_older_cluster_is_refused() {
    let chart = chart();
    let text = std::fs::read_to_string(chart.join("Chart.yaml")).expect("a chart");
    let asks = text.lines().find_map(|line| line.strip_prefix("kubeVersion: \">="));
    let oldest = asks
        .and_then(|asks| asks.strip_suffix("-0\""))
        .expect("from one version on");
    let minor: u32 = oldest
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse().ok())
        .expect("a version");
    let render = |version: &str| {
        let helm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/helm");
        let folder = chart.to_str().expect("a path");
        let mut helm = Command::new(helm);
        let done = helm
            .args(["template", "castoff", folder, "--kube-version", version])
            .output();
        let done = done.expect("scripts/helm is there");
        (
            done.status.success(),
            String::from_utf8_lossy(&done.stderr).into_owned(),
        )
    };
    assert_eq!(render(oldest), (true, String::new()));
    let (taken, said) = render(&format!("1.{}.9", minor - 1));
    assert!(
        !taken && said.contains("kubeVersion") && said.contains(oldest),
        "{said}"
    );
}

/// The dashboard shows only what is counted: each name is one that a program counts by.
#[test]
fn the_dashboard_knows_its_metrics() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(chart().join("files/dashboard.json")).expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let shown: Vec<&Value> = dashboard["panels"]
        .as_array()
        .expect("panels")
        .iter()
        .flat_map(|panel| panel["targets"].as_array().expect("targets"))
        .map(|target| &target["expr"])
        .collect();
    let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let names: BTreeSet<&str> = shown
        .iter()
        .flat_map(|expression| expression.as_str().expect("text").split(|letter| !is_name(letter)))
        .filter(|word| word.starts_with("castoff_"))
        // What a histogram is shown as.
        .map(|word| word.trim_end_matches("_bucket").trim_end_matches("_count"))
        .collect();
    let sources = ["control-plane/src/push/conversation.rs", "node/src"].map(|place| root.join(place));
    let mut counted = String::new();
    sources.iter().for_each(|place| read_into(place, &mut counted));
    assert!(names.len() >= 10 && shown.len() >= names.len(), "{names:?}");
    for name in names {
        let found = ["counter", "gauge", "histogram"].map(|kind| counted.contains(&format!("{kind}!(\"{name}\"")));
        assert!(found.contains(&true), "nothing counts {name}");
    }
}

fn read_into(place: &Path, text: &mut String) {
    match std::fs::read_dir(place) {
        Ok(entries) => entries
            .map(|entry| entry.expect("an entry").path())
            .for_each(|entry| read_into(&entry, text)),
        Err(_) => *text += &std::fs::read_to_string(place).expect("a source"),
    }
}
