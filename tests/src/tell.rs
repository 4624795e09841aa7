//! Lines that whoever runs the tests is to see, also of a test that passes: what was left out and why, and figures.
//!
//! Apart from `eprintln`, which the test harness keeps to itself unless the test fails.

use std::io::Write;

/// Shows a line, past the harness.
pub fn tell(line: &str) {
    // One write, so that lines of several tests do not mix. Nobody can do anything about a terminal that is gone.
    let _ = std::io::stderr().write_all(format!("\n{line}\n").as_bytes());
}

/// Shows that something was left out, and why.
pub fn skipped(what: &str, reason: &str) {
    tell(&format!("!!! SKIPPED {what}: {reason}"));
}
