//! The plan as a table: what is asked for and what is there, and the calls that follow.

use super::desired::{Desired, Source};
use super::local::{Local, Package};
use super::plan::{Facts, steps};
use super::reader;
use super::state::{Part, Seen, State};
use super::step::{Act, Step, Verdict};
use crate::cli::credentials::Secret;
use serde_json::{Value, json};
use std::path::Path;

fn wanted(document: &Value) -> Desired {
    let (mut desired, mut wrong) = (Desired::default(), Vec::new());
    reader::add(document, Path::new("f"), &mut desired, &mut wrong);
    assert!(wrong.is_empty(), "{wrong:?}");
    desired
}

fn seen(body: Value) -> Seen {
    Seen {
        body: Some(body),
        ..Seen::default()
    }
}

/// The service `iris` with version v1, the infrastructures dev (deploy) and prod (view), and a deployment of it on dev.
fn there() -> State {
    let mut state = State::default();
    let mut iris = seen(
        json!({"name": "iris", "description": "", "access": "keys", "revision": 3, "owner": "dana",
        "my_privileges": ["read", "write", "deploy", "admin"], "admin_groups": []}),
    );
    iris.versions
        .insert("v1".into(), json!({"name": "v1", "digest": "sha256:aa"}));
    iris.grants = Part::Known(vec![
        json!({"group": "devops", "privileges": ["read", "deploy"], "revision": 5}),
    ]);
    state.services.insert("iris".into(), iris);
    for (name, privileges) in [("dev", json!(["view", "deploy"])), ("prod", json!(["view"]))] {
        let body = json!({"name": name, "kind": "local", "stage": name, "description": "", "revision": 1,
            "allow": {"inherit": true, "public": true, "personal_keys": true}, "my_privileges": privileges, "admin_groups": ["sre"]});
        state.infrastructures.insert(name.into(), seen(body));
    }
    let mut deployment = seen(
        json!({"name": "iris-on-dev", "service": "iris", "infrastructure": "dev", "enabled": true,
        "route": [{"version": "v1", "weight": 100, "digest": "sha256:aa"}], "access": "keys", "key_header": "x-api-key",
        "scale": {"replicas": 1}, "limits": {"queue": 256, "sessions": 1}, "revision": 9}),
    );
    let key = |id: &str, state: &str, at: &str| {
        json!({"id": id, "name": "shop", "state": state, "created_at": at, "revision": 2, "class": "reveal-once",
            "masked": "cst_abcd…wxyz", "expires_at": null, "not_before": null, "endpoints": [],
            "rate_limit": {"requests": 9, "seconds": 60}})
    };
    deployment.keys = Part::Known(vec![
        key("old", "active", "2026-01-01T00:00:00.000Z"),
        key("new", "active", "2026-02-01T00:00:00.000Z"),
        key("dead", "revoked", "2026-03-01T00:00:00.000Z"),
    ]);
    state.deployments.insert("iris-on-dev".into(), deployment);
    state.groups = ["devops".to_owned(), "ds".to_owned()].into();
    state
}

fn planned(document: Value, state: &State, local: &Local, prune: bool) -> Vec<Step> {
    let desired = wanted(&document);
    steps(Facts {
        desired: &desired,
        state,
        local,
        prune,
    })
}

/// `METHOD path @revision body`, or why not.
fn calls(steps: &[Step]) -> Vec<String> {
    let one = |step: &Step| {
        if let Verdict::Impossible(why) = &step.verdict {
            return format!("! {}: {why}", step.title());
        }
        match &step.act {
            Act::Nothing => format!("! {}", step.title()),
            Act::Push { version, path, .. } => format!("push {version} {}", path.display()),
            Act::Call(call) | Act::Save(call, _) => {
                let held = call
                    .revision
                    .map(|revision| format!(" @{revision}"))
                    .unwrap_or_default();
                let body = call.body.as_ref().map(|body| format!(" {body}")).unwrap_or_default();
                format!("{} {}{held}{body}", call.method, call.path.join("/"))
            }
        }
    };
    steps.iter().map(one).collect()
}

#[test]
fn what_is_as_it_should_be_needs_nothing() {
    let document = json!({
        "services": {"iris": {"access": "keys", "grants": {"devops": ["deploy", "read"]},
            "versions": {"v1": {"digest": format!("sha256:{}", "a".repeat(64))}}}},
        "infrastructures": {"dev": {}, "prod": {"kind": "local", "allow": {"public": true}}},
        "deployments": {"iris-on-dev": {"service": "iris", "infrastructure": "dev", "version": "v1", "enabled": true,
            "scale": {"replicas": 1}, "limits": {"queue": 256},
            "keys": {"shop": {"import": "missing.txt"}, "gone": {"revoked": true}}}}});
    let mut state = there();
    let digest = format!("sha256:{}", "a".repeat(64));
    state
        .services
        .get_mut("iris")
        .unwrap()
        .versions
        .insert("v1".into(), json!({"digest": digest}));
    let mut local = Local::default();
    local
        .secrets
        .insert("f/missing.txt".into(), Err("no such file".to_owned()));
    assert_eq!(calls(&planned(document.clone(), &state, &local, false)), [""; 0]);
    // Not even when what is left out shall go: nothing is.
    assert_eq!(calls(&planned(document, &state, &local, true)), [""; 0]);
}

