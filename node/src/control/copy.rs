//! The durable copy: what a node keeps so that it can come back while the control plane is away.
//!
//! `config` is the config in force; `offered` is a newer one whose models are not loaded (yet), kept because its key set
//! is in force already; `revoked` holds signed deltas whose config has not come; `token` the newest node token;
//! `contact` the last moment at which the control plane was heard. The rule a newcomer would break: nothing of this is
//! believed because of where it lies; each document is opened against the trust again.

use super::durable;
use super::overlay::Overlay;
use castoff_wire::proto::{Config, Position, Signed};
use castoff_wire::{Refused, Trust};
use prost::Message;
use std::cmp::Ordering;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A config with 10,000 keys, each with a few endpoint names, has about 2 MB.
pub const MOST_CONFIG_BYTES: u64 = 32 << 20;
const MOST_OVERLAY_BYTES: u64 = 32 << 20;
/// Node tokens have about 50 characters.
pub const MOST_TOKEN_BYTES: u64 = 4096;
const PRIVATE: u32 = 0o600;

/// A signed config that was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// As it came: what is kept.
    pub signed: Signed,
    /// What it says.
    pub config: Config,
    /// Where it stands.
    pub position: Position,
}

impl Opened {
    /// Opens a config.
    ///
    /// # Errors
    /// [`Refused`] when it is not to be believed or has not the parts that every config has.
    pub fn open(signed: Signed, trust: &Trust, deployment: Uuid) -> Result<Self, Refused> {
        let config = signed.open(trust, deployment)?;
        if config.serving.is_none() || config.access.is_none() {
            return Err(Refused::Malformed("a config without serving or without access"));
        }
        let position = signed.position(&config);
        Ok(Self {
            signed,
            config,
            position,
        })
    }
}

/// Which of two positions is newer, whatever their digests.
pub fn order(one: &Position, other: &Position) -> Ordering {
    (one.epoch, one.version).cmp(&(other.epoch, other.version))
}

/// What was kept, opened.
#[derive(Debug, Default)]
pub struct Kept {
    /// The config that was in force.
    pub config: Option<Opened>,
    /// A newer one whose key set was in force already.
    pub offered: Option<Opened>,
    /// Revocations whose config had not come.
    pub overlay: Overlay,
}

