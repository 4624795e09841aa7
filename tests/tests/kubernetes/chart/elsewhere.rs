//! A release that keeps nothing on a volume: rows behind a real pooler, packages in a real object store.

use super::replicas::pods;
use super::{Actor, Cluster, Forward, Namespace, Release, eventually, json, upgrade};
use acceptance::objects::{BUCKET, Objects, PREFIX};
use acceptance::postgres::OwnServer;
use acceptance::{Pooler, Request, scratch};

/// Two control planes hear of each other past the pooler, and a key that comes and goes at either reaches the pod of a model,
/// whose package only the store has.
#[test]
fn rows_behind_a_pooler_and_packages_in_a_store() {
    let Some(cluster) = Cluster::there() else { return };
    if !cluster.is_here() {
        return;
    }
    let outside = cluster.outside.as_str();
    let Some((_postgres, direct)) = OwnServer::start_at(outside) else {
        return;
    };
    let listens = format!("listen_addr = 127.0.0.1,{outside}");
    let Some(pooler) = Pooler::start_with(&direct, &[&listens]) else {
        return;
    };
    let objects = Objects::start_at(outside);
    let namespace = Namespace::new(cluster, "nothing-kept");
    let credentials = objects.credentials(&objects.secret);
    let file = format!("--from-file=credentials={}", credentials.display());
    let secret = ["create", "secret", "generic", "objects", &file];
    namespace.kubectl(&secret).expect("a Secret");
    let values = scratch::subfolder("values").join("values.json");
    let told = json!({
        "replicas": 2,
        "database": {"url": pooler.url().replace("127.0.0.1", outside), "directUrl": direct},
        "objectStore": {
            "url": format!("s3://{BUCKET}/{PREFIX}"), "endpoint": objects.url(), "insecureHttp": true,
            "existingSecret": "objects",
        },
    });
    std::fs::write(&values, told.to_string()).expect("the values");
    let release = Release::of(cluster, &namespace);
    release.helm("install", &["--values", values.to_str().expect("a path")]);
    release.proves_itself();
    assert!(pooler.visits() > 0, "{}", pooler.logged());
    let claims = ["get", "persistentvolumeclaims", "-o", "name"];
    assert_eq!(namespace.kubectl(&claims), Ok(String::new()));

    let pods = pods(&namespace);
    assert_eq!(pods.len(), 2);
    let of = |pod: usize, path: &str| {
        pods[pod]
            .pointer(path)
            .and_then(|it| it.as_str())
            .expect("text")
            .to_owned()
    };
    let door = |pod: usize| Forward::to(&namespace, &format!("pod/{}", of(pod, "/metadata/name")), 8400);
    let (here, there) = (door(0), door(1));
    let admin = Actor::log_in(&here.url, "admin", &release.password());
    release.serves_iris(&admin, 1);
    assert!(!objects.kept().is_empty());
    for (round, door) in [&here, &there].into_iter().enumerate() {
        let admin = Actor::with_token(&door.url, "admin", admin.token());
        upgrade::is_obeyed(&namespace, &admin, &format!("key-{round}"));
    }
    // By LISTEN, past the pooler.
    for pod in 0..2 {
        let metrics = format!("http://{}:8402/metrics", of(pod, "/status/podIP"));
        eventually("each has heard of the other", || {
            let counted = Request::get(metrics.clone()).send().expect(200);
            counted.text().contains("castoff_hints_heard_total")
        });
    }
}
