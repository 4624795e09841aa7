//! What nodes answer equals what Python's ONNX Runtime answered, for every committed model in every dialect.
//!
//! The models are not listed here: each file in `expected/` is deployed and called.

use acceptance::{Answer, Cast, Database, Deployed, Request, World, json, models};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// One committed model, deployed.
struct Model {
    expected: Value,
    deployed: Deployed,
    endpoints: Vec<Value>,
}

fn deploy_all(cast: &Cast) -> Vec<Model> {
    let mut files: Vec<_> = std::fs::read_dir(models::folder().join("expected"))
        .expect("the expectations")
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    let deploy = |name: &String| {
        let expected = models::expected(name);
        let package = format!("{name}.zip");
        let file = match models::folder().join(&package).exists() {
            true => package,
            false => format!("{name}.onnx"),
        };
        cast.service(name, &file);
        let version = cast.dana.get(&format!("/services/{name}/versions/v1")).expect(200);
        let deployed = Deployed::create(
            &cast.dana,
            json!({"service": name, "infrastructure": "dev", "version": "v1"}),
        );
        let endpoints = version["endpoints"].as_array().unwrap().clone();
        Model {
            expected,
            deployed,
            endpoints,
        }
    };
    files.iter().map(deploy).collect()
}

impl Model {
    fn post(&self, path: &str, body: &Value) -> Answer {
        Request::post(format!("{}{path}", self.deployed.url))
            .header("x-api-key", &self.deployed.key)
            .json(body)
            .send()
    }

    fn get(&self, path: &str) -> Answer {
        Request::get(format!("{}{path}", self.deployed.url))
            .header("x-api-key", &self.deployed.key)
            .send()
    }

    fn names(&self, kind: Option<&str>) -> Vec<&str> {
        let of_kind = self
            .endpoints
            .iter()
            .filter(|end| kind.is_none_or(|kind| end["kind"] == kind));
        of_kind.map(|end| end["name"].as_str().unwrap()).collect()
    }

    /// V2 serves every endpoint.
    fn v2(&self) {
        for name in self.names(None) {
            for path in [format!("/v2/models/{name}"), format!("/v2/models/{name}/versions/v1")] {
                let body = json!({"id": "7", "inputs": self.expected["inputs"]});
                let answer = self.post(&format!("{path}/infer"), &body).expect(200);
                assert_eq!(
                    (&answer["model_name"], &answer["model_version"]),
                    (&json!(name), &json!("v1"))
                );
                assert_eq!(answer["id"], "7");
                same(&answer["outputs"], &self.expected["outputs"], &answer.what);
                let described = self.get(&path).expect(200);
                assert_eq!(described["platform"], "onnx_onnxv1");
                assert_eq!(described["versions"], json!(["v1"]));
                self.get(&format!("{path}/ready")).expect(200);
            }
        }
    }

    /// Records of those that have named columns.
    fn records(&self) {
        let Some(rows) = self.expected["records"].as_array() else {
            return;
        };
        let service = &self.deployed.service;
        let endpoint = self.names(Some("records"))[0];
        let base = format!("/public/api/v1/{service}/{endpoint}");
        for row in rows {
            let answer = self
                .post(&format!("{base}/predict"), &json!({"features": row["features"]}))
                .expect(200);
            self.result(&answer["result"], row, &answer.what);
            assert_eq!(answer["apiContext"]["serviceId"], service.as_str());
            let columns = row["features"].as_object().unwrap().iter();
            let query: Vec<String> = columns
                .map(|(name, value)| format!("{name}={}", encoded(value)))
                .collect();
            let answer = self
                .get(&format!("{base}/predict-simple?{}", query.join("&")))
                .expect(200);
            self.result(&answer["result"], row, &answer.what);
            let answer = self.post(&format!("/{endpoint}/predict"), &row["features"]).expect(200);
            same(&answer["prediction"], &row["prediction"], &answer.what);
        }
        let items: Vec<Value> = rows.iter().map(|row| json!({"features": row["features"]})).collect();
        let answer = self
            .post(&format!("{base}/predict-multi"), &json!({"items": items}))
            .expect(200);
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results.len(), rows.len());
        for (result, row) in results.iter().zip(rows) {
            self.result(result, row, &answer.what);
        }
    }

    fn result(&self, result: &Value, row: &Value, what: &str) {
        same(&result["prediction"], &row["prediction"], what);
        if let Some(probabilities) = row.get("probas") {
            same(&result["probas"], probabilities, what);
        }
    }

    /// K34, F1: the places where a key may stand, on a real call; and that one of them is needed.
    fn keys(&self) {
        let name = self.names(None)[0];
        let url = format!("{}/v2/models/{name}/infer", self.deployed.url);
        let body = json!({"inputs": self.expected["inputs"]});
        let key = &self.deployed.key;
        let with = |name: &str, value: String| Request::post(&url).header(name, value).json(&body).send();
        with("x-api-key", key.clone()).expect(200);
        with("authorization", format!("Bearer {key}")).expect(200);
        let basic = acceptance::models::basic(key);
        with("authorization", basic.clone()).expect(200);
        Request::post(&url).json(&body).send().expect(401);
        with("x-api-key", format!("{key}x")).expect(401);
        let twice = Request::post(&url)
            .header("x-api-key", key)
            .header("authorization", basic);
        let refused = twice.json(&body).send();
        assert!(matches!(refused.status, 400 | 401), "given twice: {}", refused.status);
        let in_url = Request::post(format!("{url}?api_key={key}")).json(&body).send();
        assert!(matches!(in_url.status, 400 | 401), "in the URL: {}", in_url.status);
    }
}

