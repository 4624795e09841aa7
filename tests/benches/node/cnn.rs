//! A CNN that runs for 5 to 8 ms: what a server costs beside the model. Against a loop around ONNX Runtime, once by the
//! node's own engine without a server and once in Python; the faster of both counts.

use crate::rivals::Loop;
use acceptance::castoff::onnxruntime;
use acceptance::figure::{interleaved, median};
use acceptance::network::{SIDE, cnn, image};
use acceptance::world::Cast;
use acceptance::{Database, Deployed, Figure, Load, Report, Value, World, json, scratch};
use castoff_node::engine::{Data, Engine, Model, Output, Tensor, Terms};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const CALLERS: usize = 8;
const ROUND: Duration = Duration::from_millis(1_500);
const ROUNDS: usize = 9;
/// Milliseconds that a run should take here.
const RUN: f64 = 6.5;

/// A control plane with the CNN uploaded, and the engine that found out how deep it must be.
pub struct Stage {
    pub runtime: Runtime,
    pub engine: Engine,
    pub depth: i64,
    pub model: Vec<u8>,
    pub cast: Cast,
}

impl Stage {
    pub fn set() -> Self {
        let runtime = Runtime::new().expect("threads");
        let engine = Engine::open(&onnxruntime()).expect("the runtime");
        let (depth, model) = sized(&engine, &runtime);
        let cast = World::with_cast(Database::Sqlite);
        cast.dana.post("/services", json!({"name": "cnn"})).expect(201);
        cast.dana.upload("cnn", "v1", model.clone()).expect(201);
        Self {
            runtime,
            engine,
            depth,
            model,
            cast,
        }
    }
}

/// The CNN with these limits, one of which is its sessions.
pub fn deploy(cast: &Cast, limits: Value) -> Deployed {
    let name = format!("cnn-{}", limits["sessions"]);
    Deployed::create(
        &cast.dana,
        json!({"service": "cnn", "infrastructure": "dev", "version": "v1", "name": name, "limits": limits}),
    )
}

/// With one session, as deployments have it by default, and with as many as this machine has cores.
pub fn measure(report: &mut Report) {
    let Stage {
        runtime,
        engine,
        depth,
        model,
        cast,
    } = Stage::set();
    let file = scratch::subfolder("cnn").join("cnn.onnx");
    fs::write(&file, &model).expect("the model's file");
    for sessions in [1, std::thread::available_parallelism().map_or(1, usize::from)] {
        let deployed = deploy(&cast, json!({"sessions": sessions}));
        let own = Arc::new(engine.load("cnn", &model, sessions).expect("the model"));
        agree(&deployed, &own, &runtime);
        let load = load(&deployed);
        let mut python = Loop::start(&file, sessions);
        load.run(CALLERS, ROUND / 2);
        let [node, ours, theirs]: [Vec<f64>; 3] = interleaved(ROUNDS, |side| match side {
            0 => load.run(CALLERS, ROUND).rate(),
            1 => looped(&own, sessions, &runtime),
            _ => python.run(ROUND),
        });
        let ratios: Vec<f64> = (0..ROUNDS)
            .map(|round| node[round] / ours[round].max(theirs[round]))
            .collect();
        let what = |of: &str| format!("CNN of {depth} convolutions, {sessions} sessions, {of}");
        let run = sessions as f64 * 1e3 / median(&theirs).max(median(&ours));
        report.add(Figure::of(what("a run"), "ms", run));
        report.add(Figure::median(what("loop in Python"), "/s", &theirs));
        report.add(Figure::median(what("loop around the engine"), "/s", &ours));
        report.add(Figure::median(what("node, 8 callers"), "/s", &node));
        let of = what("node, 8 callers / the faster loop");
        report.add(Figure::median(of, "×", &ratios).at_least(0.9).goal(0.95));
        deployed.delete();
    }
}

/// The depth at which a run takes as long as it should, from how long one of eight takes.
fn sized(engine: &Engine, runtime: &Runtime) -> (i64, Vec<u8>) {
    let trial = 8;
    let model = Arc::new(engine.load("trial", &cnn(trial), 1).expect("the model"));
    let runs: Vec<f64> = (0..30)
        .map(|_| {
            let started = Instant::now();
            run(&model, runtime);
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let depth = (RUN * trial as f64 / median(&runs)).round().clamp(2.0, 60.0) as i64;
    (depth, cnn(depth))
}

fn input() -> Vec<Tensor> {
    let tensor = Tensor::new(vec![1, 3, SIDE, SIDE], Data::Fp32(image()));
    vec![tensor.expect("the shape fits")]
}

async fn asked(model: &Arc<Model>) -> Vec<Output> {
    let terms = Terms {
        queue: CALLERS,
        deadline: Instant::now() + Duration::from_secs(60),
        most_rows: 1,
    };
    model.run(input(), terms).await.expect("it runs")
}

fn run(model: &Arc<Model>, runtime: &Runtime) -> Vec<Output> {
    runtime.block_on(asked(model))
}

/// Runs per second of the engine alone, every session always busy.
fn looped(model: &Arc<Model>, sessions: usize, runtime: &Runtime) -> f64 {
    let started = Instant::now();
    let end = started + ROUND;
    let one = || {
        let model = Arc::clone(model);
        runtime.spawn(async move {
            let mut runs = 0;
            while Instant::now() < end {
                asked(&model).await;
                runs += 1;
            }
            runs
        })
    };
    // One more than sessions, so that the next input waits when a session is free.
    let loops: Vec<_> = (0..=sessions).map(|_| one()).collect();
    let runs: i32 = loops
        .into_iter()
        .map(|one| runtime.block_on(one).expect("it runs"))
        .sum();
    f64::from(runs) / started.elapsed().as_secs_f64()
}

/// An image again and again.
pub fn load(deployed: &Deployed) -> Load {
    let body = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3, SIDE, SIDE], "data": image()}]});
    let key = [("x-api-key", deployed.key.as_str())];
    Load::post(
        &deployed.url,
        "/v2/models/cnn/infer",
        &key,
        &body.to_string(),
        "\"data\"",
    )
}

/// The node gives what the engine gives.
fn agree(deployed: &Deployed, model: &Arc<Model>, runtime: &Runtime) {
    let outputs = run(model, runtime);
    let [Output::Tensor(tensor)] = outputs.as_slice() else {
        panic!("one tensor comes out");
    };
    let Data::Fp32(expected) = tensor.data() else {
        panic!("of singles");
    };
    let body = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3, SIDE, SIDE], "data": image()}]});
    let answer = acceptance::Request::post(format!("{}/v2/models/cnn/infer", deployed.url))
        .header("x-api-key", deployed.key.as_str())
        .json(&body)
        .send()
        .expect(200);
    let given = answer["outputs"][0]["data"].as_array().expect("numbers");
    assert_eq!(given.len(), expected.len());
    for (given, expected) in given.iter().zip(expected) {
        let given = given.as_f64().expect("a number");
        assert!((given - f64::from(*expected)).abs() < 1e-5, "{given} for {expected}");
    }
}
