//! The life of a deployment in a cluster.

use super::{Harbour, call};
use acceptance::cluster::{Cluster, Forward};
use acceptance::{Request, eventually, json};

/// From the manifest that lets Castoff in, by its own narrow account, to pods that serve, obey, are put right, and go.
#[test]
fn a_deployment_becomes_pods_that_serve_obey_are_put_right_and_go() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "kind");
    harbour.deploy(json!({"replicas": 2}));
    let (kept, revoked) = (harbour.key("kept"), harbour.key("revoked"));
    let at = Forward::to(&harbour.namespace, "service/iris-on-kube", 8000);
    let asked = || {
        [
            call(&at.url, None),
            call(&at.url, Some(&kept)),
            call(&at.url, Some(&revoked)),
        ]
    };
    assert_eq!(asked(), [401, 200, 200]);
    let status = harbour.cast.dana.get("/deployments/iris-on-kube/status").expect(200);
    assert_eq!(
        status["url"],
        format!("http://iris-on-kube.{}.svc:8000", harbour.namespace.name)
    );
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(2), "{}", status.text());

    let path = format!("/deployments/iris-on-kube/keys/{}/revoke?wait=30s", revoked.id);
    let receipt = harbour.cast.dana.post(&path, json!({})).expect(200);
    assert_eq!(
        receipt["receipts"][0]["durable_copy_written"],
        true,
        "{}",
        receipt.text()
    );
    assert_eq!(asked(), [401, 200, 401]);
    for pod in harbour.pod_names() {
        let at = Forward::to(&harbour.namespace, &format!("pod/{pod}"), 8000);
        assert_eq!(
            [call(&at.url, Some(&kept)), call(&at.url, Some(&revoked))],
            [200, 401],
            "{pod}"
        );
    }
    let config = &receipt["receipts"][0];
    let position = format!("{}.{}", config["epoch"], config["version"]);
    let noted = harbour.field("secret", "/metadata/annotations/castoff.dev~1config-version");
    assert_eq!(noted, Ok(position), "the Secret has it");

    // What somebody else does to our objects is undone; what they add stays.
    let config = || harbour.field("secret", "/data/config");
    let ours = config().expect("the Secret has it");
    let theirs = r#"{"data":{"config":"bm90IG91cnM="}}"#;
    harbour
        .namespace
        .kubectl(&["patch", "secret/iris-on-kube", "-p", theirs])
        .expect("it is there");
    eventually("the Secret is put right", || match config()? == ours {
        true => Ok(()),
        false => Err("not yet".to_owned()),
    });
    harbour
        .namespace
        .kubectl(&["delete", "service/iris-on-kube"])
        .expect("it is there");
    harbour
        .namespace
        .kubectl(&["delete", "secret/iris-on-kube"])
        .expect("it is there");
    let patch = r#"{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":1}}},"metadata":{"annotations":{"theirs":"stays"}}}"#;
    harbour
        .namespace
        .kubectl(&["patch", "deployment/iris-on-kube", "-p", patch])
        .expect("it is there");
    eventually("it is put right", || {
        let grace = harbour.field("deployment", "/spec/template/spec/terminationGracePeriodSeconds")?;
        let theirs = harbour.field("deployment", "/metadata/annotations/theirs")?;
        harbour.field("service", "/spec/type")?;
        harbour.field("secret", "/type")?;
        match (grace.as_str(), theirs.as_str()) {
            ("20", "stays") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    harbour.stands("running");

    let account = format!("system:serviceaccount:{}:castoff", harbour.namespace.name);
    let may = |namespace: &str| {
        let asked = [
            "auth",
            "can-i",
            "get",
            "secrets",
            "--as",
            &account,
            "--namespace",
            namespace,
        ];
        // A no is an error to kubectl.
        harbour.namespace.kubectl(&asked).is_ok()
    };
    assert_eq!(
        [may(&harbour.namespace.name), may("kube-system"), may("default")],
        [true, false, false]
    );

    harbour
        .cast
        .dana
        .post("/deployments/iris-on-kube/disable", json!({}))
        .expect(200);
    eventually("its pods go, its address stays", || {
        let objects = harbour.objects();
        match objects == ["service/iris-on-kube"] {
            true => Ok(()),
            false => Err(format!("{objects:?}")),
        }
    });
    harbour.cast.dana.delete("/deployments/iris-on-kube").expect(204);
    eventually("nothing is left, and the infrastructure can go", || {
        let gone = harbour.cast.admin.delete("/infrastructures/kube");
        match gone.status {
            204 => Ok(()),
            _ => Err(gone.text()),
        }
    });
    assert_eq!(harbour.objects(), [] as [&str; 0]);
}

/// With the control plane away: a pod that was deleted comes back from the Secret, which has the revocation, but for the
/// model, which nobody can give it.
#[test]
fn pods_come_back_from_the_secret_and_wait_for_their_package() {
    let Some(cluster) = Cluster::there() else { return };
    let mut harbour = Harbour::open(cluster, "secret");
    harbour.deploy(json!({"replicas": 1}));
    let (kept, revoked) = (harbour.key("kept"), harbour.key("revoked"));
    let path = format!("/deployments/iris-on-kube/keys/{}/revoke?wait=30s", revoked.id);
    harbour.cast.dana.post(&path, json!({})).expect(200);
    harbour.cast.world.server.kill();
    let ours = "castoff.dev/installation";
    harbour
        .namespace
        .kubectl(&["delete", "pods", "-l", ours, "--wait"])
        .expect("they are there");
    eventually("a new pod knows its config, and says what it lacks", || {
        let path = "jsonpath={.items[0].metadata.name}";
        let pod = harbour.namespace.kubectl(&["get", "pods", "-l", ours, "-o", path])?;
        let at = Forward::try_to(&harbour.namespace, &format!("pod/{pod}"), 8002).ok_or("no pod answers")?;
        let answer = Request::get(format!("{}/readyz", at.url)).try_send()?;
        let said = answer.text();
        match said.contains("package unreachable") {
            true => Ok(()),
            false => Err(said),
        }
    });
    harbour.cast.world.server.launch();
    let at = Forward::to(&harbour.namespace, "service/iris-on-kube", 8000);
    // Running it may be called by what the pod before has said last.
    eventually("the new pod serves", || call(&at.url, Some(&kept)) == 200);
    assert_eq!(call(&at.url, Some(&revoked)), 401);
    harbour.stands("running");
    let logs = harbour.cast.dana.cli(["logs", "iris-on-kube"]).expect(0).out;
    assert!(logs.contains("node started") && !logs.contains(&kept.key), "{logs}");
}

/// One that comes back finds everything as it should be: it asks, and writes nothing but what has changed.
#[test]
fn a_control_plane_that_comes_back_writes_nothing() {
    let Some(cluster) = Cluster::there() else { return };
    let mut harbour = Harbour::open(cluster, "again");
    let autoscaling = json!({"min": 1, "max": 2, "cpu_percent": 80});
    harbour.deploy(json!({"autoscaling": autoscaling}));
    let applied = |harbour: &Harbour| {
        harbour
            .cast
            .world
            .server
            .logged()
            .matches("an object was applied")
            .count()
    };
    let before = applied(&harbour);
    assert!(before >= 7, "all that a deployment becomes: {before}");
    harbour.cast.world.server.kill();
    harbour.cast.world.server.launch();
    // The Secret is written after all that it needs was looked at, in the same pass.
    harbour.key("new");
    assert_eq!(applied(&harbour), before + 1, "the Secret");
}
