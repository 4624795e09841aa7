//! The state of a node: the config in force, and the few facts that are not in it.
//!
//! `control` writes it, `predict` reads it. The rule a newcomer would break: the config and the revocations that came
//! ahead of it are one pointer, so that a call never sees one without the other.

use crate::clock::Clock;
use crate::engine::Engine;
use crate::predict::test_queries;
use crate::serving::{Files, KeyUsage, Limits, NotServed, Serving, Sources};
use arc_swap::ArcSwap;
use castoff_listen::body::Budget;
use castoff_wire::{proto, sha256};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use uuid::Uuid;

/// What a node is started with.
pub struct NodeSettings {
    /// The one deployment that it serves.
    pub deployment: Uuid,
    /// The runtime.
    pub engine: Engine,
    /// What time it is.
    pub clock: Clock,
}

/// Memory for the bodies of all calls that are being read or answered: sixteen of the largest, by default.
const BODIES: usize = 256 << 20;

/// What calls are judged by at one moment.
#[derive(Clone, Default)]
pub struct InForce {
    /// The config; `None` until one was applied.
    pub serving: Option<Arc<Serving>>,
    /// Keys that were revoked ahead of it.
    pub revoked: Arc<HashSet<Uuid>>,
}

/// A node: shared by the control stream, the callers' port and the operators' port.
pub struct Node {
    deployment: Uuid,
    engine: Engine,
    clock: Clock,
    started: Instant,
    /// How many nodes share each rate limit, this one among them.
    nodes: AtomicU32,
    in_force: ArcSwap<InForce>,
    /// Held while the pointer is replaced, so that no writer undoes another.
    writing: Mutex<()>,
    usage: Mutex<HashMap<Uuid, Arc<KeyUsage>>>,
    anonymous_calls: AtomicU64,
    refused_calls: AtomicU64,
    refused_configs: AtomicU64,
    last_contact_ms: AtomicI64,
    stale: AtomicBool,
    draining: AtomicBool,
    trouble: Mutex<Option<String>>,
    refused: Mutex<Option<proto::Refusal>>,
    bodies: Budget,
}

impl Node {
    /// A node that serves nothing yet, in contact as of now.
    pub fn new(settings: NodeSettings) -> Arc<Self> {
        let now_ms = settings.clock.now_ms();
        Arc::new(Self {
            deployment: settings.deployment,
            engine: settings.engine,
            clock: settings.clock,
            started: Instant::now(),
            nodes: AtomicU32::new(1),
            in_force: ArcSwap::default(),
            writing: Mutex::new(()),
            usage: Mutex::default(),
            anonymous_calls: AtomicU64::new(0),
            refused_calls: AtomicU64::new(0),
            refused_configs: AtomicU64::new(0),
            last_contact_ms: AtomicI64::new(now_ms),
            stale: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            trouble: Mutex::default(),
            refused: Mutex::default(),
            bodies: Budget::new(BODIES),
        })
    }

    /// The one deployment that this node serves.
    pub fn deployment(&self) -> Uuid {
        self.deployment
    }

    /// Reads the bodies of calls.
    pub fn bodies(&self) -> &Budget {
        &self.bodies
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Builds what an opened config says, beside the one in force, and asks its models the test queries that `previous` has not
    /// passed; nothing that callers see changes. Blocks while models load and run, so it must not be called by a task. `files` gives the bytes of a file by its SHA-256, and is asked only for models that `previous` has not.
    ///
    /// # Errors
    /// [`NotServed`] says why it cannot be served.
    pub fn build(
        &self,
        config: &proto::Config,
        position: &proto::Position,
        files: &Files<'_>,
        previous: Option<&Serving>,
    ) -> Result<Arc<Serving>, NotServed> {
        let mut usage = |id| Arc::clone(lock(&self.usage).entry(id).or_default());
        let in_force = self.in_force.load().serving.clone();
        let mut sources = Sources {
            engine: &self.engine,
            files,
            previous,
            in_force: in_force.as_deref(),
            usage: &mut usage,
        };
        let serving = Arc::new(Serving::build(config, position.clone(), &mut sources)?);
        ask_test_queries(&serving, files, previous)?;
        Ok(serving)
    }

    /// Serves this: when it returns, no call that arrives is judged by what was before. The order of configs is for the
    /// caller to judge.
    pub fn swap(&self, serving: Arc<Serving>) {
        let _writing = lock(&self.writing);
        let revoked = Arc::clone(&self.in_force.load().revoked);
        self.in_force.store(Arc::new(InForce {
            serving: Some(serving),
            revoked,
        }));
    }

    /// Denies exactly these keys from now on, whatever the config in force says. A smaller set is given only once a
    /// config that knows of the rest is in force.
    pub fn set_revoked(&self, keys: HashSet<Uuid>) {
        let _writing = lock(&self.writing);
        let serving = self.in_force.load().serving.clone();
        self.in_force.store(Arc::new(InForce {
            serving,
            revoked: Arc::new(keys),
        }));
    }

    /// Where the config in force stands.
    pub fn position(&self) -> Option<proto::Position> {
        self.in_force
            .load()
            .serving
            .as_ref()
            .map(|serving| serving.position.clone())
    }

    /// How much a call may take; the defaults before any config.
    pub fn limits(&self) -> Limits {
        self.in_force
            .load()
            .serving
            .as_ref()
            .map(|serving| serving.limits)
            .unwrap_or_default()
    }

    /// What a call is judged and answered by.
    pub fn in_force(&self) -> arc_swap::Guard<Arc<InForce>> {
        self.in_force.load()
    }

    /// How many nodes take calls of this deployment: each keeps one of so many parts of every rate limit. Until it is told,
    /// a node takes itself for the only one. Whether this is news.
    pub fn share(&self, nodes: u32) -> bool {
        let nodes = nodes.max(1);
        self.nodes.swap(nodes, Ordering::Relaxed) != nodes
    }

    /// How many nodes share each rate limit.
    pub fn nodes(&self) -> u32 {
        self.nodes.load(Ordering::Relaxed)
    }

    /// Nanoseconds between the node's start and this moment. Clocks that are set do not count.
    pub(crate) fn since_start(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.started);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The control plane was heard at that time. After a restart, give the time that was stored, not that of the start.
    pub fn contact(&self, now_ms: i64) {
        self.last_contact_ms.store(now_ms, Ordering::Relaxed);
    }

    /// When the control plane was last heard.
    pub fn last_contact_ms(&self) -> i64 {
        self.last_contact_ms.load(Ordering::Relaxed)
    }

    /// Whether the config in force came from the durable copy and nobody has confirmed it.
    pub fn set_stale(&self, stale: bool) {
        self.stale.store(stale, Ordering::Relaxed);
    }

    /// What goes wrong on the control side, in one line for people.
    pub fn set_trouble(&self, trouble: Option<String>) {
        *lock(&self.trouble) = trouble;
    }

    /// The node is going down: not ready, and answers ask callers to close their connections.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the node is going down.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Why the node takes no calls; `None` when it does.
    pub fn unready(&self) -> Option<&'static str> {
        if self.is_draining() {
            Some("draining")
        } else if self.in_force.load().serving.is_none() {
            Some("no config yet")
        } else {
            None
        }
    }

