//! Two control planes with one cluster.

use super::{Harbour, arguments};
use acceptance::castoff::Server;
use acceptance::cluster::Cluster;
use acceptance::world::PASSWORD;
use acceptance::{Actor, Database, eventually, json, scratch};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Another control plane beside the harbour's, and dana calling it.
pub(super) fn beside(harbour: &Harbour, cluster: &Cluster, database: Database) -> (Server, Actor) {
    let folder = scratch::subfolder("replica");
    let key = harbour.cast.world.folder().join("master.key");
    std::fs::copy(key, folder.join("master.key")).expect("a copy");
    let mut arguments = arguments(cluster);
    let shared = harbour.cast.world.server.data.to_str().expect("a path");
    arguments.extend(["--shared-dir".to_owned(), shared.to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let other = Server::start(&folder, database, PASSWORD, &arguments);
    let dana = Actor::with_token(&other.url, "dana", harbour.cast.dana.token());
    (other, dana)
}

/// One acts, both answer. When it is killed the other takes over: what is changed then is brought about, and nothing is there
/// twice.
#[test]
fn the_other_one_goes_on() {
    let Some(cluster) = Cluster::there() else { return };
    let Some(database) = Database::postgres() else { return };
    let mut harbour = Harbour::on(cluster, "two", database.clone(), &[]);
    harbour.open_namespace();
    harbour.deploy(json!({"replicas": 1}));
    let (_other, dana) = beside(&harbour, cluster, database);
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

/// How often a control plane has begun to act.
pub(super) fn terms(server: &Server) -> usize {
    let log = server.logged();
    log.matches("this control plane acts from now on").count()
}

/// Makes keys and revokes them until told to stop: each revocation must be acknowledged, and lie in the Secret, before its
/// caller's patience ends. How many, and the longest time in which one was.
fn revoke_again_and_again(dana: &Actor, stop: &AtomicBool) -> (usize, Duration) {
    let (mut count, mut longest) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        let name = json!({"name": format!("while-it-leaves-{count}")});
        let made = dana
            .post("/deployments/iris-on-kube/keys", name)
            .expect_any(&[201, 202]);
        let path = format!("/deployments/iris-on-kube/keys/{}/revoke?wait=10s", made.string("/id"));
        let receipt = dana.post(&path, json!({})).expect(200);
        assert_eq!(
            receipt["receipts"][0]["durable_copy_written"],
            true,
            "{}",
            receipt.text()
        );
        let took = receipt["receipts"][0]["elapsed_ms"].as_u64();
        longest = longest.max(took.expect("it says how long it took"));
        count += 1;
    }
    (count, Duration::from_millis(longest))
}

/// Whoever acts leaves in order, again and again, while keys are revoked through the other: the lease goes from one to the
/// other once each time, and every revocation is in the Secret.
#[test]
fn revocations_reach_the_secret_while_the_one_that_writes_it_leaves() {
    let Some(cluster) = Cluster::there() else { return };
    let Some(database) = Database::postgres() else { return };
    let mut harbour = Harbour::on(cluster, "leaves", database.clone(), &[]);
    harbour.open_namespace();
    harbour.deploy(json!({"replicas": 1}));
    let (mut other, there) = beside(&harbour, cluster, database);
    let here = harbour.cast.dana.clone();
    for turn in 0..4 {
        let first = &mut harbour.cast.world.server;
        let (leaving, stays, dana) = match turn % 2 {
            0 => (first, &other, &there),
            _ => (&mut other, &*first, &here),
        };
        let (stop, before) = (AtomicBool::new(false), terms(stays));
        let revoked = thread::scope(|scope| {
            let revoking = scope.spawn(|| revoke_again_and_again(dana, &stop));
            // Whoever revokes ends when this does, however it does.
            let left = thread::scope(|scope| {
                let leave = || {
                    assert_eq!(leaving.stop(), Some(0));
                    eventually("the other one acts", || terms(stays) > before);
                };
                scope.spawn(leave).join()
            });
            stop.store(true, Ordering::SeqCst);
            left.expect("it leaves");
            revoking.join().expect("each revocation is acknowledged")
        });
        println!("revocations while the one that acts leaves, and the slowest: {revoked:?}");
        assert!(revoked.0 > 0);
        leaving.launch();
    }
    println!("terms: {} and {}", terms(&harbour.cast.world.server), terms(&other));
}
