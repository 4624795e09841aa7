//! A deployment's life: routes, revisions, switches, guards.

use acceptance::world::grant;
use acceptance::{Cast, Database, World, eventually, models, on_both_databases};
use serde_json::json;
use std::fs::File;
use std::io::Write;

on_both_databases! {
    /// Every change of route, scale and limits is a revision with who and why, and any can be had again.
    fn revisions_tell_who_and_why_and_can_be_had_again(cast: Cast) {
        let dev = cast.iris_on_dev();
        cast.dana.upload("iris", "v2", models::read("iris-tensor.onnx")).expect(201);
        let switched = cast
            .omar
            .patch(&dev.path("?wait=60s"), json!({"version": "v2", "note": "ticket 42"}))
            .expect(200);
        assert_eq!(switched.string("/route/0/version"), "v2");
        let revisions = cast.dana.list(&dev.path("/revisions"));
        assert_eq!(revisions.len(), 2);
        let second = revisions.iter().find(|revision| revision["n"] == 2).unwrap();
        assert_eq!((&second["by"], &second["note"]), (&json!("omar"), &json!("ticket 42")));
        cast.dana.get(&dev.path("/revisions/1")).expect(200);
        cast.dana.get(&dev.path("/revisions/9")).expect(404);

        let back = cast.dana.post(&dev.path("/rollback?wait=60s"), json!({"to": 1, "note": "worse"})).expect(200);
        assert_eq!(back.string("/route/0/version"), "v1");
        dev.running();
        dev.answers();
        assert_eq!(cast.dana.list(&dev.path("/revisions")).len(), 3);
        cast.dana.post(&dev.path("/rollback"), json!({"to": 77})).expect(422);
    }

    /// Two people change one thing: the second is told.
    fn a_stale_change_is_refused(cast: Cast) {
        cast.iris();
        let seen = cast.dana.get("/services/iris").expect(200);
        let tag = seen.header("etag").expect("an ETag").to_owned();
        let change = |text: &str| {
            cast.dana
                .request("PATCH", "/services/iris")
                .header("if-match", &tag)
                .json(&json!({"description": text}))
                .send()
        };
        let first = change("first").expect(200);
        assert_ne!(first.header("etag"), Some(tag.as_str()));
        let second = change("second").expect(412);
        assert_eq!(second["type"], "https://castoff.dev/problems/stale");
        assert_eq!(cast.dana.get("/services/iris").expect(200)["description"], "first");
    }

    /// What is in use cannot be deleted, and the refusal says by what.
    fn what_is_in_use_stays(cast: Cast) {
        let dev = cast.iris_on_dev();
        for (actor, path, by) in [
            (&cast.dana, "/services/iris", "iris-on-dev"),
            (&cast.admin, "/infrastructures/dev", "iris-on-dev"),
            (&cast.dana, "/services/iris/versions/v1", "iris-on-dev"),
            (&cast.dana, "/deployments/iris-on-dev", "enabled"),
        ] {
            let refused = actor.delete(path).expect(409);
            assert_eq!(refused["type"], "https://castoff.dev/problems/in-use", "{path}");
            assert!(refused.string("/detail").contains(by), "{path}: {}", refused.text());
        }
        // Who may not see the deployment learns that there is one, and not its name.
        let wim = cast.world.user("wim", &["writers"]);
        grant(&cast.dana, "services", "iris", "writers", &["write"]);
        let refused = wim.delete("/services/iris/versions/v1").expect(409);
        assert!(!refused.text().contains("iris-on-dev"), "{}", refused.text());
        dev.answers();
        dev.delete();
        cast.dana.delete("/services/iris/versions/v1").expect(204);
        // A deleted version's name is never used for other bytes.
        cast.dana.upload("iris", "v1", models::read("iris-tensor.onnx")).expect(409);
        cast.dana.delete("/services/iris").expect(204);
        cast.admin.delete("/infrastructures/dev").expect(204);
    }
}

