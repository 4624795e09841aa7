//! What a grant on a service gives, privilege by privilege, and what its owner has without any.

use acceptance::world::grant;
use acceptance::{Actor, Cast, Database, World, json, models};

/// Nora of the group `crew`, which holds this on the service `iris` and deploys on dev.
fn nora_with(privileges: &[&str]) -> (Cast, Actor) {
    let cast = World::with_cast(Database::Sqlite);
    cast.iris();
    let nora = cast.world.user("nora", &["crew"]);
    grant(&cast.admin, "infrastructures", "dev", "crew", &["deploy"]);
    grant(&cast.dana, "services", "iris", "crew", privileges);
    (cast, nora)
}

fn deployment() -> serde_json::Value {
    json!({"service": "iris", "infrastructure": "dev", "version": "v1", "enabled": false})
}

/// K18: the creator owns it and may all; it stays theirs without any grant.
#[test]
fn k18_the_creator_owns_the_service() {
    let cast = World::with_cast(Database::Sqlite);
    let dana = &cast.dana;
    let made = dana.post("/services", json!({"name": "mine"})).expect(201);
    assert_eq!((&made["owner"], &made["access"]), (&json!("dana"), &json!("keys")));
    let held = made["my_privileges"].as_array().unwrap();
    for privilege in ["read", "write", "deploy", "admin"] {
        assert!(held.contains(&json!(privilege)), "{privilege}: {held:?}");
    }
    assert!(dana.list("/services/mine/grants").is_empty(), "and no grant says so");
    cast.omar.get("/services/mine").expect(404);
    cast.admin.get("/services/mine").expect(200);
    dana.upload("mine", "v1", models::read("iris-columns.onnx")).expect(201);
    dana.patch("/services/mine", json!({"description": "x"})).expect(200);
    dana.post("/services/mine/keys", json!({"name": "k"})).expect(201);
    grant(dana, "services", "mine", "devops", &["read"]);
    cast.omar.get("/services/mine").expect(200);
    let key = dana.list("/services/mine/keys")[0]["id"].as_str().unwrap().to_owned();
    dana.post(&format!("/services/mine/keys/{key}/revoke"), json!({}))
        .expect(200);
    dana.delete(&format!("/services/mine/keys/{key}")).expect(204);
    dana.delete("/services/mine").expect(204);
}

/// K20: read is to see the service's keys, masked; their text only where key_visibility says readers.
#[test]
fn k20_read_shows_the_keys_of_the_service() {
    let (cast, nora) = nora_with(&["read"]);
    let body = json!({"name": "design time", "class": "recoverable"});
    let made = cast.dana.post("/services/iris/keys", body).expect(201);
    let listed = nora.get("/services/iris/keys").expect(200);
    assert_eq!(listed.names(), ["design time"]);
    assert!(!listed.text().contains(&made.string("/key")));
    let path = format!("/services/iris/keys/{}", made.string("/id"));
    nora.post(&format!("{path}/reveal"), json!({})).expect(403);
    cast.dana
        .patch("/services/iris", json!({"key_visibility": "readers"}))
        .expect(200);
    let shown = nora.post(&format!("{path}/reveal"), json!({})).expect(200);
    assert_eq!(shown["key"], made["key"]);
    // Seeing is not changing.
    for action in ["revoke", "activate", "rotate"] {
        nora.post(&format!("{path}/{action}"), json!({})).expect(403);
    }
    nora.patch(&path, json!({"name": "mine"})).expect(403);
    nora.post("/services/iris/keys", json!({"name": "mine"})).expect(403);
    // That it was shown is in the audit.
    let audit = cast.admin.list("/audit?object=design%20time");
    let revealed = audit
        .iter()
        .find(|row| row["actor"] == "nora" && row["action"] == "reveal-key");
    assert!(revealed.is_some(), "{audit:?}");
}

