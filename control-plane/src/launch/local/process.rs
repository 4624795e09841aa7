//! One process: started or found, signalled, and its end noticed.
//!
//! The rule a newcomer would break: no signal is ever sent to a bare process id, which may be somebody else's by now; it
//! goes to a pidfd that was opened while the process of that id had the recorded start time.

pub(super) use crate::process::{Identity, lives};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use uuid::Uuid;

/// How a node ends that was asked to, by whomever.
pub(super) const CLEAN: &str = "exit code 0";

/// A process that ran when it was started or found.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) identity: Identity,
    pidfd: Arc<OwnedFd>,
    /// Of one that this control plane started: it must be waited for.
    child: Option<Child>,
}

impl Process {
    /// Starts one. If it cannot be watched it does not stay.
    pub(super) fn spawn(mut command: Command) -> io::Result<Self> {
        let mut child = command.spawn()?;
        match Self::open(child.id()) {
            // Until it is waited for, the id is the child's and nobody else's, even when it has ended.
            Ok((identity, pidfd)) => Ok(Self {
                identity,
                pidfd,
                child: Some(child),
            }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Finds a living one, which must have the node's id among its arguments: after a restart of the machine, another
    /// may have its process id and its start time.
    pub(super) fn find(wanted: Identity, node: Uuid) -> Option<Self> {
        let (identity, pidfd) = Self::open(wanted.pid).ok()?;
        let arguments = std::fs::read(format!("/proc/{}/cmdline", wanted.pid)).ok()?;
        let node = node.to_string();
        let is_the_nodes = arguments.split(|byte| *byte == 0).any(|word| word == node.as_bytes());
        (identity == wanted && is_the_nodes && lives(identity)).then_some(Self {
            identity,
            pidfd,
            child: None,
        })
    }

    fn open(pid: u32) -> io::Result<(Identity, Arc<OwnedFd>)> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.ok_or_else(|| io::Error::other("not the id of a process"))?;
        // First the pidfd, then the start time: if the id changes hands in between, the times differ.
        let pidfd = pidfd_open(raw, PidfdFlags::NONBLOCK)?;
        let identity = Identity::of(pid).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok((identity, Arc::new(pidfd)))
    }

    /// Sends a signal; one that has ended already is no error.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    /// How it ended, if it has. Takes care that no zombie stays.
    pub(super) fn ended(&mut self) -> Option<String> {
        match &mut self.child {
            Some(child) => match child.try_wait() {
                Ok(status) => status.map(describe),
                // Somebody else has waited for it.
                Err(_) => (!lives(self.identity)).then(|| "ended, nobody knows how".to_owned()),
            },
            None => (!lives(self.identity)).then(|| "ended; it was started by an earlier control plane".to_owned()),
        }
    }

    /// Leaves it alone; of a child the end is waited for, so that no zombie stays.
    pub(super) fn let_go(self) {
        let Some(mut child) = self.child else { return };
        #[allow(deprecated)] // As in `watch`.
        let Ok(pidfd) = AsyncFd::with_interest(self.pidfd, Interest::READABLE) else {
            return;
        };
        tokio::spawn(async move {
            let _ = pidfd.readable().await;
            let _ = child.try_wait();
        });
    }

    /// Notifies when it ends.
    pub(super) fn watch(&self, notify: Arc<Notify>) -> io::Result<()> {
        // What replaces it is unsafe, for types that may change their descriptor; an OwnedFd keeps its own.
        #[allow(deprecated)]
        let pidfd = AsyncFd::with_interest(self.pidfd.clone(), Interest::READABLE)?;
        tokio::spawn(async move {
            // An error of the wait is a reason to look, too.
            let _ = pidfd.readable().await;
            notify.notify_one();
        });
        Ok(())
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(9)) => "killed (SIGKILL)".to_owned(),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::local::testing::eventually;
    use std::process::Stdio;

    const NODE: Uuid = Uuid::from_u128(7);

    fn sleeper() -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "read line", &NODE.to_string()])
            .stdin(Stdio::piped());
        command
    }

    #[tokio::test]
    async fn a_child_is_watched_and_leaves_no_zombie() {
        let mut process = Process::spawn(sleeper()).unwrap();
        assert_eq!(process.ended(), None);
        let notify = Arc::new(Notify::new());
        process.watch(notify.clone()).unwrap();
        process.signal(Signal::KILL).unwrap();
        notify.notified().await;
        assert_eq!(process.ended().as_deref(), Some("killed (SIGKILL)"));
        assert_ne!(Identity::of(process.identity.pid), Some(process.identity));
        process.signal(Signal::TERM).unwrap();
    }

    #[tokio::test]
    async fn a_process_is_found_by_all_that_names_it_and_by_nothing_less() {
        let mut owner = Process::spawn(sleeper()).unwrap();
        let identity = owner.identity;
        let other_time = Identity {
            start_time: identity.start_time + 1,
            ..identity
        };
        // The arguments are there after exec.
        let mut found = eventually("it is found", || Process::find(identity, NODE)).await;
        assert!(Process::find(other_time, NODE).is_none());
        assert!(Process::find(identity, Uuid::from_u128(8)).is_none());
        let notify = Arc::new(Notify::new());
        found.watch(notify.clone()).unwrap();
        found.signal(Signal::TERM).unwrap();
        notify.notified().await;
        // Its parent has not waited for it: a zombie has ended.
        assert!(found.ended().is_some());
        assert!(Process::find(identity, NODE).is_none());
        assert!(owner.ended().is_some());
    }
}
