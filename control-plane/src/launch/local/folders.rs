//! The folders of local nodes: `nodes/<node>/`, `nodes/packages/`, `nodes/deployments/<deployment>/join.json`.
//!
//! The rule a newcomer would break: a node's folder is taken away as a whole and by one rename, because a process that
//! comes late ends itself when its folder is gone; and an old `process.json` goes before a new process is announced,
//! because it would prove the wrong end.

use super::logs;
use super::process::Identity;
use castoff_wire::Join;
use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use uuid::Uuid;

const PROCESS: &str = "process.json";
/// A process.json has about 200 bytes.
const MOST_PROCESS_BYTES: u64 = 4096;
/// What a folder is called while it is taken away.
const GONE: &str = ".gone-";

/// What a node says of its process.
#[derive(Deserialize)]
struct ProcessFile {
    pid: u32,
    start_time: u64,
    node_id: Uuid,
    ops_address: String,
}

/// The folders under `<data dir>/nodes`.
#[derive(Clone, Debug)]
pub(super) struct Folders {
    nodes: PathBuf,
}

impl Folders {
    /// Makes what is missing, and removes what was being taken away.
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        let folders = Self {
            nodes: std::path::absolute(data_dir)?.join("nodes"),
        };
        for folder in [folders.nodes.clone(), folders.packages(), folders.deployments()] {
            make(&folder)?;
        }
        for name in names(&folders.nodes)? {
            if name.starts_with(GONE) {
                gone(std::fs::remove_dir_all(folders.nodes.join(name)))?;
            }
        }
        Ok(folders)
    }

    /// The lock that only one launcher holds; `None` when another does.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600);
        let file = file.open(self.nodes.join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn nodes(&self) -> &Path {
        &self.nodes
    }

    /// Model files by digest, shared by all nodes.
    pub(super) fn packages(&self) -> PathBuf {
        self.nodes.join("packages")
    }

    fn deployments(&self) -> PathBuf {
        self.nodes.join("deployments")
    }

    fn deployment(&self, deployment: Uuid) -> PathBuf {
        self.deployments().join(deployment.to_string())
    }

    /// A node's own folder.
    pub(super) fn node(&self, node: Uuid) -> PathBuf {
        self.nodes.join(node.to_string())
    }

    /// Makes a node's folder ready for a new process; the durable copy in it stays.
    pub(super) fn prepare(&self, node: Uuid) -> io::Result<()> {
        let folder = self.node(node);
        make(&folder)?;
        gone(std::fs::remove_file(folder.join(PROCESS)))?;
        logs::rotate(&folder)
    }

    /// The log, to be appended to.
    pub(super) fn log(&self, node: Uuid) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600);
        file.open(self.node(node).join(logs::NAME))
    }

    /// The last line of a node's log.
    pub(super) fn last_words(&self, node: Uuid) -> Option<String> {
        logs::last_words(&self.node(node).join(logs::NAME))
    }

    /// What a node says of its process, and where its health is; `None` when it has not (yet) said anything.
    pub(super) fn process(&self, node: Uuid) -> Option<(Identity, String)> {
        let file = File::open(self.node(node).join(PROCESS)).ok()?;
        let mut text = Vec::new();
        file.take(MOST_PROCESS_BYTES).read_to_end(&mut text).ok()?;
        let file: ProcessFile = serde_json::from_slice(&text).ok()?;
        let identity = Identity {
            pid: file.pid,
            start_time: file.start_time,
        };
        (file.node_id == node).then_some((identity, file.ops_address))
    }

    /// Takes a node's folder away.
    pub(super) fn remove(&self, node: Uuid) -> io::Result<()> {
        let aside = self.nodes.join(format!("{GONE}{node}"));
        gone(std::fs::rename(self.node(node), &aside))?;
        gone(std::fs::remove_dir_all(aside))
    }

    /// Writes a deployment's join document, for this user only, and says where.
    pub(super) fn write_join(&self, deployment: Uuid, join: &Join) -> io::Result<PathBuf> {
        let folder = self.deployment(deployment);
        make(&folder)?;
        let (path, new) = (folder.join("join.json"), folder.join("join.json.new"));
        gone(std::fs::remove_file(&new))?;
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec_pretty(join)?)?;
        file.sync_all()?;
        std::fs::rename(new, &path)?;
        Ok(path)
    }

    /// Takes a deployment's join document away.
    pub(super) fn remove_deployment(&self, deployment: Uuid) -> io::Result<()> {
        gone(std::fs::remove_dir_all(self.deployment(deployment)))
    }

    /// The nodes that have a folder.
    pub(super) fn node_ids(&self) -> io::Result<Vec<Uuid>> {
        ids(&self.nodes)
    }

    /// The deployments that have a folder.
    pub(super) fn deployment_ids(&self) -> io::Result<Vec<Uuid>> {
        ids(&self.deployments())
    }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn ids(folder: &Path) -> io::Result<Vec<Uuid>> {
    Ok(names(folder)?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// What is not there need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::local::testing::join;
    use std::os::unix::fs::PermissionsExt;

    const NODE: Uuid = Uuid::from_u128(7);

    fn folders() -> (tempfile::TempDir, Folders) {
        let data = tempfile::tempdir().unwrap();
        let folders = Folders::open(data.path()).unwrap();
        (data, folders)
    }

    fn says(folders: &Folders, text: &str) {
        std::fs::write(folders.node(NODE).join(PROCESS), text).unwrap();
    }

    #[test]
    fn one_launcher_on_one_folder() {
        let (_data, folders) = folders();
        let lock = folders.lock().unwrap();
        assert!(lock.is_some() && folders.lock().unwrap().is_none());
        drop(lock);
        assert!(folders.lock().unwrap().is_some());
    }

    #[test]
    fn a_node_is_believed_about_itself_only() {
        let (_data, folders) = folders();
        folders.prepare(NODE).unwrap();
        assert_eq!(folders.process(NODE), None);
        let text = |node: Uuid| {
            format!(r#"{{"pid":1,"start_time":2,"node_id":"{node}","http_address":"a:1","ops_address":"b:2"}}"#)
        };
        says(&folders, &text(NODE));
        let identity = Identity { pid: 1, start_time: 2 };
        assert_eq!(folders.process(NODE), Some((identity, "b:2".to_owned())));
        for wrong in [
            text(Uuid::from_u128(8)),
            "{".to_owned(),
            format!("{}{}", " ".repeat(10_000), text(NODE)),
        ] {
            says(&folders, &wrong);
            assert_eq!(folders.process(NODE), None);
        }
        folders.prepare(NODE).unwrap();
        assert!(!folders.node(NODE).join(PROCESS).exists());
    }

    #[test]
    fn folders_come_and_go() {
        let (data, folders) = folders();
        folders.prepare(NODE).unwrap();
        std::fs::create_dir(folders.nodes().join(format!("{GONE}half"))).unwrap();
        assert_eq!(folders.node_ids().unwrap(), [NODE]);
        let again = Folders::open(data.path()).unwrap();
        again.remove(NODE).unwrap();
        again.remove(NODE).unwrap();
        let mut left = names(again.nodes()).unwrap();
        left.sort();
        assert_eq!(left, ["deployments", "packages"]);
    }

    #[test]
    fn a_join_document_is_private_and_replaced_as_a_whole() {
        let (_data, folders) = folders();
        let deployment = Uuid::from_u128(1);
        let path = folders.write_join(deployment, &join(deployment)).unwrap();
        let again = folders.write_join(deployment, &join(deployment)).unwrap();
        assert_eq!(path, again);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (read, _) = Join::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(read.deployment, deployment);
        assert_eq!(folders.deployment_ids().unwrap(), [deployment]);
        folders.remove_deployment(deployment).unwrap();
        assert!(folders.deployment_ids().unwrap().is_empty());
    }
}
