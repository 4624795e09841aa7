//! What goes on by itself in the control plane that acts: nodes are launched, files that nobody needs are taken away.

use crate::admin::plain;
use crate::artifacts::Packages;
use crate::authn::Secret;
use crate::collector;
use crate::config::Serve;
use crate::domain::package::Digest;
use crate::domain::{InfrastructureKind, Time};
use crate::launch::kubernetes::{Clusters, Kubernetes, OwnPods, Settings as PodSettings, own_namespace};
use crate::launch::local::{Local, Settings, program_beside_this};
use crate::launch::{
    AddressSource, JoinSource, Launcher, Leave, NodeBook, NodeLogs, StoredTokens, rotation, static_nodes,
};
use crate::lease::{Handing, Home, Keeper, Neighbours, Term};
use crate::push::{Joins, Push};
use crate::store::{Gone, Presence, Store};
use castoff_wire::PackageAddresses;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// For a look at the database before nodes are sent away.
const LOOK: Duration = Duration::from_secs(1);

/// The loops, running.
pub(super) struct Loops {
    logs: NodeLogs,
    clusters: Clusters,
    neighbours: Neighbours,
    leave: watch::Sender<Leave>,
    /// What acts: the launchers, and who collects files.
    acting: Vec<JoinHandle<()>>,
    collected: CancellationToken,
    keeping: JoinHandle<()>,
    handing: Handing,
}

impl Loops {
    /// Starts them. Each waits for a term of this control plane.
    pub(super) async fn start(
        config: &Serve,
        store: &Store,
        push: &Push,
        packages: &Packages,
        installation: Uuid,
    ) -> Result<Self, String> {
        let joins = joins(store, push.joins.clone());
        let local = local(config, store, Arc::clone(&joins))?;
        let image = node_image(config);
        let clusters = Clusters::new(store.system(), installation, image.clone());
        let addresses = Arc::new(Addresses {
            packages: packages.clone(),
            life: Duration::from_secs(config.packages.packages_address_life),
        });
        let of_pods = PodSettings {
            image,
            living: push.addresses.subscribe(),
            own_pods: own_pods(config)?,
            trust: push.joins.trust(),
        };
        let kubernetes = Kubernetes::new(store.system(), joins, addresses, installation, of_pods);
        let logs = local.logs();
        let home = Home::here(&config.shared_dir().join("nodes")).map_err(|error| format!("this machine: {error}"))?;
        let own = Presence {
            id: store.id(),
            url: push.url.clone(),
            home: home.to_string(),
        };
        check_neighbours(store, &own).await?;
        if !store.system().is_shared() {
            let gone = store.system().forget_lines(Gone::AllBut(own.id)).await;
            gone.map_err(plain)?;
        }
        let (keeper, terms) = Keeper::new(store.system(), own, &home, push.addresses.clone());
        let (handing, collected) = (Handing::default(), CancellationToken::new());
        let (leave, leaving) = watch::channel(Leave::Stay);
        Ok(Self {
            logs,
            clusters,
            neighbours: keeper.neighbours(),
            acting: vec![
                tokio::spawn(Box::new(local).run(terms.clone(), leaving.clone())),
                tokio::spawn(static_nodes::run(store.system(), terms.clone(), leaving.clone())),
                tokio::spawn(rotation::run(store.system(), terms.clone(), leaving.clone())),
                tokio::spawn(Box::new(kubernetes).run(terms.clone(), leaving)),
                tokio::spawn(collector::run(
                    packages.clone(),
                    store.system(),
                    terms,
                    collected.clone(),
                )),
            ],
            collected,
            keeping: tokio::spawn(keeper.keep(handing.clone())),
            leave,
            handing,
        })
    }

    /// Reads what local nodes have logged.
    pub(super) fn logs(&self) -> NodeLogs {
        self.logs.clone()
    }

    /// Asks clusters.
    pub(super) fn clusters(&self) -> Clusters {
        self.clusters.clone()
    }

    /// Looks once more which other control planes live: one may have come within the last second.
    pub(super) async fn look_around(&self) {
        // Without the database, what is known has to do.
        let _ = tokio::time::timeout(LOOK, self.neighbours.look()).await;
    }

