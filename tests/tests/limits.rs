//! How often a key may be used within a span, from the API to the nodes that share its limit. Quotas have a file of their own.
//!
//! Every limit here lets one call in an hour in beside its burst: what passes is counted, and nothing hangs on time.

use acceptance::node::ByHand;
use acceptance::{
    Answer, Cast, Database, Deployed, Edge, Request, World, eventually, json, on_both_databases, scratch,
};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};

fn hourly(burst: u32) -> Value {
    json!({"requests": 1, "seconds": 3_600, "burst": burst})
}

/// A key that all nodes know when this returns.
#[track_caller]
fn limited(cast: &Cast, dev: &Deployed, name: &str, limit: Value) -> Answer {
    let body = json!({"name": name, "rate_limit": limit});
    let made = cast.dana.post(&dev.path("/keys?wait=30s"), body).expect(201);
    assert_eq!(made["receipts"][0]["pending"], json!([]), "{}", made.text());
    made
}

/// How many of so many calls are answered. The others are told when to come back.
#[track_caller]
fn let_in(dev: &Deployed, key: &str, calls: usize) -> usize {
    let answered = (0..calls).filter(|_| {
        let answer = dev.call(key).expect_any(&[200, 429]);
        if answer.status == 429 {
            told_to_come_back(&answer);
        }
        answer.status == 200
    });
    answered.count()
}

#[track_caller]
fn told_to_come_back(answer: &Answer) {
    let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    // One of two nodes lets a call in every other hour.
    assert!((1..=7_200).contains(&seconds), "{seconds}");
}

/// Waits until each of a deployment's local nodes says that so many share the limits.
#[track_caller]
fn shared_by(dev: &Deployed, nodes: usize) {
    dev.processes(nodes);
    eventually("each node knows how many share the limits", || {
        let told = dev.nodes().into_iter().map(|node| {
            let address = node.shown["ops_address"].as_str().ok_or("no address")?.to_owned();
            let metrics = Request::get(format!("http://{address}/metrics")).try_send()?.text();
            let line = metrics
                .lines()
                .find(|line| line.starts_with("castoff_node_limit_nodes "));
            Ok::<_, String>(line.unwrap_or_default().to_owned())
        });
        let told = told.collect::<Result<Vec<_>, _>>()?;
        match told == vec![format!("castoff_node_limit_nodes {nodes}"); nodes] {
            true => Ok(()),
            false => Err(format!("{told:?}")),
        }
    });
}

