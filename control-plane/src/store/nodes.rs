//! Nodes: what the launcher started, what they hold, and what they last said.

use super::entity::nodes;
use super::error::stored;
use super::services::{parse_word, word};
use super::{Error, Permit, Store, json};
use crate::authz::View;
use crate::domain::{Deployment, Refusal, Time};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Its process was started, or is about to be.
    Starting,
    /// It answers calls.
    Ready,
    /// It is there, but does not answer calls.
    NotReady,
    /// It ends again and again.
    CrashLooping,
    /// It was told to end.
    Stopping,
    /// Nothing has been heard of it.
    Lost,
}

/// A node as people see it.
#[derive(Clone, Debug)]
pub struct Node {
    /// Of the process, or of its successors under the same launcher's record.
    pub id: Uuid,
    /// What it serves.
    pub deployment_id: Uuid,
    /// Started by the launcher, not by an operator.
    pub launched: bool,
    /// How it stands.
    pub state: NodeState,
    /// Of a local node.
    pub pid: Option<u32>,
    /// The name of its pod, on Kubernetes.
    pub pod: Option<String>,
    /// Where callers reach it.
    pub http_address: Option<String>,
    /// Where its health and metrics are.
    pub ops_address: Option<String>,
    /// Its release.
    pub release: Option<String>,
    /// The config in force there.
    pub acked: Option<(u64, u64)>,
    /// On the line with a control plane now.
    pub connected: bool,
    /// It says that it answers calls.
    pub ready: bool,
    /// Its config was not confirmed by a control plane since its start.
    pub stale: bool,
    /// What goes wrong, in one line: why it is not ready, or what it could not do.
    pub reason: Option<String>,
    /// Configs refused since its start.
    pub refused_configs: u64,
    /// The latest refusal, until it obeys again.
    pub refused: Option<Refusal>,
    /// Times that it was started again.
    pub restarts: u64,
    /// How its last process ended.
    pub last_exit: Option<String>,
    /// When it was last heard of.
    pub last_seen_at: Option<Time>,
    /// When it was first recorded.
    pub created_at: Time,
}

/// What the launcher knows of a node that it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchedNode {
    /// The record.
    pub id: Uuid,
    /// What it serves.
    pub deployment_id: Uuid,
    /// How it stands.
    pub state: NodeState,
    /// Of its process, once started.
    pub pid: Option<u32>,
    /// Field 22 of /proc/pid/stat: with the id it names a process for ever.
    pub start_time: Option<u64>,
    /// Where its health and metrics are.
    pub ops_address: Option<String>,
    /// Times that it was started again.
    pub restarts: u64,
    /// When its processes ended, the latest last; at most ten.
    pub exits: Vec<Time>,
}

/// A node that has not been heard of for so long is lost: three missed heartbeats and the time to dial again.
pub(super) const LOST_AFTER_MS: i64 = 10_000;
fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A config's epoch and version, from the two columns.
pub(super) fn position(epoch: Option<i64>, version: Option<i64>) -> Option<(u64, u64)> {
    Some((number(epoch?), number(version?)))
}

pub(super) fn node(row: nodes::Model, now: Time) -> Result<Node, Error> {
    let stored_state: NodeState = parse_word(&row.state)?;
    let heard = row.last_seen_at.is_some_and(|seen| now.ms() - seen < LOST_AFTER_MS);
    let state = match stored_state {
        NodeState::Stopping => stored_state,
        _ if row.connected && heard && row.ready => NodeState::Ready,
        NodeState::CrashLooping => stored_state,
        _ if row.connected && heard => NodeState::NotReady,
        NodeState::Starting if row.last_seen_at.is_none() => NodeState::Starting,
        _ if row.launched && row.pid.is_none() => NodeState::Starting,
        _ => NodeState::Lost,
    };
    Ok(Node {
        id: row.id,
        deployment_id: row.deployment_id,
        launched: row.launched,
        state,
        pid: row.pid.and_then(|pid| u32::try_from(pid).ok()),
        pod: row.pod,
        http_address: row.http_address,
        ops_address: row.ops_address,
        release: row.release,
        acked: position(row.acked_epoch, row.acked_version),
        connected: row.connected && heard,
        ready: row.ready,
        stale: row.stale,
        reason: row.reason,
        refused_configs: number(row.refused_configs),
        refused: row.refused.map(|text| json::read(&text, "a refusal")).transpose()?,
        restarts: number(row.restarts),
        last_exit: row.last_exit,
        last_seen_at: row.last_seen_at.map(Time::from_ms),
        created_at: Time::from_ms(row.created_at),
    })
}

impl Store {
    /// A deployment's nodes, by the time they were first recorded.
    ///
    /// # Errors
    /// The database failed.
    pub async fn nodes(&self, permit: &Permit<View, Deployment>) -> Result<Vec<Node>, Error> {
        let known = self.known().await;
        let rows = match known.nodes.get(&permit.id) {
            Some(rows) => rows,
            None => {
                let rows: Arc<[nodes::Model]> = self.node_rows(&[permit.id]).await?.into();
                known.nodes.keep(permit.id, Arc::clone(&rows), 1 + rows.len());
                rows
            }
        };
        let now = self.clock.now();
        rows.iter().map(|row| node(row.clone(), now)).collect()
    }

