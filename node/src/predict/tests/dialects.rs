//! Records and the simple dialect, each against a model. V2 is in `v2`.

use super::onnx;
use super::world::World;
use castoff_wire::proto::endpoint::Kind;
use serde_json::json;

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
