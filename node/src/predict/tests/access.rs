//! Who gets in, by every door.

use super::world::{Answer, NOW, World, key, key_id, with};
use crate::ops;
use crate::predict::caller::{judge, presented};
use crate::predict::judgement::admit;
use crate::predict::place::Place;
use axum::body::to_bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use castoff_wire::proto::access::Mode;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tower::ServiceExt;

const DOUBLE: &str = r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}"#;
const INFER: &str = "/v2/models/double/infer";

const ROUTES: [(&str, &str); 16] = [
    ("GET", "/v2"),
    ("GET", "/v2/models/double"),
    ("GET", "/v2/models/double/ready"),
    ("GET", "/v2/models/double/versions/v1"),
    ("POST", INFER),
    ("POST", "/v2/models/double/versions/v1/infer"),
    ("POST", "/v2/models/nothing/infer"),
    ("POST", "/public/api/v1/svc/sum/predict"),
    ("POST", "/public/api/v1/svc/sum/predict-multi"),
    ("GET", "/public/api/v1/svc/sum/predict-simple?age=1&income=2"),
    ("POST", "/public/api/v1/other/sum/predict"),
    ("POST", "/sum/predict"),
    ("POST", "/predict"),
    ("GET", "/metrics"),
    ("DELETE", "/v2"),
    ("GET", "/"),
];

#[tokio::test]
async fn f7_no_route_answers_without_a_key_and_no_model_runs() {
    let Some(world) = World::new() else { return };
    for (method, path) in ROUTES {
        let without = world.call(with(&[], method, path, DOUBLE)).await;
        assert_eq!(without.status, 401, "{method} {path}");
        assert!(without.headers.contains_key("www-authenticate"), "{method} {path}");
        let wrong = world.call(with(&[("x-api-key", &key(9))], method, path, DOUBLE)).await;
        let simple = !path.starts_with("/v2") && !path.starts_with("/public");
        assert_eq!(wrong.status, if simple { 403 } else { 401 }, "{method} {path}");
    }
    assert_eq!(world.runs(), 0);
    assert_eq!(world.node.take_usage().refused_calls, 2 * ROUTES.len() as u64);
    for path in ["/v2/health/live", "/v2/health/ready"] {
        assert_eq!(world.call(with(&[], "GET", path, "")).await.status, 200);
    }
}

#[tokio::test]
async fn operators_can_see_that_no_model_ran() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let Some(world) = World::new() else { return };
    let ops = ops::router(Arc::clone(&world.node), recorder.handle());
    let show = async || {
        let response = ops.clone().oneshot(with(&[], "GET", "/metrics", "")).await.unwrap();
        String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
    };
    let line = "castoff_node_model_runs_total{version=\"v1\",endpoint=\"double\"}";
    infer(&world, &[("x-api-key", &key(9))], "").await;
    let refused = show().await;
    assert!(refused.contains(&format!("{line} 0")), "{refused}");
    assert!(
        refused.contains("castoff_node_refused_total{reason=\"unknown\"} 1"),
        "{refused}"
    );
    infer(&world, &[("x-api-key", &key(1))], "").await;
    assert!(show().await.contains(&format!("{line} 1")));
    let ready = async || {
        ops.clone()
            .oneshot(with(&[], "GET", "/readyz", ""))
            .await
            .unwrap()
            .status()
    };
    assert_eq!(ready().await, 200);
    world.node.set_draining();
    assert_eq!(ready().await, 503);
}

#[tokio::test]
async fn f2_a_missing_key_is_a_401() {
    let Some(world) = World::new() else { return };
    for headers in [&[][..], &[("x-api-key", "")]] {
        let missing = world.call(with(headers, "POST", "/sum/predict", "{}")).await;
        assert_eq!(
            (missing.status.as_u16(), missing.json()),
            (401, json!({ "detail": "Not authenticated" }))
        );
        assert_eq!(missing.headers["www-authenticate"], "APIKey");
    }
}

#[tokio::test]
async fn f3_a_wrong_key_is_a_403() {
    let Some(world) = World::new() else { return };
    for wrong in ["nope", &key(9)] {
        let answer = world
            .call(with(&[("x-api-key", wrong)], "POST", "/sum/predict", "{}"))
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()),
            (403, json!({ "detail": "Invalid API key" }))
        );
    }
}

#[tokio::test]
async fn f8_a_key_is_compared_by_its_hash_at_this_deployment() {
    let Some(mut world) = World::new() else { return };
    // What the node holds is no key: neither the hash nor its text opens anything.
    let held = world.access().keys[0].hash.clone();
    let text: String = held.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(infer(&world, &[("x-api-key", &text)], "").await.status, 401);
    // The same key has another hash at another deployment: one that was brought from there opens nothing.
    let elsewhere = castoff_wire::key::KeyHash::of(key(1).as_bytes()).at(uuid::Uuid::from_u128(8));
    world.access().keys[0].hash = elsewhere.to_vec();
    world.apply().unwrap();
    assert_eq!(infer(&world, &[("x-api-key", &key(1))], "").await.status, 401);
    world.access().keys[0].hash = held;
    world.apply().unwrap();
    assert_eq!(infer(&world, &[("x-api-key", &key(1))], "").await.status, 200);
}

