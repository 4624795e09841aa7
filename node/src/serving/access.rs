//! Who may call, as a config says: a set of keys by their hash, or anybody.
//!
//! The rule a newcomer would break: no key of a set that does not hold together is believed, and none at all opens nothing.

use super::{NotServed, Serving, Sources, malformed};
use crate::limiter::{Limiter, Rate};
use castoff_wire::proto;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use uuid::Uuid;

/// How often a key was used since that was last told.
#[derive(Debug, Default)]
pub struct KeyUsage {
    calls: AtomicU64,
    last_used_ms: AtomicI64,
}

impl KeyUsage {
    /// Counts a call.
    pub fn record(&self, now_ms: i64) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.last_used_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    pub(crate) fn take(&self) -> Option<(u64, i64)> {
        let calls = self.calls.swap(0, Ordering::Relaxed);
        (calls > 0).then(|| (calls, self.last_used_ms.load(Ordering::Relaxed)))
    }

    pub(crate) fn give_back(&self, calls: u64, last_used_ms: i64) {
        self.calls.fetch_add(calls, Ordering::Relaxed);
        self.last_used_ms.fetch_max(last_used_ms, Ordering::Relaxed);
    }

    pub(crate) fn is_used(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > 0
    }
}

/// A key of the set. It has no Debug: it is found by a hash that no log should hold.
pub struct Key {
    /// Its id, which a log may hold.
    pub id: Uuid,
    pub(crate) hash: [u8; 32],
    /// Endpoints that it opens; `None`: all.
    pub endpoints: Option<HashSet<String>>,
    /// Milliseconds since 1970; 0: no bound.
    pub not_before_ms: i64,
    /// Milliseconds since 1970; 0: no bound.
    pub expires_at_ms: i64,
    /// Its quota is used up until then. Milliseconds since 1970; 0: it is not.
    pub used_up_until_ms: i64,
    /// Its counters, which outlive this snapshot.
    pub usage: Arc<KeyUsage>,
    /// How often it may be used; `None`: as often as anybody likes. It outlives this snapshot, too.
    pub limiter: Option<Arc<Limiter>>,
}

/// Who may call.
pub struct Access {
    /// Whether a call needs no key.
    pub public: bool,
    /// The header in which a key travels, in lower case.
    pub key_header: http::HeaderName,
    pub(crate) keys: HashMap<[u8; 32], Arc<Key>>,
}

impl Access {
    /// How many keys open this deployment.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }
}

/// Who may call, as the config says.
pub(super) fn access(access: &proto::Access, sources: &mut Sources<'_>) -> Result<Access, NotServed> {
    let header = if access.key_header.is_empty() {
        "x-api-key"
    } else {
        &access.key_header
    };
    let key_header = http::HeaderName::from_bytes(header.as_bytes()).map_err(|_| malformed("key_header"))?;
    let mut keys = HashMap::with_capacity(access.keys.len());
    for key in &access.keys {
        let id = Uuid::from_slice(&key.id).map_err(|_| malformed("a key without an id"))?;
        let hash: [u8; 32] = key
            .hash
            .as_slice()
            .try_into()
            .map_err(|_| malformed(format!("key {id} without a hash")))?;
        let endpoints = (!key.endpoints.is_empty()).then(|| key.endpoints.iter().cloned().collect());
        let usage = (sources.usage)(id);
        let limiter = match &key.rate_limit {
            Some(limit) => {
                let rate = Rate::of(limit).ok_or_else(|| malformed(format!("key {id} may never be used")))?;
                Some(limiter(rate, hash, sources.in_force))
            }
            None => None,
        };
        let (not_before_ms, expires_at_ms) = (key.not_before_ms, key.expires_at_ms);
        let key = Key {
            id,
            hash,
            endpoints,
            not_before_ms,
            expires_at_ms,
            used_up_until_ms: key.used_up_until_ms,
            usage,
            limiter,
        };
        if keys.insert(hash, Arc::new(key)).is_some() {
            return Err(malformed(format!("key {id} has the hash of another")));
        }
    }
    Ok(Access {
        public: access.mode == proto::access::Mode::Public as i32,
        key_header,
        keys,
    })
}

/// That of the key in force, when its rate is the same: what has been used of it stays used, however often a config comes.
fn limiter(rate: Rate, hash: [u8; 32], in_force: Option<&Serving>) -> Arc<Limiter> {
    let key = in_force.and_then(|in_force| in_force.access.keys.get(&hash));
    let kept = key.and_then(|key| key.limiter.as_ref());
    match kept.filter(|kept| kept.rate() == rate) {
        Some(kept) => Arc::clone(kept),
        None => Arc::new(Limiter::new(rate)),
    }
}
