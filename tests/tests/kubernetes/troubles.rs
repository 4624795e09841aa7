//! What can be wrong with a cluster.

use super::Harbour;
use acceptance::cluster::Cluster;
use acceptance::{Value, eventually, json};

/// Each trouble stands in the deployment's status as a sentence that says what to do, and is over when that was done.
#[test]
fn troubles_say_what_to_do() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::beside(cluster, "trouble");
    let admin = &harbour.cast.admin;
    let kubeconfig = harbour.namespace.kubeconfig(admin);
    let nowhere = json!({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "c", "user": {"token": "t"}}],
    });
    harbour.infrastructure("away", "models", &nowhere.to_string());
    harbour.says("away", "cannot be reached");
    let mut stranger: Value = serde_json::from_str(&kubeconfig).expect("JSON");
    stranger["users"][0]["user"]["token"] = json!("not-a-token");
    harbour.infrastructure("stranger", "models", &stranger.to_string());
    harbour.says("stranger", "give the infrastructure a new kubeconfig");
    harbour.infrastructure("other", "default", &kubeconfig);
    harbour.says("other", "castoff infra manifest");
    let check = admin.cli(["infra", "check", "other"]).expect(1).out;
    assert!(
        check.contains("may not get, list, watch, create, patch, delete"),
        "{check}"
    );

    // Who may look everywhere sees that there is no such namespace; the account of another one is not told.
    let entire = ["config", "view", "--minify", "--flatten", "-o", "json"];
    let entire = harbour.namespace.kubectl(&entire).expect("kubectl knows");
    harbour.infrastructure("nowhere", "castoff-not-made", &entire);
    harbour.says("nowhere", "the cluster has no namespace castoff-not-made: create it");
    let check = admin.cli(["infra", "check", "nowhere"]).expect(1).out;
    assert!(check.contains("has no namespace castoff-not-made"), "{check}");

    // Somebody else's objects of the same name are left alone, each until it is gone.
    let theirs = [
        ("ServiceAccount", "v1", json!({})),
        ("Secret", "v1", json!({"stringData": {"theirs": "stays"}})),
        (
            "NetworkPolicy",
            "networking.k8s.io/v1",
            json!({"spec": {"podSelector": {}}}),
        ),
        ("Service", "v1", json!({"spec": {"ports": [{"port": 1}]}})),
        (
            "Deployment",
            "apps/v1",
            json!({"spec": {
                "replicas": 0, "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "none"}]}},
            }}),
        ),
        (
            "PodDisruptionBudget",
            "policy/v1",
            json!({"spec": {"maxUnavailable": 1}}),
        ),
    ];
    let decided = |kind: &str| {
        let object = harbour
            .namespace
            .get(&format!("{kind}/iris-on-kube"))
            .expect("it is there");
        ["/metadata/uid", "/metadata/labels", "/spec", "/data"].map(|part| object.pointer(part).cloned())
    };
    let theirs = theirs.map(|(kind, version, mut object)| {
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        object["metadata"] = json!({"name": "iris-on-kube"});
        harbour.namespace.apply(&object);
        (kind, decided(kind))
    });
    harbour.infrastructure("kube", &harbour.namespace.name, &kubeconfig);
    let check = admin.cli(["infra", "check", "kube"]).expect(0).out;
    assert!(
        check.contains("Kubernetes v1.") && check.contains("is admitted"),
        "{check}"
    );
    for (kind, before) in theirs {
        let says = format!("{kind} iris-on-kube is there already and belongs to somebody else");
        harbour.says("kube", &says);
        assert_eq!(decided(kind), before, "{kind}");
        harbour
            .namespace
            .kubectl(&["delete", &format!("{kind}/iris-on-kube")])
            .expect("it is there");
    }
    harbour.stands("running");

    harbour.set(json!({"placement": {"node_selector": {"made-of": "gold"}}, "rollout": "recreate"}));
    harbour.says("kube", "no machine of the cluster takes pod");
    harbour.set(json!({"placement": {"node_selector": null}}));
    harbour.stands("running");
    harbour.namespace.apply(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {"limits.memory": "1Mi"}},
    }));
    harbour.set(json!({"labels": {"another": "template"}}));
    harbour.says("kube", "ask for more quota");
    harbour.namespace.kubectl(&["delete", "quota/q"]).expect("it is there");
    harbour.stands("running");

    // An infrastructure whose cluster is gone can go, too, when somebody says why.
    harbour
        .cast
        .dana
        .post("/deployments/iris-on-away/disable", json!({}))
        .expect(200);
    harbour.cast.dana.delete("/deployments/iris-on-away").expect(204);
    let refused = admin.delete("/infrastructures/away").expect(409);
    assert!(refused.text().contains("force"), "{}", refused.text());
    admin
        .cli(["infra", "delete", "away", "--force", "it was taken down"])
        .expect(0);
    let audit = admin.get("/audit?limit=5").expect(200).text();
    assert!(
        audit.contains("it was taken down") && !audit.contains("not-a-token"),
        "{audit}"
    );
}

/// Who revokes a key is told that the Secret has it, whatever else of the deployment cannot be made.
#[test]
fn what_cannot_be_made_keeps_no_receipt() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "receipt");
    harbour.deploy(json!({"replicas": 1}));
    harbour.namespace.apply(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
        "spec": {"hard": {"count/ingresses.networking.k8s.io": "0"}},
    }));
    eventually("the quota holds", || {
        let quota = harbour.namespace.get("resourcequota/q")?;
        match quota["status"]["hard"].is_object() {
            true => Ok(()),
            false => Err(quota.to_string()),
        }
    });
    harbour.set(json!({"exposure": {"kind": "ingress", "host": "{deployment}.models.example"}}));
    harbour.says("kube", "quota is used up");
    let made = harbour
        .cast
        .dana
        .post("/deployments/iris-on-kube/keys", json!({"name": "k"}))
        .expect(201);
    let path = format!("/deployments/iris-on-kube/keys/{}/revoke?wait=20s", made.string("/id"));
    let revoked = harbour.cast.dana.post(&path, json!({})).expect(200);
    assert_eq!(
        revoked["receipts"][0]["durable_copy_written"],
        true,
        "{}",
        revoked.text()
    );
    harbour.says("kube", "quota is used up");
}
