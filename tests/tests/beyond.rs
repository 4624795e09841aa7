//! Nodes on other machines: they come by TLS, and believe the authority of their join document and nobody else.
//!
//! The one machine of a test stands for two: the port listens on every address, and nodes dial it by a name of it.

use acceptance::castoff::command;
use acceptance::node::ByHand;
use acceptance::world::grant;
use acceptance::{Answer, Cast, Database, Request, World, eventually, json, models, ports, scratch};

const DEPLOYMENT: &str = "/deployments/iris-on-edge";

/// A control plane that listens for nodes everywhere, and a deployment whose nodes are started by hand.
fn reachable() -> Cast {
    let (port, _) = ports::range();
    let (listen, url) = (format!("0.0.0.0:{port}"), format!("https://127.0.0.1:{port}"));
    let cast = World::with_cast_and(Database::Sqlite, &["--node-listen", &listen, "--node-url", &url]);
    cast.iris();
    let body = json!({"name": "edge", "kind": "static", "stage": "dev"});
    cast.admin.post("/infrastructures", body).expect(201);
    grant(&cast.admin, "infrastructures", "edge", "data-scientists", &["deploy"]);
    let body = json!({"service": "iris", "infrastructure": "edge", "version": "v1"});
    cast.dana.post("/deployments", body).expect(201);
    cast
}

fn join(cast: &Cast) -> Answer {
    cast.dana
        .post(&format!("{DEPLOYMENT}/node-tokens"), json!({}))
        .expect(201)
}

fn call(url: &str, key: &str) -> u16 {
    let request = Request::post(format!("{url}/public/api/v1/iris/iris/predict")).header("x-api-key", key);
    request
        .json(&models::setosa())
        .try_send()
        .map_or(0, |answer| answer.status)
}

#[test]
fn a_node_comes_by_tls_and_serves() {
    let mut cast = reachable();
    let key = |name: &str| {
        cast.dana
            .post(&format!("{DEPLOYMENT}/keys"), json!({"name": name}))
            .expect(201)
    };
    let (kept, ended) = (key("kept"), key("ended"));
    let join = join(&cast);
    assert!(join.string("/join/control_plane").starts_with("https://127.0.0.1:"));
    assert!(join.string("/join/ca_pem").contains("BEGIN CERTIFICATE"));
    let node = ByHand::start(&cast.world.folder().join("far"), &join["join"]);
    let url = node.url();
    // Its model came by the same port.
    for key in [&kept, &ended] {
        eventually("the node serves", || match call(&url, &key.string("/key")) {
            200 => Ok(()),
            status => Err(format!("{status}")),
        });
    }
    let spoken = format!(r#""spoken":"{}""#, castoff_wire::line::PROTOCOL);
    assert!(node.logged().contains(&spoken), "{}", node.logged());
    // The control plane comes back with another certificate of the same authority.
    cast.world.server.kill();
    cast.world.server.launch();
    eventually("the node is back", || {
        let status = cast.dana.get(&format!("{DEPLOYMENT}/status")).expect(200);
        match status["state"] == "running" {
            true => Ok(()),
            false => Err(status.text()),
        }
    });
    let revoke = format!("{DEPLOYMENT}/keys/{}/revoke?wait=30s", ended.string("/id"));
    let revoked = cast.dana.post(&revoke, json!({})).expect(200);
    assert_eq!(revoked["receipts"][0]["pending"], json!([]), "{}", revoked.text());
    assert_eq!(call(&url, &ended.string("/key")), 401);
    assert_eq!(call(&url, &kept.string("/key")), 200);
}

#[test]
fn another_authority_is_not_believed() {
    let (cast, other) = (reachable(), reachable());
    let mut document = join(&cast)["join"].clone();
    document["ca_pem"] = join(&other)["join"]["ca_pem"].clone();
    let mut node = ByHand::start(&cast.world.folder().join("misled"), &document);
    eventually("the node says whom it does not believe", || {
        match node.logged().contains("invalid peer certificate") {
            true => Ok(()),
            false => Err(node.logged()),
        }
    });
    // It goes on trying, and has said nothing: its token stayed with it.
    assert_eq!(node.exit_code(), None);
    let nodes = cast.dana.get(&format!("{DEPLOYMENT}/nodes")).expect(200);
    assert!(nodes.items().is_empty(), "{}", nodes.text());
}

#[test]
fn a_token_does_not_travel_in_the_clear() {
    let cast = reachable();
    let good = join(&cast)["join"].clone();
    for (url, authority) in [
        ("http://192.0.2.1:8401", true),
        ("http://castoff.example:8401", true),
        ("https://127.0.0.1:8401", false),
    ] {
        let mut document = good.clone();
        document["control_plane"] = json!(url);
        if !authority {
            document.as_object_mut().unwrap().remove("ca_pem");
        }
        let mut node = ByHand::start(&scratch::subfolder("in-the-clear"), &document);
        eventually("the node ends", || node.process().is_none());
        assert_eq!(node.exit_code(), Some(2), "{url}");
        assert!(node.logged().contains("https://"), "{}", node.logged());
    }
}

#[test]
fn the_port_of_the_nodes_is_not_opened_to_others_without_its_name() {
    for (url, says) in [(None, "--node-url"), (Some("http://127.0.0.1:8401"), "https://")] {
        let mut command = command(&scratch::subfolder("nameless").join("data"), &Database::Sqlite);
        command.args(["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"]);
        command.args(["--node-listen", "0.0.0.0:0"]);
        if let Some(url) = url {
            command.args(["--node-url", url]);
        }
        let output = command
            .env("CASTOFF_ONNXRUNTIME", acceptance::castoff::onnxruntime())
            .output()
            .unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(says), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
