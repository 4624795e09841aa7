//! Hints between the control planes on one PostgreSQL: what one has committed the others look at at once.
//!
//! The rule a newcomer would break: a hint may be lost, come twice or come for nothing. Whoever waits for one looks by itself
//! as well, so that nothing but time hangs on this; and a hint names what has changed, never what it became.

use super::{Change, Error, Store};
use sea_orm::sqlx::postgres::{PgListener, PgNotification};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::sleep;
use uuid::Uuid;

/// All installations may use it: each has a database of its own, and notices stay within one.
const CHANNEL: &str = "castoff_changes";
/// For so long what happens meanwhile is gathered: the acknowledgements of many nodes are one statement.
const GATHERED: Duration = Duration::from_millis(5);
/// Of those that are said at once. More of them say that all is to be looked at, as everybody does anyway.
const MOST: usize = 200;
/// Until a database that is away is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// What travels.
#[derive(Serialize, Deserialize)]
struct Hint {
    /// The control plane that did it.
    by: Uuid,
    change: Change,
}

impl Store {
    /// Tells other control planes what this one does, and hears what they do, until it is dropped. `url` is that of the
    /// database without a pooler between: what is told to a connection that others share reaches nobody.
    ///
    /// # Errors
    /// The first connection cannot be made; later ones are tried again and again.
    pub async fn exchange_hints(&self, url: &str) -> Result<impl Future<Output = ()> + use<>, Error> {
        let mut listener = PgListener::connect(url).await.map_err(Error::of_driver)?;
        listener.listen(CHANNEL).await.map_err(Error::of_driver)?;
        let (store, told) = (self.clone(), self.told.subscribe());
        Ok(async move {
            tokio::join!(store.hear(listener), store.say(told));
        })
    }

    async fn hear(&self, mut listener: PgListener) {
        loop {
            // It connects anew by itself, and what was said meanwhile is lost.
            match listener.recv().await {
                Ok(notice) => self.take(&notice),
                Err(error) => {
                    tracing::warn!(%error, "hints of other control planes do not come");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    fn take(&self, notice: &PgNotification) {
        // Whoever may connect to the database may write anything here.
        let Ok(hint) = serde_json::from_str::<Hint>(notice.payload()) else {
            return;
        };
        if hint.by != self.id {
            metrics::counter!("castoff_hints_heard_total").increment(1);
            let _ = self.changes.send(hint.change);
        }
    }

    async fn say(&self, mut told: broadcast::Receiver<Change>) {
        loop {
            let mut gathered = HashSet::new();
            match told.recv().await {
                Ok(change) => gathered.insert(change),
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            sleep(GATHERED).await;
            while gathered.len() < MOST
                && let Ok(change) = told.try_recv()
            {
                gathered.insert(change);
            }
            if let Err(error) = self.notify(gathered).await {
                tracing::debug!(%error, "a hint was not given");
            }
        }
    }

    pub(super) async fn notify(&self, changes: HashSet<Change>) -> Result<(), Error> {
        let hints = changes.into_iter().filter_map(|change| {
            let hint = Hint { by: self.id, change };
            serde_json::to_string(&hint).ok()
        });
        let sql = format!("SELECT pg_notify('{CHANNEL}', hint) FROM unnest($1::text[]) AS hints(hint)");
        let hints: Vec<String> = hints.collect();
        let notify = Statement::from_sql_and_values(DbBackend::Postgres, sql, [hints.into()]);
        self.db.execute_raw(notify).await?;
        Ok(())
    }
}
