//! Logs and metrics.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::store::Store;

/// Logs to standard error: for people on a terminal, as JSON lines elsewhere. `CASTOFF_LOG` says what.
pub fn start_logging() {
    // What a cluster does not do is said once, by whoever asked it to.
    let filter =
        EnvFilter::try_from_env("CASTOFF_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,kube_client=off"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second start in one process keeps the first.
    let _ = if std::io::stderr().is_terminal() {
        subscriber.compact().try_init()
    } else {
        subscriber.json().flatten_event(true).try_init()
    };
}

/// Starts to count.
///
/// # Errors
/// Something in this process counts already.
pub fn start_metrics() -> Result<PrometheusHandle, String> {
    PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| format!("metrics: {error}"))
}

/// `/livez`, `/readyz`, `/metrics`: on a port of their own, without a login. Not ready any more once it is `leaving`.
pub fn router(store: Store, metrics: PrometheusHandle, leaving: CancellationToken) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(move || async move { metrics.render() }))
        .with_state((store, leaving))
}

async fn ready(State((store, leaving)): State<(Store, CancellationToken)>) -> (StatusCode, &'static str) {
    if leaving.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "it is ending\n");
    }
    match store.ping().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
