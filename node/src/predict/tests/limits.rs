//! Keys that may be used so often.

use super::world::{Answer, NOW, World, key, key_id, with};
use crate::predict::judgement::admit;
use crate::predict::place::Place;
use crate::serving::NotServed;
use castoff_wire::proto::RateLimit;
use castoff_wire::proto::access::Mode;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Instant;

const INFER: &str = "/v2/models/double/infer";
const DOUBLE: &str = r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}"#;
const PREDICT: &str = "/sum/predict";
const SUM: &str = r#"{"age":1,"income":2}"#;

/// So rarely that no test lives to see the next call let in.
fn an_hour(burst: u32) -> Option<RateLimit> {
    Some(RateLimit {
        requests: 1,
        seconds: 3_600,
        burst,
    })
}

async fn call(world: &World, seed: u8) -> Answer {
    world
        .call(with(&[("x-api-key", &key(seed))], "POST", INFER, DOUBLE))
        .await
}

/// How many of twenty calls are answered; the others are told to come back.
async fn answered(world: &World, seed: u8) -> u32 {
    let mut answered = 0;
    for _ in 0..20 {
        match call(world, seed).await.status.as_u16() {
            200 => answered += 1,
            status => assert_eq!(status, 429),
        }
    }
    answered
}

#[tokio::test]
async fn a_key_is_let_in_as_often_as_it_may_and_no_other_pays_for_it() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let Some(mut world) = World::new() else { return };
    world.add_key(2).rate_limit = an_hour(3);
    world.add_key(3).rate_limit = an_hour(5);
    world.apply().unwrap();
    assert_eq!([answered(&world, 2).await, answered(&world, 3).await], [3, 5]);
    assert_eq!(answered(&world, 1).await, 20, "it has no limit");
    let shown = recorder.handle().render();
    let counted = "castoff_node_refused_total{reason=\"rate-limited\"} 32";
    assert!(shown.contains(counted), "{shown}");
    // What was refused is no use of the key, and no want of one.
    let usage = world.node.take_usage();
    let of = |seed| {
        let mut keys = usage.keys.iter();
        keys.find(|used| used.key_id == key_id(seed).as_bytes())
            .map(|used| used.calls)
    };
    assert_eq!([of(1), of(2), of(3)], [Some(20), Some(3), Some(5)]);
    assert_eq!(usage.refused_calls, 0);
}

#[tokio::test]
async fn each_dialect_says_when_to_come_back_and_reads_no_body() {
    let Some(mut world) = World::new() else { return };
    world.add_key(2).rate_limit = an_hour(1);
    world.apply().unwrap();
    assert_eq!(call(&world, 2).await.status, 200);
    let runs = world.runs();
    for (path, at) in [
        (INFER, "/error"),
        ("/public/api/v1/svc/sum/predict", "/detail"),
        (PREDICT, "/detail"),
    ] {
        let refused = world
            .call(with(&[("x-api-key", &key(2))], "POST", path, "no JSON"))
            .await;
        assert_eq!(refused.status, 429, "{path}");
        let seconds: u32 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((3_500..=3_600).contains(&seconds), "{path}: {seconds}");
        let said = refused.json().pointer(at).cloned().unwrap();
        assert_eq!(
            said,
            json!(format!("the API key is over its rate limit; come back in {seconds} s"))
        );
    }
    assert_eq!(world.runs(), runs);
}

