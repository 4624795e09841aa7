//! When the control plane last stood by the config that a node starts with: what its staleness is counted from, where the
//! node has not heard the control plane itself.
//!
//! Apart from the config, which is signed once: this is made anew beside it from time to time. The rule a newcomer would
//! break: it counts for the very config that it names, or the age of an older one could be hidden by it.

use super::copy::{DurableCopy, Opened};
use super::durable;
use castoff_wire::Trust;
use castoff_wire::proto::{SignedVouched, Vouched};
use prost::Message;
use std::path::Path;
use std::time::UNIX_EPOCH;
use uuid::Uuid;

/// The name of the file, beside the config.
const NAME: &str = "vouched";
/// One has less than 300.
const MOST_BYTES: u64 = 4096;

/// Whom a node believes, and about which deployment.
pub struct Believed<'a> {
    /// By whom.
    pub trust: &'a Trust,
    /// About what.
    pub deployment: Uuid,
}

/// The last contact of a node that goes on with this config, in milliseconds since 1970 and not after `now_ms`.
///
/// `noted` is what it had noted before; `boot` the file of the config to start with, and `adopted` whether the config is
/// that one. Where nobody vouches for it, it is as old as its file.
pub fn last_contact(
    noted: Option<i64>,
    (boot, adopted): (&Path, bool),
    config: &Opened,
    believed: &Believed<'_>,
    now_ms: i64,
) -> Option<i64> {
    let vouched = read(&boot.with_file_name(NAME), believed)
        .filter(|vouched| vouched.position.as_ref() == Some(&config.position))
        .map(|vouched| vouched.at_ms);
    let beside = vouched.or_else(|| if adopted { written_ms(boot) } else { None });
    // A clock that was ahead must not help.
    noted.max(beside).map(|contact| contact.min(now_ms))
}

fn read(path: &Path, believed: &Believed<'_>) -> Option<Vouched> {
    let opened = durable::read_bounded(path, MOST_BYTES)
        .map_err(|error| error.to_string())
        .transpose()?
        .and_then(|bytes| SignedVouched::decode(bytes.as_slice()).map_err(|error| error.to_string()))
        .and_then(|signed| {
            let opened = signed.open(believed.trust, believed.deployment);
            opened.map_err(|error| error.to_string())
        });
    match opened {
        Ok(vouched) => Some(vouched),
        Err(error) => {
            tracing::error!(path = %path.display(), error, "what should say how old the config to start with is, does not");
            None
        }
    }
}

fn written_ms(path: &Path) -> Option<i64> {
    let written = std::fs::metadata(path).ok()?.modified().ok()?;
    let since = written.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

/// Notes it beside the copy, for the next start.
pub fn note(copy: &DurableCopy, contact_ms: i64) {
    if let Err(error) = copy.keep_contact(contact_ms) {
        tracing::error!(%error, "the moment of contact was not noted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::signing::Signer;

    #[test]
    fn the_age_of_a_config_is_what_is_said_of_it_and_of_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let boot = folder.path().join("config");
        let (signer, other) = (Signer::new(1), Signer::new(2));
        let open =
            |version: u64| Opened::open(signer.config(1, version, &[]), &signer.trust, signer.deployment).unwrap();
        let config = open(7);
        std::fs::write(&boot, "x").unwrap();
        let file = written_ms(&boot).unwrap();
        let believed = Believed {
            trust: &signer.trust,
            deployment: signer.deployment,
        };
        let now = file + 1_000_000;
        let contact =
            |noted: Option<i64>, adopted: bool| last_contact(noted, (&boot, adopted), &config, &believed, now);
        assert_eq!(contact(None, true), Some(file), "nobody says anything");
        assert_eq!((contact(Some(5), false), contact(None, false)), (Some(5), None));

        let says = |by: &Signer, version: u64, at_ms: i64| {
            let bytes = by.vouched(&open(version).position, at_ms).encode_to_vec();
            std::fs::write(boot.with_file_name(NAME), bytes).unwrap();
        };
        says(&signer, 7, 1_000);
        assert_eq!(contact(None, true), Some(1_000), "however new its file is");
        assert_eq!(contact(Some(2_000), true), Some(2_000), "it was heard after that");
        assert_eq!(contact(Some(500), false), Some(1_000));
        says(&signer, 7, now + 9_000);
        assert_eq!(contact(None, true), Some(now));
        for (by, version) in [(&signer, 8), (&other, 7)] {
            says(by, version, file + 60_000);
            assert_eq!(contact(None, true), Some(file));
            assert_eq!(contact(Some(5), false), Some(5));
        }
        std::fs::write(boot.with_file_name(NAME), "torn").unwrap();
        assert_eq!(contact(None, true), Some(file));
    }
}
