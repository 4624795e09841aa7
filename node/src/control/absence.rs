//! For how long this node has been off the line: counted here, where it is known, and not by whoever asks now and then.
//!
//! The rule a newcomer would break: an absence begins when the line broke, or with its last sign of life when it fell
//! silent, and ends with the first word on another one. To be moved by a control plane that ends is none.

use metrics::{counter, gauge, histogram};
use tokio::time::Instant;

/// Off the line since when, or not.
#[derive(Debug, Default)]
pub struct Absence {
    since: Option<Instant>,
}

impl Absence {
    /// Of a node that has never been on the line, which is no absence.
    pub fn new() -> Self {
        gauge!("castoff_node_on_line").set(0);
        counter!("castoff_node_stream_moves_total").absolute(0);
        Self::default()
    }

    /// The line broke at this moment. What follows before the next word is the same absence.
    pub fn began(&mut self, at: Instant) {
        gauge!("castoff_node_on_line").set(0);
        self.since.get_or_insert(at);
    }

    /// A word came.
    pub fn over(&mut self) {
        gauge!("castoff_node_on_line").set(1);
        if let Some(since) = self.since.take() {
            histogram!("castoff_node_stream_gap_seconds").record(since.elapsed());
        }
    }

    /// Another control plane has answered before this line was left.
    pub fn avoided(&self) {
        counter!("castoff_node_stream_moves_total").increment(1);
    }
}