on_both_databases! {
    fn a_key_is_let_in_as_often_as_it_may(cast: Cast) {
        let dev = cast.iris_on_dev();
        let made = limited(&cast, &dev, "partner", json!({"requests": 3, "seconds": 3_600}));
        assert_eq!(made["rate_limit"], json!({"requests": 3, "seconds": 3_600, "burst": 3}), "{}", made.text());
        let (key, path) = (made.string("/key"), dev.path(&format!("/keys/{}", made.string("/id"))));
        cast.dana.patch(&format!("{path}?wait=30s"), json!({"rate_limit": hourly(3)})).expect(200);
        assert_eq!(let_in(&dev, &key, 10), 3);
        for _ in 0..10 {
            dev.call(&dev.key).expect(200);
        }
        let limits: Vec<Value> = cast.dana.list(&dev.path("/keys")).iter().map(|key| key["rate_limit"].clone()).collect();
        assert_eq!(limits, [Value::Null, hourly(3)]);

        // Other changes reach the node, and fill nothing.
        limited(&cast, &dev, "another", hourly(1));
        cast.dana.patch(&format!("{path}?wait=30s"), json!({"name": "partner 2", "endpoints": ["iris"]})).expect(200);
        cast.dana.patch(&dev.path("?wait=30s"), json!({"limits": {"deadline_ms": 9_000}})).expect(200);
        assert_eq!(let_in(&dev, &key, 10), 0);
        // A higher limit opens at once, and so does none.
        cast.dana.patch(&format!("{path}?wait=30s"), json!({"rate_limit": hourly(5)})).expect(200);
        assert_eq!(let_in(&dev, &key, 10), 5);
        let free = cast.dana.patch(&format!("{path}?wait=30s"), json!({"rate_limit": null})).expect(200);
        assert_eq!(free["rate_limit"], Value::Null);
        assert_eq!(let_in(&dev, &key, 10), 10);
        let audit = cast.dana.list("/audit?object=partner");
        assert!(audit.iter().any(|row| row["after"]["rate_limit"] == hourly(3)), "{audit:?}");
    }

    /// A successor may as much as the key before it, and each of them for itself.
    fn a_successor_inherits_the_limit(cast: Cast) {
        let dev = cast.iris_on_dev();
        let made = limited(&cast, &dev, "partner", hourly(2));
        assert_eq!(let_in(&dev, &made.string("/key"), 10), 2);
        let path = dev.path(&format!("/keys/{}/rotate?wait=30s", made.string("/id")));
        let heir = cast.dana.post(&path, json!({})).expect(201);
        assert_eq!(heir["rate_limit"], hourly(2));
        assert_eq!(let_in(&dev, &heir.string("/key"), 10), 2);
        assert_eq!(let_in(&dev, &made.string("/key"), 10), 0);
    }

    fn a_limit_that_is_none_is_refused_with_its_place(cast: Cast) {
        let dev = cast.iris_on_dev();
        let kept = dev.path(&format!("/keys/{}", dev.key_id("first")));
        for (limit, pointer) in [
            (json!(5), "/rate_limit"),
            (json!({}), "/rate_limit"),
            (json!({"requests": 1, "per": "s"}), "/rate_limit"),
            (json!({"requests": 0}), "/rate_limit/requests"),
            (json!({"requests": -1}), "/rate_limit/requests"),
            (json!({"requests": 0.5}), "/rate_limit/requests"),
            (json!({"requests": "5"}), "/rate_limit/requests"),
            (json!({"requests": 1_000_001}), "/rate_limit/requests"),
            (json!({"requests": u64::MAX}), "/rate_limit/requests"),
            (json!({"requests": 1, "seconds": 0}), "/rate_limit/seconds"),
            (json!({"requests": 1, "seconds": 3_601}), "/rate_limit/seconds"),
            (json!({"requests": 1, "burst": 0}), "/rate_limit/burst"),
            (json!({"requests": 1, "burst": 1_000_001}), "/rate_limit/burst"),
        ] {
            let made = cast.dana.post(&dev.path("/keys"), json!({"name": "x", "rate_limit": limit}));
            let changed = cast.dana.patch(&kept, json!({"rate_limit": limit}));
            for refused in [made, changed] {
                let refused = refused.expect(422);
                let at = refused.string("/errors/0/pointer");
                assert!(at.starts_with(pointer), "{limit}: {}", refused.text());
            }
        }
        for (quota, pointer) in [
            (json!(5), "/quota"),
            (json!({"requests": 5}), "/quota"),
            (json!({"requests": 5, "per": "year"}), "/quota/per"),
            (json!({"requests": 0, "per": "day"}), "/quota/requests"),
            (json!({"requests": u64::MAX, "per": "day"}), "/quota/requests"),
        ] {
            let refused = cast.dana.post(&dev.path("/keys"), json!({"name": "x", "quota": quota})).expect(422);
            let at = refused.string("/errors/0/pointer");
            assert!(at.starts_with(pointer), "{quota}: {}", refused.text());
        }
        assert_eq!(cast.dana.list(&dev.path("/keys")).len(), 1);
        assert_eq!(cast.dana.get(&kept).expect(200)["rate_limit"], Value::Null);
    }
}

/// In each dialect with its own error, and no body is waited for.
#[test]
fn each_dialect_says_that_it_was_too_often() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let key = limited(&cast, &dev, "partner", hourly(1)).string("/key");
    assert_eq!(let_in(&dev, &key, 2), 1);
    for (path, content_type, at) in [
        ("/v2/models/iris/infer", "application/json", "/error"),
        (
            "/public/api/v1/iris/iris/predict",
            "application/problem+json",
            "/detail",
        ),
        ("/iris/predict", "application/json", "/detail"),
    ] {
        let request = Request::post(format!("{}{path}", dev.url)).header("x-api-key", &key);
        let refused = request.json(&json!("neither")).send().expect(429);
        told_to_come_back(&refused);
        assert_eq!(refused.header("content-type"), Some(content_type), "{path}");
        let said = refused.string(at);
        assert!(said.starts_with("the API key is over its rate limit"), "{path}: {said}");
    }
}

/// Two processes on one port: each keeps half, so that together they let in what one would.
#[test]
fn local_replicas_share_a_limit() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let scale = |replicas| {
        let body = json!({"scale": {"replicas": replicas}});
        cast.dana.patch(&dev.path(""), body).expect_any(&[200, 202]);
        shared_by(&dev, replicas);
    };
    shared_by(&dev, 1);
    scale(2);
    let shared = limited(&cast, &dev, "two", hourly(4)).string("/key");
    let answered = AtomicUsize::new(0);
    eventually("both have let in their share", || {
        answered.fetch_add(let_in(&dev, &shared, 10), Ordering::Relaxed);
        answered.load(Ordering::Relaxed) >= 4
    });
    assert_eq!(answered.load(Ordering::Relaxed) + let_in(&dev, &shared, 40), 4);
    // A burst of less than a call each is one call each.
    let key = limited(&cast, &dev, "one", hourly(1)).string("/key");
    assert!((1..=2).contains(&let_in(&dev, &key, 40)));
    // The one that stays has the whole limit from then on, and what it has let in stays let in.
    scale(1);
    assert_eq!(let_in(&dev, &shared, 10), 0);
    let key = limited(&cast, &dev, "alone", hourly(4)).string("/key");
    assert_eq!(let_in(&dev, &key, 10), 4);
}

