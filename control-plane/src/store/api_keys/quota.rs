//! Keys whose quota is used up: refused by their nodes from then until the window ends.
//!
//! Apart from the counting, which is one transaction for the calls of many keys: this raises configs, and so begins by
//! locking the service, as every change of a key does. The rule a newcomer would break: whether the nodes have been told
//! stands in the row, in the transaction of the config that tells them. What fails here is done with the key's next calls,
//! and there are some as long as nodes let it in.

use super::row;
use crate::domain::{ApiKey, KeyPlace, Time};
use crate::store::entity::{api_keys, deployments};
use crate::store::{Change, Error, Store, commit, configs};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

/// Ids in one statement: SQLite and PostgreSQL take many more.
const AT_ONCE: usize = 500;
/// Keys whose configs are raised in one turn. What else nodes say is written down after it; the other keys have theirs with
/// their next calls.
const MOST_IN_TURN: usize = 32;

impl Store {
    /// Has those of these keys refused that have no quota left, and whose nodes do not know it yet.
    pub(in crate::store) async fn end_quotas(&self, keys: &[Uuid]) -> Result<(), Error> {
        let now = self.clock.now();
        let keys = with_quotas(&self.db, keys).await?;
        let mut ended = Ok(());
        for key in keys.iter().filter(|key| is_news(key, now)).take(MOST_IN_TURN) {
            // One that cannot be must not keep the others.
            ended = ended.and(self.end_quota(key.id).await);
        }
        ended
    }

    async fn end_quota(&self, id: Uuid) -> Result<(), Error> {
        let Some(service_id) = self.service_of_key(id).await? else {
            return Ok(());
        };
        let tx = self.begin().await?;
        configs::lock_services(&tx, &[service_id]).await?;
        let now = self.clock.now();
        // As it is now that nobody changes it.
        let row = api_keys::Entity::find_by_id(id).one(&tx).await?;
        let key = row.map(row::key).transpose()?;
        let Some(key) = key.filter(|key| is_news(key, now)) else {
            return Ok(());
        };
        let until = key.used_up(now);
        api_keys::Entity::update_many()
            .col_expr(api_keys::Column::UsedUpUntil, Expr::value(until.map(Time::ms)))
            .filter(api_keys::Column::Id.eq(id))
            .exec(&tx)
            .await?;
        let raised = match key.place {
            KeyPlace::Service(id) => configs::raise_inheriting(self, &tx, id).await?,
            KeyPlace::Deployment(id) => {
                configs::raise(self, &tx, id).await?;
                vec![id]
            }
        };
        commit(tx).await?;
        for deployment_id in raised {
            self.tell(Change::Config(deployment_id));
            let until = until.map(|until| until.to_string()).unwrap_or_default();
            let message = format!("key {} has used up its quota: it is refused until {until}", key.name);
            let tx = self.begin().await?;
            self.note_event(tx, deployment_id, "quota-used-up", &message).await?;
        }
        Ok(())
    }

    async fn service_of_key(&self, id: Uuid) -> Result<Option<Uuid>, Error> {
        let Some(key) = api_keys::Entity::find_by_id(id).one(&self.db).await? else {
            return Ok(None);
        };
        let Some(deployment_id) = key.deployment_id else {
            return Ok(key.service_id);
        };
        let deployment = deployments::Entity::find_by_id(deployment_id).one(&self.db).await?;
        Ok(deployment.map(|deployment| deployment.service_id))
    }
}

/// Those of these keys that have a quota.
pub(super) async fn with_quotas(db: &impl ConnectionTrait, keys: &[Uuid]) -> Result<Vec<ApiKey>, Error> {
    let mut found = Vec::new();
    for some in keys.chunks(AT_ONCE) {
        let rows = api_keys::Entity::find()
            .filter(api_keys::Column::Id.is_in(some.iter().copied()))
            .filter(api_keys::Column::Quota.is_not_null())
            .all(db)
            .await?;
        for row in rows {
            found.push(row::key(row)?);
        }
    }
    Ok(found)
}

/// Whether its nodes let it in although nothing is left.
fn is_news(key: &ApiKey, now: Time) -> bool {
    key.used_up(now).is_some_and(|until| key.used_up_until < Some(until))
}
