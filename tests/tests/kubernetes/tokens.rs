//! The token by which Castoff enters a cluster.

use super::Harbour;
use acceptance::cluster::Cluster;
use acceptance::faketime::Faketime;
use acceptance::{Database, eventually, json, scratch};
use std::time::Duration;

/// It lives for a day, and is exchanged for a new one after half of that: once, though the control plane's clock then runs
/// hours ahead of the cluster's.
#[test]
fn a_token_is_exchanged_before_it_ends() {
    let Some(cluster) = Cluster::there() else { return };
    let clock = Faketime::new(&scratch::subfolder("clock"));
    let environment = clock.environment();
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
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
