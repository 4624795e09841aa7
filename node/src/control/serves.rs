//! What the control side asks of the serving side.
//!
//! Apart, so that the rules of the push can be tested without loading a model. The rule a newcomer would break: building
//! changes nothing that callers see; only `swap` does.

use castoff_wire::proto::{Config, Health, Position, Refusal, Usage};
use std::path::Path;

/// Why a config cannot be served. The reason is one line for people, without a key, a hash or a tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBuilt {
    /// Not a config that this release can serve.
    #[error("{0}")]
    Malformed(String),
    /// A file of it is not there.
    #[error("{0}")]
    Package(String),
    /// A model of it cannot be loaded.
    #[error("{0}")]
    Model(String),
    /// A model of it answers a test query wrongly, or not at all.
    #[error("{0}")]
    TestQuery(String),
}

/// The part of a node that answers calls.
pub trait Serves: Send + Sync + 'static {
    /// All that a config needs, loaded. Cheap to clone.
    type Built: Clone + Send + Sync + 'static;

    /// Loads what the config needs and `previous` has not. Blocks; nothing that callers see changes.
    ///
    /// # Errors
    /// [`NotBuilt`] says why the config cannot be served.
    fn build(
        &self,
        config: &Config,
        position: &Position,
        packages: &Path,
        previous: Option<&Self::Built>,
    ) -> Result<Self::Built, NotBuilt>;

    /// Serves this from now on: no call that arrives later is judged by what was before.
    fn swap(&self, built: Self::Built);

    /// The keys that are refused whatever the config says. Replaces those of before.
    fn revoke_at_once(&self, key_ids: Vec<Vec<u8>>);

    /// So many nodes take calls of this deployment: each keeps one of so many parts of every rate limit. Whether this is
    /// news.
    fn share(&self, nodes: u32) -> bool;

    /// The control plane was heard at this moment, in milliseconds since 1970.
    fn contact(&self, at_ms: i64);

    /// Whether what is served has not been confirmed by the control plane yet.
    fn set_stale(&self, stale: bool);

    /// What goes wrong, in one line for people; nothing when all is well.
    fn set_trouble(&self, trouble: Option<String>);

    /// Something was refused: counted, and shown until all is well.
    fn note_refused(&self, refusal: Refusal);

    /// What was refused is over.
    fn end_refused(&self);

    /// Calls since the last time this was asked.
    fn take_usage(&self) -> Usage;

    /// Usage that could not be sent.
    fn put_back(&self, usage: Usage);

    /// How it is.
    fn health(&self) -> Health;
}
