//! Logs, one JSON object per line on standard error, for the launcher's log file and for log shippers; and counts.
//!
//! The rule a newcomer would break: a failure is logged once, where it is handled, and never with a key, a hash, a token,
//! a body or a tensor.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// The runtime tells of every device that it finds.
const DEFAULT: &str = "info,ort=warn";

/// Starts logging. `CASTOFF_LOG` is a filter such as `info` or `castoff_node=debug`.
pub fn start() {
    let filter = EnvFilter::try_from_env("CASTOFF_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}

/// How often the exporter tidies its histograms.
const UPKEEP: Duration = Duration::from_secs(5);

/// For how long a node was off the line. A redial takes less than half a second, and that a control plane is silent is noticed
/// after 3.5 s.
const GAPS: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 600.0];

/// Starts counting; what is returned shows the counts.
///
/// # Errors
/// When this process counts already.
pub fn count() -> Result<PrometheusHandle, String> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("castoff_node_stream_gap_seconds".to_owned()), &GAPS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| format!("metrics cannot be counted: {error}"))
}

/// Keeps what the counts take bounded while nobody reads them.
pub async fn upkeep(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        metrics.run_upkeep();
    }
}