#[test]
fn a_switch_of_versions_loses_no_call() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    cast.dana
        .upload("iris", "v2", models::read("iris-zipmap.onnx"))
        .expect_any(&[201]);
    let (done, is_done) = std::sync::mpsc::channel();
    let caller = {
        let dev = dev.clone();
        std::thread::spawn(move || {
            let mut statuses = Vec::new();
            while is_done.try_recv().is_err() {
                statuses.push(dev.call(&dev.key).status);
            }
            statuses
        })
    };
    // There and back: v2 takes other inputs, so only the calls while v1 is routed must be answered with 200.
    for version in ["v2", "v1"] {
        cast.dana
            .patch(&dev.path("?wait=60s"), json!({"version": version}))
            .expect(200);
    }
    done.send(()).unwrap();
    let statuses = caller.join().unwrap();
    assert!(statuses.iter().all(|status| *status < 500), "{statuses:?}");
    dev.answers();
}

#[test]
fn weights_must_sum_to_one_and_each_version_once() {
    let cast = World::with_cast(Database::Sqlite);
    cast.iris();
    cast.dana
        .upload("iris", "v2", models::read("iris-zipmap.onnx"))
        .expect(201);
    let create = |route: serde_json::Value| {
        let body = json!({"service": "iris", "infrastructure": "dev", "route": route, "enabled": false});
        cast.dana.post("/deployments", body)
    };
    for route in [
        json!([]),
        json!([{"version": "v1", "weight": 0}]),
        json!([{"version": "v1", "weight": 50}, {"version": "v1", "weight": 50}]),
        json!([{"version": "v9", "weight": 100}]),
        json!([{"version": "v1", "weight": 90}, {"version": "v2", "weight": 20}]),
        json!([{"version": "v1", "weight": -1}]),
    ] {
        let refused = create(route.clone()).expect(422);
        let pointer = refused.string("/errors/0/pointer");
        assert!(pointer.starts_with("/route"), "{route}: {}", refused.text());
    }
    let made = create(json!([{"version": "v1", "weight": 90}, {"version": "v2", "weight": 10}])).expect(201);
    assert_eq!(made.header("location"), Some("/api/v1/deployments/iris-on-dev"));
    assert_eq!((&made["enabled"], &made["state"]), (&json!(false), &json!("off")));
    assert!(cast.world.nodes().is_empty());
}

#[test]
fn a_deployment_is_watched_and_read() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let status = cast.dana.get(&dev.path("/status")).expect(200);
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(1), "{}", status.text());
    let node = &dev.nodes()[0];
    assert_eq!(node.shown["state"], "ready");
    eventually("the node's log is there", || {
        let logs = cast
            .dana
            .get(&dev.path(&format!("/logs?node={}&tail=50", node.id)))
            .expect(200);
        logs.text().contains('{')
    });
    let sample = cast.dana.get(&dev.path("/sample")).expect(200);
    assert!(sample.string("/curl").contains(&dev.url), "{}", sample.text());
    assert!(!sample.text().contains(&dev.key));
    let audit = cast.dana.list("/audit?object=iris-on-dev");
    assert!(!audit.is_empty());
    assert!(audit.iter().all(|row| row["actor"] == "dana"), "{audit:?}");
}

/// Who may see a deployment hears what happens to it; who may not hears nothing.
#[test]
fn events_tell_those_who_may_see() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let listen = |actor: &acceptance::Actor, path: &str| actor.request("GET", path).stream();
    let (of_one, of_all) = (listen(&cast.dana, &dev.path("/events")), listen(&cast.omar, "/events"));
    let strangers = listen(&cast.sam, "/events");
    assert_eq!(listen(&cast.sam, &dev.path("/events")).status, 404);
    cast.dana
        .patch(&dev.path(""), json!({"limits": {"queue": 9}, "note": "ticket 43"}))
        .expect_any(&[200, 202]);
    for heard in [&of_one, &of_all] {
        eventually("the change is heard", || {
            let text = heard.text();
            let told = text.contains("change by dana") && text.contains("iris-on-dev");
            told.then_some(()).ok_or(text)
        });
    }
    assert!(!strangers.text().contains("iris"), "{}", strangers.text());
    // Asked anew for every event: who may see it from now on hears of it, on the same stream.
    cast.admin.post("/groups", json!({"name": "everybody"})).expect(201);
    cast.admin.put("/groups/everybody/members/sam", json!({})).expect(204);
    grant(&cast.admin, "infrastructures", "dev", "everybody", &["view"]);
    grant(&cast.dana, "services", "iris", "everybody", &["read"]);
    cast.omar
        .patch(&dev.path(""), json!({"limits": {"queue": 10}}))
        .expect_any(&[200, 202]);
    eventually("sam hears of the second change", || {
        let text = strangers.text();
        text.contains("change by omar").then_some(()).ok_or(text)
    });
}

