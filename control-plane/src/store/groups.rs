//! Groups and their members.

use super::accounts::keep_an_admin;
use super::audit::Deed;
use super::entity::{accounts, groups, members};
use super::error::stored;
use super::services::parse_word;
use super::{Change, Error, Page, PageRequest, Permit, Platform, Store, commit};
use crate::authn::Actor;
use crate::authz::Administer;
use crate::domain::{AccountKind, Group, GroupName, Time};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;
use uuid::Uuid;

/// What is to be changed of a group; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct GroupChange {
    /// Its members may create services.
    pub create_service: Option<bool>,
    /// Its members are platform admins.
    pub admin: Option<bool>,
}

fn group(row: groups::Model) -> Result<Group, Error> {
    Ok(Group {
        id: row.id,
        name: stored(GroupName::parse(&row.name), "a group's name")?,
        create_service: row.create_service,
        admin: row.admin,
        created_at: Time::from_ms(row.created_at),
        revision: row.revision,
    })
}

impl Store {
    /// All groups, by name. Names of groups are no secret to anybody who has logged in.
    ///
    /// # Errors
    /// The database failed.
    pub async fn groups(&self, _actor: &Actor, page: &PageRequest) -> Result<Page<Group>, Error> {
        let mut query = groups::Entity::find();
        if let Some(after) = page.after() {
            query = query.filter(groups::Column::Name.gt(after));
        }
        let rows = query
            .order_by_asc(groups::Column::Name)
            .limit(page.fetch())
            .all(&self.db)
            .await?;
        let groups = rows.into_iter().map(group).collect::<Result<Vec<_>, _>>()?;
        Ok(page.cut(groups, |group| group.name.to_string()))
    }

    /// The group of a name.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn group(&self, _actor: &Actor, name: &str) -> Result<Group, Error> {
        let row = groups::Entity::find()
            .filter(groups::Column::Name.eq(name))
            .one(&self.db)
            .await?;
        group(row.ok_or(Error::NotFound("group"))?)
    }

    /// Makes a group.
    ///
    /// # Errors
    /// The name is taken, or the database failed.
    pub async fn create_group(
        &self,
        permit: &Permit<Administer, Platform>,
        name: &GroupName,
        change: GroupChange,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let (create_service, admin) = (change.create_service.unwrap_or(false), change.admin.unwrap_or(false));
        let tx = self.begin_creation().await?;
        groups::ActiveModel {
            id: Set(Uuid::now_v7()),
            name: Set(name.to_string()),
            create_service: Set(create_service),
            admin: Set(admin),
            created_at: Set(now.ms()),
            revision: Set(1),
        }
        .insert(&tx)
        .await
        .map_err(Error::taken("group"))?;
        Deed::new("create-group", "group", name.as_str())
            .change(None, Some(json!({"create_service": create_service, "admin": admin})))
            .record(&tx, permit.actor(), now)
            .await?;
        commit(tx).await?;
        Ok(())
    }

    /// Changes what a group may do everywhere.
    ///
    /// # Errors
    /// It has changed since it was read, nobody would be left to administer, or the database failed.
    pub async fn change_group(
        &self,
        permit: &Permit<Administer, Platform>,
        of: &Group,
        change: GroupChange,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let (create_service, admin) = (
            change.create_service.unwrap_or(of.create_service),
            change.admin.unwrap_or(of.admin),
        );
        let tx = self.begin().await?;
        let changed = groups::Entity::update_many()
            .col_expr(groups::Column::CreateService, Expr::value(create_service))
            .col_expr(groups::Column::Admin, Expr::value(admin))
            .col_expr(groups::Column::Revision, Expr::value(of.revision + 1))
            .filter(groups::Column::Id.eq(of.id))
            .filter(groups::Column::Revision.eq(of.revision))
            .exec(&tx)
            .await?;
        if changed.rows_affected == 0 {
            return Err(Error::Stale);
        }
        keep_an_admin(&tx).await?;
        Deed::new("change-group", "group", of.name.as_str())
            .change(
                Some(json!({"create_service": of.create_service, "admin": of.admin})),
                Some(json!({"create_service": create_service, "admin": admin})),
            )
            .record(&tx, permit.actor(), now)
            .await?;
        commit(tx).await?;
        Ok(())
    }

    /// Deletes a group; its grants go with it.
    ///
    /// # Errors
    /// It has changed since it was read, nobody would be left to administer, or the database failed.
    pub async fn delete_group(&self, permit: &Permit<Administer, Platform>, of: &Group) -> Result<(), Error> {
        let now = self.clock.now();
        let tx = self.begin().await?;
        let gone = groups::Entity::delete_many()
            .filter(groups::Column::Id.eq(of.id))
            .filter(groups::Column::Revision.eq(of.revision))
            .exec(&tx)
            .await?;
        if gone.rows_affected == 0 {
            return Err(Error::Stale);
        }
        keep_an_admin(&tx).await?;
        Deed::new("delete-group", "group", of.name.as_str())
            .record(&tx, permit.actor(), now)
            .await?;
        commit(tx).await?;
        Ok(())
    }

    /// The members of a group, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn members(
        &self,
        _permit: &Permit<Administer, Platform>,
        of: &Group,
        page: &PageRequest,
    ) -> Result<Page<(String, AccountKind)>, Error> {
        let ids = sea_orm::sea_query::Query::select()
            .column(members::Column::AccountId)
            .from(members::Entity)
            .and_where(Expr::col(members::Column::GroupId).eq(of.id))
            .to_owned();
        let mut query = accounts::Entity::find().filter(accounts::Column::Id.in_subquery(ids));
        if let Some(after) = page.after() {
            query = query.filter(accounts::Column::Name.gt(after));
        }
        let rows = query
            .order_by_asc(accounts::Column::Name)
            .limit(page.fetch())
            .all(&self.db)
            .await?;
        let members = rows
            .into_iter()
            .map(|row| Ok((row.name, parse_word(&row.kind)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(page.cut(members, |(name, _)| name.clone()))
    }

    /// Puts an account into a group, or takes it out. Saying it twice changes nothing.
    ///
    /// # Errors
    /// There is no such account, nobody would be left to administer, or the database failed.
    pub async fn set_member(
        &self,
        permit: &Permit<Administer, Platform>,
        of: &Group,
        account: &str,
        member: bool,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let tx = self.begin().await?;
        let row = accounts::Entity::find()
            .filter(accounts::Column::Name.eq(account))
            .one(&tx)
            .await?
            .ok_or(Error::NotFound("account"))?;
        if member {
            let new = members::ActiveModel {
                group_id: Set(of.id),
                account_id: Set(row.id),
            };
            members::Entity::insert(new)
                .on_conflict(
                    OnConflict::columns([members::Column::GroupId, members::Column::AccountId])
                        .do_nothing()
                        .to_owned(),
                )
                .exec_without_returning(&tx)
                .await?;
        } else {
            members::Entity::delete_many()
                .filter(members::Column::GroupId.eq(of.id))
                .filter(members::Column::AccountId.eq(row.id))
                .exec(&tx)
                .await?;
            keep_an_admin(&tx).await?;
        }
        let action = if member { "add-member" } else { "remove-member" };
        Deed::new(action, "group", of.name.as_str())
            .change(None, Some(json!({"account": row.name})))
            .record(&tx, permit.actor(), now)
            .await?;
        commit(tx).await?;
        self.tell(Change::Account(row.id));
        Ok(())
    }
}
