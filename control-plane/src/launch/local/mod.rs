//! Nodes as processes of this machine.
//!
//! `plan` decides, `supervisor` acts on it, and the other files each know one thing of the system: processes, listening
//! sockets, their hand-over, folders, logs. Nodes live in sessions of their own and outlive the control plane.

mod command;
mod folders;
mod handover;
mod listener;
pub mod logs;
mod orphans;
mod plan;
mod ports;
mod process;
mod steps;
mod supervisor;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use super::{JoinSource, Launcher, Leave, NodeBook};
use crate::clock::Clock;
use crate::lease::{Term, Terms};
use crate::store::Change;
use folders::Folders;
use logs::NodeLogs;
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use supervisor::{Ended, Supervisor};
use tokio::sync::{Notify, broadcast, watch};

/// The ports of local deployments, unless the operator says otherwise.
pub const PORTS: RangeInclusive<u16> = 8500..=8999;

/// What the operator says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Nodes live in `nodes/` of it.
    pub data_dir: PathBuf,
    /// `castoff-node`.
    pub program: PathBuf,
    /// ONNX Runtime's library; without it nodes look themselves, and say when they find none.
    pub onnxruntime: Option<PathBuf>,
    /// The ports that deployments get.
    pub ports: RangeInclusive<u16>,
}

/// Why local nodes cannot be launched.
#[derive(Debug, thiserror::Error)]
pub enum NotOpen {
    /// Two launchers would start everything twice.
    #[error("another castoff serve uses this data directory")]
    InUse,
    /// The folder cannot be used.
    #[error("the folder of local nodes cannot be used: {0}")]
    Folder(#[from] io::Error),
}

/// `castoff-node` in the folder of this program.
///
/// # Errors
/// The system does not say where this program is.
pub fn program_beside_this() -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("castoff-node"))
}

/// Opens the book for a term.
pub type Books = Box<dyn Fn(&Term) -> Arc<dyn NodeBook> + Send>;

/// The launcher of local infrastructures.
pub struct Local {
    settings: Settings,
    folders: Folders,
    books: Books,
    joins: Arc<dyn JoinSource>,
    clock: Clock,
    changes: broadcast::Receiver<Change>,
    /// Held as long as this launcher works; the system lets go of it when the process ends, however it ends.
    _alone: Option<File>,
}

impl Local {
    /// A launcher for the deployments in the book. `alone`: no lease keeps others from this folder, so a lock does.
    ///
    /// # Errors
    /// There is another, or the folder cannot be used.
    pub fn open(
        settings: Settings,
        alone: bool,
        books: Books,
        joins: Arc<dyn JoinSource>,
        clock: Clock,
        changes: broadcast::Receiver<Change>,
    ) -> Result<Self, NotOpen> {
        let folders = Folders::open(&settings.data_dir)?;
        let lock = match alone {
            true => Some(folders.lock()?.ok_or(NotOpen::InUse)?),
            false => None,
        };
        let settings = Settings {
            program: std::path::absolute(&settings.program)?,
            onnxruntime: settings.onnxruntime.map(std::path::absolute).transpose()?,
            ..settings
        };
        Ok(Self {
            settings,
            folders,
            books,
            joins,
            clock,
            changes,
            _alone: lock,
        })
    }

    /// Reads what the nodes have logged.
    pub fn logs(&self) -> NodeLogs {
        NodeLogs::new(self.folders.nodes().to_owned())
    }
}

#[async_trait::async_trait]
impl Launcher for Local {
    async fn run(self: Box<Self>, mut terms: Terms, mut leave: watch::Receiver<Leave>) {
        let wake = Arc::new(Notify::new());
        let forwarding = tokio::spawn(forward(self.changes, wake.clone()));
        loop {
            let term = tokio::select! {
                biased;
                next = terms.wait_for(Option::is_some) => next.ok().and_then(|term| term.clone()),
                _ = leave.wait_for(|leave| *leave != Leave::Stay) => None,
            };
            let Some(term) = term else { break };
            let supervisor = Supervisor::new(
                self.settings.clone(),
                self.folders.clone(),
                (term.clone(), (self.books)(&term)),
                Arc::clone(&self.joins),
                self.clock.clone(),
                wake.clone(),
            );
            if supervisor.run(leave.clone()).await == Ended::Left {
                break;
            }
        }
        forwarding.abort();
    }
}

/// A change of a deployment, or too many of any kind to know, wakes the launcher.
async fn forward(mut changes: broadcast::Receiver<Change>, wake: Arc<Notify>) {
    loop {
        match changes.recv().await {
            Ok(Change::Deployment(_)) | Err(broadcast::error::RecvError::Lagged(_)) => wake.notify_one(),
            Ok(_) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
