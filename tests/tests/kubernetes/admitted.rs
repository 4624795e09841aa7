//! Pods as they are made, where only *restricted* ones are admitted, within a quota and within limits.

use super::Harbour;
use acceptance::cluster::Cluster;
use acceptance::{Value, json};

/// What the namespace allows besides: little, but enough for what these tests make.
fn allowances() -> [Value; 2] {
    [
        json!({
            "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "limits"},
            "spec": {"limits": [{
                "type": "Container", "min": {"memory": "16Mi"}, "max": {"cpu": "2", "memory": "512Mi"},
            }]},
        }),
        json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"},
            "spec": {"hard": {"pods": "8", "requests.cpu": "1", "limits.memory": "4Gi"}},
        }),
    ]
}

/// All that settings can say of a pod and that this cluster has, or that nobody looks up before a pod is placed.
fn settings() -> Value {
    let term = json!({"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]});
    json!({
        "labels": {"team": "flowers"},
        "annotations": {"example.com/note": "x"},
        "image_pull_secrets": ["registry"],
        "egress": [{"cidr": "10.0.0.0/8", "port": 443}],
        "rollout": "recreate",
        "placement": {
            "node_selector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "gpu", "operator": "exists", "effect": "no-schedule"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}},
            "spread": [{"topology_key": "kubernetes.io/hostname", "max_skew": 1, "when_unsatisfiable": "schedule-anyway"}],
        },
    })
}

/// A pod by the template that the deployment has in the cluster now.
fn pod(harbour: &Harbour) -> Value {
    let object = harbour.namespace.get("deployment/iris-on-kube").expect("it is there");
    let template = &object["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["name"] = json!("as-made");
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

/// By each template, with no settings and with all: the API server takes it as a pod. What wants more it refuses there, by each
/// of the three, or nothing would be shown.
#[test]
fn every_template_is_admitted_where_little_is_allowed() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "admitted");
    allowances().iter().for_each(|object| harbour.namespace.apply(object));
    harbour.deploy(json!({"replicas": 1}));
    for settings in [json!({}), settings()] {
        harbour.set(settings.clone());
        for template in ["1", "2"] {
            let move_to = ["infra", "upgrade", "kube", "--template", template];
            harbour.cast.admin.cli(move_to).expect(0);
            let pod = pod(&harbour);
            let label = pod["metadata"]["labels"]["castoff.dev/template"].as_str();
            assert_eq!(label.unwrap_or("1"), template, "{pod}");
            if settings != json!({}) {
                assert_eq!(pod["spec"]["tolerations"][0]["key"], "gpu", "{pod}");
            }
            let admitted = harbour.namespace.dry_run(&pod.to_string());
            assert_eq!(admitted, Ok(()), "template {template} with {settings}");
            for (path, value, why) in [
                (
                    "/spec/containers/0/securityContext",
                    json!({"privileged": true}),
                    "violates PodSecurity",
                ),
                (
                    "/spec/containers/0/resources/limits/memory",
                    json!("1Gi"),
                    "maximum memory usage per Container is 512Mi",
                ),
                (
                    "/spec/containers/0/resources/requests/cpu",
                    json!("1"),
                    "exceeded quota",
                ),
            ] {
                let mut more = pod.clone();
                let (outer, name) = path.rsplit_once('/').expect("a path");
                more.pointer_mut(outer).expect("it is there")[name] = value;
                let refused = harbour.namespace.dry_run(&more.to_string()).expect_err(why);
                assert!(refused.contains(why), "{refused}");
            }
        }
    }
}
