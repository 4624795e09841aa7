//! Who may call a deployment at all: its access, the header that keys come in, and what a key's scope opens.

use acceptance::{Database, Deployed, Value, World, eventually, json};

/// What the records dialect says to a key that it does not know.
const REFUSED: u16 = 401;

/// K31: own keys, or what the service has; prod allows the second only when its admin does.
#[test]
fn k31_inherited_keys_follow_the_service() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let made = cast
        .dana
        .post("/services/iris/keys?wait=30s", json!({"name": "design time"}))
        .expect(201);
    let key = made.string("/key");
    dev.call(&key).expect(REFUSED);
    cast.dana
        .patch(&dev.path("?wait=30s"), json!({"access": "inherit"}))
        .expect(200);
    dev.call(&key).expect(200);
    // A key made now arrives, and one that is revoked goes, with a receipt for the deployment.
    let second = cast
        .dana
        .post("/services/iris/keys?wait=30s", json!({"name": "second"}))
        .expect(201);
    assert_eq!(second["receipts"][0]["deployment"], "iris-on-dev", "{}", second.text());
    dev.call(&second.string("/key")).expect(200);
    let path = format!("/services/iris/keys/{}/revoke?wait=30s", second.string("/id"));
    cast.dana.post(&path, json!({})).expect(200);
    dev.call(&second.string("/key")).expect(REFUSED);
    dev.call(&key).expect(200);
    cast.dana
        .patch(&dev.path("?wait=30s"), json!({"access": "keys"}))
        .expect(200);
    dev.call(&key).expect(REFUSED);
    dev.call(&dev.key).expect(200);
    // prod allows none of it until its admin says so.
    let body = json!({"service": "iris", "infrastructure": "prod", "version": "v1", "access": "inherit"});
    cast.omar.post("/deployments", body.clone()).expect(403);
    cast.admin
        .patch("/infrastructures/prod", json!({"allow": {"inherit": true}}))
        .expect(200);
    cast.omar.post("/deployments", body).expect(201);
}

/// K30: a key of the service, made at design time, is known to the nodes of what inherits, also when they come later.
#[test]
fn k30_a_design_time_key_reaches_the_nodes() {
    let cast = World::with_cast(Database::Sqlite);
    cast.iris();
    let key = cast
        .dana
        .post("/services/iris/keys", json!({"name": "design time"}))
        .expect(201)
        .string("/key");
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1", "access": "inherit"});
    let dev = Deployed::create(&cast.dana, body);
    dev.call(&key).expect(200);
    // Its uses are counted on the service's key.
    eventually("the use is counted", || {
        let keys = cast.dana.list("/services/iris/keys");
        keys[0]["calls"] == 1 && keys[0]["last_used_at"].is_string()
    });
}

/// K27: the keys of a service open what runs of it, and of no other.
#[test]
fn k27_keys_are_per_service() {
    let cast = World::with_cast(Database::Sqlite);
    let inheriting = |service: &str| {
        cast.service(service, "iris-columns.onnx");
        let body = json!({"service": service, "infrastructure": "dev", "version": "v1", "access": "inherit"});
        let deployed = Deployed::create(&cast.dana, body);
        let path = format!("/services/{service}/keys?wait=30s");
        let key = cast.dana.post(&path, json!({"name": "k"})).expect(201).string("/key");
        (deployed, key)
    };
    let ((one, first), (other, second)) = (inheriting("iris"), inheriting("lily"));
    for (deployed, key, status) in [
        (&one, &first, 200),
        (&other, &second, 200),
        (&one, &second, REFUSED),
        (&other, &first, REFUSED),
    ] {
        deployed.call(key).expect(status);
    }
}

/// K25: a service that was public asks for keys as soon as it is told to.
#[test]
fn k25_keys_can_be_asked_for_again() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    cast.dana
        .patch(&dev.path("?wait=30s"), json!({"access": "inherit"}))
        .expect(200);
    dev.call("").expect(REFUSED);
    let set = |access: &str| {
        cast.dana
            .patch("/services/iris?wait=30s", json!({"access": access}))
            .expect(200);
        let opens = if access == "public" { 200 } else { REFUSED };
        eventually("the nodes know", || dev.call("").status == opens);
    };
    set("public");
    set("keys");
    dev.answers();
}

