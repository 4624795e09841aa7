//! Who called with which key: counts that nodes send, added up on the key.

use super::quota::with_quotas;
use crate::domain::{Quota, Time};
use crate::store::entity::{api_keys, deployments};
use crate::store::{Error, Store, commit, configs};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, UpdateMany};
use std::collections::HashMap;
use uuid::Uuid;

/// Calls that a deployment's nodes counted for a key.
#[derive(Clone, Debug)]
pub struct MachineKeyUse {
    /// The key.
    pub key_id: Uuid,
    /// The deployment whose node counted: a node cannot count for a key that does not open it.
    pub deployment_id: Uuid,
    /// Since it last said.
    pub calls: u64,
    /// The last of them.
    pub last_used_at: Time,
}

impl Store {
    /// Those of the keys that have a quota.
    pub(in crate::store) async fn count_key_use(&self, uses: &[MachineKeyUse]) -> Result<Vec<Uuid>, Error> {
        let now = self.clock.now();
        let ids: Vec<Uuid> = uses.iter().map(|used| used.key_id).collect();
        let tx = self.begin().await?;
        let quotas = with_quotas(&tx, &ids).await?.into_iter();
        let quotas: HashMap<Uuid, Quota> = quotas.filter_map(|key| Some((key.id, key.quota?))).collect();
        for used in uses {
            let service = Query::select()
                .column(deployments::Column::ServiceId)
                .from(deployments::Entity)
                .and_where(Expr::col(deployments::Column::Id).eq(used.deployment_id))
                .to_owned();
            let last = used.last_used_at.ms();
            let counted = api_keys::Entity::update_many()
                .col_expr(
                    api_keys::Column::Calls,
                    Expr::col(api_keys::Column::Calls).add(configs::to_stored(used.calls)),
                )
                .col_expr(
                    api_keys::Column::LastUsedAt,
                    Expr::case(
                        Expr::col(api_keys::Column::LastUsedAt).gt(last),
                        Expr::col(api_keys::Column::LastUsedAt),
                    )
                    .finally(last)
                    .into(),
                );
            let counted = match quotas.get(&used.key_id) {
                Some(quota) => in_window(counted, quota.window().around(now).0, used.calls),
                None => counted,
            };
            counted
                .filter(api_keys::Column::Id.eq(used.key_id))
                .filter(
                    api_keys::Column::DeploymentId
                        .eq(used.deployment_id)
                        .or(api_keys::Column::ServiceId.in_subquery(service)),
                )
                .exec(&tx)
                .await?;
        }
        commit(tx).await?;
        Ok(quotas.into_keys().collect())
    }
}

/// Counts in the window that began then, too; calls of another one count no more.
fn in_window(counted: UpdateMany<api_keys::Entity>, since: Time, calls: u64) -> UpdateMany<api_keys::Entity> {
    use api_keys::Column;
    let calls = configs::to_stored(calls);
    let sum = Expr::case(
        Expr::col(Column::QuotaSince).eq(since.ms()),
        Expr::col(Column::QuotaCalls).add(calls),
    );
    counted
        .col_expr(Column::QuotaCalls, sum.finally(calls).into())
        .col_expr(Column::QuotaSince, Expr::value(since.ms()))
}
