//! Sessions and access tokens: from a secret to an actor.

use super::audit::Deed;
use super::entity::{accounts, groups, members, sessions, tokens};
use super::error::stored;
use super::known::Proven;
use super::services::parse_word;
use super::{Change, Error, Permit, Platform, Store, commit};
use crate::authn::{Actor, Membership, PasswordHash, Secret, SecretKind, Via};
use crate::authz::Administer;
use crate::domain::{AccessToken, Account, AccountKind, Invalid, Time, Title};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};
use std::net::IpAddr;
use uuid::Uuid;

/// A session ends twelve hours after it began: a working day.
const SESSION_MS: i64 = 12 * 3_600_000;
/// `last_used_at` is written at most once a minute: a busy token must not cost a write a call.
const LAST_USED_STEP_MS: i64 = 60_000;
/// More tokens than this in one account are a leak, not a need.
const MOST_TOKENS: u64 = 100;

impl Store {
    /// The actor of a secret that came with a call: an access token, or the cookie of a session.
    ///
    /// # Errors
    /// The database failed. A secret that opens nothing gives `None`.
    pub async fn actor(
        &self,
        secret: &Secret,
        kind: SecretKind,
        source: Option<IpAddr>,
    ) -> Result<Option<Actor>, Error> {
        let (now, hash) = (self.clock.now(), secret.hash().into_bytes());
        let known = self.known().await;
        if let Some(proven) = known.actors.get(&hash)
            && proven.holds(now.ms())
        {
            return Ok(Some(Actor { source, ..proven.actor }));
        }
        let (account_id, via, expires_at, noted_until) = match kind {
            SecretKind::AccessToken => {
                let Some(token) = tokens::Entity::find()
                    .filter(tokens::Column::Hash.eq(hash.clone()))
                    .one(&self.db)
                    .await?
                else {
                    return Ok(None);
                };
                if token.expires_at.is_some_and(|end| end <= now.ms()) {
                    return Ok(None);
                }
                let mut noted_until = token.last_used_at.map(|last| last.saturating_add(LAST_USED_STEP_MS));
                if noted_until.is_none_or(|until| until <= now.ms()) {
                    noted_until = Some(now.ms().saturating_add(LAST_USED_STEP_MS));
                    tokens::Entity::update_many()
                        .col_expr(tokens::Column::LastUsedAt, Expr::value(now.ms()))
                        .filter(tokens::Column::Id.eq(token.id))
                        .exec(&self.db)
                        .await?;
                }
                let via = Via::Token(token.id, token.name);
                (token.account_id, via, token.expires_at, noted_until)
            }
            SecretKind::Session => {
                let row = sessions::Entity::find()
                    .filter(sessions::Column::Hash.eq(hash.clone()))
                    .one(&self.db)
                    .await?;
                let Some(session) = row.filter(|session| session.expires_at > now.ms()) else {
                    return Ok(None);
                };
                let via = Via::Session(session.id);
                (session.account_id, via, Some(session.expires_at), None)
            }
            SecretKind::NodeToken => return Ok(None),
        };
        let Some(account) = accounts::Entity::find_by_id(account_id).one(&self.db).await? else {
            return Ok(None);
        };
        if account.disabled {
            return Ok(None);
        }
        let actor = self.describe(account, via, None).await?;
        let proven = Proven {
            actor: actor.clone(),
            expires_at,
            noted_until,
        };
        known.actors.keep(hash, proven, 1 + actor.groups.len());
        Ok(Some(Actor { source, ..actor }))
    }

    async fn describe(&self, account: accounts::Model, via: Via, source: Option<IpAddr>) -> Result<Actor, Error> {
        let kind: AccountKind = parse_word(&account.kind)?;
        let ids = sea_orm::sea_query::Query::select()
            .column(members::Column::GroupId)
            .from(members::Entity)
            .and_where(Expr::col(members::Column::AccountId).eq(account.id))
            .to_owned();
        let rows = groups::Entity::find()
            .filter(groups::Column::Id.in_subquery(ids))
            .order_by_asc(groups::Column::Name)
            .all(&self.db)
            .await?;
        let full = kind == AccountKind::AdminKey;
        Ok(Actor {
            account_id: account.id,
            name: account.name,
            kind,
            admin: full || rows.iter().any(|group| group.admin),
            create_service: full || rows.iter().any(|group| group.create_service || group.admin),
            groups: rows
                .into_iter()
                .map(|group| Membership {
                    id: group.id,
                    name: group.name,
                })
                .collect(),
            via,
            source,
        })
    }

