//! Processes by what the kernel says about them, for this is what tells a survivor from its successor.
//!
//! A process is its id *and* its start time: ids are used again.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of `/proc`, in a second: what the kernel shows to programs, on every machine that we run on.
const TICKS: u64 = 100;

/// One process, now or in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Ticks since boot at its start: field 22 of `/proc/<pid>/stat`.
    pub start_time: u64,
}

impl Process {
    /// The process that has this id now. One that has ended and is not yet waited for is none.
    pub fn find(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let start_time = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Self { pid, start_time })
    }

    /// Whether this very process still runs.
    pub fn alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// How long ago it started.
    pub fn age(self) -> Duration {
        let uptime = fs::read_to_string("/proc/uptime").expect("the kernel counts it");
        let uptime = uptime
            .split_whitespace()
            .next()
            .and_then(|seconds| seconds.parse().ok());
        let started = Duration::from_millis(self.start_time * 1_000 / TICKS);
        Duration::from_secs_f64(uptime.expect("seconds")).saturating_sub(started)
    }

    /// Sends a signal, if it still runs.
    pub fn signal(self, signal: Signal) {
        if let (true, Some(pid)) = (self.alive(), Pid::from_raw(self.pid.cast_signed())) {
            // It may end in this very moment, and that is as good.
            kill_process(pid, signal).ok();
        }
    }

    /// `kill -9`.
    pub fn kill(self) {
        self.signal(Signal::KILL);
    }

    /// The memory that is its own, and its part of what it shares: the proportional set, in MiB.
    pub fn pss_mib(self) -> u64 {
        let text =
            fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).expect("the process can be looked at");
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib: u64 = line
            .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .expect("the kernel counts it");
        kib >> 10
    }

    /// The highest that its resident memory ever was, in KiB.
    pub fn highest_kib(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the process can be looked at");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .expect("the kernel counts it")
    }

    /// Its open descriptors.
    pub fn descriptors(self) -> usize {
        let listed = fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("the process can be looked at");
        listed.count()
    }

    /// The file that it runs, unless it has ended.
    pub fn program(self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/exe", self.pid)).ok()
    }

    /// Its arguments, as anybody on the machine can read them.
    pub fn arguments(self) -> String {
        let raw = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&raw).replace('\0', " ")
    }
}

/// Every living process of this machine but this one.
pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc lists the processes");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .filter_map(Process::find)
        .collect()
}

/// Every living process that has `folder` in its arguments: in a world of its own folder, those that belong to it.
pub fn of(folder: &Path) -> Vec<Process> {
    let marker = folder.to_string_lossy().into_owned();
    let belongs = |process: &Process| process.arguments().contains(&marker);
    all().into_iter().filter(belongs).collect()
}
