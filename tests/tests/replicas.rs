//! Two control planes on one PostgreSQL: what one has answered, the other knows at its next call.

use acceptance::castoff::Server;
use acceptance::world::{PASSWORD, grant};
use acceptance::{Actor, Database, Request, World, eventually, json, scratch};

const DEPLOYMENT: &str = "/deployments/iris-on-dev";

#[test]
fn what_is_withdrawn_through_one_is_refused_by_the_other_at_the_next_call() {
    let Some(database) = Database::postgres() else { return };
    let cast = World::with_cast(database.clone());
    cast.iris();
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1", "enabled": false});
    cast.dana.post("/deployments", body).expect(201);
    let folder = scratch::subfolder("replica");
    std::fs::copy(cast.world.folder().join("master.key"), folder.join("master.key")).unwrap();
    let shared = cast.world.server.data.to_str().unwrap();
    let there = Server::start(&folder, database, PASSWORD, &["--shared-dir", shared]);
    let omar = Actor::with_token(&there.url, "omar", cast.omar.token());
    // Asked twice: the second answer may be from what the first one read.
    let sees = |status| {
        for _ in 0..2 {
            omar.get(DEPLOYMENT).expect(status);
        }
    };
    for _ in 0..5 {
        sees(200);
        cast.dana.delete("/services/iris/grants/devops").expect(204);
        sees(404);
        grant(&cast.dana, "services", "iris", "devops", &["read"]);
        sees(200);
        cast.admin.delete("/groups/devops/members/omar").expect(204);
        sees(404);
        cast.admin
            .put("/groups/devops/members/omar", json!({}))
            .expect_any(&[200, 201, 204]);
        sees(200);
        cast.admin.patch("/users/omar", json!({"disabled": true})).expect(200);
        sees(401);
        cast.admin.patch("/users/omar", json!({"disabled": false})).expect(200);
    }
    // And back: what is changed there is seen here.
    let dana = Actor::with_token(&there.url, "dana", cast.dana.token());
    cast.dana.get(DEPLOYMENT).expect(200);
    dana.patch(DEPLOYMENT, json!({"limits": {"queue": 7}})).expect(200);
    assert_eq!(cast.dana.get(DEPLOYMENT).expect(200)["limits"]["queue"], 7);
}

/// What one has committed the other hears of by the database, also when a pooler is said to stand between: then by the way
/// past it.
#[test]
fn each_hears_of_what_the_other_does() {
    let Some(database) = Database::postgres() else { return };
    let cast = World::with_cast(database.clone());
    cast.iris();
    let folder = scratch::subfolder("replica");
    std::fs::copy(cast.world.folder().join("master.key"), folder.join("master.key")).unwrap();
    let direct = folder.join("direct-url");
    let Database::Postgres { url, .. } = &database else {
        panic!("it is on PostgreSQL")
    };
    std::fs::write(&direct, url).unwrap();
    let shared = cast.world.server.data.to_str().unwrap();
    let arguments = [
        "--shared-dir",
        shared,
        "--database-direct-url-file",
        direct.to_str().unwrap(),
    ];
    let there = Server::start(&folder, database, PASSWORD, &arguments);
    let heard = |ops: &str| {
        let metrics = Request::get(format!("{ops}/metrics")).send().text();
        metrics.contains("castoff_hints_heard_total")
    };
    let dana = Actor::with_token(&there.url, "dana", cast.dana.token());
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1", "enabled": false});
    dana.post("/deployments", body).expect(201);
    eventually("the first has heard", || heard(&cast.world.server.ops));
    cast.dana.patch(DEPLOYMENT, json!({"limits": {"queue": 7}})).expect(200);
    eventually("the other has heard", || heard(&there.ops));

    // What is wrong with the way past a pooler is said at once, and shows no password.
    std::fs::write(&direct, "postgres://castoff:hidden@127.0.0.1:1/castoff").unwrap();
    let tried = there
        .command()
        .args(["migrate", "status", "--database-direct-url-file"])
        .arg(&direct)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&tried.stderr);
    assert!(!tried.status.success() && !said.contains("hidden"), "{said}");
}