    /// The password hash of a user who may log in, and the account's id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn password_of(&self, name: &str) -> Result<Option<(Uuid, PasswordHash)>, Error> {
        let row = accounts::Entity::find()
            .filter(accounts::Column::Name.eq(name))
            .filter(accounts::Column::Disabled.eq(false))
            .one(&self.db)
            .await?;
        Ok(row.and_then(|row| Some((row.id, PasswordHash::from_stored(row.password_hash?)))))
    }

    /// Begins a session of somebody whose password was right; drops the sessions of theirs that have ended.
    ///
    /// # Errors
    /// No random numbers, or the database failed.
    pub async fn begin_session(
        &self,
        account_id: Uuid,
        source: Option<IpAddr>,
    ) -> Result<(Secret, Actor, Time), Error> {
        let (now, id) = (self.clock.now(), Uuid::now_v7());
        let secret = Secret::mint(SecretKind::Session).map_err(|_| Error::NoRandom)?;
        let ends = now.after_ms(SESSION_MS);
        let tx = self.begin().await?;
        let account = accounts::Entity::find_by_id(account_id)
            .filter(accounts::Column::Disabled.eq(false))
            .one(&tx)
            .await?
            .ok_or(Error::NotFound("account"))?;
        sessions::Entity::delete_many()
            .filter(sessions::Column::ExpiresAt.lte(now.ms()))
            .exec(&tx)
            .await?;
        sessions::ActiveModel {
            id: Set(id),
            account_id: Set(account_id),
            hash: Set(secret.hash().into_bytes()),
            created_at: Set(now.ms()),
            expires_at: Set(ends.ms()),
        }
        .insert(&tx)
        .await?;
        commit(tx).await?;
        let actor = self.describe(account, Via::Session(id), source).await?;
        Deed::new("log-in", "user", &actor.name)
            .record(&self.db, &actor, now)
            .await?;
        Ok((secret, actor, ends))
    }

    /// Ends the session that the actor came with; nothing for one who came with a token.
    ///
    /// # Errors
    /// The database failed.
    pub async fn end_session(&self, actor: &Actor) -> Result<(), Error> {
        if let Via::Session(id) = actor.via {
            let tx = self.begin().await?;
            sessions::Entity::delete_by_id(id).exec(&tx).await?;
            commit(tx).await?;
            self.tell(Change::Account(actor.account_id));
        }
        Ok(())
    }

    /// The access tokens of an account, by name. Whose they are has been asked before: one's own, or an admin asks.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn tokens_of(&self, account_id: Uuid) -> Result<Vec<AccessToken>, Error> {
        let rows = tokens::Entity::find()
            .filter(tokens::Column::AccountId.eq(account_id))
            .order_by_asc(tokens::Column::Name)
            .all(&self.db)
            .await?;
        rows.into_iter().map(token).collect()
    }

    /// Makes an access token; its text is in the answer and nowhere else.
    pub(super) async fn make_token(
        &self,
        actor: &Actor,
        account: (Uuid, &str),
        name: &Title,
        expires_at: Option<Time>,
    ) -> Result<(Secret, AccessToken), Error> {
        let now = self.clock.now();
        if expires_at.is_some_and(|end| end <= now) {
            return Err(Invalid::new("/expires_at", "lies in the past").into());
        }
        let tx = self.begin_creation().await?;
        let count = tokens::Entity::find()
            .filter(tokens::Column::AccountId.eq(account.0))
            .count(&tx)
            .await?;
        if count >= MOST_TOKENS {
            return Err(Error::InUse(format!(
                "an account has at most {MOST_TOKENS} tokens: delete one first"
            )));
        }
        let made = insert_token(&tx, account.0, name, expires_at, now).await?;
        Deed::new("create-token", "token", name.as_str())
            .change(
                None,
                Some(serde_json::json!({"account": account.1, "expires_at": expires_at})),
            )
            .record(&tx, actor, now)
            .await?;
        commit(tx).await?;
        Ok(made)
    }

    pub(super) async fn drop_token(&self, actor: &Actor, account_id: Uuid, name: &str) -> Result<(), Error> {
        let now = self.clock.now();
        let tx = self.begin().await?;
        let gone = tokens::Entity::delete_many()
            .filter(tokens::Column::AccountId.eq(account_id))
            .filter(tokens::Column::Name.eq(name))
            .exec(&tx)
            .await?;
        if gone.rows_affected == 0 {
            return Err(Error::NotFound("token"));
        }
        Deed::new("delete-token", "token", name).record(&tx, actor, now).await?;
        commit(tx).await?;
        self.tell(Change::Account(account_id));
        Ok(())
    }

    /// One's own access tokens.
    ///
    /// # Errors
    /// The database failed.
    pub async fn own_tokens(&self, actor: &Actor) -> Result<Vec<AccessToken>, Error> {
        self.tokens_of(actor.account_id).await
    }

    /// Makes an access token for oneself.
    ///
    /// # Errors
    /// The name is taken, there are too many, the end lies in the past, or the database failed.
    pub async fn create_own_token(
        &self,
        actor: &Actor,
        name: &Title,
        expires_at: Option<Time>,
    ) -> Result<(Secret, AccessToken), Error> {
        self.make_token(actor, (actor.account_id, &actor.name), name, expires_at)
            .await
    }

    /// Deletes an access token of one's own.
    ///
    /// # Errors
    /// There is none of that name, or the database failed.
    pub async fn delete_own_token(&self, actor: &Actor, name: &str) -> Result<(), Error> {
        self.drop_token(actor, actor.account_id, name).await
    }
}

