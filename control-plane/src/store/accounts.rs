//! Accounts: users, service accounts, admin keys.

use super::audit::{Deed, kind_name};
use super::entity::{accounts, groups, members, services, sessions, tokens};
use super::error::stored;
use super::services::parse_word;
use super::{Change, Error, Page, PageRequest, Permit, Platform, Store, commit, take_turn};
use crate::authn::{Actor, PasswordHash};
use crate::authz::Administer;
use crate::domain::{Account, AccountKind, AccountName, Time};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use serde_json::json;
use uuid::Uuid;

/// An account to be made.
#[derive(Clone)]
pub struct NewAccount {
    /// What it is.
    pub kind: AccountKind,
    /// Unique among all accounts.
    pub name: AccountName,
    /// What people call it.
    pub display_name: String,
    /// Of its password, for a user.
    pub password: Option<PasswordHash>,
}

/// What is to be changed of an account; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// What people call it.
    pub display_name: Option<String>,
    /// Ends its sessions, tokens and event streams at once.
    pub disabled: Option<bool>,
}

pub(super) fn account(row: accounts::Model, groups: Vec<String>) -> Result<Account, Error> {
    Ok(Account {
        id: row.id,
        kind: parse_word(&row.kind)?,
        name: stored(AccountName::parse(&row.name), "an account's name")?,
        display_name: row.display_name,
        disabled: row.disabled,
        groups,
        created_at: Time::from_ms(row.created_at),
        revision: row.revision,
    })
}

pub(super) async fn insert(tx: &impl ConnectionTrait, new: NewAccount, now: Time) -> Result<Uuid, Error> {
    let id = Uuid::now_v7();
    accounts::ActiveModel {
        id: Set(id),
        kind: Set(kind_name(new.kind).to_owned()),
        name: Set(new.name.to_string()),
        display_name: Set(new.display_name),
        password_hash: Set(new.password.map(PasswordHash::into_stored)),
        disabled: Set(false),
        created_at: Set(now.ms()),
        revision: Set(1),
    }
    .insert(tx)
    .await
    .map_err(Error::taken("account"))?;
    Ok(id)
}

