//! Many people at once: nobody gets a 500, one of two wins, and what is left is what was answered.

use acceptance::{Actor, Cast, Database, Edge, World, eventually, models, on_both_databases, postgres};
use serde_json::json;
use std::collections::BTreeMap;
use std::thread;

/// What each of several callers at once was answered.
fn at_once(callers: usize, call: impl Fn(usize) -> u16 + Sync) -> Vec<u16> {
    thread::scope(|scope| {
        let calls: Vec<_> = (0..callers)
            .map(|number| {
                scope.spawn({
                    let call = &call;
                    move || call(number)
                })
            })
            .collect();
        let mut statuses: Vec<u16> = calls.into_iter().map(|call| call.join().unwrap()).collect();
        statuses.sort_unstable();
        statuses
    })
}

on_both_databases! {
    /// A name is given once, a revision is changed once, a version has one content.
    fn of_two_one_wins(cast: Cast) {
        let made = at_once(8, |_| cast.dana.post("/services", json!({"name": "race"})).status);
        assert_eq!(made, [201, 409, 409, 409, 409, 409, 409, 409]);

        let changed = at_once(8, |number| {
            let request = cast.dana.request("PATCH", "/services/race").header("if-match", "\"1\"");
            request.json(&json!({"description": format!("{number}")})).send().status
        });
        assert_eq!(changed, [200, 412, 412, 412, 412, 412, 412, 412]);

        // Who names no state means whatever is there: everybody gets their turn, one after the other.
        let changed = at_once(8, |number| {
            cast.dana.patch("/services/race", json!({"description": format!("{number}")})).status
        });
        assert_eq!(changed, [200; 8]);
        assert_eq!(cast.dana.get("/services/race").expect(200).header("etag"), Some("\"10\""));

        // A grant is what it says; none is "0".
        for (path, privilege) in [("/services/race", "read"), ("/infrastructures/dev", "view")] {
            cast.admin.post("/groups", json!({"name": format!("group-{privilege}")})).expect(201);
            let path = format!("{path}/grants/group-{privilege}");
            let given = |tag: &str| {
                let request = cast.admin.request("PUT", &path).header("if-match", tag);
                request.json(&json!({"privileges": [privilege]})).send()
            };
            assert_eq!(at_once(8, |_| given("\"0\"").status), [200, 412, 412, 412, 412, 412, 412, 412]);
            let tag = given("*").expect(200).header("etag").unwrap().to_owned();
            given(&tag).expect(200);
            let taken = |tag: &str| cast.admin.request("DELETE", &path).header("if-match", tag).send();
            taken("\"0\"").expect(412);
            taken(&tag).expect(204);
        }

        let model = models::read("iris-columns.onnx");
        let uploaded = at_once(6, |_| cast.dana.upload("race", "v1", model.clone()).status);
        assert_eq!(uploaded, [200, 200, 200, 200, 200, 201]);

        let files = ["iris-columns.onnx", "iris-tensor.onnx", "iris-zipmap.onnx"];
        let uploaded = at_once(3, |number| cast.dana.upload("race", "v2", models::read(files[number])).status);
        assert_eq!(uploaded, [201, 409, 409]);

        let body = json!({"service": "race", "infrastructure": "dev", "version": "v1", "enabled": false});
        let deployed = at_once(6, |_| cast.dana.post("/deployments", body.clone()).status);
        assert_eq!(deployed, [201, 409, 409, 409, 409, 409]);
    }

    /// Keys of the service and of the deployment, settings and routes, all at once: the node ends with what the API shows.
    fn a_crowd_leaves_the_node_as_the_api_shows_it(cast: Cast) {
        let dev = cast.iris_on_dev();
        cast.dana.upload("iris", "v2", models::read("iris-columns.onnx")).expect(201);
        cast.dana.patch(&dev.path("?wait=30s"), json!({"access": "inherit"})).expect(200);
        let crowd = |actor: &Actor, number: usize| -> BTreeMap<String, String> {
            let mut keys = BTreeMap::new();
            for round in 0..5 {
                let ring = if (number + round).is_multiple_of(2) { "/services/iris" } else { "/deployments/iris-on-dev" };
                let made = actor.post(&format!("{ring}/keys"), json!({"name": format!("k-{number}-{round}")})).expect(201);
                let path = format!("{ring}/keys/{}", made.string("/id"));
                if round % 2 == 0 {
                    actor.post(&format!("{path}/revoke"), json!({})).expect_any(&[200, 202]);
                }
                let version = if round % 2 == 0 { "v1" } else { "v2" };
                let change = json!({"version": version, "limits": {"queue": 64 + number}});
                actor.patch("/deployments/iris-on-dev", change).expect_any(&[200, 202]);
                keys.insert(path, made.string("/key"));
            }
            keys
        };
        let keys: BTreeMap<String, String> = thread::scope(|scope| {
            let people: Vec<_> = (0..4).map(|number| { let crowd = &crowd; let dana = &cast.dana; scope.spawn(move || crowd(dana, number)) }).collect();
            people.into_iter().flat_map(|person| person.join().unwrap()).collect()
        });
        // One more change with a receipt: all that came before it is on the node, too.
        dev.new_key("last");
        for (path, key) in &keys {
            let state = cast.dana.get(path).expect(200).string("/state");
            dev.call(key).expect(if state == "active" { 200 } else { 401 });
        }
        let shown = dev.show();
        eventually("the node has the newest config", || {
            dev.nodes().iter().all(|node| node.shown["acked"] == shown["config"])
        });
        let served = dev.answers();
        assert_eq!(served.string("/apiContext/serviceGeneration"), shown.string("/route/0/version"));
    }

    /// What is made upon something that goes in the very moment: it is refused as on what is not there, or as on what has changed.
    fn nothing_is_made_upon_what_goes(cast: Cast) {
        for round in 0..30 {
            let (service, group) = (format!("goes-{round}"), format!("goers-{round}"));
            let (path, members) = (format!("/services/{service}"), format!("/groups/{group}/members"));
            cast.admin.post("/services", json!({"name": service})).expect(201);
            cast.admin.post("/groups", json!({"name": group})).expect(201);
            let statuses = at_once(8, |number| match number {
                0 => cast.admin.delete(&path).status,
                1 => cast.admin.delete(&format!("/groups/{group}")).status,
                2 | 3 => cast.admin.put(&format!("{path}/grants/{group}"), json!({"privileges": ["read"]})).status,
                4 | 5 => cast.admin.post(&format!("{path}/keys"), json!({"name": "k"})).status,
                _ => cast.admin.put(&format!("{members}/sam"), json!({})).status,
            });
            // An active key keeps its service, and members their group.
            let known = [200, 201, 204, 404, 409, 412, 422];
            assert!(statuses.iter().all(|status| known.contains(status)), "{round}: {statuses:?}");
        }
    }

    /// Grants and members change under those who read: every answer is one that some order allows.
    fn permissions_change_under_the_reader(cast: Cast) {
        cast.iris();
        let nora = cast.world.user("nora", &["marketing"]);
        thread::scope(|scope| {
            let changer = scope.spawn(|| for _ in 0..10 {
                acceptance::world::grant(&cast.dana, "services", "iris", "marketing", &["read"]);
                cast.dana.delete("/services/iris/grants/marketing").expect(204);
            });
            while !changer.is_finished() {
                nora.get("/services/iris").expect_any(&[200, 404]);
                assert!(nora.list("/services").len() <= 1);
                nora.patch("/services/iris", json!({"description": "x"})).expect_any(&[403, 404]);
            }
            changer.join().unwrap();
        });
        nora.get("/services/iris").expect(404);
    }
}

