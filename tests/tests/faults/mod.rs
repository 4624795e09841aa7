//! What is killed: the control plane, a node, both; what is frozen, and what is cut.

mod away;
mod database;
mod disks;
mod kills;
mod moves;
mod nodes;
mod rolls;
mod two;
mod uploads;

use acceptance::processes::Process;
use acceptance::{Cast, eventually, on_both_databases};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;

/// Its nodes as the kernel knows them.
fn pids(nodes: &[Process]) -> BTreeSet<u32> {
    nodes.iter().map(|node| node.pid).collect()
}

on_both_databases! {
    /// The nodes go on without a control plane; it takes them over again and starts no second copy.
    fn the_control_plane_dies_and_comes_back_to_its_nodes(cast: Cast) {
        let mut cast = cast;
        let dev = cast.iris_on_dev();
        cast.dana.patch(&dev.path("?wait=30s"), json!({"scale": {"replicas": 2}})).expect_any(&[200, 202]);
        let before = dev.processes(2);
        cast.world.server.kill();
        for _ in 0..50 {
            dev.answers();
        }
        cast.world.server.launch();
        let after = dev.processes(2);
        assert_eq!(pids(&before), pids(&after));
        assert_eq!(pids(&cast.world.nodes()), pids(&before), "no second copy of a node");
        // The line is up again: a change arrives at the very same processes.
        let key = dev.new_key("after");
        dev.call(&key).expect(200);
        dev.answers();
        assert_eq!(pids(&cast.world.nodes()), pids(&before));
        assert_eq!(dev.show().string("/url"), dev.url);
    }

    /// What was acknowledged before kill -9 holds after it.
    fn what_was_acknowledged_survives(cast: Cast) {
        let mut cast = cast;
        let dev = cast.iris_on_dev();
        let path = dev.path(&format!("/keys/{}/revoke?wait=30s", dev.key_id("first")));
        let second = dev.new_key("second");
        cast.dana.post(&path, json!({})).expect(200);
        cast.world.server.kill();
        for node in cast.world.nodes() {
            node.kill();
        }
        cast.world.server.launch();
        eventually("a new node serves", || dev.try_call(&second).is_ok_and(|answer| answer.status == 200));
        dev.call(&dev.key).expect(401);
        assert_eq!(cast.dana.get(&dev.path(&format!("/keys/{}", dev.key_id("first")))).expect(200)["state"], "revoked");
    }

    /// A killed node is replaced at the same address; `make bench` shows how soon.
    fn a_killed_node_is_replaced(cast: Cast) {
        let dev = cast.iris_on_dev();
        let before = dev.processes(1);
        before[0].kill();
        eventually("a new node serves", || dev.try_call(&dev.key).is_ok_and(|answer| answer.status == 200));
        let after = dev.processes(1);
        assert_ne!(pids(&before), pids(&after));
        assert_eq!(dev.show().string("/url"), dev.url);
        eventually("one node, no more", || pids(&cast.world.nodes()) == pids(&after));
    }

    /// A node that is frozen has not acknowledged, and the receipt says so.
    fn a_frozen_node_stays_pending_in_the_receipt(cast: Cast) {
        let dev = cast.iris_on_dev();
        let node = dev.processes(1)[0];
        let id = dev.nodes()[0].id.clone();
        node.signal(Signal::STOP);
        let path = dev.path(&format!("/keys/{}/revoke?wait=1s", dev.key_id("first")));
        let revoked = cast.dana.post(&path, json!({})).expect(202);
        node.signal(Signal::CONT);
        assert_eq!(revoked["state"], "revoked");
        assert_eq!(revoked["receipts"][0]["pending"], json!([id]), "{}", revoked.text());
        eventually("thawed, it obeys", || dev.call(&dev.key).status == 401);
        assert!(node.alive(), "it was not replaced");
    }

    /// Neither switching off nor deleting leaves a process.
    fn nothing_is_left_of_what_is_switched_off(cast: Cast) {
        let dev = cast.iris_on_dev();
        cast.dana.patch(&dev.path(""), json!({"scale": {"replicas": 2}})).expect(200);
        dev.processes(2);
        cast.dana.post(&dev.path("/disable"), json!({"note": "the end"})).expect(200);
        eventually("no process is left", || cast.world.nodes().is_empty());
        assert_eq!(cast.dana.get(&dev.path("/status")).expect(200)["state"], "off");
        assert!(dev.try_call(&dev.key).is_err(), "nobody listens");
        // Switched on again it answers at the same address with the same keys.
        cast.dana.post(&dev.path("/enable"), json!({})).expect(200);
        dev.processes(2);
        dev.answers();
        dev.delete();
        cast.dana.get(&dev.path("")).expect(404);
        eventually("no process is left", || cast.world.nodes().is_empty());
    }
}

