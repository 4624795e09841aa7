//! What the launcher reads and writes of the database, and nothing else of it.
//!
//! Apart as traits, so that the mechanics of processes are tested with real processes and a book in memory.

use crate::authn::Secret;
use crate::domain::{InfrastructureKind, Limits};
use crate::store::{Acting, Error, LaunchedNode, SystemStore};
use castoff_wire::Join;
use uuid::Uuid;

/// A deployment on a local infrastructure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The deployment.
    pub deployment_id: Uuid,
    /// Whether nodes should run.
    pub enabled: bool,
    /// How many.
    pub replicas: u32,
    /// Its stable port, once it has one.
    pub port: Option<u16>,
    /// What was last said that the launcher cannot do.
    pub problem: Option<String>,
    /// From SIGTERM to SIGKILL, in milliseconds.
    pub grace_ms: i64,
}

/// The records of deployments and nodes.
#[async_trait::async_trait]
pub trait NodeBook: Send + Sync {
    /// Every deployment on a local infrastructure, switched on or off.
    async fn desired(&self) -> Result<Vec<Wanted>, Error>;
    /// Every node that the launcher has started and not forgotten.
    async fn records(&self) -> Result<Vec<LaunchedNode>, Error>;
    /// Writes a record; with `last_exit` when a process has just ended.
    async fn save(&self, node: &LaunchedNode, last_exit: Option<&str>) -> Result<(), Error>;
    /// Forgets a node whose process is proven to have ended.
    async fn forget(&self, node: Uuid) -> Result<(), Error>;
    /// Gives a deployment its port; `false` when another has it.
    async fn assign_port(&self, deployment_id: Uuid, port: u16) -> Result<bool, Error>;
    /// Says what cannot be done, or that it can again.
    async fn set_problem(&self, deployment_id: Uuid, problem: Option<&str>) -> Result<(), Error>;
    /// Notes something that happened, for the events.
    async fn note(&self, deployment_id: Uuid, kind: &str, message: &str) -> Result<(), Error>;
}

/// Whoever makes join documents.
#[async_trait::async_trait]
pub trait JoinSource: Send + Sync {
    /// The join document of a deployment's nodes; `None` when the deployment is gone.
    async fn join(&self, deployment_id: Uuid) -> Result<Option<Join>, Error>;
}

/// Join documents with the newest token that the store has for a deployment.
pub struct StoredTokens<F> {
    store: SystemStore,
    document: F,
}

impl<F: Fn(Uuid, &Secret) -> Join> StoredTokens<F> {
    /// `document` puts the rest around a deployment's token.
    pub fn new(store: SystemStore, document: F) -> Self {
        Self { store, document }
    }
}

#[async_trait::async_trait]
impl<F: Fn(Uuid, &Secret) -> Join + Send + Sync> JoinSource for StoredTokens<F> {
    async fn join(&self, deployment_id: Uuid) -> Result<Option<Join>, Error> {
        let token = self.store.newest_node_token(deployment_id).await?;
        Ok(token.map(|token| (self.document)(deployment_id, &token)))
    }
}

/// Beyond the drain and the deadline of the last call: what a node needs to leave, with something to spare.
const SLACK_MS: i64 = 5_000;

/// How long nodes with these limits may take to leave.
pub(super) fn grace_ms(limits: &Limits) -> i64 {
    i64::from(limits.drain_delay_ms) + i64::from(limits.deadline_ms) + SLACK_MS
}

#[async_trait::async_trait]
impl NodeBook for Acting {
    async fn desired(&self) -> Result<Vec<Wanted>, Error> {
        let deployments = self.system().deployments().await?.into_iter();
        Ok(deployments
            .filter(|deployment| deployment.kind == InfrastructureKind::Local)
            .map(|deployment| Wanted {
                deployment_id: deployment.id,
                enabled: deployment.enabled,
                replicas: deployment.scale.replicas,
                port: deployment.port,
                problem: deployment.problem,
                grace_ms: grace_ms(&deployment.limits),
            })
            .collect())
    }

    async fn records(&self) -> Result<Vec<LaunchedNode>, Error> {
        self.system().launched_nodes().await
    }

    async fn save(&self, node: &LaunchedNode, last_exit: Option<&str>) -> Result<(), Error> {
        self.save_launched(node, last_exit).await
    }

    async fn forget(&self, node: Uuid) -> Result<(), Error> {
        self.forget_node(node).await
    }

    async fn assign_port(&self, deployment_id: Uuid, port: u16) -> Result<bool, Error> {
        Acting::assign_port(self, deployment_id, port).await
    }

    async fn set_problem(&self, deployment_id: Uuid, problem: Option<&str>) -> Result<(), Error> {
        Acting::set_problem(self, deployment_id, problem).await
    }

    async fn note(&self, deployment_id: Uuid, kind: &str, message: &str) -> Result<(), Error> {
        self.note_event(deployment_id, kind, message).await
    }
}