/// Two tokens of a deployment are valid, however many ask for one at once.
#[test]
fn the_oldest_of_three_node_tokens_ends() {
    let Some(database) = Database::postgres() else { return };
    let Database::Postgres { url, .. } = database.clone() else {
        panic!("it is on PostgreSQL")
    };
    let edge = Edge::of(World::with_cast(database));
    let path = edge.path("/node-tokens");
    for _ in 0..5 {
        let made = at_once(8, |_| edge.cast.dana.post(&path, json!({})).status);
        assert_eq!(made, [201; 8]);
        let two = "DO $$ BEGIN ASSERT (SELECT count(*) FROM node_tokens) = 2, 'there are others'; END $$";
        postgres::state(&url, two);
    }
}

/// Whoever follows the events hears of each, in the order of their ids, however many are committed at once.
#[test]
fn no_event_is_passed_over() {
    // SQLite has one writer: none of them can be late.
    let Some(database) = Database::postgres() else { return };
    let Database::Postgres { url, .. } = database.clone() else {
        return;
    };
    let cast = World::with_cast(database);
    // By itself a commit is hardly ever overtaken. Every other one takes 50 ms here.
    postgres::state(
        &url,
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql \
         AS 'BEGIN PERFORM pg_sleep(0.05 * (NEW.id % 2)); RETURN NULL; END'; \
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION late()",
    );
    let places = ["a", "b", "c", "d", "e", "f"];
    for name in places {
        // Each of a service of its own: changes to one service wait for each other anyway.
        cast.service(name, "iris-columns.onnx");
        let body = json!({"name": name, "service": name, "infrastructure": "dev", "version": "v1", "enabled": false});
        cast.dana.post("/deployments", body).expect(201);
    }
    let followed = cast.dana.request("GET", "/events").stream();
    at_once(places.len(), |number| {
        let path = format!("/deployments/{}", places[number]);
        (1..=25).for_each(|round| drop(cast.dana.patch(&path, json!({"limits": {"queue": round}})).expect(200)));
        200
    });
    let ids = |text: String| -> Vec<u64> {
        text.lines()
            .filter_map(|line| line.strip_prefix("id: ").or(line.strip_prefix("id:"))?.parse().ok())
            .collect()
    };
    let all = cast
        .dana
        .request("GET", "/events")
        .header("last-event-id", "0")
        .stream();
    let created = places.len();
    let told = eventually("they are listed", || {
        Some(ids(all.text())).filter(|all| all.len() >= created + 25 * created)
    });
    let newest = eventually("all are told", || {
        let heard = ids(followed.text());
        (heard == told[created..])
            .then_some(heard.len())
            .ok_or(format!("{heard:?}, not {told:?}"))
    });
    assert_eq!(newest, 25 * places.len());
}
