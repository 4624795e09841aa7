//! Who may do what: the conjunction of service and infrastructure, and what must not even be learnt.

use acceptance::world::{grant, has};
use acceptance::{Cast, on_both_databases};
use serde_json::json;

on_both_databases! {
    /// K8, K9, K11: a data scientist deploys on dev and is told what is missing on prod.
    fn k11_dana_deploys_to_dev_and_is_refused_on_prod(cast: Cast) {
        let on_dev = cast.iris_on_dev();
        on_dev.answers();

        let body = json!({"service": "iris", "infrastructure": "prod", "version": "v1"});
        let refused = cast.dana.post("/deployments", body.clone()).expect(403);
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        assert_eq!(refused["type"], "https://castoff.dev/problems/forbidden");
        assert_eq!(refused["missing"], json!(["deploy on infrastructure prod"]));
        assert!(
            refused.string("/detail").contains("needs deploy on infrastructure prod; you have view"),
            "{}",
            refused.text()
        );

        let refused = cast.dana.cli(["deploy", "iris", "v1", "--on", "prod"]).expect(4);
        assert!(refused.err.contains("needs deploy on infrastructure prod; you have view"), "{}", refused.err);

        let asked = ["can-i", "change-deployment", "--service", "iris", "--infra", "prod"];
        let asked = cast.dana.cli(asked).expect(4);
        assert!(asked.out.contains("deploy on infrastructure prod"), "{}", asked.out);

        // Who has the other half may; dana then sees it, as she reads the service and views prod (K14).
        cast.omar.cli(["deploy", "iris", "v1", "--on", "prod", "--wait", "60s"]).expect(0);
        cast.dana.get("/deployments/iris-on-prod").expect(200);
        let refused = cast.dana.post("/deployments/iris-on-prod/disable", json!({})).expect(403);
        assert_eq!(refused["missing"], json!(["deploy on infrastructure prod"]));
        for (method, path) in [("PATCH", ""), ("DELETE", ""), ("POST", "/keys"), ("POST", "/rollback")] {
            let path = format!("/deployments/iris-on-prod{path}");
            // A body that is no JSON: what may not be done is said before what is wrong with it.
            cast.dana.request(method, &path).body("{").send().expect(403);
        }
    }

    /// K10: what one may not see answers as what is not there, letter by letter.
    fn k10_a_service_is_invisible_to_a_group_without_read(cast: Cast) {
        cast.iris_on_dev();
        let nora = cast.world.user("nora", &["marketing"]);
        grant(&cast.admin, "infrastructures", "dev", "marketing", &["deploy"]);
        for path in ["", "/versions", "/versions/v1", "/versions/v1/package", "/keys", "/grants"] {
            let hidden = nora.get(&format!("/services/iris{path}")).expect(404);
            let absent = nora.get(&format!("/services/rose{path}")).expect(404);
            assert_eq!(hidden.text().replace("iris", "rose"), absent.text(), "{path}");
        }
        for path in ["", "/status", "/nodes", "/keys", "/revisions", "/logs", "/sample"] {
            let hidden = nora.get(&format!("/deployments/iris-on-dev{path}")).expect(404);
            let absent = nora.get(&format!("/deployments/rose-on-dev{path}")).expect(404);
            assert_eq!(hidden.text().replace("iris", "rose"), absent.text(), "{path}");
        }
        assert!(nora.list("/services").is_empty());
        let audit = nora.get("/audit").expect(200);
        assert!(!audit.text().contains("iris"), "{}", audit.text());
        assert!(nora.list("/deployments").is_empty());
        assert!(has(&nora.list("/infrastructures"), "dev"));

        // What a body names is "unknown" in the same words.
        let deploy = |service: &str| {
            let body = json!({"service": service, "infrastructure": "dev", "version": "v1"});
            nora.post("/deployments", body)
        };
        let (hidden, absent) = (deploy("iris"), deploy("rose"));
        assert_eq!(hidden.status, absent.status);
        assert_eq!(hidden.text().replace("iris", "rose"), absent.text());

        nora.cli(["service", "show", "iris"]).expect(5);
        nora.cli(["status", "iris-on-dev"]).expect(5);
        assert!(!nora.cli(["service", "list"]).expect(0).out.contains("iris"));

        // With read she sees it, and nothing more.
        grant(&cast.dana, "services", "iris", "marketing", &["read"]);
        nora.get("/services/iris").expect(200);
        nora.get("/deployments/iris-on-dev").expect(200);
        nora.patch("/services/iris", json!({"description": "mine"})).expect(403);
        nora.upload("iris", "v2", acceptance::models::read("iris-columns.onnx")).expect(403);
        let refused = nora.post("/deployments/iris-on-dev/disable", json!({})).expect(403);
        assert_eq!(refused["missing"], json!(["deploy on service iris"]));
    }
}

