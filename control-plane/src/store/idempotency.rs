//! Answers kept for a day, so that a creation that is repeated with the same `Idempotency-Key` is not done twice.

use super::entity::idempotency;
use super::{Error, Store, commit};
use crate::authn::Actor;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

/// How long an answer is kept.
const KEPT_MS: i64 = 24 * 3_600_000;

/// An answer that was given before. It never holds a secret.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// SHA-256 of the request: method, path and body.
    pub request: Vec<u8>,
    /// The status.
    pub status: u16,
    /// The headers that matter, as JSON.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Store {
    /// The answer that this actor got before under this key.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remembered(&self, actor: &Actor, key: &str) -> Result<Option<Remembered>, Error> {
        let oldest = self.clock.now().after_ms(-KEPT_MS);
        let row = idempotency::Entity::find_by_id((actor.account_id, key.to_owned()))
            .filter(idempotency::Column::CreatedAt.gt(oldest.ms()))
            .one(&self.db)
            .await?;
        Ok(row.map(|row| Remembered {
            request: row.request,
            status: u16::try_from(row.status).unwrap_or(200),
            headers: row.headers,
            body: row.body,
        }))
    }

    /// Keeps an answer, and forgets those that are too old.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remember(&self, actor: &Actor, key: &str, answer: Remembered) -> Result<(), Error> {
        let now = self.clock.now();
        let tx = self.begin().await?;
        idempotency::Entity::delete_many()
            .filter(idempotency::Column::CreatedAt.lte(now.after_ms(-KEPT_MS).ms()))
            .exec(&tx)
            .await?;
        let row = idempotency::ActiveModel {
            account_id: Set(actor.account_id),
            key: Set(key.to_owned()),
            request: Set(answer.request),
            status: Set(i32::from(answer.status)),
            headers: Set(answer.headers),
            body: Set(answer.body),
            created_at: Set(now.ms()),
        };
        idempotency::Entity::insert(row)
            .on_conflict(
                OnConflict::columns([idempotency::Column::AccountId, idempotency::Column::Key])
                    .do_nothing()
                    .to_owned(),
            )
            .exec_without_returning(&tx)
            .await?;
        commit(tx).await?;
        Ok(())
    }
}
