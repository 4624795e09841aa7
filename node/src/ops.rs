//! What operators reach, on a port of its own: is it alive, is it ready, what does it count.
//!
//! Apart from `predict`, since nothing here asks for a key and nothing here may tell what a caller sent. The rule a
//! newcomer would break: numbers that are known elsewhere are read when they are asked for, never kept twice.

use crate::state::Node;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;

/// `/livez`, `/readyz` and `/metrics`. The recorder behind `metrics` must be installed before the first config is
/// applied.
pub fn router(node: Arc<Node>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(show))
        .with_state((node, metrics))
}

async fn ready(State((node, _)): State<(Arc<Node>, PrometheusHandle)>) -> Response {
    let health = node.health();
    match health.ready {
        true => "ready\n".into_response(),
        false => {
            // This port asks for no key: it says what sort of trouble it is. The rest is for the control plane and the log.
            let sort = health.reason.split(':').next().unwrap_or_default();
            (StatusCode::SERVICE_UNAVAILABLE, format!("{sort}\n")).into_response()
        }
    }
}

async fn show(State((node, handle)): State<(Arc<Node>, PrometheusHandle)>) -> Response {
    let (in_flight, queued) = node.load();
    metrics::gauge!("castoff_node_in_flight").set(in_flight);
    metrics::gauge!("castoff_node_queued").set(queued);
    metrics::gauge!("castoff_node_ready").set(if node.unready().is_none() { 1 } else { 0 });
    metrics::gauge!("castoff_node_limit_nodes").set(node.nodes());
    if let Some(serving) = &node.in_force().serving {
        metrics::gauge!("castoff_node_config_version").set(serving.position.version as f64);
        for version in &serving.versions {
            for endpoint in &version.endpoints {
                let labels = [("version", version.name.clone()), ("endpoint", endpoint.name.clone())];
                metrics::counter!("castoff_node_model_runs_total", &labels).absolute(endpoint.model.runs());
            }
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response()
}