/// A public service opens nothing where the infrastructure does not allow public: its admin decides that.
#[test]
fn a_public_service_does_not_open_what_the_infrastructure_keeps_closed() {
    let cast = World::with_cast(Database::Sqlite);
    cast.iris();
    let prod = |allow| cast.admin.patch("/infrastructures/prod", json!({"allow": allow}));
    prod(json!({"inherit": true})).expect(200);
    let body = json!({"service": "iris", "infrastructure": "prod", "version": "v1", "access": "inherit"});
    let on_prod = Deployed::create(&cast.omar, body);
    cast.dana
        .patch("/services/iris", json!({"access": "public"}))
        .expect(200);
    // The next key's receipt proves that the nodes have what came before it.
    on_prod.new_key("later");
    on_prod.call("").expect(REFUSED);
    on_prod.answers();
    prod(json!({"public": true})).expect(200);
    eventually("prod was opened by its admin", || on_prod.call("").status == 200);
    let refused = prod(json!({"public": false})).expect(409);
    assert!(refused.string("/detail").contains("public"), "{}", refused.text());
    cast.dana.patch("/services/iris", json!({"access": "keys"})).expect(200);
    prod(json!({"public": false})).expect(200);
    eventually("closed again", || on_prod.call("").status == REFUSED);
}

/// K24: nothing is public by default; public is explicit, in the audit, and back again.
#[test]
fn k24_public_opens_and_closes() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    assert_eq!(dev.show()["access"], "keys");
    assert_eq!(cast.dana.get("/services/iris").expect(200)["access"], "keys");
    dev.call("").expect(REFUSED);
    cast.dana
        .patch(&dev.path("?wait=30s"), json!({"access": "public"}))
        .expect(200);
    dev.call("").expect(200);
    cast.dana
        .patch(&dev.path("?wait=30s"), json!({"access": "keys"}))
        .expect(200);
    dev.call("").expect(REFUSED);
    let body = json!({"service": "iris", "infrastructure": "prod", "version": "v1", "access": "public"});
    cast.omar.post("/deployments", body).expect(403);
    let audit = cast.dana.list("/audit?object=iris-on-dev");
    let opened = |row: &Value| row["after"]["access"] == "public" && row["before"]["access"] == "keys";
    let row = audit.iter().find(|row| opened(row));
    assert_eq!(row.map(|row| &row["actor"]), Some(&json!("dana")), "{audit:?}");
}

/// F5, K28: a key opens all endpoints unless it is scoped.
#[test]
fn k28_a_scoped_key_opens_only_its_endpoints() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let body = json!({"name": "scoped", "endpoints": ["another"]});
    // An endpoint of a version that may come.
    let scoped = cast.dana.post(&dev.path("/keys?wait=30s"), body).expect(201);
    dev.call(&scoped.string("/key")).expect(403);
    let body = json!({"name": "own", "endpoints": ["iris"]});
    let own = cast.dana.post(&dev.path("/keys?wait=30s"), body).expect(201);
    dev.call(&own.string("/key")).expect(200);
}

/// F1: the header's name is the deployment's.
#[test]
fn f1_the_header_has_the_name_that_was_asked_for() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    cast.dana
        .patch(&dev.path("?wait=30s"), json!({"key_header": "x-shop-key"}))
        .expect(200);
    let with = |name: &str| {
        let request = acceptance::Request::post(dev.predict_url()).header(name, &dev.key);
        request.json(&acceptance::models::setosa()).send().status
    };
    assert_eq!(with("x-shop-key"), 200);
    assert_eq!(with("x-another-key"), REFUSED);
    for bad in ["", "x shop", "x-shop\r\nx: y", "ключ"] {
        cast.dana.patch(&dev.path(""), json!({"key_header": bad})).expect(422);
    }
}

/// What an infrastructure no longer allows does not stay open: first it is closed, then it is forbidden.
#[test]
fn what_is_in_use_cannot_be_forbidden() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    cast.dana
        .patch(&dev.path("?wait=30s"), json!({"access": "public"}))
        .expect(200);
    dev.call("").expect(200);
    let answer = cast
        .admin
        .patch("/infrastructures/dev", json!({"allow": {"public": false}}))
        .expect(409);
    assert_eq!(answer["type"], "https://castoff.dev/problems/in-use");
    cast.dana
        .patch(&dev.path("?wait=30s"), json!({"access": "keys"}))
        .expect(200);
    let close = json!({"allow": {"public": false, "inherit": false}});
    cast.admin.patch("/infrastructures/dev", close).expect(200);
    for access in ["public", "inherit"] {
        cast.dana.patch(&dev.path(""), json!({"access": access})).expect(403);
    }
    dev.answers();
}