pub(super) async fn insert_token(
    tx: &impl ConnectionTrait,
    account_id: Uuid,
    name: &Title,
    expires_at: Option<Time>,
    now: Time,
) -> Result<(Secret, AccessToken), Error> {
    let secret = Secret::mint(SecretKind::AccessToken).map_err(|_| Error::NoRandom)?;
    let row = tokens::ActiveModel {
        id: Set(Uuid::now_v7()),
        account_id: Set(account_id),
        name: Set(name.to_string()),
        hash: Set(secret.hash().into_bytes()),
        hint: Set(secret.hint()),
        created_at: Set(now.ms()),
        expires_at: Set(expires_at.map(Time::ms)),
        last_used_at: Set(None),
    }
    .insert(tx)
    .await
    .map_err(Error::taken("token"))?;
    Ok((secret, token(row)?))
}

fn token(row: tokens::Model) -> Result<AccessToken, Error> {
    Ok(AccessToken {
        id: row.id,
        name: stored(Title::parse(&row.name), "a token's name")?,
        hint: row.hint,
        created_at: Time::from_ms(row.created_at),
        expires_at: row.expires_at.map(Time::from_ms),
        last_used_at: row.last_used_at.map(Time::from_ms),
    })
}

impl Store {
    /// The access tokens of somebody else's account.
    ///
    /// # Errors
    /// The database failed.
    pub async fn account_tokens(
        &self,
        _permit: &Permit<Administer, Platform>,
        account: &Account,
    ) -> Result<Vec<AccessToken>, Error> {
        self.tokens_of(account.id).await
    }

    /// Makes an access token for somebody else's account.
    ///
    /// # Errors
    /// As for one's own.
    pub async fn create_account_token(
        &self,
        permit: &Permit<Administer, Platform>,
        account: &Account,
        name: &Title,
        expires_at: Option<Time>,
    ) -> Result<(Secret, AccessToken), Error> {
        self.make_token(permit.actor(), (account.id, account.name.as_str()), name, expires_at)
            .await
    }

    /// Deletes an access token of somebody else's account.
    ///
    /// # Errors
    /// There is none of that name, or the database failed.
    pub async fn delete_account_token(
        &self,
        permit: &Permit<Administer, Platform>,
        account: &Account,
        name: &str,
    ) -> Result<(), Error> {
        self.drop_token(permit.actor(), account.id, name).await
    }
}

impl Store {
    /// The same actor as it is now; none when its account is disabled or gone, or its session or token has ended.
    ///
    /// # Errors
    /// The database failed.
    pub async fn refreshed(&self, actor: &Actor) -> Result<Option<Actor>, Error> {
        let now = self.clock.now().ms();
        let holds = match &actor.via {
            Via::Session(id) => sessions::Entity::find_by_id(*id)
                .one(&self.db)
                .await?
                .is_some_and(|session| session.expires_at > now),
            Via::Token(id, _) => {
                let row = tokens::Entity::find_by_id(*id).one(&self.db).await?;
                row.is_some_and(|token| token.expires_at.is_none_or(|end| end > now))
            }
            Via::Machine => true,
        };
        let account = accounts::Entity::find_by_id(actor.account_id).one(&self.db).await?;
        match account.filter(|account| holds && !account.disabled) {
            Some(account) => Ok(Some(self.describe(account, actor.via.clone(), actor.source).await?)),
            None => Ok(None),
        }
    }
}
