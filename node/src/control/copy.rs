//! The durable copy: what a node keeps so that it can come back while the control plane is away.
//!
//! `config` is the config in force; `offered` is a newer one whose models are not loaded (yet), kept because its key set
//! is in force already; `revoked` holds signed deltas whose config has not come; `token` the newest node token;
//! `control-planes` where others can be dialled; `nodes` how many share the rate limits;
//! `contact` the last moment at which the control plane was heard. Of the first three there is a twin beside each, for a
//! file that somebody spoils: both are written before anything is acknowledged, so the newest valid one of the two is
//! never older than what was. The rule a newcomer would break: nothing of this is believed because of where it lies; each
//! document is opened against the trust again.

use super::durable;
use super::overlay::Overlay;
use castoff_wire::proto::{Config, Position, Signed};
use castoff_wire::{Refused, Trust};
use prost::Message;
use std::cmp::Ordering;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

/// A config with 10,000 keys, each with a few endpoint names, has about 2 MB.
pub const MOST_CONFIG_BYTES: u64 = 32 << 20;
const MOST_OVERLAY_BYTES: u64 = 32 << 20;
/// Node tokens have about 50 characters.
pub const MOST_TOKEN_BYTES: u64 = 4096;
const MOST_ADDRESSES_BYTES: u64 = 8192;
const PRIVATE: u32 = 0o600;
/// What is there twice: the name, and the name of its twin.
const CONFIG: Twins = ["config", "config.twin"];
const OFFERED: Twins = ["offered", "offered.twin"];
const REVOKED: Twins = ["revoked", "revoked.twin"];

