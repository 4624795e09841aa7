//! The keys that open a deployment, from the API to the nodes that judge them.

use acceptance::world::grant;
use acceptance::{Cast, Database, Deployed, World, eventually, on_both_databases};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// What the records dialect says to a key that it does not know.
const REFUSED: u16 = 401;

on_both_databases! {
    /// K32: dev and prod of one service open to different keys.
    fn k32_dev_and_prod_have_different_sets(cast: Cast) {
        let dev = cast.iris_on_dev();
        let prod = Deployed::create(
            &cast.omar,
            json!({"service": "iris", "infrastructure": "prod", "version": "v1"}),
        );
        assert_ne!(dev.url, prod.url);
        dev.call(&dev.key).expect(200);
        prod.call(&prod.key).expect(200);
        dev.call(&prod.key).expect(REFUSED);
        prod.call(&dev.key).expect(REFUSED);
        dev.call("").expect(REFUSED);
        prod.call("").expect(REFUSED);
        // Dana sees the keys of prod, masked, and makes none there.
        let shown = cast.dana.list("/deployments/iris-on-prod/keys");
        assert_eq!(shown.len(), 1);
        assert!(!shown[0]["masked"].as_str().unwrap().contains(&prod.key));
        cast.dana.post("/deployments/iris-on-prod/keys", json!({"name": "x"})).expect(403);
        // And the same through the command line.
        let made = cast.omar.cli(["-o", "json", "keys", "create", "cli", "--deployment", "iris-on-prod"]).expect(0).json();
        prod.call(made["key"].as_str().unwrap()).expect(200);
        dev.call(made["key"].as_str().unwrap()).expect(REFUSED);
    }

    /// The receipt names every node, and from then on none of them lets the key in.
    fn a_revoked_key_is_refused_by_every_node_in_the_receipt(cast: Cast) {
        let dev = cast.iris_on_dev();
        cast.dana.patch("/deployments/iris-on-dev", json!({"scale": {"replicas": 2}})).expect(200);
        dev.processes(2);
        let nodes: BTreeSet<String> = dev.nodes().into_iter().map(|node| node.id).collect();
        assert_eq!(nodes.len(), 2);
        let other = dev.new_key("other");
        for _ in 0..20 {
            dev.call(&dev.key).expect(200);
        }

        let path = dev.path(&format!("/keys/{}/revoke?wait=30s", dev.key_id("first")));
        let revoked = cast.dana.post(&path, json!({})).expect(200);
        for _ in 0..40 {
            dev.call(&dev.key).expect(REFUSED);
        }
        dev.call(&other).expect(200);
        assert_eq!(revoked["state"], "revoked");
        let receipt = &revoked["receipts"][0];
        assert_eq!(receipt["deployment"], "iris-on-dev", "{}", revoked.text());
        assert_eq!(receipt["pending"], json!([]));
        assert_eq!(receipt["durable_copy_written"], true);
        assert_eq!(receipt["acked"], 2);
    let named: BTreeSet<String> = serde_json::from_value(receipt["nodes"].clone()).unwrap();
    assert_eq!(named, nodes, "it names every node");
        // Each of them has acknowledged this version or a later one.
        let version = receipt["version"].as_u64().unwrap();
        eventually("every node shows what it acknowledged", || {
            let nodes = dev.nodes();
            nodes.iter().all(|node| node.shown["acked"]["version"].as_u64() >= Some(version))
        });

        // L20: the same string works again.
        let path = dev.path(&format!("/keys/{}/activate?wait=30s", dev.key_id("first")));
        cast.dana.post(&path, json!({})).expect(200);
        for _ in 0..10 {
            dev.call(&dev.key).expect(200);
        }
    }
}

