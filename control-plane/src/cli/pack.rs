//! Packs a folder with `service.yaml` into a tar.gz.
//!
//! The same folder gives the same bytes, whoever packs it and when: then its digest is the same, and pushing it again is
//! answered with "already there". So the order is that of the names, and no times, owners or modes go in.

use super::failure::Failure;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

/// The file that says what is in a package.
const MANIFEST: &str = "service.yaml";

/// Packs the folder into a temporary file, which is gone when it is dropped.
pub(super) fn folder(folder: &Path) -> Result<File, Failure> {
    if !folder.join(MANIFEST).is_file() {
        return Err(Failure::Usage(format!(
            "{} is a folder without {MANIFEST}",
            folder.display()
        )));
    }
    let mut paths = Vec::new();
    collect(folder, Path::new(""), &mut paths)?;
    paths.sort();
    let here = |error: &std::io::Error| Failure::file(folder, error);
    let file = tempfile::tempfile().map_err(|error| here(&error))?;
    let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for path in &paths {
        let full = folder.join(path);
        add(&mut tar, &full, path).map_err(|error| Failure::file(&full, &error))?;
    }
    let packed = tar.into_inner().and_then(GzEncoder::finish).and_then(|mut file| {
        file.rewind()?;
        Ok(file)
    });
    packed.map_err(|error| here(&error))
}

fn add(tar: &mut tar::Builder<impl Write>, full: &Path, name: &Path) -> std::io::Result<()> {
    let file = File::open(full)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(file.metadata()?.len());
    header.set_mode(0o644);
    tar.append_data(&mut header, name, file)
}

/// Every file below, hidden ones left out, relative to the folder.
fn collect(root: &Path, below: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let folder = root.join(below);
    let entries = std::fs::read_dir(&folder).map_err(|error| Failure::file(&folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Failure::file(&folder, &error))?;
        let kind = entry
            .file_type()
            .map_err(|error| Failure::file(&entry.path(), &error))?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = below.join(name);
        if kind.is_dir() {
            collect(root, &path, paths)?;
        } else if kind.is_file() {
            paths.push(path);
        } else {
            return Err(Failure::Usage(format!(
                "{} is not a file; packages hold files only",
                entry.path().display()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn write(folder: &Path, names: &[&str]) {
        for name in names {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
    }

    fn bytes(path: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        folder(path).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_same_folder_gives_the_same_bytes() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(one.path(), &["service.yaml", "models/b.onnx", "a.onnx"]);
        write(two.path(), &["a.onnx", ".git/config", "models/b.onnx", "service.yaml"]);
        assert_eq!(bytes(one.path()), bytes(two.path()));

        let packed = bytes(one.path());
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
        let names: Vec<_> = tar
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().into_owned())
            .collect();
        assert_eq!(names, ["a.onnx", "models/b.onnx", "service.yaml"].map(PathBuf::from));
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(folder(place.path()).unwrap_err().code(), 2);
        write(place.path(), &["service.yaml"]);
        std::os::unix::fs::symlink("/etc/passwd", place.path().join("link")).unwrap();
        assert_eq!(folder(place.path()).unwrap_err().code(), 2);
    }
}
