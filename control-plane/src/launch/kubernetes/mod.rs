//! Pods of Kubernetes clusters, made of deployments and kept so.
//!
//! The database says what there should be, a cluster is where it runs: `facts` reads the one, `objects` builds what it
//! becomes (pure), `watch` sees what is there, `plan` compares (pure), `apply` does, `observe` says how pods are (pure). The
//! rule a newcomer would break: nothing is kept in a cluster that cannot be built again from the database.

mod apply;
mod balancer;
mod bounds;
mod clocks;
mod cluster;
mod connection;
mod copy;
mod decided;
mod dialled;
mod door;
mod duels;
mod evicted;
mod facts;
mod labels;
mod last_words;
mod live;
mod mended;
mod objects;
mod observe;
mod own;
mod plan;
mod queue;
mod recent;
mod refused;
mod renew;
mod stage;
mod unheard;
mod unpulled;
mod unready;
mod unscaled;
mod vouch;
mod waiting;
mod watch;

pub use dialled::OwnPods;
pub use door::{Clusters, Finding};
pub use own::{OwnSecret, own_namespace};

use super::{AddressSource, JoinSource, Launcher, Leave};
use crate::lease::{Term, Terms};
use crate::store::{Change, Cluster, SystemStore};
use castoff_wire::signed::Trust;
use cluster::Care;
use dialled::Names;
use facts::Facts;
use queue::Queue;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch as channel};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

/// A hint of another control plane does not come here: so often the database is asked what has changed.
const LOOK: Duration = Duration::from_secs(1);
/// Of these, so many pass between two looks at what changes seldom: infrastructures, addresses that end, tokens.
const LOOK_SELDOM: u32 = 5;

/// For what is under way when this control plane leaves. The next one does what is left.
const LAST_DEEDS: Duration = Duration::from_secs(2);

/// The launcher of infrastructures of kind kubernetes.
pub struct Kubernetes {
    store: SystemStore,
    joins: Arc<dyn JoinSource>,
    addresses: Arc<dyn AddressSource>,
    installation: Uuid,
    settings: Settings,
    names: Arc<Names>,
}

/// What the launcher is told.
pub struct Settings {
    /// What pods run where nothing else is said.
    pub image: String,
    /// Where all control planes are, for nodes.
    pub living: channel::Receiver<Vec<String>>,
    /// The pods of this control plane, where it runs in a cluster.
    pub own_pods: Option<OwnPods>,
    /// With whom configs are signed.
    pub trust: Trust,
}

impl Kubernetes {
    /// For the deployments in this store.
    pub fn new(
        store: SystemStore,
        joins: Arc<dyn JoinSource>,
        addresses: Arc<dyn AddressSource>,
        installation: Uuid,
        settings: Settings,
    ) -> Self {
        Self {
            store,
            joins,
            addresses,
            installation,
            settings,
            names: Arc::default(),
        }
    }
}

#[async_trait::async_trait]
impl Launcher for Kubernetes {
    async fn run(self: Box<Self>, mut terms: Terms, mut leave: channel::Receiver<Leave>) {
        loop {
            let term = tokio::select! {
                () = is_leaving(&mut leave) => return,
                term = terms.wait_for(Option::is_some) => match term {
                    Ok(term) => term.clone(),
                    Err(_) => return,
                },
            };
            let Some(term) = term else { continue };
            let mut acting = Acting {
                launcher: &self,
                term: &term,
                clusters: HashMap::new(),
                known: HashMap::new(),
            };
            tokio::select! {
                () = term.over() => {}
                () = acting.act(&mut leave) => return,
            }
        }
    }
}

async fn is_leaving(leave: &mut channel::Receiver<Leave>) {
    let _ = leave.wait_for(|leave| *leave != Leave::Stay).await;
}

/// The launcher in a term.
struct Acting<'a> {
    launcher: &'a Kubernetes,
    term: &'a Term,
    clusters: HashMap<Uuid, Kept>,
    /// Where the config of each deployment stood when it was last looked at: every change raises it.
    known: HashMap<Uuid, (u64, u64)>,
}

/// A cluster in care.
struct Kept {
    revision: i64,
    queue: Arc<Queue>,
    care: JoinHandle<()>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.care.abort();
    }
}

