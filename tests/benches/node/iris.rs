//! Iris by JSON over HTTP with a key: a node, and FastAPI with onnxruntime as it is commonly written and as it can be tuned.
//!
//! All three load the same file into the same release of ONNX Runtime, are asked by the same callers, and must give the
//! same predictions before anything is timed.

use crate::rivals::Rival;
use acceptance::archive::archive;
use acceptance::figure::{interleaved, median, ratios};
use acceptance::{Database, Deployed, Figure, Load, Report, Value, World, json, load, models, scratch};
use std::fs;
use std::time::Duration;

const MODEL: &str = "iris-tensor";
/// The model treats each row by itself, so those of several calls may share a run.
const PACKAGE: &str = "endpoints: [{name: iris, model: iris.onnx, max_batch_size: 64}]";
const ROUND: Duration = Duration::from_millis(700);
const ROUNDS: usize = 15;
/// What is asked of the ratios, and wished: callers, commonly written, tuned.
const ASKED: [(usize, Asked, Asked); 2] = [
    (1, (8.0, None), (4.0, Some(6.0))),
    (64, (15.0, None), (7.0, Some(10.0))),
];

type Asked = (f64, Option<f64>);

/// Somebody who predicts, and how.
struct Side {
    name: &'static str,
    load: Load,
}

/// Answers per second of each side in turn, and the node's divided by the rivals'.
pub fn measure(report: &mut Report) {
    let cast = World::with_cast(Database::Sqlite);
    let bytes = models::read(&format!("{MODEL}.onnx"));
    cast.dana.post("/services", json!({"name": "iris"})).expect(201);
    let package = archive("zip", &[("service.yaml", PACKAGE.as_bytes()), ("iris.onnx", &bytes)]);
    cast.dana.upload("iris", "v1", package).expect(201);
    let deployed = Deployed::create(
        &cast.dana,
        // As many sessions as the tuned rival has processes.
        json!({"service": "iris", "infrastructure": "dev", "version": "v1", "limits": {"sessions": 2}}),
    );
    // In the folder of this run, so that nothing is left of the rivals however it ends.
    let model = scratch::subfolder("rivals").join("iris.onnx");
    fs::write(&model, bytes).expect("the model's file");
    let common = Rival::start("common.py", &model, &deployed.key);
    let tuned = Rival::start("tuned.py", &model, &deployed.key);

    let row = [5.1, 3.5, 1.4, 0.2];
    let plain = json!({"inputs": [row]});
    let v2 = json!({"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": row}]});
    let key = [("x-api-key", deployed.key.as_str())];
    let side = |name, url: &str, path, body: &Value, holds| Side {
        name,
        load: Load::post(url, path, &key, &body.to_string(), holds),
    };
    let sides = [
        side("node, V2", &deployed.url, "/v2/models/iris/infer", &v2, "0.98"),
        side("node, the rivals' body", &deployed.url, "/iris/predict", &plain, "0.98"),
        side("commonly written", &common.url, "/predict", &plain, "0.98"),
        side("tuned", &tuned.url, "/predict", &plain, "0.98"),
    ];
    agree(&deployed, &[&common, &tuned]);
    ceiling(report);
    report.note(format!(
        "each figure is the median of {ROUNDS} rounds of {} ms, the sides in turn",
        ROUND.as_millis()
    ));
    for (callers, common_asked, tuned_asked) in ASKED {
        for side in &sides {
            side.load.run(callers, ROUND / 2);
        }
        let mut within = [const { Vec::new() }; 4];
        let rates: [Vec<f64>; 4] = interleaved(ROUNDS, |side| {
            let answers = sides[side].load.run(callers, ROUND);
            within[side].push((answers.within(0.5), answers.within(0.99)));
            answers.rate()
        });
        for ((side, rates), within) in sides.iter().zip(&rates).zip(&within) {
            let what = |of: &str| format!("iris, {callers} callers, {}: {of}", side.name);
            report.add(Figure::median(what("answers"), "/s", rates));
            let [p50, p99] = [
                within.iter().map(|both| both.0).collect::<Vec<_>>(),
                within.iter().map(|both| both.1).collect::<Vec<_>>(),
            ];
            report.add(Figure::of(what("p50"), "µs", median(&p50)));
            report.add(Figure::of(what("p99"), "µs", median(&p99)));
        }
        for node in [0, 1] {
            for (rival, (least, goal)) in [(2, common_asked), (3, tuned_asked)] {
                let what = format!(
                    "iris, {callers} callers: {} / FastAPI {}",
                    sides[node].name, sides[rival].name
                );
                let figure = Figure::median(what, "×", &ratios(&rates[node], &rates[rival])).at_least(least);
                report.add(match goal {
                    Some(goal) => figure.goal(goal),
                    None => figure,
                });
            }
        }
    }
}

/// How fast the callers themselves are, when nobody thinks before an answer.
fn ceiling(report: &mut Report) {
    let load = Load::post(&load::noop("{}"), "/", &[], "{}", "{}");
    for (callers, ..) in ASKED {
        let rate = load.run(callers, ROUND * 2).rate();
        report.add(Figure::of(
            format!("{callers} callers, a server that does nothing: answers"),
            "/s",
            rate,
        ));
    }
}

/// Every flower of the expectations gets the label and the probabilities that are expected, from everybody.
fn agree(deployed: &Deployed, rivals: &[&Rival]) {
    let expected = models::expected(MODEL);
    let rows = expected["inputs"][0]["data"].as_array().expect("numbers");
    let labels = &expected["outputs"][0]["data"];
    let probabilities = expected["outputs"][1]["data"].as_array().expect("numbers");
    let plain = json!({"inputs": rows.chunks(4).collect::<Vec<_>>()});
    let ask = |url: String, body: &Value| {
        let request = acceptance::Request::post(url).header("x-api-key", deployed.key.as_str());
        request.json(body).send().expect(200).json
    };
    let v2 = ask(
        format!("{}/v2/models/iris/infer", deployed.url),
        &json!({"inputs": expected["inputs"]}),
    );
    let simple = ask(format!("{}/iris/predict", deployed.url), &plain);
    let mut said = vec![
        (v2["outputs"][0]["data"].clone(), v2["outputs"][1]["data"].clone()),
        (
            simple["outputs"]["label"].clone(),
            simple["outputs"]["probabilities"].clone(),
        ),
    ];
    for rival in rivals {
        let answer = ask(format!("{}/predict", rival.url), &plain);
        said.push((answer["labels"].clone(), answer["probabilities"].clone()));
    }
    for (own, table) in said {
        assert_eq!(own, *labels);
        let table = flat(&table);
        assert_eq!(table.len(), probabilities.len());
        for (own, expected) in table.iter().zip(probabilities) {
            let expected = expected.as_f64().expect("a number");
            assert!((own - expected).abs() < 1e-5, "{own} for {expected}");
        }
    }
}

fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().expect("a number")],
    }
}
