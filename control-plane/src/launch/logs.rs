//! What local nodes logged.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Bytes read from the end of a log.
const MOST: u64 = 1 << 20;

/// Reads the logs of local nodes.
#[derive(Clone, Debug)]
pub struct NodeLogs {
    nodes: PathBuf,
}

impl NodeLogs {
    /// The logs of the nodes in a folder.
    pub fn new(nodes: &Path) -> Self {
        Self {
            nodes: nodes.to_owned(),
        }
    }

    /// The last lines that a node logged, at most a megabyte; nothing when it has not logged.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn tail(&self, node: Uuid, lines: usize) -> io::Result<String> {
        let path = self.nodes.join(node.to_string()).join("log");
        tokio::task::spawn_blocking(move || tail(&path, lines))
            .await
            .map_err(io::Error::other)?
    }
}

fn tail(path: &Path, lines: usize) -> io::Result<String> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let start = length.saturating_sub(MOST);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // What was cut in the middle is not a line.
    let whole = if start > 0 {
        text.split_once('\n').map_or("", |(_, rest)| rest)
    } else {
        &text
    };
    let from = whole.lines().count().saturating_sub(lines);
    Ok(whole
        .lines()
        .skip(from)
        .fold(String::new(), |text, line| text + line + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(tail(&path, 5).unwrap(), "");
        std::fs::write(&path, "a\nb\nc\n").unwrap();
        assert_eq!(tail(&path, 2).unwrap(), "b\nc\n");
        let line = "x".repeat(99) + "\n";
        std::fs::write(&path, line.repeat(20_000)).unwrap();
        assert_eq!(tail(&path, 2_000).unwrap().lines().count(), 2_000);
        assert!(tail(&path, usize::MAX).unwrap().len() <= 1 << 20);
    }
}
