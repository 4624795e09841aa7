//! Packages in an object store: pods come back from their Secret and from there, with nobody else to ask.

use super::{Harbour, arguments, call, small};
use acceptance::archive::labelled;
use acceptance::cluster::{Cluster, Forward, Namespace};
use acceptance::objects::{BUCKET, Objects, PREFIX};
use acceptance::{Cast, Database, Value, World, eventually, json, models};

/// A control plane whose packages are in a store that pods reach, too; their policy lets them out to it.
fn open(cluster: &'static Cluster, objects: &Objects, subject: &str, more: &[&str]) -> Harbour {
    let mut arguments = arguments(cluster);
    arguments.extend(objects.arguments());
    // The store of this test has no TLS.
    arguments.push("--packages-insecure-http".to_owned());
    // --node-listen comes first.
    let dialled = arguments[1].clone();
    let arguments: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    let cast = Cast::gather(World::start_in(Database::Sqlite, &arguments, &[]));
    cast.iris();
    let harbour = Harbour {
        namespace: Namespace::new(cluster, subject),
        cast,
        dialled,
    };
    harbour.open_namespace();
    let (host, port) = objects
        .url()
        .replace("http://", "")
        .rsplit_once(':')
        .map(owned)
        .expect("a port");
    let egress = json!([{"cidr": format!("{host}/32"), "port": port.parse::<u16>().expect("a port")}]);
    harbour.set(json!({"namespace": harbour.namespace.name, "resources": small(), "egress": egress}));
    harbour
}

fn owned((host, port): (&str, &str)) -> (String, String) {
    (host.to_owned(), port.to_owned())
}

/// The addresses in the Secret.
fn addresses(harbour: &Harbour) -> Result<Value, String> {
    let template = "go-template={{index .data \"packages\" | base64decode}}";
    let text = harbour
        .namespace
        .kubectl(&["get", "secret", "iris-on-kube", "-o", template])?;
    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
}

#[test]
fn all_pods_come_back_with_the_control_plane_away() {
    let Some(cluster) = Cluster::there() else { return };
    let objects = Objects::start_at(&cluster.outside);
    let mut harbour = open(cluster, &objects, "objects", &[]);
    harbour.deploy(json!({"replicas": 2}));
    let (kept, revoked) = (harbour.key("kept"), harbour.key("revoked"));
    let path = format!("/deployments/iris-on-kube/keys/{}/revoke?wait=30s", revoked.id);
    harbour.cast.dana.post(&path, json!({})).expect(200);
    let said = addresses(&harbour).expect("they are there");
    let files = said["files"].as_object().expect("files");
    let [(digest, address)] = &files.iter().collect::<Vec<_>>()[..] else {
        panic!("one file: {files:?}")
    };
    let model = acceptance::castoff::Sha256::of(&models::read("iris-columns.onnx"));
    assert_eq!(format!("sha256:{digest}"), model.to_string());
    let address = address.as_str().expect("an address");
    assert!(
        address.starts_with(&format!("{}/{BUCKET}/{PREFIX}/sha256/", objects.url())),
        "{address}"
    );
    let status = harbour.cast.dana.get("/deployments/iris-on-kube/status").expect(200);
    assert!(status["package_addresses_expire_at"].is_string(), "{}", status.text());

    let before = harbour.uids();
    harbour.cast.world.server.kill();
    let ours = "castoff.dev/installation";
    harbour
        .namespace
        .kubectl(&["delete", "pods", "-l", ours, "--wait"])
        .expect("they are there");
    eventually("all of them are back and ready", || {
        let ready = harbour.field("deployment", "/status/readyReplicas")?;
        match ready == "2" && harbour.uids().is_disjoint(&before) {
            true => Ok(()),
            false => Err(ready),
        }
    });
    for pod in harbour.pod_names() {
        let at = Forward::to(&harbour.namespace, &format!("pod/{pod}"), 8000);
        let asked = [None, Some(&kept), Some(&revoked)].map(|key| call(&at.url, key));
        assert_eq!(asked, [401, 200, 401], "{pod}");
    }
    let logs = harbour
        .namespace
        .kubectl(&["logs", "-l", ours, "--prefix", "--tail", "-1"])
        .expect("they log");
    assert_eq!(logs.matches("fetched a model file").count(), 2, "{logs}");
    assert!(!logs.contains("X-Amz"), "{logs}");

    // The one that comes back writes nothing: its addresses are the same.
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
    harbour.cast.world.server.launch();
    harbour.key("new");
    assert_eq!(applied(&harbour), before + 1, "the Secret, for the key");
    assert_eq!(addresses(&harbour).expect("they are there"), said);
    assert!(!harbour.cast.world.server.logged().contains("X-Amz"));
}

