//! What a config is made from, and who makes it.
//!
//! The store gathers the facts and keeps the result, both in the transaction of the cause; push knows how a config is
//! written and signed. A trait stands between, because push may look at the store and not the other way.

use super::StoredConfig;
use crate::domain::package::{Digest, Manifest};
use crate::domain::{HeaderName, Limits, RateLimit, Time, VersionName};
use castoff_wire::key::KeyHash;
use castoff_wire::proto::{Signed, SignedDelta};
use uuid::Uuid;

/// Everything that a deployment's config says.
pub struct ConfigFacts {
    /// The deployment.
    pub deployment_id: Uuid,
    /// Its name.
    pub deployment: String,
    /// Of the installation.
    pub epoch: u64,
    /// One more than the config before.
    pub version: u64,
    /// The service's name.
    pub service: String,
    /// Which versions answer.
    pub legs: Vec<LegFact>,
    /// What a node allows itself and its callers.
    pub limits: Limits,
    /// Anybody may call: `inherit` is resolved already.
    pub public: bool,
    /// The header in which keys travel.
    pub key_header: HeaderName,
    /// The keys that open it: active ones only.
    pub keys: Vec<KeyFact>,
}

/// One version and its share.
pub struct LegFact {
    /// The version.
    pub version: VersionName,
    /// Out of 100.
    pub weight: u32,
    /// Of the package as it was uploaded.
    pub digest: Digest,
    /// What is in it.
    pub manifest: Manifest,
}

/// One key that opens the deployment.
pub struct KeyFact {
    /// Its id.
    pub id: Uuid,
    /// Its hash.
    pub hash: KeyHash,
    /// Names of the endpoints it opens; empty: all.
    pub endpoints: Vec<String>,
    /// From when.
    pub not_before: Option<Time>,
    /// Until when.
    pub expires_at: Option<Time>,
    /// How often.
    pub rate_limit: Option<RateLimit>,
    /// Its quota is used up until then.
    pub used_up_until: Option<Time>,
}

/// A config as it is stored and sent.
pub struct Published {
    /// Its bytes.
    pub config: Vec<u8>,
    /// SHA-256 of them.
    pub digest: [u8; 32],
    /// Who signed it.
    pub key_id: String,
    /// Ed25519.
    pub signature: Vec<u8>,
}

/// Writes and signs configs.
pub trait Publish: Send + Sync {
    /// The config of these facts. Pure but for the signature, and cannot fail.
    fn publish(&self, facts: &ConfigFacts) -> Published;
    /// That this config was the newest one at a moment, signed and encoded. The same each time.
    fn vouch(&self, config: &StoredConfig, at: Time) -> Vec<u8>;
    /// What changed from one config to the next, signed, where that is much less than the next itself.
    fn delta(&self, before: &Signed, after: &Signed) -> Option<SignedDelta>;
}
