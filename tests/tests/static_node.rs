//! An infrastructure without a launcher: its nodes are started by hand, with a join document that is shown once.

use acceptance::faketime::Faketime;
use acceptance::node::ByHand;
use acceptance::world::grant;
use acceptance::{Actor, Cast, Database, Request, World, eventually, json, models};
use std::time::Duration;

fn edge() -> Cast {
    let cast = World::with_cast(Database::Sqlite);
    cast.iris();
    let body = json!({"name": "edge", "kind": "static", "stage": "dev"});
    cast.admin.post("/infrastructures", body).expect(201);
    grant(&cast.admin, "infrastructures", "edge", "data-scientists", &["deploy"]);
    let body = json!({"service": "iris", "infrastructure": "edge", "version": "v1"});
    let made = cast.dana.post("/deployments", body).expect(201);
    assert_eq!(made["state"], "waiting", "{}", made.text());
    cast
}

fn call(url: &str, key: &str) -> u16 {
    let request = Request::post(format!("{url}/public/api/v1/iris/iris/predict")).header("x-api-key", key);
    request
        .json(&models::setosa())
        .try_send()
        .map_or(0, |answer| answer.status)
}

#[test]
fn a_node_started_by_hand_joins_and_obeys() {
    let cast = edge();
    let path = "/deployments/iris-on-edge";
    let key = cast
        .dana
        .post(&format!("{path}/keys"), json!({"name": "first"}))
        .expect(201);
    let join = cast.dana.post(&format!("{path}/node-tokens"), json!({})).expect(201);
    let node = ByHand::start(&cast.world.folder().join("by-hand"), &join["join"]);
    let url = node.url();
    eventually("the node serves", || match call(&url, &key.string("/key")) {
        200 => Ok(()),
        status => Err(format!("{status}")),
    });
    eventually("it is seen", || {
        let status = cast.dana.get(&format!("{path}/status")).expect(200);
        match status["state"] == "running" {
            true => Ok(()),
            false => Err(status.text()),
        }
    });
    let revoke = format!("{path}/keys/{}/revoke?wait=30s", key.string("/id"));
    let revoked = cast.dana.post(&revoke, json!({})).expect(200);
    assert_eq!(call(&url, &key.string("/key")), 401);
    assert_eq!(revoked["receipts"][0]["pending"], json!([]));
    // The join document is a secret of the deployment: of local ones there is none to be had.
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1", "enabled": false});
    cast.dana.post("/deployments", body).expect(201);
    cast.dana
        .post("/deployments/iris-on-dev/node-tokens", json!({}))
        .expect_any(&[409, 422]);
}

#[test]
fn a_node_with_a_wrong_token_serves_nothing() {
    let cast = edge();
    let made = cast
        .dana
        .post("/deployments/iris-on-edge/node-tokens", json!({}))
        .expect(201);
    let mut join = made["join"].clone();
    let token = join["token"].as_str().unwrap();
    let last = if token.ends_with('A') { "B" } else { "A" };
    join["token"] = json!(format!("{}{last}", &token[..token.len() - 1]));
    let node = ByHand::start(&cast.world.folder().join("stranger"), &join);
    eventually("it is refused, or has given up", || {
        node.process().is_none() || node.logged().contains("the node token is not valid")
    });
    assert!(
        cast.dana
            .get("/deployments/iris-on-edge/nodes")
            .expect(200)
            .items()
            .is_empty()
    );
    cast.omar
        .post("/deployments/iris-on-edge/node-tokens", json!({}))
        .expect(404);
}

/// With the control plane gone, a node that starts again goes on with its durable copy, revocations included.
#[test]
fn a_node_comes_back_without_the_control_plane() {
    let mut cast = edge();
    let path = "/deployments/iris-on-edge";
    let key = |name: &str| {
        cast.dana
            .post(&format!("{path}/keys"), json!({"name": name}))
            .expect(201)
    };
    let (kept, revoked) = (key("kept"), key("revoked"));
    let join = cast.dana.post(&format!("{path}/node-tokens"), json!({})).expect(201);
    let folder = cast.world.folder().join("by-hand");
    let node = ByHand::start(&folder, &join["join"]);
    eventually("the node serves", || call(&node.url(), &revoked.string("/key")) == 200);
    let revoke = format!("{path}/keys/{}/revoke?wait=30s", revoked.string("/id"));
    cast.dana.post(&revoke, json!({})).expect(200);
    cast.world.server.kill();
    drop(node);
    std::fs::remove_file(folder.join("process.json")).ok();
    let node = ByHand::start(&folder, &join["join"]);
    eventually("the node serves", || call(&node.url(), &kept.string("/key")) == 200);
    assert_eq!(call(&node.url(), &revoked.string("/key")), 401);
}