/// A process that ends leaves what was used behind; its successor keeps the same share, with nobody there to tell it.
#[test]
fn a_node_that_starts_alone_keeps_the_share_it_was_told() {
    let mut edge = Edge::start();
    let key = edge.new_key_with(json!({"name": "partner", "rate_limit": hourly(4)}));
    let plane = edge.join(&format!("http://{}", edge.cast.world.server.node));
    let nodes = [(); 2].map(|()| ByHand::start(&scratch::subfolder("node"), &plane));
    let shared = |node: &ByHand| {
        eventually("it knows that two share the limits", || {
            let told = node.counted("castoff_node_limit_nodes");
            match told == ["castoff_node_limit_nodes 2"] {
                true => Ok(()),
                false => Err(format!("{told:?}")),
            }
        });
    };
    nodes.iter().for_each(|node| edge.up_to_date(node));
    nodes.iter().for_each(shared);
    let let_in = |node: &ByHand| {
        let statuses = (0..10).map(|_| node.call(&key.key)).collect::<Vec<_>>();
        assert!(
            statuses.iter().all(|status| [200, 429].contains(status)),
            "{statuses:?}"
        );
        statuses.iter().filter(|status| **status == 200).count()
    };
    assert_eq!(nodes.iter().map(let_in).collect::<Vec<_>>(), [2, 2]);

    edge.cast.world.server.kill();
    let [first, second] = nodes;
    assert_eq!(let_in(&second), 0);
    let folder = first.folder().to_owned();
    drop(first);
    let again = ByHand::start(&folder, &plane);
    eventually("it serves from its copy", || {
        again.counted("castoff_node_ready") == ["castoff_node_ready 1"]
    });
    shared(&again);
    assert_eq!(let_in(&again), 2);
}

/// What people type, and what they see.
#[test]
fn the_command_line_sets_and_shows_limits() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let keys = |arguments: &[&str]| {
        let all = [&["keys"], arguments, &["--deployment", "iris-on-dev"]].concat();
        cast.dana.cli(all)
    };
    let key = keys(&[
        "create",
        "partner",
        "--rate-limit",
        "1/1h",
        "--burst",
        "2",
        "--wait",
        "30s",
    ]);
    let key = key.expect(0).out.trim().to_owned();
    assert_eq!(let_in(&dev, &key, 10), 2);
    let listed = keys(&["list"]).expect(0).out;
    assert!(listed.contains("1/h, 2 at once"), "{listed}");
    keys(&["set", "partner", "--rate-limit", "60/1m"]).expect(0);
    let listed = keys(&["list"]).expect(0).out;
    assert!(listed.contains("60/m") && !listed.contains("at once"), "{listed}");
    for wrong in [
        &["--rate-limit", "60"][..],
        &["--rate-limit", "1/500ms"],
        &["--burst", "3"],
    ] {
        keys(&[&["set", "partner"], wrong].concat()).expect(2);
    }
    let refused = keys(&["set", "partner", "--rate-limit", "1/2h"]).expect(7).err;
    assert!(refused.contains("must be 1 to 3600"), "{refused}");
    keys(&["set", "partner", "--quota", "5000/day"]).expect(0);
    let listed = keys(&["list"]).expect(0).out;
    assert!(listed.contains(" of 5000/day"), "{listed}");
    keys(&["set", "partner", "--quota", "5000/year"]).expect(2);
    keys(&["set", "partner", "--rate-limit", "none", "--quota", "none"]).expect(0);
    eventually("it is let in without end", || let_in(&dev, &key, 10) == 10);
}

/// A service's key opens each deployment that inherits, and has its limit in each.
#[test]
fn a_key_of_a_service_has_its_limit_at_each_deployment() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let body =
        json!({"name": "iris-twice", "service": "iris", "infrastructure": "dev", "version": "v1", "access": "inherit"});
    let twice = Deployed::create(&cast.dana, body);
    cast.dana
        .patch(&dev.path("?wait=30s"), json!({"access": "inherit"}))
        .expect(200);
    let body = json!({"name": "design time", "rate_limit": hourly(2)});
    let made = cast.dana.post("/services/iris/keys?wait=30s", body).expect(201);
    let key = made.string("/key");
    assert_eq!(made["receipts"].as_array().unwrap().len(), 2, "{}", made.text());
    assert_eq!([&dev, &twice].map(|deployed| let_in(deployed, &key, 10)), [2, 2]);
}
