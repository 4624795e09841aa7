//! What a grant on an infrastructure gives, and to whom. Groups are granted; a deployment is where two grants meet.

use acceptance::world::{cluster_away, grant, has};
use acceptance::{Actor, Cast, Database, Value, World, json, models, on_both_databases};

/// A cast with the service `iris`, and nora of the group `crew`, which was granted nothing.
fn with_crew() -> (Cast, Actor) {
    let cast = World::with_cast(Database::Sqlite);
    cast.iris();
    let nora = cast.world.user("nora", &["crew"]);
    (cast, nora)
}

/// A deployment on dev that no node runs for.
fn at_rest(by: &Actor) -> acceptance::Answer {
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1", "enabled": false});
    by.post("/deployments", body)
}

/// K6: what a group was granted on a service and on an infrastructure its members have, for as long as they are members.
#[test]
fn k6_members_have_what_their_groups_were_granted() {
    let (cast, nora) = with_crew();
    let both = |status| {
        nora.get("/services/iris").expect(status);
        nora.get("/infrastructures/dev").expect(status);
    };
    both(404);
    grant(&cast.dana, "services", "iris", "crew", &["read"]);
    grant(&cast.admin, "infrastructures", "dev", "crew", &["view"]);
    both(200);
    cast.admin.delete("/groups/crew/members/nora").expect(204);
    both(404);
    cast.admin.put("/groups/crew/members/nora", json!({})).expect(204);
    both(200);
    cast.dana.delete("/services/iris/grants/crew").expect(204);
    cast.admin.delete("/infrastructures/dev/grants/crew").expect(204);
    both(404);
    // Nobody is granted anything but by a group.
    let refused = cast
        .dana
        .put("/services/iris/grants/nora", json!({"privileges": ["read"]}));
    refused.expect(404);
}

/// K7: a deployment has no grants of its own, not even for a platform admin.
#[test]
fn k7_a_deployment_has_no_grants() {
    let (cast, _nora) = with_crew();
    at_rest(&cast.dana).expect(201);
    let path = "/deployments/iris-on-dev/grants";
    cast.admin.get(path).expect(404);
    let granted = cast.admin.put(&format!("{path}/crew"), json!({"privileges": ["view"]}));
    granted.expect(404);
    let described = acceptance::models::folder().join("../../openapi.json");
    let described: serde_json::Value = serde_json::from_slice(&std::fs::read(described).unwrap()).unwrap();
    let mut routes = described["paths"].as_object().unwrap().keys();
    assert!(!routes.any(|route| route.contains("/deployments") && route.contains("grants")));
}

/// K12: infrastructures are created by platform admins, whatever else somebody may.
#[test]
fn k12_only_platform_admins_create_infrastructures() {
    let (cast, nora) = with_crew();
    grant(&cast.admin, "infrastructures", "dev", "crew", &["admin"]);
    cast.admin
        .patch("/groups/crew", json!({"create_service": true}))
        .expect(200);
    let body = json!({"name": "mine", "kind": "local", "stage": "dev"});
    for actor in [&nora, &cast.dana, &cast.omar, &cast.sam] {
        actor.post("/infrastructures", body.clone()).expect(403);
    }
    cast.admin.patch("/groups/crew", json!({"admin": true})).expect(200);
    nora.post("/infrastructures", body).expect(201);
}

/// K13: as many groups as there are, each with its own privilege.
#[test]
fn k13_any_number_of_groups_is_granted() {
    let (cast, _nora) = with_crew();
    let groups: Vec<String> = (0..60).map(|number| format!("group-{number:02}")).collect();
    let privileges = ["view", "deploy", "admin"];
    for (number, group) in groups.iter().enumerate() {
        cast.admin.post("/groups", json!({"name": group})).expect(201);
        grant(&cast.admin, "infrastructures", "dev", group, &[privileges[number % 3]]);
    }
    let listed = cast.admin.list("/infrastructures/dev/grants");
    for (number, group) in groups.iter().enumerate() {
        let granted = listed.iter().find(|grant| grant["group"] == group.as_str());
        let granted = granted.unwrap_or_else(|| panic!("{group} is not listed"));
        let privileges = granted["privileges"].as_array().unwrap();
        assert!(
            privileges.contains(&json!(["view", "deploy", "admin"][number % 3])),
            "{granted}"
        );
    }
    // The last of them counts as the first does.
    let lena = cast.world.user("lena", &["group-59"]);
    lena.patch("/infrastructures/dev", json!({"description": "x"}))
        .expect(200);
}

