//! The token by which Castoff enters a cluster, and those by which its pods come to Castoff.

use super::Harbour;
use acceptance::cluster::Cluster;
use acceptance::faketime::Faketime;
use acceptance::{Database, Value, eventually, json, scratch};
use std::time::Duration;

/// It lives for a day, and is exchanged for a new one after half of that: once, though the control plane's clock then runs
/// hours ahead of the cluster's.
#[test]
fn a_token_is_exchanged_before_it_ends() {
    let Some(cluster) = Cluster::there() else { return };
    let clock = Faketime::new(&scratch::subfolder("clock"));
    let environment = clock.environment();
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let harbour = Harbour::on(cluster, "token", Database::Sqlite, &environment);
    harbour.open_namespace();
    harbour.deploy(json!({"replicas": 1}));
    let renewed = || {
        harbour
            .cast
            .world
            .server
            .logged()
            .matches("the token of a cluster was renewed")
            .count()
    };
    assert_eq!(renewed(), 0);
    clock.turn_by(Duration::from_secs(13 * 3_600));
    eventually("the token is renewed", || renewed() == 1);
    let path = "/deployments/iris-on-kube/keys?wait=30s";
    let made = harbour
        .cast
        .dana
        .post(path, json!({"name": "by the new token"}))
        .expect(201);
    assert_eq!(made["receipts"][0]["durable_copy_written"], true, "{}", made.text());
    assert_eq!(renewed(), 1);
}

/// The Secret has the new one, pods that run are told it, and no pod is replaced.
#[test]
fn a_new_node_token_reaches_the_secret_and_the_pods() {
    let Some(cluster) = Cluster::there() else { return };
    let harbour = Harbour::open(cluster, "rotation");
    harbour.deploy(json!({"replicas": 1}));
    let token = || {
        let template = "go-template={{index .data \"join.json\" | base64decode}}";
        let join = harbour
            .namespace
            .kubectl(&["get", "secret", "iris-on-kube", "-o", template])?;
        let join: Value = serde_json::from_str(&join).map_err(|error| error.to_string())?;
        Ok::<_, String>(join["token"].as_str().expect("a token").to_owned())
    };
    let pods = || {
        let path = "jsonpath={.items[*].metadata.uid}";
        let ours = "castoff.dev/installation";
        let pods = harbour.namespace.kubectl(&["get", "pods", "-l", ours, "-o", path]);
        pods.expect("kubectl lists")
    };
    let (old, before) = (token().expect("it is there"), pods());
    harbour
        .cast
        .dana
        .cli(["deployment", "rotate-token", "iris-on-kube"])
        .expect(0);
    eventually("the Secret has the new one", || token().is_ok_and(|now| now != old));
    let events = harbour.cast.dana.request("GET", "/deployments/iris-on-kube/events");
    let events = events.header("last-event-id", "0").stream();
    eventually("all have it", || {
        events.text().contains("all nodes have the new node token")
    });
    assert_eq!(pods(), before);
    // One that starts now starts with it.
    harbour
        .namespace
        .kubectl(&["delete", "pods", "-l", "castoff.dev/installation", "--wait"])
        .expect("it is there");
    harbour.stands("running");
    let log = harbour.cast.world.server.logged();
    assert!(!log.contains(&old) && !log.contains(&token().expect("it is there")));
}
