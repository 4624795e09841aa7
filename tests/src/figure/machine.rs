//! The machine that figures come from, as far as it explains them.

use serde_json::{Value, json};
use std::fs;

/// Cores, processor, kernel, and how busy it was.
pub(super) fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let processor = model
        .and_then(|line| line.split_once(": "))
        .map_or("", |(_, name)| name);
    let load = read("/proc/loadavg");
    json!({
        "cores": cores,
        "processor": processor,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_1m": load.split(' ').next().unwrap_or_default(),
    })
}

/// The same in a line for people.
pub(super) fn line(machine: &Value) -> String {
    let text = |name: &str| machine[name].as_str().unwrap_or_default();
    format!(
        "{} cores of {}, Linux {}, load before {}",
        machine["cores"],
        text("processor"),
        text("kernel"),
        text("load_1m"),
    )
}