/// An operator's own rules are obeyed: here, who reads a service does not list its keys.
#[test]
fn who_lists_keys_is_a_rule() {
    let policies = acceptance::scratch::subfolder("policies");
    let ours = models::folder().join("../../policies");
    for name in ["model.conf", "builtin.csv"] {
        let rules = std::fs::read_to_string(ours.join(name)).unwrap();
        let rules = rules.replace(
            "p, service:read, list-service-keys",
            "p, service:admin, list-service-keys",
        );
        std::fs::write(policies.join(name), rules).unwrap();
    }
    let world = World::start_with(Database::Sqlite, &["--policies", policies.to_str().unwrap()]);
    world.admin.post("/services", json!({"name": "iris"})).expect(201);
    let made = world
        .admin
        .post("/services/iris/keys", json!({"name": "k"}))
        .expect(201);
    let nora = world.user("nora", &["crew"]);
    grant(&world.admin, "services", "iris", "crew", &["read"]);
    nora.get("/services/iris").expect(200);
    for path in ["".to_owned(), format!("/{}", made.string("/id"))] {
        let refused = nora.get(&format!("/services/iris/keys{path}")).expect(403);
        assert_eq!(
            refused["missing"],
            json!(["admin on service iris"]),
            "{}",
            refused.text()
        );
    }
    grant(&world.admin, "services", "iris", "crew", &["admin"]);
    nora.get("/services/iris/keys").expect(200);
}

/// K21: write is to upload versions and to delete them.
#[test]
fn k21_write_uploads_and_deletes_versions() {
    let (_cast, nora) = nora_with(&["write"]);
    nora.upload("iris", "v2", models::read("iris-columns.onnx")).expect(201);
    nora.delete("/services/iris/versions/v2").expect(204);
    let refused = nora.post("/deployments", deployment()).expect(403);
    assert_eq!(refused["missing"], json!(["deploy on service iris"]));
    nora.patch("/services/iris", json!({"description": "x"})).expect(403);
    nora.post("/services/iris/keys", json!({"name": "x"})).expect(403);
    nora.delete("/services/iris").expect(403);
}

/// K22: deploy is to deploy, with deploy on the infrastructure; it is neither to upload nor to set.
#[test]
fn k22_deploy_is_one_half_of_deploying() {
    let (cast, nora) = nora_with(&["deploy"]);
    nora.post("/deployments", deployment()).expect(201);
    nora.patch("/deployments/iris-on-dev", json!({"limits": {"queue": 3}}))
        .expect(200);
    nora.upload("iris", "v2", models::read("iris-columns.onnx")).expect(403);
    nora.delete("/services/iris/versions/v1").expect(403);
    nora.patch("/services/iris", json!({"access": "public"})).expect(403);
    grant(&cast.admin, "infrastructures", "dev", "crew", &["view"]);
    let refused = nora
        .patch("/deployments/iris-on-dev", json!({"limits": {"queue": 4}}))
        .expect(403);
    assert_eq!(refused["missing"], json!(["deploy on infrastructure dev"]));
}

/// K23: admin is settings, grants, keys, and to delete it.
#[test]
fn k23_admin_sets_grants_and_deletes() {
    let (cast, nora) = nora_with(&["admin"]);
    nora.patch(
        "/services/iris",
        json!({"description": "x", "key_visibility": "readers"}),
    )
    .expect(200);
    grant(&nora, "services", "iris", "devops", &["read"]);
    nora.post("/services/iris/keys", json!({"name": "x"})).expect(201);
    nora.upload("iris", "v2", models::read("iris-columns.onnx")).expect(201);
    nora.post("/deployments", deployment()).expect(201);
    nora.delete("/services/iris").expect(409);
    nora.delete("/deployments/iris-on-dev").expect(204);
    let key = nora.list("/services/iris/keys")[0]["id"].as_str().unwrap().to_owned();
    nora.post(&format!("/services/iris/keys/{key}/revoke"), json!({}))
        .expect(200);
    nora.delete(&format!("/services/iris/keys/{key}")).expect(204);
    nora.delete("/services/iris").expect(204);
    cast.dana.get("/services/iris").expect(404);
}