    /// Leaves to another control plane what goes on by itself, where one lives that is not about to end, too: it needs a moment
    /// until it acts, and this one still answers. Otherwise all goes on until [`Loops::end`].
    pub(super) async fn hand_over(&mut self) {
        // Said before it is asked: of two that end at once, one hears it of the other.
        self.neighbours.leave();
        self.look_around().await;
        if self.neighbours.another_stays() {
            tracing::info!("what goes on by itself is left to another control plane");
            self.cease(Leave::WithoutNodes).await;
        } else {
            tracing::info!("no other control plane stays: this one acts to its end");
        }
    }

    /// Waits until they have ended.
    pub(super) async fn end(mut self, leaving: Leave) {
        self.cease(leaving).await;
        self.handing.ended.cancel();
        let _ = self.keeping.await;
    }

    /// Nothing acts any more when this returns; only then another control plane may.
    async fn cease(&mut self, leaving: Leave) {
        self.leave.send_replace(leaving);
        self.collected.cancel();
        // One by one: whoever is interrupted here goes on with those that are left.
        while let Some(task) = self.acting.last_mut() {
            // A launcher that has failed has said so.
            let _ = task.await;
            self.acting.pop();
        }
        self.handing.resigned.cancel();
    }
}

/// Addresses of what is kept in a bucket.
struct Addresses {
    packages: Packages,
    life: Duration,
}

#[async_trait::async_trait]
impl AddressSource for Addresses {
    fn of(&self, files: &BTreeSet<Digest>) -> Option<[u8; 32]> {
        self.packages.has_addresses().then(|| self.packages.addresses_of(files))
    }

    async fn make(&self, files: &BTreeSet<Digest>, now: Time) -> Result<Option<PackageAddresses>, String> {
        let made = self.packages.addresses(files, now, self.life).await;
        made.map_err(|error| error.to_string())
    }
}

/// Local nodes are processes of one machine: whoever takes over must see them, or it would start each a second time.
async fn check_neighbours(store: &Store, own: &Presence) -> Result<(), String> {
    let system = store.system();
    if !system.is_shared() {
        return Ok(());
    }
    let living = system.say_present(own, false).await.map_err(plain)?;
    let mut living = living.iter().map(|living| &living.presence);
    let elsewhere = living.find(|other| other.home != own.home);
    let Some(other) = elsewhere else { return Ok(()) };
    let deployments = system.deployments().await.map_err(plain)?;
    if !deployments
        .iter()
        .any(|deployment| deployment.kind == InfrastructureKind::Local)
    {
        return Ok(());
    }
    system.say_gone(own.id).await.map_err(plain)?;
    Err(format!(
        "the control plane at {} works on this database, and keeps local nodes elsewhere ({}): start this one on the same machine with the same --shared-dir, or wait ten seconds if the other has ended",
        other.url, other.home
    ))
}

/// Join documents with the newest token of a deployment.
fn joins(store: &Store, joins: Joins) -> Arc<dyn JoinSource> {
    let document = move |deployment, token: &Secret| joins.document(deployment, token);
    Arc::new(StoredTokens::new(store.system(), document))
}

/// The pods of this control plane, where it is told how they are labelled.
fn own_pods(config: &Serve) -> Result<Option<OwnPods>, String> {
    let Some(labels) = &config.own_pods else {
        return Ok(None);
    };
    Ok(Some(OwnPods {
        namespace: own_namespace()?,
        labels: labels.0.clone(),
        port: config.node_listen.port(),
    }))
}

/// What pods run where nothing else is said: the image of this release.
fn node_image(config: &Serve) -> String {
    let own = || concat!("castoff-node:", env!("CARGO_PKG_VERSION")).to_owned();
    config.node_image.as_ref().map_or_else(own, ToString::to_string)
}

/// The launcher of local nodes.
fn local(config: &Serve, store: &Store, joins: Arc<dyn JoinSource>) -> Result<Local, String> {
    let beside = || program_beside_this().unwrap_or_else(|_| PathBuf::from("castoff-node"));
    let settings = Settings {
        data_dir: config.shared_dir().to_owned(),
        program: config.node_binary.clone().unwrap_or_else(beside),
        onnxruntime: config.onnxruntime.clone(),
        ports: config.local_ports.clone(),
    };
    let system = store.system();
    let alone = !system.is_shared();
    let books = move |term: &Term| Arc::new(system.acting(term.number())) as Arc<dyn NodeBook>;
    let opened = Local::open(
        settings,
        alone,
        Box::new(books),
        joins,
        store.clock().clone(),
        store.changes(),
    );
    opened.map_err(|error| error.to_string())
}