/// A stranger learns nothing, whatever they send.
#[test]
fn a_stranger_with_a_broken_body_gets_404() {
    let cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    cast.iris();
    for (method, path) in [
        ("PATCH", "/services/iris"),
        ("PUT", "/services/iris/grants/devops"),
        ("POST", "/services/iris/keys"),
        ("PUT", "/services/iris/versions/v2"),
        ("PATCH", "/infrastructures/dev"),
        ("PUT", "/infrastructures/dev/grants/devops"),
    ] {
        for body in ["", "{", "garbage", "[1,2", r#"{"name": 7}"#] {
            let refused = cast
                .sam
                .request(method, path)
                .header("content-type", "application/json")
                .body(body)
                .send();
            refused.expect(404);
        }
    }
}

/// K8: a deployment can be read when its service can and its infrastructure can be viewed, and only then.
#[test]
fn k8_a_deployment_is_readable_iff_both_halves_are() {
    let cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    cast.iris();
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1", "enabled": false});
    cast.dana.post("/deployments", body).expect(201);
    let nora = cast.world.user("nora", &["crew"]);
    for (service, infrastructure) in [(false, false), (true, false), (false, true), (true, true)] {
        halves(&cast, service.then_some("read"), infrastructure.then_some("view"));
        let both = service && infrastructure;
        let status = if both { 200 } else { 404 };
        for path in ["", "/status", "/nodes", "/revisions", "/keys", "/sample", "/logs"] {
            nora.get(&format!("/deployments/iris-on-dev{path}")).expect(status);
        }
        assert_eq!(has(&nora.list("/deployments"), "iris-on-dev"), both);
    }
}

/// K9: a deployment can be created with deploy on both, and only then.
#[test]
fn k9_a_deployment_is_creatable_iff_deploy_on_both() {
    let cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    cast.iris();
    let nora = cast.world.user("nora", &["crew"]);
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1", "enabled": false});
    for (service, infrastructure, status) in [
        // What one may not even see is unknown.
        (None, None, 422),
        (Some("deploy"), None, 422),
        (None, Some("deploy"), 422),
        (Some("read"), Some("view"), 403),
        (Some("write"), Some("deploy"), 403),
        (Some("deploy"), Some("view"), 403),
        (Some("deploy"), Some("deploy"), 201),
    ] {
        halves(&cast, service, infrastructure);
        nora.post("/deployments", body.clone()).expect(status);
    }
}

/// The group `crew` has this on the service, and that on dev.
fn halves(cast: &Cast, service: Option<&str>, infrastructure: Option<&str>) {
    for (by, nouns, name, privilege) in [
        (&cast.dana, "services", "iris", service),
        (&cast.admin, "infrastructures", "dev", infrastructure),
    ] {
        match privilege {
            Some(privilege) => grant(by, nouns, name, "crew", &[privilege]),
            None => drop(by.delete(&format!("/{nouns}/{name}/grants/crew"))),
        }
    }
}

/// K17: only groups with create-service create services.
#[test]
fn k17_creating_needs_its_privilege() {
    let cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    for actor in [&cast.dana, &cast.omar, &cast.sam] {
        actor.post("/users", json!({"name": "eve"})).expect(403);
        actor.post("/groups", json!({"name": "mine"})).expect(403);
        actor.post("/service-accounts", json!({"name": "mine"})).expect(403);
    }
    cast.omar.post("/services", json!({"name": "mine"})).expect(403);
    cast.sam.post("/services", json!({"name": "mine"})).expect(403);
    cast.dana.cli(["service", "create", "mine"]).expect(0);
    // A name that is taken is the one thing a creator may learn.
    cast.dana.post("/services", json!({"name": "mine"})).expect(409);
}

