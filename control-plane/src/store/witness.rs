//! Whether the database has changed since something was read. Without this proof nothing that was read is used again.
//!
//! One cheap question answers all who ask while it is on its way to the database, and is asked anew for everybody else:
//! whatever was committed before somebody asked, by whomever, is seen by the answer they get.
//!
//! - SQLite: `PRAGMA data_version` on a connection that never writes moves with every commit of any other connection, of
//!   this process or of another.
//! - PostgreSQL: `pg_current_snapshot()` says which transactions are visible; two that are equal see the same rows. A
//!   commit is answered only after new snapshots show it.
//!
//!   Transactions are counted by a server, and behind a pooler another server may take the place of the one before while our
//!   connection lasts: so it says since when it runs, too.
//!
//! The rule a newcomer would break: both numbers mean something only on the connection that gave them. A new connection
//! starts with nothing known.

use super::Connection;
use super::known::Known;
use sea_orm::sqlx::{self, ConnectOptions, PgConnection, SqliteConnection};
use sea_orm::{DatabaseConnection, DbBackend};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What is visible, and which server says so.
const POSTGRES: &str = "SELECT pg_current_snapshot()::text || ' ' || pg_postmaster_start_time()::text";

/// Somebody who waits for an answer.
type Asking = oneshot::Sender<Arc<Known>>;

/// Those who ask at once; more wait for room.
const MOST: usize = 1_024;
/// A database that does not answer in this time is not waited for here: what was asked for is read from it, which fails in
/// its own words.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks whether the database has changed. Its task ends with the last of its clones.
#[derive(Clone, Default)]
pub(super) struct Witness {
    asked: Arc<OnceLock<mpsc::Sender<Asking>>>,
}

impl Witness {
    /// What was read since the database last changed, as of a moment after this call. Empty when it does not answer.
    pub(super) async fn known(&self, db: &Connection) -> Arc<Known> {
        let asked = self.asked.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(MOST);
            tokio::spawn(answer(db.pool().clone(), receiver));
            sender
        });
        let (asking, answer) = oneshot::channel();
        // Without an answer everything is read: what nobody shares is forgotten at once.
        match asked.send(asking).await {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_) => Arc::default(),
        }
    }
}

/// What the database said of itself. On another connection it means nothing.
#[derive(PartialEq, Eq)]
enum Said {
    Sqlite(i64),
    Postgres(String),
}

/// A connection that asks only this.
enum Line {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Line {
    async fn open(db: &DatabaseConnection) -> Result<Self, sqlx::Error> {
        match db.get_database_backend() {
            DbBackend::Postgres => {
                let options = db.get_postgres_connection_pool().connect_options();
                Ok(Self::Postgres(options.connect().await?))
            }
            _ => {
                let options = db.get_sqlite_connection_pool().connect_options();
                Ok(Self::Sqlite(options.connect().await?))
            }
        }
    }

    async fn ask(&mut self) -> Result<Said, sqlx::Error> {
        match self {
            Self::Sqlite(line) => sqlx::query_scalar("PRAGMA data_version")
                .fetch_one(line)
                .await
                .map(Said::Sqlite),
            Self::Postgres(line) => sqlx::query_scalar(POSTGRES).fetch_one(line).await.map(Said::Postgres),
        }
    }
}

async fn answer(db: DatabaseConnection, mut asked: mpsc::Receiver<Asking>) {
    let mut held: Option<(Line, Said)> = None;
    let mut known = Arc::<Known>::default();
    let mut asking = Vec::new();
    while asked.recv_many(&mut asking, MOST).await > 0 {
        // All of these asked before the question is put.
        let said = tokio::time::timeout(PATIENCE, ask(&db, held.take())).await;
        match said {
            Ok(Ok((line, said, same))) => {
                if !same {
                    known = Arc::default();
                }
                held = Some((line, said));
                for one in asking.drain(..) {
                    // Whoever has gone needs no answer.
                    let _ = one.send(Arc::clone(&known));
                }
            }
            // The connection is gone with what it said. They read for themselves.
            Ok(Err(_)) | Err(_) => asking.clear(),
        }
    }
}

/// The connection, what it says, and whether it said so before.
async fn ask(db: &DatabaseConnection, held: Option<(Line, Said)>) -> Result<(Line, Said, bool), sqlx::Error> {
    let (mut line, before) = match held {
        Some((line, before)) => (line, Some(before)),
        None => (Line::open(db).await?, None),
    };
    let said = line.ask().await?;
    let same = before.as_ref() == Some(&said);
    Ok((line, said, same))
}
