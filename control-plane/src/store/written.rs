//! What a control plane has written down last of the nodes that are on the line with it.
//!
//! A push comes back as an acknowledgement from each node, of which nothing else has changed: then only that is written. The
//! rule a newcomer would break: this is what was written, not what is there. Where somebody else has written since, the
//! whole report is.

use super::reports::{NodeReport, position};
use super::{Error, entity::nodes};
use crate::domain::Time;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// A node, its deployment, and what it said of itself.
pub type Reported = (Uuid, Uuid, Arc<NodeReport>);

/// Nodes in one statement, as few sizes as possible: see `AT_ONCE` of reports.
const AT_ONCE: [usize; 4] = [128, 32, 8, 1];

/// The last report of each node and deployment that was written.
#[derive(Debug, Default)]
pub struct Written(HashMap<(Uuid, Uuid), Arc<NodeReport>>);

impl Written {
    /// Whether a node says nothing new but what is in force there.
    fn only_acknowledges(&self, (node_id, deployment_id, report): &Reported) -> bool {
        let before = self.0.get(&(*node_id, *deployment_id));
        before.is_some_and(|before| report.acked.is_some() && before.differs_in_acked_alone(report))
    }

    /// These have been written: of those that are on the line it is remembered.
    pub(super) fn note(&mut self, reports: &[Reported]) {
        for (node_id, deployment_id, report) in reports {
            let key = (*node_id, *deployment_id);
            if report.connected && !report.moving {
                self.0.insert(key, Arc::clone(report));
            } else {
                self.0.remove(&key);
            }
        }
    }

    /// Whether these have been written nobody knows.
    pub(super) fn forget(&mut self, reports: &[Reported]) {
        for (node_id, deployment_id, _) in reports {
            self.0.remove(&(*node_id, *deployment_id));
        }
    }

    /// Writes down the acknowledgements of those that say nothing else. Those that are left are to be written whole.
    pub(super) async fn acknowledge<'a>(
        &self,
        tx: &DatabaseTransaction,
        reports: &'a [Reported],
        by: (Uuid, Time),
    ) -> Result<Vec<&'a Reported>, Error> {
        let (mut acks, mut left): (Vec<_>, Vec<_>) =
            reports.iter().partition(|reported| self.only_acknowledges(reported));
        acks.sort_by_key(|(node_id, deployment_id, report)| (*deployment_id, position(report), *node_id));
        let same = |one: &&Reported, other: &&Reported| one.1 == other.1 && one.2.acked == other.2.acked;
        for mut rest in acks.chunk_by(same) {
            while !rest.is_empty() {
                let size = AT_ONCE.into_iter().find(|size| *size <= rest.len()).unwrap_or(1);
                let (together, after) = rest.split_at(size);
                if !update(tx, together, by).await? {
                    left.extend(together);
                }
                rest = after;
            }
        }
        Ok(left)
    }
}

/// Of nodes of one deployment with one config in force. Whether all of their rows are still as this control plane has written
/// them, but for what it writes here.
async fn update(
    tx: &DatabaseTransaction,
    together: &[&Reported],
    (heard_by, now): (Uuid, Time),
) -> Result<bool, Error> {
    use nodes::Column;
    let Some((_, deployment_id, report)) = together.first() else {
        return Ok(true);
    };
    let acked = position(report);
    let digest = report.acked.as_ref().map(|(_, _, digest)| digest.clone());
    let updated = nodes::Entity::update_many()
        .col_expr(Column::AckedEpoch, Expr::value(acked.map(|(epoch, _)| epoch)))
        .col_expr(Column::AckedVersion, Expr::value(acked.map(|(_, version)| version)))
        .col_expr(Column::AckedDigest, Expr::value(digest))
        .col_expr(Column::LastSeenAt, Expr::value(now.ms()))
        .filter(Column::Id.is_in(together.iter().map(|(node_id, ..)| *node_id)))
        .filter(Column::DeploymentId.eq(*deployment_id))
        .filter(Column::HeardBy.eq(heard_by))
        .filter(Column::Connected.eq(true))
        .exec(tx)
        .await?;
    Ok(updated.rows_affected == together.len() as u64)
}
