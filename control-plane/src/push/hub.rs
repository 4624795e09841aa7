//! What all streams share: the newest config of each deployment, loaded once whatever the number of its nodes.

use super::ledger::Ledger;
use super::link::Framed;
use super::sessions::Sessions;
use super::share::{Share, Told};
use crate::authn::Secret;
use crate::store::{Change, Error, StoredConfig, SystemStore};
use castoff_wire::proto::{Position, Signed, ToNode, to_node};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A config on its way to nodes.
pub(super) struct Pushed {
    pub(super) position: Position,
    /// The message that carries it, for every node the same bytes.
    pub(super) snapshot: Framed,
    /// Likewise for what changed, for nodes that stand at this position.
    delta: Option<(Position, Framed)>,
}

impl Pushed {
    /// This config after another, if there was one.
    fn after(before: Option<&Self>, stored: StoredConfig, store: &SystemStore) -> Self {
        let signed = Signed {
            config: stored.config,
            key_id: stored.key_id,
            signature: stored.signature,
        };
        let delta = before.and_then(|before| {
            let Some(to_node::Message::Snapshot(earlier)) = before.snapshot.message() else {
                return None;
            };
            let message = Some(to_node::Message::Delta(store.delta(&earlier, &signed)?));
            Some((before.position.clone(), Framed::new(&ToNode { message })))
        });
        let message = Some(to_node::Message::Snapshot(signed));
        Self {
            position: Position {
                epoch: stored.epoch,
                version: stored.version,
                digest: stored.digest,
            },
            snapshot: Framed::new(&ToNode { message }),
            delta,
        }
    }

    /// The message that says what changed, for a node that stands there.
    pub(super) fn since(&self, position: Option<&Position>) -> Option<&Framed> {
        let (from, delta) = self.delta.as_ref()?;
        (Some(from) == position).then_some(delta)
    }
}

/// What streams look at: the config to be in force; none when the deployment is gone.
pub(super) type Newest = Option<Arc<Pushed>>;

/// The tokens that a deployment's nodes may come with.
#[derive(Clone, Default)]
pub(super) struct Tokens {
    /// Hashes, the newest last. Empty before they were looked for, and when the deployment is gone.
    pub(super) valid: Vec<Vec<u8>>,
    /// The newest itself, while an older one is valid, too: its nodes are to change over.
    pub(super) newest: Option<Secret>,
}

/// Configs are looked for this often, told or not: another replica may have raised one.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Hub {
    pub(super) store: SystemStore,
    pub(super) sessions: Arc<Sessions>,
    pub(super) ledger: Ledger,
    /// Where nodes can dial.
    pub(super) addresses: watch::Sender<Vec<String>>,
    followed: Mutex<HashMap<Uuid, Followed>>,
}

/// A deployment with nodes on the line.
struct Followed {
    newest: watch::Sender<Newest>,
    tokens: watch::Sender<Tokens>,
    /// How many nodes share its rate limits.
    share: Share,
    /// Held by whoever asks the database: others wait for the answer, and none overtakes another.
    loading: Arc<tokio::sync::Mutex<()>>,
}

/// Where a config stands.
fn order(newest: &Newest) -> Option<(u64, u64)> {
    newest
        .as_ref()
        .map(|pushed| (pushed.position.epoch, pushed.position.version))
}

