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
/// Of a line at a time: with what is left of a character, less than whoever follows gets at once, so that it is not cut again.
const PIECE: u64 = 16_000;
/// Of a character, after its first byte.
const MOST_OF_CHARACTER: usize = 3;

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

/// The last lines of a file; the last of all has no end when it goes on. One that is longer than [`PIECE`] comes in pieces, by
/// where they lie in the file, so that whoever looks again and again knows those that were there before. Bytes that are not
/// UTF-8 are replaced.
pub(super) fn tail(path: &Path, lines: usize) -> io::Result<String> {
    let mut file = File::open(path)?;
    let cut = file.metadata()?.len().saturating_sub(MOST_BYTES);
    let start = cut.next_multiple_of(PIECE);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let (mut found, mut at): (Vec<&[u8]>, u64) = (Vec::new(), start);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let length = line.len() as u64;
        // What the cut left of a line is no line, but for the pieces of a long one.
        let is_left = start > 0 && at == start;
        if !is_left || length > PIECE {
            found.extend(pieces(line, at));
        }
        at += length;
    }
    let surplus = found.len().saturating_sub(lines.min(MOST_LINES));
    let mut last = String::new();
    let mut rest = found.into_iter().skip(surplus).peekable();
    while let Some(line) = rest.next() {
        let whole = line.strip_suffix(b"\n");
        let words = whole.map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        last.push_str(&String::from_utf8_lossy(words));
        if whole.is_some() || rest.peek().is_some() {
            last.push('\n');
        }
    }
    Ok(last)
}

/// A line that begins there in its file, in pieces if it is a long one.
fn pieces(line: &[u8], at: u64) -> Vec<&[u8]> {
    if line.len() as u64 <= PIECE {
        return vec![line];
    }
    let mut pieces = Vec::new();
    let mut rest = line.get(in_character(line)..).unwrap_or_default();
    let mut at = at + (line.len() - rest.len()) as u64;
    loop {
        let room = (PIECE - at % PIECE) as usize;
        // Of a character that is cut nobody knows how it goes on.
        let Some(after) = rest.get(room..).filter(|after| after.len() > MOST_OF_CHARACTER) else {
            pieces.push(rest);
            return pieces;
        };
        let (piece, after) = rest.split_at(room + in_character(after));
        pieces.push(piece);
        (at, rest) = (at + piece.len() as u64, after);
    }
}

/// How many bytes of a character that began before these come first.
fn in_character(bytes: &[u8]) -> usize {
    let goes_on = |byte: &&u8| (0x80..0xc0).contains(*byte);
    bytes.iter().take(MOST_OF_CHARACTER).take_while(goes_on).count()
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
            ("a", 5, "a"),
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\r\n\nb\n", 3, "a\n\nb\n"),
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
    }

    /// The pieces of a file of a short line and one that goes on, as somebody sees them who looks at it now.
    fn seen(path: &Path, long: &str) -> Vec<String> {
        std::fs::write(path, format!("short\n{long}")).unwrap();
        let text = tail(path, usize::MAX).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_without_an_end_is_known_again_piece_by_piece() {
        let (_folder, path) = written(b"");
        for character in ["y", "ä", "\u{1f6a2}"] {
            let numbered = |number: usize| format!("{number:08}{}", character.repeat(8));
            let (whole, each): (String, usize) = ((0..100_000).map(numbered).collect(), numbered(0).len());
            let (mut all, mut last): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
            // From less than a piece to more than is read.
            for to in (300..100_000).step_by(4_999) {
                let now = seen(&path, &whole[..to * each]);
                for piece in &now {
                    assert!(piece.len() as u64 <= PIECE + 3 && !piece.contains('\u{fffd}'));
                }
                let gone = (0..=last.len()).find(|gone| now.starts_with(&last[*gone..])).unwrap();
                assert!(gone < last.len() || last.is_empty(), "what was seen is known again");
                all.extend_from_slice(&now[last.len() - gone..]);
                last = now;
            }
            assert_eq!(all.remove(0), "short");
            assert!(whole.starts_with(&all.concat()), "each piece once");
            assert!(all.len() > 80, "{}", all.len());
        }
        let text = tail(&path, 10).unwrap();
        assert!(text.lines().count() == 10 && text.len() as u64 <= 10 * (PIECE + 4));
    }

    #[test]
    fn what_the_cut_left_of_a_line_is_no_line() {
        let begun = "x".repeat(MOST_BYTES as usize);
        let (_folder, path) = written(format!("{begun}end\nnext\n").as_bytes());
        let text = tail(&path, 3).unwrap();
        assert!(text.ends_with("xend\nnext\n"), "{text}");
        // Where it begins is not in sight, and no piece of it is.
        let short = format!("{}\n", "y".repeat(998)).repeat(2_000);
        let (_folder, path) = written(short.as_bytes());
        assert!(tail(&path, usize::MAX).unwrap().lines().all(|line| line.len() == 998));
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
