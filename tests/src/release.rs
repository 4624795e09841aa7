//! Which release a process is of: the one that is being built here, or the one before it, for the tests of upgrades.

use crate::castoff::binary;
use std::fs;
use std::path::{Path, PathBuf};

/// A release of both programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// What `cargo build --bins` has made.
    #[default]
    This,
    /// What `scripts/previous` has made.
    Previous,
}

impl Release {
    /// The one before this; none where it was not built, which CI does not forgive.
    pub fn previous() -> Option<Self> {
        if Self::Previous.folder().join("castoff-node").exists() {
            return Some(Self::Previous);
        }
        let reason = "the previous release is not there: run scripts/previous (make test does), which says why not";
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "needed in CI: {reason}"
        );
        crate::skipped("with two releases", reason);
        None
    }

    /// One of its programs.
    #[track_caller]
    pub fn program(self, name: &str) -> PathBuf {
        match self {
            Self::This => binary(name),
            Self::Previous => self.folder().join(name),
        }
    }

    /// The number that its nodes say they are of.
    pub fn number(self) -> String {
        match self {
            Self::This => env!("CARGO_PKG_VERSION").to_owned(),
            Self::Previous => packed(),
        }
    }

    fn folder(self) -> PathBuf {
        let beside = binary("castoff");
        let built = beside.parent().expect("target/<profile>");
        match self {
            Self::This => built.to_owned(),
            Self::Previous => built.with_file_name("releases").join(packed()).join("debug"),
        }
    }
}

/// The number of the release whose sources are packed.
fn packed() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("releases");
    let names = fs::read_dir(&folder).expect("tests/releases").flatten();
    let mut releases = names.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_prefix("castoff-")?.strip_suffix(".tar.gz")?.to_owned())
    });
    releases.next().expect("a release in tests/releases")
}
