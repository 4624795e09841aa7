//! Calls that come at the same time and are answered by one run.

use super::onnx;
use super::world::World;
use castoff_wire::proto::endpoint::Kind;
use futures::future::{join, join_all};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A node that serves this model as `m`, in batches of at most so many rows. Small inputs are known to be quick, or nothing is.
fn batching(model: Vec<u8>, most: u32, is_quick: bool) -> Option<World> {
    let mut world = World::new()?;
    world.serve("v1", "m", Kind::Tensor, model).max_batch_size = most;
    world.limits().queue = 100;
    world.apply().unwrap();
    if is_quick {
        learn(&world, 100);
    }
    Some(world)
}

/// Inputs of so many elements are quick.
fn learn(world: &World, size: usize) {
    let serving = world.node.in_force().serving.clone().unwrap();
    serving
        .models()
        .for_each(|model| model.load().ran(size, Duration::ZERO));
}

fn body(data_type: &str, shape: &[usize], data: &[i64]) -> String {
    json!({"inputs": [{"name": "x", "datatype": data_type, "shape": shape, "data": data}]}).to_string()
}

fn floats(rows: usize, data: &[i64]) -> String {
    body("FP32", &[rows, data.len() / rows], data)
}

/// The output of each of these calls, made at once, or their status.
async fn at_once(world: &World, bodies: &[String]) -> Vec<Value> {
    let calls = bodies
        .iter()
        .map(|body| world.post("/v2/models/m/infer", body.as_str()));
    let answers = join_all(calls).await;
    let told = answers.iter().map(|answer| match answer.status.as_u16() {
        200 => answer.json()["outputs"][0]["data"].clone(),
        status => status.into(),
    });
    told.collect()
}

/// Makes these calls, which are quick, until they take so many runs. A run that is kept from its core for longer than a quick
/// one may take is made again, so there may be more.
async fn take(runs: u64, world: &World, bodies: &[String], told: &[Value]) {
    let taking = async {
        loop {
            learn(world, 100);
            let before = world.runs();
            assert_eq!(at_once(world, bodies).await, told);
            if world.runs() - before == runs {
                return;
            }
        }
    };
    let taken = tokio::time::timeout(Duration::from_secs(60), taking).await;
    taken.expect("they take so many runs");
}

/// What these calls are told while their only session is taken, so that all of them wait for it.
async fn behind_another(world: &World, bodies: &[String]) -> Vec<Value> {
    let serving = world.node.in_force().serving.clone().unwrap();
    let model = serving.endpoints("m").next().unwrap().1.model.clone();
    let taken = model.hold();
    let all_wait = settled(|| model.load().in_flight() == bodies.len());
    join(at_once(world, bodies), async {
        all_wait.await;
        drop(taken);
    })
    .await
    .0
}

#[tokio::test]
async fn quick_calls_that_come_at_once_are_answered_by_one_run() {
    let Some(world) = batching(onnx::double(), 32, true) else {
        return;
    };
    let bodies = [floats(1, &[1, 2]), floats(2, &[3, 4, 5, 6]), floats(1, &[7, 8])];
    let doubled = [json!([2.0, 4.0]), json!([6.0, 8.0, 10.0, 12.0]), json!([14.0, 16.0])];
    take(1, &world, &bodies, &doubled).await;
    // One alone waits for nobody.
    take(1, &world, &bodies[..1], &doubled[..1]).await;
}

#[tokio::test]
async fn so_are_those_that_wait_for_a_session() {
    let Some(world) = batching(onnx::double(), 32, false) else {
        return;
    };
    let bodies: Vec<_> = (0..5).map(|n| floats(1, &[n, -n])).collect();
    let doubled: Vec<_> = (0..5)
        .map(|n| json!([2.0 * f64::from(n), -2.0 * f64::from(n)]))
        .collect();
    assert_eq!(behind_another(&world, &bodies).await, doubled);
    assert_eq!(world.runs(), 1);
}

#[tokio::test]
async fn no_run_has_more_rows_than_the_package_says() {
    for is_quick in [true, false] {
        let Some(world) = batching(onnx::double(), 4, is_quick) else {
            return;
        };
        let one_row = floats(1, &[1, 2]);
        let mut bodies = vec![one_row.clone(); 10];
        // More than that of one caller's own are run as they are, and alone.
        bodies.push(floats(5, &[1; 10]));
        let mut doubled = vec![json!([2.0, 4.0]); 10];
        doubled.push(json!(vec![2.0; 10]));
        if is_quick {
            take(4, &world, &bodies, &doubled).await;
        } else {
            assert_eq!(behind_another(&world, &bodies).await, doubled);
            assert_eq!(world.runs(), 4);
        }
    }
}

