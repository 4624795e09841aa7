//! The clocks of a real process, turned while it runs: libfaketime stands between it and the kernel.
//!
//! Both the time of day and the monotonic clock are turned, as by minutes that went by. Sleeps that have begun are not:
//! they end by the kernel's clock.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How far the clocks of the processes that were given it are ahead. Never turned back.
#[derive(Debug)]
pub struct Faketime {
    file: PathBuf,
}

impl Faketime {
    /// Clocks that go right, until they are turned. The file that says so is kept in this folder.
    #[track_caller]
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let this = Self {
            file: folder.join("faketime"),
        };
        this.turn_by(Duration::ZERO);
        this
    }

    /// What a process must be started with.
    #[track_caller]
    pub fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            // The file is read at every look at a clock: a turned one is seen at once.
            ("FAKETIME_NO_CACHE", "1".to_owned()),
        ]
    }

    /// Turns the clocks to so far ahead.
    pub fn turn_by(&self, ahead: Duration) {
        let new = self.file.with_extension("new");
        // Renamed, so that nobody reads half of it.
        fs::write(&new, format!("+{}.{:03}\n", ahead.as_secs(), ahead.subsec_millis())).expect("the clock's file");
        fs::rename(&new, &self.file).expect("the clock's file");
    }
}

#[track_caller]
fn library() -> PathBuf {
    let found = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let found = found.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found
        .into_iter()
        .find(|library| library.exists())
        .expect("libfaketime is missing: scripts/prerequisites test says how to install it")
}
