//! The three dialects, each against a model.

use super::onnx;
use super::world::World;
use castoff_wire::proto::endpoint::Kind;
use serde_json::{Value, json};

#[tokio::test]
async fn v2_describes_and_infers() {
    let Some(world) = World::new() else { return };
    assert_eq!(world.get("/v2").await.json()["name"], "castoff");
    assert_eq!(
        world.get("/v2/models/double").await.json(),
        json!({
            "name": "double", "versions": ["v1", "v2"], "platform": "onnx_onnxv1",
            "inputs": [{ "name": "x", "datatype": "FP32", "shape": [-1, 2] }],
            "outputs": [{ "name": "y", "datatype": "FP32", "shape": [-1, 2] }]
        })
    );
    assert_eq!(world.get("/v2/models/double/ready").await.status, 200);
    for data in ["[1,2,3,4.5]", "[[1,2],[3,4.5]]"] {
        let body = format!(
            r#"{{"id":"a","inputs":[{{"name":"x","shape":[2,2],"datatype":"FP32","data":{data}}}],"outputs":[{{"name":"y"}}]}}"#
        );
        let answer = world.post("/v2/models/double/versions/v2/infer", body).await;
        assert_eq!(
            answer.text,
            r#"{"model_name":"double","model_version":"v2","id":"a","outputs":[{"name":"y","datatype":"FP32","shape":[2,2],"data":[2.0,4.0,6.0,9.0]}]}"#
        );
    }
}

#[tokio::test]
async fn v2_says_what_is_wrong_and_runs_nothing() {
    let Some(world) = World::new() else { return };
    let input = |name: &str, shape: &str, datatype: &str, data: &str| {
        format!(r#"{{"inputs":[{{"name":"{name}","shape":{shape},"datatype":"{datatype}","data":{data}}}]}}"#)
    };
    let twice = r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]},{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}"#;
    let output = r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}],"outputs":[{"name":"z"}]}"#;
    for (body, said) in [
        (
            input("q", "[1,2]", "FP32", "[1,2]"),
            "there is no input q; the model takes x",
        ),
        (
            input("x", "[1,2]", "FP64", "[1,2]"),
            "input x: datatype is FP64, the model takes FP32",
        ),
        (
            input("x", "[1,2]", "FP31", "[1,2]"),
            "input x: there is no datatype FP31",
        ),
        (
            input("x", "[1,3]", "FP32", "[1,2,3]"),
            "input x: shape is [1, 3], the model takes [-1, 2]",
        ),
        (
            input("x", "[-1,2]", "FP32", "[1,2]"),
            "input x: the shape has a negative or absurd dimension",
        ),
        (
            input("x", "[1,2]", "FP32", "[1]"),
            "input x: the shape holds 2 elements, the data has 1",
        ),
        (
            input("x", "[1,2]", "FP32", "[1,\"a\"]"),
            "input x: element 1 is not a number",
        ),
        (
            input("x", "[1,2]", "FP32", "[1,1e40]"),
            "input x: element 1 is too large for its type, and infinities are refused",
        ),
        (r#"{"inputs":[]}"#.to_owned(), "missing input x"),
        (twice.to_owned(), "input x is given twice"),
        (output.to_owned(), "there is no output z"),
    ] {
        let answer = world.post("/v2/models/double/infer", body).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (400, json!({ "error": said })));
    }
    let nan = world
        .post("/v2/models/double/infer", input("x", "[1,2]", "FP32", "[1,NaN]"))
        .await;
    assert!(
        nan.status == 400 && nan.text.contains("NaN and infinities are refused, at line 1"),
        "{}",
        nan.text
    );
    for body in [
        "",
        "[",
        "null",
        "{\"inputs\":7}",
        &"[".repeat(100_000),
        "{\"inputs\":[{}]}",
        "\u{fffd}",
    ] {
        assert_eq!(world.post("/v2/models/double/infer", body).await.status, 400);
    }
    for path in ["/v2/models/none/infer", "/v2/models/double/versions/v9/infer"] {
        let answer = world.post(path, input("x", "[1,2]", "FP32", "[1,2]")).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(world.get("/v2/models/double/infer").await.status, 405);
    assert_eq!(world.runs(), 0);
    let log = world
        .post("/v2/models/log/infer", input("x", "[1,1]", "FP32", "[-1]"))
        .await;
    assert_eq!(log.status, 422);
    let said = "output y: it holds NaN or an infinity, which JSON cannot carry; ask for binary";
    assert_eq!(log.json(), json!({ "error": said }));
}

