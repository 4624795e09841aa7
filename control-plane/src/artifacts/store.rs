//! Files by their digests, in a folder.
//!
//! The rule a newcomer would break: what was kept is on the disk. The file and the folders around it are synced before it
//! gets its name, so that a version which the database has acknowledged never lacks its bytes.

use super::Limits;
use super::receive::{Received, blocking};
use super::section::Section;
use crate::domain::Time;
use crate::domain::package::Digest;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Place;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes written at once; a smaller file is written in one go.
const PART: u64 = 8 << 20;
/// A file that is being written is younger: each part of it makes it so.
const UNFINISHED: Duration = Duration::from_secs(3_600);
/// Uploads looked through at the same time; unpacking takes a core.
const INSPECTIONS: usize = 2;

/// Where packages are kept.
#[derive(Clone, Debug)]
pub struct Packages {
    objects: Arc<dyn ObjectStore>,
    scratch: PathBuf,
    kept: PathBuf,
    limits: Limits,
    inspections: Arc<Semaphore>,
}

/// A file that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its digest.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// When it was kept last.
    pub kept_at: Time,
}

impl Packages {
    /// Opens the folder, and makes it when it is not there.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(folder: &Path, limits: Limits) -> io::Result<Self> {
        let scratch = folder.join("incoming");
        std::fs::create_dir_all(&scratch)?;
        let kept = folder.join("sha256");
        sweep(&kept)?;
        let objects = LocalFileSystem::new_with_prefix(folder)
            .map_err(failed)?
            .with_fsync(true);
        let inspections = Arc::new(Semaphore::new(INSPECTIONS));
        Ok(Self {
            objects: Arc::new(objects),
            scratch,
            kept,
            limits,
            inspections,
        })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Where nameless files are made.
    pub(super) fn scratch(&self) -> &Path {
        &self.scratch
    }

    pub(super) async fn inspecting(&self) -> io::Result<OwnedSemaphorePermit> {
        Arc::clone(&self.inspections)
            .acquire_owned()
            .await
            .map_err(io::Error::other)
    }

    /// Keeps what was received: the upload as it came and each model in it, each under its own digest. What is there
    /// already is written again, which mends it and makes it young in the eyes of a collector.
    ///
    /// # Errors
    /// The store failed. Some files may have been kept.
    pub async fn keep(&self, received: &Received) -> io::Result<()> {
        let folder = self.scratch.clone();
        let _keeping = blocking(move || locked(&folder, FlockOperation::LockShared)).await??;
        let others = received
            .files
            .iter()
            .filter(|file| file.digest != received.upload.digest);
        for file in others.chain([&received.upload]) {
            self.put(file).await?;
        }
        Ok(())
    }