#[tokio::test]
async fn refusals_speak_the_dialect() {
    let Some(world) = World::new() else { return };
    let v2 = world.call(with(&[], "POST", INFER, "")).await;
    assert_eq!(v2.json(), json!({ "error": "an API key is needed" }));
    let records = world
        .call(with(&[], "POST", "/public/api/v1/svc/sum/predict", ""))
        .await;
    assert_eq!(records.headers["content-type"], "application/problem+json");
    assert_eq!(records.json()["type"], "https://castoff.dev/problems/unauthenticated");
}

async fn infer(world: &World, headers: &[(&str, &str)], query: &str) -> Answer {
    world
        .call(with(headers, "POST", &format!("{INFER}{query}"), DOUBLE))
        .await
}

#[tokio::test]
async fn a_key_is_taken_from_one_place_only() {
    let Some(world) = World::new() else { return };
    let (good, other) = (key(1), key(2));
    let bearer = format!("Bearer {good}");
    let basic = format!("Basic {}", STANDARD.encode(format!("{good}:")));
    let password = format!("Basic {}", STANDARD.encode(format!("{good}:secret")));
    let typo = format!("{}{}", &good[..52], if good.ends_with('x') { 'y' } else { 'x' });
    let in_url = format!("?api_key={good}");
    let value_in_url = format!("?anything={other}");
    for (headers, query, status) in [
        (&[("x-api-key", good.as_str())][..], "", 200),
        (&[("X-API-Key", &good)], "", 200),
        (&[("authorization", &bearer)], "", 200),
        (&[("authorization", &basic)], "", 200),
        (&[("x-api-key", ""), ("authorization", &bearer)], "", 200),
        (&[("x-api-key", &good), ("authorization", "Digest abc")], "", 200),
        (&[("x-api-key", &good), ("authorization", &bearer)], "", 400),
        (&[("x-api-key", &good), ("x-api-key", &good)], "", 400),
        (&[("authorization", &password)], "", 400),
        (&[("authorization", "Basic ???")], "", 401),
        (&[("authorization", "Bearer")], "", 401),
        (&[("x-api-key", &typo)], "", 401),
        (&[("x-api-key", &other)], "", 401),
        (&[("apikey", &good)], "", 401),
        (&[("x-api-key", &good)], &in_url, 400),
        (&[], &in_url, 400),
        (&[], "?apikey=x", 400),
        (&[("x-api-key", &good)], &value_in_url, 400),
        (&[("x-api-key", &good)], "?trace=1", 200),
    ] {
        let answer = infer(&world, headers, query).await;
        assert_eq!(answer.status, status, "{headers:?} {query}: {}", answer.text);
        assert!(!answer.text.contains(&good), "a key came back");
    }
}

#[tokio::test]
async fn the_header_is_the_deployments_own() {
    let Some(mut world) = World::new() else { return };
    world.access().key_header = "x-team-key".to_owned();
    world.apply().unwrap();
    assert_eq!(infer(&world, &[("x-team-key", &key(1))], "").await.status, 200);
    assert_eq!(infer(&world, &[("x-api-key", &key(1))], "").await.status, 401);
}

#[tokio::test]
async fn a_key_opens_what_it_is_for_while_it_is_valid() {
    let Some(mut world) = World::new() else { return };
    world.add_key(2).endpoints = vec!["sum".to_owned()];
    world.add_key(3).not_before_ms = NOW + 10;
    world.add_key(4).expires_at_ms = NOW + 10;
    world.apply().unwrap();
    let status = async |seed| infer(&world, &[("x-api-key", &key(seed))], "").await.status.as_u16();
    assert_eq!([status(2).await, status(3).await, status(4).await], [403, 401, 200]);
    let nothing = world
        .call(with(&[("x-api-key", &key(2))], "POST", "/v2/models/nothing/infer", ""))
        .await;
    assert_eq!(nothing.status, 403, "a scoped key learns nothing of other names");
    let body = r#"{"age":1,"income":2}"#;
    assert_eq!(
        world
            .call(with(&[("x-api-key", &key(2))], "POST", "/sum/predict", body))
            .await
            .status,
        200
    );
    world.now.store(NOW + 10, Ordering::Relaxed);
    assert_eq!([status(3).await, status(4).await], [200, 401]);
}

