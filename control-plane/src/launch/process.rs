//! A node's process: started, adopted, asked to end, and known for certain.
//!
//! The rule a newcomer would break: a bare process id is never signalled. A pidfd names one process for ever; it is taken
//! while the start time proves that the id is still that process's.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Deserialize;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use uuid::Uuid;

/// A log larger than this is put aside when its node starts.
const MOST_LOG: u64 = 16 << 20;
/// What a node may know of the environment of the control plane: no secret is among it.
const ENVIRONMENT: [&str; 6] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "CASTOFF_LOG",
    "RUST_BACKTRACE",
];

/// What a node wrote of itself into its folder.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ProcessFile {
    pub(super) pid: u32,
    pub(super) start_time: u64,
    pub(super) node_id: Uuid,
}

/// A process that runs, or has run until it was looked at.
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) start_time: u64,
    pidfd: Arc<AsyncFd<OwnedFd>>,
    /// Only of a process that this control plane started itself.
    child: Option<Child>,
}

/// Where a node's things are.
#[derive(Clone, Debug)]
pub(super) struct NodeFolder(pub(super) PathBuf);

impl NodeFolder {
    pub(super) fn of(nodes: &Path, id: Uuid) -> Self {
        Self(nodes.join(id.to_string()))
    }

    pub(super) fn make(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What its process wrote of itself; none when there is nothing, or nothing that can be read.
    pub(super) fn process_file(&self) -> Option<ProcessFile> {
        let path = self.0.join("process.json");
        let meta = fs::metadata(&path).ok().filter(|meta| meta.len() <= 4_096)?;
        serde_json::from_slice(&fs::read(path).ok().filter(|_| meta.is_file())?).ok()
    }

    fn log(&self) -> io::Result<fs::File> {
        let path = self.0.join("log");
        if fs::metadata(&path).is_ok_and(|meta| meta.len() > MOST_LOG) {
            fs::rename(&path, self.0.join("log.1"))?;
        }
        fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)
    }
}

/// What a node's process is started with.
pub(super) struct Start<'a> {
    pub(super) binary: &'a Path,
    pub(super) onnxruntime: Option<&'a Path>,
    pub(super) packages: &'a Path,
    pub(super) join: &'a Path,
    pub(super) id: Uuid,
    pub(super) folder: &'a NodeFolder,
    pub(super) listening: OwnedFd,
}

/// Field 22 of /proc/pid/stat; the name before it may hold anything, parentheses and blanks too.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    // The first field after the name is the third.
    after_name.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

fn open_pidfd(pid: u32) -> io::Result<Arc<AsyncFd<OwnedFd>>> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("not a process id"))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    // The replacement is unsafe for types that may change their descriptor; an OwnedFd keeps its own.
    #[allow(deprecated)]
    let watched = AsyncFd::with_interest(pidfd, Interest::READABLE)?;
    Ok(Arc::new(watched))
}

impl Process {
    /// Starts a node's process. Its standard input is the listening socket.
    pub(super) fn start(start: Start<'_>) -> io::Result<Self> {
        let log = start.folder.log()?;
        // What an earlier process wrote of itself must not be taken for this one's.
        match fs::remove_file(start.folder.0.join("process.json")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut command = Command::new(start.binary);
        command
            .env_clear()
            .envs(
                ENVIRONMENT
                    .iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .arg("--join")
            .arg(start.join)
            .arg("--data-dir")
            .arg(&start.folder.0)
            .arg("--packages")
            .arg(start.packages)
            .args([
                "--node-id",
                &start.id.to_string(),
                "--listen-on-stdin",
                "--new-session",
                "--ops-listen",
                "127.0.0.1:0",
            ])
            .stdin(Stdio::from(start.listening))
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log));
        if let Some(library) = start.onnxruntime {
            command.arg("--onnxruntime").arg(library);
        }
        let child = command.spawn()?;
        let pid = child.id();
        // The child is not reaped before it is waited for, so its id is its own until then.
        let (pidfd, start_time) = (open_pidfd(pid)?, start_time(pid).unwrap_or(0));
        Ok(Self {
            pid,
            start_time,
            pidfd,
            child: Some(child),
        })
    }

    /// Takes over a process that an earlier control plane started, when it is still the one that was recorded.
    pub(super) fn adopt(pid: u32, recorded: u64) -> Option<Self> {
        let pidfd = open_pidfd(pid).ok()?;
        // Looked at after the pidfd was taken: it is the process that the pidfd names.
        (start_time(pid)? == recorded).then_some(Self {
            pid,
            start_time: recorded,
            pidfd,
            child: None,
        })
    }

    /// Wakes somebody when the process ends.
    pub(super) fn watch(&self, wake: Arc<Notify>) {
        let pidfd = Arc::clone(&self.pidfd);
        tokio::spawn(async move {
            if pidfd.readable().await.is_ok() {
                wake.notify_one();
            }
        });
    }

    /// How it ended, once it has.
    pub(super) fn ended(&mut self) -> Option<String> {
        if let Some(child) = &mut self.child {
            return match child.try_wait() {
                Ok(Some(status)) => Some(match (status.code(), status.signal()) {
                    (Some(code), _) => format!("exited with code {code}"),
                    (None, Some(signal)) => format!("ended by signal {signal}"),
                    (None, None) => "ended".to_owned(),
                }),
                Ok(None) => None,
                Err(error) => Some(format!("ended: {error}")),
            };
        }
        let mut polled = [rustix::event::PollFd::new(
            self.pidfd.get_ref(),
            rustix::event::PollFlags::IN,
        )];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let readable = rustix::event::poll(&mut polled, Some(&now)).is_ok_and(|count| count > 0);
        readable.then(|| "ended while no control plane was its parent".to_owned())
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // One that has ended already needs no signal.
        if let Err(error) = pidfd_send_signal(self.pidfd.get_ref().as_fd(), signal) {
            tracing::debug!(%error, pid = self.pid, "a signal was not taken");
        }
    }
}