    /// How the node is.
    pub fn health(&self) -> proto::Health {
        let (in_flight, queued) = self.load();
        let unready = self.unready();
        // Why there is no config yet says more than that there is none.
        let trouble = lock(&self.trouble).clone().filter(|_| !self.is_draining());
        proto::Health {
            ready: unready.is_none(),
            stale: self.stale.load(Ordering::Relaxed),
            in_flight,
            queued,
            refused_configs: self.refused_configs.load(Ordering::Relaxed),
            refused: lock(&self.refused).clone(),
            reason: trouble.unwrap_or_else(|| unready.unwrap_or_default().to_owned()),
        }
    }

    /// Calls inside the models of the config in force, and how many of them wait.
    pub fn load(&self) -> (u32, u32) {
        let now = self.in_force.load();
        let models = now.serving.iter().flat_map(|serving| serving.models());
        let (in_flight, queued) = models.fold((0usize, 0usize), |(in_flight, queued), model| {
            (in_flight + model.load().in_flight(), queued + model.load().queued())
        });
        let bounded = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (bounded(in_flight), bounded(queued))
    }

    /// Calls since this was last taken. One that cannot be sent is given back.
    pub fn take_usage(&self) -> proto::Usage {
        let mut counters = lock(&self.usage);
        let keys = counters
            .iter()
            .filter_map(|(id, usage)| {
                let (calls, last_used_ms) = usage.take()?;
                Some(proto::KeyUsage {
                    key_id: id.as_bytes().to_vec(),
                    calls,
                    last_used_ms,
                })
            })
            .collect();
        // A key that no config holds any more has told its last calls.
        counters.retain(|_, usage| Arc::strong_count(usage) > 1 || usage.is_used());
        proto::Usage {
            keys,
            anonymous_calls: self.anonymous_calls.swap(0, Ordering::Relaxed),
            refused_calls: self.refused_calls.swap(0, Ordering::Relaxed),
        }
    }

    /// Counts again what was taken and could not be sent.
    pub fn give_back_usage(&self, usage: proto::Usage) {
        let mut counters = lock(&self.usage);
        for key in usage.keys {
            if let Ok(id) = Uuid::from_slice(&key.key_id) {
                counters.entry(id).or_default().give_back(key.calls, key.last_used_ms);
            }
        }
        self.anonymous_calls.fetch_add(usage.anonymous_calls, Ordering::Relaxed);
        self.refused_calls.fetch_add(usage.refused_calls, Ordering::Relaxed);
    }

    /// Counts a config, a delta or a durable copy that was refused, and shows it until it is over.
    pub fn note_refused_config(&self, refusal: proto::Refusal) {
        self.refused_configs.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("castoff_node_refused_configs_total", "reason" => refusal.code().word()).increment(1);
        *lock(&self.refused) = Some(refusal);
    }

    /// What was refused is over.
    pub fn end_refused_config(&self) {
        *lock(&self.refused) = None;
    }

    pub(crate) fn count_anonymous(&self) {
        self.anonymous_calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self) {
        self.refused_calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// Asks what is built the test queries of its packages.
fn ask_test_queries(serving: &Arc<Serving>, files: &Files<'_>, previous: Option<&Serving>) -> Result<(), NotServed> {
    for (version, endpoint, digest) in serving.untested(previous) {
        let title = format!("{}/{}", version.name, endpoint.name);
        let file = files(digest).map_err(|reason| NotServed::Package(format!("{title}: {reason}")))?;
        if sha256(&[&file]) != *digest {
            return Err(NotServed::Package(format!("{title}: the file has another digest")));
        }
        // A runtime of its own: the caller's thread may block, and need not have one.
        let asked = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| error.to_string())
            .and_then(|runtime| runtime.block_on(test_queries::ask(serving, version, endpoint, &file)));
        asked.map_err(|wrong| NotServed::TestQuery(format!("{title}: {wrong}")))?;
    }
    Ok(())
}

/// What these locks guard is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