    async fn node_rows(&self, deployments: &[Uuid]) -> Result<Vec<nodes::Model>, Error> {
        let rows = nodes::Entity::find()
            .filter(nodes::Column::DeploymentId.is_in(deployments.iter().copied()))
            .order_by_asc(nodes::Column::CreatedAt)
            .all(&self.db)
            .await?;
        Ok(rows)
    }

    /// The nodes of several deployments that came out of a list or of a permit.
    ///
    /// # Errors
    /// The database failed.
    pub async fn nodes_of(&self, deployments: &[Uuid]) -> Result<Vec<Node>, Error> {
        let now = self.clock.now();
        let rows = self.node_rows(deployments).await?;
        rows.into_iter().map(|row| node(row, now)).collect()
    }

    pub(super) async fn launched_nodes(&self) -> Result<Vec<LaunchedNode>, Error> {
        let rows = nodes::Entity::find()
            .filter(nodes::Column::Launched.eq(true))
            .all(&self.db)
            .await?;
        rows.into_iter()
            .map(|row| {
                let exits: Vec<i64> = json::read(&row.exits, "a list of exits")?;
                Ok(LaunchedNode {
                    id: row.id,
                    deployment_id: row.deployment_id,
                    state: parse_word(&row.state)?,
                    pid: row.pid.and_then(|pid| u32::try_from(pid).ok()),
                    start_time: row.start_time.and_then(|time| u64::try_from(time).ok()),
                    ops_address: row.ops_address,
                    restarts: u64::try_from(row.restarts).unwrap_or(0),
                    exits: exits.into_iter().map(Time::from_ms).collect(),
                })
            })
            .collect()
    }

    pub(super) async fn save_launched(
        &self,
        tx: &DatabaseTransaction,
        node: &LaunchedNode,
        last_exit: Option<&str>,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let exits: Vec<i64> = node.exits.iter().map(|time| time.ms()).collect();
        let exits = stored(serde_json::to_string(&exits), "a list of exits")?;
        let mut row = fresh(node.id, node.deployment_id, true, now);
        row.state = Set(word(&node.state)?);
        row.pid = Set(node.pid.and_then(|pid| i32::try_from(pid).ok()));
        row.start_time = Set(node.start_time.map(super::configs::to_stored));
        row.restarts = Set(super::configs::to_stored(node.restarts));
        row.exits = Set(exits);
        use nodes::Column;
        let mut columns = vec![
            Column::State,
            Column::Pid,
            Column::StartTime,
            Column::Restarts,
            Column::Exits,
        ];
        if let Some(exit) = last_exit {
            // What ended is not on the line, whatever it said last.
            row.last_exit = Set(Some(exit.to_owned()));
            row.connected = Set(false);
            row.ready = Set(false);
            columns.extend([Column::LastExit, Column::Connected, Column::Ready]);
        }
        if let Some(address) = &node.ops_address {
            row.ops_address = Set(Some(address.clone()));
            columns.push(Column::OpsAddress);
        }
        nodes::Entity::insert(row)
            .on_conflict(OnConflict::column(Column::Id).update_columns(columns).to_owned())
            .exec_without_returning(tx)
            .await?;
        Ok(())
    }

    /// Static nodes leave no process to prove their end: after a day of silence they are forgotten.
    pub(super) async fn forget_silent_nodes(&self, tx: &DatabaseTransaction) -> Result<(), Error> {
        let oldest = self.clock.now().after_ms(-86_400_000);
        nodes::Entity::delete_many()
            .filter(nodes::Column::Launched.eq(false))
            .filter(nodes::Column::LastSeenAt.lt(oldest.ms()))
            .exec(tx)
            .await?;
        Ok(())
    }
}

/// Forgets a node, and says of which deployment it was.
pub(super) async fn forget(tx: &DatabaseTransaction, id: Uuid) -> Result<Option<Uuid>, Error> {
    let row = nodes::Entity::find_by_id(id).one(tx).await?;
    nodes::Entity::delete_by_id(id).exec(tx).await?;
    Ok(row.map(|row| row.deployment_id))
}

pub(super) fn fresh(id: Uuid, deployment_id: Uuid, launched: bool, now: Time) -> nodes::ActiveModel {
    nodes::ActiveModel {
        id: Set(id),
        deployment_id: Set(deployment_id),
        launched: Set(launched),
        state: Set("starting".to_owned()),
        pid: Set(None),
        start_time: Set(None),
        http_address: Set(None),
        ops_address: Set(None),
        release: Set(None),
        acked_epoch: Set(None),
        acked_version: Set(None),
        acked_digest: Set(None),
        ready: Set(false),
        stale: Set(false),
        connected: Set(false),
        reason: Set(None),
        refused_configs: Set(0),
        refused: Set(None),
        restarts: Set(0),
        last_exit: Set(None),
        exits: Set("[]".to_owned()),
        last_seen_at: Set(None),
        heard_by: Set(None),
        token: Set(None),
        pod: Set(None),
        created_at: Set(now.ms()),
    }
}
