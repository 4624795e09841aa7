//! The node itself as the serving side: files come from the folder of packages, by their digest.
//!
//! Apart from `state`, which knows nothing of files or of the push. The rule a newcomer would break: only translation
//! stands here; what decides is in [`rules`](super::rules) or in [`serving`](crate::serving).

use super::serves::{NotBuilt, Serves};
use crate::serving::{NotServed, Serving};
use crate::state::Node;
use castoff_wire::proto::{Config, Health, Position, Refusal, Usage};
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

impl Serves for Node {
    type Built = Arc<Serving>;

    fn build(
        &self,
        config: &Config,
        position: &Position,
        packages: &Path,
        previous: Option<&Self::Built>,
    ) -> Result<Self::Built, NotBuilt> {
        let files = |digest: &[u8]| {
            let path = packages.join(hex::encode(digest));
            std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        Self::build(self, config, position, &files, previous.map(Arc::as_ref)).map_err(|refused| match refused {
            NotServed::Malformed(_) => NotBuilt::Malformed(refused.to_string()),
            NotServed::Package(_) => NotBuilt::Package(refused.to_string()),
            NotServed::Model(_) => NotBuilt::Model(refused.to_string()),
            NotServed::TestQuery(_) => NotBuilt::TestQuery(refused.to_string()),
        })
    }

    fn swap(&self, built: Self::Built) {
        Self::swap(self, built);
    }

    fn revoke_at_once(&self, key_ids: Vec<Vec<u8>>) {
        // An id that is no UUID is the id of no key.
        self.set_revoked(key_ids.iter().filter_map(|id| Uuid::from_slice(id).ok()).collect());
    }

    fn share(&self, nodes: u32) -> bool {
        Self::share(self, nodes)
    }

    fn contact(&self, at_ms: i64) {
        Self::contact(self, at_ms);
    }

    fn set_stale(&self, stale: bool) {
        Self::set_stale(self, stale);
    }

    fn set_trouble(&self, trouble: Option<String>) {
        Self::set_trouble(self, trouble);
    }

    fn note_refused(&self, refusal: Refusal) {
        self.note_refused_config(refusal);
    }

    fn end_refused(&self) {
        self.end_refused_config();
    }

    fn take_usage(&self) -> Usage {
        Self::take_usage(self)
    }

    fn put_back(&self, usage: Usage) {
        self.give_back_usage(usage);
    }

    fn health(&self) -> Health {
        Self::health(self)
    }
}
