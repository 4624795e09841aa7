//! Before the first dial: what lies on disk is read, and what cannot work is said at once.
//!
//! The rule a newcomer would break: a bad argument or join document ends the process with a line that says what to do; a
//! bad durable copy does not, for the control plane can send another.

use super::apply::Orders;
use super::copy::{DurableCopy, Kept, Opened};
use super::dial::Dialer;
use super::durable;
use super::fetch::Packages;
use super::stream::now_ms;
use super::vouched::{self, Believed};
use crate::config::Args;
use castoff_wire::{Join, Trust};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A join document with two keys and a chain of certificates has some 10 kB.
const MOST_JOIN_BYTES: u64 = 256 << 10;

/// Why the node does not start. Each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// The launcher gave up on this node, or nobody made its folder.
    #[error("--data-dir {} does not exist: make it first (a launcher that removed it has given up on this node)", .0.display())]
    Gone(PathBuf),
    /// Something in the arguments, or in what they name, does not work.
    #[error("{0}")]
    Unusable(String),
}

impl NotStarted {
    /// The exit code that a launcher tells the two apart by.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Gone(_) => ExitCode::from(3),
            Self::Unusable(_) => ExitCode::from(2),
        }
    }
}

/// What was read.
pub struct Booted {
    /// The join document.
    pub join: Join,
    /// Whom to obey, and from where.
    pub orders: Orders,
    /// How to dial.
    pub dialer: Dialer,
    /// What the durable copy holds. Nothing but that it is damaged, when it was refused.
    pub kept: Kept,
    /// When the control plane was last heard, or vouched for what the node starts with; in milliseconds since 1970.
    pub contact_ms: Option<i64>,
}

/// Reads what lies on disk.
///
/// # Errors
/// [`NotStarted`] when the node cannot work with it.
pub fn boot(args: &Args) -> Result<Booted, NotStarted> {
    let unusable = |what: String| move |error: io::Error| NotStarted::Unusable(format!("{what}: {error}"));
    if !args.data_dir.is_dir() {
        return Err(NotStarted::Gone(args.data_dir.clone()));
    }
    durable::sweep(&args.data_dir, Duration::ZERO).map_err(unusable(format!(
        "--data-dir {} cannot be written",
        args.data_dir.display()
    )))?;
    let (join, trust) = read_join(&args.join)?;
    let copy = DurableCopy::open(&args.data_dir).map_err(unusable(format!(
        "--data-dir {} cannot be written",
        args.data_dir.display()
    )))?;
    let (folder, own) = args.packages();
    let what = format!("--packages {} cannot be written", folder.display());
    let packages = Packages::open(folder, own).map_err(unusable(what))?;
    let packages = Arc::new(packages.with_addresses(args.package_addresses()));
    let dialer = Dialer::new(&join, copy.clone())
        .map_err(|error| NotStarted::Unusable(format!("--join {}: {error}", args.join.display())))?;
    let kept = copy.read(&trust, join.deployment).unwrap_or_else(|error| {
        tracing::error!(%error, "the durable copy is not used, waiting for the control plane");
        Kept {
            damaged: true,
            ..Kept::default()
        }
    });
    // A copy that is written from here on is younger than what is in it.
    let noted = copy.contact_ms().map(|noted| noted.min(now_ms()));
    let (kept, contact_ms) = match &args.boot_config {
        // A copy that cannot be read may have held revocations.
        Some(path) if !kept.damaged => adopt(path, (kept, noted), &copy, &trust, join.deployment),
        _ => (kept, noted),
    };
    let orders = Orders {
        deployment: join.deployment,
        trust,
        copy,
        packages,
    };
    Ok(Booted {
        join,
        orders,
        dialer,
        kept,
        contact_ms,
    })
}

/// Takes the config that came beside the join document, when it is newer than what was kept; with it comes when it was
/// known to be the newest.
fn adopt(
    path: &Path,
    (kept, noted): (Kept, Option<i64>),
    copy: &DurableCopy,
    trust: &Trust,
    deployment: Uuid,
) -> (Kept, Option<i64>) {
    let before = kept.config.as_ref().map(|config| config.position.clone());
    let kept = newer(path, kept, copy, trust, deployment);
    let Some(config) = &kept.config else {
        return (kept, noted);
    };
    let adopted = before.as_ref() != Some(&config.position);
    let believed = Believed { trust, deployment };
    let contact = vouched::last_contact(noted, (path, adopted), config, &believed, now_ms());
    if let Some(contact_ms) = contact {
        vouched::note(copy, contact_ms);
    }
    (kept, contact)
}

