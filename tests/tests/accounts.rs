//! Who is calling: passwords, sessions, tokens, service accounts, admin keys.

use acceptance::actor::{cookie, session};
use acceptance::world::{PASSWORD, grant};
use acceptance::{Actor, Database, Request, World, eventually, json};
use serde_json::Value;

#[test]
fn a_session_is_a_cookie_that_only_its_own_page_can_use() {
    let world = World::start(Database::Sqlite);
    let url = &world.server.url;
    let answer = session(url, "admin", PASSWORD).expect(200);
    assert_eq!((&answer["name"], &answer["admin"]), (&json!("admin"), &json!(true)));
    let set = answer.header("set-cookie").unwrap();
    assert!(set.starts_with("castoff_session="), "{set}");
    assert!(set.contains("HttpOnly") && set.contains("SameSite="), "{set}");
    let cookie = set.split(';').next().unwrap();
    let with = |method: &str, path: &str| Request::new(method, format!("{url}/api/v1{path}")).header("cookie", cookie);
    with("GET", "/whoami").send().expect(200);
    let create = || with("POST", "/groups").json(&json!({"name": "a-group"}));
    create().send().expect(403);
    create()
        .header("origin", "https://elsewhere.example")
        .send()
        .expect(403);
    create().header("origin", "null").send().expect(403);
    create().header("origin", url).send().expect(201);
    with("DELETE", "/session").header("origin", url).send().expect(204);
    with("GET", "/whoami").send().expect(401);
}

#[test]
fn wrong_passwords_slow_the_caller_down() {
    let world = World::start(Database::Sqlite);
    let nora = world.user("nora", &[]);
    let url = &world.server.url;
    // A name that does not exist answers as a wrong password.
    let (unknown, wrong) = (session(url, "nobody", "wrong"), session(url, "admin", "wrong"));
    assert_eq!((unknown.status, unknown.text()), (wrong.status, wrong.text()));
    session(url, "admin", PASSWORD).expect(200);
    let mut statuses = Vec::new();
    for _ in 0..30 {
        let answer = session(url, "nora", "wrong");
        statuses.push(answer.status);
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some());
            break;
        }
    }
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    assert!(statuses.len() > 2, "a typo is not punished: {statuses:?}");
    // Slowed down means: even the right password has to wait.
    session(url, "nora", &nora.password).expect(429);
}

#[test]
fn passwords_are_changed_by_oneself_and_reset_by_admins() {
    let world = World::start(Database::Sqlite);
    let nora = world.user("nora", &[]);
    let path = "/users/nora/password";
    nora.put(path, json!({"current": "wrong", "password": "a new long password"}))
        .expect_any(&[401, 403, 422]);
    nora.put(path, json!({"password": "a new long password"}))
        .expect_any(&[403, 422]);
    nora.put(path, json!({"current": nora.password, "password": "short"}))
        .expect(422);
    nora.put(
        path,
        json!({"current": nora.password, "password": "a new long password"}),
    )
    .expect(204);
    session(&nora.url, "nora", &nora.password).expect(401);
    session(&nora.url, "nora", "a new long password").expect(200);
    nora.put("/users/admin/password", json!({"password": "a new long password"}))
        .expect_any(&[403, 404]);
    world
        .admin
        .put(path, json!({"password": "another long password"}))
        .expect(204);
    session(&nora.url, "nora", "another long password").expect(200);
}

#[test]
fn disabling_a_user_ends_everything_of_theirs_at_once() {
    let world = World::start(Database::Sqlite);
    let nora = world.user("nora", &[]);
    let cookie = cookie(&nora.url, "nora", &nora.password);
    let by_cookie = || {
        let request = Request::get(format!("{}/api/v1/whoami", nora.url));
        request.header("cookie", &cookie).send().status
    };
    assert_eq!(by_cookie(), 200);
    nora.get("/whoami").expect(200);
    let events = nora.request("GET", "/events").stream();
    assert_eq!(events.status, 200);
    world.admin.patch("/users/nora", json!({"disabled": true})).expect(200);
    eventually("their events end", || events.ended());
    nora.get("/whoami").expect(401);
    assert_eq!(by_cookie(), 401);
    let (disabled, wrong) = (
        session(&nora.url, "nora", &nora.password),
        session(&nora.url, "nobody", "x"),
    );
    assert_eq!((disabled.status, disabled.text()), (wrong.status, wrong.text()));
    world.admin.patch("/users/nora", json!({"disabled": false})).expect(200);
    session(&nora.url, "nora", &nora.password).expect(200);
    // The last admin cannot shut the door behind themselves.
    world
        .admin
        .patch("/users/admin", json!({"disabled": true}))
        .expect_any(&[409, 422]);
    world.admin.get("/whoami").expect(200);
}

#[test]
fn tokens_are_shown_once_and_end_when_taken_back() {
    let world = World::start(Database::Sqlite);
    let nora = world.user("nora", &[]);
    let made = nora
        .post(
            "/tokens",
            json!({"name": "laptop", "expires_at": "2099-01-01T00:00:00Z"}),
        )
        .expect(201);
    let token = made.string("/token");
    assert!(
        token.starts_with("castoff_") && token.len() == 8 + 43,
        "{}",
        token.len()
    );
    let by_token = Actor::with_token(&nora.url, "nora", &token);
    assert_eq!(by_token.get("/whoami").expect(200)["via"], "token");
    let listed = nora.get("/tokens").expect(200);
    assert!(listed.names().contains(&"laptop".to_owned()));
    assert!(!listed.text().contains(&token[10..40]));
    nora.post("/tokens", json!({"name": "laptop"})).expect(409);
    nora.post("/tokens", json!({"name": "old", "expires_at": "2001-01-01T00:00:00Z"}))
        .expect(422);
    nora.delete("/tokens/laptop").expect(204);
    by_token.get("/whoami").expect(401);
}

