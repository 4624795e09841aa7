//! Takes an upload in: to a nameless file, counted and hashed on its way, then looked through.

use super::package;
use super::section::Section;
use super::{LEAST, Limits, Packages, Refused};
use crate::domain::ServiceName;
use crate::domain::package::{Digest, Manifest};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes gathered before they are written: one hop to a blocking thread for each.
const WRITE: usize = 1 << 20;

/// An upload that was found good. Its bytes are gone with it unless they are kept.
#[derive(Debug)]
pub struct Received {
    /// SHA-256 of the uploaded bytes: the version's digest.
    pub digest: Digest,
    /// Bytes uploaded.
    pub size: u64,
    /// What it serves.
    pub manifest: Manifest,
    pub(super) upload: Section,
    pub(super) files: Vec<Section>,
}

impl Packages {
    /// Refuses an upload by the bytes that it says it has, before any of them is read.
    ///
    /// # Errors
    /// It has more than an upload may have.
    pub fn check_size(&self, announced: u64) -> Result<(), Refused> {
        let limit = self.limits().upload;
        if announced > limit {
            Err(Refused::TooLarge { limit })
        } else {
            Ok(())
        }
    }

    /// Takes an upload in and looks through it. A lone model gets an endpoint named as the service.
    ///
    /// # Errors
    /// What is wrong with it, or that it could not be written.
    pub async fn receive<S, E>(&self, body: S, service: &ServiceName) -> Result<Received, Refused>
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        let limits = self.limits().clone();
        let mut sink = Sink::new(self.scratch())?;
        let mut waiting: Vec<Bytes> = Vec::new();
        let (mut size, mut unwritten) = (0_u64, 0);
        let mut body = std::pin::pin!(body);
        let mut pace = Pace::new(limits.patience);
        loop {
            let next = pace.next(body.as_mut()).await;
            let slow = Refused::Slow {
                within: limits.patience,
            };
            let Some(chunk) = next.ok_or(slow)? else {
                break;
            };
            let chunk = chunk.map_err(|_| Refused::Interrupted)?;
            pace.came(chunk.len());
            size = size.saturating_add(chunk.len() as u64);
            if size > limits.upload {
                return Err(Refused::TooLarge { limit: limits.upload });
            }
            unwritten += chunk.len();
            waiting.push(chunk);
            if unwritten >= WRITE || waiting.len() >= 1_024 {
                sink = sink.write(std::mem::take(&mut waiting)).await?;
                unwritten = 0;
            }
        }
        let upload = sink.write(waiting).await?.finish();
        let inspecting = self.inspecting().await?;
        let (service, scratch) = (service.clone(), self.scratch().to_owned());
        blocking(move || {
            let _inspecting = inspecting;
            look_through(upload, &service, &scratch, &limits)
        })
        .await?
    }
}

/// How long may still be waited for a sender. What is done here in between is not its fault, and not counted.
struct Pace {
    patience: Duration,
    left: Duration,
    came: u64,
}

impl Pace {
    fn new(patience: Duration) -> Self {
        Self {
            patience,
            left: patience,
            came: 0,
        }
    }

    /// The next part, or its end; nothing when the sender is too slow.
    async fn next<S: Stream>(&mut self, body: std::pin::Pin<&mut S>) -> Option<Option<S::Item>> {
        let asked = Instant::now();
        let next = tokio::time::timeout(self.left, { body }.next()).await.ok();
        self.left = self.left.saturating_sub(asked.elapsed());
        next
    }

    fn came(&mut self, bytes: usize) {
        self.came += bytes as u64;
        if self.came >= LEAST {
            self.came = 0;
            self.left = self.patience;
        }
    }
}

fn look_through(upload: Section, service: &ServiceName, scratch: &Path, limits: &Limits) -> Result<Received, Refused> {
    let (manifest, files) = package::inspect(&upload, service, || tempfile::tempfile_in(scratch), limits)?;
    Ok(Received {
        digest: upload.digest,
        size: upload.size,
        manifest,
        upload,
        files,
    })
}

/// Where an upload is written to.
struct Sink {
    file: File,
    hash: ring::digest::Context,
    size: u64,
}

impl Sink {
    fn new(scratch: &Path) -> io::Result<Self> {
        let hash = ring::digest::Context::new(&ring::digest::SHA256);
        Ok(Self {
            file: tempfile::tempfile_in(scratch)?,
            hash,
            size: 0,
        })
    }

    async fn write(mut self, chunks: Vec<Bytes>) -> io::Result<Self> {
        blocking(move || {
            for chunk in chunks {
                self.hash.update(&chunk);
                self.size += chunk.len() as u64;
                self.file.write_all(&chunk)?;
            }
            Ok(self)
        })
        .await?
    }

    fn finish(self) -> Section {
        Section {
            file: Arc::new(self.file),
            start: 0,
            size: self.size,
            digest: digest(self.hash),
        }
    }
}

/// The digest of what was hashed.
pub(super) fn digest(hash: ring::digest::Context) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.finish().as_ref());
    Digest::new(bytes)
}

/// Does on a thread that may wait what would hold up others here.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
