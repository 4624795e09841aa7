//! What to do next, from what is wanted, what is recorded and what is seen. Pure.
//!
//! The rule a newcomer would break: a node is started only when its last process is proven to have ended. What is not seen
//! is not ended; it is waited for, and then given up together with its folder and its id.

use crate::domain::Time;
use crate::launch::Wanted;
use crate::store::{LaunchedNode, NodeState};
use std::collections::BTreeSet;
use uuid::Uuid;

/// What is known of a node's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// It runs, and its end will be noticed. `since`: its start, or when it was adopted.
    Held { since: Time },
    /// It runs, and must be adopted.
    Found,
    /// It was about to be started, and nothing of it has been seen since this moment.
    Unseen { since: Time },
    /// It has ended, and this is recorded.
    Ended,
}

/// A process that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) ms: i64,
    /// It ended as one does that was asked to.
    pub(super) clean: bool,
}

/// A record and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) record: LaunchedNode,
    pub(super) sight: Sight,
    /// Processes in a row that lived less than [`STEADY_MS`]; 1 after any end, 0 after one that was asked for.
    pub(super) failures: u32,
    /// When it will be killed; `None` as long as it was not told to end.
    pub(super) kill_at: Option<Time>,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Watch a process that an earlier control plane started.
    Adopt { node: Uuid },
    /// Record, then start, a node that was not there before.
    Add { deployment: Uuid },
    /// Start a node again whose process has ended.
    Start { node: Uuid },
    /// Ask a process to end.
    Stop { node: Uuid },
    /// End a process that did not when asked.
    Kill { node: Uuid },
    /// Take a node's folder away, then its record.
    Forget { node: Uuid },
    /// A node that ended again and again has lived long enough to be trusted.
    Trust { node: Uuid },
}

/// What to do now, and when to look again if nothing happens.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) wake_at: Option<Time>,
}

/// From a spawn to the first sign of its process: the library of ONNX Runtime is loaded in between.
const UNSEEN_MS: i64 = 2_000;
/// A process that lives as long has started well.
pub(super) const STEADY_MS: i64 = 5_000;
/// One that was asked to end, and lived as long, is no failure: a second between two starts is no hot loop.
const ASKED_MS: i64 = 1_000;
/// So many ends within a minute, or so many quick ones in a row, are a crash loop.
const LOOP_ENDS: usize = 3;
const LOOP_WINDOW_MS: i64 = 60_000;
const LONGEST_DELAY_MS: i64 = 30_000;
const EXITS_KEPT: usize = 10;

/// At once after the first end, then 1, 2, 4, … 30 s.
fn delay_ms(failures: u32) -> i64 {
    match failures {
        0 | 1 => 0,
        more => (1_000 << (more - 2).min(5)).min(LONGEST_DELAY_MS),
    }
}

/// The number of failures to go on with, from a record alone: after the control plane was away.
pub(super) fn failures_of(record: &LaunchedNode, now: Time) -> u32 {
    u32::try_from(recent(record, now)).unwrap_or(u32::MAX)
}

fn recent(record: &LaunchedNode, now: Time) -> usize {
    let within = |exit: &&Time| now.ms() - exit.ms() < LOOP_WINDOW_MS;
    record.exits.iter().filter(within).count()
}

/// The record after its process has ended, and the failures in a row. That somebody asked a node to end, such as an
/// operator who rolls them, counts for nothing.
pub(super) fn ended(mut record: LaunchedNode, failures: u32, life: Life, now: Time) -> (LaunchedNode, u32) {
    let failures = match life {
        Life { clean: true, ms } if ms >= ASKED_MS => 0,
        Life { ms, .. } if ms >= STEADY_MS => 1,
        _ => failures.saturating_add(1),
    };
    if failures > 0 {
        record.exits.push(now);
    }
    let surplus = record.exits.len().saturating_sub(EXITS_KEPT);
    record.exits.drain(..surplus);
    // No process id but a start time: it has ended. Neither: it is about to be started. See `Recorded`.
    record.pid = None;
    record.start_time = Some(record.start_time.unwrap_or(0));
    let looping = recent(&record, now) >= LOOP_ENDS || usize::try_from(failures).unwrap_or(LOOP_ENDS) >= LOOP_ENDS;
    record.state = match record.state {
        NodeState::Stopping => NodeState::Stopping,
        _ if looping => NodeState::CrashLooping,
        _ => NodeState::Starting,
    };
    (record, failures)
}

