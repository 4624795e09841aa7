//! How far the nodes of a deployment have come: the few columns that a receipt needs of a thousand rows.

use super::entity::nodes;
use super::nodes::{LOST_AFTER_MS, position};
use super::{Error, Store};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use std::collections::HashMap;
use uuid::Uuid;

/// How far a node has come, as far as it is written down.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The node.
    pub id: Uuid,
    /// The config in force there.
    pub acked: Option<(u64, u64)>,
    /// The name of its pod is written down.
    pub is_named: bool,
    /// Proven to have ended: its launcher saw its process end and has started no other, and nobody is on the line under its
    /// name. One that has no process yet may be about to have one. A static node proves nothing.
    pub ended: bool,
}

impl Store {
    /// How far a deployment's nodes have come, by the time they were first recorded.
    pub(super) async fn progress(&self, deployment_id: Uuid) -> Result<Vec<Progress>, Error> {
        use nodes::Column;
        type Row = (
            Uuid,
            bool,
            Option<i32>,
            Option<String>,
            bool,
            Option<i64>,
            Option<i64>,
            Option<i64>,
            bool,
        );
        let now = self.clock.now();
        let rows: Vec<Row> = nodes::Entity::find()
            .select_only()
            .columns([
                Column::Id,
                Column::Launched,
                Column::Pid,
                Column::LastExit,
                Column::Connected,
                Column::LastSeenAt,
                Column::AckedEpoch,
                Column::AckedVersion,
            ])
            .column_as(Column::Pod.is_not_null(), "is_named")
            .filter(Column::DeploymentId.eq(deployment_id))
            .order_by_asc(Column::CreatedAt)
            .into_tuple()
            .all(&self.db)
            .await?;
        let progress = |(id, launched, pid, exit, connected, seen, epoch, version, is_named): Row| {
            let heard = seen.is_some_and(|seen| now.ms() - seen < LOST_AFTER_MS);
            Progress {
                id,
                acked: position(epoch, version),
                is_named,
                ended: launched && pid.is_none() && exit.is_some() && !(connected && heard),
            }
        };
        Ok(rows.into_iter().map(progress).collect())
    }

    /// How many nodes take calls of each deployment: those that said so and are not lost.
    pub(super) async fn serving_nodes(&self) -> Result<HashMap<Uuid, u32>, Error> {
        use nodes::Column;
        let oldest = self.clock.now().after_ms(-LOST_AFTER_MS);
        let rows: Vec<(Uuid, i64)> = nodes::Entity::find()
            .select_only()
            .column(Column::DeploymentId)
            .column_as(Column::Id.count(), "nodes")
            .filter(Column::Ready.eq(true))
            .filter(Column::LastSeenAt.gt(oldest.ms()))
            .group_by(Column::DeploymentId)
            .into_tuple()
            .all(&self.db)
            .await?;
        let counted = rows.into_iter();
        Ok(counted
            .map(|(id, nodes)| (id, u32::try_from(nodes).unwrap_or(u32::MAX)))
            .collect())
    }

    /// How many nodes took calls of a deployment when they were last heard, however long ago: after an outage they have not
    /// all dialled again.
    pub(super) async fn last_serving_nodes(&self, deployment_id: Uuid) -> Result<u32, Error> {
        use nodes::Column;
        let nodes = nodes::Entity::find()
            .filter(Column::DeploymentId.eq(deployment_id))
            .filter(Column::Ready.eq(true))
            .count(&self.db)
            .await?;
        Ok(u32::try_from(nodes).unwrap_or(u32::MAX))
    }
}
