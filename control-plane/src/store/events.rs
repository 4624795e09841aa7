//! What happened to deployments, for people who watch.

use super::connection::lock;
use super::entity::events;
use super::{Change, Error, Seen, Store, commit};
use crate::domain::{Deployment, Time};
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, NotSet, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Rising.
    pub id: i64,
    /// When.
    pub at: Time,
    /// The deployment's name then.
    pub deployment: String,
    /// One word: created, change, enable, node-ready, node-exited, …
    pub kind: String,
    /// One line for people.
    pub message: String,
}

/// Which deployment an event is about.
pub(super) struct Place<'a> {
    pub(super) deployment_id: Uuid,
    pub(super) deployment: &'a str,
    pub(super) service_id: Uuid,
    pub(super) infrastructure_id: Uuid,
}

impl<'a> Place<'a> {
    pub(super) fn of(deployment: &'a Deployment) -> Self {
        Self {
            deployment_id: deployment.id,
            deployment: deployment.name.as_str(),
            service_id: deployment.service_id,
            infrastructure_id: deployment.infrastructure_id,
        }
    }
}

/// Events read at once.
const BATCH: u64 = 200;

/// Any number, as long as nothing else in the database locks it: the first eight bytes of SHA-256("castoff event").
const ORDER: i64 = 0x0969_5823_76ae_fde2;

/// The last thing in its transaction: events become visible in the order of their ids, so that nobody who reads on from
/// an id passes over one that is committed later.
pub(super) async fn insert(
    tx: &DatabaseTransaction,
    place: &Place<'_>,
    at: Time,
    kind: &str,
    message: &str,
) -> Result<(), Error> {
    lock(tx, ORDER).await?;
    events::ActiveModel {
        id: NotSet,
        at: Set(at.ms()),
        deployment_id: Set(place.deployment_id),
        deployment: Set(place.deployment.to_owned()),
        service_id: Set(place.service_id),
        infrastructure_id: Set(place.infrastructure_id),
        kind: Set(kind.to_owned()),
        message: Set(message.to_owned()),
    }
    .insert(tx)
    .await?;
    Ok(())
}

impl Store {
    /// The events after one, of what may be seen now, of one deployment or of all; the oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn events_after(&self, seen: &Seen, deployment: Option<Uuid>, after: i64) -> Result<Vec<Event>, Error> {
        let mut query = events::Entity::find()
            .filter(events::Column::Id.gt(after))
            .filter(events::Column::ServiceId.in_subquery(seen.services()))
            .filter(events::Column::InfrastructureId.in_subquery(seen.infrastructures()));
        if let Some(id) = deployment {
            query = query.filter(events::Column::DeploymentId.eq(id));
        }
        let rows = query
            .order_by_asc(events::Column::Id)
            .limit(BATCH)
            .all(&self.db)
            .await?;
        let event = |row: events::Model| Event {
            id: row.id,
            at: Time::from_ms(row.at),
            deployment: row.deployment,
            kind: row.kind,
            message: row.message,
        };
        Ok(rows.into_iter().map(event).collect())
    }

    /// The id of the newest event: where somebody who watches from now on begins.
    ///
    /// # Errors
    /// The database failed.
    pub async fn newest_event(&self) -> Result<i64, Error> {
        let row = events::Entity::find()
            .order_by_desc(events::Column::Id)
            .limit(1)
            .one(&self.db)
            .await?;
        Ok(row.map_or(0, |row| row.id))
    }

    /// In a transaction of its own, which ends here.
    pub(super) async fn note_event(
        &self,
        tx: DatabaseTransaction,
        deployment_id: Uuid,
        kind: &str,
        message: &str,
    ) -> Result<(), Error> {
        let Some(deployment) = self.deployment_by_id(deployment_id).await? else {
            return Ok(());
        };
        insert(&tx, &Place::of(&deployment), self.clock.now(), kind, message).await?;
        commit(tx).await?;
        self.tell(Change::Event);
        Ok(())
    }
}
