//! Files by their digests, in a folder or in a bucket.
//!
//! The rule a newcomer would break: what was kept is there to stay. In a folder the file and the folders around it are
//! synced before it gets its name; in a bucket an object is there whole or not at all. So a version which the database has
//! acknowledged never lacks its bytes.

use super::Limits;
use super::bucket::{Bucket, Failed, Looked};
use super::receive::{Received, blocking};
use super::section::Section;
use crate::clock::Clock;
use crate::domain::Time;
use crate::domain::package::Digest;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Place;
use object_store::signer::Signer;
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
/// In a bucket: what is asked to be taken away is gone within this, or is not asked for any more.
const TAKING_AWAY: Duration = Duration::from_secs(2);
/// In a bucket: so long somebody may have been about to take a file away that was kept again meanwhile.
const SETTLING: Duration = Duration::from_secs(3 * TAKING_AWAY.as_secs());

/// Where packages are kept.
#[derive(Clone, Debug)]
pub struct Packages {
    objects: Arc<dyn ObjectStore>,
    place: Kept,
    scratch: PathBuf,
    limits: Limits,
    inspections: Arc<Semaphore>,
}

/// What differs between the places where files may be.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Folder(PathBuf),
    Bucket {
        bucket: Box<Bucket>,
        signer: Arc<dyn Signer>,
    },
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

