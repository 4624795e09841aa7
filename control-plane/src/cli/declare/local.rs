//! What lies on this machine: packages to upload, keys to take over, places for new keys.
//!
//! Looked at before the plan, so that it can say what will fail; each secret is read once, so that a pipe will do.

use super::desired::{Desired, Keys, Source};
use super::state::{Seen, State};
use crate::cli::cluster_settings;
use crate::cli::credentials::{Secret, read_secret};
use crate::cli::failure::Failure;
use crate::cli::pack;
use ring::digest::{Context, SHA256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

/// What was found under the paths that files name, or why nothing was.
#[derive(Debug, Default)]
pub(super) struct Local {
    pub(super) packages: BTreeMap<PathBuf, Result<Package, String>>,
    /// Keys to take over, and kubeconfigs.
    pub(super) secrets: BTreeMap<PathBuf, Result<Secret, String>>,
    /// Where new keys go.
    pub(super) places: BTreeMap<PathBuf, Result<(), String>>,
}

/// A package that can be uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    /// Bytes, packed where it is a folder.
    pub(super) size: u64,
    /// `sha256:` and 64 digits.
    pub(super) digest: String,
}

impl Local {
    /// Looks at what may be needed for what is not on the server yet.
    pub(super) async fn look(desired: &Desired, state: &State) -> Result<Self, Failure> {
        let mut local = Self::default();
        let none = Seen::default();
        for (name, service) in &desired.services {
            let seen = state.services.get(name).unwrap_or(&none);
            for (version, wanted) in &service.versions {
                let compared = seen.versions.contains_key(version) && wanted.digest.is_some();
                if let Some(path) = wanted.package.as_ref().filter(|_| !compared) {
                    let found = open(path.clone()).await.map(|(_, package)| package);
                    local
                        .packages
                        .insert(path.clone(), found.map_err(|failure| words(&failure)));
                }
            }
            local.keys(service.keys.as_ref());
        }
        for deployment in desired.deployments.values() {
            local.keys(deployment.keys.as_ref());
        }
        for (name, infrastructure) in &desired.infrastructures {
            let there = state.infrastructures.get(name).is_some_and(|seen| seen.body.is_some());
            if let Some(path) = infrastructure.kubeconfig.as_ref().filter(|_| !there) {
                let text = cluster_settings::read(path).map(Secret::whole);
                local
                    .secrets
                    .insert(path.clone(), text.map_err(|failure| words(&failure)));
            }
        }
        Ok(local)
    }

    fn keys(&mut self, keys: Option<&Keys>) {
        for key in keys.into_iter().flat_map(BTreeMap::values) {
            match &key.source {
                Some(Source::Import(path)) => {
                    let secret = read_secret(path).map_err(|failure| words(&failure));
                    self.secrets.insert(path.clone(), secret);
                }
                Some(Source::Save(path)) => drop(self.places.insert(path.clone(), place(path))),
                None => {}
            }
        }
    }
}

/// Whether a new file can be made here.
fn place(path: &Path) -> Result<(), String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if path.symlink_metadata().is_ok() {
        return Err(format!(
            "{} is there already, and is not overwritten: name a new file",
            path.display()
        ));
    }
    match folder {
        Some(folder) if !folder.is_dir() => Err(format!("{} is no folder: make it first", folder.display())),
        _ => Ok(()),
    }
}

fn words(failure: &Failure) -> String {
    let lines = failure.lines();
    let text = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("; ");
    text.strip_prefix("error: ").map(str::to_owned).unwrap_or(text)
}

/// Opens a file, or packs a folder; its digest is that of what would be sent.
pub(super) async fn open(path: PathBuf) -> Result<(File, Package), Failure> {
    let work = tokio::task::spawn_blocking(move || {
        let here = |error: &std::io::Error| Failure::file(&path, error);
        let kind = std::fs::metadata(&path).map_err(|error| here(&error))?;
        let mut file = match (kind.is_dir(), kind.is_file()) {
            (true, _) => pack::folder(&path)?,
            (_, true) => File::open(&path).map_err(|error| here(&error))?,
            _ => return Err(Failure::Local(format!("{}: is not a file", path.display()))),
        };
        let package = digest(&mut file).map_err(|error| here(&error))?;
        file.rewind().map_err(|error| here(&error))?;
        Ok((file, package))
    });
    work.await.map_err(|error| Failure::Local(error.to_string()))?
}

/// The size and the digest of what is left of a file.
pub(super) fn digest(file: &mut impl Read) -> std::io::Result<Package> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 << 10];
    let mut size: u64 = 0;
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        context.update(bytes);
        size = size.saturating_add(u64::try_from(read).unwrap_or_default());
    }
    let digest = format!("sha256:{}", hex::encode(context.finish()));
    Ok(Package { size, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_bytes() {
        let package = digest(&mut "abc".as_bytes()).unwrap();
        assert_eq!(package.size, 3);
        assert_eq!(
            package.digest,
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_new_key_needs_a_place_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        assert!(place(&folder.path().join("key.txt")).is_ok());
        assert!(place(Path::new("key-that-nobody-has.txt")).is_ok());
        std::fs::write(folder.path().join("taken"), "").unwrap();
        assert!(
            place(&folder.path().join("taken"))
                .unwrap_err()
                .contains("not overwritten")
        );
        assert!(
            place(&folder.path().join("none/key.txt"))
                .unwrap_err()
                .contains("no folder")
        );
    }
}