#[test]
fn a_key_is_shown_once_and_masked_ever_after() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let made = cast
        .dana
        .post(&dev.path("/keys"), json!({"name": "web shop"}))
        .expect(201);
    let key = made.string("/key");
    assert!(key.starts_with("cst_") && key.len() == 4 + 43 + 6, "{}", key.len());
    let masked = made.string("/masked");
    assert!(
        masked.ends_with(&key[key.len() - 4..]) && masked.len() < key.len(),
        "{masked}"
    );
    let id = made.string("/id");
    let one = cast.dana.get(&dev.path(&format!("/keys/{id}"))).expect(200);
    assert_eq!(one["masked"], masked.as_str());
    assert_eq!(one["class"], "reveal-once");
    assert_eq!(one["created_by"], "dana");
    for answer in [
        one,
        cast.dana.get(&dev.path("/keys")),
        cast.admin.get(&dev.path("/keys")),
    ] {
        assert!(!answer.text().contains(&key[8..40]), "{}", answer.text());
    }
    // A reveal-once key cannot be revealed, by nobody.
    cast.dana
        .post(&dev.path(&format!("/keys/{id}/reveal")), json!({}))
        .expect(409);
    // Renamed, it is the same key.
    let path = dev.path(&format!("/keys/{id}"));
    cast.dana
        .patch(&path, json!({"name": "web shop 2"}))
        .expect_any(&[200, 202]);
    assert_eq!(cast.dana.get(&path).expect(200)["name"], "web shop 2");
    dev.call(&key).expect(200);
}

#[test]
fn a_recoverable_key_is_revealed_to_its_creator_alone() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let body = json!({"name": "notebook", "class": "recoverable"});
    let made = cast.dana.post(&dev.path("/keys"), body).expect(201);
    let path = dev.path(&format!("/keys/{}/reveal", made.string("/id")));
    let shown = cast.dana.post(&path, json!({})).expect(200);
    assert_eq!(shown["key"], made["key"]);
    assert!(
        shown
            .header("cache-control")
            .is_some_and(|value| value.contains("no-store"))
    );
    cast.omar.post(&path, json!({})).expect(403);
    cast.admin.post(&path, json!({})).expect(403);
    // L16 with key_visibility = readers: whoever may list it.
    cast.dana
        .patch("/services/iris", json!({"key_visibility": "readers"}))
        .expect(200);
    assert_eq!(cast.omar.post(&path, json!({})).expect(200)["key"], made["key"]);
}

#[test]
fn a_key_is_deleted_only_after_its_revocation() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let path = dev.path(&format!("/keys/{}", dev.key_id("first")));
    let refused = cast.dana.delete(&path).expect(409);
    assert_eq!(refused["type"], "https://castoff.dev/problems/in-use");
    cast.dana
        .post(&format!("{path}/revoke?wait=30s"), json!({}))
        .expect(200);
    cast.dana.delete(&path).expect(204);
    cast.dana.get(&path).expect(404);
    dev.call(&dev.key).expect(REFUSED);
}

#[test]
fn rotation_leaves_both_keys_valid_for_the_overlap() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let id = dev.key_id("first");
    let path = dev.path(&format!("/keys/{id}/rotate?wait=30s"));
    let successor = cast.dana.post(&path, json!({"overlap_seconds": 3600})).expect(201);
    dev.call(&successor.string("/key")).expect(200);
    dev.call(&dev.key).expect(200);
    let original = cast.dana.get(&dev.path(&format!("/keys/{id}"))).expect(200);
    assert!(
        original["expires_at"].is_string(),
        "the overlap ends: {}",
        original.text()
    );
    // Without overlap the original ends with the call.
    let path = dev.path(&format!("/keys/{}/rotate?wait=30s", successor.string("/id")));
    let last = cast.dana.post(&path, json!({"overlap_seconds": 0})).expect(201);
    dev.call(&last.string("/key")).expect(200);
    eventually("the original has expired", || {
        dev.call(&successor.string("/key")).status == REFUSED
    });
    // What has ended has no successor: it would end with it.
    cast.dana.post(&path, json!({})).expect(409);
    // A successor inherits end and scope, and the overlap does not outlive the original's own end.
    let end = "2098-01-01T00:00:00Z";
    let body = json!({"name": "scoped", "expires_at": end, "endpoints": ["iris"]});
    let scoped = cast.dana.post(&dev.path("/keys"), body).expect(201).string("/id");
    let rotate = |id: &str, overlap: u64| {
        let path = dev.path(&format!("/keys/{id}/rotate"));
        cast.dana.post(&path, json!({"overlap_seconds": overlap})).expect(201)
    };
    let heir = rotate(&scoped, 600);
    assert_eq!(
        (&heir["endpoints"], &heir["name"]),
        (&json!(["iris"]), &json!("scoped"))
    );
    assert!(
        heir.string("/expires_at").starts_with("2098-01-01T00:00:00"),
        "{}",
        heir.text()
    );
    let soon = acceptance::world::in_seconds(60);
    let heir = dev.path(&format!("/keys/{}", heir.string("/id")));
    cast.dana
        .patch(&heir, json!({"expires_at": soon}))
        .expect_any(&[200, 202]);
    let before = cast.dana.get(&heir).expect(200)["expires_at"].clone();
    rotate(heir.rsplit('/').next().unwrap(), 86_400);
    assert_eq!(cast.dana.get(&heir).expect(200)["expires_at"], before);
}

