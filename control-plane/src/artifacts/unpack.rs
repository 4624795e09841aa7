//! Unpacks a zip or a gzipped tar into one nameless file.
//!
//! The rule a newcomer would break: limits are kept while bytes come out of the decoder, never by what an archive says
//! about itself, and a name is a key in a map, never a path on the disk.

use super::section::Section;
use super::{Limits, Unreadable, shown};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tar::EntryType;
use zip::read::{ArchiveOffset, Config};
use zip::result::ZipError;

/// What a zip's directory may take: 1,000 entries of 46 bytes, a name and extra fields are some 400 kB.
const ZIP_DIRECTORY: u64 = 8 << 20;
/// What may stand before one entry of a tar: extended headers, each read into memory.
const TAR_HEADERS: u64 = 256 << 10;
/// Below this, an archive may unpack to whatever multiple of its size.
const ALWAYS_FINE: u64 = 1 << 20;

/// The files of an archive by their paths in it.
pub(super) type Files = BTreeMap<String, Section>;

/// Unpacks a zip.
pub(super) fn unzip(upload: &Section, scratch: File, limits: &Limits) -> Result<Files, Unreadable> {
    let reads = Gauge::new(ZIP_DIRECTORY);
    let source = Metered {
        inner: upload.reader(),
        gauge: &reads,
    };
    // The file began with an entry: nothing lies before the archive.
    let config = Config {
        archive_offset: ArchiveOffset::Known(0),
    };
    let opened = zip::ZipArchive::with_config(config, source);
    let mut archive = opened.map_err(|error| reads.blame(zip_error(error), "has a directory that is too large"))?;
    reads.set(u64::MAX);
    if archive.len() > limits.entries {
        return Err(too_many_entries(limits));
    }
    if archive.has_duplicate_names() {
        return Err(Unreadable::bad("holds two files of one name"));
    }
    if archive.has_overlapping_files().map_err(zip_error)? {
        return Err(Unreadable::bad("holds files that overlap"));
    }
    let mut unpacking = Unpacking::new(scratch, upload, limits);
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(zip_error)?;
        let name = entry.name().map_err(zip_error)?.into_owned();
        let kind = entry.unix_mode().unwrap_or_default() & 0o170_000;
        match kind {
            _ if entry.is_symlink() => return Err(link(&name)),
            0 | 0o100_000 | 0o040_000 => {}
            _ => return Err(special(&name)),
        }
        let folder = entry.is_dir() || kind == 0o040_000;
        let size = entry.size();
        unpacking.add(name.as_bytes(), folder, size, &mut entry)?;
    }
    Ok(unpacking.files)
}

/// Unpacks a tar that is compressed by gzip.
pub(super) fn untar(upload: &Section, scratch: File, limits: &Limits) -> Result<Files, Unreadable> {
    let mut unpacking = Unpacking::new(scratch, upload, limits);
    let (total, headers) = (Gauge::new(unpacking.total.left.get()), Gauge::new(TAR_HEADERS));
    let inflated = flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(64 << 10, upload.reader()));
    let stream = Metered {
        inner: Metered {
            inner: inflated,
            gauge: &total,
        },
        gauge: &headers,
    };
    let mut archive = tar::Archive::new(stream);
    let blame = |error: Unreadable| {
        let error = total.blame(error, &too_much(limits));
        headers.blame(error, "has headers that are too large")
    };
    let mut count = 0;
    for entry in archive.entries().map_err(|error| blame(error.into()))? {
        let mut entry = entry.map_err(|error| blame(error.into()))?;
        count += 1;
        if count > limits.entries {
            return Err(too_many_entries(limits));
        }
        let name = entry.path_bytes().into_owned();
        let folder = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => name.ends_with(b"/"),
            EntryType::Directory => true,
            EntryType::XGlobalHeader => continue,
            EntryType::Link | EntryType::Symlink => return Err(link(&String::from_utf8_lossy(&name))),
            _ => return Err(special(&String::from_utf8_lossy(&name))),
        };
        headers.set(u64::MAX);
        let size = entry.size();
        unpacking.add(&name, folder, size, &mut entry).map_err(blame)?;
        headers.set(TAR_HEADERS);
    }
    // To the end, where gzip's checksum is.
    headers.set(u64::MAX);
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| blame(error.into()))?;
    if count == 0 {
        return Err(Unreadable::bad(
            "is compressed by gzip, but holds no tar archive with files",
        ));
    }
    Ok(unpacking.files)
}

fn zip_error(error: ZipError) -> Unreadable {
    match error {
        ZipError::Io(error) => error.into(),
        error => Unreadable::Bad(format!("cannot be unpacked: {}", shown(&error.to_string()))),
    }
}

fn link(name: &str) -> Unreadable {
    Unreadable::Bad(format!(
        "holds a link ({}); only files and folders are accepted",
        shown(name)
    ))
}

fn special(name: &str) -> Unreadable {
    Unreadable::Bad(format!("holds {}, which is neither a file nor a folder", shown(name)))
}

