//! Model files: fetched by digest over the connection to the control plane, or without one from an object store, and kept
//! under their digest.
//!
//! The rule a newcomer would break: a file has its name only when all its bytes were hashed; what is half there has
//! another name. Nodes may share the folder, and two that fetch the same file only do the work twice.

use super::dial::Client;
use super::durable;
use super::object::{NotGiven, Object};
use super::stream::now_ms;
use bytes::Bytes;
use castoff_wire::PackageAddresses;
use castoff_wire::addresses::MOST_BYTES;
use castoff_wire::proto::{Config, FetchChunk, FetchRequest, File};
use ring::digest::{Context, SHA256};
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tonic::Streaming;

/// The control plane reads from its own store: this long without a chunk, and it is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is left of a fetch that was killed.
const ABANDONED: Duration = Duration::from_secs(3600);
const FILE_MODE: u32 = 0o644;

/// Why a file is not there. None of these holds a byte of a model.
#[derive(Debug, thiserror::Error)]
pub enum NotFetched {
    /// No control plane to ask.
    #[error("package unreachable: a model file is missing and the control plane is not connected")]
    Alone,
    /// Nor does the object store let us in any more.
    #[error(
        "package unreachable: a model file is missing, the control plane is not connected, and the addresses in the object store have ended"
    )]
    Ended,
    /// Nor does the object store give it.
    #[error("package unreachable: a model file is missing, the control plane is not connected, and {0}")]
    NotGiven(#[from] NotGiven),
    /// The control plane did not send it.
    #[error("the control plane did not send a model file: {}: {}", .0.code(), .0.message())]
    Status(#[from] tonic::Status),
    /// Nothing came for long.
    #[error("the control plane stopped sending a model file")]
    Stalled,
    /// Other bytes than the config names.
    #[error("a model file has another size or digest than the config says")]
    OtherBytes,
    /// The folder cannot be written.
    #[error("a model file cannot be kept: {0}")]
    Io(#[from] io::Error),
}

/// The files that a config needs, each once; `None` when one has no proper digest.
pub fn files(config: &Config) -> Option<Vec<File>> {
    let versions = config.serving.iter().flat_map(|serving| &serving.versions);
    let mut files = HashMap::new();
    for endpoint in versions.flat_map(|version| &version.endpoints) {
        for file in [endpoint.model.as_ref()?].into_iter().chain(&endpoint.test_queries) {
            let digest: [u8; 32] = file.digest.as_slice().try_into().ok()?;
            files.entry(digest).or_insert_with(|| file.clone());
        }
    }
    Some(files.into_values().collect())
}

impl NotFetched {
    /// Whether it was only that nobody could be asked.
    pub fn is_alone(&self) -> bool {
        matches!(self, Self::Alone | Self::Ended | Self::NotGiven(_))
    }
}

/// Where the bytes of a file come from.
enum Source {
    ControlPlane(Streaming<FetchChunk>),
    ObjectStore(Object),
}

impl Source {
    async fn ask(client: &Client, digest: &[u8]) -> Result<Self, NotFetched> {
        let request = FetchRequest {
            digest: digest.to_vec(),
        };
        let mut client = client.clone();
        let answer = tokio::time::timeout(PATIENCE, client.fetch(request)).await;
        let answer = answer.map_err(|_| NotFetched::Stalled)??;
        Ok(Self::ControlPlane(answer.into_inner()))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, NotFetched> {
        match self {
            Self::ObjectStore(object) => Ok(object.next().await?),
            Self::ControlPlane(chunks) => {
                let chunk = tokio::time::timeout(PATIENCE, chunks.message()).await;
                let chunk = chunk.map_err(|_| NotFetched::Stalled)??;
                Ok(chunk.map(|chunk| chunk.data.into()))
            }
        }
    }
}

/// The folder of model files.
#[derive(Debug)]
pub struct Packages {
    folder: PathBuf,
    /// The file that says where they are in an object store; renewed by whoever wrote it.
    addresses: Option<PathBuf>,
    /// Nobody else's: what is unused may be removed.
    own: bool,
    /// Digests whose file this process has hashed.
    hashed: Mutex<HashSet<Vec<u8>>>,
}

impl Packages {
    /// Opens the folder, made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: PathBuf, own: bool) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        durable::sweep(&folder, ABANDONED)?;
        Ok(Self {
            folder,
            addresses: None,
            own,
            hashed: Mutex::default(),
        })
    }

    /// With a file that says where they are in an object store; it need not be there.
    #[must_use]
    pub fn with_addresses(self, addresses: Option<PathBuf>) -> Self {
        Self { addresses, ..self }
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the file of this digest is, or would be.
    pub fn path(&self, digest: &[u8]) -> PathBuf {
        self.folder.join(hex::encode(digest))
    }

    /// Makes sure that every file is there and has its digest; fetches what is not.
    ///
    /// # Errors
    /// [`NotFetched`] says what is missing and why.
    pub async fn ensure(
        self: &std::sync::Arc<Self>,
        files: &[File],
        client: Option<&Client>,
    ) -> Result<(), NotFetched> {
        for file in files {
            let (this, wanted) = (self.clone(), file.clone());
            let there = tokio::task::spawn_blocking(move || this.is_there(&wanted))
                .await
                .map_err(io::Error::other)??;
            if !there {
                let source = match client {
                    Some(client) => Source::ask(client, &file.digest).await?,
                    None => Source::ObjectStore(Object::ask(&self.addresses().await?, &file.digest).await?),
                };
                self.fetch(file, source).await?;
            }
        }
        Ok(())
    }

    /// Whether the file is there, whole. One that is there with other bytes is removed.
    fn is_there(&self, file: &File) -> io::Result<bool> {
        let path = self.path(&file.digest);
        let mut open = match std::fs::File::open(&path) {
            Ok(open) => open,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let same_size = open.metadata()?.len() == file.size;
        if same_size && (self.is_hashed(&file.digest) || digest_of(&mut open)? == file.digest) {
            self.note_hashed(&file.digest);
            return Ok(true);
        }
        tracing::warn!(
            file.digest = hex::encode(&file.digest),
            "a kept model file is damaged and is fetched again"
        );
        std::fs::remove_file(&path)?;
        Ok(false)
    }

    /// What is said now about where files are in an object store.
    async fn addresses(&self) -> Result<PackageAddresses, NotFetched> {
        let path = self.addresses.clone().ok_or(NotFetched::Alone)?;
        let text = durable::on_disk(move || durable::read_bounded(&path, MOST_BYTES)).await?;
        let parsed = PackageAddresses::parse(&text.ok_or(NotFetched::Alone)?);
        let addresses = parsed.map_err(|_| NotGiven::Unknown)?;
        if addresses.expires_at_ms <= now_ms() {
            return Err(NotFetched::Ended);
        }
        Ok(addresses)
    }

    async fn fetch(&self, file: &File, mut source: Source) -> Result<(), NotFetched> {
        let path = self.path(&file.digest);
        let (temporary, open) = durable::temporary_beside(&path, FILE_MODE)?;
        let cleanup = RemoveUnlessKept(Some(temporary.clone()));
        let mut open = tokio::fs::File::from_std(open);
        let (mut hash, mut size) = (Context::new(&SHA256), 0u64);
        while let Some(bytes) = source.next().await? {
            size = size.saturating_add(bytes.len() as u64);
            if size > file.size {
                return Err(NotFetched::OtherBytes);
            }
            hash.update(&bytes);
            open.write_all(&bytes).await?;
        }
        if size != file.size || hash.finish().as_ref() != file.digest {
            return Err(NotFetched::OtherBytes);
        }
        open.flush().await?;
        let open = open.into_std().await;
        let settled = tokio::task::spawn_blocking(move || durable::settle(open, &temporary, &path));
        settled.await.map_err(io::Error::other)??;
        cleanup.keep();
        self.note_hashed(&file.digest);
        tracing::info!(
            file.digest = hex::encode(&file.digest),
            file.bytes = size,
            "fetched a model file"
        );
        Ok(())
    }

    /// Removes from a folder of this node's own what the config does not need.
    pub fn remove_unused(&self, needed: &[File]) -> io::Result<()> {
        durable::sweep(&self.folder, ABANDONED)?;
        if !self.own {
            return Ok(());
        }
        let needed: HashSet<String> = needed.iter().map(|file| hex::encode(&file.digest)).collect();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let is_file = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_file && !needed.contains(name) {
                std::fs::remove_file(entry.path())?;
            }
        }
        let mut hashed = self.hashed.lock().unwrap_or_else(PoisonError::into_inner);
        hashed.retain(|digest| needed.contains(&hex::encode(digest)));
        Ok(())
    }

    fn is_hashed(&self, digest: &[u8]) -> bool {
        self.hashed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(digest)
    }

    fn note_hashed(&self, digest: &[u8]) {
        self.hashed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(digest.to_vec());
    }
}

fn digest_of(file: &mut std::fs::File) -> io::Result<Vec<u8>> {
    let (mut hash, mut buffer) = (Context::new(&SHA256), vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hash.finish().as_ref().to_vec());
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
}

/// A fetch that fails or is given up leaves nothing behind.
struct RemoveUnlessKept(Option<PathBuf>);

impl RemoveUnlessKept {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for RemoveUnlessKept {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::signing::file;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_damaged_file_is_not_taken_for_the_one_it_is_named_after() {
        let folder = tempfile::tempdir().unwrap();
        let packages = Arc::new(Packages::open(folder.path().into(), true).unwrap());
        let wanted = file(b"model");
        std::fs::write(packages.path(&wanted.digest), b"m0del").unwrap();
        assert!(matches!(
            packages.ensure(std::slice::from_ref(&wanted), None).await,
            Err(NotFetched::Alone)
        ));
        assert!(!packages.path(&wanted.digest).exists());
        std::fs::write(packages.path(&wanted.digest), b"model").unwrap();
        assert!(packages.ensure(&[wanted], None).await.is_ok());
    }

    #[test]
    fn only_an_own_folder_is_cleaned_and_only_of_what_is_unused() {
        for (own, left) in [(true, 2), (false, 3)] {
            let folder = tempfile::tempdir().unwrap();
            let packages = Packages::open(folder.path().into(), own).unwrap();
            for model in [b"used", b"idle"] {
                std::fs::write(packages.path(&file(model).digest), model).unwrap();
            }
            std::fs::write(folder.path().join("README"), b"not ours").unwrap();
            packages.remove_unused(&[file(b"used")]).unwrap();
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), left);
            assert!(packages.path(&file(b"used").digest).exists());
        }
    }
}
