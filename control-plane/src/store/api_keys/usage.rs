//! Who called with which key: counts that nodes send, added up on the key.

use crate::domain::Time;
use crate::store::entity::{api_keys, deployments};
use crate::store::{Error, Store, commit, configs};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
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
    pub(in crate::store) async fn count_key_use(&self, uses: &[MachineKeyUse]) -> Result<(), Error> {
        let tx = self.begin().await?;
        for used in uses {
            let service = Query::select()
                .column(deployments::Column::ServiceId)
                .from(deployments::Entity)
                .and_where(Expr::col(deployments::Column::Id).eq(used.deployment_id))
                .to_owned();
            let last = used.last_used_at.ms();
            api_keys::Entity::update_many()
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
                )
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
        Ok(())
    }
}
