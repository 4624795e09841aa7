//! Takes an upload in: to a nameless file, counted and hashed on its way, then looked through.

use super::package;
use super::section::Section;
use super::{Limits, Packages, Refused};
use crate::domain::ServiceName;
use crate::domain::package::{Digest, Manifest};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

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
        loop {
            let next = tokio::time::timeout(limits.patience, body.next()).await;
            let Some(chunk) = next.map_err(|_| Refused::Slow { after: limits.patience })? else {
                break;
            };
            let chunk = chunk.map_err(|_| Refused::Interrupted)?;
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
