//! The two OpenAPI documents, held against a real control plane and a real node by Schemathesis, with all of its checks.
//!
//! Where our conventions differ from what it takes for granted, `tests/clients/schemathesis.toml` says so. `CASTOFF_EXAMPLES`
//! asks for more of each operation, `CASTOFF_SEED` for another chance.

use acceptance::{Actor, Cast, Database, Deployed, World, json};
use std::path::Path;
use std::process::Command;

/// Holds a document against what is at a URL, as somebody with a token and a key.
fn hold(document: &str, url: &str, who: &Actor, key: &str) {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let run = Command::new(clients.join("run"))
        .args(["--program", "documents.py"])
        .arg(clients.join("../..").join(document))
        .arg(url)
        .env("CASTOFF_TOKEN", who.token())
        .env("CASTOFF_KEY", key)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    println!("{out}");
    assert!(run.status.success(), "{document} as {}:\n{out}{err}", who.name);
}

/// What there is to be found: a deployment that runs.
fn stage() -> (Cast, Deployed) {
    let cast = World::with_cast(Database::Sqlite);
    let deployed = cast.iris_on_dev();
    (cast, deployed)
}

#[test]
fn the_control_plane_keeps_its_document_to_an_admin() {
    let (cast, deployed) = stage();
    hold("openapi.json", &cast.world.server.url, &cast.admin, &deployed.key);
}

#[test]
fn the_control_plane_keeps_its_document_to_a_user() {
    let (cast, deployed) = stage();
    hold("openapi.json", &cast.world.server.url, &cast.dana, &deployed.key);
}

#[test]
fn a_node_keeps_its_document_to_every_key() {
    let (cast, deployed) = stage();
    hold("node/openapi.json", &deployed.url, &cast.dana, &deployed.key);
    let made = cast
        .admin
        .post(&deployed.path("/keys?wait=30s"), json!({"name": "of the admin"}));
    hold(
        "node/openapi.json",
        &deployed.url,
        &cast.admin,
        &made.expect(201).string("/key"),
    );
}
