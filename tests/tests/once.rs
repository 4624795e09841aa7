//! Creations that are repeated with their `Idempotency-Key`: done once, whatever becomes of the control plane, of who asked,
//! or of what they may.

use acceptance::world::grant;
use acceptance::{
    Actor, Answer, Cast, Database, Request, Value, World, edge, eventually, json, on_both_databases, raw,
};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::io::Write;
use std::thread;

const KEY: &str = "4c1e6f8a";

/// A creation with a key, not sent yet.
fn creation(who: &Actor, path: &str, body: &Value) -> Request {
    who.request("POST", path).header("idempotency-key", KEY).json(body)
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

/// How many keys of this name open a deployment.
fn keys(cast: &Cast, name: &str) -> usize {
    let keys = cast.dana.list("/deployments/iris-on-dev/keys");
    keys.iter().filter(|key| key["name"] == name).count()
}

/// Each of them: what the document says is made with 201.
#[test]
fn every_creation_repeated_with_its_key_happens_once() {
    let cast = World::with_cast(Database::Sqlite);
    cast.iris();
    edge::deploy(&cast, "edge");
    cast.admin
        .post("/service-accounts", json!({"name": "robot"}))
        .expect(201);
    let key = |ring: &str| {
        let made = cast
            .dana
            .post(&format!("{ring}/keys"), json!({"name": "old"}))
            .expect(201);
        made.string("/id")
    };
    let (of_service, of_deployment) = (key("/services/iris"), key("/deployments/iris-on-edge"));
    let named = |name: &str| json!({"name": name});
    let infrastructure = json!({"name": "made", "kind": "static", "stage": "dev"});
    let deployment = json!({"name": "made", "service": "iris", "infrastructure": "edge", "version": "v1"});
    let (admin, dana) = (&cast.admin, &cast.dana);
    let all = [
        ("/users", "/users", admin, named("made")),
        ("/groups", "/groups", admin, named("made")),
        ("/service-accounts", "/service-accounts", admin, named("made-too")),
        (
            "/service-accounts/{account}/tokens",
            "/service-accounts/robot/tokens",
            admin,
            named("made"),
        ),
        ("/tokens", "/tokens", dana, named("made")),
        ("/infrastructures", "/infrastructures", admin, infrastructure),
        ("/services", "/services", dana, named("made")),
        ("/services/{service}/keys", "/services/iris/keys", dana, named("made")),
        (
            "/services/{service}/keys/{key}/rotate",
            &format!("/services/iris/keys/{of_service}/rotate"),
            dana,
            json!({}),
        ),
        ("/deployments", "/deployments", dana, deployment),
        (
            "/deployments/{deployment}/keys",
            "/deployments/iris-on-edge/keys",
            dana,
            named("made"),
        ),
        (
            "/deployments/{deployment}/keys/{key}/rotate",
            &format!("/deployments/iris-on-edge/keys/{of_deployment}/rotate"),
            dana,
            json!({}),
        ),
        (
            "/deployments/{deployment}/node-tokens",
            "/deployments/iris-on-edge/node-tokens",
            dana,
            json!({}),
        ),
    ];
    let document: Value = Request::get(format!("{}/openapi.json", cast.world.server.url))
        .send()
        .json
        .clone();
    let paths = document["paths"].as_object().unwrap().iter();
    let documented: BTreeSet<&str> = paths
        .filter(|(_, methods)| methods["post"]["responses"].get("201").is_some())
        .map(|(path, _)| path.strip_prefix("/api/v1").unwrap())
        .collect();
    assert_eq!(documented, all.iter().map(|(route, ..)| *route).collect());
    for (number, (route, path, who, body)) in all.iter().enumerate() {
        let create = || {
            let request = who
                .request("POST", path)
                .header("idempotency-key", format!("key-{number}"));
            request.json(body).send().expect(201)
        };
        let (first, again) = (create(), create());
        assert!(!is_replay(&first) && is_replay(&again), "{route}: {again:?}");
        for field in ["id", "created_at", "revision"] {
            assert_eq!(first[field], again[field], "{route}");
        }
        assert_eq!(first.header("location"), again.header("location"), "{route}");
        for secret in ["key", "token", "password", "join"] {
            assert!(again[secret].is_null(), "{route}: a replay leaves the secret out");
        }
    }
    // The same key of somebody else is another one, and with another request it is refused.
    let body = named("others");
    let request = |who: &Actor| {
        who.request("POST", "/groups")
            .header("idempotency-key", "key-1")
            .json(&body)
    };
    request(admin).send().expect(409);
    request(dana).send().expect(403);
    assert!(!admin.get("/groups").expect(200).names().contains(&"others".to_owned()));
}

/// What was allowed once may be forbidden since: whoever repeats a creation hears what they would hear without a key.
#[test]
fn a_repetition_is_answered_to_whoever_may_still_do_it() {
    let cast = World::with_cast(Database::Sqlite);
    cast.iris();
    let body = json!({"name": "omars", "service": "iris", "infrastructure": "dev", "version": "v1", "enabled": false});
    let create = || creation(&cast.omar, "/deployments", &body).send();
    let first = create().expect(201);
    let again = create().expect(201);
    assert!(is_replay(&again));
    assert_eq!(first["created_at"], again["created_at"]);
    let as_without_a_key = |status: u16| {
        let (repeated, plain) = (create().expect(status), cast.omar.post("/deployments", body.clone()));
        assert_eq!((repeated.status, repeated.text()), (plain.status, plain.text()));
    };
    grant(&cast.dana, "services", "iris", "devops", &["read"]);
    as_without_a_key(403);
    cast.dana.delete("/services/iris/grants/devops").expect(204);
    as_without_a_key(422);
    grant(&cast.dana, "services", "iris", "devops", &["deploy"]);
    assert!(is_replay(&create().expect(201)));
    let keys = || creation(&cast.omar, "/deployments/omars/keys", &json!({"name": "k"})).send();
    creation(&cast.omar, "/deployments/omars/keys", &json!({"name": "k"}))
        .send()
        .expect(409);
    cast.admin.delete("/groups/devops/members/omar").expect(204);
    let (repeated, absent) = (
        keys().expect(404),
        cast.omar.post("/deployments/none/keys", json!({"name": "k"})),
    );
    assert_eq!((repeated.status, repeated.text()), (absent.status, absent.text()));
    assert_eq!(cast.admin.get("/deployments").expect(200).names(), ["omars"]);
}

on_both_databases! {
    fn of_many_at_the_same_moment_one_is_done(cast: Cast) {
        let body = json!({"name": "made"});
        let answers: Vec<Answer> = thread::scope(|scope| {
            let asked: Vec<_> = (0..12)
                .map(|_| scope.spawn(|| creation(&cast.dana, "/tokens", &body).send().expect_any(&[201, 409])))
                .collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let first: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201 && !is_replay(answer)).collect();
        assert_eq!(first.len(), 1, "{answers:?}");
        for refused in answers.iter().filter(|answer| answer.status == 409) {
            assert!(refused["type"].as_str().unwrap().ends_with("/in-use"), "{}", refused.text());
        }
        assert!(is_replay(&creation(&cast.dana, "/tokens", &body).send().expect(201)));
    }

    /// A key is made and waits for a node that is frozen; the control plane is killed before it answers.
    fn what_a_killed_control_plane_did_not_answer_is_not_done_again(cast: Cast) {
        let mut cast = cast;
        let dev = cast.iris_on_dev();
        let node = dev.processes(1)[0];
        node.signal(Signal::STOP);
        let (path, body) = (dev.path("/keys?wait=60s"), json!({"name": "made"}));
        thread::scope(|scope| {
            let asked = scope.spawn(|| creation(&cast.dana, &path, &body).try_send());
            eventually("it is done", || keys(&cast, "made") == 1);
            cast.world.server.process().kill();
            assert!(asked.join().unwrap().is_err(), "nothing was answered");
        });
        node.signal(Signal::CONT);
        cast.world.server.kill();
        cast.world.server.launch();
        let refused = creation(&cast.dana, &path, &body).send().expect(409);
        assert!(refused.text().contains("this was done, and its answer is not known"), "{}", refused.text());
        assert_eq!(keys(&cast, "made"), 1);
        // Nor does who may not see it hear of it.
        creation(&cast.sam, &path, &body).send().expect(404);
    }

    /// Who has hung up before the answer gets it when they ask again.
    fn a_creation_is_carried_to_its_end_without_its_caller(cast: Cast) {
        let dev = cast.iris_on_dev();
        let node = dev.processes(1)[0];
        node.signal(Signal::STOP);
        let (path, body) = (dev.path("/keys?wait=60s"), json!({"name": "made"}));
        let mut line = raw::dial(&cast.dana.url);
        let text = body.to_string();
        let head = format!(
            "POST /api/v1{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nidempotency-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            cast.dana.token(),
            text.len()
        );
        line.write_all((head + text.as_str()).as_bytes()).unwrap();
        eventually("it is done", || keys(&cast, "made") == 1);
        drop(line);
        let again = || creation(&cast.dana, &path, &body).send().expect_any(&[201, 409]);
        assert_eq!(again().status, 409, "it still waits for the node");
        node.signal(Signal::CONT);
        let answer = eventually("it is answered", || Some(again()).filter(|answer| answer.status == 201));
        assert!(is_replay(&answer) && answer["key"].is_null(), "{}", answer.text());
        assert_eq!(keys(&cast, "made"), 1);
    }
}