#[test]
fn nodes_keep_expiry_and_not_before_themselves() {
    let mut cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let key = |name: &str, body: Value| {
        let mut body = body;
        body["name"] = json!(name);
        cast.dana
            .post(&dev.path("/keys?wait=30s"), body)
            .expect(201)
            .string("/key")
    };
    let past = key("later", json!({"not_before": "2099-01-01T00:00:00Z"}));
    dev.call(&past).expect(REFUSED);
    let soon = acceptance::world::in_seconds(4);
    let short = key("short", json!({"expires_at": soon}));
    dev.call(&short).expect(200);
    let awaited = key("awaited", json!({"not_before": acceptance::world::in_seconds(4)}));
    dev.call(&awaited).expect(REFUSED);
    // The control plane is not asked: it is gone.
    cast.world.server.kill();
    eventually("the key has expired", || dev.call(&short).status == REFUSED);
    eventually("the other has begun", || dev.call(&awaited).status == 200);
    dev.answers();
}

#[test]
fn a_key_that_expires_in_the_past_or_is_weak_is_not_taken_by_accident() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let make = |body: Value| cast.dana.post(&dev.path("/keys?wait=30s"), body);
    make(json!({"name": "x", "not_before": "2098-01-01T00:00:00Z", "expires_at": "2097-01-01T00:00:00Z"})).expect(422);
    make(json!({"name": "x", "key": "short"})).expect(422);
    make(json!({"name": "x", "key": "only-twelve-"})).expect(422);
    let weak = make(json!({"name": "weak", "key": "only-twelve-", "weak": true})).expect(201);
    assert_eq!(weak["weak"], true);
    dev.call("only-twelve-").expect(200);
    make(json!({"name": "imported", "key": "an-imported-key-without-our-format"})).expect(201);
    dev.call("an-imported-key-without-our-format").expect(200);
    // The same string twice in one set would make two entries of one key.
    make(json!({"name": "again", "key": "an-imported-key-without-our-format"})).expect(409);
}

/// F9: every use is attributable to its key.
#[test]
fn f9_uses_are_counted_by_key() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let other = dev.new_key("other");
    for _ in 0..7 {
        dev.call(&dev.key).expect(200);
    }
    for _ in 0..3 {
        dev.call(&other).expect(200);
    }
    dev.call("cst_no-such-key-at-all").expect_any(&[400, 401]);
    for (name, calls) in [("first", 7), ("other", 3)] {
        let path = dev.path(&format!("/keys/{}", dev.key_id(name)));
        eventually("the uses are counted", || {
            let key = cast.dana.get(&path).expect(200);
            match key["calls"] == calls && key["last_used_at"].is_string() {
                true => Ok(()),
                false => Err(key.text()),
            }
        });
    }
    let unused = dev.new_key("unused");
    assert!(!unused.is_empty());
    let shown = cast
        .dana
        .get(&dev.path(&format!("/keys/{}", dev.key_id("unused"))))
        .expect(200);
    assert_eq!((&shown["calls"], &shown["last_used_at"]), (&json!(0), &Value::Null));
}

/// K26: any number of keys.
#[test]
fn k26_any_number_of_keys_open_a_deployment() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let make = |number: u32| {
        let made = cast
            .dana
            .post(&dev.path("/keys"), json!({"name": format!("k{number}")}));
        made.expect(201).string("/key")
    };
    let mut keys: Vec<String> = (0..120).map(make).collect();
    // The receipt of the last says that the nodes have them all.
    keys.push(dev.new_key("last"));
    for key in &keys {
        dev.call(key).expect(200);
    }
    assert_eq!(cast.dana.list(&dev.path("/keys")).len(), keys.len() + 1);
}

