//! Calls that come at the same time, answered by one run of the model where its package says that they may be.

use acceptance::archive::archive;
use acceptance::node::counted;
use acceptance::{Cast, Database, Deployed, Request, Value, World, json, models};
use std::thread;

const CALLERS: usize = 8;
const CALLS: usize = 200;

/// Iris on dev, with this said of its model.
fn deploy(cast: &Cast, said: &str) -> Deployed {
    let yaml = format!("endpoints: [{{name: iris, model: m.onnx, kind: tensor{said}}}]");
    let model = models::read("iris-tensor.onnx");
    let package = archive("zip", &[("service.yaml", yaml.as_bytes()), ("m.onnx", &model)]);
    cast.dana.post("/services", json!({"name": "iris"})).expect(201);
    let version = cast.dana.upload("iris", "v1", package).expect(201);
    assert_eq!(
        version["endpoints"][0]["max_batch_size"],
        if said.is_empty() { 1 } else { 64 }
    );
    Deployed::create(
        &cast.dana,
        json!({"service": "iris", "infrastructure": "dev", "version": "v1", "limits": {"sessions": 1}}),
    )
}

/// What the model says of a flower that no other caller asks about.
fn ask(deployed: &Deployed, number: usize) -> (Value, Value) {
    let data: Vec<f64> = (0..4)
        .map(|column| ((number * 7 + column * 3) % 70) as f64 / 10.0)
        .collect();
    let input = json!({"name": "input", "datatype": "FP32", "shape": [1, 4], "data": data});
    let request = Request::post(format!("{}/v2/models/iris/infer", deployed.url));
    let answer = request
        .header("x-api-key", deployed.key.as_str())
        .json(&json!({"inputs": [input]}));
    let answer = answer.send().expect(200);
    (
        answer["outputs"][0]["data"].clone(),
        answer["outputs"][1]["data"].clone(),
    )
}

fn runs(deployed: &Deployed) -> f64 {
    let shown = deployed.nodes()[0].shown.clone();
    let ops = shown["ops_address"].as_str().expect("an address");
    let lines = counted(ops, "castoff_node_model_runs_total");
    lines[0]
        .rsplit(' ')
        .next()
        .expect("a number")
        .parse()
        .expect("a number")
}

/// The same class, and probabilities but for their last digits.
fn agree((label, probabilities): &(Value, Value), (own_label, own): &(Value, Value)) {
    assert_eq!(label, own_label);
    let numbers = |value: &Value| -> Vec<f64> {
        let all = value.as_array().expect("a list").iter();
        all.map(|one| one.as_f64().expect("a number")).collect()
    };
    for (one, other) in numbers(probabilities).iter().zip(numbers(own)) {
        assert!((one - other).abs() < 1e-5, "{one} for {other}");
    }
}

#[test]
fn each_caller_gets_the_answer_to_its_own_rows() {
    let alone = World::with_cast(Database::Sqlite);
    let alone = (deploy(&alone, ""), alone);
    let cast = World::with_cast(Database::Sqlite);
    let together = deploy(&cast, ", max_batch_size: 64");
    let expected: Vec<_> = (0..CALLERS).map(|number| ask(&alone.0, number)).collect();
    assert!(expected.iter().any(|(label, _)| *label != expected[0].0), "they differ");
    let before = runs(&together);
    thread::scope(|scope| {
        for (number, expected) in expected.iter().enumerate() {
            let together = &together;
            scope.spawn(move || (0..CALLS).for_each(|_| agree(&ask(together, number), expected)));
        }
    });
    let runs = runs(&together) - before;
    let calls = (CALLERS * CALLS) as f64;
    assert!(runs > 0.0 && runs < calls, "{calls} calls in {runs} runs");
}

#[test]
fn a_package_that_cannot_say_so_is_refused_with_the_place() {
    let cast = World::with_cast(Database::Sqlite);
    cast.dana.post("/services", json!({"name": "iris"})).expect(201);
    let model = models::read("iris-tensor.onnx");
    for (said, reason) in [
        ("0", "must be 1 to 1024"),
        ("-1", "must be 1 to 1024"),
        ("[]", "invalid type"),
    ] {
        let yaml = format!("endpoints: [{{name: iris, model: m.onnx, max_batch_size: {said}}}]");
        let package = archive("zip", &[("service.yaml", yaml.as_bytes()), ("m.onnx", &model)]);
        let refused = cast.dana.upload("iris", "v1", package).expect(422);
        let error = &refused["errors"][0];
        assert_eq!(error["pointer"], "/endpoints/0/max_batch_size", "{said}: {error}");
        assert!(
            error["reason"].as_str().expect("text").contains(reason),
            "{said}: {error}"
        );
    }
}
