//! Taking over what an earlier control plane left running.

use super::Supervisor;
use crate::launch::process::{NodeFolder, Process};
use crate::store::{Error, LaunchedNode, NodeState};
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A node that was started just before the control plane was killed has this long to write of itself.
const NEWBORN: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Takes over what an earlier control plane left: what is on record and lives is ours; a folder that nobody recorded
    /// is cleared away, and its process ended.
    pub(super) async fn adopt(&mut self) -> Result<(), Error> {
        let records = self.store.launched_nodes().await?;
        for mut record in records.clone() {
            let folder = NodeFolder::of(&self.settings.folder, record.id);
            let process = match record.pid.zip(record.start_time) {
                Some((pid, start_time)) => Process::adopt(pid, start_time),
                // Killed between the start and its record: the process tells of itself, soon or never.
                None if record.exits.is_empty() => newborn(&folder).await,
                None => None,
            };
            match process {
                Some(process) => {
                    tracing::info!(node.id = %record.id, pid = process.pid, "took a node over");
                    process.watch(Arc::clone(&self.wake));
                    record.pid = Some(process.pid);
                    record.start_time = Some(process.start_time);
                    if record.state == NodeState::Stopping {
                        self.stopping.insert(record.id, self.store.now());
                        process.terminate();
                    }
                    self.store.save_launched(&record, None).await?;
                    self.running.insert(record.id, process);
                }
                None if record.pid.is_some() => {
                    record.pid = None;
                    record.start_time = None;
                    let how = "ended while the control plane was away";
                    self.store.save_launched(&record, Some(how)).await?;
                }
                None => {
                    // A child that comes up late finds no folder, and ends.
                    if folder.process_file().is_none() && folder.remove().is_err() {
                        tracing::warn!(node.id = %record.id, "a node's folder was not removed");
                    }
                }
            }
        }
        self.clear_unknown(&records);
        Ok(())
    }

    fn clear_unknown(&self, records: &[LaunchedNode]) {
        let Ok(entries) = fs::read_dir(&self.settings.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let id = entry.file_name().to_str().and_then(|name| Uuid::try_parse(name).ok());
            let Some(id) = id.filter(|id| !records.iter().any(|record| record.id == *id)) else {
                continue;
            };
            let folder = NodeFolder(entry.path());
            if let Some(file) = folder.process_file().filter(|file| file.node_id == id)
                && let Some(process) = Process::adopt(file.pid, file.start_time)
            {
                tracing::warn!(node.id = %id, pid = file.pid, "ended a node that is not on record");
                process.kill();
            }
            if let Err(error) = folder.remove() {
                tracing::warn!(%error, node.id = %id, "a folder that is not on record was not removed");
            }
        }
    }
}

/// Waits for a process that may just have been started to tell of itself.
async fn newborn(folder: &NodeFolder) -> Option<Process> {
    let told = async {
        loop {
            if let Some(file) = folder.process_file() {
                return Process::adopt(file.pid, file.start_time);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if !folder.0.exists() {
        return None;
    }
    tokio::time::timeout(NEWBORN, told).await.ok().flatten()
}
