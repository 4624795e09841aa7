//! The logs of nodes: files in their folders, appended to by the processes themselves.
//!
//! Not through a pipe of the control plane's, which would break when it is killed. The rule a newcomer would break: what a
//! node writes is not bounded, so what is read of it is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The file's name in a node's folder.
pub(super) const NAME: &str = "log";
const ROTATED: &str = "log.1";
/// 16 MiB: some days of a busy node.
const ROTATE_AT: u64 = 16 << 20;
/// 1 MiB is read at most, from the end.
const MOST_BYTES: u64 = 1 << 20;
const MOST_LINES: usize = 2_000;

/// Reads what local nodes have logged.
#[derive(Clone, Debug)]
pub struct NodeLogs {
    nodes: PathBuf,
}

impl NodeLogs {
    /// The logs in the folders of nodes, `<data dir>/nodes`.
    pub fn new(nodes: PathBuf) -> Self {
        Self { nodes }
    }

    /// The last lines of a node's log: of its last MiB, 2000 lines at most. Empty when there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn tail(&self, node: Uuid, lines: usize) -> io::Result<String> {
        let path = self.nodes.join(node.to_string()).join(NAME);
        match tokio::task::spawn_blocking(move || tail(&path, lines)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Ok(read) => read,
            Err(ended) => Err(io::Error::other(ended)),
        }
    }
}

/// The last lines of a file. Bytes that are not UTF-8 are replaced.
pub(super) fn tail(path: &Path, lines: usize) -> io::Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(MOST_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // What the cut left of a line is no line.
    let whole = match text.split_once('\n') {
        Some((_, rest)) if start > 0 => rest,
        _ => &text,
    };
    let count = whole.lines().count();
    let mut last = String::with_capacity(whole.len());
    for line in whole.lines().skip(count.saturating_sub(lines.min(MOST_LINES))) {
        last.push_str(line);
        last.push('\n');
    }
    Ok(last)
}

/// The last line of a log, cut, to say why a process ended.
pub(super) fn last_words(path: &Path) -> Option<String> {
    let line = tail(path, 1).ok()?;
    let line = line.trim();
    (!line.is_empty()).then(|| line.chars().take(300).collect())
}

/// Puts a log that has grown too large aside; the one put aside before is given up.
pub(super) fn rotate(folder: &Path) -> io::Result<()> {
    let log = folder.join(NAME);
    match std::fs::metadata(&log) {
        Ok(metadata) if metadata.len() > ROTATE_AT => std::fs::rename(log, folder.join(ROTATED)),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn the_last_lines() {
        for (text, lines, expected) in [
            ("", 5, ""),
            ("a", 5, "a\n"),
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc\n"),
            ("a\nb\n", 0, ""),
        ] {
            let (_folder, path) = written(text.as_bytes());
            assert_eq!(tail(&path, lines).unwrap(), expected, "{text:?}, {lines}");
        }
        let (_folder, path) = written(b"first\n\xff\xfe\n");
        assert_eq!(last_words(&path).unwrap(), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_large_log_is_read_from_its_end_by_whole_lines() {
        let line = format!("{}\n", "x".repeat(99));
        let (_folder, path) = written(line.repeat(20_000).as_bytes());
        assert_eq!(tail(&path, usize::MAX).unwrap().lines().count(), MOST_LINES);
        let (_folder, path) = written("y".repeat(3 << 20).as_bytes());
        assert_eq!(tail(&path, 10).unwrap().len(), (1 << 20) + 1);
    }

    #[tokio::test]
    async fn a_node_without_a_log_has_logged_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let logs = NodeLogs::new(folder.path().to_owned());
        assert_eq!(logs.tail(Uuid::from_u128(1), 10).await.unwrap(), "");
    }

    #[test]
    fn a_log_is_put_aside_when_it_is_large() {
        let (folder, path) = written(b"small");
        rotate(folder.path()).unwrap();
        assert!(path.exists());
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(ROTATE_AT + 1)
            .unwrap();
        rotate(folder.path()).unwrap();
        assert!(!path.exists() && folder.path().join(ROTATED).exists());
        rotate(folder.path()).unwrap();
    }
}
