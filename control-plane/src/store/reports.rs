//! What nodes say of themselves: written down in batches, because a change that reaches a thousand nodes comes back as a
//! thousand acknowledgements.

use super::entity::nodes;
use super::error::stored;
use super::written::{Reported, Written};
use super::{Change, Error, Store, SystemStore, commit, configs};
use crate::domain::{Refusal, Time};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What a node said of itself on its stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeReport {
    /// On the line now.
    pub connected: bool,
    /// It was asked to go on with another control plane, which may have heard it since.
    pub moving: bool,
    /// It answers calls.
    pub ready: bool,
    /// Its config is not confirmed.
    pub stale: bool,
    /// What goes wrong: why it is not ready, or what it could not do.
    pub reason: Option<String>,
    /// Configs refused since its start.
    pub refused_configs: u64,
    /// The latest refusal, until it obeys again.
    pub refused: Option<Refusal>,
    /// (epoch, version, digest) in force there.
    pub acked: Option<(u64, u64, Vec<u8>)>,
    /// Where callers reach it.
    pub http_address: Option<String>,
    /// Where its health and metrics are.
    pub ops_address: Option<String>,
    /// Its release.
    pub release: Option<String>,
    /// The id of the newest token that it has shown or kept.
    pub token: Option<Vec<u8>>,
}

impl NodeReport {
    /// Whether both say the same, but for what is in force there.
    pub(super) fn differs_in_acked_alone(&self, other: &Self) -> bool {
        let Self {
            connected,
            moving,
            ready,
            stale,
            reason,
            refused_configs,
            refused,
            acked: _,
            http_address,
            ops_address,
            release,
            token,
        } = self;
        (*connected, *moving, *ready, *stale) == (other.connected, other.moving, other.ready, other.stale)
            && (reason, *refused_configs, refused) == (&other.reason, other.refused_configs, &other.refused)
            && (http_address, ops_address) == (&other.http_address, &other.ops_address)
            && (release, token) == (&other.release, &other.token)
    }

    /// What another control plane may know better by now.
    fn is_outdated_by_others(&self) -> bool {
        self.moving || !self.connected
    }
}

/// Rows in one statement. Few sizes, so that a database keeps its statements prepared whatever the batch: 1,000 reports are
/// 32 statements. The largest binds 32 × 26 values; for those of 128 rows the allocator asks the system for memory each
/// time, which comes in huge pages that are cleared first.
const AT_ONCE: [usize; 3] = [32, 8, 1];

impl Store {
    /// Writes down what nodes, each with its deployment, said of themselves: all in one transaction.
    pub(super) async fn save_reports(&self, reports: &[Reported], written: &mut Written) -> Result<(), Error> {
        let saved = self.save(reports, written).await;
        match &saved {
            Ok(()) => written.note(reports),
            Err(_) => written.forget(reports),
        }
        saved
    }

    async fn save(&self, reports: &[Reported], written: &Written) -> Result<(), Error> {
        let now = self.clock.now();
        let of: BTreeSet<Uuid> = reports.iter().map(|(_, deployment_id, _)| *deployment_id).collect();
        let tx = self.begin().await?;
        // In one order everywhere, so that two replicas do not wait for each other.
        let mut sorted = written.acknowledge(&tx, reports, (self.id, now)).await?;
        sorted.sort_by_key(|(node_id, deployment_id, _)| (*node_id, *deployment_id));
        let mut rest = sorted.as_slice();
        while let Some((_, _, report)) = rest.first() {
            if !report.is_outdated_by_others() {
                let (together, after) = rest.split_at(together(rest));
                upsert(&tx, together, (self.id, now)).await?;
                rest = after;
            } else {
                let (last_words, after) = rest.split_at(1);
                for (node_id, deployment_id, report) in last_words {
                    leave(&tx, (*node_id, *deployment_id), report, (self.id, now)).await?;
                }
                rest = after;
            }
        }
        commit(tx).await?;
        for deployment_id in of {
            self.tell(Change::Node(deployment_id));
        }
        Ok(())
    }
}

/// Control planes whose word on their nodes counts no more.
#[derive(Clone, Copy, Debug)]
pub enum Gone {
    /// One of several, which is proven to have ended a moment ago: its nodes are dialling another one.
    One(Uuid),
    /// One of several, of which nothing has been heard for so long that its nodes would be with another one.
    Silent(Uuid),
    /// Whatever others there were: a database that only one process has.
    AllBut(Uuid),
}

