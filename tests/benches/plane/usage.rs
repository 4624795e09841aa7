//! What a process takes, by what the kernel says of it.

use std::fs;
use std::time::Duration;

/// `USER_HZ`: the kernel tells user programs of hundredths of a second, on every architecture that we build for.
const TICKS_PER_SECOND: u64 = 100;

/// The time that a process and its threads have spent on the cores, in user and kernel mode.
#[track_caller]
pub fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    // After the name: the state is field 3, utime 14, stime 15.
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

/// Megabytes of memory, what is shared with other processes by their share (PSS).
#[track_caller]
pub fn memory(pid: u32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib: f64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse().ok())
        .expect("a number of kB");
    kib * 1_024.0 / 1e6
}