#[tokio::test]
async fn v2_carries_every_type_that_json_can() {
    let Some(mut world) = World::new() else { return };
    let types = [
        ("FP32", 1, "[1.5,-2.0]"),
        ("UINT8", 2, "[0,255]"),
        ("INT8", 3, "[-128,127]"),
        ("UINT16", 4, "[0,65535]"),
        ("INT16", 5, "[-32768,32767]"),
        ("INT32", 6, "[-2147483648,2147483647]"),
        ("INT64", 7, "[-9223372036854775808,9223372036854775807]"),
        ("BYTES", 8, "[\"é\",\"\"]"),
        ("BOOL", 9, "[true,false]"),
        ("FP16", 10, "[1.0,2.0]"),
        ("FP64", 11, "[0.1,1e300]"),
        ("UINT32", 12, "[0,4294967295]"),
        ("UINT64", 13, "[0,18446744073709551615]"),
        ("BF16", 16, "[1.0,2.0]"),
    ];
    for (name, element, _) in types {
        world.serve(
            "v1",
            &name.to_lowercase(),
            Kind::Tensor,
            onnx::single("Identity", element, &[-1]),
        );
    }
    world.apply().unwrap();
    for (name, _, data) in types {
        let path = format!("/v2/models/{}", name.to_lowercase());
        assert_eq!(world.get(&path).await.json()["inputs"][0]["datatype"], name);
        let body = format!(r#"{{"inputs":[{{"name":"x","shape":[2],"datatype":"{name}","data":{data}}}]}}"#);
        let answer = world.post(&format!("{path}/infer"), body).await;
        if name.ends_with("16") && !name.contains("INT") {
            assert!(
                answer.status == 400 && answer.text.contains("only as binary"),
                "{}",
                answer.text
            );
        } else {
            let expected: Value = serde_json::from_str(data).unwrap();
            assert_eq!(answer.json()["outputs"][0]["data"], expected, "{name}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn records_are_answered_as_dataiku_does() {
    let Some(world) = World::new() else { return };
    let base = "/public/api/v1/svc/sum";
    let context = json!({ "serviceId": "svc", "endpointId": "sum", "serviceGeneration": "v1" });
    let one = world
        .post(
            &format!("{base}/predict"),
            r#"{"features":{"age":1.5,"income":"2"},"context":{"a":[1]}}"#,
        )
        .await;
    assert_eq!(one.json()["result"], json!({ "prediction": 3.5 }), "{}", one.text);
    assert_eq!(one.json()["apiContext"], context);
    assert!(one.json()["timing"]["total"].is_u64());
    let body = r#"{"items":[{"features":{"age":1,"income":2}},{"features":{"age":10,"income":20}}]}"#;
    let multi = world.post(&format!("{base}/predict-multi"), body).await;
    assert_eq!(
        multi.json()["results"],
        json!([{ "prediction": 3.0 }, { "prediction": 30.0 }])
    );
    let simple = world.get(&format!("{base}/predict-simple?age=1&income=2.25")).await;
    assert_eq!(simple.json()["result"], json!({ "prediction": 3.25 }));
    let forced = r#"{"features":{"age":1,"income":2},"dispatch":{"forcedGeneration":"v2"}}"#;
    let forced = world.post(&format!("{base}/predict"), forced).await;
    assert_eq!(forced.json()["apiContext"]["serviceGeneration"], "v2");
    let keyed = r#"{"features":{"age":1,"income":2},"dispatch":{"dispatchKey":"me"}}"#;
    assert_eq!(
        world.post(&format!("{base}/predict"), keyed).await.json()["apiContext"]["serviceGeneration"],
        "v1"
    );
}

#[tokio::test]
async fn wrong_records_are_named() {
    let Some(world) = World::new() else { return };
    let base = "/public/api/v1/svc/sum";
    for (path, body, status, said) in [
        (
            "predict",
            r#"{"features":{"age":1,"incme":2}}"#,
            400,
            "column income is missing; there is no column incme",
        ),
        (
            "predict",
            r#"{"features":{"age":"x","income":2}}"#,
            400,
            "column age is not a number",
        ),
        (
            "predict",
            r#"{"features":{"age":1,"income":2},"explanations":{}}"#,
            400,
            "unknown field `explanations`",
        ),
        (
            "predict",
            r#"{"features":{},"dispatch":{"forcedGeneration":"v9"}}"#,
            404,
            "no version v9",
        ),
        (
            "predict-multi",
            r#"{"items":[{"features":{"age":1}}]}"#,
            400,
            "column income is missing",
        ),
    ] {
        let answer = world.post(&format!("{base}/{path}"), body).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(
            answer.json()["detail"].as_str().unwrap().contains(said),
            "{}",
            answer.text
        );
    }
    let multi = world
        .post(
            &format!("{base}/predict-multi"),
            r#"{"items":[{"features":{"age":1}}]}"#,
        )
        .await;
    assert_eq!(multi.json()["errors"][0]["pointer"], "/items/0/features/income");
    assert_eq!(
        world
            .get(&format!("{base}/predict-simple?age=1&age=2&income=3"))
            .await
            .status,
        400
    );
    assert_eq!(world.post("/public/api/v1/other/sum/predict", "{}").await.status, 404);
    assert_eq!(
        world
            .post("/public/api/v1/svc/double/predict", r#"{"features":{}}"#)
            .await
            .status,
        400
    );
    assert_eq!(
        world
            .post(&format!("{base}/predict-multi"), r#"{"items":[]}"#)
            .await
            .json()["results"],
        json!([])
    );
}

#[tokio::test]
async fn the_simple_habit() {
    let Some(mut world) = World::new() else { return };
    let text = world.post("/text/predict", r#"{"text":"hello"}"#).await;
    assert_eq!(text.json(), json!({ "prediction": "hello" }), "{}", text.text);
    let list = world
        .post("/sum/predict", r#"[{"age":1,"income":2},{"age":3,"income":4}]"#)
        .await;
    assert_eq!(list.json(), json!([{ "prediction": 3.0 }, { "prediction": 7.0 }]));
    let tensor = world.post("/double/predict", r#"{"inputs":[[1,2],[3,4]]}"#).await;
    assert_eq!(
        tensor.json()["prediction"],
        json!([[2.0, 4.0], [6.0, 8.0]]),
        "{}",
        tensor.text
    );
    let missing = world.post("/sum/predict", r#"[{"age":1,"income":2},{"age":3}]"#).await;
    assert_eq!(missing.status, 422);
    assert_eq!(
        missing.json(),
        json!({ "detail": [{ "type": "missing", "loc": ["body", 1, "income"], "msg": "column income is missing" }] })
    );
    for body in ["", "7", "{", "[7]", "null"] {
        let answer = world.post("/sum/predict", body).await;
        assert!(
            answer.status == 422 && answer.json()["detail"][0]["loc"][0] == "body",
            "{body}: {}",
            answer.text
        );
    }
    for body in [
        r#"{"inputs":{"x":[[1]]}}"#,
        r#"{"inputs":{"q":[[1,2]]}}"#,
        r#"{"inputs":[[1,2],[3]]}"#,
        r#"{"input":1}"#,
    ] {
        assert_eq!(world.post("/double/predict", body).await.status, 422, "{body}");
    }
    assert_eq!(
        world.post("/predict", "{}").await.status,
        404,
        "there is more than one endpoint"
    );
    for version in &mut world.serving().versions {
        version.endpoints.retain(|endpoint| endpoint.name == "sum");
    }
    world.apply().unwrap();
    assert_eq!(
        world.post("/predict", r#"{"age":1,"income":2}"#).await.json(),
        json!({ "prediction": 3.0 })
    );
}

#[tokio::test]
async fn one_tensor_with_named_columns_and_labels() {
    let Some(mut world) = World::new() else { return };
    let endpoint = world.serve("v1", "classes", Kind::Records, onnx::double());
    endpoint.columns = vec!["a".to_owned(), "b".to_owned()];
    endpoint.labels = vec!["no".to_owned(), "yes".to_owned()];
    world.apply().unwrap();
    let answer = world.post("/classes/predict", r#"{"b":0.25,"a":0.1}"#).await;
    assert_eq!(
        answer.json(),
        json!({ "prediction": "yes", "probas": { "no": 0.2, "yes": 0.5 } }),
        "{}",
        answer.text
    );
}
