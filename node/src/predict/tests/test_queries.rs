//! Test queries of a package, asked before calls are taken.

use super::onnx::{self, FLOAT};
use super::world::World;
use crate::serving::NotServed;
use castoff_wire::proto::endpoint::Kind;
use serde_json::{Value, json};
use std::thread;

/// A node with one more endpoint `m` that doubles its column `x`, which must answer these queries.
fn asked(queries: &Value) -> Option<World> {
    let mut world = World::new()?;
    world.serve("v1", "m", Kind::Records, doubled());
    world.test("v1", "m", queries);
    Some(world)
}

/// y = x + x, each a column.
fn doubled() -> Vec<u8> {
    let column = &[-1, 1][..];
    onnx::model(
        &[onnx::node("Add", &["x", "x"], &["y"], &[])],
        &[("x", FLOAT, column)],
        &[("y", FLOAT, column)],
    )
}

fn refusal(world: &mut World) -> String {
    match world.apply().unwrap_err() {
        NotServed::TestQuery(reason) => reason,
        other => panic!("{other:?}"),
    }
}

fn tensor(data: f64) -> Value {
    json!([{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [data]}])
}

#[test]
fn right_answers_let_a_config_in() {
    let right = json!([
        {"features": {"x": 1.5}, "expected": {"prediction": 3.0}},
        {"features": {"x": 1.5}, "expected": {"prediction": 3.2}, "tolerance": 0.1},
        {"features": {"x": 1.5}},
        {"inputs": tensor(2.0), "expected": {"outputs": [{"name": "y", "data": [[4]]}]}},
        {"inputs": tensor(2.0)},
    ]);
    let Some(mut world) = asked(&right) else { return };
    let before = world.runs();
    world.apply().unwrap();
    assert_eq!(world.runs() - before, 5);
    // What has passed is not asked again: a key is revoked a thousand times for each version.
    let before = world.runs();
    world.apply().unwrap();
    assert_eq!(world.runs(), before);
    // Of other queries each is asked.
    world.test("v1", "m", &json!([{"features": {"x": 2}}]));
    world.apply().unwrap();
    assert_eq!(world.runs() - before, 1);
}

#[test]
fn a_wrong_answer_keeps_it_out_and_says_which() {
    for (query, said) in [
        (
            json!({"features": {"x": 1.5}, "expected": {"prediction": 4}}),
            "query 2 of 2: prediction is 3.0 instead of 4",
        ),
        (
            json!({"features": {"x": 1.5}, "expected": {"probas": {"a": 1}}}),
            "query 2 of 2: the model gives no probabilities",
        ),
        (
            json!({"inputs": tensor(2.0), "expected": {"outputs": [{"name": "y", "data": [4.1]}]}}),
            "query 2 of 2: output y, element 0 is 4.0 instead of 4.1",
        ),
        (
            json!({"inputs": tensor(2.0), "expected": {"outputs": [{"name": "y", "data": [4, 4]}]}}),
            "query 2 of 2: output y has 1 elements instead of 2",
        ),
        (
            json!({"inputs": tensor(2.0), "expected": {"outputs": [{"name": "z", "data": [4]}]}}),
            "query 2 of 2: it is not answered: there is no output z",
        ),
        (
            json!({"features": {"z": 2}}),
            "query 2 of 2: it is not answered: column x is missing; there is no column z",
        ),
    ] {
        let Some(mut world) = asked(&json!([{"features": {"x": 1}}, query])) else {
            return;
        };
        let in_force = world.node.position();
        assert_eq!(refusal(&mut world), format!("v1/m: {said}"));
        assert_eq!(world.node.position(), in_force);
    }
    let Some(mut world) = asked(&json!({})) else { return };
    assert!(refusal(&mut world).contains("at : invalid type"));
}

#[test]
fn each_version_is_asked_its_own() {
    let right = json!([{"features": {"x": 1}, "expected": {"prediction": 2}}]);
    let Some(mut world) = asked(&right) else { return };
    world.serve("v2", "m", Kind::Records, doubled());
    world.test(
        "v2",
        "m",
        &json!([{"features": {"x": 1}, "expected": {"prediction": 3}}]),
    );
    assert_eq!(
        refusal(&mut world),
        "v2/m: query 1 of 1: prediction is 2.0 instead of 3"
    );
}

/// Callers of the version before have taken all places of a model that both share: nothing is wrong with the answers.
#[test]
fn queries_wait_behind_calls() {
    let Some(mut world) = asked(&json!([{"features": {"x": 1}}])) else {
        return;
    };
    world.limits().queue = 0;
    world.apply().unwrap();
    let serving = world.node.in_force().serving.clone().unwrap();
    let busy = serving.endpoints("m").next().unwrap().1.model.occupy(0);
    world.test(
        "v1",
        "m",
        &json!([{"features": {"x": 2}, "expected": {"prediction": 4}}]),
    );
    let applying = thread::spawn(move || world.apply());
    thread::sleep(3 * super::super::test_queries::BUSY);
    assert!(!applying.is_finished(), "there is no place for it");
    drop(busy);
    applying.join().unwrap().unwrap();
}