impl Hub {
    pub(super) fn new(store: SystemStore) -> Self {
        Self {
            sessions: Arc::new(Sessions::new()),
            ledger: Ledger::new(store.clone()),
            store,
            addresses: watch::channel(Vec::new()).0,
            followed: Mutex::default(),
        }
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<Uuid, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The config of a deployment, now and from now on, for a node that has one already or none. A thousand nodes that
    /// come at once are one question to the database.
    pub(super) async fn follow(
        &self,
        deployment_id: Uuid,
        have: Option<&Position>,
    ) -> Result<(watch::Receiver<Newest>, watch::Receiver<Tokens>, Told), Error> {
        // Subscribed before it is looked for: what is raised in between is told.
        let receivers = {
            let mut followed = self.followed();
            let one = followed.entry(deployment_id).or_insert_with(|| Followed {
                newest: watch::channel(None).0,
                tokens: watch::Sender::default(),
                share: Share::default(),
                loading: Arc::default(),
            });
            (one.newest.subscribe(), one.tokens.subscribe(), one.share.told())
        };
        // A node that has a newer one got it from another replica, before this one looked.
        let have = have.map(|have| (have.epoch, have.version));
        self.load_unless(deployment_id, |known| known.is_some() && known >= have)
            .await?;
        self.count_first(deployment_id, &receivers.2).await?;
        Ok(receivers)
    }

    /// The first node that comes is told how many there were when they last said so.
    async fn count_first(&self, deployment_id: Uuid, told: &Told) -> Result<(), Error> {
        let loading = self.followed().get(&deployment_id).map(|one| Arc::clone(&one.loading));
        let Some(loading) = loading.filter(|_| told.nodes() == 0) else {
            return Ok(());
        };
        let _turn = loading.lock().await;
        if told.nodes() > 0 {
            return Ok(());
        }
        let nodes = self.store.last_serving_nodes(deployment_id).await?;
        if let Some(one) = self.followed().get_mut(&deployment_id) {
            one.share.count(nodes, Instant::now());
        }
        Ok(())
    }

    /// Looks for raised configs until it is told to stop.
    pub(super) async fn watch(self: Arc<Self>, stopping: CancellationToken) {
        let mut changes = self.store.changes();
        // Not a sleep in the loop: changes of other kinds come often, and each would put it off.
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let looked = tokio::select! {
                () = stopping.cancelled() => return,
                told = changes.recv() => match told {
                    Ok(Change::Config(id) | Change::Deployment(id)) => self.load_unless(id, |_| false).await,
                    Ok(
                        Change::Node(_)
                        | Change::Event
                        | Change::Account(_)
                        | Change::Infrastructure(_)
                        | Change::Copy(_)
                        | Change::Lease,
                    ) => continue,
                    // Some were missed: everything is looked at.
                    Err(_) => self.look().await,
                },
                _ = look.tick() => self.look().await,
            };
            if let Err(error) = looked {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "configs could not be looked for"
                );
            }
        }
    }

    /// Compares every followed deployment's position with the database; forgets those that nobody follows.
    async fn look(&self) -> Result<(), Error> {
        let ids: Vec<Uuid> = {
            let mut followed = self.followed();
            followed.retain(|_, one| one.newest.receiver_count() > 0);
            followed.keys().copied().collect()
        };
        if ids.is_empty() {
            return Ok(());
        }
        let stored: HashMap<Uuid, (u64, u64)> = self
            .store
            .config_positions()
            .await?
            .into_iter()
            .map(|(id, epoch, version)| (id, (epoch, version)))
            .collect();
        for id in ids {
            let stored = stored.get(&id).copied();
            self.load_unless(id, |known| known == stored).await?;
        }
        self.look_for_tokens().await?;
        self.look_for_nodes().await
    }

    /// Counts the nodes that share the rate limits of a deployment.
    async fn look_for_nodes(&self) -> Result<(), Error> {
        let serving = self.store.serving_nodes().await?;
        let now = Instant::now();
        for (id, one) in self.followed().iter_mut() {
            one.share.count(serving.get(id).copied().unwrap_or(0), now);
        }
        Ok(())
    }

    /// Tells those that follow a deployment which tokens are valid, when that has changed.
    async fn look_for_tokens(&self) -> Result<(), Error> {
        let mut stored: HashMap<Uuid, Vec<Vec<u8>>> = HashMap::new();
        for (id, hash) in self.store.valid_node_tokens().await? {
            stored.entry(id).or_default().push(hash);
        }
        let changed: Vec<(Uuid, Vec<Vec<u8>>)> = {
            let followed = self.followed();
            let now = followed
                .iter()
                .map(|(id, one)| (*id, stored.remove(id).unwrap_or_default(), one));
            now.filter(|(_, valid, one)| one.tokens.borrow().valid != *valid)
                .map(|(id, valid, _)| (id, valid))
                .collect()
        };
        for (id, valid) in changed {
            let newest = match valid.len() {
                0 | 1 => None,
                _ => self.store.newest_node_token(id).await?,
            };
            if let Some(one) = self.followed().get(&id) {
                one.tokens.send_replace(Tokens { valid, newest });
            }
        }
        Ok(())
    }

    /// Asks the database for a followed deployment's config, unless what is known is enough once it is this one's turn.
    async fn load_unless(&self, deployment_id: Uuid, enough: impl Fn(Option<(u64, u64)>) -> bool) -> Result<(), Error> {
        let Some(loading) = self.followed().get(&deployment_id).map(|one| Arc::clone(&one.loading)) else {
            return Ok(());
        };
        let _turn = loading.lock().await;
        let known = self
            .followed()
            .get(&deployment_id)
            .and_then(|one| order(&one.newest.borrow()));
        if enough(known) {
            return Ok(());
        }
        let stored = self.store.config(deployment_id).await?;
        let before = self
            .followed()
            .get(&deployment_id)
            .and_then(|one| one.newest.borrow().clone());
        let newest = stored.map(|stored| Arc::new(Pushed::after(before.as_deref(), stored, &self.store)));
        if let Some(one) = self.followed().get(&deployment_id) {
            one.newest.send_if_modified(|before| {
                let changed = order(before) != order(&newest);
                if changed {
                    before.clone_from(&newest);
                }
                changed
            });
        }
        Ok(())
    }
}