/// Nodes die while nobody looks; what comes back starts them anew, once.
#[test]
fn nodes_that_died_meanwhile_are_started_again() {
    let mut cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    let dev = cast.iris_on_dev();
    let before = dev.processes(1);
    cast.world.server.kill();
    before[0].kill();
    eventually("the node is gone", || cast.world.nodes().is_empty());
    cast.world.server.launch();
    let after = dev.processes(1);
    dev.answers();
    assert_eq!(pids(&cast.world.nodes()), pids(&after));
}

/// Switched off while it was down: nobody is left behind when it comes back.
#[test]
fn a_deployment_deleted_in_a_hurry_leaves_no_node() {
    let mut cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    let dev = cast.iris_on_dev();
    dev.delete();
    cast.world.server.kill();
    cast.world.server.launch();
    eventually("no process is left", || cast.world.nodes().is_empty());
}

/// SIGTERM ends the control plane in order and leaves the nodes at work.
#[test]
fn asked_to_leave_it_leaves_the_nodes() {
    let mut cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    let dev = cast.iris_on_dev();
    let before = dev.processes(1);
    assert_eq!(cast.world.server.stop(), Some(0));
    dev.answers();
    assert_eq!(pids(&cast.world.nodes()), pids(&before));
    cast.world.server.launch();
    assert_eq!(pids(&dev.processes(1)), pids(&before));
}

/// Keys are made as fast as they can be while the control plane is killed: what was acknowledged is there and opens.
#[test]
fn no_acknowledged_key_is_lost_by_kill_9() {
    let mut cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    let dev = cast.iris_on_dev();
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let (told, hears) = mpsc::channel();
        let maker = {
            let (dana, path) = (cast.dana.clone(), dev.path("/keys"));
            thread::spawn(move || {
                for number in 0.. {
                    let name = format!("key-{round}-{number}");
                    let request = dana.request("POST", &path).json(&json!({"name": name}));
                    match request.try_send() {
                        Ok(answer) if answer.status == 201 => told.send(answer.string("/key")).unwrap(),
                        _ => return,
                    }
                }
            })
        };
        acknowledged.extend(hears.iter().take(5 + round));
        cast.world.server.kill();
        maker.join().unwrap();
        acknowledged.extend(hears.try_iter());
        cast.world.server.launch();
    }
    assert!(cast.dana.list(&dev.path("/keys")).len() > acknowledged.len());
    for key in &acknowledged {
        eventually("an acknowledged key opens", || dev.call(key).status == 200);
    }
    assert_eq!(cast.world.nodes().len(), 1);
}

/// Killed while it starts, scales or stops nodes: what comes back puts it right, with no node too many.
#[test]
fn a_launch_cut_short_is_put_right() {
    let mut cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    cast.iris();
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1"});
    let made = cast.dana.post("/deployments", body).expect(201);
    let path = format!("/deployments/{}", made.string("/name"));
    for replicas in [2, 0, 3, 1, 0, 2] {
        // Nought is: switched off.
        if replicas > 0 {
            cast.dana
                .patch(&path, json!({"scale": {"replicas": replicas}}))
                .expect_any(&[200, 202]);
        }
        let switch = if replicas > 0 { "enable" } else { "disable" };
        cast.dana
            .post(&format!("{path}/{switch}"), json!({}))
            .expect_any(&[200, 202]);
        cast.world.server.kill();
        cast.world.server.launch();
        let wanted = if replicas > 0 { "running" } else { "off" };
        eventually("it is as it was asked for", || {
            let status = cast.dana.get(&format!("{path}/status")).expect(200);
            let nodes = cast.world.nodes().len();
            match status["state"] == wanted && nodes == replicas {
                true => Ok(()),
                false => Err(format!("{nodes} processes: {}", status.text())),
            }
        });
    }
}

