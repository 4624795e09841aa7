//! What nodes say of themselves: written down in batches, because a change that reaches a thousand nodes comes back as a
//! thousand acknowledgements.

use super::entity::nodes;
use super::error::stored;
use super::{Change, Error, Store, commit, configs};
use crate::domain::Refusal;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use std::collections::BTreeSet;
use uuid::Uuid;

/// What a node said of itself on its stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeReport {
    /// On the line now.
    pub connected: bool,
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
}

impl Store {
    /// Writes down what nodes, each with its deployment, said of themselves: all in one transaction.
    pub(super) async fn save_reports(&self, reports: &[(Uuid, Uuid, NodeReport)]) -> Result<(), Error> {
        let now = self.clock.now();
        let of: BTreeSet<Uuid> = reports.iter().map(|(_, deployment_id, _)| *deployment_id).collect();
        // In one order everywhere, so that two replicas do not wait for each other.
        let mut sorted: Vec<_> = reports.iter().collect();
        sorted.sort_by_key(|(node_id, deployment_id, _)| (*node_id, *deployment_id));
        let tx = self.begin().await?;
        for (node_id, deployment_id, report) in sorted {
            let acked = report
                .acked
                .as_ref()
                .map(|acked| (configs::to_stored(acked.0), configs::to_stored(acked.1)));
            let mut row = super::nodes::fresh(*node_id, *deployment_id, false, now);
            row.connected = Set(report.connected);
            row.ready = Set(report.ready);
            row.stale = Set(report.stale);
            row.reason = Set(report.reason.clone());
            row.refused_configs = Set(configs::to_stored(report.refused_configs));
            let refused = report.refused.as_ref().map(serde_json::to_string).transpose();
            let refused = stored(refused, "a refusal")?;
            row.refused = Set(refused.clone());
            row.acked_epoch = Set(acked.map(|(epoch, _)| epoch));
            row.acked_version = Set(acked.map(|(_, version)| version));
            row.acked_digest = Set(report.acked.as_ref().map(|acked| acked.2.clone()));
            row.http_address = Set(report.http_address.clone());
            row.ops_address = Set(report.ops_address.clone());
            row.release = Set(report.release.clone());
            row.last_seen_at = Set(Some(now.ms()));
            use nodes::Column;
            if !report.connected {
                // The last word of a node that its launcher may have forgotten meanwhile: it must not come back.
                nodes::Entity::update_many()
                    .col_expr(Column::Connected, Expr::value(false))
                    .col_expr(Column::Ready, Expr::value(report.ready))
                    .col_expr(Column::Reason, Expr::value(report.reason.clone()))
                    .col_expr(Column::Refused, Expr::value(refused))
                    .col_expr(Column::LastSeenAt, Expr::value(now.ms()))
                    .col_expr(Column::AckedEpoch, Expr::value(acked.map(|(epoch, _)| epoch)))
                    .col_expr(Column::AckedVersion, Expr::value(acked.map(|(_, version)| version)))
                    .filter(Column::Id.eq(*node_id))
                    .filter(Column::DeploymentId.eq(*deployment_id))
                    .exec(&tx)
                    .await?;
                continue;
            }
            nodes::Entity::insert(row)
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
                            Column::LastSeenAt,
                        ])
                        // A node's id belongs to one deployment: another's token does not move it.
                        .action_and_where(Expr::col((nodes::Entity, Column::DeploymentId)).eq(*deployment_id))
                        .to_owned(),
                )
                .exec_without_returning(&tx)
                .await?;
        }
        commit(tx).await?;
        for deployment_id in of {
            self.tell(Change::Node(deployment_id));
        }
        Ok(())
    }
}
