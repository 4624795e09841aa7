//! Which nodes are on the line here, and what they have acknowledged.
//!
//! The rule a newcomer would break: a node that dials again is on two streams for a while, and only the later one speaks
//! for it. What the earlier one says at its end is not heard.

use castoff_wire::proto::Position;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
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
}

#[derive(Default)]
struct Open {
    count: u64,
    by_node: HashMap<NodeKey, OpenSession>,
    /// Who waits for the nodes of a deployment, by number.
    waiting: HashMap<Uuid, HashMap<u64, Waiting>>,
}

/// What somebody waits for. Each acknowledgement takes its node out: that costs the same however many nodes there are.
struct Waiting {
    /// Epoch and version.
    config: (u64, u64),
    missing: HashSet<Uuid>,
    all_have_it: Arc<Notify>,
}

/// Somebody's wait for acknowledgements; it ends when this is dropped.
pub(super) struct Wait<'a> {
    sessions: &'a Sessions,
    deployment_id: Uuid,
    number: u64,
    all_have_it: Arc<Notify>,
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
        Self { open: Mutex::default() }
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

    /// The nodes of a deployment that are on the line here, with what they have acknowledged.
    pub(super) fn on_line(&self, deployment_id: Uuid) -> HashMap<Uuid, Option<(u64, u64)>> {
        let open = self.open();
        let own = open
            .by_node
            .iter()
            .filter(|(node, _)| node.deployment_id == deployment_id);
        own.map(|(node, session)| (node.node_id, session.acked)).collect()
    }

    /// Waits for these nodes of a deployment to acknowledge a config or a newer one.
    pub(super) fn wait_for(
        &self,
        deployment_id: Uuid,
        config: (u64, u64),
        nodes: impl IntoIterator<Item = Uuid>,
    ) -> Wait<'_> {
        let mut guard = self.open();
        let open = &mut *guard;
        open.count += 1;
        let (number, all_have_it) = (open.count, Arc::new(Notify::new()));
        let has = |node_id| {
            let session = open.by_node.get(&NodeKey { deployment_id, node_id });
            session.is_some_and(|session| session.acked >= Some(config))
        };
        // One that acknowledged since the caller looked is heard: it is judged while none can.
        let missing: HashSet<Uuid> = nodes.into_iter().filter(|node_id| !has(*node_id)).collect();
        if missing.is_empty() {
            all_have_it.notify_one();
        }
        let waiting = Waiting {
            config,
            missing,
            all_have_it: Arc::clone(&all_have_it),
        };
        open.waiting.entry(deployment_id).or_default().insert(number, waiting);
        drop(guard);
        Wait {
            sessions: self,
            deployment_id,
            number,
            all_have_it,
        }
    }
}

impl Wait<'_> {
    /// Done when every node has it.
    pub(super) async fn all_have_it(&self) {
        self.all_have_it.notified().await;
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut open = self.sessions.open();
        if let Some(waiting) = open.waiting.get_mut(&self.deployment_id) {
            waiting.remove(&self.number);
            if waiting.is_empty() {
                open.waiting.remove(&self.deployment_id);
            }
        }
    }
}

impl Session {
    /// Done when the node is on another stream.
    pub(super) fn replaced(&self) -> CancellationToken {
        self.replaced.clone()
    }

    /// The node has this config in force.
    pub(super) fn note_ack(&self, position: &Position) {
        let acked = (position.epoch, position.version);
        let mut open = self.sessions.open();
        let mine = open.by_node.get_mut(&self.node);
        let Some(mine) = mine.filter(|mine| mine.number == self.number) else {
            return;
        };
        mine.acked = Some(acked);
        let waiting = open.waiting.get_mut(&self.node.deployment_id);
        for one in waiting.into_iter().flat_map(HashMap::values_mut) {
            if acked >= one.config && one.missing.remove(&self.node.node_id) && one.missing.is_empty() {
                one.all_have_it.notify_one();
            }
        }
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
        let acked = |node: NodeKey| {
            sessions
                .on_line(node.deployment_id)
                .get(&node.node_id)
                .copied()
                .flatten()
        };
        let first = sessions.begin(node);
        first.note_ack(&at(3));
        let second = sessions.begin(node);
        assert!(first.replaced().is_cancelled() && !second.replaced().is_cancelled());
        assert_eq!(acked(node), None, "a new stream has acknowledged nothing");
        second.note_ack(&at(4));
        first.note_ack(&at(3));
        first.while_current(|| panic!("it was replaced"));
        drop(first);
        assert_eq!(acked(node), Some((1, 4)));
        let elsewhere = NodeKey {
            deployment_id: Uuid::from_u128(9),
            ..node
        };
        drop(sessions.begin(elsewhere));
        assert_eq!(acked(node), Some((1, 4)), "another deployment's node of that id");
        drop(second);
        assert_eq!(acked(node), None);
    }

    #[tokio::test]
    async fn a_wait_is_over_with_the_last_acknowledgement() {
        let sessions = Arc::new(Sessions::new());
        let deployment_id = Uuid::from_u128(1);
        let at = |version| Position {
            epoch: 1,
            version,
            digest: Vec::new(),
        };
        let ids = [2, 3, 4].map(Uuid::from_u128);
        let nodes = ids.map(|node_id| sessions.begin(NodeKey { deployment_id, node_id }));
        let stranger = sessions.begin(NodeKey {
            deployment_id: Uuid::from_u128(9),
            node_id: ids[2],
        });
        nodes[0].note_ack(&at(7));
        let wait = sessions.wait_for(deployment_id, (1, 7), ids);
        let over = async || futures::poll!(std::pin::pin!(wait.all_have_it())).is_ready();
        nodes[1].note_ack(&at(8));
        assert!(!over().await, "the third has said nothing");
        nodes[2].note_ack(&at(6));
        stranger.note_ack(&at(7));
        assert!(
            !over().await,
            "an older config, and another deployment's node of that id"
        );
        nodes[2].note_ack(&at(7));
        assert!(over().await);
        drop(wait);
        let wait = sessions.wait_for(deployment_id, (1, 7), ids);
        let over = async || futures::poll!(std::pin::pin!(wait.all_have_it())).is_ready();
        assert!(over().await, "all have it already");
        drop(wait);
        assert!(sessions.wait_for(deployment_id, (1, 9), ids).number > 0);
        assert!(sessions.open().waiting.is_empty(), "nobody is kept who has gone");
    }
}
