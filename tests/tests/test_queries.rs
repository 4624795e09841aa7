//! Test queries of packages: a version that answers them wrongly is served by nobody, and the status says why.

use acceptance::archive::archive;
use acceptance::{Cast, Database, Deployed, Value, World, eventually, json, models};

const FLOWER: [f64; 4] = [5.1, 3.5, 1.4, 0.2];

/// Iris as a package that must answer these queries.
pub(crate) fn package(queries: &Value) -> Vec<u8> {
    let yaml = "endpoints: [{name: iris, model: m.onnx, columns: [sepal_length, sepal_width, petal_length, petal_width], \
                labels: [setosa, versicolor, virginica], test_queries: tests/q.json}]";
    let (model, queries) = (models::read("iris-tensor.onnx"), queries.to_string());
    archive(
        "zip",
        &[
            ("service.yaml", yaml.as_bytes()),
            ("m.onnx", &model),
            ("tests/q.json", queries.as_bytes()),
        ],
    )
}

/// That a setosa is one.
pub(crate) fn right() -> Value {
    let query = models::setosa();
    json!([{"features": query["features"], "expected": {"prediction": "setosa", "probas": {"setosa": 0.98}}, "tolerance": 0.01}])
}

/// That it is another flower; asked by tensors, after a query that is answered rightly.
pub(crate) fn wrong() -> Value {
    let input = json!({"name": "input", "shape": [1, 4], "datatype": "FP32", "data": FLOWER});
    let mut queries = right();
    let query = json!({"inputs": [input], "expected": {"outputs": [{"name": "label", "data": [2]}]}});
    queries.as_array_mut().expect("a list").push(query);
    queries
}

pub(crate) const SAID: &str = "a test query failed: v2/iris: query 2 of 2: output label, element 0 is 0 instead of 2";

fn deploy(cast: &Cast, queries: &Value) -> Deployed {
    cast.dana.post("/services", json!({"name": "iris"})).expect(201);
    let version = cast.dana.upload("iris", "v1", package(queries)).expect(201);
    assert_eq!(version["endpoints"][0]["test_queries"]["path"], "tests/q.json");
    Deployed::create(
        &cast.dana,
        json!({"service": "iris", "infrastructure": "dev", "version": "v1", "scale": {"replicas": 2}}),
    )
}

fn says(cast: &Cast, deployed: &Deployed, part: &str) -> Value {
    eventually("the status says so", || {
        let status = cast.dana.get(&deployed.path("/status")).expect(200);
        let is_said = status.string("/message").contains(part);
        is_said.then(|| status.json.clone()).ok_or_else(|| status.text())
    })
}

#[test]
fn a_wrong_answer_stops_a_new_version_and_is_shown() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = deploy(&cast, &right());
    let (before, revoked) = (dev.processes(2), dev.new_key("revoked"));
    cast.dana.upload("iris", "v2", package(&wrong())).expect(201);
    // Who waits for it learns it.
    let deploying = cast.dana.cli(["deploy", "iris", "v2", "--on", "dev", "--wait", "60s"]);
    assert_ne!(deploying.code, 0, "{}", deploying.out);
    assert!(deploying.err.contains(SAID), "{}", deploying.err);
    let status = says(&cast, &dev, SAID);
    for node in status["nodes"].as_array().expect("nodes") {
        assert_eq!(node["refused"]["reason"], "test-query", "{node}");
        assert_eq!(node["reason"], SAID, "{node}");
        assert_eq!(node["state"], "ready", "{node}");
    }
    // The version of before goes on in the same processes, under the newest keys.
    assert_eq!(dev.answers().string("/apiContext/serviceGeneration"), "v1");
    assert_eq!(dev.processes(2), before);
    assert_eq!(dev.call(&revoked).status, 200);
    let revoke = dev.path(&format!("/keys/{}/revoke", dev.key_id("revoked")));
    cast.dana.post(&revoke, json!({})).expect_any(&[200, 202]);
    eventually("the key is refused", || match dev.call(&revoked).status {
        401 => Ok(()),
        status => Err(status.to_string()),
    });
    // A node that starts comes back with what was in force.
    before[0].kill();
    eventually("it is back", || {
        let nodes = dev.nodes();
        let back = nodes
            .iter()
            .all(|node| node.shown["state"] == "ready" && node.shown["reason"] == SAID);
        back.then_some(()).ok_or_else(|| format!("{nodes:?}"))
    });
    (0..20).for_each(|_| assert_eq!(dev.answers().string("/apiContext/serviceGeneration"), "v1"));
    // Mended under another name, it is taken over.
    cast.dana.upload("iris", "v3", package(&right())).expect(201);
    cast.dana
        .patch(&dev.path("?wait=30s"), json!({"version": "v3"}))
        .expect(200);
    assert_eq!(dev.answers().string("/apiContext/serviceGeneration"), "v3");
    eventually("the status is as if nothing had been", || {
        let status = cast.dana.get(&dev.path("/status")).expect(200);
        let is_over = status["message"] == "2 nodes ready";
        is_over.then_some(()).ok_or_else(|| status.text())
    });
}

#[test]
fn a_first_version_with_wrong_answers_takes_no_calls() {
    let cast = World::with_cast(Database::Sqlite);
    cast.dana.post("/services", json!({"name": "iris"})).expect(201);
    cast.dana.upload("iris", "v2", package(&wrong())).expect(201);
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v2"});
    let made = cast.dana.post("/deployments", body).expect(201).string("/name");
    eventually("the status says so", || {
        let status = cast.dana.get(&format!("/deployments/{made}/status")).expect(200);
        let is_said = status.string("/message") == format!("no node is ready yet: {SAID}");
        is_said.then_some(()).ok_or_else(|| status.text())
    });
}

#[test]
fn queries_that_no_node_could_be_asked_are_refused_at_the_upload() {
    let cast = World::with_cast(Database::Sqlite);
    cast.dana.post("/services", json!({"name": "iris"})).expect(201);
    for (queries, reason) in [
        (json!({}), "tests/q.json: "),
        (
            json!([{"features": {"sepal_length": 1}}]),
            "tests/q.json at /0/features: column sepal_width is missing",
        ),
        (
            json!([{"inputs": [{"name": "input", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}]),
            "tests/q.json at /0/inputs/0/shape: does not fit [-1, 4], which the model takes",
        ),
    ] {
        let refused = cast.dana.upload("iris", "v1", package(&queries)).expect(422);
        let error = &refused["errors"][0];
        assert_eq!(error["pointer"], "/endpoints/0/test_queries", "{error}");
        assert!(error["reason"].as_str().expect("text").starts_with(reason), "{error}");
    }
    let yaml = "endpoints: [{name: iris, model: m.onnx, test_queries: none.json}]";
    let model = models::read("iris-tensor.onnx");
    let without = archive("zip", &[("service.yaml", yaml.as_bytes()), ("m.onnx", &model)]);
    let refused = cast.dana.upload("iris", "v1", without).expect(422);
    assert_eq!(refused["errors"][0]["reason"], "none.json is not in the package");
}
