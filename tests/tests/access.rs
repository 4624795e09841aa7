//! Who may call a deployment at all: its access, the header that keys come in, and what a key's scope opens.

use acceptance::{Database, World, eventually, json};

/// What the records dialect says to a key that it does not know.
const REFUSED: u16 = 401;

/// K30, K31: the service's keys reach the nodes of the deployments that inherit, and no other.
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

/// K24: public is explicit, and back again.
#[test]
fn k24_public_opens_and_closes() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
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
}

/// F5, K28: a key opens all endpoints unless it is scoped.
#[test]
fn k28_a_scoped_key_opens_only_its_endpoints() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let body = json!({"name": "scoped", "endpoints": ["another"]});
    let scoped = cast
        .dana
        .post(&dev.path("/keys?wait=30s"), body)
        .expect_any(&[201, 422]);
    if scoped.status == 201 {
        dev.call(&scoped.string("/key")).expect_any(&[401, 403]);
    }
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

/// What an infrastructure no longer allows does not stay open.
#[test]
fn what_is_no_longer_allowed_closes_or_cannot_be_forbidden() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    cast.dana
        .patch(&dev.path("?wait=30s"), json!({"access": "public"}))
        .expect(200);
    dev.call("").expect(200);
    let answer = cast
        .admin
        .patch("/infrastructures/dev", json!({"allow": {"public": false}}))
        .expect_any(&[200, 409]);
    if answer.status == 200 {
        eventually("the deployment is closed", || dev.call("").status == REFUSED);
    }
}