/// The record of a node that is about to be started: again, unless it is new.
pub(super) fn starting(mut record: LaunchedNode) -> LaunchedNode {
    record.restarts = record.restarts.saturating_add(1);
    record.pid = None;
    record.start_time = None;
    record
}

/// What a record alone says of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It was about to be started.
    Announced,
    /// It was started.
    Started { pid: u32, start_time: u64 },
    /// It has ended.
    Ended,
}

impl Recorded {
    pub(super) fn of(record: &LaunchedNode) -> Self {
        match (record.pid, record.start_time) {
            (Some(pid), Some(start_time)) => Self::Started { pid, start_time },
            (None, Some(_)) => Self::Ended,
            (_, None) => Self::Announced,
        }
    }
}

/// The next steps.
pub(super) fn plan(wanted: &[Wanted], slots: &[Slot], now: Time) -> Plan {
    let mut plan = Plan::default();
    let deployments: BTreeSet<Uuid> = wanted
        .iter()
        .map(|wanted| wanted.deployment_id)
        .chain(slots.iter().map(|slot| slot.record.deployment_id))
        .collect();
    for deployment in deployments {
        let target = wanted
            .iter()
            .find(|wanted| wanted.deployment_id == deployment && wanted.enabled)
            .map_or(0, |wanted| wanted.replicas);
        let own = slots.iter().filter(|slot| slot.record.deployment_id == deployment);
        let (stopping, mut staying): (Vec<&Slot>, Vec<&Slot>) =
            own.partition(|slot| slot.record.state == NodeState::Stopping);
        stopping.into_iter().for_each(|slot| plan.leave(slot, now));
        // Ids of nodes grow with time: of too many, those without a process go first, then the youngest.
        staying.sort_by_key(|slot| (slot.sight == Sight::Ended, slot.record.id));
        let target = usize::try_from(target).unwrap_or(usize::MAX);
        for (place, slot) in staying.iter().enumerate() {
            if place < target {
                plan.stay(slot, now);
            } else {
                plan.leave(slot, now);
            }
        }
        let missing = target.saturating_sub(staying.len());
        plan.steps.extend((0..missing).map(|_| Step::Add { deployment }));
    }
    plan
}

impl Plan {
    fn stay(&mut self, slot: &Slot, now: Time) {
        let node = slot.record.id;
        match slot.sight {
            Sight::Found => self.steps.push(Step::Adopt { node }),
            Sight::Unseen { since } => self.wait_for_a_sign(node, since, now),
            Sight::Held { since } if slot.record.state == NodeState::CrashLooping => {
                self.at(since.after_ms(STEADY_MS), now, Step::Trust { node });
            }
            Sight::Held { .. } => {}
            Sight::Ended => {
                // A clock that was set back must not keep a node down.
                let last = slot.record.exits.last().map_or(now, |exit| (*exit).min(now));
                self.at(last.after_ms(delay_ms(slot.failures)), now, Step::Start { node });
            }
        }
    }

    fn leave(&mut self, slot: &Slot, now: Time) {
        let node = slot.record.id;
        match (slot.sight, slot.kill_at) {
            // Before it can be told anything.
            (Sight::Found, _) => self.steps.push(Step::Adopt { node }),
            (Sight::Unseen { since }, _) => self.wait_for_a_sign(node, since, now),
            (Sight::Held { .. }, None) => self.steps.push(Step::Stop { node }),
            (Sight::Held { .. }, Some(kill_at)) => self.at(kill_at, now, Step::Kill { node }),
            (Sight::Ended, _) => self.steps.push(Step::Forget { node }),
        }
    }

    fn wait_for_a_sign(&mut self, node: Uuid, since: Time, now: Time) {
        self.at(since.after_ms(UNSEEN_MS), now, Step::Forget { node });
    }

    fn at(&mut self, due: Time, now: Time, step: Step) {
        if due <= now {
            self.steps.push(step);
        } else {
            self.wake_at = Some(self.wake_at.map_or(due, |earlier| earlier.min(due)));
        }
    }
}

#[cfg(test)]
mod tests;