fn too_many_entries(limits: &Limits) -> Unreadable {
    Unreadable::Bad(format!("holds more than {} files and folders", limits.entries))
}

fn too_much(limits: &Limits) -> String {
    format!(
        "unpacks to more than {} bytes, or to more than {} times its size",
        limits.unpacked, limits.ratio
    )
}

/// What came out of an archive so far.
struct Unpacking<'a> {
    scratch: Arc<File>,
    at: u64,
    files: Files,
    total: Gauge,
    limits: &'a Limits,
}

impl<'a> Unpacking<'a> {
    fn new(scratch: File, upload: &Section, limits: &'a Limits) -> Self {
        let by_ratio = upload.size.saturating_mul(limits.ratio).max(ALWAYS_FINE);
        let total = Gauge::new(limits.unpacked.min(by_ratio));
        Self {
            scratch: Arc::new(scratch),
            at: 0,
            files: Files::new(),
            total,
            limits,
        }
    }

    /// Adds one entry; `said` is the size the archive gives.
    fn add(&mut self, name: &[u8], folder: bool, said: u64, content: &mut impl Read) -> Result<(), Unreadable> {
        let place = path(name, self.limits).map_err(|reason| {
            Unreadable::Bad(format!(
                "holds a path that is not accepted: {} {reason}",
                shown(&String::from_utf8_lossy(name))
            ))
        })?;
        let Some(place) = place.filter(|_| !folder) else {
            return Ok(());
        };
        let section = self.copy(content)?;
        if section.size != said {
            return Err(Unreadable::Bad(format!(
                "is damaged: {} is not as long as it should be",
                shown(&place)
            )));
        }
        match self.files.insert(place.clone(), section) {
            None => Ok(()),
            Some(_) => Err(Unreadable::Bad(format!("holds two files named {}", shown(&place)))),
        }
    }

    fn copy(&mut self, content: &mut impl Read) -> Result<Section, Unreadable> {
        let mut metered = Metered {
            inner: content,
            gauge: &self.total,
        };
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        let mut buffer = vec![0; 128 << 10];
        let start = self.at;
        loop {
            let read = match metered.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.total.blame(error.into(), &too_much(self.limits))),
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            hash.update(bytes);
            self.scratch.write_all_at(bytes, self.at).map_err(Unreadable::Io)?;
            self.at += read as u64;
        }
        let digest = super::receive::digest(hash);
        Ok(Section {
            file: Arc::clone(&self.scratch),
            start,
            size: self.at - start,
            digest,
        })
    }
}

/// The path of an entry as a key: relative, plain, `/` between its parts. Nothing for the root itself.
pub(super) fn path(name: &[u8], limits: &Limits) -> Result<Option<String>, String> {
    let name = str::from_utf8(name).map_err(|_| "is not UTF-8")?;
    if name.contains('\\') || name.chars().any(char::is_control) {
        return Err("has a backslash or a character that does not print".to_owned());
    }
    // `tar c .` writes every path with it.
    let plain = name.strip_prefix("./").unwrap_or(name);
    let plain = plain.strip_suffix('/').unwrap_or(plain);
    if plain.is_empty() && name.starts_with("./") || name == "." {
        return Ok(None);
    }
    let parts: Vec<&str> = plain.split('/').collect();
    if name.starts_with('/') || plain.starts_with('/') || parts.first().is_some_and(|first| first.ends_with(':')) {
        return Err("is absolute".to_owned());
    }
    if parts.contains(&"..") {
        return Err("leads out of the package".to_owned());
    }
    if parts.iter().any(|part| matches!(*part, "" | ".")) {
        return Err("has an empty part".to_owned());
    }
    if parts.len() > limits.depth {
        return Err(format!("has more than {} parts", limits.depth));
    }
    if parts.iter().any(|part| part.len() > limits.name_length) {
        return Err(format!("has a part of more than {} bytes", limits.name_length));
    }
    Ok(Some(plain.to_owned()))
}

/// Bytes that may still be read.
struct Gauge {
    left: Cell<u64>,
    burst: Cell<bool>,
}

impl Gauge {
    fn new(left: u64) -> Self {
        Self {
            left: Cell::new(left),
            burst: Cell::new(false),
        }
    }

    fn set(&self, left: u64) {
        self.left.set(left);
    }

    /// The error with the gauge's reason, when it was the gauge that stopped the reading.
    fn blame(&self, error: Unreadable, reason: &str) -> Unreadable {
        if self.burst.get() {
            Unreadable::bad(reason)
        } else {
            error
        }
    }
}

struct Metered<'a, R> {
    inner: R,
    gauge: &'a Gauge,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        if let Some(left) = self.gauge.left.get().checked_sub(read as u64) {
            self.gauge.left.set(left);
            return Ok(read);
        }
        self.gauge.burst.set(true);
        Err(io::Error::other("limit reached"))
    }
}

impl<R: Seek> Seek for Metered<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
