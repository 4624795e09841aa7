//! What the tests of this folder share.

use super::section::Section;
use crate::domain::package::Digest;
use std::io::Write;
use std::sync::Arc;

/// Bytes as if they had been uploaded.
pub(super) fn section(bytes: &[u8]) -> Section {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let digest = Digest::new(castoff_wire::sha256(&[bytes]));
    Section {
        file: Arc::new(file),
        start: 0,
        size: bytes.len() as u64,
        digest,
    }
}
