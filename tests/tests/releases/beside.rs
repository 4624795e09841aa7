//! Two releases on one PostgreSQL at the same time, as while an upgrade is under way, and after it was taken back.

use super::{People, a_key_comes_and_goes, agree, new_version, recoverable, revealed, revoked_elsewhere};
use acceptance::castoff::Server;
use acceptance::node::ByHand;
use acceptance::processes::Process;
use acceptance::world::{PASSWORD, grant};
use acceptance::{Actor, Cast, Database, Deployed, Edge, Release, World, eventually, json, models, scratch};

/// The later release beside the one that runs, on the same database and folder.
fn beside(cast: &Cast, database: Database) -> Server {
    let folder = scratch::subfolder("later");
    std::fs::copy(cast.world.folder().join("master.key"), folder.join("master.key")).unwrap();
    let shared = cast.world.server.data.to_str().unwrap();
    Server::start(&folder, database, PASSWORD, &["--shared-dir", shared])
}

/// Waits until this control plane acts, the number of times it has done so.
fn acts(server: &Server, times: usize) {
    eventually("it acts", || {
        let log = server.logged();
        log.matches("this control plane acts from now on").count() == times
    });
}

/// One writes, the other reads and changes it, and the first reads that.
fn each_goes_on_with_what_the_other_did(one: &People, other: &People, service: &str) {
    let of = |rest: &str| format!("/services/{service}{rest}");
    let model = models::read("iris-columns.onnx");
    one.dana.post("/services", json!({"name": service})).expect(201);
    one.dana.upload(service, "v1", model.clone()).expect(201);
    let package = other.dana.get(&of("/versions/v1/package")).expect(200);
    assert_eq!(package.body, model);
    other
        .dana
        .upload(service, "v2", models::read("iris-zipmap.onnx"))
        .expect(201);
    one.dana.get(&of("/versions/v2")).expect(200);

    other.omar.get(&of("")).expect(404);
    grant(&one.dana, "services", service, "devops", &["read"]);
    other.omar.get(&of("")).expect(200);
    other.dana.delete(&of("/grants/devops")).expect(204);
    one.omar.get(&of("")).expect(404);

    let body = json!({"service": service, "infrastructure": "edge", "version": "v1"});
    let deployment = format!("/deployments/{service}-on-edge");
    one.dana.post("/deployments", body).expect(201);
    let change = json!({"version": "v2", "limits": {"queue": 7}});
    other.dana.patch(&deployment, change).expect(200);
    let shown = one.dana.get(&deployment).expect(200);
    assert_eq!(
        (&shown["limits"]["queue"], &shown["route"][0]["version"]),
        (&json!(7), &json!("v2"))
    );
    one.dana
        .post(&format!("{deployment}/rollback"), json!({"to": 1}))
        .expect(200);
    let shown = other.dana.get(&deployment).expect(200);
    assert_eq!(shown["route"][0]["version"], "v1");

    let keys = format!("{deployment}/keys");
    let body = json!({"name": "k", "class": "recoverable"});
    let key = one.dana.post(&keys, body).expect_any(&[201, 202]);
    let of_key = |rest: &str| format!("{keys}/{}{rest}", key.string("/id"));
    let revealed = other.dana.post(&of_key("/reveal"), json!({})).expect(200);
    assert_eq!(revealed["key"], key["key"]);
    other
        .dana
        .post(&of_key("/rotate"), json!({"overlap_seconds": 3600}))
        .expect_any(&[201, 202]);
    assert_eq!(one.dana.list(&keys).len(), 2);
    let state = |people: &People| people.dana.get(&of_key("")).expect(200)["state"].clone();
    for (verb, expected) in [("revoke", "revoked"), ("activate", "active"), ("revoke", "revoked")] {
        one.dana
            .post(&of_key(&format!("/{verb}")), json!({}))
            .expect_any(&[200, 202]);
        assert_eq!(state(other), expected);
    }
    other.dana.delete(&of_key("")).expect(204);
    one.dana.get(&of_key("")).expect(404);

    // A creation that was answered by one is not done again by the other.
    let again = |people: &People| {
        let request = people.dana.request("POST", "/services");
        let request = request.header("idempotency-key", format!("once-{service}"));
        request
            .json(&json!({"name": format!("{service}-once")}))
            .send()
            .expect(201)
    };
    assert_eq!(again(one).json, again(other).json);

    let user = format!("user-of-{service}");
    let password = "a long password of theirs";
    one.admin
        .post("/users", json!({"name": user, "password": password}))
        .expect(201);
    let at_other = Actor::log_in(&other.admin.url, &user, password);
    let at_one = Actor::with_token(&one.admin.url, &user, at_other.token());
    at_one.get("/whoami").expect(200);
    other
        .admin
        .patch(&format!("/users/{user}"), json!({"disabled": true}))
        .expect(200);
    at_one.get("/whoami").expect(401);
}

/// The process that serves, once it is this release's only one.
fn only_process(deployed: &Deployed) -> Process {
    deployed.processes(1)[0]
}

