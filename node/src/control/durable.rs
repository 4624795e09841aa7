//! Writing a file so that a crash leaves the old one or the new one, never half of one.
//!
//! The rule a newcomer would break: the rename is not durable before the folder itself is synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the names of unfinished files end.
const TEMPORARY: &str = ".tmp";

/// Replaces `path` by a file with these bytes and this mode, synced to disk.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace_all(std::slice::from_ref(&path.to_owned()), bytes, mode)
}

/// As [`replace`], several files of one folder by the same bytes; the folder is synced once. None is replaced before all
/// are written.
pub fn replace_all(paths: &[PathBuf], bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut temporaries = Vec::new();
    let mut write = || {
        for path in paths {
            let (temporary, mut file) = temporary_beside(path, mode)?;
            temporaries.push(temporary);
            file.write_all(bytes)?;
            file.sync_all()?;
        }
        for (temporary, path) in temporaries.iter().zip(paths) {
            std::fs::rename(temporary, path)?;
        }
        paths.first().map_or(Ok(()), |path| sync_folder_of(path))
    };
    let written = write();
    if written.is_err() {
        for temporary in temporaries {
            let _ = std::fs::remove_file(temporary);
        }
    }
    written
}

/// A new file in the folder of `path` under a name that nobody else uses.
pub fn temporary_beside(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}{TEMPORARY}", uuid::Uuid::new_v4().simple()));
    let temporary = path.with_file_name(name);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    Ok((temporary, file))
}

/// Syncs a temporary file, gives it its name, and syncs the folder.
pub fn settle(file: File, temporary: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    drop(file);
    std::fs::rename(temporary, path)?;
    sync_folder_of(path)
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes the temporary files of this age or older: their writer was killed. Where others write, too, younger ones may
/// be their work.
pub fn sweep(folder: &Path, age: Duration) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let is_temporary = entry.file_name().to_string_lossy().ends_with(TEMPORARY);
        // One from the future has no age, and nobody here writes it any more when all are to go.
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = || age.is_zero() || modified.is_ok_and(|at| at.elapsed().is_ok_and(|is| is >= age));
        if is_temporary && is_old() {
            match std::fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The bytes of a file, `None` when there is none; refuses one larger than `most`.
pub fn read_bounded(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {most} bytes"),
        ));
    }
    Ok(Some(bytes))
}

/// Writes on a thread that may block.
pub async fn on_disk<T: Send + 'static>(write: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(write)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        assert!(read_bounded(&path, 9).unwrap().is_none());
        replace(&path, b"first", 0o600).unwrap();
        replace(&path, b"second", 0o600).unwrap();
        assert_eq!(read_bounded(&path, 9).unwrap().unwrap(), b"second");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_several_none_is_replaced_before_all_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("a"), folder.path().join("missing/b")];
        replace(&paths[0], b"first", 0o600).unwrap();
        assert!(replace_all(&paths, b"second", 0o600).is_err());
        assert_eq!(read_bounded(&paths[0], 9).unwrap().unwrap(), b"first");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn unfinished_files_are_swept_when_they_are_old_enough() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config"), b"whole").unwrap();
        temporary_beside(&folder.path().join("config"), 0o600).unwrap();
        for (age, left) in [(Duration::from_secs(3600), 2), (Duration::ZERO, 1)] {
            sweep(folder.path(), age).unwrap();
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), left, "{age:?}");
        }
    }

    #[test]
    fn a_file_beyond_the_bound_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        replace(&path, b"0123456789", 0o600).unwrap();
        assert!(read_bounded(&path, 9).is_err());
        assert!(read_bounded(&path, 10).is_ok());
    }
}