/// K19: what is granted on a service opens what it says, at once, and no more; taken back, nothing.
#[test]
fn k19_grants_open_what_they_say() {
    let cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    cast.iris();
    let nora = cast.world.user("nora", &["writers"]);
    let package = || acceptance::models::read("iris-columns.onnx");
    grant(&cast.dana, "services", "iris", "writers", &["write"]);
    nora.get("/services/iris").expect(200);
    nora.upload("iris", "v2", package()).expect(201);
    nora.delete("/services/iris/versions/v2").expect(204);
    nora.patch("/services/iris", json!({"description": "x"})).expect(403);
    nora.delete("/services/iris").expect(403);
    nora.put("/services/iris/grants/writers", json!({"privileges": ["admin"]}))
        .expect(403);

    grant(&cast.dana, "services", "iris", "writers", &["admin"]);
    nora.patch("/services/iris", json!({"description": "x"})).expect(200);
    nora.post("/services/iris/keys", json!({"name": "design time"}))
        .expect(201);

    cast.dana.delete("/services/iris/grants/writers").expect(204);
    nora.get("/services/iris").expect(404);
}

/// The explanation names the grant that gives, or what is missing and who can give it.
#[test]
fn can_i_explains_itself() {
    let cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    cast.iris();
    let may = cast
        .dana
        .get("/can-i?action=change-deployment&service=iris&infrastructure=dev")
        .expect(200);
    assert_eq!(may["allowed"], true, "{}", may.text());
    assert!(may.text().contains("data-scientists"), "{}", may.text());
    let may_not = cast
        .dana
        .get("/can-i?action=change-deployment&service=iris&infrastructure=prod")
        .expect(200);
    assert_eq!(may_not["allowed"], false, "{}", may_not.text());
    assert_eq!(may_not["missing"], json!(["deploy on infrastructure prod"]));
    // Of what one may not see, nothing: as if it were not there.
    let hidden = cast.sam.get("/can-i?action=see-service&service=iris");
    let absent = cast.sam.get("/can-i?action=see-service&service=rose");
    assert_eq!(hidden.status, absent.status);
    assert_eq!(hidden.text().replace("iris", "rose"), absent.text());
}

/// What belongs to one thing cannot be had through another that one may see.
#[test]
fn nothing_is_reached_through_somebody_elses_door() {
    let cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    let dev = cast.iris_on_dev();
    let (key, node) = (dev.key_id("first"), dev.nodes()[0].id.clone());
    // Eve has a service and a deployment of her own on the same infrastructure.
    let eve = cast.world.user("eve", &["rivals"]);
    cast.admin
        .patch("/groups/rivals", json!({"create_service": true}))
        .expect(200);
    grant(&cast.admin, "infrastructures", "dev", "rivals", &["deploy"]);
    eve.post("/services", json!({"name": "own"})).expect(201);
    eve.upload("own", "v1", acceptance::models::read("iris-columns.onnx"))
        .expect(201);
    let body = json!({"service": "own", "infrastructure": "dev", "version": "v1", "enabled": false});
    eve.post("/deployments", body).expect(201);

    for ring in ["/deployments/own-on-dev", "/services/own"] {
        let path = format!("{ring}/keys/{key}");
        eve.get(&path).expect(404);
        eve.patch(&path, json!({"name": "mine"})).expect(404);
        eve.delete(&path).expect(404);
        for action in ["reveal", "revoke", "activate", "rotate"] {
            eve.post(&format!("{path}/{action}"), json!({})).expect(404);
        }
    }
    eve.get("/services/own/versions/v9").expect(404);
    let logs = eve.get(&format!("/deployments/own-on-dev/logs?node={node}"));
    assert!(logs.status == 404 || logs.text().is_empty(), "{}", logs.text());
    // Not by a body, either.
    eve.post(
        "/deployments",
        json!({"name": "x", "service": "iris", "infrastructure": "dev", "version": "v1"}),
    )
    .expect(422);
    eve.patch("/deployments/own-on-dev", json!({"version": "v9"}))
        .expect(422);
    let hand_over = |to: &str| eve.patch("/services/own", json!({"owner": to}));
    let (hidden, absent) = (hand_over("omar").expect(422), hand_over("amor").expect(422));
    assert_eq!(hidden.text(), absent.text());
    dev.answers();
}