#[test]
fn what_differs_is_changed_at_the_revision_that_was_read() {
    let document = json!({
        "services": {"iris": {"description": "Which", "access": "keys", "versions": {"v2": "v2.onnx"},
            "grants": {"devops": ["read"], "ds": ["read"]}}},
        "infrastructures": {"dev": {"allow": {"public": false}}},
        "deployments": {"iris-on-dev": {"service": "iris", "infrastructure": "dev", "enabled": false,
            "route": [{"version": "v1", "weight": 90}, {"version": "v2", "weight": 10}], "limits": {"queue": 9},
            "keys": {"shop": {"expires_at": "2027-01-01T00:00:00Z", "rate_limit": {"requests": 5}}, "app": {"save": "app.txt"}}}}});
    let mut local = Local::default();
    let package = Package {
        size: 3,
        digest: "sha256:bb".into(),
    };
    local.packages.insert("f/v2.onnx".into(), Ok(package));
    assert_eq!(
        calls(&planned(document, &there(), &local, false)),
        [
            r#"PATCH services/iris @3 {"description":"Which"}"#,
            "push v2 f/v2.onnx",
            r#"PUT services/iris/grants/devops @5 {"privileges":["read"]}"#,
            r#"PUT services/iris/grants/ds @0 {"privileges":["read"]}"#,
            r#"PATCH deployments/iris-on-dev @9 {"limits":{"queue":9,"sessions":1},"route":[{"version":"v1","weight":90},{"version":"v2","weight":10}]}"#,
            "POST deployments/iris-on-dev/disable @9",
            r#"POST deployments/iris-on-dev/keys {"name":"app"}"#,
            r#"PATCH deployments/iris-on-dev/keys/new @2 {"expires_at":"2027-01-01T00:00:00Z","rate_limit":{"requests":5,"seconds":60}}"#,
            r#"PATCH infrastructures/dev @1 {"allow":{"public":false}}"#,
        ]
    );
}

