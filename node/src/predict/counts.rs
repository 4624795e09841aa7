//! What is counted of calls.
//!
//! Apart, and looked up once: finding a count by its labels takes longer than checking a key. The rule a newcomer would
//! break: this is made after the recorder was installed, else nothing is counted.

use super::place::Dialect;
use http::StatusCode;
use metrics::{Counter, Histogram};
use std::time::Duration;

/// The counts of each dialect.
pub(super) struct Counts {
    v2: OfDialect,
    records: OfDialect,
    simple: OfDialect,
}

struct OfDialect {
    answered: Counter,
    refused: Counter,
    failed: Counter,
    seconds: Histogram,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            v2: OfDialect::new(Dialect::V2),
            records: OfDialect::new(Dialect::Records),
            simple: OfDialect::new(Dialect::Simple),
        }
    }

    /// Counts a call that was answered so, this long after its arrival.
    pub(super) fn record(&self, dialect: Dialect, status: StatusCode, took: Duration) {
        let of = match dialect {
            Dialect::V2 => &self.v2,
            Dialect::Records => &self.records,
            Dialect::Simple => &self.simple,
        };
        let calls = match status.as_u16() {
            200..300 => &of.answered,
            400..500 => &of.refused,
            _ => &of.failed,
        };
        calls.increment(1);
        of.seconds.record(took);
    }
}

impl OfDialect {
    fn new(dialect: Dialect) -> Self {
        let name = dialect.name();
        let calls =
            |class: &'static str| metrics::counter!("castoff_node_calls_total", "dialect" => name, "status" => class);
        Self {
            answered: calls("2xx"),
            refused: calls("4xx"),
            failed: calls("5xx"),
            seconds: metrics::histogram!("castoff_node_call_seconds", "dialect" => name),
        }
    }
}