/// K14: view shows deployments, but only of services that one may read.
#[test]
fn k14_view_shows_the_deployments_of_readable_services_only() {
    let (cast, nora) = with_crew();
    at_rest(&cast.dana).expect(201);
    cast.service("digits", "digits.onnx");
    let body = json!({"service": "digits", "infrastructure": "dev", "version": "v1", "enabled": false});
    cast.dana.post("/deployments", body).expect(201);
    grant(&cast.admin, "infrastructures", "dev", "crew", &["view"]);
    assert!(nora.list("/deployments").is_empty());
    grant(&cast.dana, "services", "digits", "crew", &["read"]);
    let seen = nora.list("/deployments");
    assert!(has(&seen, "digits-on-dev") && seen.len() == 1, "{seen:?}");
    nora.get("/deployments/digits-on-dev").expect(200);
    nora.get("/deployments/iris-on-dev").expect(404);
    nora.post("/deployments/digits-on-dev/enable", json!({})).expect(403);
    nora.patch("/deployments/digits-on-dev", json!({"note": "x"}))
        .expect(403);
}

/// K15: deploy on both is to create, update, switch on and off, roll back and delete; it is not to administer.
#[test]
fn k15_deploy_creates_updates_switches_and_deletes() {
    let (cast, nora) = with_crew();
    grant(&cast.admin, "infrastructures", "dev", "crew", &["deploy"]);
    at_rest(&nora).expect(422);
    grant(&cast.dana, "services", "iris", "crew", &["deploy"]);
    at_rest(&nora).expect(201);
    let path = |rest: &str| format!("/deployments/iris-on-dev{rest}");
    let changes = [
        json!({"scale": {"replicas": 2}}),
        json!({"limits": {"queue": 7, "deadline_ms": 1234}}),
        json!({"key_header": "x-crew-key"}),
        json!({"access": "inherit"}),
    ];
    for change in changes {
        let changed = nora.patch(&path(""), change.clone()).expect(200);
        for (name, value) in change.as_object().unwrap() {
            match value.as_object() {
                None => assert_eq!(&changed[name], value, "{name}"),
                Some(parts) => parts
                    .iter()
                    .for_each(|(part, value)| assert_eq!(&changed[name][part], value, "{name}/{part}")),
            }
        }
    }
    nora.post(&path("/enable?wait=60s"), json!({})).expect(200);
    nora.post(&path("/keys"), json!({"name": "mine"})).expect(201);
    nora.post(&path("/rollback"), json!({"to": 1})).expect_any(&[200, 202]);
    nora.post(&path("/disable"), json!({})).expect_any(&[200, 202]);
    nora.patch("/infrastructures/dev", json!({"description": "mine"}))
        .expect(403);
    nora.put("/infrastructures/dev/grants/crew", json!({"privileges": ["admin"]}))
        .expect(403);
    nora.delete("/infrastructures/dev").expect(403);
    let keys = nora.list(&path("/keys"));
    let id = keys[0]["id"].as_str().unwrap();
    nora.post(&path(&format!("/keys/{id}/revoke")), json!({}))
        .expect_any(&[200, 202]);
    nora.delete(&path("")).expect(204);
}

/// K16: admin of an infrastructure is its settings and its grants, and what deploy is.
#[test]
fn k16_admin_changes_settings_and_permissions() {
    let (cast, nora) = with_crew();
    grant(&cast.admin, "infrastructures", "dev", "crew", &["admin"]);
    let settings = json!({"description": "ours", "stage": "test", "allow": {"public": false}});
    let changed = nora.patch("/infrastructures/dev", settings).expect(200);
    assert_eq!(
        (&changed["stage"], &changed["allow"]["public"]),
        (&json!("test"), &json!(false))
    );
    grant(&nora, "infrastructures", "dev", "devops", &["view"]);
    nora.delete("/infrastructures/dev/grants/data-scientists").expect(204);
    cast.dana.get("/infrastructures/dev").expect(404);
    cast.omar.get("/infrastructures/dev").expect(200);
    // Of another one, nothing.
    nora.get("/infrastructures/prod").expect(404);
    nora.delete("/infrastructures/dev").expect(204);
}