#[test]
fn what_is_not_there_is_made_in_order() {
    let document = json!({
        "deployments": {"rose-on-dev": {"service": "rose", "infrastructure": "dev", "version": "v1",
            "keys": {"shop": {"import": "shop.txt", "weak": true}}}},
        "infrastructures": {"edge": {"kind": "static", "stage": "prod"}},
        "services": {"rose": {"versions": {"v1": "rose"}, "grants": {"ds": "read"}}}});
    let mut local = Local::default();
    local.packages.insert(
        "f/rose".into(),
        Ok(Package {
            size: 3,
            digest: "sha256:cc".into(),
        }),
    );
    local
        .secrets
        .insert("f/shop.txt".into(), Ok(Secret::whole("hunter2hunter2".into())));
    let planned = planned(document, &there(), &local, false);
    assert_eq!(
        calls(&planned),
        [
            r#"POST services {"name":"rose"}"#,
            "push v1 f/rose",
            r#"POST infrastructures {"name":"edge","kind":"static","stage":"prod"}"#,
            r#"PUT services/rose/grants/ds @0 {"privileges":["read"]}"#,
            r#"POST deployments {"name":"rose-on-dev","service":"rose","infrastructure":"dev","version":"v1"}"#,
            r#"POST deployments/rose-on-dev/keys {"name":"shop","weak":true}"#,
        ]
    );
    // Whoever makes a service owns it, so that one question stands for all of it.
    let asked = |step: &Step| match &step.verdict {
        Verdict::Ask(question) => question.action,
        _ => "",
    };
    let asked: Vec<_> = planned.iter().map(asked).collect();
    assert_eq!(
        asked,
        [
            "create-service",
            "create-service",
            "administer-platform",
            "create-service",
            "create-service",
            "create-service"
        ]
    );
    let shown = format!("{planned:?}{:?}", planned.iter().map(Step::lines).collect::<Vec<_>>());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_cannot_be_says_why() {
    let deployment = |service: &str, infrastructure: &str, version: &str| json!({"deployments": {"d": {"service": service, "infrastructure": infrastructure, "version": version}}});
    let key =
        |key: Value| json!({"deployments": {"iris-on-dev": {"service": "iris", "infrastructure": "dev", "keys": key}}});
    let mut local = Local::default();
    local
        .secrets
        .insert("f/other".into(), Ok(Secret::whole("cst_1234567890".into())));
    local.secrets.insert("f/none".into(), Err("none: no such file".into()));
    local
        .places
        .insert("f/taken".into(), Err("taken is there already".into()));
    local.packages.insert(
        "f/other.onnx".into(),
        Ok(Package {
            size: 1,
            digest: "sha256:bb".into(),
        }),
    );
    for (document, says) in [
        (
            deployment("rose", "dev", "v1"),
            "there is no service rose, or you may not see it",
        ),
        (
            deployment("iris", "moon", "v1"),
            "there is no infrastructure moon, or you may not see it",
        ),
        (deployment("iris", "dev", "v7"), "castoff version list iris"),
        (
            json!({"deployments": {"d": {"service": "iris", "infrastructure": "dev"}}}),
            "give its version or route",
        ),
        (
            json!({"deployments": {"iris-on-dev": {"service": "iris", "infrastructure": "prod"}}}),
            "cannot be changed",
        ),
        (
            json!({"infrastructures": {"dev": {"kind": "static"}}}),
            "kind cannot be changed",
        ),
        (json!({"infrastructures": {"moon": {}}}), "give its kind and stage"),
        (
            json!({"infrastructures": {"moon": {"kind": "kubernetes", "stage": "dev"}}}),
            "give its kubernetes.namespace",
        ),
        (
            json!({"services": {"iris": {"versions": {"v1": "other.onnx"}}}}),
            "a version never changes",
        ),
        (
            json!({"services": {"iris": {"versions": {"v2": {}}}}}),
            "it is not there: name the file",
        ),
        (
            json!({"services": {"iris": {"grants": {"nobody": ["read"]}}}}),
            "castoff group create nobody",
        ),
        (key(json!({"new": {}})), "import: FILE"),
        (key(json!({"new": {"import": "none"}})), "no such file"),
        (key(json!({"new": {"save": "taken"}})), "there already"),
        (key(json!({"shop": {"import": "other"}})), "another secret"),
        (key(json!({"shop": {"class": "recoverable"}})), "when it is made"),
    ] {
        let calls = calls(&planned(document.clone(), &there(), &local, false));
        assert!(
            calls.len() == 1 && calls[0].starts_with('!') && calls[0].contains(says),
            "{document}\n{calls:?}"
        );
    }
}

#[test]
fn half_of_a_right_is_none() {
    let document = json!({"services": {"rose": {"versions": {"v1": {}}}},
        "deployments": {"rose-on-prod": {"service": "rose", "infrastructure": "prod", "version": "v1"}}});
    let planned = planned(document, &there(), &Local::default(), false);
    let Verdict::Ask(question) = &planned.last().unwrap().verdict else {
        panic!("{planned:?}")
    };
    // Who can give it is all that is left to ask.
    assert_eq!(question.lacks.as_deref(), Some("deploy on infrastructure prod"));
    assert_eq!(question.action, "administer-infrastructure");
}

#[test]
fn what_is_left_out_goes_only_when_it_is_said_and_last() {
    let mut state = there();
    state.strays.push(
        json!({"name": "iris-old", "service": "iris", "infrastructure": "dev", "enabled": true,
        "route": [{"version": "v1", "weight": 100}], "revision": 4}),
    );
    let document = json!({"services": {"iris": {"grants": {"ds": "read"}}},
        "deployments": {"iris-on-dev": {"service": "iris", "infrastructure": "dev", "keys": {}}}});
    let kept = calls(&planned(document.clone(), &state, &Local::default(), false));
    assert!(kept[0].starts_with("PUT services/iris/grants/ds"), "{kept:?}");
    assert_eq!(
        calls(&planned(document, &state, &Local::default(), true)),
        [
            r#"PUT services/iris/grants/ds @0 {"privileges":["read"]}"#,
            "POST deployments/iris-on-dev/keys/old/revoke @2",
            "DELETE deployments/iris-on-dev/keys/old @2",
            "POST deployments/iris-on-dev/keys/new/revoke @2",
            "DELETE deployments/iris-on-dev/keys/new @2",
            "DELETE deployments/iris-on-dev/keys/dead @2",
            "POST deployments/iris-old/disable @4",
            "DELETE deployments/iris-old @4",
            "DELETE services/iris/grants/devops @5",
        ]
    );
    // A thing without a list loses nothing of it.
    let document =
        json!({"services": {"iris": {}}, "deployments": {"iris-on-dev": {"service": "iris", "infrastructure": "dev"}}});
    state.strays.clear();
    assert_eq!(calls(&planned(document, &state, &Local::default(), true)), [""; 0]);
}

#[test]
fn what_is_allowed_comes_before_its_users_and_goes_after_them() {
    let mut state = there();
    let iris = state.deployments.get_mut("iris-on-dev").unwrap().body.as_mut().unwrap();
    iris["access"] = "public".into();
    state.infrastructures.get_mut("dev").unwrap().body.as_mut().unwrap()["allow"]["inherit"] = false.into();
    let stray = json!({"name": "iris-old", "service": "iris", "infrastructure": "dev", "access": "public",
        "enabled": false, "route": [{"version": "v1", "weight": 100}], "revision": 4});
    state.others.push(stray.clone());
    let document = |access: &str| {
        json!({"services": {"iris": {}},
            "infrastructures": {"dev": {"allow": {"inherit": true, "public": false, "personal_keys": null}}},
            "deployments": {"iris-on-dev": {"service": "iris", "infrastructure": "dev", "access": access}}})
    };
    let stays = |deployment: &str| {
        format!("! change infrastructure dev: deployment {deployment} uses it: give that another access first")
    };
    let calls = |access: &str, state: &State| calls(&planned(document(access), state, &Local::default(), true));
    assert_eq!(calls("inherit", &state).last(), Some(&stays("iris-old")));
    state.strays.push(stray);
    assert_eq!(
        calls("inherit", &state),
        [
            r#"PATCH infrastructures/dev @1 {"allow":{"inherit":true}}"#,
            r#"PATCH deployments/iris-on-dev @9 {"access":"inherit"}"#,
            "DELETE deployments/iris-old @4",
            r#"PATCH infrastructures/dev @1 {"allow":{"public":false}}"#,
        ]
    );
    assert_eq!(calls("public", &state).last(), Some(&stays("iris-on-dev")));
    // What inherits from a public service is public.
    state.services.get_mut("iris").unwrap().body.as_mut().unwrap()["access"] = "public".into();
    assert_eq!(calls("inherit", &state).last(), Some(&stays("iris-on-dev")));
}

#[test]
fn settings_that_are_not_shown_are_not_compared() {
    let mut state = there();
    let dev = state.infrastructures.get_mut("dev").unwrap().body.as_mut().unwrap();
    dev["kind"] = "kubernetes".into();
    let document = json!({"infrastructures": {"dev": {"stage": "dev", "kubernetes": {"packages": "1Gi"}}}});
    let hidden = planned(document.clone(), &state, &Local::default(), false);
    assert_eq!(hidden.len(), 1);
    assert_eq!(hidden[0].title(), "compare settings of infrastructure dev");
    assert!(matches!(&hidden[0].verdict, Verdict::Ask(question) if question.action == "administer-infrastructure"));
    // Who names none needs to see none; who administers it sees them.
    let document_without = json!({"infrastructures": {"dev": {"stage": "dev"}}});
    assert!(planned(document_without, &state, &Local::default(), false).is_empty());
    let dev = state.infrastructures.get_mut("dev").unwrap().body.as_mut().unwrap();
    dev["kubernetes"] = json!({"packages": "1Gi"});
    assert!(planned(document, &state, &Local::default(), false).is_empty());
}

#[test]
fn what_cannot_be_seen_cannot_be_compared() {
    let mut state = there();
    let problem = json!({"missing": ["admin on service iris"], "ask": {"owner": "dana"}});
    state.services.get_mut("iris").unwrap().grants = Part::Hidden(problem);
    let document = json!({"services": {"iris": {"grants": {"ds": "read"}}}});
    let planned = planned(document, &state, &Local::default(), false);
    assert_eq!(planned[0].title(), "compare grants on service iris");
    assert!(matches!(planned[0].verdict, Verdict::Forbidden(_)) && planned.len() == 1);
}

#[test]
fn a_revoked_key_is_left_alone_until_a_file_says_otherwise() {
    let mut state = there();
    let dead =
        json!({"id": "dead", "name": "shop", "state": "revoked", "created_at": "", "revision": 2, "masked": "…"});
    state.deployments.get_mut("iris-on-dev").unwrap().keys = Part::Known(vec![dead]);
    let of = |key: Value| {
        let document = json!({"deployments": {"iris-on-dev": {"service": "iris", "infrastructure": "dev", "keys": {"shop": key}}}});
        calls(&planned(document, &state, &Local::default(), false))
    };
    assert_eq!(of(json!({"save": "k"})), [""; 0]);
    assert_eq!(of(json!({"revoked": true})), [""; 0]);
    assert_eq!(
        of(json!({"revoked": false})),
        ["POST deployments/iris-on-dev/keys/dead/activate @2"]
    );
    assert_eq!(
        wanted(&json!({"services": {"s": {"keys": {"k": {"save": "x"}}}}})).services["s"]
            .keys
            .as_ref()
            .unwrap()["k"]
            .source,
        Some(Source::Save("f/x".into()))
    );
}