/// Why the copy is not used. All of it then: a copy without its revocations would let revoked keys in.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The file cannot be read.
    #[error("{0} of the durable copy cannot be read: {1}")]
    Io(&'static str, io::Error),
    /// The file is torn or empty.
    #[error("{0} of the durable copy is torn: {1}")]
    Torn(&'static str, prost::DecodeError),
    /// The file is not to be believed.
    #[error("{0} of the durable copy is refused: {1}")]
    Refused(&'static str, Refused),
}

/// The folder `copy` of a node.
#[derive(Clone, Debug)]
pub struct DurableCopy {
    folder: PathBuf,
}

impl DurableCopy {
    /// Opens the folder, made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("copy");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder })
    }

    /// Everything that was kept.
    ///
    /// # Errors
    /// [`Unusable`] when any part of it is torn, foreign or unreadable.
    pub fn read(&self, trust: &Trust, deployment: Uuid) -> Result<Kept, Unusable> {
        let config = self.opened("config", trust, deployment)?;
        let overlay = match self.bytes("revoked", MOST_OVERLAY_BYTES)? {
            Some(bytes) => Overlay::decode(&bytes, trust, deployment)?,
            None => Overlay::default(),
        };
        let offered = self.opened("offered", trust, deployment)?.filter(|offered| {
            config
                .as_ref()
                .is_none_or(|config| order(&offered.position, &config.position).is_gt())
        });
        Ok(Kept {
            config,
            offered,
            overlay,
        })
    }

    fn opened(&self, name: &'static str, trust: &Trust, deployment: Uuid) -> Result<Option<Opened>, Unusable> {
        let Some(bytes) = self.bytes(name, MOST_CONFIG_BYTES)? else {
            return Ok(None);
        };
        let signed = Signed::decode(bytes.as_slice()).map_err(|error| Unusable::Torn(name, error))?;
        Opened::open(signed, trust, deployment)
            .map(Some)
            .map_err(|error| Unusable::Refused(name, error))
    }

    fn bytes(&self, name: &'static str, most: u64) -> Result<Option<Vec<u8>>, Unusable> {
        durable::read_bounded(&self.folder.join(name), most).map_err(|error| Unusable::Io(name, error))
    }

    /// Keeps the config that is in force now, and what is left beside it: an offer and revocations.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn keep(&self, signed: &Signed, offered: Option<&Signed>, overlay: &Overlay) -> io::Result<()> {
        durable::replace(&self.folder.join("config"), &signed.encode_to_vec(), PRIVATE)?;
        // In this order: a crash in between leaves an older offer, which is not read, and revocations too many.
        match offered {
            Some(offered) => self.keep_offered(offered, overlay),
            None => self.drop_offered().and_then(|()| self.keep_overlay(overlay)),
        }
    }

    /// Keeps a config whose key set is in force while its models are not.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn keep_offered(&self, signed: &Signed, overlay: &Overlay) -> io::Result<()> {
        durable::replace(&self.folder.join("offered"), &signed.encode_to_vec(), PRIVATE)?;
        self.keep_overlay(overlay)
    }

    /// Forgets the offer.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn drop_offered(&self) -> io::Result<()> {
        self.remove("offered")
    }

    /// Keeps the revocations whose config has not come.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn keep_overlay(&self, overlay: &Overlay) -> io::Result<()> {
        match overlay.is_empty() {
            true => self.remove("revoked"),
            false => durable::replace(&self.folder.join("revoked"), &overlay.encode(), PRIVATE),
        }
    }

    /// The newest token that came by the stream.
    pub fn token(&self) -> Option<String> {
        let bytes = durable::read_bounded(&self.folder.join("token"), MOST_TOKEN_BYTES).ok()??;
        let token = String::from_utf8(bytes).ok()?;
        (!token.is_empty()).then_some(token)
    }

    /// Keeps a token that came by the stream.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn keep_token(&self, token: &str) -> io::Result<()> {
        durable::replace(&self.folder.join("token"), token.as_bytes(), PRIVATE)
    }

    /// When the control plane was last heard, in milliseconds since 1970. A copy that came without a note of it, as from
    /// a mount, is as old as its file.
    pub fn contact_ms(&self) -> Option<i64> {
        let noted = durable::read_bounded(&self.folder.join("contact"), 32).ok().flatten();
        let noted = noted.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.trim().parse().ok());
        noted.or_else(|| {
            let written = std::fs::metadata(self.folder.join("config")).ok()?.modified().ok()?;
            let since = written.duration_since(std::time::UNIX_EPOCH).ok()?;
            i64::try_from(since.as_millis()).ok()
        })
    }

    /// Notes when the control plane was last heard.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn keep_contact(&self, ms: i64) -> io::Result<()> {
        durable::replace(&self.folder.join("contact"), ms.to_string().as_bytes(), PRIVATE)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::signing::Signer;

    fn copy() -> (tempfile::TempDir, DurableCopy) {
        let folder = tempfile::tempdir().unwrap();
        let copy = DurableCopy::open(folder.path()).unwrap();
        (folder, copy)
    }

    #[test]
    fn what_was_kept_comes_back() {
        let (_folder, copy) = copy();
        let signer = Signer::new(1);
        assert!(copy.read(&signer.trust, signer.deployment).unwrap().config.is_none());
        copy.keep(&signer.config(1, 4, &["a"]), None, &Overlay::default())
            .unwrap();
        let kept = copy.read(&signer.trust, signer.deployment).unwrap();
        assert_eq!(kept.config.unwrap().position.version, 4);
        assert!(kept.offered.is_none() && kept.overlay.is_empty());
    }

    #[test]
    fn a_torn_an_empty_and_a_foreign_copy_are_refused() {
        let (folder, copy) = copy();
        let signer = Signer::new(1);
        let good = signer.config(1, 4, &["a"]).encode_to_vec();
        let path = folder.path().join("copy/config");
        for length in 0..good.len() {
            std::fs::write(&path, &good[..length]).unwrap();
            assert!(
                copy.read(&signer.trust, signer.deployment).is_err(),
                "torn after {length} bytes"
            );
        }
        std::fs::write(&path, Signer::new(2).config(1, 4, &["a"]).encode_to_vec()).unwrap();
        assert!(matches!(
            copy.read(&signer.trust, signer.deployment),
            Err(Unusable::Refused(..))
        ));
        std::fs::write(&path, &good).unwrap();
        assert!(copy.read(&signer.trust, signer.deployment).is_ok());
        assert!(copy.read(&signer.trust, Uuid::from_u128(99)).is_err());
    }

    #[test]
    fn a_copy_without_its_revocations_is_not_used() {
        let (folder, copy) = copy();
        let signer = Signer::new(1);
        copy.keep(&signer.config(1, 4, &["a"]), None, &Overlay::default())
            .unwrap();
        std::fs::write(folder.path().join("copy/revoked"), b"torn").unwrap();
        assert!(copy.read(&signer.trust, signer.deployment).is_err());
    }

    #[test]
    fn an_offer_counts_only_while_it_is_newer() {
        let (_folder, copy) = copy();
        let signer = Signer::new(1);
        let none = Overlay::default();
        copy.keep(&signer.config(1, 4, &["a"]), None, &none).unwrap();
        for (epoch, version, counts) in [(1, 5, true), (2, 1, true), (1, 4, false), (1, 3, false)] {
            copy.keep_offered(&signer.config(epoch, version, &["a"]), &none)
                .unwrap();
            let kept = copy.read(&signer.trust, signer.deployment).unwrap();
            assert_eq!(kept.offered.is_some(), counts, "{epoch}.{version}");
        }
        copy.keep(&signer.config(1, 6, &["a"]), None, &none).unwrap();
        assert!(copy.read(&signer.trust, signer.deployment).unwrap().offered.is_none());
    }

    #[test]
    fn token_and_contact_are_kept() {
        let (_folder, copy) = copy();
        assert!(copy.token().is_none() && copy.contact_ms().is_none());
        copy.keep_token("t").unwrap();
        copy.keep_contact(17).unwrap();
        assert_eq!(copy.token().as_deref(), Some("t"));
        assert_eq!(copy.contact_ms(), Some(17));
    }
}