    /// A file's size and bytes; nothing when it is not there.
    ///
    /// # Errors
    /// The store failed.
    pub async fn read(&self, digest: &Digest) -> io::Result<Option<(u64, BoxStream<'static, io::Result<Bytes>>)>> {
        match self.objects.get(&place(digest)).await {
            Ok(found) => Ok(Some((found.meta.size, found.into_stream().map_err(failed).boxed()))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether a file is there, and since when.
    ///
    /// # Errors
    /// The store failed.
    pub async fn find(&self, digest: &Digest) -> io::Result<Option<Stored>> {
        match self.objects.head(&place(digest)).await {
            Ok(meta) => Ok(Some(stored(*digest, &meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Everything that is kept, for a collector of what no version names.
    pub fn list(&self) -> BoxStream<'static, io::Result<Stored>> {
        let all = self.objects.list(Some(&Place::from("sha256")));
        all.map_err(failed)
            .try_filter_map(|meta| async move { Ok(known(&meta)) })
            .boxed()
    }

    /// Takes a file away; it does not matter whether it was there.
    ///
    /// # Errors
    /// The store failed.
    pub async fn remove(&self, digest: &Digest) -> io::Result<()> {
        match self.objects.delete(&place(digest)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// As `remove`, unless the file was kept again since it was listed, or any is being kept now.
    ///
    /// # Errors
    /// The store failed.
    pub async fn collect(&self, listed: &Stored) -> io::Result<bool> {
        // Not waited for: uploads come first, and the next look finds the file again.
        let _collecting = match locked(&self.scratch, FlockOperation::NonBlockingLockExclusive) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            locked => locked?,
        };
        if self.find(&listed.digest).await?.as_ref() != Some(listed) {
            return Ok(false);
        }
        self.remove(&listed.digest).await?;
        Ok(true)
    }

    /// Takes away what was not finished and is not being written any more.
    ///
    /// # Errors
    /// The folder cannot be read, or a file not removed.
    pub async fn sweep(&self) -> io::Result<()> {
        let kept = self.kept.clone();
        blocking(move || sweep(&kept)).await?
    }

    async fn put(&self, file: &Section) -> io::Result<()> {
        let place = place(&file.digest);
        if file.size <= PART {
            let payload = part(file, 0).await?;
            return self.objects.put(&place, payload).await.map(drop).map_err(failed);
        }
        let mut upload = self.objects.put_multipart(&place).await.map_err(failed)?;
        let written = async {
            let mut at = 0;
            while at < file.size {
                let payload = part(file, at).await?;
                at += payload.content_length() as u64;
                upload.put_part(payload).await.map_err(failed)?;
            }
            upload.complete().await.map_err(failed)
        };
        match written.await {
            Ok(_) => Ok(()),
            Err(error) => {
                // The first error is the one to tell. What is left is removed, as when this future is dropped: by its `Drop`.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }
}

async fn part(file: &Section, at: u64) -> io::Result<PutPayload> {
    let file = file.clone();
    let part = blocking(move || {
        let size = usize::try_from(PART.min(file.size - at)).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        match file.read_at(at, &mut bytes)? == size {
            true => Ok(bytes),
            false => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        }
    });
    part.await?.map(PutPayload::from)
}

/// Removes what a killed process had not finished writing: `<digest>#<number>`, beside the file it was to become. Young
/// ones may be another process's work.
fn sweep(folder: &Path) -> io::Result<()> {
    let Ok(folders) = std::fs::read_dir(folder) else {
        return Ok(());
    };
    for folder in folders {
        for file in std::fs::read_dir(folder?.path())? {
            let file = file?;
            if !file.file_name().to_string_lossy().contains('#') {
                continue;
            }
            // One that is finished in this moment has another name by now.
            match sweep_one(&file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                swept => swept?,
            }
        }
    }
    Ok(())
}

fn sweep_one(file: &std::fs::DirEntry) -> io::Result<()> {
    if file.metadata()?.modified()?.elapsed().is_ok_and(|age| age > UNFINISHED) {
        std::fs::remove_file(file.path())?;
    }
    Ok(())
}

/// Shared while files are kept, alone while one is collected; other control planes may work in the same folder.
fn locked(folder: &Path, operation: FlockOperation) -> io::Result<File> {
    let folder = File::open(folder)?;
    flock(&folder, operation)?;
    Ok(folder)
}

/// `sha256/ab/ab…`: 256 folders, so that none grows too long to list.
fn place(digest: &Digest) -> Place {
    let hex = digest.hex();
    Place::from(format!("sha256/{}/{hex}", hex.get(..2).unwrap_or_default()))
}

fn known(meta: &ObjectMeta) -> Option<Stored> {
    let digest = format!("sha256:{}", meta.location.filename()?).parse().ok()?;
    Some(stored(digest, meta))
}

fn stored(digest: Digest, meta: &ObjectMeta) -> Stored {
    Stored {
        digest,
        size: meta.size,
        kept_at: Time::from_ms(meta.last_modified.timestamp_millis()),
    }
}

fn failed(error: object_store::Error) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests;