/// What nodes log is followed by who may see the deployment, each line once, until they may not any more.
#[test]
fn logs_are_followed_by_those_who_may_see() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let path = dev.path("/logs/events");
    let follow = |actor: &acceptance::Actor| actor.request("GET", &path).stream();
    assert_eq!(follow(&cast.sam).status, 404);
    let followed = follow(&cast.omar);
    let said = |line: &str| followed.text().matches(line).count();
    eventually("what was logged so far", || said("node started") == 1);
    let before = said("config in force");
    cast.dana
        .patch(&dev.path("?wait=30s"), json!({"limits": {"queue": 9}}))
        .expect(200);
    eventually("what is logged now", || {
        let text = followed.text();
        (said("config in force") > before).then_some(()).ok_or(text)
    });
    assert_eq!(said("node started"), 1, "each line once");
    cast.dana.delete("/services/iris/grants/devops").expect(204);
    eventually("it ends with the right to it", || followed.ended());
    cast.omar.get(&path).expect(404);
}

/// A node that writes one line without an end fills nobody's memory: who follows gets it in pieces, each once, and a line that
/// is being written when it is whole.
#[test]
fn a_local_line_without_an_end_comes_in_pieces() {
    // No multiple of them is one of a piece, so that looks do not begin alike by chance.
    const BLOCK: usize = 8_200;
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    dev.processes(1);
    let node = dev.nodes()[0].shown["id"].as_str().expect("an id").to_owned();
    let followed = cast.omar.request("GET", &dev.path("/logs/events")).stream();
    eventually("what was logged so far", || followed.text().contains("node started"));
    let log = cast.world.server.data.join("nodes").join(node).join("log");
    let mut log = File::options().append(true).open(log).expect("as the node has it");
    let number = |number: usize| format!("<{number:06}>");
    // In the middle of each block, so that hardly any is where a piece ends.
    let write = |log: &mut File, from: usize, to: usize| {
        for each in from..to {
            let block = format!("{0}{1}{0}", "x".repeat((BLOCK - 8) / 2), number(each));
            log.write_all(block.as_bytes()).expect("there is room");
        }
    };
    let sees = |last: usize| {
        // One of the two may be where a piece ends.
        let is_there = |text: &str| [last, last + 1].iter().any(|each| text.contains(&number(*each)));
        eventually("who follows sees it go on", || is_there(&followed.text()));
    };
    // More than is read at a time.
    write(&mut log, 0, 100);
    sees(96);
    write(&mut log, 100, 180);
    sees(176);
    write(&mut log, 180, 260);
    sees(256);
    log.write_all(b"\nhalf a li").expect("there is room");
    sees(258);
    log.write_all(b"ne\n").expect("there is room");
    eventually("the next line", || followed.text().contains("half a line"));
    let text = followed.text();
    let twice = (0..260).filter(|each| text.matches(&number(*each)).count() > 1);
    assert_eq!(twice.collect::<Vec<_>>(), [0; 0], "each piece once");
    assert_eq!(text.matches("half a li").count(), 1, "whole");
    assert!(text.matches('<').count() > 250, "hardly any is where a piece ends");
}

/// What only the runtime can find out: the version of before goes on, and the status says which one cannot be loaded.
#[test]
fn a_model_that_is_not_what_it_declares_takes_nothing_down() {
    use acceptance::onnx::{FLOAT, INT64, identity, input, output};
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let before = dev.processes(1);
    let lying = identity(input(FLOAT, &[-1, 4]), output(INT64, &[-1, 4]), &[]);
    cast.dana.upload("iris", "v2", lying).expect(201);
    cast.dana
        .patch(&dev.path("?wait=0s"), json!({"version": "v2"}))
        .expect(202);
    eventually("the status says which", || {
        let message = cast.dana.get(&dev.path("/status")).expect(200).string("/message");
        message.contains("v2/iris").then_some(()).ok_or(message)
    });
    assert_eq!(dev.answers().string("/apiContext/serviceGeneration"), "v1");
    assert_eq!(dev.processes(1), before);
    cast.dana
        .patch(&dev.path("?wait=30s"), json!({"version": "v1"}))
        .expect(200);
    dev.answers();
}
