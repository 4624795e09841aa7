//! The loop that makes what runs be what is wanted.

mod adopt;

use super::listener;
use super::plan::{self, Seen, Step, Wanted};
use super::process::{NodeFolder, Process, Start};
use crate::domain::{Deployment, InfrastructureKind, Time};
use crate::push::Joins;
use crate::store::{Change, Error, LaunchedNode, NodeState, SystemStore};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// What local nodes are run with.
#[derive(Clone, Debug)]
pub struct LauncherSettings {
    /// Where nodes have their folders.
    pub folder: PathBuf,
    /// `castoff-node`.
    pub binary: PathBuf,
    /// ONNX Runtime's library.
    pub onnxruntime: Option<PathBuf>,
    /// The ports that deployments get.
    pub ports: RangeInclusive<u16>,
}

/// Keeps local nodes running.
pub struct Launcher {
    end: oneshot::Sender<bool>,
    done: JoinHandle<()>,
}

/// A look at everything is due after this long, whether or not something was told.
const LOOK: Duration = Duration::from_secs(1);
/// Nodes that are taken along have this long to finish their calls.
const LAST_CALLS: Duration = Duration::from_secs(20);
/// The latest ends of a node that are remembered.
const EXITS: usize = 10;

struct Supervisor {
    settings: LauncherSettings,
    store: SystemStore,
    joins: Joins,
    wake: Arc<Notify>,
    listeners: HashMap<Uuid, TcpListener>,
    running: HashMap<Uuid, Process>,
    stopping: HashMap<Uuid, Time>,
}

impl Launcher {
    /// Adopts what an earlier control plane left running, and begins to look after it.
    ///
    /// # Errors
    /// The folder cannot be used, or the database failed.
    pub async fn start(settings: LauncherSettings, store: SystemStore, joins: Joins) -> Result<Self, String> {
        let packages = settings.folder.join("packages");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&packages);
        made.map_err(|error| format!("{}: {error}", packages.display()))?;
        let mut supervisor = Supervisor {
            settings,
            store,
            joins,
            wake: Arc::new(Notify::new()),
            listeners: HashMap::new(),
            running: HashMap::new(),
            stopping: HashMap::new(),
        };
        supervisor
            .adopt()
            .await
            .map_err(|error| format!("local nodes cannot be taken over: {error}"))?;
        let (end, ended) = oneshot::channel();
        Ok(Self {
            end,
            done: tokio::spawn(supervisor.run(ended)),
        })
    }

    /// Ends the looking after; takes the nodes along when asked to, else leaves them serving.
    pub async fn end(self, stop_nodes: bool) {
        // When the loop has ended by itself there is nothing to be told.
        let _ = self.end.send(stop_nodes);
        if self.done.await.is_err() {
            tracing::error!("the launcher's loop failed");
        }
    }
}

