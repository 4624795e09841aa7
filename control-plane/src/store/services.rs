//! Services: what can be deployed.

use super::audit::Deed;
use super::deployments::in_the_way;
use super::entity::{accounts, services};
use super::error::stored;
use super::listing::{Beside, Listed, Listing};
use super::{Change, Error, Page, PageRequest, Permit, Platform, Store, Visible, commit, configs};
use crate::authz::{Administer, CreateService, ServiceMask};
use crate::domain::{AccountName, Deployment, Invalid, KeyVisibility, Service, ServiceAccess, ServiceName, Time};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, FromQueryResult, QueryFilter};
use serde_json::json;
use uuid::Uuid;

/// A service to be made.
#[derive(Clone, Debug)]
pub struct NewService {
    /// Unique.
    pub name: ServiceName,
    /// For people.
    pub description: String,
    /// What deployments with `inherit` take over.
    pub access: ServiceAccess,
    /// Who may reveal its recoverable keys.
    pub key_visibility: KeyVisibility,
}

/// What is to be changed of a service; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct ServiceChange {
    /// For people.
    pub description: Option<String>,
    /// What deployments with `inherit` take over.
    pub access: Option<ServiceAccess>,
    /// Who may reveal its recoverable keys.
    pub key_visibility: Option<KeyVisibility>,
    /// The account that gets every privilege on it: one that the actor may see.
    pub owner: Option<AccountName>,
}

#[derive(FromQueryResult)]
pub(super) struct Row {
    id: Uuid,
    name: String,
    description: String,
    owner_id: Uuid,
    owner: String,
    access: String,
    key_visibility: String,
    created_at: i64,
    updated_at: i64,
    revision: i64,
}

/// Services with their owners' names; the caller adds conditions.
pub(super) fn select() -> SelectStatement {
    use services::Column;
    let mut query = Query::select();
    for column in [
        Column::Id,
        Column::Name,
        Column::Description,
        Column::OwnerId,
        Column::Access,
        Column::KeyVisibility,
        Column::CreatedAt,
        Column::UpdatedAt,
        Column::Revision,
    ] {
        query.column((services::Entity, column));
    }
    query
        .expr_as(Expr::col((accounts::Entity, accounts::Column::Name)), "owner")
        .from(services::Entity)
        .inner_join(
            accounts::Entity,
            Expr::col((services::Entity, Column::OwnerId)).equals((accounts::Entity, accounts::Column::Id)),
        )
        .to_owned()
}

impl TryFrom<Row> for Service {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.id,
            name: stored(ServiceName::parse(&row.name), "a service's name")?,
            description: row.description,
            owner_id: row.owner_id,
            owner: row.owner,
            access: parse_word(&row.access)?,
            key_visibility: parse_word(&row.key_visibility)?,
            created_at: Time::from_ms(row.created_at),
            updated_at: Time::from_ms(row.updated_at),
            revision: row.revision,
        })
    }
}

/// The word that an enum is stored as: the one it has in JSON.
pub(super) fn word<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        _ => Err(Error::Unreadable("a word")),
    }
}

/// An enum from the word it is stored as.
pub(super) fn parse_word<T: serde::de::DeserializeOwned>(word: &str) -> Result<T, Error> {
    stored(
        serde_json::from_value(serde_json::Value::String(word.to_owned())),
        "a word",
    )
}

