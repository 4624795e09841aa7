//! What a launcher that comes back needs to know this process again: `process.json`.
//!
//! The rule a newcomer would break: a process id alone proves nothing, it is given again to somebody else; together with
//! the start time it does.

use super::durable;
use serde::Serialize;
use std::io;
use std::path::Path;
use uuid::Uuid;

/// The content of `process.json`.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessFile {
    /// This process.
    pub pid: u32,
    /// Field 22 of `/proc/self/stat`: clock ticks between the machine's start and this process's.
    pub start_time: u64,
    /// Who this node is to the control plane.
    pub node_id: Uuid,
    /// Where calls are answered.
    pub http_address: String,
    /// Where health and metrics are.
    pub ops_address: String,
}

impl ProcessFile {
    /// The file of this process.
    ///
    /// # Errors
    /// When `/proc/self/stat` cannot be read.
    pub fn of_this_process(node_id: Uuid, http_address: String, ops_address: String) -> io::Result<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let start_time = start_time(&stat).ok_or_else(|| io::Error::other("/proc/self/stat has no start time"))?;
        Ok(Self {
            pid: std::process::id(),
            start_time,
            node_id,
            http_address,
            ops_address,
        })
    }

    /// Writes `process.json` into the node's folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        durable::replace(&folder.join("process.json"), &serde_json::to_vec(self)?, 0o600)
    }
}

/// Field 22; the second field is a name in parentheses that may hold anything, parentheses and blanks too.
fn start_time(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    // The first field after the name is number 3.
    after_name.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let fields = (3..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        for name in ["(castoff-node)", "(a) b (c)", "())"] {
            assert_eq!(start_time(&format!("7 {name} {fields}")), Some(22), "{name}");
        }
        assert_eq!(start_time("7 (x) 3 4"), None);
    }

    #[test]
    fn this_process_has_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = ProcessFile::of_this_process(Uuid::from_u128(1), "a:1".into(), "b:2".into()).unwrap();
        file.write(folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("process.json")).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["pid"], std::process::id());
        assert!(read["start_time"].as_u64().unwrap() > 0);
        assert_eq!(read["node_id"], Uuid::from_u128(1).to_string());
    }
}
