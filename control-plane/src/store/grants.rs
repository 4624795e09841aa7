//! Grants: what a group may do with a service or on an infrastructure.

use super::audit::Deed;
use super::configs::{lock_infrastructure, lock_services};
use super::entity::{groups, infrastructure_grants, service_grants};
use super::{Error, Permit, Store, commit};
use crate::authz::{Administer, InfrastructureMask, ServiceMask};
use crate::domain::{Infrastructure, Service};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use serde_json::json;
use uuid::Uuid;

/// What one group was granted.
#[derive(Clone, Debug)]
pub struct Granted<M> {
    /// The group's name.
    pub group: String,
    /// What it was granted.
    pub mask: M,
}

/// A grant is what it says: its bits name the state that somebody has read, and 0 that there was none.
fn unchanged(read: Option<i64>, granted: impl Into<i32>) -> Result<(), Error> {
    match read {
        Some(read) if read != i64::from(granted.into()) => Err(Error::Stale),
        _ => Ok(()),
    }
}

async fn group_id(tx: &impl ConnectionTrait, name: &str) -> Result<Uuid, Error> {
    let row = groups::Entity::find()
        .filter(groups::Column::Name.eq(name))
        .one(tx)
        .await?;
    Ok(row.ok_or(Error::NotFound("group"))?.id)
}

impl Store {
    /// The grants on a service, by the name of the group.
    ///
    /// # Errors
    /// The database failed.
    pub async fn service_grants(
        &self,
        permit: &Permit<Administer, Service>,
    ) -> Result<Vec<Granted<ServiceMask>>, Error> {
        let rows = service_grants::Entity::find()
            .filter(service_grants::Column::ServiceId.eq(permit.id))
            .all(&self.db)
            .await?;
        let grants = rows
            .into_iter()
            .map(|row| (row.group_id, ServiceMask::from_stored(row.mask)))
            .collect();
        self.named(grants).await
    }

    /// The grants on an infrastructure, by the name of the group.
    ///
    /// # Errors
    /// The database failed.
    pub async fn infrastructure_grants(
        &self,
        permit: &Permit<Administer, Infrastructure>,
    ) -> Result<Vec<Granted<InfrastructureMask>>, Error> {
        let rows = infrastructure_grants::Entity::find()
            .filter(infrastructure_grants::Column::InfrastructureId.eq(permit.id))
            .all(&self.db)
            .await?;
        let grants = rows
            .into_iter()
            .map(|row| (row.group_id, InfrastructureMask::from_stored(row.mask)))
            .collect();
        self.named(grants).await
    }

    async fn named<M>(&self, grants: Vec<(Uuid, M)>) -> Result<Vec<Granted<M>>, Error> {
        let names = groups::Entity::find()
            .filter(groups::Column::Id.is_in(grants.iter().map(|(group, _)| *group)))
            .all(&self.db)
            .await?;
        let of = |id: Uuid| names.iter().find(|row| row.id == id).map(|row| row.name.clone());
        let mut named: Vec<_> = grants
            .into_iter()
            .filter_map(|(id, mask)| Some(Granted { group: of(id)?, mask }))
            .collect();
        named.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(named)
    }

    /// Grants a group something on a service; nothing takes the grant away. `read` is what its granter saw, where
    /// that must still be so.
    ///
    /// # Errors
    /// There is no such group, it was granted something else meanwhile, or the database failed.
    pub async fn grant_on_service(
        &self,
        permit: &Permit<Administer, Service>,
        group: &str,
        mask: ServiceMask,
        read: Option<i64>,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let tx = self.begin().await?;
        lock_services(&tx, &[permit.id]).await?;
        let group_id = group_id(&tx, group).await?;
        let key = (permit.id, group_id);
        let before = service_grants::Entity::find_by_id(key).one(&tx).await?;
        let granted = before.as_ref().map(|row| ServiceMask::from_stored(row.mask));
        unchanged(read, granted.unwrap_or_default())?;
        if mask.is_empty() {
            service_grants::Entity::delete_by_id(key).exec(&tx).await?;
        } else {
            let row = service_grants::ActiveModel {
                service_id: Set(permit.id),
                group_id: Set(group_id),
                mask: Set(mask.into()),
            };
            service_grants::Entity::insert(row)
                .on_conflict(
                    OnConflict::columns([service_grants::Column::ServiceId, service_grants::Column::GroupId])
                        .update_column(service_grants::Column::Mask)
                        .to_owned(),
                )
                .exec_without_returning(&tx)
                .await?;
        }
        Deed::new("grant", "service", permit.name.as_str())
            .on_service(permit.id)
            .change(
                Some(json!({"group": group, "privileges": granted.unwrap_or_default().names()})),
                Some(json!({"group": group, "privileges": mask.names()})),
            )
            .record(&tx, permit.actor(), now)
            .await?;
        commit(tx).await?;
        Ok(())
    }

    /// Grants a group something on an infrastructure; nothing takes the grant away. `read` is what its granter saw, where
    /// that must still be so.
    ///
    /// # Errors
    /// There is no such group, it was granted something else meanwhile, or the database failed.
    pub async fn grant_on_infrastructure(
        &self,
        permit: &Permit<Administer, Infrastructure>,
        group: &str,
        mask: InfrastructureMask,
        read: Option<i64>,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let tx = self.begin().await?;
        lock_infrastructure(&tx, permit.id).await?;
        let group_id = group_id(&tx, group).await?;
        let key = (permit.id, group_id);
        let before = infrastructure_grants::Entity::find_by_id(key).one(&tx).await?;
        let granted = before.as_ref().map(|row| InfrastructureMask::from_stored(row.mask));
        unchanged(read, granted.unwrap_or_default())?;
        if mask.is_empty() {
            infrastructure_grants::Entity::delete_by_id(key).exec(&tx).await?;
        } else {
            let row = infrastructure_grants::ActiveModel {
                infrastructure_id: Set(permit.id),
                group_id: Set(group_id),
                mask: Set(mask.into()),
            };
            infrastructure_grants::Entity::insert(row)
                .on_conflict(
                    OnConflict::columns([
                        infrastructure_grants::Column::InfrastructureId,
                        infrastructure_grants::Column::GroupId,
                    ])
                    .update_column(infrastructure_grants::Column::Mask)
                    .to_owned(),
                )
                .exec_without_returning(&tx)
                .await?;
        }
        Deed::new("grant", "infrastructure", permit.name.as_str())
            .on_infrastructure(permit.id)
            .change(
                Some(json!({"group": group, "privileges": granted.unwrap_or_default().names()})),
                Some(json!({"group": group, "privileges": mask.names()})),
            )
            .record(&tx, permit.actor(), now)
            .await?;
        commit(tx).await?;
        Ok(())
    }
}