#[tokio::test]
async fn a_config_fills_no_limit_but_one_that_it_changes() {
    let Some(mut world) = World::new() else { return };
    world.add_key(2).rate_limit = an_hour(3);
    world.apply().unwrap();
    assert_eq!(answered(&world, 2).await, 3);
    // Another key comes, models are loaded, the key's own scope changes: what was used stays used.
    world.add_key(3);
    world.apply().unwrap();
    world.limits().sessions = 2;
    world.apply().unwrap();
    world.access().keys[1].endpoints = vec!["double".to_owned()];
    world.apply().unwrap();
    assert_eq!(answered(&world, 2).await, 0);
    // A config that is refused changes nothing, whatever it says of the limit.
    world.access().keys[1].rate_limit = an_hour(9);
    world.serving().versions[0].weight = 99;
    assert!(world.apply().is_err());
    world.serving().versions[0].weight = 100;
    world.access().keys[1].rate_limit = an_hour(3);
    world.apply().unwrap();
    assert_eq!(answered(&world, 2).await, 0);
    // Another limit holds at once, and so does none.
    world.access().keys[1].rate_limit = an_hour(4);
    world.apply().unwrap();
    assert_eq!(answered(&world, 2).await, 4);
    world.access().keys[1].rate_limit = None;
    world.apply().unwrap();
    assert_eq!(answered(&world, 2).await, 20);
}

#[tokio::test]
async fn a_node_keeps_its_share_as_soon_as_it_is_told() {
    let Some(mut world) = World::new() else { return };
    for seed in 2..6 {
        world.add_key(seed).rate_limit = an_hour(6);
    }
    world.apply().unwrap();
    assert_eq!(answered(&world, 2).await, 6, "alone");
    assert!(world.node.share(3) && !world.node.share(3));
    assert_eq!([answered(&world, 3).await, answered(&world, 2).await], [2, 0]);
    world.node.share(20);
    assert_eq!(answered(&world, 4).await, 1, "never nothing");
    world.node.share(1);
    assert_eq!(answered(&world, 5).await, 6);
}

#[tokio::test]
async fn whoever_comes_without_a_key_is_not_limited_where_none_is_needed() {
    let Some(mut world) = World::new() else { return };
    world.access().mode = Mode::Public as i32;
    world.access().keys[0].rate_limit = an_hour(2);
    world.apply().unwrap();
    assert_eq!(answered(&world, 1).await, 2);
    assert_eq!(world.call(with(&[], "POST", INFER, DOUBLE)).await.status, 200);
}

#[tokio::test]
async fn a_quota_that_is_used_up_ends_with_its_window() {
    let Some(mut world) = World::new() else { return };
    world.add_key(2).used_up_until_ms = NOW + 90_500;
    world.add_key(3).used_up_until_ms = NOW;
    world.add_key(4).used_up_until_ms = i64::MAX;
    world.apply().unwrap();
    let refused = call(&world, 2).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.headers["retry-after"]),
        (429, &"91".parse().unwrap())
    );
    assert_eq!(
        refused.json(),
        json!({ "error": "the API key has used up its quota; come back in 91 s" })
    );
    assert_eq!([call(&world, 3).await.status, call(&world, 4).await.status], [200, 429]);
    world.now.store(NOW + 90_500, Ordering::Relaxed);
    assert_eq!(call(&world, 2).await.status, 200);
}

#[tokio::test]
async fn a_limit_that_lets_nobody_in_is_no_config() {
    let Some(mut world) = World::new() else { return };
    world.access().keys[0].rate_limit = Some(RateLimit::default());
    let refused = world.apply().unwrap_err();
    assert!(
        matches!(&refused, NotServed::Malformed(reason) if reason.contains("never be used")),
        "{refused}"
    );
    assert_eq!(call(&world, 1).await.status, 200);
}

#[test]
fn a_check_of_a_limited_key_allocates_nothing() {
    let Some(mut world) = World::new() else { return };
    world.access().keys[0].rate_limit = an_hour(1_000_000);
    world.apply().unwrap();
    let place = Place::of(PREDICT);
    let (head, _) = with(&[("x-api-key", &key(1))], "POST", PREDICT, SUM).into_parts();
    let check = || drop(admit(&world.node, &place, &head, Instant::now()).ok().unwrap());
    // What a thread allocates once for itself is none of a check's.
    check();
    assert_eq!(allocation_counter::measure(check).count_total, 0);
}
