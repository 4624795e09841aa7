//! Two control planes with one cluster.

use super::{Harbour, arguments};
use acceptance::castoff::Server;
use acceptance::cluster::Cluster;
use acceptance::world::PASSWORD;
use acceptance::{Actor, Database, eventually, json, scratch};

/// One acts, both answer. When it is killed the other takes over: what is changed then is brought about, and nothing is there
/// twice.
#[test]
fn the_other_one_goes_on() {
    let Some(cluster) = Cluster::there() else { return };
    let Some(database) = Database::postgres() else { return };
    let mut harbour = Harbour::on(cluster, "two", database.clone(), &[]);
    harbour.open_namespace();
    harbour.deploy(json!({"replicas": 1}));
    let folder = scratch::subfolder("replica");
    std::fs::copy(
        harbour.cast.world.folder().join("master.key"),
        folder.join("master.key"),
    )
    .expect("a copy");
    let mut arguments = arguments(cluster);
    let shared = harbour.cast.world.server.data.to_str().expect("a path");
    arguments.extend(["--shared-dir".to_owned(), shared.to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let other = Server::start(&folder, database, PASSWORD, &arguments);
    let dana = Actor::with_token(&other.url, "dana", harbour.cast.dana.token());
    let scale = |replicas: u32| {
        let body = json!({"scale": {"replicas": replicas}});
        dana.patch("/deployments/iris-on-kube", body).expect(200);
        eventually("it has so many pods", || {
            let status = dana.get("/deployments/iris-on-kube/status").expect(200);
            let ready = status["nodes"]
                .as_array()
                .expect("a list")
                .iter()
                .filter(|node| node["state"] == "ready")
                .count();
            match ready == replicas as usize && status["state"] == "running" {
                true => Ok(()),
                false => Err(status.text()),
            }
        });
    };
    // By a hint that only the other one has got.
    scale(2);
    harbour.cast.world.server.kill();
    scale(3);
    scale(1);
    let made = dana
        .post("/deployments/iris-on-kube/keys?wait=30s", json!({"name": "k"}))
        .expect(201);
    assert_eq!(made["receipts"][0]["durable_copy_written"], true, "{}", made.text());
    eventually("nothing is there twice", || {
        let objects = harbour.objects();
        let of = |kind: &str| objects.iter().filter(|object| object.starts_with(kind)).count();
        match [of("deployment"), of("secret/"), of("service/"), of("pod/")] {
            [1, 1, 1, 1] => Ok(()),
            _ => Err(format!("{objects:?}")),
        }
    });
}
