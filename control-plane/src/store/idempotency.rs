//! Answers kept for a day, so that a creation that is repeated with the same `Idempotency-Key` is not done twice.
//!
//! That it is done is the first row of its own transaction: of two at once, here or at another control plane, the second
//! waits for the first and is a repetition, and a crash leaves both or neither. The answer is put beside it later, for it may
//! wait for nodes, and they for the commit. The rule a newcomer would break: whatever makes something begins with
//! [`Store::begin_creation`], and asks before whether it may be made; so whoever repeats it is asked anew.

use super::entity::idempotency;
use super::{Error, Store, commit};
use crate::authn::Actor;
use crate::domain::Time;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};
use std::cell::Cell;
use uuid::Uuid;

/// How long an answer is kept.
const KEPT_MS: i64 = 24 * 3_600_000;

/// The status of what was done and not answered yet.
const UNANSWERED: i32 = 0;

/// What was done before.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// SHA-256 of the request: method, path and body.
    pub request: Vec<u8>,
    /// None as long as it is not known, and for good when the control plane ended before.
    pub reply: Option<Reply>,
}

/// An answer as it is given again. It never holds a secret.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers that matter, as JSON.
    pub headers: String,
    /// The body.
    pub body: String,
}

/// A creation that is done once.
#[derive(Clone, Debug)]
pub struct Once {
    /// Who asks.
    pub account_id: Uuid,
    /// Their word for it.
    pub key: String,
    /// SHA-256 of the request.
    pub request: Vec<u8>,
}

tokio::task_local! {
    /// What is done once, and whether it turned out to be done already.
    static ONCE: (Once, Cell<bool>);
}

/// Does something that makes one thing at most; also says whether that was made before, and therefore not now.
pub async fn once<T>(what: Once, work: impl Future<Output = T>) -> (T, bool) {
    let noted = async {
        let done = work.await;
        (done, ONCE.with(|(_, repeated)| repeated.get()))
    };
    ONCE.scope((what, Cell::new(false)), noted).await
}

impl Store {
    /// The transaction that makes something.
    ///
    /// # Errors
    /// Within [`once`] it was made before; or the database failed.
    pub(super) async fn begin_creation(&self) -> Result<DatabaseTransaction, Error> {
        let tx = self.begin().await?;
        let Ok(what) = ONCE.try_with(|(what, _)| what.clone()) else {
            return Ok(tx);
        };
        if note(&tx, what, self.clock.now()).await? {
            return Ok(tx);
        }
        ONCE.with(|(_, repeated)| repeated.set(true));
        Err(Error::InUse("this was done before".to_owned()))
    }

    /// What this actor did before under this key.
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
            reply: (row.status != UNANSWERED).then(|| Reply {
                status: u16::try_from(row.status).unwrap_or(200),
                headers: row.headers,
                body: row.body,
            }),
        }))
    }

    /// Puts the answer beside what was done, and forgets what is too old.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remember(&self, actor: &Actor, key: &str, reply: Reply) -> Result<(), Error> {
        let oldest = self.clock.now().after_ms(-KEPT_MS);
        let tx = self.begin().await?;
        idempotency::Entity::delete_many()
            .filter(idempotency::Column::CreatedAt.lte(oldest.ms()))
            .exec(&tx)
            .await?;
        idempotency::Entity::update_many()
            .col_expr(idempotency::Column::Status, Expr::value(i32::from(reply.status)))
            .col_expr(idempotency::Column::Headers, Expr::value(reply.headers))
            .col_expr(idempotency::Column::Body, Expr::value(reply.body))
            .filter(idempotency::Column::AccountId.eq(actor.account_id))
            .filter(idempotency::Column::Key.eq(key))
            .filter(idempotency::Column::Status.eq(UNANSWERED))
            .exec(&tx)
            .await?;
        commit(tx).await
    }
}

/// Notes that something is done; false when it was done within a day.
async fn note(tx: &DatabaseTransaction, what: Once, now: Time) -> Result<bool, Error> {
    idempotency::Entity::delete_by_id((what.account_id, what.key.clone()))
        .filter(idempotency::Column::CreatedAt.lte(now.after_ms(-KEPT_MS).ms()))
        .exec(tx)
        .await?;
    let row = idempotency::ActiveModel {
        account_id: Set(what.account_id),
        key: Set(what.key),
        request: Set(what.request),
        status: Set(UNANSWERED),
        headers: Set(String::new()),
        body: Set(String::new()),
        created_at: Set(now.ms()),
    };
    let key = [idempotency::Column::AccountId, idempotency::Column::Key];
    let written = idempotency::Entity::insert(row)
        .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
        .exec_without_returning(tx)
        .await?;
    Ok(written > 0)
}
