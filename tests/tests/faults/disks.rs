//! Full disks: under the database, the packages of the control plane, the model files and the durable copy of a node.
//!
//! Each time the same is asked: a clear answer, nothing half there, nobody ends, and all goes on once there is space.

use acceptance::disk::SmallDisk;
use acceptance::promises::{Outcome, Promises};
use acceptance::{Answer, Cast, Database, World, eventually, models, postgres, scratch};
use serde_json::json;

/// What is said when there is no space.
#[track_caller]
fn says_full(answer: &Answer) {
    assert_eq!(answer.status, 507, "{}", answer.text());
    assert_eq!(answer.string("/type"), "https://castoff.dev/problems/full");
    assert!(answer.string("/detail").contains("make space"), "{}", answer.text());
}

/// Services are made until there is no space; then all that were acknowledged are there and the one that was not is not.
fn fill_the_database(cast: &mut Cast, disk: &SmallDisk) {
    let dev = cast.iris_on_dev();
    let second = dev.new_key("second");
    disk.fill();
    let mut promises = Promises::default();
    let refused = (0..5_000).find_map(|number| {
        let (name, about) = (format!("s-{number}"), "x".repeat(1_900));
        let answer = cast.dana.post("/services", json!({"name": name, "description": about}));
        let thing = (format!("/services/{name}"), Some(about));
        let acknowledged = answer.status == 201;
        let outcome = if acknowledged {
            Outcome::Acknowledged
        } else {
            Outcome::Refused
        };
        promises.heard("make", [thing], outcome);
        (!acknowledged).then_some(answer)
    });
    says_full(&refused.expect("the disk is full at last"));
    // Whoever reads, and whoever calls, does not notice.
    dev.answers();
    dev.call(&second).expect(200);
    let revoke = dev.path(&format!("/keys/{}/revoke?wait=30s", dev.key_id("second")));
    match cast.dana.post(&revoke, json!({})) {
        // There was a hole left for something small.
        done if done.status == 200 => drop(dev.call(&second).expect(401)),
        refused => {
            says_full(&refused);
            dev.call(&second).expect(200);
        }
    }
    let look = |cast: &Cast, thing: &str| {
        let answer = cast.admin.get(thing);
        (answer.status == 200).then(|| answer.string("/description"))
    };
    let known: Vec<String> = promises.known().map(str::to_owned).collect();
    let known = || known.iter().map(String::as_str);
    assert_eq!(promises.broken(known(), |thing| look(cast, thing)), [""; 0]);
    disk.clear();
    eventually("it can be written again", || {
        cast.dana.post("/services", json!({"name": "afterwards"})).status == 201
    });
    cast.dana.post(&revoke, json!({})).expect(200);
    dev.call(&second).expect(401);
    cast.world.server.kill();
    cast.world.server.launch();
    assert_eq!(promises.broken(known(), |thing| look(cast, thing)), [""; 0]);
    assert_eq!(
        dev.processes(1).len(),
        cast.world.nodes().len(),
        "no node has gone or come"
    );
    dev.answers();
}

#[test]
fn a_full_disk_under_sqlite() {
    let mut cast = World::with_cast(Database::Sqlite);
    cast.world.server.kill();
    let Some(disk) = SmallDisk::under(&cast.world.server.data, 16) else {
        return;
    };
    cast.world.server.launch();
    fill_the_database(&mut cast, &disk);
}

#[test]
fn a_full_disk_under_postgresql() {
    let folder = scratch::subfolder("tables");
    let Some(disk) = SmallDisk::under(&folder, 24) else {
        return;
    };
    let Some(url) = postgres::database_in(&folder) else {
        return;
    };
    let mut cast = World::with_cast(Database::at(url));
    fill_the_database(&mut cast, &disk);
}