#[tokio::test]
async fn without_a_word_of_the_package_each_call_runs_alone() {
    for most in [0, 1] {
        let Some(world) = batching(onnx::double(), most, true) else {
            return;
        };
        take(3, &world, &vec![floats(1, &[1, 2]); 3], &vec![json!([2.0, 4.0]); 3]).await;
    }
}

#[tokio::test]
async fn nobodys_input_is_anothers_error() {
    for is_quick in [true, false] {
        let Some(world) = batching(onnx::look_up(), 32, is_quick) else {
            return;
        };
        let bodies = [0, 2, 1].map(|index| body("INT64", &[1], &[index]));
        let told = [json!([10.0]), json!(400), json!([20.0])];
        if is_quick {
            // Together, and then one by one.
            take(4, &world, &bodies, &told).await;
        } else {
            assert_eq!(behind_another(&world, &bodies).await, told);
        }
    }
}

#[tokio::test]
async fn a_model_that_gives_other_rows_than_it_takes_is_run_for_each() {
    let Some(world) = batching(onnx::sum_of_rows(), 32, true) else {
        return;
    };
    let bodies = [floats(1, &[1]), floats(2, &[2, 3]), floats(1, &[4])];
    assert_eq!(
        at_once(&world, &bodies).await,
        [json!([1.0]), json!([5.0]), json!([4.0])]
    );
}

#[tokio::test]
async fn inputs_of_different_shapes_do_not_meet() {
    let model = onnx::single("Neg", onnx::FLOAT, &[-1, -1]);
    let Some(world) = batching(model, 32, true) else { return };
    let bodies = [
        floats(1, &[1, 2]),
        floats(1, &[3]),
        floats(1, &[4, 5]),
        floats(2, &[6, 7]),
    ];
    let negative = [
        json!([-1.0, -2.0]),
        json!([-3.0]),
        json!([-4.0, -5.0]),
        json!([-6.0, -7.0]),
    ];
    assert_eq!(at_once(&world, &bodies).await, negative);
}

#[tokio::test]
async fn a_model_without_a_batch_dimension_runs_alone() {
    let Some(world) = batching(onnx::single("Neg", onnx::FLOAT, &[1, 2]), 32, true) else {
        return;
    };
    let negative = [json!([-1.0, -2.0]), json!([-3.0, -4.0])];
    take(2, &world, &[floats(1, &[1, 2]), floats(1, &[3, 4])], &negative).await;
}

/// What is quick is found out in steps, so that no step is slow by far.
#[tokio::test]
async fn batches_grow_as_they_prove_quick() {
    let Some(world) = batching(onnx::double(), 32, false) else {
        return;
    };
    learn(&world, 2);
    at_once(&world, &vec![floats(1, &[1, 2]); 4]).await;
    assert!(world.runs() >= 2, "at first no more than two rows");
    take(1, &world, &vec![floats(1, &[1, 2]); 4], &vec![json!([2.0, 4.0]); 4]).await;
}

#[tokio::test]
async fn who_goes_away_leaves_the_others_their_run() {
    let Some(mut world) = batching(onnx::endless(), 32, false) else {
        return;
    };
    world.limits().deadline_ms = 60_000;
    world.apply().unwrap();
    let world = Arc::new(world);
    let call = || {
        let (world, body) = (Arc::clone(&world), floats(1, &[1]));
        tokio::spawn(async move { world.post("/v2/models/m/infer", body).await.status })
    };
    let serving = world.node.in_force().serving.clone().unwrap();
    let model = serving.endpoints("m").next().unwrap().1.model.clone();
    let taken = model.hold();
    let mut calls: Vec<_> = (0..3).map(|_| call()).collect();
    settled(|| model.load().in_flight() == 3).await;
    drop(taken);
    settled(|| world.runs() > 0).await;
    calls.pop().unwrap().abort();
    settled(|| model.load().in_flight() == 2).await;
    // Whoever is left waits still: the run of two goes on. With the last of them it ends, and the session is free.
    assert!(calls.iter().all(|call| !call.is_finished()));
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    settled(|| model.load().in_flight() == 0).await;
    drop(tokio::task::spawn_blocking(move || drop(model.hold())).await);
}

async fn settled(is_so: impl Fn() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looking)
        .await
        .expect("it comes true");
}