/// Its process is killed; what takes its place is of this release.
fn is_replaced_by(deployed: &Deployed, release: Release) {
    let before = only_process(deployed);
    before.kill();
    eventually("there is another", || {
        let now = only_process(deployed);
        now != before && now.program() == Some(release.program("castoff-node"))
    });
    deployed.answers();
}

#[test]
fn two_releases_on_one_database_read_each_others_rows() {
    let (Some(previous), Some(database)) = (Release::previous(), Database::postgres()) else {
        return;
    };
    let cast = Cast::gather(World::start_of(previous, database.clone(), &[], &[]));
    let mut edge = Edge::of(cast);
    let earlier = People::at(&edge.cast.world.server.url, &edge.cast);
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1"});
    let local = Deployed::create(&earlier.dana, body);
    let (of_earlier, shown_once) = recoverable(&earlier.dana, "of the earlier");

    // The later one comes up beside it, and changes the schema under it.
    let later_server = beside(&edge.cast, database);
    let later = People::at(&later_server.url, &edge.cast);
    assert_eq!(revealed(&later.dana, &of_earlier), shown_once);
    agree(&earlier, &later);
    each_goes_on_with_what_the_other_did(&earlier, &later, "written-by-the-earlier");
    each_goes_on_with_what_the_other_did(&later, &earlier, "written-by-the-later");

    // Nodes of both dial both.
    let dials = |release: Release, control_plane: &str| {
        let join = edge.join(&format!("http://{control_plane}"));
        ByHand::start_of(release, &scratch::subfolder("node"), &join, &[])
    };
    let (here, there) = (edge.cast.world.server.node.clone(), later_server.node.clone());
    let mut nodes = vec![
        dials(previous, &here),
        dials(previous, &there),
        dials(Release::This, &here),
        dials(Release::This, &there),
    ];
    for (node, release) in nodes.iter().zip([previous, previous, Release::This, Release::This]) {
        edge.up_to_date(node);
        assert_eq!(edge.seen(node)["release"], json!(release.number()));
    }
    // The earlier one knows no lines.
    for (node, spoken) in nodes[2..].iter().zip(["h2", castoff_wire::line::PROTOCOL]) {
        let logged = node.logged();
        assert!(logged.contains(&format!(r#""spoken":"{spoken}""#)), "{logged}");
    }
    revoked_elsewhere(&earlier.dana, &later.dana, &nodes);
    revoked_elsewhere(&later.dana, &earlier.dana, &nodes);
    let (of_later, shown_by_later) = recoverable(&later.dana, "of the later");
    assert_eq!(revealed(&earlier.dana, &of_later), shown_by_later);
    agree(&earlier, &later);

    // A new token for all of them. Those of the later release say that they have it; the others are known to have it when they
    // come with it: one dials anew since the earlier control plane ends, and the other since it is started again. Neither
    // before it was sent the token: it would be sent it on the new line, and say nothing.
    later
        .dana
        .post("/deployments/iris-on-edge/node-tokens/rotate", json!({}))
        .expect(200);
    let keep = |node: &ByHand| node.folder().join("copy/token").exists();
    eventually("they keep the new token", || nodes.iter().all(keep));
    let again = nodes.remove(1);
    let (folder, id) = (again.folder().to_owned(), again.id());
    drop(again);
    let join = edge.join(&format!("http://{there}"));
    nodes.push(ByHand::start_of(previous, &folder, &join, &[("CASTOFF_NODE_ID", id)]));
    edge.up_to_date(&nodes[3]);

    // The upgrade goes on: the earlier one ends, and the later one acts. No node was replaced by that.
    let process = only_process(&local);
    let seen_there = local.seen_by(&later.dana);
    assert_eq!(edge.cast.world.server.stop(), Some(0));
    acts(&later_server, 1);
    assert_eq!(only_process(&seen_there), process);
    a_key_comes_and_goes(&seen_there, "after the upgrade");
    revoked_elsewhere(&later.dana, &later.dana, &nodes);
    let events = later.dana.request("GET", "/deployments/iris-on-edge/events");
    let events = events.header("last-event-id", "0").stream();
    eventually("all nodes have the new token", || {
        let told = events.text();
        match told.contains("all nodes have the new node token") {
            true => Ok(()),
            false => Err(format!("{}: {told}", events.status)),
        }
    });
    is_replaced_by(&seen_there, Release::This);
    new_version(&later.dana, "later");

    // And is taken back: the earlier one comes up on the schema that it does not know, and goes on alone.
    edge.cast.world.server.launch();
    agree(&earlier, &later);
    each_goes_on_with_what_the_other_did(&later, &earlier, "while-it-is-taken-back");
    let process = only_process(&local);
    let mut later_server = later_server;
    assert_eq!(later_server.stop(), Some(0));
    acts(&edge.cast.world.server, 2);
    assert_eq!(only_process(&local), process);
    a_key_comes_and_goes(&local, "after it was taken back");
    revoked_elsewhere(&earlier.dana, &earlier.dana, &nodes);
    assert_eq!(revealed(&earlier.dana, &of_later), shown_by_later);
    earlier
        .dana
        .patch(&local.path("?wait=60s"), json!({"version": "later"}))
        .expect(200);
    is_replaced_by(&local, previous);
}
