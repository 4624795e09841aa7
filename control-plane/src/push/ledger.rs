//! What streams have to write down: gathered, and written by one task in batches.
//!
//! Apart from the streams, so that no stream waits for the database while a revocation is on its way to it. A slow
//! database makes batches larger, not streams slower.

use super::sessions::NodeKey;
use crate::domain::Time;
use crate::store::{Error, MachineKeyUse, NodeReport, SystemStore, Written};
use castoff_wire::proto::Usage;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Usage is written this often, and what the database did not take is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// What comes within this time of the first is written with it: the answers to a push come one by one, and each batch is a
/// commit, for which a disk is waited for.
const GATHER: Duration = Duration::from_millis(20);
/// As long as more come, a batch is gathered on, but no longer than this many times: 5 × 20 ms, for whoever waits to see the
/// first of them.
const MOST_GATHERS: u32 = 5;
/// Events that wait; more come only when the database is away, and are left out.
const MOST_EVENTS: usize = 1_000;
/// Keys whose use waits to be written: ten deployments with all the keys that they may have.
const MOST_USES: usize = 100_000;
/// Calls of one key in one message of one node. A count of this size is a broken node's; it must not spoil the sum.
const MOST_CALLS: u64 = u32::MAX as u64;

pub(super) struct Ledger {
    store: SystemStore,
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    reports: HashMap<NodeKey, Arc<NodeReport>>,
    events: Vec<Noted>,
    uses: HashMap<Used, Use>,
}

/// A key at a deployment, and when the day began on which it was used: quotas end with days, and what is written together
/// must not count for the later one.
type Used = (Uuid, Uuid, i64);

struct Noted {
    deployment_id: Uuid,
    kind: &'static str,
    message: String,
}

#[derive(Clone, Copy)]
struct Use {
    calls: u64,
    last: Time,
}

impl Waiting {
    fn add(&mut self, (key_id, deployment_id): (Uuid, Uuid), used: Use) {
        let key = (key_id, deployment_id, used.last.day().0.ms());
        let room = self.uses.len() < MOST_USES;
        match self.uses.get_mut(&key) {
            Some(before) => {
                before.calls = before.calls.saturating_add(used.calls);
                before.last = before.last.max(used.last);
            }
            None if room => drop(self.uses.insert(key, used)),
            None => {}
        }
    }
}

impl Ledger {
    pub(super) fn new(store: SystemStore) -> Self {
        Self {
            store,
            waiting: Mutex::default(),
            wake: Notify::new(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a node says of itself. Only the latest counts.
    pub(super) fn report(&self, node: NodeKey, report: Arc<NodeReport>) {
        self.waiting().reports.insert(node, report);
        self.wake.notify_one();
    }

    /// Something that happened to a deployment.
    pub(super) fn note(&self, deployment_id: Uuid, kind: &'static str, message: String) {
        let mut waiting = self.waiting();
        if waiting.events.len() < MOST_EVENTS {
            waiting.events.push(Noted {
                deployment_id,
                kind,
                message,
            });
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// What a node of a deployment counted.
    pub(super) fn count(&self, deployment_id: Uuid, usage: &Usage) {
        let now = self.store.now();
        let mut waiting = self.waiting();
        for used in &usage.keys {
            let Ok(key_id) = Uuid::from_slice(&used.key_id) else {
                continue;
            };
            let used = Use {
                calls: used.calls.min(MOST_CALLS),
                // A node's clock may run ahead.
                last: Time::from_ms(used.last_used_ms).min(now),
            };
            waiting.add((key_id, deployment_id), used);
        }
    }

    /// Writes until it is told to end, and then what is left.
    pub(super) async fn keep(&self, end: CancellationToken) {
        let mut again = tokio::time::interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut counted, mut failing, mut known) = (Instant::now(), false, Written::default());
        loop {
            let ending = tokio::select! {
                () = end.cancelled() => true,
                () = self.wake.notified(), if !failing => tokio::select! {
                    () = end.cancelled() => true,
                    () = self.gather() => false,
                },
                _ = again.tick() => false,
            };
            let mut written = self.write(&mut known).await;
            if written.is_ok() && (ending || counted.elapsed() >= AGAIN) {
                written = self.write_uses().await;
                counted = Instant::now();
            }
            if let Err(error) = &written
                && !failing
            {
                // Once: it would be said every second otherwise.
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    "what nodes said was not written down, it is tried again"
                );
            }
            failing = written.is_err();
            if ending {
                return;
            }
        }
    }

    /// Waits for what comes with what has come.
    async fn gather(&self) {
        let mut before = 0;
        for _ in 0..MOST_GATHERS {
            tokio::time::sleep(GATHER).await;
            let waiting = self.waiting().reports.len();
            // One alone is written at once: somebody may wait to see it.
            if waiting <= before.max(1) {
                return;
            }
            before = waiting;
        }
    }

    async fn write(&self, known: &mut Written) -> Result<(), Error> {
        let (reports, events) = {
            let mut waiting = self.waiting();
            (
                std::mem::take(&mut waiting.reports),
                std::mem::take(&mut waiting.events),
            )
        };
        let batch: Vec<_> = reports
            .into_iter()
            .map(|(node, report)| (node.node_id, node.deployment_id, report))
            .collect();
        let saved = match batch.is_empty() {
            true => Ok(()),
            false => self.store.save_reports(&batch, known).await,
        };
        if let Err(error) = saved {
            let mut waiting = self.waiting();
            for (node_id, deployment_id, report) in batch {
                let node = NodeKey { deployment_id, node_id };
                // What was said meanwhile is newer.
                waiting.reports.entry(node).or_insert(report);
            }
            let later = std::mem::replace(&mut waiting.events, events);
            waiting.events.extend(later);
            return Err(error);
        }
        let mut events = events.into_iter();
        while let Some(event) = events.next() {
            let noted = self
                .store
                .note_event(event.deployment_id, event.kind, &event.message)
                .await;
            if let Err(error) = noted {
                self.waiting().events.splice(0..0, std::iter::once(event).chain(events));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn write_uses(&self) -> Result<(), Error> {
        let taken = std::mem::take(&mut self.waiting().uses);
        if taken.is_empty() {
            return Ok(());
        }
        let mut uses: Vec<MachineKeyUse> = taken
            .iter()
            .map(|((key_id, deployment_id, _), used)| MachineKeyUse {
                key_id: *key_id,
                deployment_id: *deployment_id,
                calls: used.calls,
                last_used_at: used.last,
            })
            .collect();
        // In one order everywhere, so that two replicas do not wait for each other.
        uses.sort_by_key(|used| (used.key_id, used.deployment_id, used.last_used_at));
        match self.store.count_key_use(&uses).await {
            Ok(with_quotas) => self.store.end_quotas(&with_quotas).await,
            Err(error) => {
                let mut waiting = self.waiting();
                for ((key_id, deployment_id, _), used) in taken {
                    waiting.add((key_id, deployment_id), used);
                }
                Err(error)
            }
        }
    }
}
