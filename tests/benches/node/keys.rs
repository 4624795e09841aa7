//! The check of a key: from the headers of a call to who it is, by the functions that every call goes through.

use acceptance::castoff::onnxruntime;
use acceptance::figure::interleaved;
use acceptance::{Figure, Report, models};
use castoff_node::clock::Clock;
use castoff_node::engine::Engine;
use castoff_node::predict::caller::{judge, presented};
use castoff_node::state::{Node, NodeSettings};
use castoff_wire::key::{KeyHash, mint};
use castoff_wire::proto;
use http::{HeaderMap, HeaderValue};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

const DEPLOYMENT: Uuid = Uuid::from_u128(7);
const ROUNDS: usize = 25;
/// Callers who take turns, so that no look-up finds what the one before has left in the cache.
const CALLERS: usize = 1_024;
const CHECKS: usize = 20 * CALLERS;

/// Hits and misses, in a small set of keys and in a large one.
pub fn measure(report: &mut Report) {
    let cases = [(10, true), (10, false), (100_000, true), (100_000, false)].map(|(keys, hit)| Case::new(keys, hit));
    let rounds: [Vec<f64>; 4] = interleaved(ROUNDS, |case| cases[case].round());
    for (case, rounds) in cases.iter().zip(rounds) {
        let (keys, kind) = (case.keys, if case.hit { "one of them" } else { "none of them" });
        let what = format!("check of a key, {keys} keys, {kind}");
        report.add(Figure::median(&what, "µs", &rounds).at_most(1.0).goal(0.2));
        report.add(Figure::of(format!("{what}: allocations"), "", case.allocations()).at_most(0.0));
    }
}

struct Case {
    node: Arc<Node>,
    keys: u32,
    hit: bool,
    callers: Vec<HeaderMap>,
}

impl Case {
    fn new(keys: u32, hit: bool) -> Self {
        let node = node(keys);
        let callers = (0..CALLERS as u32).map(|caller| {
            // Spread over the set, or beyond it.
            let number = caller * 97 % keys + if hit { 0 } else { keys };
            headers(&key(number))
        });
        let case = Self {
            keys,
            hit,
            callers: callers.collect(),
            node,
        };
        assert!(case.callers.iter().all(|headers| case.check(headers) == hit));
        case
    }

    /// What a call's judge does, from its headers and the config in force.
    fn check(&self, headers: &HeaderMap) -> bool {
        let in_force = self.node.in_force();
        let serving = in_force.serving.as_ref().expect("a config is in force");
        let presented = presented(headers, &serving.access.key_header);
        judge(&in_force, serving, presented, Some("iris"), self.node.clock().now_ms()).is_ok()
    }

    /// Microseconds per check.
    fn round(&self) -> f64 {
        let started = Instant::now();
        for headers in self.callers.iter().cycle().take(CHECKS) {
            black_box(self.check(black_box(headers)));
        }
        started.elapsed().as_secs_f64() * 1e6 / CHECKS as f64
    }

    fn allocations(&self) -> f64 {
        let counted = allocation_counter::measure(|| {
            for headers in &self.callers {
                black_box(self.check(headers));
            }
        });
        counted.count_total as f64
    }
}

fn key(number: u32) -> String {
    let mut random = [7; 32];
    random[..4].copy_from_slice(&number.to_be_bytes());
    mint(&random)
}

/// As an ordinary client sends them.
fn headers(key: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "127.0.0.1:8000"),
        ("accept", "*/*"),
        ("content-type", "application/json"),
        ("content-length", "120"),
        ("x-api-key", key),
    ] {
        headers.insert(name, HeaderValue::from_str(value).expect("a value"));
    }
    headers
}

/// A node that serves iris to the holders of so many keys.
fn node(keys: u32) -> Arc<Node> {
    let engine = Engine::open(&onnxruntime()).expect("the runtime");
    let node = Node::new(NodeSettings {
        deployment: DEPLOYMENT,
        engine,
        clock: Clock::system(),
    });
    let model = models::read("iris-columns.onnx");
    let digest = castoff_wire::sha256(&[&model]).to_vec();
    let endpoint = proto::Endpoint {
        name: "iris".to_owned(),
        model: Some(proto::File {
            digest,
            ..proto::File::default()
        }),
        ..proto::Endpoint::default()
    };
    let version = proto::RoutedVersion {
        name: "v1".to_owned(),
        weight: 100,
        endpoints: vec![endpoint],
        ..proto::RoutedVersion::default()
    };
    let in_set = |number: u32| proto::Key {
        id: Uuid::from_u128(number.into()).as_bytes().to_vec(),
        hash: KeyHash::of(key(number).as_bytes()).at(DEPLOYMENT).to_vec(),
        ..proto::Key::default()
    };
    let config = proto::Config {
        deployment_id: DEPLOYMENT.as_bytes().to_vec(),
        serving: Some(proto::Serving {
            versions: vec![version],
            ..proto::Serving::default()
        }),
        access: Some(proto::Access {
            keys: (0..keys).map(in_set).collect(),
            ..proto::Access::default()
        }),
        ..proto::Config::default()
    };
    let files = move |_: &[u8]| Ok(model.clone());
    let serving = node.build(&config, &proto::Position::default(), &files, None);
    node.swap(serving.expect("it can be served"));
    node
}
