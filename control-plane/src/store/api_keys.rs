//! API keys of services and deployments: every change raises the configs that it concerns, in the same transaction.

mod quota;
mod reveal;
mod ring;
mod row;
mod usage;

pub use ring::{KeyRing, WritableRing};
pub(in crate::store) use row::limit;
pub use usage::MachineKeyUse;

use super::entity::api_keys;
use super::error::stored;
use super::services::word;
use super::vault::Place;
use super::{Change, Error, Page, PageRequest, Store, commit, configs};
use crate::authn::random_bytes;
use crate::domain::{ApiKey, Invalid, KeyClass, KeyPlace, KeyState, KeyText, Quota, RateLimit, Time, Title};
use castoff_wire::key::KeyHash;
use row::{key, limit_text};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;
use uuid::Uuid;

/// A key to be made.
pub struct NewKey {
    /// What people call it.
    pub name: Title,
    /// Whether it can be shown again.
    pub class: KeyClass,
    /// Taken over from elsewhere; minted when absent.
    pub imported: Option<KeyText>,
    /// Names of the endpoints it opens; empty: all.
    pub endpoints: Vec<String>,
    /// From when it opens.
    pub not_before: Option<Time>,
    /// Until when it opens.
    pub expires_at: Option<Time>,
    /// How often it may be used.
    pub rate_limit: Option<RateLimit>,
    /// How much it may be used in a day or month.
    pub quota: Option<Quota>,
}

/// What is to be changed of a key; what is absent stays, and `Some(None)` takes a bound away.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    /// What people call it.
    pub name: Option<Title>,
    /// Names of the endpoints it opens.
    pub endpoints: Option<Vec<String>>,
    /// From when it opens.
    pub not_before: Option<Option<Time>>,
    /// Until when it opens.
    pub expires_at: Option<Option<Time>>,
    /// How often it may be used.
    pub rate_limit: Option<Option<RateLimit>>,
    /// How much it may be used in a day or month. What was used of another one of the same window counts.
    pub quota: Option<Option<Quota>>,
}

fn check_bounds(not_before: Option<Time>, expires_at: Option<Time>) -> Result<(), Error> {
    if let (Some(start), Some(end)) = (not_before, expires_at)
        && start >= end
    {
        return Err(Invalid::new("/expires_at", "must come after not_before").into());
    }
    Ok(())
}

/// What a change of a key did: the key, and the deployments whose configs were raised.
pub struct Changed {
    /// As it is now.
    pub key: ApiKey,
    /// To be waited for.
    pub raised: Vec<Uuid>,
}

impl Store {
    /// The keys of a place, masked, by the time they were made.
    ///
    /// # Errors
    /// The database failed, or the cursor is not one that this list gave.
    pub async fn keys(&self, ring: &KeyRing<'_>, page: &PageRequest) -> Result<Page<ApiKey>, Error> {
        let mut query = ring.select();
        if let Some(after) = page.after() {
            let id = Uuid::try_parse(after).map_err(|_| Invalid::new("/cursor", "is not one that a list gave"))?;
            query = query.filter(api_keys::Column::Id.gt(id));
        }
        let rows = query
            .order_by_asc(api_keys::Column::Id)
            .limit(page.fetch())
            .all(&self.db)
            .await?;
        let rows = rows.into_iter().map(key).collect::<Result<Vec<_>, _>>()?;
        Ok(page.cut(rows, |key| key.id.to_string()))
    }

