//! Model packages: received, looked through, and kept by digest.
//!
//! Apart from the store, because files are no rows: what is here knows no version and no service but the name that a lone
//! model's endpoint gets. The rule a newcomer would break: nothing of an upload is believed before it is bounded: sizes
//! while they grow, names before they are used, counts before there is room made for them.

mod addresses;
mod bucket;
mod onnx;
mod package;
mod receive;
mod section;
mod service_yaml;
mod store;
mod test_queries;
#[cfg(test)]
mod testing;
mod unpack;

pub use bucket::{Bucket, Credentials, Failed as StoreFailed};
pub use package::records_possible;
pub use receive::Received;
pub use store::{Packages, Stored};

use crate::domain::Invalid;
use std::io;
use std::time::Duration;

/// Bytes that must come within the patience, again and again. With 60 s these are 17 KiB a second: two gigabytes pass a
/// slow line, and a byte now and then does not.
pub const LEAST: u64 = 1 << 20;

/// How large an upload may be, and how large what is in it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of the upload.
    pub upload: u64,
    /// Bytes of everything in it, unpacked.
    pub unpacked: u64,
    /// Unpacked bytes for each byte of the upload, once there is more than a megabyte. Models compress to a half or a
    /// third; a bomb by 1,000.
    pub ratio: u64,
    /// Files and folders in it.
    pub entries: usize,
    /// Parts of a path in it.
    pub depth: usize,
    /// Bytes of each part.
    pub name_length: usize,
    /// How long each [`LEAST`] bytes of the upload may take to come.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload: 2 << 30,
            unpacked: 4 << 30,
            ratio: 200,
            entries: 1_000,
            depth: 8,
            name_length: 255,
            patience: Duration::from_secs(60),
        }
    }
}

/// Why an upload was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The upload is larger than it may be.
    #[error("the package is larger than {limit} bytes")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// The sender went away or broke the protocol.
    #[error("the upload broke off")]
    Interrupted,
    /// The sender sends too slowly, or nothing more, without going away.
    #[error("the upload is too slow: {LEAST} bytes of it must come every {} s", within.as_secs())]
    Slow {
        /// The patience.
        within: Duration,
    },
    /// Something is wrong with what was sent. The pointer leads into its `service.yaml`.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The disk or the store failed; not the sender's fault.
    #[error("a package could not be written or read")]
    Io(#[from] io::Error),
}

/// Why a file could not be understood: it is no good, or the disk failed.
#[derive(Debug)]
enum Unreadable {
    /// For people; follows the file's name.
    Bad(String),
    Io(io::Error),
}

impl Unreadable {
    fn bad(reason: impl Into<String>) -> Self {
        Self::Bad(reason.into())
    }

    /// As a refusal of the whole upload.
    fn refuse(self, pointer: &str, file: &str) -> Refused {
        match self {
            Self::Bad(reason) => Invalid::new(pointer, format!("{file} {reason}")).into(),
            Self::Io(error) => error.into(),
        }
    }
}

impl From<io::Error> for Unreadable {
    /// The system gives its errors a number; a decoder, or an end that came too early, does not.
    fn from(error: io::Error) -> Self {
        match (error.raw_os_error(), error.kind()) {
            (Some(_), _) => Self::Io(error),
            (None, io::ErrorKind::UnexpectedEof) => Self::bad("is truncated"),
            (None, _) => Self::Bad(format!("is damaged: {}", shown(&error.to_string()))),
        }
    }
}

/// A name from outside, fit to be shown: one line, not longer than a line.
fn shown(text: &str) -> String {
    const MOST: usize = 120;
    let mut line: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        line.push('…');
    }
    line
}