fn newer(path: &Path, kept: Kept, copy: &DurableCopy, trust: &Trust, deployment: Uuid) -> Kept {
    let opened = match Opened::read(path, trust, deployment) {
        Ok(None) => return kept,
        Ok(Some(opened)) => opened,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the config to start with is not used");
            return kept;
        }
    };
    let is_newer = |other: &Option<Opened>| other.as_ref().is_none_or(|other| opened.is_newer_than(other));
    if !is_newer(&kept.config) || !is_newer(&kept.offered) {
        return kept;
    }
    // It stays where it came from, so a copy that cannot be written loses nothing.
    if let Err(error) = copy.keep(&opened.signed, None, &kept.overlay) {
        tracing::warn!(%error, "the config to start with could not be kept");
    }
    Kept {
        config: Some(opened),
        offered: None,
        ..kept
    }
}

fn read_join(path: &Path) -> Result<(Join, Trust), NotStarted> {
    let unusable = |reason: String| NotStarted::Unusable(format!("--join {}: {reason}", path.display()));
    let bytes = durable::read_bounded(path, MOST_JOIN_BYTES)
        .map_err(|error| unusable(error.to_string()))?
        .ok_or_else(|| unusable("no such file: it is what the control plane shows once for a new node".into()))?;
    let text = String::from_utf8(bytes).map_err(|_| unusable("not text".into()))?;
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    // Its group is whom the owner chose: in a pod, the only way for a node that is not root.
    if mode & 0o027 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "others may read the join document, which holds a token: chmod 600");
    }
    Join::parse(&text).map_err(|error| unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::signing::Signer;
    use clap::Parser;

    fn args(folder: &Path) -> Args {
        let of = |name: &str| folder.join(name).display().to_string();
        Args::try_parse_from(["castoff-node", "--join", &of("join.json"), "--data-dir", &of("node")]).unwrap()
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let args = args(folder.path());
        assert!(matches!(boot(&args), Err(NotStarted::Gone(_))));
        std::fs::create_dir(&args.data_dir).unwrap();
        let error = boot(&args).err().unwrap().to_string();
        assert!(error.contains("join.json") && error.contains("no such file"), "{error}");
        std::fs::write(&args.join, "{\"token\":\"very-secret\"}").unwrap();
        let error = boot(&args).err().unwrap().to_string();
        assert!(error.contains("join.json") && !error.contains("very-secret"), "{error}");
    }

    #[test]
    fn the_newer_of_the_copy_and_the_boot_config_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::new(1);
        let mut args = args(folder.path());
        args.boot_config = Some(folder.path().join("boot"));
        std::fs::create_dir_all(&args.data_dir).unwrap();
        std::fs::write(&args.join, signer.join("http://127.0.0.1:1", "t")).unwrap();
        let version = |args: &Args| {
            let config = boot(args).ok().unwrap().kept.config;
            config.map(|config| config.position.version)
        };
        assert_eq!(version(&args), None, "a Secret that has none yet");
        let write = |version: u64| {
            let signed = signer.config(1, version, &[]);
            std::fs::write(folder.path().join("boot"), prost::Message::encode_to_vec(&signed)).unwrap();
        };
        write(3);
        assert_eq!(version(&args), Some(3));
        write(2);
        assert_eq!(version(&args), Some(3), "the copy has taken it over");
        write(4);
        assert_eq!(version(&args), Some(4));
        std::fs::write(folder.path().join("boot"), "torn").unwrap();
        assert_eq!(version(&args), Some(4));
        for twin in ["config", "config.twin"] {
            std::fs::write(args.data_dir.join("copy").join(twin), "torn").unwrap();
        }
        write(5);
        assert_eq!(version(&args), None, "a torn copy may have held revocations");
    }

    /// A pod of today with a Secret of last week, and its container when it starts again.
    #[test]
    fn what_a_node_starts_with_is_as_old_as_it_was_vouched_for() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::new(1);
        let mut args = args(folder.path());
        args.boot_config = Some(folder.path().join("config"));
        std::fs::create_dir_all(&args.data_dir).unwrap();
        std::fs::write(&args.join, signer.join("http://127.0.0.1:1", "t")).unwrap();
        let signed = signer.config(1, 3, &[]);
        let opened = Opened::open(signed.clone(), &signer.trust, signer.deployment).unwrap();
        let write = |name: &str, bytes: Vec<u8>| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("config", prost::Message::encode_to_vec(&signed));
        let last_week = now_ms() - 7 * 86_400_000;
        let vouched = signer.vouched(&opened.position, last_week);
        write("vouched", prost::Message::encode_to_vec(&vouched));
        for _ in 0..2 {
            assert_eq!(boot(&args).ok().unwrap().contact_ms, Some(last_week));
        }
    }

    #[test]
    fn a_torn_copy_does_not_stop_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let args = args(folder.path());
        std::fs::create_dir_all(args.data_dir.join("copy")).unwrap();
        std::fs::write(&args.join, Signer::new(1).join("http://127.0.0.1:1", "t")).unwrap();
        let booted = boot(&args).ok().unwrap();
        assert!(!booted.kept.damaged && booted.kept.config.is_none());
        std::fs::write(args.data_dir.join("copy/config"), "torn").unwrap();
        let booted = boot(&args).ok().unwrap();
        assert!(booted.kept.damaged && booted.kept.config.is_none());
    }
}