/// Nothing of an upload that does not fit is left, neither a version nor a file.
#[test]
fn a_full_disk_under_the_packages() {
    let cast = World::with_cast(Database::Sqlite);
    cast.iris();
    let packages = cast.world.server.data.join("packages");
    let Some(disk) = SmallDisk::under(&packages, 4) else {
        return;
    };
    let files = || {
        let found = std::process::Command::new("find")
            .arg(&packages)
            .args(["-type", "f", "!", "-name", "filler"])
            .output();
        String::from_utf8(found.unwrap().stdout).unwrap()
    };
    let before = files();
    let package = models::with_text("iris-columns.onnx", &"x".repeat(3 << 20));
    let small = models::with_text("iris-columns.onnx", "another");
    // Received, but not to be kept beside itself; then not even received.
    says_full(&cast.dana.upload("iris", "v2", package.clone()));
    disk.fill();
    says_full(&cast.dana.upload("iris", "v2", package));
    says_full(&cast.dana.upload("iris", "v3", small.clone()));
    assert_eq!(files(), before);
    for version in ["v2", "v3"] {
        cast.dana.get(&format!("/services/iris/versions/{version}")).expect(404);
    }
    let kept = cast.dana.get("/services/iris/versions/v1/package").expect(200);
    assert_eq!(kept.body, models::read("iris-columns.onnx"));
    disk.clear();
    cast.dana.upload("iris", "v3", small).expect(201);
}

/// The version of before goes on; the status says why, and the new one comes when there is space.
#[test]
fn a_full_disk_under_the_model_files_of_a_node() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let files = cast.world.server.data.join("nodes/packages");
    let Some(disk) = SmallDisk::under(&files, 4) else {
        return;
    };
    disk.fill();
    let package = models::with_text("iris-columns.onnx", &"x".repeat(1 << 20));
    cast.dana.upload("iris", "v2", package).expect(201);
    cast.dana
        .patch(&dev.path("?wait=0s"), json!({"version": "v2"}))
        .expect(202);
    eventually("the status says what is the matter", || {
        let message = cast.dana.get(&dev.path("/status")).expect(200).string("/message");
        message.contains("No space left").then_some(()).ok_or(message)
    });
    dev.answers();
    // A key needs no model: it is gone at once, whatever waits.
    let second = cast
        .dana
        .post(&dev.path("/keys"), json!({"name": "second"}))
        .expect(201);
    eventually("it opens", || dev.call(&second.string("/key")).status == 200);
    disk.clear();
    eventually("the new version is in force", || {
        let status = cast.dana.get(&dev.path("/status")).expect(200);
        let acked = status["nodes"][0]["acked"] == status["config"];
        (acked && status["message"] == "1 node ready")
            .then_some(())
            .ok_or(status.text())
    });
    dev.answers();
    let left = std::fs::read_dir(&files)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(
        left.into_iter().all(|name| name.len() == 64),
        "unfinished files are left"
    );
}

/// The revocation is in force at once, and acknowledged only when it is written down; the node says why.
#[test]
fn a_full_disk_under_the_durable_copy() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let node = dev.nodes()[0].id.clone();
    let copy = cast.world.server.data.join("nodes").join(&node).join("copy");
    let second = dev.new_key("second");
    let Some(disk) = SmallDisk::under(&copy, 1) else { return };
    disk.fill();
    let path = dev.path(&format!("/keys/{}/revoke?wait=1s", dev.key_id("second")));
    let revoked = cast.dana.post(&path, json!({})).expect(202);
    assert_eq!(
        revoked["receipts"][0]["durable_copy_written"],
        false,
        "{}",
        revoked.text()
    );
    assert_eq!(revoked["receipts"][0]["pending"], json!([node]), "{}", revoked.text());
    eventually("it is refused", || dev.call(&second).status == 401);
    dev.answers();
    eventually("the status says what is the matter", || {
        let status = cast.dana.get(&dev.path("/status")).expect(200);
        let said = status
            .string("/message")
            .contains("durable copy cannot be written: No space left");
        let ready = status["nodes"][0]["state"] == "ready";
        (said && ready).then_some(()).ok_or(status.text())
    });
    disk.clear();
    eventually("it is acknowledged", || {
        let status = cast.dana.get(&dev.path("/status")).expect(200);
        let acked = status["nodes"][0]["acked"] == status["config"];
        (acked && status["message"] == "1 node ready")
            .then_some(())
            .ok_or(status.text())
    });
    let again = cast.dana.post(&path, json!({})).expect(200);
    assert_eq!(again["receipts"][0]["durable_copy_written"], true, "{}", again.text());
}