impl Store {
    /// The accounts of a kind, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn accounts(
        &self,
        _permit: &Permit<Administer, Platform>,
        kind: AccountKind,
        page: &PageRequest,
    ) -> Result<Page<Account>, Error> {
        let mut query = accounts::Entity::find().filter(accounts::Column::Kind.eq(kind_name(kind)));
        if let Some(after) = page.after() {
            query = query.filter(accounts::Column::Name.gt(after));
        }
        let rows = query
            .order_by_asc(accounts::Column::Name)
            .limit(page.fetch())
            .all(&self.db)
            .await?;
        let groups = self.groups_of(rows.iter().map(|row| row.id).collect()).await?;
        let of = |id: Uuid| {
            groups
                .iter()
                .filter(|(account, _)| *account == id)
                .map(|(_, name)| name.clone())
                .collect()
        };
        let accounts = rows
            .into_iter()
            .map(|row| {
                let names = of(row.id);
                account(row, names)
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(page.cut(accounts, |account| account.name.to_string()))
    }

    /// The account of a kind and a name.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn account(
        &self,
        _permit: &Permit<Administer, Platform>,
        kind: AccountKind,
        name: &str,
    ) -> Result<Account, Error> {
        let row = accounts::Entity::find()
            .filter(accounts::Column::Kind.eq(kind_name(kind)))
            .filter(accounts::Column::Name.eq(name))
            .one(&self.db)
            .await?
            .ok_or(Error::NotFound("account"))?;
        let groups = self
            .groups_of(vec![row.id])
            .await?
            .into_iter()
            .map(|(_, name)| name)
            .collect();
        account(row, groups)
    }

    /// Makes an account.
    ///
    /// # Errors
    /// The name is taken, or the database failed.
    pub async fn create_account(&self, permit: &Permit<Administer, Platform>, new: NewAccount) -> Result<(), Error> {
        let now = self.clock.now();
        let (name, kind) = (new.name.clone(), kind_name(new.kind));
        let tx = self.begin_creation().await?;
        let after = json!({"display_name": new.display_name});
        insert(&tx, new, now).await?;
        Deed::new("create-account", kind, name.as_str())
            .change(None, Some(after))
            .record(&tx, permit.actor(), now)
            .await?;
        commit(tx).await?;
        Ok(())
    }

    /// Changes an account. A disabled one loses its sessions in the same transaction; its tokens stop working, too.
    ///
    /// # Errors
    /// It has changed since it was read, it is the last admin, or the database failed.
    pub async fn change_account(
        &self,
        permit: &Permit<Administer, Platform>,
        of: &Account,
        change: AccountChange,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let tx = self.begin().await?;
        let disabled = change.disabled.unwrap_or(of.disabled);
        let display_name = change.display_name.unwrap_or_else(|| of.display_name.clone());
        let changed = accounts::Entity::update_many()
            .col_expr(accounts::Column::DisplayName, Expr::value(display_name.as_str()))
            .col_expr(accounts::Column::Disabled, Expr::value(disabled))
            .col_expr(accounts::Column::Revision, Expr::value(of.revision + 1))
            .filter(accounts::Column::Id.eq(of.id))
            .filter(accounts::Column::Revision.eq(of.revision))
            .exec(&tx)
            .await?;
        if changed.rows_affected == 0 {
            return Err(Error::Stale);
        }
        if disabled && !of.disabled {
            sessions::Entity::delete_many()
                .filter(sessions::Column::AccountId.eq(of.id))
                .exec(&tx)
                .await?;
            keep_an_admin(&tx).await?;
        }
        Deed::new("change-account", kind_name(of.kind), of.name.as_str())
            .change(
                Some(json!({"display_name": of.display_name, "disabled": of.disabled})),
                Some(json!({"display_name": display_name, "disabled": disabled})),
            )
            .record(&tx, permit.actor(), now)
            .await?;
        commit(tx).await?;
        self.tell(Change::Account(of.id));
        Ok(())
    }

    /// Sets a user's password and ends their sessions, except the actor's own.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_password(&self, actor: &Actor, account_id: Uuid, hash: PasswordHash) -> Result<(), Error> {
        let now = self.clock.now();
        let tx = self.begin().await?;
        let row = accounts::Entity::find_by_id(account_id)
            .one(&tx)
            .await?
            .ok_or(Error::NotFound("account"))?;
        accounts::Entity::update_many()
            .col_expr(accounts::Column::PasswordHash, Expr::value(hash.into_stored()))
            .filter(accounts::Column::Id.eq(account_id))
            .exec(&tx)
            .await?;
        let mut ended = sessions::Entity::delete_many().filter(sessions::Column::AccountId.eq(account_id));
        if let crate::authn::Via::Session(own) = actor.via {
            ended = ended.filter(sessions::Column::Id.ne(own));
        }
        ended.exec(&tx).await?;
        Deed::new("set-password", "user", &row.name)
            .record(&tx, actor, now)
            .await?;
        commit(tx).await?;
        self.tell(Change::Account(account_id));
        Ok(())
    }

    /// Deletes an account that owns nothing.
    ///
    /// # Errors
    /// It owns services, it is the last admin, it has changed since it was read, or the database failed.
    pub async fn delete_account(&self, permit: &Permit<Administer, Platform>, of: &Account) -> Result<(), Error> {
        let now = self.clock.now();
        let tx = self.begin().await?;
        let owned = services::Entity::find()
            .filter(services::Column::OwnerId.eq(of.id))
            .count(&tx)
            .await?;
        if owned > 0 {
            return Err(Error::InUse(format!(
                "the account owns {owned} services: hand them over first"
            )));
        }
        members::Entity::delete_many()
            .filter(members::Column::AccountId.eq(of.id))
            .exec(&tx)
            .await?;
        tokens::Entity::delete_many()
            .filter(tokens::Column::AccountId.eq(of.id))
            .exec(&tx)
            .await?;
        let gone = accounts::Entity::delete_many()
            .filter(accounts::Column::Id.eq(of.id))
            .filter(accounts::Column::Revision.eq(of.revision))
            .exec(&tx)
            .await
            .map_err(Error::referred_to("the account owns services: hand them over first"))?;
        if gone.rows_affected == 0 {
            return Err(Error::Stale);
        }
        keep_an_admin(&tx).await?;
        Deed::new("delete-account", kind_name(of.kind), of.name.as_str())
            .record(&tx, permit.actor(), now)
            .await?;
        commit(tx).await?;
        self.tell(Change::Account(of.id));
        Ok(())
    }

    pub(super) async fn groups_of(&self, accounts: Vec<Uuid>) -> Result<Vec<(Uuid, String)>, Error> {
        let rows = members::Entity::find()
            .filter(members::Column::AccountId.is_in(accounts))
            .all(&self.db)
            .await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let named = groups::Entity::find()
            .filter(groups::Column::Id.is_in(rows.iter().map(|row| row.group_id)))
            .order_by_asc(groups::Column::Name)
            .all(&self.db)
            .await?;
        let mut of = Vec::with_capacity(rows.len());
        for group in &named {
            of.extend(
                rows.iter()
                    .filter(|row| row.group_id == group.id)
                    .map(|row| (row.account_id, group.name.clone())),
            );
        }
        Ok(of)
    }
}

/// Refuses what would leave nobody who can administer the platform.
pub(super) async fn keep_an_admin(tx: &DatabaseTransaction) -> Result<(), Error> {
    // Two who leave at once would each see the other one stay.
    take_turn(tx).await?;
    let admins: Vec<Uuid> = groups::Entity::find()
        .filter(groups::Column::Admin.eq(true))
        .all(tx)
        .await?
        .into_iter()
        .map(|group| group.id)
        .collect();
    let candidates: Vec<Uuid> = members::Entity::find()
        .filter(members::Column::GroupId.is_in(admins))
        .all(tx)
        .await?
        .into_iter()
        .map(|member| member.account_id)
        .collect();
    let left = accounts::Entity::find()
        .filter(accounts::Column::Id.is_in(candidates))
        .filter(accounts::Column::Disabled.eq(false))
        .filter(accounts::Column::Kind.eq(kind_name(AccountKind::User)))
        .count(tx)
        .await?;
    if left == 0 {
        return Err(Error::InUse(
            "this would leave no user who is a platform admin".to_owned(),
        ));
    }
    Ok(())
}
