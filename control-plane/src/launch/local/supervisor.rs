//! The loop that keeps nodes as they are wanted: look, plan, act.
//!
//! It is woken by a change, by the end of a process, when something is due, and every second anyway. The rule a newcomer
//! would break: it is the only one that starts and ends nodes, and does one thing after the other; so a second process for
//! one node id cannot come about by a race within the control plane.

use super::folders::Folders;
use super::plan::{self, Life, Plan, Recorded, Sight, Slot, Step};
use super::ports::{Ports, Trouble};
use super::process::{CLEAN, Identity, Process};
use super::{Settings, orphans};
use crate::clock::Clock;
use crate::domain::{Limits, Time};
use crate::launch::{JoinSource, Leave, NodeBook, Wanted, book::grace_ms};
use crate::lease::Term;
use crate::store::{Error, LaunchedNode, NodeState};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// Looks so often without being woken.
const LOOK_EVERY_MS: i64 = 1_000;
/// Ends in a row that are told as events; further ones only count.
const TOLD_ENDS: u32 = 3;

/// A process that runs.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) process: Process,
    /// Its start, or when it was adopted.
    pub(super) since: Time,
    /// When it will be killed, once told to end.
    pub(super) kill_at: Option<Time>,
    /// Whether it has said where its health is.
    pub(super) introduced: bool,
}

/// All that the launcher knows.
pub(super) struct Supervisor {
    pub(super) settings: Settings,
    pub(super) folders: Folders,
    pub(super) book: Arc<dyn NodeBook>,
    pub(super) joins: Arc<dyn JoinSource>,
    pub(super) clock: Clock,
    pub(super) wake: Arc<Notify>,
    /// Outside of it nothing is done.
    pub(super) term: Term,
    pub(super) held: HashMap<Uuid, Held>,
    pub(super) ports: Ports,
    pub(super) failures: HashMap<Uuid, u32>,
    unseen: HashMap<Uuid, Time>,
    /// The deployments at the last look.
    known: HashSet<Uuid>,
    /// What nobody has a record of was looked for.
    swept: bool,
}

/// Why it looks after the nodes no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The control plane leaves.
    Left,
    /// Another control plane acts.
    Overtaken,
}

/// How a look ended.
struct Looked {
    /// What was done changes what is to be done.
    again: bool,
    /// When something is due.
    wake_at: Option<Time>,
    /// Nodes that are not forgotten yet.
    left: usize,
}

impl Supervisor {
    pub(super) fn new(
        settings: Settings,
        folders: Folders,
        (term, book): (Term, Arc<dyn NodeBook>),
        joins: Arc<dyn JoinSource>,
        clock: Clock,
        wake: Arc<Notify>,
    ) -> Self {
        let ports = Ports::new(settings.ports.clone());
        Self {
            settings,
            folders,
            book,
            joins,
            clock,
            wake,
            term,
            held: HashMap::new(),
            ports,
            failures: HashMap::new(),
            unseen: HashMap::new(),
            known: HashSet::new(),
            swept: false,
        }
    }

    /// Works until the control plane leaves, or another one acts. What it has started goes on.
    pub(super) async fn run(mut self, leave: watch::Receiver<Leave>) -> Ended {
        let ended = self.look_after(leave).await;
        self.held.drain().for_each(|(_, held)| held.process.let_go());
        ended
    }