/// A pod that has never heard the control plane is as far from it as its Secret, whenever it starts.
#[test]
fn a_new_pod_is_as_stale_as_what_it_starts_with() {
    let Some(cluster) = Cluster::there() else { return };
    let objects = Objects::start_at(&cluster.outside);
    let mut harbour = open(cluster, &objects, "stale", &[]);
    harbour.deploy(json!({"replicas": 1}));
    let key = harbour.key("shop");
    let vouched = || {
        let template = "go-template={{.data.vouched}}";
        harbour
            .namespace
            .kubectl(&["get", "secret", "iris-on-kube", "-o", template])
    };
    assert_eq!(vouched().expect("it is there"), "<no value>", "nothing counts");
    let (limits, before) = (json!({"limits": {"max_staleness_s": 20}}), harbour.uids());
    let changed = harbour.cast.dana.patch("/deployments/iris-on-kube?wait=30s", limits);
    changed.expect(200);
    let first = vouched().expect("it is there");
    assert_ne!(first, "<no value>");
    eventually("it is said anew", || match vouched()? {
        now if now == first => Err(now),
        _ => Ok(()),
    });
    assert_eq!(harbour.uids(), before);

    harbour.cast.world.server.kill();
    let ours = "castoff.dev/installation";
    let at = Forward::to(&harbour.namespace, "service/iris-on-kube", 8000);
    eventually("it is cut off for too long", || match call(&at.url, Some(&key)) {
        503 => Ok(()),
        other => Err(other),
    });
    harbour
        .namespace
        .kubectl(&["delete", "pods", "-l", ours, "--wait"])
        .expect("they are there");
    eventually("another one is ready", || {
        let ready = harbour.field("deployment", "/status/readyReplicas")?;
        match ready == "1" && harbour.uids().is_disjoint(&before) {
            true => Ok(()),
            false => Err(ready),
        }
    });
    let at = Forward::to(&harbour.namespace, "service/iris-on-kube", 8000);
    assert_eq!([call(&at.url, Some(&key)), call(&at.url, None)], [503, 401]);
    harbour.cast.world.server.launch();
    eventually("it hears it", || match call(&at.url, Some(&key)) {
        200 => Ok(()),
        other => Err(other),
    });
}

/// Again and again, without a new version of the config and without another pod.
#[test]
fn addresses_are_made_anew_before_they_end() {
    let Some(cluster) = Cluster::there() else { return };
    let objects = Objects::start_at(&cluster.outside);
    let harbour = open(cluster, &objects, "addresses", &["--packages-address-life", "30"]);
    harbour.deploy(json!({"replicas": 1}));
    let noted = |what: &str| harbour.field("secret", what).expect("it is there");
    let position = "/metadata/annotations/castoff.dev~1config-version";
    let (first, config, before) = (addresses(&harbour), noted(position), harbour.uids());
    let first = first.expect("they are there");
    let end = |said: &Value| said["expires_at_ms"].as_i64().expect("a time");
    eventually("new ones are there", || {
        let now = addresses(&harbour)?;
        match end(&now) > end(&first) && now["files"] != first["files"] {
            true => Ok(()),
            false => Err(now["expires_at_ms"].to_string()),
        }
    });
    assert_eq!((noted(position), harbour.uids()), (config, before));
    harbour
        .cast
        .dana
        .post("/deployments/iris-on-kube/disable", json!({}))
        .expect(200);
    eventually("one that is off has none", || {
        let status = harbour.cast.dana.get("/deployments/iris-on-kube/status").expect(200);
        match status["package_addresses_expire_at"].is_null() {
            true => Ok(()),
            false => Err(status.text()),
        }
    });
}

/// What does not fit into a Secret any more is where to fetch packages; all else does, up to its last bytes.
#[test]
fn addresses_that_do_not_fit_are_left_out_and_the_status_says_so() {
    let Some(cluster) = Cluster::there() else { return };
    let objects = Objects::start_at(&cluster.outside);
    let harbour = open(cluster, &objects, "room", &[]);
    harbour.deploy(json!({"replicas": 1}));
    addresses(&harbour).expect("they are there");
    let dana = &harbour.cast.dana;
    // 64 files have some 30,000 bytes of addresses, and the config leaves 8,000.
    dana.upload("iris", "large", labelled(243, true)).expect(201);
    dana.upload("iris", "more", labelled(12, true)).expect(201);
    let both = json!([{"version": "large", "weight": 50}, {"version": "more", "weight": 50}]);
    dana.patch("/deployments/iris-on-kube?wait=60s", json!({"route": both}))
        .expect(200);
    let status = || dana.get("/deployments/iris-on-kube/status").expect(200);
    eventually("the status says so", || {
        let said = status().text();
        match said.contains("1 node ready: the addresses of its packages do not fit") {
            true => Ok(()),
            false => Err(said),
        }
    });
    assert!(status()["package_addresses_expire_at"].is_null(), "{}", status().text());
    addresses(&harbour).expect_err("they are left out");
    // With room again they are there again.
    dana.patch("/deployments/iris-on-kube?wait=60s", json!({"version": "v1"}))
        .expect(200);
    eventually("they are back", || addresses(&harbour).map(drop));
    eventually("nothing is said any more", || status()["message"] == "1 node ready");
}
