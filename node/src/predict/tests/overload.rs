//! Too much, too long, too large, and models that should not be.

use super::onnx;
use super::world::{World, key, with};
use crate::serving::NotServed;
use castoff_wire::proto::endpoint::Kind;
use std::sync::Arc;
use std::time::Duration;

const ENDLESS: &str = r#"{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_does_not_end_is_stopped_at_the_deadline() {
    let Some(mut world) = World::new() else { return };
    world.serve("v1", "endless", Kind::Tensor, onnx::endless());
    world.limits().deadline_ms = 200;
    world.limits().queue = 0;
    world.apply().unwrap();
    let world = Arc::new(world);
    let running = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.post("/v2/models/endless/infer", ENDLESS).await.status }
    });
    eventually(|| world.node.load().0 == 1).await;
    // In every dialect, and before the body is read as anything.
    for path in [
        "/v2/models/endless/infer",
        "/endless/predict",
        "/public/api/v1/svc/endless/predict",
    ] {
        for body in [ENDLESS, "no JSON"] {
            let full = world.post(path, body).await;
            let retry_after = full.headers.get("retry-after").map(|value| value.to_str().unwrap());
            assert_eq!((full.status.as_u16(), retry_after), (429, Some("1")), "{path} {body}");
        }
    }
    assert_eq!(running.await.unwrap(), 504);
    // The session is free again: the next run gets as far as its own deadline.
    eventually(|| world.node.load().0 == 0).await;
    let runs = world.runs();
    assert_eq!(world.post("/v2/models/endless/infer", ENDLESS).await.status, 504);
    assert_eq!(world.runs(), runs + 1);
}

/// On one thread: whoever keeps it keeps everybody.
#[tokio::test]
async fn a_run_that_is_not_quick_after_all_keeps_nobody_else_waiting() {
    let Some(mut world) = World::new() else { return };
    world.serve("v1", "endless", Kind::Tensor, onnx::endless());
    world.limits().deadline_ms = 1_000;
    world.apply().unwrap();
    for model in world
        .node
        .in_force()
        .serving
        .iter()
        .flat_map(|serving| serving.models())
    {
        model.load().ran(1, Duration::ZERO);
    }
    let stuck = world.post("/v2/models/endless/infer", ENDLESS);
    // Stopped where it was, it is made again by the model's thread, up to its deadline.
    let twice = eventually(|| world.runs() == 2);
    let (stuck, ()) = tokio::join!(stuck, twice);
    assert_eq!(stuck.status, 504);
}

/// Where nobody answers aside, whatever should be fails.
#[test]
fn only_what_is_over_at_once_is_answered_by_the_callers_thread() {
    let Some(world) = World::new() else { return };
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let nobody = runtime();
    let aside = nobody.handle().clone();
    nobody.shutdown_background();
    let status = |spaces: usize| {
        let body = format!(r#"{{"inputs":[[1,2]]{}}}"#, " ".repeat(spaces));
        let request = with(&[("x-api-key", &key(1))], "POST", "/double/predict", body);
        runtime()
            .block_on(world.call_aside(request, aside.clone()))
            .status
            .as_u16()
    };
    assert_eq!(status(0), 500, "nobody knows how long it takes");
    for model in world
        .node
        .in_force()
        .serving
        .iter()
        .flat_map(|serving| serving.models())
    {
        model.load().ran(2, Duration::ZERO);
    }
    assert_eq!(status(0), 200);
    assert_eq!(status(100_000), 500, "a body takes its time, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_takes_its_job_along() {
    let Some(mut world) = World::new() else { return };
    world.serve("v1", "endless", Kind::Tensor, onnx::endless());
    world.apply().unwrap();
    let world = Arc::new(world);
    let call = |world: &Arc<World>| {
        let world = Arc::clone(world);
        tokio::spawn(async move { world.post("/v2/models/endless/infer", ENDLESS).await.status })
    };
    let running = call(&world);
    eventually(|| world.runs() == 1).await;
    let waiting = call(&world);
    eventually(|| world.node.load() == (2, 1)).await;
    waiting.abort();
    eventually(|| world.node.load() == (1, 0)).await;
    running.abort();
    eventually(|| world.node.load() == (0, 0)).await;
    let next = call(&world);
    eventually(|| world.runs() == 2).await;
    next.abort();
}

#[tokio::test]
async fn a_body_has_its_bounds() {
    let Some(mut world) = World::new() else { return };
    world.limits().max_body_bytes = 100;
    world.apply().unwrap();
    assert_eq!(world.post("/sum/predict", " ".repeat(101)).await.status, 413);
    assert_eq!(
        world
            .post("/sum/predict", format!("{{\"age\":1,\"income\":2}}{}", " ".repeat(70)))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_model_that_cannot_be_trusted_is_not_served() {
    let Some(mut world) = World::new() else { return };
    for (model, said) in [
        (onnx::external(), "external data"),
        (b"\x08\x08garbage".to_vec(), ""),
        (Vec::new(), ""),
    ] {
        world.serve("v1", "bad", Kind::Tensor, model);
        let refused = world.apply().unwrap_err();
        assert!(
            matches!(&refused, NotServed::Model(reason) if reason.contains(said)),
            "{refused}"
        );
        world.serving().versions[0].endpoints.pop();
    }
    world
        .serve("v1", "gone", Kind::Tensor, onnx::double())
        .model
        .as_mut()
        .unwrap()
        .digest = vec![7; 32];
    assert!(matches!(world.apply(), Err(NotServed::Package(_))));
}

#[tokio::test]
async fn a_draining_node_asks_to_be_left() {
    let Some(world) = World::new() else { return };
    world.node.set_draining();
    let answer = world.post("/sum/predict", r#"{"age":1,"income":2}"#).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["connection"]),
        (200, &"close".parse().unwrap())
    );
    assert_eq!(world.get("/v2/health/ready").await.status, 503);
    assert_eq!(world.get("/v2/health/live").await.status, 200);
}

#[tokio::test]
async fn a_new_key_set_keeps_the_loaded_models() {
    let Some(mut world) = World::new() else { return };
    let before = world.node.in_force().serving.clone().unwrap();
    world.add_key(2);
    world.apply().unwrap();
    let after = world.node.in_force().serving.clone().unwrap();
    let kept = |model| after.models().any(|other| Arc::ptr_eq(other, model));
    assert!(before.models().count() > 0 && before.models().all(kept));
}

async fn eventually(what: impl Fn() -> bool) {
    let met = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(20), met).await.is_ok(),
        "it never came"
    );
}