/// A service's key opens a deployment that its owner may not see, whose node is away: the revocation waits for it, and the
/// owner's receipt does not.
#[test]
fn a_receipt_knows_nothing_of_a_hidden_deployment() {
    let cast = edge();
    let path = "/deployments/iris-on-edge";
    cast.dana.patch(path, json!({"access": "inherit"})).expect(200);
    let new_key = |name: &str| cast.dana.post("/services/iris/keys", json!({"name": name})).expect(201);
    let (kept, revoked) = (new_key("kept"), new_key("revoked"));
    let join = cast.dana.post(&format!("{path}/node-tokens"), json!({})).expect(201);
    let folder = cast.world.folder().join("by-hand");
    let node = ByHand::start(&folder, &join["join"]);
    eventually("the node serves", || node.call(&revoked.string("/key")) == 200);
    cast.admin
        .delete("/infrastructures/edge/grants/data-scientists")
        .expect(204);
    cast.dana.get(path).expect(404);
    let away = node.id();
    drop(node);
    let revoke = |who: &Actor, wait: &str| {
        let path = format!("/services/iris/keys/{}/revoke?wait={wait}", revoked.string("/id"));
        who.post(&path, json!({}))
    };
    let told = revoke(&cast.dana, "30s").expect(200);
    assert_eq!(told["receipts"], json!([]));
    let told = revoke(&cast.admin, "0s").expect(202);
    assert_eq!(told["receipts"][0]["pending"], json!([away]), "{}", told.text());
    // It was for all, seen or not.
    let node = ByHand::start_in(&folder, &join["join"], &[]);
    eventually("the node obeys", || node.call(&revoked.string("/key")) == 401);
    assert_eq!(node.call(&kept.string("/key")), 200);
}

/// A node keeps nothing outside of its folder, and nobody but its control plane hears of it: not the makers of the runtime.
#[test]
fn the_runtime_tells_nobody() {
    let cast = edge();
    let join = cast
        .dana
        .post("/deployments/iris-on-edge/node-tokens", json!({}))
        .expect(201);
    let home = cast.world.folder().join("home");
    std::fs::create_dir(&home).unwrap();
    let environment = ["HOME", "XDG_CACHE_HOME", "TMPDIR"].map(|name| (name, home.display().to_string()));
    let node = ByHand::start_in(&cast.world.folder().join("by-hand"), &join["join"], &environment);
    eventually("its model is loaded", || {
        let ready = Request::get(format!("http://{}/readyz", node.ops())).try_send()?;
        match ready.status {
            200 => Ok(()),
            _ => Err(ready.text()),
        }
    });
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), 0);
    assert!(!node.logged().to_lowercase().contains("telemetry"), "{}", node.logged());
}

/// Keys expire on a node by its clock: one that is wrong is told in its line of the status, while it serves.
#[test]
fn a_node_whose_clock_is_wrong_says_so() {
    let cast = edge();
    let path = "/deployments/iris-on-edge";
    let join = cast.dana.post(&format!("{path}/node-tokens"), json!({})).expect(201);
    let clock = Faketime::new(&cast.world.folder().join("clock"));
    clock.turn_by(Duration::from_secs(600));
    let folder = cast.world.folder().join("by-hand");
    let _node = ByHand::start_in(&folder, &join["join"], &clock.environment());
    eventually("it is told", || {
        let status = cast.dana.get(&format!("{path}/status")).expect(200);
        let node = &status["nodes"][0];
        let reason = node["reason"].as_str().unwrap_or_default();
        let says =
            reason.contains("the clock of this node is about 10 min ahead of") && reason.ends_with("have NTP set both");
        match says && node["state"] == "ready" && status.string("/message").contains(reason) {
            true => Ok(()),
            false => Err(status.text()),
        }
    });
}