impl SystemStore {
    /// Takes back that nodes are on the line with control planes that are gone: what they said there is not true any more,
    /// only old. Of one that fell silent the loss of its nodes is noted: there was nobody who could.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_lines(&self, gone: Gone) -> Result<(), Error> {
        use nodes::Column;
        let of = match gone {
            Gone::One(id) | Gone::Silent(id) => Column::HeardBy.eq(id),
            Gone::AllBut(own) => Column::HeardBy.ne(own),
        };
        let forgotten = nodes::Entity::update_many()
            .col_expr(Column::Connected, Expr::value(false))
            .filter(Column::Connected.eq(true))
            .filter(of);
        match gone {
            Gone::AllBut(_) | Gone::One(_) => {
                forgotten.exec(&self.store().db).await?;
            }
            Gone::Silent(_) => {
                let forgotten = forgotten.col_expr(Column::Reason, Expr::value(UNHEARD));
                // Several control planes look. Each node is told of by the one that has forgotten its line.
                let mut lost: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
                for node in forgotten.exec_with_returning(&self.store().db).await? {
                    lost.entry(node.deployment_id).or_default().push(node.id.to_string());
                }
                for (deployment_id, nodes) in lost {
                    self.store().tell(Change::Node(deployment_id));
                    let message = match nodes.as_slice() {
                        [node] => format!("node {node} is lost: {UNHEARD}"),
                        nodes => format!("{} nodes are lost: {UNHEARD}", nodes.len()),
                    };
                    self.note_event(deployment_id, "node-lost", &message).await?;
                }
            }
        }
        Ok(())
    }
}

/// What is wrong with a node whose control plane is silent, until it says something to another one.
const UNHEARD: &str =
    "the control plane that it was on the line with has fallen silent, and no other has heard it since";

/// How many of the first reports go into one statement. PostgreSQL refuses one that comes to a row twice, as two
/// deployments' nodes of one id would.
fn together(reports: &[&Reported]) -> usize {
    let pairs = reports.iter().zip(reports.iter().skip(1));
    let run = 1 + pairs
        .take_while(|((before, _, _), (id, _, report))| before != id && !report.is_outdated_by_others())
        .count();
    AT_ONCE.into_iter().find(|size| *size <= run).unwrap_or(1)
}

/// What is in force there, as it is stored.
pub(super) fn position(report: &NodeReport) -> Option<(i64, i64)> {
    let (epoch, version, _) = report.acked.as_ref()?;
    Some((configs::to_stored(*epoch), configs::to_stored(*version)))
}

/// What it refuses, as it is stored.
fn refused(report: &NodeReport) -> Result<Option<String>, Error> {
    let refused = report.refused.as_ref().map(serde_json::to_string).transpose();
    stored(refused, "a refusal")
}

async fn upsert(tx: &DatabaseTransaction, reports: &[&Reported], (heard_by, now): (Uuid, Time)) -> Result<(), Error> {
    use nodes::Column;
    let rows = reports.iter().map(|(node_id, deployment_id, report)| {
        let acked = position(report);
        Ok(nodes::ActiveModel {
            connected: Set(report.connected),
            ready: Set(report.ready),
            stale: Set(report.stale),
            reason: Set(report.reason.clone()),
            refused_configs: Set(configs::to_stored(report.refused_configs)),
            refused: Set(refused(report)?),
            acked_epoch: Set(acked.map(|(epoch, _)| epoch)),
            acked_version: Set(acked.map(|(_, version)| version)),
            acked_digest: Set(report.acked.as_ref().map(|acked| acked.2.clone())),
            http_address: Set(report.http_address.clone()),
            ops_address: Set(report.ops_address.clone()),
            release: Set(report.release.clone()),
            token: Set(report.token.clone()),
            last_seen_at: Set(Some(now.ms())),
            heard_by: Set(Some(heard_by)),
            ..super::nodes::fresh(*node_id, *deployment_id, false, now)
        })
    });
    let rows = rows.collect::<Result<Vec<_>, Error>>()?;
    // A node's id belongs to one deployment: another's token does not move it.
    let own = Expr::col((nodes::Entity, Column::DeploymentId)).eq(Expr::col(("excluded", Column::DeploymentId)));
    nodes::Entity::insert_many(rows)
        .on_conflict(
            OnConflict::column(Column::Id)
                .update_columns([
                    Column::Connected,
                    Column::Ready,
                    Column::Stale,
                    Column::Reason,
                    Column::RefusedConfigs,
                    Column::Refused,
                    Column::AckedEpoch,
                    Column::AckedVersion,
                    Column::AckedDigest,
                    Column::HttpAddress,
                    Column::OpsAddress,
                    Column::Release,
                    Column::Token,
                    Column::LastSeenAt,
                    Column::HeardBy,
                ])
                .action_and_where(own)
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// The last words of a node that its launcher may have forgotten meanwhile, or that may be on the line with another control
/// plane by now: it must not come back, nor go.
async fn leave(
    tx: &DatabaseTransaction,
    (node_id, deployment_id): (Uuid, Uuid),
    report: &NodeReport,
    (heard_by, now): (Uuid, Time),
) -> Result<(), Error> {
    use nodes::Column;
    let acked = position(report);
    nodes::Entity::update_many()
        .col_expr(Column::Connected, Expr::value(report.connected))
        .col_expr(Column::Ready, Expr::value(report.ready))
        .col_expr(Column::Reason, Expr::value(report.reason.clone()))
        .col_expr(Column::Refused, Expr::value(refused(report)?))
        .col_expr(Column::LastSeenAt, Expr::value(now.ms()))
        .col_expr(Column::AckedEpoch, Expr::value(acked.map(|(epoch, _)| epoch)))
        .col_expr(Column::AckedVersion, Expr::value(acked.map(|(_, version)| version)))
        .filter(Column::Id.eq(node_id))
        .filter(Column::DeploymentId.eq(deployment_id))
        .filter(Column::HeardBy.eq(heard_by))
        .exec(tx)
        .await?;
    Ok(())
}