impl Supervisor {
    async fn run(mut self, mut ended: oneshot::Receiver<bool>) {
        let mut changes = self.store.changes();
        loop {
            if let Err(error) = self.look().await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "local nodes could not be looked after"
                );
            }
            let told = async {
                loop {
                    match changes.recv().await {
                        Ok(Change::Deployment(_)) | Err(_) => return,
                        Ok(_) => {}
                    }
                }
            };
            tokio::select! {
                () = told => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                stop_nodes = &mut ended => {
                    if stop_nodes.unwrap_or(false) {
                        self.stop_all().await;
                    }
                    return;
                }
            }
        }
    }

    /// One look: what has ended is recorded, and what is to be done is done.
    async fn look(&mut self) -> Result<(), Error> {
        let mut records = self.store.launched_nodes().await?;
        let known: HashSet<Uuid> = records.iter().map(|record| record.id).collect();
        for record in &mut records {
            self.note_end(record).await?;
        }
        self.running.retain(|id, process| {
            // Without a record it is not wanted, and nobody would ever end it.
            let keep = known.contains(id);
            if !keep {
                process.kill();
            }
            keep
        });
        let deployments = self.store.deployments().await?;
        let local: Vec<&Deployment> = deployments
            .iter()
            .filter(|one| one.kind == InfrastructureKind::Local && one.enabled)
            .collect();
        self.listeners.retain(|id, _| local.iter().any(|one| one.id == *id));
        let wanted: Vec<Wanted> = local
            .iter()
            .map(|one| Wanted {
                deployment_id: one.id,
                replicas: usize::try_from(one.scale.replicas).unwrap_or(1),
            })
            .collect();
        let seen: Vec<Seen> = records
            .iter()
            .map(|record| Seen {
                id: record.id,
                deployment_id: record.deployment_id,
                alive: self.running.contains_key(&record.id),
                stopping_since: self.stopping.get(&record.id).copied(),
                exits: record.exits.clone(),
            })
            .collect();
        for step in plan::plan(&wanted, &seen, self.store.now()) {
            self.take(step, &local, &records).await?;
        }
        Ok(())
    }

    /// Records that a node's process has ended.
    async fn note_end(&mut self, record: &mut LaunchedNode) -> Result<(), Error> {
        let Some(how) = self.running.get_mut(&record.id).and_then(Process::ended) else {
            return Ok(());
        };
        self.running.remove(&record.id);
        let (now, meant) = (self.store.now(), self.stopping.contains_key(&record.id));
        record.pid = None;
        record.start_time = None;
        if !meant {
            record.exits.push(now);
            let surplus = record.exits.len().saturating_sub(EXITS);
            record.exits.drain(..surplus);
            let looping = plan::is_crash_loop(&record.exits, now);
            record.state = if looping {
                NodeState::CrashLooping
            } else {
                NodeState::Starting
            };
            tracing::warn!(node.id = %record.id, deployment.id = %record.deployment_id, how, "a node ended");
            self.store
                .note_event(record.deployment_id, "node-ended", &format!("node {} {how}", record.id))
                .await?;
        }
        self.store.save_launched(record, Some(&how)).await
    }

    async fn take(&mut self, step: Step, local: &[&Deployment], records: &[LaunchedNode]) -> Result<(), Error> {
        let record = |id: Uuid| records.iter().find(|record| record.id == id).cloned();
        let deployment = |id: Uuid| local.iter().find(|one| one.id == id);
        match step {
            Step::Create(deployment_id) => {
                let Some(deployment) = deployment(deployment_id) else {
                    return Ok(());
                };
                let node = LaunchedNode {
                    id: Uuid::now_v7(),
                    deployment_id,
                    state: NodeState::Starting,
                    pid: None,
                    start_time: None,
                    ops_address: None,
                    restarts: 0,
                    exits: Vec::new(),
                };
                if self.listening(deployment, records).await? {
                    // On record before it is started: whoever is killed in between leaves no node that nobody knows.
                    self.store.save_launched(&node, None).await?;
                    self.start(deployment, node).await?;
                }
            }
            Step::Restart(id) => {
                let Some(mut node) = record(id) else { return Ok(()) };
                let Some(deployment) = deployment(node.deployment_id) else {
                    return Ok(());
                };
                if self.listening(deployment, records).await? {
                    node.restarts += 1;
                    self.start(deployment, node).await?;
                }
            }
            Step::Stop(id) | Step::Kill(id) => {
                let Some(process) = self.running.get(&id) else {
                    return Ok(());
                };
                if matches!(step, Step::Kill(_)) {
                    process.kill();
                } else {
                    process.terminate();
                    self.stopping.insert(id, self.store.now());
                    if let Some(mut node) = record(id) {
                        node.state = NodeState::Stopping;
                        self.store.save_launched(&node, None).await?;
                    }
                }
            }
            Step::Forget(id) => {
                self.stopping.remove(&id);
                self.store.forget_node(id).await?;
                let folder = NodeFolder::of(&self.settings.folder, id);
                if let Err(error) = folder.remove() {
                    tracing::warn!(%error, node.id = %id, "a node's folder was not removed");
                }
            }
        }
        Ok(())
    }

    /// Starts a node's process; what goes wrong is the deployment's problem, in plain words, until it is over.
    async fn start(&mut self, deployment: &Deployment, mut node: LaunchedNode) -> Result<(), Error> {
        let mut exit = None;
        match self.try_start(deployment, &node).await? {
            Ok(process) => {
                tracing::info!(node.id = %node.id, deployment.name = %deployment.name, pid = process.pid, "started a node");
                process.watch(Arc::clone(&self.wake));
                node.pid = Some(process.pid);
                node.start_time = Some(process.start_time);
                self.running.insert(node.id, process);
                self.set_problem(deployment, None).await?;
            }
            Err(error) => {
                node.exits.push(self.store.now());
                let surplus = node.exits.len().saturating_sub(EXITS);
                node.exits.drain(..surplus);
                let problem = format!("{} cannot be started: {error}", self.settings.binary.display());
                self.set_problem(deployment, Some(&problem)).await?;
                exit = Some("could not be started");
            }
        }
        self.store.save_launched(&node, exit).await
    }

    async fn try_start(&self, deployment: &Deployment, node: &LaunchedNode) -> Result<io::Result<Process>, Error> {
        let token = self.store.newest_node_token(deployment.id).await?;
        let token = token.ok_or(Error::NotFound("node token"))?;
        let join = self.joins.document(deployment.id, &token);
        let start = || {
            let folder = NodeFolder::of(&self.settings.folder, node.id);
            folder.make()?;
            let join = self.write_join(deployment.id, &join)?;
            let listening = self
                .listeners
                .get(&deployment.id)
                .ok_or_else(|| io::Error::other("no listening socket"))?;
            Process::start(Start {
                binary: &self.settings.binary,
                onnxruntime: self.settings.onnxruntime.as_deref(),
                packages: &self.settings.folder.join("packages"),
                join: &join,
                id: node.id,
                folder: &folder,
                listening: OwnedFd::from(listening.try_clone()?),
            })
        };
        Ok(start())
    }

    fn write_join(&self, deployment_id: Uuid, join: &castoff_wire::Join) -> io::Result<PathBuf> {
        let folder = self.settings.folder.join("deployments").join(deployment_id.to_string());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let (path, beside) = (folder.join("join.json"), folder.join("join.new"));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(&serde_json::to_vec(join)?)?;
        file.sync_all()?;
        fs::rename(beside, &path)?;
        Ok(path)
    }

    /// Makes sure of the deployment's listening socket: our own, a living node's, or a new one on its port.
    async fn listening(&mut self, deployment: &Deployment, records: &[LaunchedNode]) -> Result<bool, Error> {
        if self.listeners.contains_key(&deployment.id) {
            return Ok(true);
        }
        let bound = match deployment.port {
            Some(port) => {
                let living: Vec<_> = records
                    .iter()
                    .filter(|record| record.deployment_id == deployment.id && self.running.contains_key(&record.id))
                    .map(|record| NodeFolder::of(&self.settings.folder, record.id).0)
                    .collect();
                let got = tokio::task::spawn_blocking(move || {
                    living
                        .iter()
                        .find_map(|folder| listener::from_node(folder, port).ok())
                        .map_or_else(|| listener::bind(port), Ok)
                });
                let got = got.await.unwrap_or_else(|error| Err(io::Error::other(error)));
                got.map_err(|error| format!("port {port} of this machine cannot be listened on: {error}"))
            }
            None => self.first_port(deployment.id).await?,
        };
        match bound {
            Ok(listener) => {
                self.listeners.insert(deployment.id, listener);
                Ok(true)
            }
            Err(problem) => {
                self.set_problem(deployment, Some(&problem)).await?;
                Ok(false)
            }
        }
    }

    async fn first_port(&self, deployment_id: Uuid) -> Result<Result<TcpListener, String>, Error> {
        for port in self.settings.ports.clone() {
            if let Ok(listener) = listener::bind(port)
                && self.store.assign_port(deployment_id, port).await?
            {
                return Ok(Ok(listener));
            }
        }
        let (first, last) = (self.settings.ports.start(), self.settings.ports.end());
        Ok(Err(format!(
            "no port of {first}-{last} is free: give more with --local-ports"
        )))
    }

    async fn set_problem(&self, deployment: &Deployment, problem: Option<&str>) -> Result<(), Error> {
        if deployment.problem.as_deref() == problem {
            return Ok(());
        }
        if let Some(problem) = problem {
            tracing::warn!(deployment.name = %deployment.name, problem, "a deployment cannot run");
        }
        self.store.set_problem(deployment.id, problem).await
    }

    async fn stop_all(&mut self) {
        for process in self.running.values() {
            process.terminate();
        }
        let all = async {
            while !self.running.is_empty() {
                self.running.retain(|_, process| process.ended().is_none());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(LAST_CALLS, all).await.is_err() {
            tracing::warn!("some nodes did not end in time: killed");
        }
        for process in self.running.values() {
            process.kill();
        }
    }
}