#[test]
fn a_service_account_does_what_its_groups_may() {
    let cast = World::with_cast(Database::Sqlite);
    cast.iris();
    let admin = &cast.admin;
    admin
        .post(
            "/service-accounts",
            json!({"name": "ci", "description": "the pipeline"}),
        )
        .expect(201);
    let made = admin
        .post("/service-accounts/ci/tokens", json!({"name": "github"}))
        .expect(201);
    let ci = Actor::with_token(&admin.url, "ci", &made.string("/token"));
    assert_eq!(ci.get("/whoami").expect(200)["kind"], "service-account");
    ci.get("/services/iris").expect(404);
    admin
        .put("/groups/devops/members/ci", json!({}))
        .expect_any(&[200, 201, 204]);
    ci.get("/services/iris").expect(200);
    let body = json!({"service": "iris", "infrastructure": "prod", "version": "v1", "enabled": false});
    ci.post("/deployments", body).expect(201);
    assert_eq!(
        cast.omar.get("/deployments/iris-on-prod").expect(200)["created_by"],
        "ci"
    );
    // It has no password and no session.
    session(&admin.url, "ci", "").expect_any(&[401, 422]);
    admin
        .patch("/service-accounts/ci", json!({"disabled": true}))
        .expect(200);
    ci.get("/whoami").expect(401);
}

#[test]
fn groups_can_be_seen_by_name_and_changed_by_admins() {
    let cast = World::with_cast(Database::Sqlite);
    let names = cast.sam.get("/groups").expect(200);
    assert!(names.names().contains(&"devops".to_owned()));
    let group = names.items().iter().find(|group| group["name"] == "devops").unwrap();
    assert_eq!(group.as_object().unwrap().len(), 1, "names only: {group}");
    cast.sam.get("/groups/devops/members").expect_any(&[403, 404]);
    cast.sam
        .put("/groups/devops/members/sam", json!({}))
        .expect_any(&[403, 404]);
    // Leaving a group takes effect with the next request.
    cast.omar.get("/infrastructures/prod").expect(200);
    cast.admin.delete("/groups/devops/members/omar").expect(204);
    cast.omar.get("/infrastructures/prod").expect(404);
    // A group with admin makes platform admins.
    cast.admin
        .post("/groups", json!({"name": "platform", "admin": true}))
        .expect(201);
    cast.admin
        .put("/groups/platform/members/sam", json!({}))
        .expect_any(&[200, 201, 204]);
    cast.sam.get("/infrastructures/prod").expect(200);
    cast.sam.post("/groups", json!({"name": "more"})).expect(201);
}

/// K2–K5: keys of the machine itself.
#[test]
fn k2_admin_keys_are_made_on_the_machine() {
    let world = World::start(Database::Sqlite);
    let run = |arguments: &[&str]| {
        let output = world
            .server
            .command()
            .arg("admin-key")
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{arguments:?}: {text} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    };
    let made = run(&["create", "bootstrap"]);
    let token = made
        .split_whitespace()
        .find(|word| word.starts_with("castoff_"))
        .expect(&made);
    let root = Actor::with_token(&world.server.url, "bootstrap", token);
    let who = root.get("/whoami").expect(200);
    assert_eq!((&who["kind"], &who["admin"]), (&json!("admin-key"), &json!(true)));
    root.post("/groups", json!({"name": "made-by-key"})).expect(201);
    let audit = world.admin.list("/audit?object=made-by-key");
    assert!(audit.iter().any(|row| row["actor_kind"] == "admin-key"), "{audit:?}");
    let listed = run(&["list"]);
    assert!(listed.contains("bootstrap") && !listed.contains(token));
    run(&["delete", "bootstrap"]);
    root.get("/whoami").expect(401);
}

/// What a first start without a password's file prints works, and only the first start prints it.
#[test]
fn whoami_is_the_same_over_the_command_line() {
    let cast = World::with_cast(Database::Sqlite);
    let who: Value = cast.dana.cli(["-o", "json", "whoami"]).expect(0).json();
    assert_eq!((&who["name"], &who["create_service"]), (&json!("dana"), &json!(true)));
    cast.world.nobody().cli(["whoami"]).expect(3);
}

#[test]
fn ownership_is_handed_over() {
    let cast = World::with_cast(Database::Sqlite);
    cast.iris();
    let nora = cast.world.user("nora", &["data-scientists"]);
    nora.get("/services/iris").expect(404);
    // Dana cannot know that there is nora before she sees something of hers.
    let hand_over = || cast.dana.patch("/services/iris", json!({"owner": "nora"}));
    hand_over().expect(422);
    nora.post("/services", json!({"name": "roses"})).expect(201);
    grant(&nora, "services", "roses", "data-scientists", &["read"]);
    hand_over().expect(200);
    assert_eq!(nora.get("/services/iris").expect(200)["owner"], "nora");
    nora.patch("/services/iris", json!({"description": "mine now"}))
        .expect(200);
    cast.dana.get("/services/iris").expect(404);
    // A platform admin sees everybody.
    cast.admin.patch("/services/iris", json!({"owner": "sam"})).expect(200);
}

#[test]
fn tokens_expire() {
    let world = World::start(Database::Sqlite);
    let nora = world.user("nora", &[]);
    let body = json!({"name": "short", "expires_at": acceptance::world::in_seconds(3)});
    let made = nora.post("/tokens", body).expect(201);
    let short = Actor::with_token(&nora.url, "nora", &made.string("/token"));
    eventually("it has expired", || short.get("/whoami").status == 401);
    nora.get("/whoami").expect(200);
}
