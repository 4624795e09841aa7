//! Which nodes are on the line here, and what they have acknowledged.
//!
//! The rule a newcomer would break: a node that dials again is on two streams for a while, and only the later one speaks
//! for it. What the earlier one says at its end is not heard.

use castoff_wire::proto::Position;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A node of a deployment. Another deployment's token that names the same node is another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NodeKey {
    pub(super) deployment_id: Uuid,
    pub(super) node_id: Uuid,
}

/// All nodes on the line with this replica.
pub(super) struct Sessions {
    open: Mutex<Open>,
    acks: watch::Sender<()>,
}

#[derive(Default)]
struct Open {
    count: u64,
    by_node: HashMap<NodeKey, OpenSession>,
}

struct OpenSession {
    number: u64,
    replaced: CancellationToken,
    /// Epoch and version.
    acked: Option<(u64, u64)>,
}

/// One stream of one node.
pub(super) struct Session {
    sessions: Arc<Sessions>,
    pub(super) node: NodeKey,
    number: u64,
    replaced: CancellationToken,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self {
            open: Mutex::default(),
            acks: watch::channel(()).0,
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node's new stream; an earlier one of the same node is told to end.
    pub(super) fn begin(self: &Arc<Self>, node: NodeKey) -> Session {
        let replaced = CancellationToken::new();
        let mut open = self.open();
        open.count += 1;
        let number = open.count;
        let session = OpenSession {
            number,
            replaced: replaced.clone(),
            acked: None,
        };
        if let Some(earlier) = open.by_node.insert(node, session) {
            earlier.replaced.cancel();
        }
        drop(open);
        Session {
            sessions: Arc::clone(self),
            node,
            number,
            replaced,
        }
    }

    /// What a node has acknowledged on the stream that it has here.
    pub(super) fn acked(&self, node: NodeKey) -> Option<(u64, u64)> {
        self.open().by_node.get(&node)?.acked
    }

    /// Wakes at every acknowledgement.
    pub(super) fn acks(&self) -> watch::Receiver<()> {
        self.acks.subscribe()
    }
}

impl Session {
    /// Done when the node is on another stream.
    pub(super) fn replaced(&self) -> CancellationToken {
        self.replaced.clone()
    }

    /// The node has this config in force.
    pub(super) fn note_ack(&self, position: &Position) {
        let mut open = self.sessions.open();
        let mine = open.by_node.get_mut(&self.node);
        if let Some(mine) = mine.filter(|mine| mine.number == self.number) {
            mine.acked = Some((position.epoch, position.version));
        }
        drop(open);
        self.sessions.acks.send_replace(());
    }

    /// Does something while this is still the node's stream.
    pub(super) fn while_current(&self, act: impl FnOnce()) {
        let open = self.sessions.open();
        if open
            .by_node
            .get(&self.node)
            .is_some_and(|mine| mine.number == self.number)
        {
            act();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut open = self.sessions.open();
        if open
            .by_node
            .get(&self.node)
            .is_some_and(|mine| mine.number == self.number)
        {
            open.by_node.remove(&self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_stream_of_a_node_speaks_for_it() {
        let sessions = Arc::new(Sessions::new());
        let node = NodeKey {
            deployment_id: Uuid::from_u128(1),
            node_id: Uuid::from_u128(2),
        };
        let at = |version| Position {
            epoch: 1,
            version,
            digest: Vec::new(),
        };
        let first = sessions.begin(node);
        first.note_ack(&at(3));
        let second = sessions.begin(node);
        assert!(first.replaced().is_cancelled() && !second.replaced().is_cancelled());
        assert_eq!(sessions.acked(node), None, "a new stream has acknowledged nothing");
        second.note_ack(&at(4));
        first.note_ack(&at(3));
        first.while_current(|| panic!("it was replaced"));
        drop(first);
        assert_eq!(sessions.acked(node), Some((1, 4)));
        let elsewhere = NodeKey {
            deployment_id: Uuid::from_u128(9),
            ..node
        };
        drop(sessions.begin(elsewhere));
        assert_eq!(
            sessions.acked(node),
            Some((1, 4)),
            "another deployment's node of that id"
        );
        drop(second);
        assert_eq!(sessions.acked(node), None);
    }
}
