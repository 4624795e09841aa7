//! Small disks that can be filled: a `tmpfs` mounted over a folder.
//!
//! Only root may mount. Without, the tests say so loudly and pass; in CI they fail.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder that has little space. Declared after its world, so that it goes before it.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Puts a folder and what is in it on a disk of its own, with so much space. Who has a file open there must not run.
    #[track_caller]
    pub fn under(folder: &Path, mebibytes: usize) -> Option<Self> {
        let filled = folder.with_extension("small-disk");
        fs::create_dir_all(folder).expect("the folder");
        fs::create_dir(&filled).expect("a folder beside it");
        let size = format!("size={mebibytes}m,mode=0711");
        let mounted = run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&filled));
        if let Err(reason) = mounted {
            fs::remove_dir(&filled).ok();
            let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
            assert!(!ci, "a small disk is needed in CI: {reason}");
            crate::skipped("with a full disk", &reason);
            return None;
        }
        // Filled where nobody looks yet, then put over the folder in one step.
        let all = format!("{}/.", folder.display());
        run(Command::new("cp").args(["-a", &all]).arg(&filled))
            .and_then(|()| run(Command::new("mount").arg("--bind").arg(&filled).arg(folder)))
            .and_then(|()| run(Command::new("umount").arg("-l").arg(&filled)))
            .expect("the disk can be put in place");
        fs::remove_dir(&filled).expect("the place where it was filled");
        Some(Self {
            folder: folder.to_owned(),
        })
    }

    /// Leaves no byte free.
    #[track_caller]
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("a file on the small disk");
        for block in [1 << 20, 1 << 12, 1] {
            while filler.write_all(&vec![1; block]).is_ok() {}
        }
    }

    /// Gives the space back.
    #[track_caller]
    pub fn clear(&self) {
        fs::remove_file(self.filler()).expect("what filled the small disk");
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(&self.folder)).ok();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
