//! Part of a file that has no name: what was uploaded, or one file unpacked from it.
//!
//! Unpacked files lie one behind the other in one nameless file. So no name from a package ever reaches the file system,
//! and a killed process leaves nothing behind.

use crate::domain::package::Digest;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes `start..start + size` of a file.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) file: Arc<File>,
    pub(super) start: u64,
    pub(super) size: u64,
    pub(super) digest: Digest,
}

impl Section {
    /// Reads from `at` on; fewer bytes than asked for only at the end.
    pub(super) fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.size.saturating_sub(at))
            .unwrap_or(usize::MAX)
            .min(into.len());
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..most).filter(|rest| !rest.is_empty()) {
            let offset = self.start.saturating_add(at).saturating_add(filled as u64);
            match self.file.read_at(rest, offset) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// The first bytes, at most `most` of them.
    pub(super) fn head(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut head = vec![0; most];
        let read = self.read_at(0, &mut head)?;
        head.truncate(read);
        Ok(head)
    }

    /// A reader with a place of its own.
    pub(super) fn reader(&self) -> SectionReader {
        SectionReader {
            section: self.clone(),
            at: 0,
        }
    }
}

/// Reads a section, from its start on.
pub(super) struct SectionReader {
    section: Section,
    at: u64,
}

impl Read for SectionReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.section.read_at(self.at, into)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for SectionReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.section.size.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