impl Store {
    /// The services that may be listed, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn services(
        &self,
        visible: &Visible<Service>,
        page: &PageRequest,
    ) -> Result<Page<Listed<Service, ServiceMask>>, Error> {
        let seen = visible.seen();
        let mut query = select();
        seen.beside_this_service(&mut query);
        let listing = Listing {
            table: services::Entity,
            query,
            one: Some(seen.this_service()),
            all: Expr::col((services::Entity, services::Column::Id)).in_subquery(seen.services()),
        };
        let rows: Vec<Beside<Row>> = self.listed(listing, seen, page).await?;
        let rows = rows.into_iter().map(|row| row.listed(ServiceMask::from_stored));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        Ok(page.cut(rows, |listed| listed.row.name.to_string()))
    }

    /// Makes a service; its owner is who makes it.
    ///
    /// # Errors
    /// The name is taken, or the database failed.
    pub async fn create_service(
        &self,
        permit: &Permit<CreateService, Platform>,
        new: NewService,
    ) -> Result<Uuid, Error> {
        let (id, now, actor) = (Uuid::now_v7(), self.clock.now(), permit.actor());
        let tx = self.begin_creation().await?;
        services::ActiveModel {
            id: Set(id),
            name: Set(new.name.to_string()),
            description: Set(new.description.clone()),
            owner_id: Set(actor.account_id),
            access: Set(word(&new.access)?),
            key_visibility: Set(word(&new.key_visibility)?),
            created_at: Set(now.ms()),
            updated_at: Set(now.ms()),
            revision: Set(1),
        }
        .insert(&tx)
        .await
        .map_err(Error::taken("service"))?;
        let after = json!({"access": new.access, "key_visibility": new.key_visibility, "description": new.description});
        Deed::new("create-service", "service", new.name.as_str())
            .on_service(id)
            .change(None, Some(after))
            .record(&tx, actor, now)
            .await?;
        commit(tx).await?;
        Ok(id)
    }

    /// Changes a service, and the configs of the deployments that inherit from it.
    ///
    /// # Errors
    /// It has changed since the permit was given, the new owner is unknown or hidden from the actor, or the database failed.
    pub async fn change_service(
        &self,
        permit: &Permit<Administer, Service>,
        visible: &Visible<Service>,
        change: ServiceChange,
    ) -> Result<Vec<Uuid>, Error> {
        let (now, before): (_, &Service) = (self.clock.now(), permit);
        let tx = self.begin().await?;
        configs::lock_services(&tx, &[before.id]).await?;
        let owner_id = match &change.owner {
            None => before.owner_id,
            Some(name) => {
                accounts::Entity::find()
                    .filter(accounts::Column::Name.eq(name.as_str()))
                    .filter(accounts::Column::Disabled.eq(false))
                    .filter(accounts::Column::Id.in_subquery(visible.seen().accounts()))
                    .one(&tx)
                    .await?
                    .ok_or_else(|| Invalid::new("/owner", "there is no such account, or none that you may see"))?
                    .id
            }
        };
        let access = change.access.unwrap_or(before.access);
        let key_visibility = change.key_visibility.unwrap_or(before.key_visibility);
        let description = change.description.unwrap_or_else(|| before.description.clone());
        let changed = services::Entity::update_many()
            .col_expr(services::Column::Description, Expr::value(description.as_str()))
            .col_expr(services::Column::Access, Expr::value(word(&access)?))
            .col_expr(services::Column::KeyVisibility, Expr::value(word(&key_visibility)?))
            .col_expr(services::Column::OwnerId, Expr::value(owner_id))
            .col_expr(services::Column::UpdatedAt, Expr::value(now.ms()))
            .col_expr(services::Column::Revision, Expr::value(before.revision + 1))
            .filter(services::Column::Id.eq(before.id))
            .filter(services::Column::Revision.eq(before.revision))
            .exec(&tx)
            .await?;
        if changed.rows_affected == 0 {
            return Err(Error::Stale);
        }
        let raised = if access == before.access {
            Vec::new()
        } else {
            configs::raise_inheriting(self, &tx, before.id).await?
        };
        let owner = change
            .owner
            .map_or_else(|| before.owner.clone(), |name| name.to_string());
        Deed::new("change-service", "service", before.name.as_str())
            .on_service(before.id)
            .change(
                Some(json!({"access": before.access, "key_visibility": before.key_visibility, "description": before.description, "owner": before.owner})),
                Some(json!({"access": access, "key_visibility": key_visibility, "description": description, "owner": owner})),
            )
            .record(&tx, permit.actor(), now)
            .await?;
        commit(tx).await?;
        for id in &raised {
            self.tell(Change::Config(*id));
        }
        Ok(raised)
    }

    /// Deletes a service that nothing runs of.
    ///
    /// # Errors
    /// It has deployments, it has changed since the permit was given, or the database failed.
    pub async fn delete_service(
        &self,
        permit: Permit<Administer, Service>,
        visible: &Visible<Deployment>,
    ) -> Result<(), Error> {
        use super::entity::deployments;
        let now = self.clock.now();
        let tx = self.begin().await?;
        configs::lock_services(&tx, &[permit.id]).await?;
        let deployed = deployments::Entity::find()
            .filter(deployments::Column::ServiceId.eq(permit.id))
            .all(&tx)
            .await?;
        if !deployed.is_empty() {
            let ids: Vec<Uuid> = deployed.into_iter().map(|row| row.id).collect();
            let names = in_the_way(&tx, visible, &ids).await?;
            return Err(Error::InUse(format!("the service is deployed: delete {names} first")));
        }
        let gone = services::Entity::delete_many()
            .filter(services::Column::Id.eq(permit.id))
            .filter(services::Column::Revision.eq(permit.revision))
            .exec(&tx)
            .await
            .map_err(Error::referred_to("the service has deployments: delete them first"))?;
        if gone.rows_affected == 0 {
            return Err(Error::Stale);
        }
        // Not on the service: nobody sees that any more. The row stays with who did it.
        Deed::new("delete-service", "service", permit.name.as_str())
            .record(&tx, permit.actor(), now)
            .await?;
        commit(tx).await?;
        Ok(())
    }
}