/// K29: each key is told apart, by who made it, by its uses and in the audit, and goes alone.
#[test]
fn k29_each_key_is_traceable_and_revocable() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let body = json!({"name": "of omar"});
    let made = cast.omar.post(&dev.path("/keys?wait=30s"), body).expect(201);
    let (key, id) = (made.string("/key"), made.string("/id"));
    dev.call(&key).expect(200);
    let path = dev.path(&format!("/keys/{id}"));
    eventually("the use shows on this key", || {
        cast.dana.get(&path).expect(200)["calls"] == 1
    });
    assert_eq!(cast.dana.get(&path).expect(200)["created_by"], "omar");
    cast.dana
        .post(&format!("{path}/revoke?wait=30s"), json!({}))
        .expect(200);
    dev.call(&key).expect(REFUSED);
    dev.answers();
    let audit = cast.dana.list("/audit?object=of%20omar");
    let deeds: Vec<_> = audit
        .iter()
        .map(|row| (row["action"].as_str(), row["actor"].as_str()))
        .collect();
    for deed in [(Some("create-key"), Some("omar")), (Some("revoke-key"), Some("dana"))] {
        assert!(deeds.contains(&deed), "{deeds:?}");
    }
    // A key that is refused although it is known is in the node's log by its id, and by nothing else of it.
    let body = json!({"name": "for another", "endpoints": ["another"]});
    let scoped = cast.dana.post(&dev.path("/keys?wait=30s"), body).expect(201);
    let (key, id) = (scoped.string("/key"), scoped.string("/id"));
    dev.call(&key).expect(403);
    let node = &dev.nodes()[0].id;
    eventually("the refusal is logged by id", || {
        let log = cast
            .dana
            .get(&dev.path(&format!("/logs?node={node}")))
            .expect(200)
            .text();
        assert!(!log.contains(&key[8..40]));
        log.contains(&id).then_some(()).ok_or(log)
    });
}

/// K20: who reads the service and views the infrastructure lists its keys, masked; who does not sees none.
#[test]
fn k20_readers_list_masked_keys_of_deployments() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let nora = cast.world.user("nora", &["marketing"]);
    nora.get(&dev.path("/keys")).expect(404);
    grant(&cast.dana, "services", "iris", "marketing", &["read"]);
    grant(&cast.admin, "infrastructures", "dev", "marketing", &["view"]);
    assert_eq!(nora.get(&dev.path("/keys")).expect(200).names(), ["first"]);
    let id = dev.key_id("first");
    for action in ["revoke", "activate", "rotate"] {
        nora.post(&dev.path(&format!("/keys/{id}/{action}")), json!({}))
            .expect(403);
    }
    nora.post(&dev.path("/keys"), json!({"name": "mine"})).expect(403);
    dev.call(&dev.key).expect(200);
}

/// Callers that never stop: whoever asks after the receipt is refused, by every node.
#[test]
fn nobody_who_asks_after_the_receipt_is_answered() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    cast.dana
        .patch(&dev.path(""), json!({"scale": {"replicas": 3}}))
        .expect_any(&[200, 202]);
    dev.processes(3);
    let id = dev.key_id("first");
    let revoked = AtomicBool::new(false);
    let stop = AtomicBool::new(false);
    let late = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    // Read before the request is sent: what was sent earlier may still be answered.
                    let after = revoked.load(Ordering::SeqCst);
                    let answer = dev.call(&dev.key);
                    let expected: &[u16] = if after { &[REFUSED] } else { &[200, REFUSED] };
                    let answer = answer.expect_any(expected);
                    late.fetch_add(u32::from(after && answer.status == REFUSED), Ordering::SeqCst);
                }
            });
        }
        for _ in 0..3 {
            cast.dana
                .post(&dev.path(&format!("/keys/{id}/revoke?wait=30s")), json!({}))
                .expect(200);
            revoked.store(true, Ordering::SeqCst);
            let seen = late.load(Ordering::SeqCst);
            eventually("callers were refused", || late.load(Ordering::SeqCst) >= seen + 30);
            revoked.store(false, Ordering::SeqCst);
            cast.dana
                .post(&dev.path(&format!("/keys/{id}/activate?wait=30s")), json!({}))
                .expect(200);
        }
        stop.store(true, Ordering::SeqCst);
    });
}

/// A deployment's keys end with it: its name used again is another deployment.
#[test]
fn a_key_of_a_deleted_deployment_opens_nothing() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    dev.delete();
    let again = Deployed::create(
        &cast.dana,
        json!({"service": "iris", "infrastructure": "dev", "version": "v1"}),
    );
    assert_eq!(again.name, dev.name);
    assert!(
        cast.dana
            .list(&again.path("/keys"))
            .iter()
            .all(|key| key["name"] == "first")
    );
    again.answers();
    again.call(&dev.key).expect(REFUSED);
}