on_both_databases! {
    /// A pod that keeps more files than it may would be ended again and again: no deployment has more, nor may pods keep less
    /// than one has.
    fn what_pods_cannot_keep_is_refused(cast: Cast) {
        let kubeconfig = json!({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}], "users": [{"name": "c", "user": {"token": "t"}}],
        });
        let settings = json!({"namespace": "models", "packages": "2Mi"});
        let body = json!({"name": "kube", "kind": "kubernetes", "stage": "test", "kubernetes": settings, "kubeconfig": kubeconfig.to_string()});
        cast.admin.post("/infrastructures", body).expect(201);
        grant(&cast.admin, "infrastructures", "kube", "data-scientists", &["deploy"]);
        cast.iris();
        for (version, kib) in [("half", 1_000), ("other-half", 1_001), ("large", 2_000)] {
            cast.dana.upload("iris", version, models::with_text("iris-columns.onnx", &"x".repeat(kib << 10))).expect(201);
        }
        let deploy = |version: &str| {
            let body = json!({"service": "iris", "infrastructure": "kube", "version": version});
            cast.dana.post("/deployments", body)
        };
        let refused = deploy("large").expect(422);
        assert_eq!(refused["errors"][0]["pointer"], "/route", "{}", refused.text());
        for part in ["needs 2 MiB", "kubernetes.packages of infrastructure kube is 2Mi", "raise it there"] {
            assert!(refused.text().contains(part), "{}", refused.text());
        }
        deploy("half").expect(201);
        let at = "/deployments/iris-on-kube";
        let switch = |version: &str| cast.dana.patch(at, json!({"route": [{"version": version, "weight": 100}]}));
        // The two together do not fit, which they would have to for a while.
        let refused = switch("other-half").expect(422);
        assert!(refused.text().contains("those of the versions before"), "{}", refused.text());
        cast.dana.post(&format!("{at}/disable"), json!({})).expect(200);
        switch("other-half").expect(200);
        let less = |packages: &str| cast.admin.patch("/infrastructures/kube", json!({"kubernetes": {"packages": packages}}));
        let refused = less("1Mi").expect(422);
        assert_eq!(refused["errors"][0]["pointer"], "/kubernetes/packages", "{}", refused.text());
        less("4Mi").expect(200);
        switch("large").expect(200);
        cast.dana.post(&format!("{at}/enable"), json!({})).expect(200);
    }

    /// How a cluster is laid out and entered is for those who administer it, wherever it is written; what a deployment gets
    /// there is for everybody who may see it.
    fn how_pods_run_is_shown_to_those_who_administer(cast: Cast) {
        let kubeconfig = json!({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}], "users": [{"name": "c", "user": {"token": "t"}}],
        });
        let settings = json!({"namespace": "hidden-place", "resources": {"cpu": "123m"}, "egress": [{"cidr": "10.9.8.0/24", "port": 443}]});
        let body = json!({"name": "kube", "kind": "kubernetes", "stage": "test", "kubernetes": settings, "kubeconfig": kubeconfig.to_string()});
        cast.admin.post("/infrastructures", body).expect(201);
        cast.admin.patch("/infrastructures/kube", json!({"kubernetes": {"packages": "3Gi"}})).expect(200);
        grant(&cast.admin, "infrastructures", "kube", "data-scientists", &["deploy"]);
        cast.admin.post("/groups", json!({"name": "sre"})).expect(201);
        let nora = cast.world.user("nora", &["sre"]);
        grant(&cast.admin, "infrastructures", "kube", "sre", &["admin"]);
        for path in ["/infrastructures/kube", "/infrastructures", "/audit?object=kube"] {
            for (by, knows) in [(&cast.dana, false), (&nora, true), (&cast.admin, true)] {
                let said = by.get(path).expect(200).text();
                for part in ["hidden-place", "10.9.8.0/24", "127.0.0.1:1", "3Gi"] {
                    assert_eq!(said.contains(part), knows, "{path}: {part}: {said}");
                }
                assert!(said.contains("create-infrastructure") || said.contains("123m"), "{said}");
            }
        }
        let shown = cast.dana.get("/infrastructures/kube").expect(200);
        assert_eq!(shown["pods"]["resources"]["cpu"], "123m");
        assert!(cast.dana.get("/infrastructures/dev").expect(200)["pods"].is_null());
        // With the right it goes from the audit, too.
        cast.admin.put("/infrastructures/kube/grants/sre", json!({"privileges": ["view"]})).expect(200);
        assert!(!nora.get("/audit?object=kube").expect(200).text().contains("hidden-place"));
    }
}

on_both_databases! {
    /// What stands between two dots of a host has 63 characters at most: whoever would make a longer one is told so.
    fn a_host_that_cannot_be_is_refused(cast: Cast) {
        cast.iris();
        let exposed = |host: &str| json!({"namespace": "models", "exposure": {"kind": "ingress", "host": host}});
        let body = json!({"name": "kube", "kind": "kubernetes", "stage": "test", "kubernetes": exposed("{deployment}.example"), "kubeconfig": cluster_away()});
        cast.admin.post("/infrastructures", body).expect(201);
        grant(&cast.admin, "infrastructures", "kube", "data-scientists", &["deploy"]);
        let deploy = |length: usize| {
            let body = json!({"service": "iris", "infrastructure": "kube", "version": "v1", "name": "d".repeat(length), "enabled": false});
            cast.dana.post("/deployments", body)
        };
        deploy(60).expect(201);
        cast.admin.patch("/infrastructures/kube", json!({"kubernetes": exposed("m-{deployment}.example")})).expect(200);
        let refused = deploy(62).expect(422);
        assert_eq!(refused["errors"][0]["pointer"], "/name", "{}", refused.text());
        assert!(refused.text().contains("64 characters"), "{}", refused.text());
        deploy(61).expect(201);
        let refused = cast.admin.patch("/infrastructures/kube", json!({"kubernetes": exposed("mm-{deployment}.example")})).expect(422);
        assert_eq!(refused["errors"][0]["pointer"], "/kubernetes/exposure/host", "{}", refused.text());
    }
}

