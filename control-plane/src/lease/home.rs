//! Where a control plane lives, and as which process: so that another one on the same machine can see that it has ended.

use crate::process::{Identity, lives};
use std::fmt;
use std::io;
use std::path::Path;
use uuid::Uuid;

/// A start of a machine, a space of process ids on it, and a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    machine: String,
    folder: String,
}

impl Home {
    /// This machine, with the folder in which local nodes live.
    ///
    /// # Errors
    /// The kernel does not say which machine this is, or there is no such folder.
    pub fn here(nodes: &Path) -> io::Result<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let processes = std::fs::read_link("/proc/self/ns/pid")?;
        Ok(Self {
            machine: format!("{}/{}", boot.trim(), processes.display()),
            folder: nodes.canonicalize()?.display().to_string(),
        })
    }

    /// This process as a holder of the lease.
    pub(super) fn holder(&self, id: Uuid) -> Holder {
        let pid = std::process::id();
        Holder {
            machine: self.machine.clone(),
            // Without a start time nothing about this process can be proven, and its lease ends by time.
            process: Identity::of(pid).unwrap_or(Identity { pid, start_time: 0 }),
            id,
        }
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.machine, self.folder)
    }
}

/// One process that holds or held the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    machine: String,
    process: Identity,
    id: Uuid,
}

impl Holder {
    /// Reads what [`fmt::Display`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let holder = Self {
            machine: words.next()?.to_owned(),
            process: Identity {
                pid: words.next()?.parse().ok()?,
                start_time: words.next()?.parse().ok()?,
            },
            id: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(holder)
    }

    /// Of this start of a control plane.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// Whether it is proven to have ended, as seen from where another one lives. Of another machine nothing is proven.
    pub(super) fn has_ended(&self, seen_from: &Self) -> bool {
        self.machine == seen_from.machine && self.process.start_time > 0 && !lives(self.process)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { pid, start_time } = self.process;
        write!(f, "{} {pid} {start_time} {}", self.machine, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_read_as_it_was_written_and_proven_dead_on_its_own_machine_only() {
        let home = Home::here(Path::new("/")).unwrap();
        let own = home.holder(Uuid::from_u128(1));
        assert_eq!(Holder::parse(&own.to_string()), Some(own.clone()));
        assert_eq!(Holder::parse(""), None);
        assert!(!own.has_ended(&own));
        let mut ended = own.clone();
        // Another process with this id, long ago.
        ended.process.start_time -= 1;
        assert!(ended.has_ended(&own));
        ended.machine = "elsewhere".to_owned();
        assert!(!ended.has_ended(&own));
    }
}