fn encoded(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Equal, with numbers as near as single precision allows.
#[track_caller]
fn same(found: &Value, expected: &Value, what: &str) {
    match (found, expected) {
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{what}");
            found
                .iter()
                .zip(expected)
                .for_each(|(found, expected)| same(found, expected, what));
        }
        (Value::Object(_), Value::Object(expected)) => {
            for (name, expected) in expected {
                same(&found[name], expected, &format!("{what} {name}"));
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-5 + 1e-5 * b.abs(), "{what}: {a}, not {b}");
        }
        _ => assert_eq!(found, expected, "{what}"),
    }
}

/// The clients that other people wrote, on the nodes that run.
fn third_party_clients(models: &[Model]) {
    let described = models.iter().map(|model| {
        let deployed = &model.deployed;
        let endpoint = model.names(Some("records")).first().copied().unwrap_or(model.names(None)[0]);
        let place = json!({
            "url": deployed.url, "key": deployed.key, "service": deployed.service, "endpoint": endpoint, "version": "v1",
        });
        (deployed.service.clone(), place)
    });
    let described: serde_json::Map<String, Value> = described.collect();
    let run = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/run"))
        .arg("-q")
        .env("CASTOFF_NODE_URLS", Value::Object(described).to_string())
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    assert!(run.status.success(), "{said}");
}

#[test]
fn every_model_answers_as_python_does_in_every_dialect() {
    let cast = World::with_cast(Database::Sqlite);
    let models = deploy_all(&cast);
    for model in &models {
        model.v2();
        model.records();
        model.keys();
    }
    third_party_clients(&models);
}

/// Whatever is sent, a node answers with a 4xx that says what is wrong.
#[test]
fn nonsense_gets_a_4xx_with_a_reason() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let mut wrong = Vec::new();
    for path in [
        "/v2/models/iris/infer",
        "/public/api/v1/iris/iris/predict",
        "/public/api/v1/iris/iris/predict-multi",
        "/predict",
        "/iris/predict",
    ] {
        for body in [
            "",
            "{",
            "[7]",
            "null",
            "{}",
            r#"{"inputs": []}"#,
            r#"{"inputs": [{"name": "sepal_length", "shape": [1, 9999999999], "datatype": "FP32", "data": [1]}]}"#,
            r#"{"inputs": [{"name": "sepal_length", "shape": [-1], "datatype": "FP32", "data": [1]}]}"#,
            r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP99", "data": ["a"]}]}"#,
            r#"{"features": {}}"#,
            r#"{"features": {"sepal_length": "long"}}"#,
            r#"{"features": {"sepal_length": 1e999}}"#,
            r#"{"features": 7, "items": {}}"#,
            r#"{"items": [7]}"#,
            "\u{0}\u{1}",
        ] {
            let request = Request::post(format!("{}{path}", dev.url)).header("x-api-key", &dev.key);
            let answer = request.header("content-type", "application/json").body(body).send();
            if !(400..500).contains(&answer.status) || answer.text().len() < 10 {
                wrong.push(format!("{path} {body}: {} {}", answer.status, answer.text()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    dev.answers();
}
