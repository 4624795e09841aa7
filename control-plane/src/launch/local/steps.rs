//! Carrying out what was planned, one step at a time. Thin: nothing is decided here.
//!
//! The rule a newcomer would break: the order within a step. What a killed control plane must find again is written
//! before the process is started or signalled; what proves an end is taken away before a start is announced.

use super::command;
use super::plan::{self, Recorded, Slot, Step};
use super::ports::Trouble;
use super::process::{Identity, Process};
use super::supervisor::{Held, Supervisor};
use crate::domain::Limits;
use crate::launch::{Wanted, book::grace_ms};
use crate::store::{LaunchedNode, NodeState};
use rustix::process::Signal;
use std::io;
use uuid::Uuid;

impl Supervisor {
    pub(super) async fn carry_out(&mut self, step: Step, wanted: &[Wanted], slots: &[Slot]) -> Result<(), Trouble> {
        let record = |node: Uuid| {
            slots
                .iter()
                .map(|slot| &slot.record)
                .find(|record| record.id == node)
                .cloned()
        };
        match step {
            Step::Add { deployment } => self.start(fresh(deployment), false).await,
            Step::Start { node } => match record(node) {
                Some(record) => self.start(record, true).await,
                None => Ok(()),
            },
            Step::Adopt { node } => match record(node) {
                Some(record) => self.adopt(record).await,
                None => Ok(()),
            },
            Step::Stop { node } => match record(node) {
                Some(record) => self.stop(record, wanted).await,
                None => Ok(()),
            },
            Step::Kill { node } => {
                tracing::warn!(node.id = %node, "a node did not end when asked and is killed");
                self.signal(node, Signal::KILL)
            }
            Step::Forget { node } => {
                self.folders
                    .remove(node)
                    .map_err(told("the folder of a node cannot be removed"))?;
                self.book.forget(node).await?;
                self.let_go(node);
                Ok(())
            }
            Step::Trust { node } => {
                if let Some(mut record) = record(node) {
                    record.state = NodeState::Starting;
                    self.book.save(&record, None).await?;
                }
                Ok(())
            }
        }
    }

    async fn start(&mut self, record: LaunchedNode, again: bool) -> Result<(), Trouble> {
        let (node, deployment) = (record.id, record.deployment_id);
        // Without a port there is nothing to start for, and why has been said.
        let listening = match self.ports.of(deployment).map(|listener| listener.stdin()) {
            None => return Ok(()),
            Some(listening) => listening.map_err(told("the listening socket cannot be shared"))?,
        };
        let Some(join) = self.joins.join(deployment).await? else {
            return Ok(());
        };
        let join = self.folders.write_join(deployment, &join);
        let join = join.map_err(told("the join document cannot be written"))?;
        self.folders
            .prepare(node)
            .map_err(told("the folder of a node cannot be made"))?;
        let mut record = if again { plan::starting(record) } else { record };
        self.book.save(&record, None).await?;
        let command = command::of_node(&self.settings, &self.folders, node, &join, listening);
        self.may_act()?;
        let spawned = command.and_then(|command| {
            let process = Process::spawn(command)?;
            // If this fails its end is noticed at the next look.
            let watched = process.watch(self.wake.clone());
            watched.unwrap_or_else(|error| tracing::warn!(node.id = %node, %error, "a node cannot be watched"));
            Ok(process)
        });
        match spawned {
            Ok(process) => {
                tracing::info!(node.id = %node, deployment.id = %deployment, process.pid = process.identity.pid, "node started");
                self.hold(node, process);
                self.write_down(&mut record).await?;
                Ok(())
            }
            Err(error) => {
                let how = format!("{} could not be started: {error}", self.settings.program.display());
                self.bury(record, &how, 0).await?;
                Ok(())
            }
        }
    }

    async fn adopt(&mut self, mut record: LaunchedNode) -> Result<(), Trouble> {
        let node = record.id;
        let identity = match Recorded::of(&record) {
            Recorded::Started { pid, start_time } => Some(Identity { pid, start_time }),
            _ => self.folders.process(node).map(|(identity, _)| identity),
        };
        // If it has ended since it was seen, the next look says so.
        let Some(process) = identity.and_then(|identity| Process::find(identity, node)) else {
            return Ok(());
        };
        process
            .watch(self.wake.clone())
            .map_err(told("a node cannot be watched"))?;
        tracing::info!(node.id = %node, deployment.id = %record.deployment_id, process.pid = process.identity.pid, "node adopted");
        self.hold(node, process);
        self.write_down(&mut record).await?;
        Ok(())
    }

    async fn stop(&mut self, mut record: LaunchedNode, wanted: &[Wanted]) -> Result<(), Trouble> {
        let node = record.id;
        record.state = NodeState::Stopping;
        self.book.save(&record, None).await?;
        let of = wanted
            .iter()
            .find(|wanted| wanted.deployment_id == record.deployment_id);
        let grace = of.map_or_else(|| grace_ms(&Limits::default()), |wanted| wanted.grace_ms);
        let kill_at = self.clock.now().after_ms(grace);
        if let Some(held) = self.held.get_mut(&node) {
            held.kill_at = Some(kill_at);
        }
        tracing::info!(node.id = %node, deployment.id = %record.deployment_id, grace_ms = grace, "stopping a node");
        self.signal(node, Signal::TERM)
    }

    fn signal(&self, node: Uuid, signal: Signal) -> Result<(), Trouble> {
        match self.held.get(&node) {
            Some(held) => held.process.signal(signal).map_err(told("a node cannot be signalled")),
            None => Ok(()),
        }
    }

    fn hold(&mut self, node: Uuid, process: Process) {
        let held = Held {
            process,
            since: self.clock.now(),
            kill_at: None,
            introduced: false,
        };
        self.held.insert(node, held);
    }
}

/// A node that was not there before. Its id grows with time: the plan tells old from young by it.
fn fresh(deployment_id: Uuid) -> LaunchedNode {
    LaunchedNode {
        id: Uuid::now_v7(),
        deployment_id,
        state: NodeState::Starting,
        pid: None,
        start_time: None,
        ops_address: None,
        restarts: 0,
        exits: Vec::new(),
    }
}

fn told(what: &'static str) -> impl FnOnce(io::Error) -> Trouble {
    move |error| Trouble::Told(format!("{what}: {error}"))
}