/// A name that is used again is not the one who had it: nothing is inherited.
#[test]
fn a_new_account_inherits_nothing_of_its_name() {
    let cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    let dev = cast.iris_on_dev();
    let made = cast
        .dana
        .post(&dev.path("/keys"), json!({"name": "r", "class": "recoverable"}))
        .expect(201);
    let reveal = dev.path(&format!("/keys/{}/reveal", made.string("/id")));
    cast.dana.post(&reveal, json!({})).expect(200);
    // Who owns services cannot go before they are handed over.
    cast.admin.delete("/users/dana").expect(409);
    cast.admin.patch("/services/iris", json!({"owner": "omar"})).expect(200);
    cast.admin.delete("/users/dana").expect(204);
    cast.dana.get("/whoami").expect(401);
    let dana = cast.world.user("dana", &[]);
    dana.get("/services/iris").expect(404);
    dana.get(&dev.path("")).expect(404);
    cast.admin
        .put("/groups/data-scientists/members/dana", json!({}))
        .expect(204);
    grant(&cast.omar, "services", "iris", "data-scientists", &["read"]);
    dana.get(&dev.path("")).expect(200);
    dana.post(&reveal, json!({})).expect(403);
    // Groups, too.
    cast.admin.delete("/groups/data-scientists").expect(204);
    dana.get("/services/iris").expect(404);
    cast.admin
        .post("/groups", json!({"name": "data-scientists"}))
        .expect(201);
    cast.admin
        .put("/groups/data-scientists/members/dana", json!({}))
        .expect(204);
    dana.get("/services/iris").expect(404);
}

/// A refusal names who can give what is missing: owner and admins of that half, and of no other. A slip is helped where one
/// may see what was meant, and only there.
#[test]
fn a_refusal_says_who_can_give_what_is_missing() {
    let cast = acceptance::World::with_cast(acceptance::Database::Sqlite);
    cast.iris();
    cast.world.user("kim", &["keepers"]);
    cast.world.user("olga", &["operators"]);
    let nora = cast.world.user("nora", &["readers"]);
    grant(&cast.dana, "services", "iris", "keepers", &["admin"]);
    grant(&cast.admin, "infrastructures", "prod", "operators", &["admin"]);
    grant(&cast.dana, "services", "iris", "readers", &["read"]);
    let body = json!({"service": "iris", "infrastructure": "prod", "version": "v1", "enabled": false});
    let refused = cast.dana.post("/deployments", body.clone()).expect(403);
    let operators = json!({"groups": ["admins", "operators"]});
    assert_eq!(refused["ask"], operators, "{}", refused.text());
    for (on_prod, groups) in [
        ("deploy", json!(["admins", "keepers"])),
        ("view", json!(["admins", "keepers", "operators"])),
    ] {
        grant(&cast.admin, "infrastructures", "prod", "readers", &[on_prod]);
        let ask = json!({"owner": "dana", "groups": groups});
        let refused = nora.post("/deployments", body.clone()).expect(403);
        assert_eq!(refused["ask"], ask, "{}", refused.text());
        let told = nora
            .get("/can-i?action=change-deployment&service=iris&infrastructure=prod")
            .expect(200);
        assert_eq!(told["ask"], ask, "{}", told.text());
    }
    let refused = cast.sam.post("/services", json!({"name": "mine"})).expect(403);
    assert_eq!(refused["ask"], json!({"groups": ["admins"]}), "{}", refused.text());
    let typed = cast.dana.cli(["deploy", "iris", "v1", "--on", "prod"]).expect(4).err;
    assert!(typed.contains("who can give it: groups admins, operators"), "{typed}");
    assert!(
        typed.contains("they type: castoff infra grant prod GROUP deploy"),
        "{typed}"
    );
    let slip = |actor: &acceptance::Actor| actor.cli(["service", "show", "irsi"]).expect(5).err;
    let (helped, stranger) = (slip(&cast.dana), slip(&cast.sam));
    assert!(helped.contains("did you mean iris?"), "{helped}");
    assert!(!stranger.contains("did you mean"), "{stranger}");
}
