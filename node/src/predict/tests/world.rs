//! A node in memory, with a real runtime when `CASTOFF_ONNXRUNTIME` says where one is.

use super::onnx;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::predict::service;
use crate::serving::NotServed;
use crate::state::{Node, NodeSettings};
use axum::body::{Body, to_bytes};
use castoff_wire::key::{KeyHash, mint};
use castoff_wire::proto::{self, access::Mode, endpoint::Kind};
use castoff_wire::sha256;
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::runtime::Handle;
use tower::ServiceExt;
use uuid::Uuid;

pub(super) const DEPLOYMENT: Uuid = Uuid::from_u128(7);
pub(super) const NOW: i64 = 1_000_000;

pub(super) struct World {
    pub(super) node: Arc<Node>,
    pub(super) now: Arc<AtomicI64>,
    pub(super) config: proto::Config,
    files: HashMap<Vec<u8>, Vec<u8>>,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// A key from a seed.
pub(super) fn key(seed: u8) -> String {
    mint(&[seed; 32])
}

pub(super) fn key_id(seed: u8) -> Uuid {
    Uuid::from_u128(seed.into())
}

fn proto_key(seed: u8) -> proto::Key {
    let hash = KeyHash::of(key(seed).as_bytes()).at(DEPLOYMENT).to_vec();
    proto::Key {
        id: key_id(seed).as_bytes().to_vec(),
        hash,
        ..proto::Key::default()
    }
}

impl World {
    /// A node with `double`, `text`, `sum` and `log` in two versions, opened by key 1; `None` without a runtime.
    pub(super) fn new() -> Option<Self> {
        let Some(library) = std::env::var_os("CASTOFF_ONNXRUNTIME") else {
            let reason = "CASTOFF_ONNXRUNTIME does not say where a runtime is";
            assert!(std::env::var_os("CI").is_none(), "{reason}");
            eprintln!("skipped: {reason}");
            return None;
        };
        let engine = Engine::open(library.as_ref()).unwrap();
        let now = Arc::new(AtomicI64::new(NOW));
        let clock = Clock::new({
            let now = Arc::clone(&now);
            move || now.load(Ordering::Relaxed)
        });
        let node = Node::new(NodeSettings {
            deployment: DEPLOYMENT,
            engine,
            clock,
        });
        let serving = proto::Serving {
            service: "svc".to_owned(),
            limits: Some(proto::Limits {
                sessions: 1,
                queue: 4,
                deadline_ms: 5_000,
                ..proto::Limits::default()
            }),
            ..proto::Serving::default()
        };
        let access = proto::Access {
            mode: Mode::Keys as i32,
            keys: vec![proto_key(1)],
            ..proto::Access::default()
        };
        let config = proto::Config {
            deployment_id: DEPLOYMENT.as_bytes().to_vec(),
            deployment: "svc-on-dev".to_owned(),
            epoch: 1,
            version: 1,
            serving: Some(serving),
            access: Some(access),
        };
        let mut world = Self {
            node,
            now,
            config,
            files: HashMap::new(),
        };
        world.route("v1", 100);
        world.route("v2", 0);
        for version in ["v1", "v2"] {
            world.serve(version, "double", Kind::Tensor, onnx::double());
            world.serve(
                version,
                "text",
                Kind::Records,
                onnx::single("Identity", onnx::STRING, &[-1, 1]),
            );
            world.serve(version, "sum", Kind::Records, onnx::sum_of_columns());
            world.serve(version, "log", Kind::Tensor, onnx::single("Log", onnx::FLOAT, &[-1, 1]));
        }
        world.apply().unwrap();
        Some(world)
    }

    pub(super) fn serving(&mut self) -> &mut proto::Serving {
        self.config.serving.as_mut().unwrap()
    }

    pub(super) fn access(&mut self) -> &mut proto::Access {
        self.config.access.as_mut().unwrap()
    }

    pub(super) fn limits(&mut self) -> &mut proto::Limits {
        self.serving().limits.as_mut().unwrap()
    }

    /// Adds a key to the set.
    pub(super) fn add_key(&mut self, seed: u8) -> &mut proto::Key {
        self.access().keys.push(proto_key(seed));
        self.access().keys.last_mut().unwrap()
    }

    pub(super) fn route(&mut self, version: &str, weight: u32) {
        let routed = proto::RoutedVersion {
            name: version.to_owned(),
            weight,
            ..proto::RoutedVersion::default()
        };
        self.serving().versions.push(routed);
    }

    pub(super) fn serve(&mut self, version: &str, name: &str, kind: Kind, model: Vec<u8>) -> &mut proto::Endpoint {
        let digest = sha256(&[&model]).to_vec();
        let file = proto::File {
            path: format!("{name}.onnx"),
            digest: digest.clone(),
            size: model.len() as u64,
        };
        self.files.insert(digest, model);
        let endpoint = proto::Endpoint {
            name: name.to_owned(),
            kind: kind as i32,
            model: Some(file),
            ..proto::Endpoint::default()
        };
        let versions = &mut self.serving().versions;
        let routed = versions.iter_mut().find(|routed| routed.name == version).unwrap();
        routed.endpoints.push(endpoint);
        routed.endpoints.last_mut().unwrap()
    }

    /// Has these queries asked of an endpoint.
    pub(super) fn test(&mut self, version: &str, name: &str, queries: &Value) {
        let file = queries.to_string().into_bytes();
        let digest = sha256(&[&file]).to_vec();
        let (size, mut versions) = (file.len() as u64, self.serving().versions.iter_mut());
        let routed = versions.find(|routed| routed.name == version).unwrap();
        let endpoint = routed.endpoints.iter_mut().find(|endpoint| endpoint.name == name);
        endpoint.unwrap().test_queries = Some(proto::File {
            path: "queries.json".to_owned(),
            digest: digest.clone(),
            size,
        });
        self.files.insert(digest, file);
    }

    /// Builds and swaps in what the config says now, as the control side would.
    pub(super) fn apply(&mut self) -> Result<(), NotServed> {
        self.config.version += 1;
        let position = proto::Position {
            epoch: 1,
            version: self.config.version,
            digest: vec![0; 32],
        };
        let files = |digest: &[u8]| self.files.get(digest).cloned().ok_or_else(|| "not here".to_owned());
        let previous = self.node.in_force().serving.clone();
        let built = self.node.build(&self.config, &position, &files, previous.as_deref())?;
        self.node.swap(built);
        Ok(())
    }

    /// Runs of all models since they were loaded.
    pub(super) fn runs(&self) -> u64 {
        let in_force = self.node.in_force();
        in_force
            .serving
            .iter()
            .flat_map(|serving| serving.models())
            .map(|model| model.runs())
            .sum()
    }

    pub(super) async fn call(&self, request: Request<Body>) -> Answer {
        self.call_aside(request, Handle::current()).await
    }

    /// On these threads what may take long.
    pub(super) async fn call_aside(&self, request: Request<Body>, aside: Handle) -> Answer {
        let response = service(Arc::clone(&self.node), aside).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Answer {
            status: head.status,
            headers: head.headers,
            text,
        }
    }

    /// A POST with key 1.
    pub(super) async fn post(&self, path: &str, body: impl Into<String>) -> Answer {
        self.call(with(&[("x-api-key", &key(1))], "POST", path, body)).await
    }

    /// A GET with key 1.
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(with(&[("x-api-key", &key(1))], "GET", path, "")).await
    }
}

pub(super) fn with(headers: &[(&str, &str)], method: &str, path: &str, body: impl Into<String>) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path);
    let builder = headers
        .iter()
        .fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(Body::from(body.into())).unwrap()
}
