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
use crate::store::Change;
use folders::Folders;
use logs::NodeLogs;
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use supervisor::Supervisor;
use tokio::sync::{Notify, broadcast, watch};

/// The ports of local deployments, unless the operator says otherwise.
pub const PORTS: RangeInclusive<u16> = 8500..=8999;

/// What the operator says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data directory; nodes live in `nodes/` of it.
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

/// The launcher of local infrastructures.
pub struct Local {
    supervisor: Supervisor,
    wake: Arc<Notify>,
    changes: broadcast::Receiver<Change>,
    logs: NodeLogs,
    /// Held as long as this launcher works; the system lets go of it when the process ends, however it ends.
    _alone: File,
}

impl Local {
    /// A launcher for the deployments in the book, the only one on this data directory.
    ///
    /// # Errors
    /// There is another, or the folder cannot be used.
    pub fn open(
        settings: Settings,
        book: Arc<dyn NodeBook>,
        joins: Arc<dyn JoinSource>,
        clock: Clock,
        changes: broadcast::Receiver<Change>,
    ) -> Result<Self, NotOpen> {
        let folders = Folders::open(&settings.data_dir)?;
        let alone = folders.lock()?.ok_or(NotOpen::InUse)?;
        let wake = Arc::new(Notify::new());
        let logs = NodeLogs::new(folders.nodes().to_owned());
        let settings = Settings {
            program: std::path::absolute(&settings.program)?,
            onnxruntime: settings.onnxruntime.map(std::path::absolute).transpose()?,
            ..settings
        };
        Ok(Self {
            supervisor: Supervisor::new(settings, folders, book, joins, clock, wake.clone()),
            wake,
            changes,
            logs,
            _alone: alone,
        })
    }

    /// Reads what the nodes have logged.
    pub fn logs(&self) -> NodeLogs {
        self.logs.clone()
    }
}

#[async_trait::async_trait]
impl Launcher for Local {
    async fn run(self: Box<Self>, leave: watch::Receiver<Leave>) {
        let forwarding = tokio::spawn(forward(self.changes, self.wake));
        self.supervisor.run(leave).await;
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