impl Kept {
    fn failed(&self, error: object_store::Error) -> io::Error {
        match self {
            Self::Folder(_) => io::Error::other(error),
            Self::Bucket { .. } => Failed::io(error),
        }
    }
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
            .map_err(io::Error::other)?
            .with_fsync(true);
        Ok(Self {
            objects: Arc::new(objects),
            place: Kept::Folder(kept),
            scratch,
            limits,
            inspections: Arc::new(Semaphore::new(INSPECTIONS)),
        })
    }

    /// Opens a bucket. What comes in lies in the folder until it is kept. One that does not answer may come later, which is
    /// said: what nodes are told must not wait for it.
    ///
    /// # Errors
    /// In plain words: what somebody must change.
    pub async fn open_bucket(bucket: Bucket, folder: &Path, limits: Limits) -> Result<Self, String> {
        let scratch = folder.join("incoming");
        std::fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
        let store = bucket.open().map_err(|error| format!("{}: {error}", bucket.place))?;
        match bucket.look(&store).await {
            Looked::Open => {}
            Looked::Wrong(reason) => return Err(reason),
            Looked::Away(reason) => {
                tracing::error!(
                    reason,
                    "packages can be neither kept nor read until the object store answers"
                );
                eprintln!("castoff: {reason}; uploads are refused until it does");
            }
        }
        let store = Arc::new(store);
        Ok(Self {
            objects: Arc::clone(&store) as Arc<dyn ObjectStore>,
            place: Kept::Bucket {
                bucket: Box::new(bucket),
                signer: store,
            },
            scratch,
            limits,
            inspections: Arc::new(Semaphore::new(INSPECTIONS)),
        })
    }

    pub(super) fn kept(&self) -> &Kept {
        &self.place
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
        let others = received
            .files
            .iter()
            .filter(|file| file.digest != received.upload.digest);
        let files: Vec<&Section> = others.chain([&received.upload]).collect();
        match &self.place {
            Kept::Folder(_) => {
                let folder = self.scratch.clone();
                let _keeping = blocking(move || locked(&folder, FlockOperation::LockShared)).await??;
                for file in files {
                    self.put(file).await?;
                }
            }
            Kept::Bucket { .. } => self.keep_in_bucket(&files).await?,
        }
        Ok(())
    }

    /// There is no lock in a bucket. A collector, here or elsewhere, that looked at an old file just before it was kept again
    /// takes it away within [`TAKING_AWAY`] or leaves it, and one that looks later finds it young. So what was there and old
    /// is looked at once more when that is over, and then it stays.
    async fn keep_in_bucket(&self, files: &[&Section]) -> io::Result<()> {
        let half = i64::try_from(self.patience().as_millis() / 2).unwrap_or(i64::MAX);
        let old = Clock::default().now().after_ms(-half);
        let mut doubtful = Vec::new();
        for file in files {
            if self.find(&file.digest).await?.is_some_and(|found| found.kept_at < old) {
                doubtful.push(*file);
            }
            self.put(file).await?;
        }
        if doubtful.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(SETTLING).await;
        for file in doubtful {
            if self.find(&file.digest).await?.is_none() {
                self.put(file).await?;
            }
        }
        Ok(())
    }

    /// A file's size and bytes; nothing when it is not there.
    ///
    /// # Errors
    /// The store failed.
    pub async fn read(&self, digest: &Digest) -> io::Result<Option<(u64, BoxStream<'static, io::Result<Bytes>>)>> {
        match self.objects.get(&self.at(digest)).await {
            Ok(found) => Ok(Some((
                found.meta.size,
                found.into_stream().map_err(io::Error::other).boxed(),
            ))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Whether a file is there, and since when.
    ///
    /// # Errors
    /// The store failed.
    pub async fn find(&self, digest: &Digest) -> io::Result<Option<Stored>> {
        match self.objects.head(&self.at(digest)).await {
            Ok(meta) => Ok(Some(stored(*digest, &meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Everything that is kept, for a collector of what no version names.
    pub fn list(&self) -> BoxStream<'static, io::Result<Stored>> {
        let all = self.objects.list(Some(&self.within("sha256")));
        let kept = self.place.clone();
        all.map_err(move |error| kept.failed(error))
            .try_filter_map(|meta| async move { Ok(known(&meta)) })
            .boxed()
    }

    /// Takes a file away; it does not matter whether it was there.
    ///
    /// # Errors
    /// The store failed.
    pub async fn remove(&self, digest: &Digest) -> io::Result<()> {
        match self.objects.delete(&self.at(digest)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// As `remove`, unless the file was kept again since it was listed, or, in a folder, any is being kept now.
    ///
    /// # Errors
    /// The store failed.
    pub async fn collect(&self, listed: &Stored) -> io::Result<bool> {
        if let Kept::Bucket { .. } = &self.place {
            let collected = tokio::time::timeout(TAKING_AWAY, self.collect_unlocked(listed)).await;
            return collected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        }
        // Not waited for: uploads come first, and the next look finds the file again.
        let _collecting = match locked(&self.scratch, FlockOperation::NonBlockingLockExclusive) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            locked => locked?,
        };
        self.collect_unlocked(listed).await
    }

    async fn collect_unlocked(&self, listed: &Stored) -> io::Result<bool> {
        if self.find(&listed.digest).await?.as_ref() != Some(listed) {
            return Ok(false);
        }
        self.remove(&listed.digest).await?;
        Ok(true)
    }

    /// How long a file waits for the version that names it, before it counts as unused: far longer than an upload takes
    /// from here on. A bucket has a clock of its own.
    pub fn patience(&self) -> Duration {
        match &self.place {
            Kept::Folder(_) => Duration::from_secs(3_600),
            Kept::Bucket { .. } => Duration::from_secs(24 * 3_600),
        }
    }

    /// Takes away what was not finished and is not being written any more.
    ///
    /// # Errors
    /// The folder cannot be read, or a file not removed.
    pub async fn sweep(&self) -> io::Result<()> {
        match &self.place {
            Kept::Folder(kept) => {
                let kept = kept.clone();
                blocking(move || sweep(&kept)).await?
            }
            // What was begun there has no name that could be listed; the bucket's rules end it.
            Kept::Bucket { .. } => Ok(()),
        }
    }

    /// The object of this name.
    fn within(&self, name: &str) -> Place {
        match &self.place {
            Kept::Folder(_) => Place::from(name),
            Kept::Bucket { bucket, .. } => bucket.within(name),
        }
    }

    /// `sha256/ab/ab…`: 256 folders, so that none grows too long to list.
    pub(super) fn at(&self, digest: &Digest) -> Place {
        let hex = digest.hex();
        self.within(&format!("sha256/{}/{hex}", hex.get(..2).unwrap_or_default()))
    }

    fn failed(&self, error: object_store::Error) -> io::Error {
        self.place.failed(error)
    }

    async fn put(&self, file: &Section) -> io::Result<()> {
        let place = self.at(&file.digest);
        if file.size <= PART {
            let payload = part(file, 0).await?;
            return self
                .objects
                .put(&place, payload)
                .await
                .map(drop)
                .map_err(|error| self.failed(error));
        }
        let mut upload = self
            .objects
            .put_multipart(&place)
            .await
            .map_err(|error| self.failed(error))?;
        let written = async {
            let mut at = 0;
            while at < file.size {
                let payload = part(file, at).await?;
                at += payload.content_length() as u64;
                upload.put_part(payload).await.map_err(|error| self.failed(error))?;
            }
            upload.complete().await.map_err(|error| self.failed(error))
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

#[cfg(test)]
mod tests;
