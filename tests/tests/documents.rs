//! The two OpenAPI documents, held against a real control plane and a real node by Schemathesis, with all of its checks.
//!
//! Where our conventions differ from what it takes for granted, `tests/clients/schemathesis.toml` says so. `CASTOFF_EXAMPLES`
//! asks for more of each operation, `CASTOFF_SEED` for another chance.

use acceptance::{Actor, Cast, Database, Deployed, World, json, program};

/// Holds a document against what is at a URL, as somebody with a token and a key.
fn hold(document: &str, url: &str, who: &Actor, key: &str) {
    let path = program::folder().join("../..").join(document);
    program::run(
        &format!("{document} as {}", who.name),
        "documents.py",
        [path.to_str().unwrap(), url],
        [("CASTOFF_TOKEN", who.token()), ("CASTOFF_KEY", key)],
    );
    // Had the token ended meanwhile, every 401 would have counted as right.
    who.get("/whoami").expect(200);
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
    deployed.answers();
}
