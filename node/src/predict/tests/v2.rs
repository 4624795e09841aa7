//! Open Inference Protocol V2, line by line.

use super::onnx;
use super::world::{World, key, with};
use castoff_wire::proto::endpoint::Kind;
use serde_json::{Value, json};

#[tokio::test]
async fn v1_the_server_describes_itself() {
    let Some(world) = World::new() else { return };
    let described = world.get("/v2").await;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        (described.status.as_u16(), described.json()),
        (200, json!({ "name": "castoff", "version": version, "extensions": [] }))
    );
    assert_eq!(described.headers["content-type"], "application/json");
}

#[tokio::test]
async fn v2_health_is_200_or_503() {
    let Some(world) = World::new() else { return };
    for path in ["/v2/health/live", "/v2/health/ready"] {
        assert_eq!(world.get(path).await.status, 200, "{path}");
    }
    world.node.set_draining();
    assert_eq!(world.get("/v2/health/live").await.status, 200);
    let unready = world.get("/v2/health/ready").await;
    assert_eq!(unready.status, 503);
    assert!(unready.json()["error"].is_string(), "{}", unready.text);
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let Some(world) = World::new() else { return };
    for path in ["/v2", "/v2/health/live", "/v2/models/double", "/v2/models/none"] {
        let got = world.get(path).await;
        let head = world.call(with(&[("x-api-key", &key(1))], "HEAD", path, "")).await;
        assert_eq!((head.status, head.text.as_str()), (got.status, ""), "{path}");
        assert_eq!(head.headers["content-length"], got.text.len().to_string(), "{path}");
    }
}

#[tokio::test]
async fn v3_a_model_is_described_with_its_versions() {
    let Some(world) = World::new() else { return };
    for path in ["/v2/models/double", "/v2/models/double/versions/v2"] {
        assert_eq!(
            world.get(path).await.json(),
            json!({
                "name": "double", "versions": ["v1", "v2"], "platform": "onnx_onnxv1",
                "inputs": [{ "name": "x", "datatype": "FP32", "shape": [-1, 2] }],
                "outputs": [{ "name": "y", "datatype": "FP32", "shape": [-1, 2] }]
            })
        );
    }
    for path in ["/v2/models/none", "/v2/models/double/versions/v9"] {
        assert_eq!(world.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn v4_a_model_is_ready_by_version() {
    let Some(world) = World::new() else { return };
    for (path, status) in [
        ("/v2/models/double/ready", 200),
        ("/v2/models/double/versions/v2/ready", 200),
        ("/v2/models/none/ready", 404),
        ("/v2/models/double/versions/v9/ready", 404),
    ] {
        assert_eq!(world.get(path).await.status, status, "{path}");
    }
}

const TWO: &str = r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}"#;

#[tokio::test]
async fn v5_infer_is_a_post() {
    let Some(world) = World::new() else { return };
    let answer = world.post("/v2/models/double/infer", TWO).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["outputs"][0]["data"]),
        (200, &json!([2.0, 4.0]))
    );
    assert_eq!(world.get("/v2/models/double/infer").await.status, 405);
    assert_eq!(world.runs(), 1);
}

#[tokio::test]
async fn v6_data_is_flat_or_nested_and_outputs_are_asked_for_or_all() {
    let Some(mut world) = World::new() else { return };
    for data in ["[1,2,3,4.5]", "[[1,2],[3,4.5]]"] {
        let body = format!(
            r#"{{"id":"a","parameters":{{"mine":1}},"inputs":[{{"name":"x","shape":[2,2],"datatype":"FP32","parameters":{{}},"data":{data}}}],"outputs":[{{"name":"y"}}]}}"#
        );
        let answer = world.post("/v2/models/double/versions/v2/infer", body).await;
        assert_eq!(
            answer.text,
            r#"{"model_name":"double","model_version":"v2","id":"a","outputs":[{"name":"y","datatype":"FP32","shape":[2,2],"data":[2.0,4.0,6.0,9.0]}]}"#
        );
    }
    world.serve("v1", "both", Kind::Tensor, onnx::both());
    world.apply().unwrap();
    let names = async |asked: &str| {
        let body = format!("{},{asked}}}", TWO.strip_suffix('}').unwrap());
        let answer = world.post("/v2/models/both/infer", body).await.json();
        let outputs = answer["outputs"].as_array().cloned().unwrap_or_default();
        outputs
            .iter()
            .map(|output| output["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(r#""id":"b""#).await,
        ["sum", "same"],
        "all when none is asked for"
    );
    assert_eq!(names(r#""outputs":[{"name":"same"}]"#).await, ["same"]);
    assert_eq!(
        names(r#""outputs":[{"name":"same"},{"name":"sum"}]"#).await,
        ["same", "sum"]
    );
}

#[tokio::test]
async fn v7_versions_are_strings_of_any_kind() {
    let Some(mut world) = World::new() else { return };
    for name in ["1", "v4-new.features_x"] {
        world.route(name, 0);
        world.serve(name, "double", Kind::Tensor, onnx::double());
    }
    world.apply().unwrap();
    for name in ["1", "v4-new.features_x", "v2"] {
        let answer = world
            .post(&format!("/v2/models/double/versions/{name}/infer"), TWO)
            .await;
        assert_eq!(answer.json()["model_version"], name, "{}", answer.text);
    }
    // Without one, the version that has the calls; its name is said.
    assert_eq!(
        world.post("/v2/models/double/infer", TWO).await.json()["model_version"],
        "v1"
    );
}

#[tokio::test]
async fn v8_every_type_that_json_can_carry_comes_and_goes() {
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
async fn v9_errors_say_what_is_wrong_and_nothing_runs() {
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
}

#[tokio::test]
async fn what_json_cannot_carry_names_its_output() {
    let Some(world) = World::new() else { return };
    let input = |data: &str| format!(r#"{{"inputs":[{{"name":"x","shape":[1,1],"datatype":"FP32","data":{data}}}]}}"#);
    let log = world.post("/v2/models/log/infer", input("[-1]")).await;
    assert_eq!(log.status, 422);
    let said = "output y: it holds NaN or an infinity, which JSON cannot carry; ask for binary";
    assert_eq!(log.json(), json!({ "error": said }));
}