type Twins = [&'static str; 2];

/// By what it is seen that somebody else has written: of each file its inode, length and time.
pub type Traces = Vec<Option<(u64, u64, i64, i64)>>;

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

impl Opened {
    /// Reads and opens a config from a file of its own; none when the file is not there.
    ///
    /// # Errors
    /// [`Unusable`] when it is not to be believed.
    pub fn read(path: &Path, trust: &Trust, deployment: Uuid) -> Result<Option<Self>, Unusable> {
        const WHAT: &str = "the file";
        let bytes = durable::read_bounded(path, MOST_CONFIG_BYTES).map_err(|error| Unusable::Io(WHAT, error))?;
        let Some(bytes) = bytes else { return Ok(None) };
        let signed = Signed::decode(bytes.as_slice()).map_err(|error| Unusable::Torn(WHAT, error))?;
        let opened = Self::open(signed, trust, deployment).map_err(|error| Unusable::Refused(WHAT, error))?;
        Ok(Some(opened))
    }

    /// Whether it is newer, whatever their digests.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        order(&self.position, &other.position).is_gt()
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
    /// Something of it was not to be believed: one of two twins, whose other one is here, or all of it.
    pub damaged: bool,
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
    /// Opens the folder, made when it is not there. What a process that was killed had not finished writing is removed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("copy");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        durable::sweep(&folder, Duration::ZERO)?;
        Ok(Self { folder })
    }

    /// Everything that was kept.
    ///
    /// # Errors
    /// [`Unusable`] when any part of it is torn, foreign or unreadable, and its twin, too.
    pub fn read(&self, trust: &Trust, deployment: Uuid) -> Result<Kept, Unusable> {
        let open = |name, bytes: &[u8]| {
            let signed = Signed::decode(bytes).map_err(|error| Unusable::Torn(name, error))?;
            Opened::open(signed, trust, deployment).map_err(|error| Unusable::Refused(name, error))
        };
        let newest = |one: Opened, other: Opened| match order(&other.position, &one.position).is_gt() {
            true => other,
            false => one,
        };
        let mut damaged = false;
        let config = self.of_twins(CONFIG, MOST_CONFIG_BYTES, open, newest, &mut damaged)?;
        let overlay = self.of_twins(
            REVOKED,
            MOST_OVERLAY_BYTES,
            |_, bytes| Overlay::decode(bytes, trust, deployment),
            Overlay::with,
            &mut damaged,
        )?;
        let offered = self.of_twins(OFFERED, MOST_CONFIG_BYTES, open, newest, &mut damaged)?;
        let offered = offered.filter(|offered| {
            config
                .as_ref()
                .is_none_or(|config| order(&offered.position, &config.position).is_gt())
        });
        Ok(Kept {
            config,
            offered,
            overlay: overlay.unwrap_or_default(),
            damaged,
        })
    }

    /// What two twins hold together; the reason of the first that cannot be used when none can.
    fn of_twins<T>(
        &self,
        twins: Twins,
        most: u64,
        open: impl Fn(&'static str, &[u8]) -> Result<T, Unusable>,
        join: impl Fn(T, T) -> T,
        damaged: &mut bool,
    ) -> Result<Option<T>, Unusable> {
        let (mut found, mut unusable) = (None, None);
        for name in twins {
            let opened = self
                .bytes(name, most)
                .and_then(|bytes| bytes.map(|bytes| open(name, &bytes)).transpose());
            match opened {
                Ok(None) => {}
                Ok(Some(one)) => {
                    found = Some(match found {
                        Some(other) => join(other, one),
                        None => one,
                    });
                }
                Err(error) => unusable = unusable.or(Some(error)),
            }
        }
        match (found, unusable) {
            (None, Some(unusable)) => Err(unusable),
            (found, None) => Ok(found),
            (found, Some(unusable)) => {
                tracing::warn!(error = %unusable, "its twin is used");
                *damaged = true;
                Ok(found)
            }
        }
    }

    fn bytes(&self, name: &'static str, most: u64) -> Result<Option<Vec<u8>>, Unusable> {
        durable::read_bounded(&self.folder.join(name), most).map_err(|error| Unusable::Io(name, error))
    }

    /// Keeps the config that is in force now, and what is left beside it: an offer and revocations.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn keep(&self, signed: &Signed, offered: Option<&Signed>, overlay: &Overlay) -> io::Result<()> {
        self.replace(CONFIG, &signed.encode_to_vec())?;
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
        self.replace(OFFERED, &signed.encode_to_vec())?;
        self.keep_overlay(overlay)
    }

    /// Forgets the offer.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn drop_offered(&self) -> io::Result<()> {
        self.remove(OFFERED)
    }

    /// Keeps the revocations whose config has not come.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn keep_overlay(&self, overlay: &Overlay) -> io::Result<()> {
        match overlay.is_empty() {
            true => self.remove(REVOKED),
            false => self.replace(REVOKED, &overlay.encode()),
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

    /// Where other control planes can be dialled, one to a line, as they were last told.
    pub fn addresses(&self) -> Vec<String> {
        let bytes = durable::read_bounded(&self.folder.join("control-planes"), MOST_ADDRESSES_BYTES);
        let text = bytes.ok().flatten().and_then(|bytes| String::from_utf8(bytes).ok());
        text.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Keeps where other control planes can be dialled.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn keep_addresses(&self, urls: &[String]) -> io::Result<()> {
        durable::replace(
            &self.folder.join("control-planes"),
            urls.join(
                "
",
            )
            .as_bytes(),
            PRIVATE,
        )
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

    /// How many nodes share the rate limits, as it was last told.
    pub fn nodes(&self) -> Option<u32> {
        let bytes = durable::read_bounded(&self.folder.join("nodes"), 32).ok().flatten()?;
        std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
    }

    /// Keeps how many nodes share the rate limits.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn keep_nodes(&self, nodes: u32) -> io::Result<()> {
        durable::replace(&self.folder.join("nodes"), nodes.to_string().as_bytes(), PRIVATE)
    }

    /// What the files look like now.
    pub fn traces(&self) -> Traces {
        let look = |name: &str| {
            let meta = std::fs::metadata(self.folder.join(name)).ok()?;
            Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
        };
        [CONFIG, OFFERED, REVOKED]
            .iter()
            .flatten()
            .map(|name| look(name))
            .collect()
    }

    fn replace(&self, twins: Twins, bytes: &[u8]) -> io::Result<()> {
        durable::replace_all(&twins.map(|name| self.folder.join(name)), bytes, PRIVATE)
    }

    fn remove(&self, twins: Twins) -> io::Result<()> {
        twins
            .iter()
            .try_for_each(|name| match std::fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            })
    }
}

#[cfg(test)]
mod tests;