    async fn look_after(&mut self, mut leave: watch::Receiver<Leave>) -> Ended {
        let mut failing = false;
        let term = self.term.clone();
        loop {
            let leaving = *leave.borrow_and_update();
            if leaving == Leave::WithoutNodes {
                return Ended::Left;
            }
            let looked = self.look(leaving == Leave::WithNodes).await;
            match &looked {
                Ok(looked) if leaving == Leave::WithNodes && looked.left == 0 => return Ended::Left,
                Ok(_) => failing = false,
                // Once for a database that is away, not every second.
                Err(_) if failing => {}
                Err(error) => {
                    failing = true;
                    tracing::error!(error = error as &dyn std::error::Error, "nodes cannot be looked after");
                }
            }
            let wait = match looked {
                Ok(Looked { again: true, .. }) => continue,
                Ok(Looked { wake_at: Some(due), .. }) => due.ms() - self.clock.now().ms(),
                _ => LOOK_EVERY_MS,
            };
            let wait = Duration::from_millis(u64::try_from(wait.clamp(0, LOOK_EVERY_MS)).unwrap_or(0));
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
                () = term.over() => return Ended::Overtaken,
                changed = leave.changed() => if changed.is_err() { return Ended::Left },
            }
        }
    }

    async fn look(&mut self, leaving: bool) -> Result<Looked, Error> {
        let mut wanted = self.book.desired().await?;
        if leaving {
            wanted.iter_mut().for_each(|wanted| wanted.enabled = false);
        }
        let records = self.book.records().await?;
        self.may_act()?;
        self.sweep(&wanted, &records);
        let now = self.clock.now();
        let mut slots = Vec::with_capacity(records.len());
        for record in records {
            slots.push(self.see(record, now).await?);
        }
        let mut troubles = self.open_ports(&wanted, &slots).await?;
        // Before any node is asked to end: it takes no connection from then on, and what waits would be reset.
        let listening = wanted.iter().filter(|wanted| wanted.enabled);
        self.ports
            .keep_only(&listening.map(|wanted| wanted.deployment_id).collect())
            .await;
        let Plan { steps, wake_at } = plan::plan(&wanted, &slots, now);
        let mut again = false;
        for step in steps {
            let deployment = deployment_of(step, &slots);
            self.may_act()?;
            match self.carry_out(step, &wanted, &slots).await {
                Ok(()) => again |= matches!(step, Step::Adopt { .. } | Step::Forget { .. }),
                Err(Trouble::Told(trouble)) => {
                    troubles.entry(deployment).or_insert(trouble);
                }
                Err(Trouble::Store(error)) => return Err(error),
            }
        }
        self.tell(&wanted, &troubles).await?;
        Ok(Looked {
            again,
            wake_at,
            left: slots.len(),
        })
    }

    /// Asked before whatever is done outside of the database, where nothing else keeps two from doing it.
    pub(super) fn may_act(&self) -> Result<(), Error> {
        self.term.holds().then_some(()).ok_or(Error::Overtaken)
    }

    /// What is known of a recorded node. An end that was not noticed before is recorded here.
    async fn see(&mut self, mut record: LaunchedNode, now: Time) -> Result<Slot, Error> {
        let node = record.id;
        self.failures
            .entry(node)
            .or_insert_with(|| plan::failures_of(&record, now));
        let mut kill_at = None;
        let sight = if let Some(held) = self.held.get_mut(&node) {
            kill_at = held.kill_at;
            let since = held.since;
            if let Some(how) = held.process.ended() {
                record = self.bury(record, &how, now.ms() - since.ms()).await?;
                self.held.remove(&node);
                Sight::Ended
            } else {
                self.write_down(&mut record).await?;
                Sight::Held { since }
            }
        } else {
            let said = match Recorded::of(&record) {
                Recorded::Started { pid, start_time } => Some(Identity { pid, start_time }),
                Recorded::Announced => self.folders.process(node).map(|(identity, _)| identity),
                Recorded::Ended => None,
            };
            match said {
                Some(identity) if Process::find(identity, node).is_some() => Sight::Found,
                Some(_) => {
                    record = self.bury(record, "ended while the control plane was away", 0).await?;
                    Sight::Ended
                }
                None if Recorded::of(&record) == Recorded::Ended => Sight::Ended,
                None => Sight::Unseen {
                    since: *self.unseen.entry(node).or_insert(now),
                },
            }
        };
        Ok(Slot {
            record,
            sight,
            failures: self.failures.get(&node).copied().unwrap_or(0),
            kill_at,
        })
    }

    /// Records which process a node is, once it is known, and where its health is, once it has said so.
    pub(super) async fn write_down(&mut self, record: &mut LaunchedNode) -> Result<(), Error> {
        let Some(held) = self.held.get_mut(&record.id) else {
            return Ok(());
        };
        let Identity { pid, start_time } = held.process.identity;
        let mut news = (record.pid, record.start_time) != (Some(pid), Some(start_time));
        (record.pid, record.start_time) = (Some(pid), Some(start_time));
        if !held.introduced
            && let Some((identity, ops_address)) = self.folders.process(record.id)
            && identity == held.process.identity
        {
            held.introduced = true;
            news |= record.ops_address.as_ref() != Some(&ops_address);
            record.ops_address = Some(ops_address);
        }
        if news {
            self.book.save(record, None).await?;
        }
        Ok(())
    }

    /// Records the end of a process.
    pub(super) async fn bury(&mut self, record: LaunchedNode, how: &str, lived_ms: i64) -> Result<LaunchedNode, Error> {
        let node = record.id;
        let how = match self.folders.last_words(node) {
            Some(words) if how.starts_with("exit code") && how != CLEAN => format!("{how}: {words}"),
            _ => how.to_owned(),
        };
        let before = self.failures.get(&node).copied().unwrap_or(0);
        let life = Life {
            ms: lived_ms,
            clean: how == CLEAN,
        };
        let (record, failures) = plan::ended(record, before, life, self.clock.now());
        self.book.save(&record, Some(&how)).await?;
        self.failures.insert(node, failures);
        if record.state == NodeState::Stopping {
            tracing::info!(node.id = %node, deployment.id = %record.deployment_id, end = how, "node ended");
        } else {
            tracing::warn!(node.id = %node, deployment.id = %record.deployment_id, end = how, failures, "node ended");
            if failures <= TOLD_ENDS {
                let message = format!("node {node} ended: {how}");
                self.book.note(record.deployment_id, "node-ended", &message).await?;
            }
        }
        Ok(record)
    }

    /// Opens the ports of what is switched on; says for which deployments it could not.
    async fn open_ports(&mut self, wanted: &[Wanted], slots: &[Slot]) -> Result<HashMap<Uuid, String>, Error> {
        let taken: HashSet<u16> = wanted.iter().filter_map(|wanted| wanted.port).collect();
        let mut troubles = HashMap::new();
        for wanted in wanted.iter().filter(|wanted| wanted.enabled) {
            let living = slots.iter().filter(|slot| {
                slot.record.deployment_id == wanted.deployment_id
                    && matches!(slot.sight, Sight::Found | Sight::Held { .. })
            });
            let folders: Vec<PathBuf> = living.map(|slot| self.folders.node(slot.record.id)).collect();
            match self.ports.open(wanted, &taken, &folders, self.book.as_ref()).await {
                Ok(()) => {}
                Err(Trouble::Told(trouble)) => {
                    troubles.insert(wanted.deployment_id, trouble);
                }
                Err(Trouble::Store(error)) => return Err(error),
            }
        }
        Ok(troubles)
    }

    /// Says what cannot be done, where this is news.
    async fn tell(&self, wanted: &[Wanted], troubles: &HashMap<Uuid, String>) -> Result<(), Error> {
        for wanted in wanted {
            let trouble = troubles.get(&wanted.deployment_id);
            if trouble != wanted.problem.as_ref() {
                if let Some(trouble) = trouble {
                    tracing::error!(deployment.id = %wanted.deployment_id, trouble, "a deployment cannot be launched");
                }
                let trouble = trouble.map(String::as_str);
                self.book.set_problem(wanted.deployment_id, trouble).await?;
            }
        }
        Ok(())
    }

    /// Takes away what nobody has a record of: nodes at the first look, join documents whenever a deployment is gone.
    fn sweep(&mut self, wanted: &[Wanted], records: &[LaunchedNode]) {
        let deployments: HashSet<Uuid> = wanted
            .iter()
            .map(|wanted| wanted.deployment_id)
            .chain(records.iter().map(|record| record.deployment_id))
            .collect();
        let mut gone: Vec<Uuid> = self.known.difference(&deployments).copied().collect();
        if !self.swept {
            self.swept = true;
            let grace = Duration::from_millis(u64::try_from(grace_ms(&Limits::default())).unwrap_or(0));
            let recorded: HashSet<Uuid> = records.iter().map(|record| record.id).collect();
            let orphans = listed(self.folders.node_ids())
                .into_iter()
                .filter(|node| !recorded.contains(node));
            for orphan in orphans {
                tokio::spawn(orphans::end(self.folders.clone(), orphan, grace, self.term.clone()));
            }
            let folders = listed(self.folders.deployment_ids());
            gone.extend(
                folders
                    .into_iter()
                    .filter(|deployment| !deployments.contains(deployment)),
            );
        }
        for deployment in gone {
            if let Err(error) = self.folders.remove_deployment(deployment) {
                tracing::warn!(deployment.id = %deployment, %error, "a join document was not removed");
            }
        }
        self.known = deployments;
    }

    pub(super) fn let_go(&mut self, node: Uuid) {
        self.held.remove(&node);
        self.failures.remove(&node);
        self.unseen.remove(&node);
    }
}

fn listed(ids: std::io::Result<Vec<Uuid>>) -> Vec<Uuid> {
    ids.unwrap_or_else(|error| {
        tracing::warn!(%error, "the folders of nodes cannot be listed");
        Vec::new()
    })
}

fn deployment_of(step: Step, slots: &[Slot]) -> Uuid {
    let node = match step {
        Step::Add { deployment } => return deployment,
        Step::Adopt { node }
        | Step::Start { node }
        | Step::Stop { node }
        | Step::Kill { node }
        | Step::Forget { node }
        | Step::Trust { node } => node,
    };
    let slot = slots.iter().find(|slot| slot.record.id == node);
    slot.map_or(Uuid::nil(), |slot| slot.record.deployment_id)
}