impl Acting<'_> {
    /// Until this control plane leaves.
    async fn act(&mut self, leave: &mut channel::Receiver<Leave>) {
        let store = &self.launcher.store;
        let mut changes = store.changes();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = 0;
        loop {
            let looked = tokio::select! {
                () = is_leaving(leave) => return self.finish().await,
                _ = look.tick() => {
                    let seldom = looks % LOOK_SELDOM == 0;
                    looks = looks.wrapping_add(1);
                    self.look(seldom).await
                }
                change = changes.recv() => match change {
                    Ok(Change::Infrastructure(_)) => self.find_clusters().await,
                    Ok(Change::Config(id) | Change::Deployment(id)) => {
                        self.add([id]);
                        Ok(())
                    }
                    // Whatever it was is found by the next look.
                    Err(broadcast::error::RecvError::Lagged(_)) => Ok(()),
                    Err(broadcast::error::RecvError::Closed) => return,
                    Ok(
                        Change::Node(_) | Change::Event | Change::Account(_) | Change::Copy(_) | Change::Lease,
                    ) => Ok(()),
                },
            };
            if let Err(error) = looked {
                tracing::warn!(%error, "clusters could not be looked after");
            }
        }
    }

    /// Does what is to be done now, so that nobody who waits for a Secret waits for the next one to see the clusters first.
    async fn finish(&mut self) {
        let finished = async {
            // What was changed since the last look, by a control plane whose hint may still be under way.
            if let Err(error) = self.find_changes().await {
                tracing::warn!(%error, "clusters could not be looked after");
            }
            let queues = self.clusters.values().map(|kept| kept.queue.is_done());
            futures::future::join_all(queues).await;
        };
        let _ = tokio::time::timeout(LAST_DEEDS, finished).await;
    }

    async fn look(&mut self, seldom: bool) -> Result<(), crate::store::Error> {
        if seldom {
            self.find_clusters().await?;
            self.find_news().await?;
        }
        self.find_changes().await
    }

    /// Whose a deployment is only its cluster finds out; there are few.
    fn add(&self, deployments: impl IntoIterator<Item = Uuid> + Clone) {
        for kept in self.clusters.values() {
            kept.queue.add(deployments.clone());
        }
    }

    /// The same, of what is found at each look until it is done.
    fn remind(&self, deployments: impl IntoIterator<Item = Uuid> + Clone) {
        for kept in self.clusters.values() {
            kept.queue.remind(deployments.clone());
        }
    }

    async fn find_changes(&mut self) -> Result<(), crate::store::Error> {
        if self.clusters.is_empty() {
            return Ok(());
        }
        let positions = self.launcher.store.config_positions().await?;
        let positions: HashMap<Uuid, (u64, u64)> = positions
            .into_iter()
            .map(|(id, epoch, version)| (id, (epoch, version)))
            .collect();
        let changed = positions
            .iter()
            .filter(|(id, position)| self.known.get(id) != Some(position));
        let gone = self.known.keys().filter(|id| !positions.contains_key(id));
        let found: Vec<Uuid> = changed.map(|(id, _)| *id).chain(gone.copied()).collect();
        self.add(found);
        for left in self.launcher.store.leftovers().await? {
            if let Some(kept) = self.clusters.get(&left.infrastructure_id) {
                kept.queue.remind([left.deployment_id]);
            }
        }
        self.remind(self.launcher.store.moving().await?);
        self.known = positions;
        Ok(())
    }

    /// What goes into Secrets without a change of a config: addresses that are to be made anew, and new tokens.
    async fn find_news(&self) -> Result<(), crate::store::Error> {
        if !self.clusters.is_empty() {
            let store = &self.launcher.store;
            self.remind(store.addresses_due().await?);
            let uncopied = store.uncopied_node_tokens().await?;
            self.remind(uncopied.into_iter().map(|(id, _)| id).collect::<Vec<_>>());
        }
        Ok(())
    }

    async fn find_clusters(&mut self) -> Result<(), crate::store::Error> {
        let there = self.launcher.store.clusters().await?;
        self.clusters.retain(|id, kept| {
            let same = |cluster: &Cluster| cluster.id == *id && cluster.revision == kept.revision;
            there.iter().any(same) && !kept.care.is_finished()
        });
        for cluster in there {
            if !self.clusters.contains_key(&cluster.id) {
                self.clusters.insert(cluster.id, self.keep(cluster));
            }
        }
        Ok(())
    }

    fn keep(&self, cluster: Cluster) -> Kept {
        let facts = Facts {
            acting: self.launcher.store.acting(self.term.number()),
            joins: Arc::clone(&self.launcher.joins),
            addresses: Arc::clone(&self.launcher.addresses),
            installation: self.launcher.installation,
            image: self.launcher.settings.image.clone(),
            names: Arc::clone(&self.launcher.names),
            living: self.launcher.settings.living.clone(),
            own_pods: self.launcher.settings.own_pods.clone(),
            trust: self.launcher.settings.trust.clone(),
        };
        let (revision, queue) = (cluster.revision, Arc::new(Queue::default()));
        tracing::info!(infrastructure = %cluster.name, "a cluster is looked after");
        let care = Care::new(cluster, facts, self.term.clone(), Arc::clone(&queue));
        Kept {
            revision,
            queue,
            care: tokio::spawn(care.run()),
        }
    }
}