on_both_databases! {
    /// How many a deployment has that does not say is the infrastructure's to say, and one may be kept at its number.
    fn how_many_pods_is_said_by_either(cast: Cast) {
        cast.iris();
        let settings = json!({"namespace": "models", "replicas": 2, "autoscaling": {"min": 3, "max": 6, "cpu_percent": 70}});
        let body = json!({"name": "kube", "kind": "kubernetes", "stage": "test", "kubernetes": settings, "kubeconfig": cluster_away()});
        cast.admin.post("/infrastructures", body).expect(201);
        grant(&cast.admin, "infrastructures", "kube", "data-scientists", &["deploy"]);
        let dana = |arguments: &[&str]| cast.dana.cli(arguments.iter().copied());
        // It would be ignored.
        let said = dana(&["deploy", "iris", "v1", "--on", "kube", "--replicas", "4"]).expect(0);
        assert!(said.err.contains("3-6 nodes by what they have to do"), "{}", said.err);
        let status = dana(&["status", "iris-on-kube"]).expect(0).out;
        assert!(status.contains("3-6, by what they have to do"), "{status}");
        let set = |scale: &str| dana(&["deployment", "set", "iris-on-kube", "--scale", scale]);
        let now = || cast.dana.get("/deployments/iris-on-kube").expect(200);
        set(r#"{"fixed": true, "resources": {"cpu": "1", "cpu_limit": null}}"#).expect(0);
        assert_eq!(now()["autoscaling"], Value::Null);
        assert_eq!((&now()["scale"]["replicas"], &now()["scale"]["resources"]["cpu"]), (&json!(4), &json!("1")));
        let said = dana(&["deploy", "iris", "v1", "--on", "kube", "--replicas", "5"]).expect(0);
        assert!(!said.err.contains("by what they have to do"), "{}", said.err);
        assert_eq!(now()["scale"]["resources"]["cpu_limit"], Value::Null, "what else was said stays");
        set(r#"{"autoscaling": {"min": 1, "max": 2, "cpu_percent": 70}}"#).expect(7);
        set(r#"{"fixed": false, "autoscaling": {"min": 1, "max": 2, "cpu_percent": 70}}"#).expect(0);
        assert_eq!(now()["autoscaling"]["max"], 2);
        set(r#"{"autoscaling": null}"#).expect(0);
        assert_eq!(now()["autoscaling"]["max"], 6);
        // Whoever says nothing has what is usual.
        cast.dana.patch("/deployments/iris-on-kube", json!({"scale": {}})).expect(200);
        assert_eq!(now()["scale"], json!({"replicas": 2}));
        assert_eq!(cast.dana.get("/infrastructures/kube").expect(200)["pods"]["replicas"], 2);
    }
}

on_both_databases! {
    /// A kubeconfig comes from outside: a program that it names is not run and a file not read, and the answer says what to give.
    fn a_kubeconfig_runs_nothing_and_reads_nothing(cast: Cast) {
        let ran = cast.world.folder().join("ran");
        let with = |cluster: Value, user: Value| json!({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "c", "user": user}],
        }).to_string();
        let server = || json!({"server": "https://127.0.0.1:1"});
        let exec = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": [ran.clone()]}});
        let file = cast.world.folder().join("master.key");
        for kubeconfig in [
            with(server(), exec),
            with(server(), json!({"tokenFile": file.clone()})),
            with(json!({"server": "https://127.0.0.1:1", "certificate-authority": file.clone()}), json!({"token": "t"})),
        ] {
            let settings = json!({"namespace": "models"});
            let body = json!({"name": "kube", "kind": "kubernetes", "stage": "dev", "kubernetes": settings, "kubeconfig": kubeconfig});
            let refused = cast.admin.post("/infrastructures", body).expect(422);
            assert_eq!(refused["errors"][0]["pointer"], "/kubeconfig", "{}", refused.text());
            assert!(refused.text().contains("castoff infra manifest"), "{}", refused.text());
            assert!(!refused.text().contains("master.key"), "{}", refused.text());
        }
        cast.admin.get("/infrastructures/kube").expect(404);
        assert!(!ran.exists());
    }
}