    /// One key of a place, masked.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn key(&self, ring: &KeyRing<'_>, id: Uuid) -> Result<ApiKey, Error> {
        let row = ring.select().filter(api_keys::Column::Id.eq(id)).one(&self.db).await?;
        key(row.ok_or(Error::NotFound("key"))?)
    }

    /// Makes a key; its text is in the answer, and for the class reveal-once nowhere else.
    ///
    /// # Errors
    /// The same key is there already, there are too many, its bounds do not fit, or the database failed.
    pub async fn create_key(&self, ring: &WritableRing<'_>, mut new: NewKey) -> Result<(KeyText, Changed), Error> {
        let ring = &ring.0;
        check_bounds(new.not_before, new.expires_at)?;
        let random = random_bytes::<32>().map_err(|_| Error::NoRandom)?;
        let text = new.imported.take().unwrap_or_else(|| KeyText::mint(&random));
        let tx = self.begin_creation().await?;
        configs::lock_services(&tx, &[ring.service_id]).await?;
        let made = self.insert_key(ring, &tx, &text, new, None).await?;
        ring.deed("create-key", made.name.as_str())
            .change(None, Some(ring.look(&made)))
            .record(&tx, ring.actor, made.created_at)
            .await?;
        let raised = ring.raise(self, &tx).await?;
        commit(tx).await?;
        self.tell_raised(&raised);
        Ok((text, Changed { key: made, raised }))
    }

    /// A successor has used as much of its quota as the key before it.
    async fn insert_key(
        &self,
        ring: &KeyRing<'_>,
        tx: &DatabaseTransaction,
        text: &KeyText,
        new: NewKey,
        before: Option<&ApiKey>,
    ) -> Result<ApiKey, Error> {
        let used = before.map(|before| before.quota_use).unwrap_or_default();
        let (id, now) = (Uuid::now_v7(), self.clock.now());
        let sealed = match new.class {
            KeyClass::RevealOnce => None,
            KeyClass::Recoverable => {
                let place = Place {
                    table: "api_keys",
                    row: id,
                    owner: ring.owner(),
                };
                Some(self.vault.seal(&place, text.expose().as_bytes())?)
            }
        };
        let (service_id, deployment_id) = match ring.place {
            KeyPlace::Service(id) => (Some(id), None),
            KeyPlace::Deployment(id) => (None, Some(id)),
        };
        let row = api_keys::ActiveModel {
            id: Set(id),
            service_id: Set(service_id),
            deployment_id: Set(deployment_id),
            name: Set(new.name.to_string()),
            class: Set(word(&new.class)?),
            hash: Set(KeyHash::of(text.expose().as_bytes()).as_bytes().to_vec()),
            sealed: Set(sealed),
            masked: Set(text.masked()),
            weak: Set(text.is_weak()),
            endpoints: Set(stored(serde_json::to_string(&new.endpoints), "a key's endpoints")?),
            created_by_id: Set(ring.actor.account_id),
            created_by: Set(ring.actor.name.clone()),
            created_at: Set(now.ms()),
            not_before: Set(new.not_before.map(Time::ms)),
            expires_at: Set(new.expires_at.map(Time::ms)),
            rate_limit: Set(limit_text(new.rate_limit)?),
            quota: Set(limit_text(new.quota)?),
            quota_since: Set(used.since.map(Time::ms)),
            quota_calls: Set(configs::to_stored(used.calls)),
            used_up_until: Set(before.and_then(|before| before.used_up_until).map(Time::ms)),
            revoked_at: Set(None),
            last_used_at: Set(None),
            calls: Set(0),
            revision: Set(1),
        }
        .insert(tx)
        .await
        .map_err(|error| match Error::taken("key")(error) {
            // Names of keys may be the same, their texts may not.
            Error::Taken(_) => Error::InUse("this very key is here already".to_owned()),
            other => other,
        })?;
        key(row)
    }

    /// Changes a key's name, scope, bounds or limits.
    ///
    /// # Errors
    /// It has changed since `revision`, there is none, its bounds do not fit, or the database failed.
    pub async fn change_key(
        &self,
        ring: &WritableRing<'_>,
        id: Uuid,
        revision: Option<i64>,
        change: KeyChange,
    ) -> Result<Changed, Error> {
        let now = self.clock.now();
        self.update_key(&ring.0, id, revision, "change-key", |key| {
            key.name = change.name.unwrap_or_else(|| key.name.clone());
            key.endpoints = change.endpoints.unwrap_or_else(|| key.endpoints.clone());
            key.not_before = change.not_before.unwrap_or(key.not_before);
            key.expires_at = change.expires_at.unwrap_or(key.expires_at);
            key.rate_limit = change.rate_limit.unwrap_or(key.rate_limit);
            if let Some(quota) = change.quota {
                key.quota = quota;
                key.used_up_until = key.used_up(now);
            }
            check_bounds(key.not_before, key.expires_at)
        })
        .await
    }

    /// Revokes a key. Whoever else changed it meanwhile: a revoke is never stale.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn revoke_key(&self, ring: &WritableRing<'_>, id: Uuid) -> Result<Changed, Error> {
        let now = self.clock.now();
        self.update_key(&ring.0, id, None, "revoke-key", |key| {
            key.revoked_at = key.revoked_at.or(Some(now));
            Ok(())
        })
        .await
    }

    /// Lets a revoked key open again: the same text works.
    ///
    /// # Errors
    /// It has changed since `revision`, there is none, or the database failed.
    pub async fn activate_key(
        &self,
        ring: &WritableRing<'_>,
        id: Uuid,
        revision: Option<i64>,
    ) -> Result<Changed, Error> {
        self.update_key(&ring.0, id, revision, "activate-key", |key| {
            key.revoked_at = None;
            Ok(())
        })
        .await
    }

    async fn update_key(
        &self,
        ring: &KeyRing<'_>,
        id: Uuid,
        revision: Option<i64>,
        action: &str,
        change: impl FnOnce(&mut ApiKey) -> Result<(), Error>,
    ) -> Result<Changed, Error> {
        let now = self.clock.now();
        let tx = self.begin().await?;
        configs::lock_services(&tx, &[ring.service_id]).await?;
        let before = key(ring
            .select()
            .filter(api_keys::Column::Id.eq(id))
            .one(&tx)
            .await?
            .ok_or(Error::NotFound("key"))?)?;
        if revision.is_some_and(|revision| revision != before.revision) {
            return Err(Error::Stale);
        }
        let mut after = before.clone();
        change(&mut after)?;
        after.revision += 1;
        let changed = api_keys::Entity::update_many()
            .col_expr(api_keys::Column::Name, Expr::value(after.name.as_str()))
            .col_expr(
                api_keys::Column::Endpoints,
                Expr::value(stored(serde_json::to_string(&after.endpoints), "a key's endpoints")?),
            )
            .col_expr(api_keys::Column::NotBefore, Expr::value(after.not_before.map(Time::ms)))
            .col_expr(api_keys::Column::ExpiresAt, Expr::value(after.expires_at.map(Time::ms)))
            .col_expr(api_keys::Column::RateLimit, Expr::value(limit_text(after.rate_limit)?))
            .col_expr(api_keys::Column::Quota, Expr::value(limit_text(after.quota)?))
            .col_expr(
                api_keys::Column::UsedUpUntil,
                Expr::value(after.used_up_until.map(Time::ms)),
            )
            .col_expr(api_keys::Column::RevokedAt, Expr::value(after.revoked_at.map(Time::ms)))
            .col_expr(api_keys::Column::Revision, Expr::value(after.revision))
            .filter(api_keys::Column::Id.eq(id))
            .filter(api_keys::Column::Revision.eq(before.revision))
            .exec(&tx)
            .await?;
        if changed.rows_affected == 0 {
            return Err(Error::Stale);
        }
        ring.deed(action, before.name.as_str())
            .change(Some(ring.look(&before)), Some(ring.look(&after)))
            .record(&tx, ring.actor, now)
            .await?;
        // A name is in no config.
        let opens = |key: &ApiKey| {
            let bounds = (key.not_before, key.expires_at, key.revoked_at);
            (key.endpoints.clone(), bounds, key.rate_limit, key.used_up_until)
        };
        let raised = if action == "change-key" && opens(&before) == opens(&after) {
            Vec::new()
        } else {
            ring.raise(self, &tx).await?
        };
        commit(tx).await?;
        self.tell_raised(&raised);
        Ok(Changed { key: after, raised })
    }

    /// Makes the successor of a key, with its class, scope, end and limits; the old one opens for the overlap and no longer than
    /// it would have.
    ///
    /// # Errors
    /// It is revoked, there is none, or the database failed.
    pub async fn rotate_key(
        &self,
        ring: &WritableRing<'_>,
        id: Uuid,
        overlap_ms: i64,
        name: Option<Title>,
    ) -> Result<(KeyText, Changed), Error> {
        let (ring, now) = (&ring.0, self.clock.now());
        let random = random_bytes::<32>().map_err(|_| Error::NoRandom)?;
        let text = KeyText::mint(&random);
        let tx = self.begin_creation().await?;
        configs::lock_services(&tx, &[ring.service_id]).await?;
        let old = key(ring
            .select()
            .filter(api_keys::Column::Id.eq(id))
            .one(&tx)
            .await?
            .ok_or(Error::NotFound("key"))?)?;
        // A successor would inherit the end that has passed.
        let state = old.state(now);
        if let KeyState::Revoked | KeyState::Expired = state {
            let state = word(&state)?;
            return Err(Error::InUse(format!("the key is {state}: make a new one instead")));
        }
        let overlap_ends = now.after_ms(overlap_ms);
        let ends = old.expires_at.map_or(overlap_ends, |end| end.min(overlap_ends));
        api_keys::Entity::update_many()
            .col_expr(api_keys::Column::ExpiresAt, Expr::value(ends.ms()))
            .col_expr(api_keys::Column::Revision, Expr::value(old.revision + 1))
            .filter(api_keys::Column::Id.eq(id))
            .exec(&tx)
            .await?;
        let heir = NewKey {
            name: name.unwrap_or_else(|| old.name.clone()),
            class: old.class,
            imported: None,
            endpoints: old.endpoints.clone(),
            not_before: old.not_before,
            expires_at: old.expires_at,
            rate_limit: old.rate_limit,
            quota: old.quota,
        };
        let made = self.insert_key(ring, &tx, &text, heir, Some(&old)).await?;
        let mut after = ring.look(&made);
        if let Some(after) = after.as_object_mut() {
            after.insert("overlap_ends".to_owned(), json!(ends));
        }
        ring.deed("rotate-key", old.name.as_str())
            .change(Some(ring.look(&old)), Some(after))
            .record(&tx, ring.actor, now)
            .await?;
        let raised = ring.raise(self, &tx).await?;
        commit(tx).await?;
        self.tell_raised(&raised);
        Ok((text, Changed { key: made, raised }))
    }

    /// Deletes a revoked key.
    ///
    /// # Errors
    /// It is not revoked, there is none, or the database failed.
    pub async fn delete_key(&self, ring: &WritableRing<'_>, id: Uuid) -> Result<(), Error> {
        let (ring, now) = (&ring.0, self.clock.now());
        let tx = self.begin().await?;
        let before = key(ring
            .select()
            .filter(api_keys::Column::Id.eq(id))
            .one(&tx)
            .await?
            .ok_or(Error::NotFound("key"))?)?;
        if before.revoked_at.is_none() {
            return Err(Error::InUse("the key is not revoked: revoke it first".to_owned()));
        }
        let gone = api_keys::Entity::delete_many()
            .filter(api_keys::Column::Id.eq(id))
            .filter(api_keys::Column::RevokedAt.is_not_null())
            .exec(&tx)
            .await?;
        if gone.rows_affected == 0 {
            return Err(Error::Stale);
        }
        ring.deed("delete-key", before.name.as_str())
            .change(Some(ring.look(&before)), None)
            .record(&tx, ring.actor, now)
            .await?;
        commit(tx).await?;
        Ok(())
    }

    fn tell_raised(&self, raised: &[Uuid]) {
        for id in raised {
            self.tell(Change::Config(*id));
        }
    }
}
