//! Which deployment listens on which port: one stable port each, given at the first start and kept.
//!
//! The rule a newcomer would break: when the port of a deployment is taken by another program, the deployment says so and
//! waits; its callers know that port, and another one would be of no use to them.

use super::handover;
use super::listener::{Listener, NotOpen};
use crate::launch::{NodeBook, Wanted};
use crate::store::Error;
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use uuid::Uuid;

/// Why something was not done for a deployment.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// To be tried again, and of no interest to the deployment's people.
    #[error(transparent)]
    Store(#[from] Error),
    /// In words for the deployment's people.
    #[error("{0}")]
    Told(String),
}

/// The listening sockets that are open.
#[derive(Debug)]
pub(super) struct Ports {
    range: RangeInclusive<u16>,
    open: HashMap<Uuid, Listener>,
}

impl Ports {
    pub(super) fn new(range: RangeInclusive<u16>) -> Self {
        Self {
            range,
            open: HashMap::new(),
        }
    }

    pub(super) fn of(&self, deployment: Uuid) -> Option<&Listener> {
        self.open.get(&deployment)
    }

    /// Sees to it that a deployment's socket is open. `taken` are all ports given; `folders` those of its living nodes.
    pub(super) async fn open(
        &mut self,
        wanted: &Wanted,
        taken: &HashSet<u16>,
        folders: &[PathBuf],
        book: &dyn NodeBook,
    ) -> Result<(), Trouble> {
        if self.open.contains_key(&wanted.deployment_id) {
            return Ok(());
        }
        let listener = match wanted.port {
            Some(port) => reopen(port, folders).await?,
            None => self.choose(wanted.deployment_id, taken, book).await?,
        };
        self.open.insert(wanted.deployment_id, listener);
        Ok(())
    }

    async fn choose(&self, deployment: Uuid, taken: &HashSet<u16>, book: &dyn NodeBook) -> Result<Listener, Trouble> {
        for port in self.range.clone().filter(|port| !taken.contains(port)) {
            // Another program's port is passed over here, and only here.
            if let Ok(listener) = Listener::bind(port)
                && book.assign_port(deployment, port).await?
            {
                return Ok(listener);
            }
        }
        let (first, last) = (self.range.start(), self.range.end());
        Err(Trouble::Told(format!("no port from {first} to {last} is free")))
    }

    /// Closes the sockets of all deployments but these.
    pub(super) async fn keep_only(&mut self, listening: &HashSet<Uuid>) {
        for (_, listener) in self.open.extract_if(|deployment, _| !listening.contains(deployment)) {
            listener.close().await;
        }
    }
}

/// Opens a port again. If it is taken, then by a living node, one hopes.
async fn reopen(port: u16, folders: &[PathBuf]) -> Result<Listener, Trouble> {
    let held = match Listener::bind(port) {
        Ok(listener) => return Ok(listener),
        Err(held @ NotOpen::Held(_)) => held,
        Err(other) => return Err(Trouble::Told(other.to_string())),
    };
    for folder in folders {
        match handover::fetch(folder, port).await {
            Ok(listener) => return Ok(listener),
            Err(error) => {
                tracing::debug!(folder = %folder.display(), %error, "a node did not hand the listening socket over");
            }
        }
    }
    Err(Trouble::Told(format!(
        "{held}: once it ends, the deployment listens again"
    )))
}