#[tokio::test]
async fn a_revocation_holds_until_it_is_dropped() {
    let Some(mut world) = World::new() else { return };
    let headers = [("x-api-key", key(1))];
    let headers = [(headers[0].0, headers[0].1.as_str())];
    world.node.set_revoked(HashSet::from([key_id(1)]));
    assert_eq!(infer(&world, &headers, "").await.status, 401);
    world.apply().unwrap();
    assert_eq!(
        infer(&world, &headers, "").await.status,
        401,
        "a config does not undo it"
    );
    world.node.set_revoked(HashSet::new());
    assert_eq!(infer(&world, &headers, "").await.status, 200);
    world.access().keys.clear();
    world.apply().unwrap();
    assert_eq!(infer(&world, &headers, "").await.status, 401, "no keys is not public");
}

#[tokio::test]
async fn a_public_deployment_counts_the_keys_it_knows() {
    let Some(mut world) = World::new() else { return };
    world.access().mode = Mode::Public as i32;
    world.apply().unwrap();
    for headers in [&[][..], &[("x-api-key", key(9).as_str())], &[("x-api-key", &key(1))]] {
        assert_eq!(infer(&world, headers, "").await.status, 200);
    }
    assert_eq!(infer(&world, &[], "?api_key=x").await.status, 400);
    let usage = world.node.take_usage();
    assert_eq!(
        (usage.anonymous_calls, usage.keys.len(), usage.keys[0].calls),
        (2, 1, 1)
    );
    assert_eq!(
        (usage.keys[0].key_id.as_slice(), usage.keys[0].last_used_ms),
        (&key_id(1).as_bytes()[..], NOW)
    );
    assert!(world.node.take_usage().keys.is_empty());
    world.node.give_back_usage(usage);
    assert_eq!(world.node.take_usage().keys[0].calls, 1);
}

#[tokio::test]
async fn cut_off_for_too_long_denies() {
    let Some(mut world) = World::new() else { return };
    world.limits().max_staleness_s = 5;
    world.apply().unwrap();
    let headers = [("x-api-key", key(1))];
    let headers = [(headers[0].0, headers[0].1.as_str())];
    world.now.store(NOW + 5_000, Ordering::Relaxed);
    assert_eq!(infer(&world, &headers, "").await.status, 200);
    world.now.store(NOW + 5_001, Ordering::Relaxed);
    assert_eq!(infer(&world, &headers, "").await.status, 503);
    world.node.contact(NOW + 5_001);
    assert_eq!(infer(&world, &headers, "").await.status, 200);
}

#[tokio::test]
async fn a_config_that_does_not_hold_changes_nothing() {
    let Some(mut world) = World::new() else { return };
    let before = world.node.position();
    world.serving().versions[0].weight = 99;
    assert!(world.apply().is_err());
    world.serving().versions[0].weight = 100;
    world.access().keys[0].hash.pop();
    let refused = world.apply().unwrap_err().to_string();
    assert!(refused.contains("without a hash"), "{refused}");
    assert_eq!(world.node.position(), before);
    assert_eq!(infer(&world, &[("x-api-key", &key(1))], "").await.status, 200);
}

#[test]
fn a_check_of_a_key_allocates_nothing() {
    let Some(mut world) = World::new() else { return };
    world.add_key(2).expires_at_ms = NOW - 1;
    world.add_key(3).endpoints = vec!["sum".to_owned()];
    world.apply().unwrap();
    let mut typo = key(1);
    let last = typo.pop();
    typo.push(if last == Some('0') { '1' } else { '0' });
    let mut checks = Vec::new();
    for (own, is_let_in) in [
        (key(1), true),
        (key(2), false),
        (key(3), false),
        (key(9), false),
        (typo, false),
        ("imported".to_owned(), false),
        (String::new(), false),
    ] {
        for headers in [("x-api-key", own.clone()), ("authorization", format!("Bearer {own}"))] {
            let (head, _) = with(&[(headers.0, &headers.1)], "POST", INFER, DOUBLE).into_parts();
            checks.push((head, is_let_in));
        }
    }
    let place = Place::of(INFER);
    let check = |head: &http::request::Parts| {
        let in_force = world.node.in_force();
        let serving = in_force.serving.as_ref().unwrap();
        let presented = presented(&head.headers, &serving.access.key_header);
        judge(&in_force, serving, presented, place.endpoint(), NOW).is_ok()
    };
    // What a thread allocates once for itself is none of a check's.
    admit(&world.node, &place, &checks[0].0, Instant::now()).ok().unwrap();
    for (head, is_let_in) in checks {
        let mut given = false;
        let checked = allocation_counter::measure(|| given = check(&head));
        assert_eq!((given, checked.count_total), (is_let_in, 0), "{:?}", head.headers);
        if is_let_in {
            let admitted = allocation_counter::measure(|| drop(admit(&world.node, &place, &head, Instant::now())));
            assert_eq!(admitted.count_total, 0, "{:?}", head.headers);
        }
    }
}