/// A node that cannot live is shown as such, and is not started without end.
#[test]
fn a_crash_loop_is_shown() {
    let world = acceptance::World::start_with(acceptance::Database::Sqlite, &["--node-binary", "/bin/false"]);
    let admin = &world.admin;
    admin
        .post(
            "/infrastructures",
            json!({"name": "dev", "kind": "local", "stage": "dev"}),
        )
        .expect(201);
    admin.post("/services", json!({"name": "iris"})).expect(201);
    admin
        .upload("iris", "v1", acceptance::models::read("iris-columns.onnx"))
        .expect(201);
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1"});
    admin.post("/deployments", body).expect(201);
    let status = eventually("the crash loop is shown", || {
        let status = admin.get("/deployments/iris-on-dev/status").expect(200);
        match status["state"] == "crash-looping" {
            true => Ok(status),
            false => Err(status.text()),
        }
    });
    assert!(
        status.text().contains("exit"),
        "how it ended is said: {}",
        status.text()
    );
    admin
        .post("/deployments/iris-on-dev/disable", json!({}))
        .expect_any(&[200, 202]);
    eventually("it is off", || {
        admin.get("/deployments/iris-on-dev/status").expect(200)["state"] == "off"
    });
}

/// A library that is none: the deployment says so in the node's own words, and recovers when it is mended.
#[test]
fn a_broken_runtime_is_shown_and_recovered_from() {
    let library = acceptance::scratch::subfolder("runtime").join("libonnxruntime.so");
    std::fs::write(&library, "this is no library").unwrap();
    let path = library.to_str().unwrap().to_owned();
    let world = acceptance::World::start_with(acceptance::Database::Sqlite, &["--onnxruntime", &path]);
    let admin = &world.admin;
    let body = json!({"name": "dev", "kind": "local", "stage": "dev"});
    admin.post("/infrastructures", body).expect(201);
    admin.post("/services", json!({"name": "iris"})).expect(201);
    admin
        .upload("iris", "v1", acceptance::models::read("iris-columns.onnx"))
        .expect(201);
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1"});
    admin.post("/deployments", body).expect(201);
    let status = eventually("the crash loop is shown", || {
        let status = admin.get("/deployments/iris-on-dev/status").expect(200);
        match status["state"] == "crash-looping" {
            true => Ok(status),
            false => Err(status.text()),
        }
    });
    let message = status.string("/message");
    assert!(
        message.contains("exit code 2") && message.contains("ONNX Runtime") && message.contains(&path),
        "{message}"
    );
    let logs = admin.get("/deployments/iris-on-dev/logs").expect(200);
    assert!(logs.text().contains("ONNX Runtime"), "{}", logs.text());
    std::fs::remove_file(&library).unwrap();
    std::os::unix::fs::symlink(acceptance::castoff::onnxruntime(), &library).unwrap();
    eventually("it runs", || {
        let status = admin.get("/deployments/iris-on-dev/status").expect(200);
        (status["state"] == "running").then_some(()).ok_or(status.text())
    });
}

/// The port of a deployment is taken while it is switched off: said in plain words, and served once it is free again.
#[test]
fn a_port_that_is_taken_is_named_and_waited_for() {
    let cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    let dev = cast.iris_on_dev();
    let address = dev.url.trim_start_matches("http://").to_owned();
    cast.dana.post(&dev.path("/disable"), json!({})).expect(200);
    let squatter = eventually("the port is free", || std::net::TcpListener::bind(&address));
    cast.dana.post(&dev.path("/enable"), json!({})).expect_any(&[200, 202]);
    let said = format!(
        "port {} is held by another program",
        address.rsplit(':').next().unwrap()
    );
    eventually("the status says so", || {
        let status = cast.dana.get(&dev.path("/status")).expect(200);
        let message = status.string("/message");
        let right = message.contains(&said) && status["state"] != "running";
        right.then_some(()).ok_or(message)
    });
    drop(squatter);
    dev.running();
    dev.answers();
    let message = cast.dana.get(&dev.path("/status")).expect(200).string("/message");
    assert!(!message.contains("held"), "{message}");
}

/// A second control plane on the same data would start everything twice.
#[test]
fn a_data_directory_has_one_control_plane() {
    let world = acceptance::World::start(acceptance::Database::Sqlite);
    let second = world
        .server
        .command()
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--node-listen",
            "127.0.0.1:0",
            "--ops-listen",
            "127.0.0.1:0",
        ])
        .output()
        .unwrap();
    assert!(!second.status.success());
    world.admin.get("/whoami").expect(200);
}
