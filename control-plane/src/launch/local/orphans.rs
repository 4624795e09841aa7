//! Nodes that nobody has a record of: left by a database that was replaced, or by a start that was cut short.
//!
//! The rule a newcomer would break: the folder goes after the process, so that a control plane that is killed in between
//! finds the process again.

use super::folders::Folders;
use super::process::{Process, lives};
use crate::lease::Term;
use rustix::process::Signal;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Ends the process in a node's folder, if there is one, and takes the folder away.
pub(super) async fn end(folders: Folders, node: Uuid, grace: Duration, term: Term) {
    let process = folders
        .process(node)
        .and_then(|(identity, _)| Process::find(identity, node));
    if let Some(process) = process {
        tracing::warn!(node.id = %node, process.pid = process.identity.pid, "stopping a node that nobody has a record of");
        for (signal, patience) in [(Signal::TERM, grace), (Signal::KILL, grace)] {
            if !term.holds() {
                return;
            }
            if let Err(error) = process.signal(signal) {
                tracing::error!(node.id = %node, %error, "a node cannot be stopped");
                return;
            }
            let end = Instant::now() + patience;
            while lives(process.identity) && Instant::now() < end {
                sleep(LOOK_EVERY).await;
            }
        }
        if lives(process.identity) {
            tracing::error!(node.id = %node, "a node cannot be stopped");
            return;
        }
    }
    if term.holds()
        && let Err(error) = folders.remove(node)
    {
        tracing::error!(node.id = %node, %error, "the folder of a node cannot be removed");
    }
}
