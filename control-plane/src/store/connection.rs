//! The connection to the database: opened, read from, and what begins and ends a transaction.
//!
//! The rule a newcomer would break: only what reads is asked again when its connection was cut. Whether a statement that
//! writes was carried out nobody knows, unless it stands in a transaction.

use super::{Error, pooler};
use sea_orm::sqlx::{self, Connection as _, SqliteConnection};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
use std::cell::Cell;
use std::time::Duration;

/// How often a read is asked again: each time on another connection, as the pool gives out none that is dead. The pool
/// itself waits ten seconds for a database that is away.
const AGAIN: u32 = 4;

/// A pool of connections.
#[derive(Clone, Debug)]
pub struct Connection {
    db: DatabaseConnection,
    pooled: bool,
}

/// Who hangs in the middle of a transaction lets go of its locks before its lease ends.
const IDLE: (&str, &str) = ("idle_in_transaction_session_timeout", "3s");

/// Opens the database at a URL: `sqlite:///path/castoff.db` or `postgres://…`. `pooled` when others share its sessions by a
/// pooler that gives each transaction one: then nothing is said of a session, for it is nobody's.
///
/// # Errors
/// The URL is of neither, the database does not answer, or its pooler loses statements that are prepared.
pub async fn connect(url: &str, pooled: bool) -> Result<Connection, Error> {
    let mut options = ConnectOptions::new(url);
    options
        .sqlx_logging(false)
        .acquire_timeout(Duration::from_secs(10))
        .connect_timeout(Duration::from_secs(10));
    if url.starts_with("sqlite:") {
        // Its connections do not break: to ask each whether it is there would double the questions.
        options
            .test_before_acquire(false)
            .max_connections(8)
            .map_sqlx_sqlite_opts(|sqlite| {
                sqlite
                    .create_if_missing(true)
                    .foreign_keys(true)
                    .pragma("journal_mode", "WAL")
                    // Every commit is on disk before it is acknowledged.
                    .pragma("synchronous", "FULL")
                    // The longest page, of 200 rows and one: its thread and who reads from it take no turns.
                    .row_buffer_size(256)
                    .busy_timeout(Duration::from_secs(10))
            })
            .map_sqlx_sqlite_pool_opts(|pool| pool.before_acquire(|connection, _| Box::pin(is_usable(connection))));
    } else if pooled {
        options.max_connections(16).map_sqlx_postgres_opts(pooler::say_nothing);
    } else {
        options.max_connections(16).map_sqlx_postgres_opts(|postgres| {
            postgres.options([
                IDLE,
                // To compile a statement takes longer than any of ours: 0.2 s, when a list looks expensive to the planner.
                ("jit", "off"),
            ])
        });
    }
    let db = Database::connect(options).await?;
    if pooled {
        pooler::check_statements(&db).await?;
    }
    Ok(Connection { db, pooled })
}

/// Whether nothing is left of an earlier transaction. When its disk is full SQLite ends a transaction by itself, and sqlx
/// loses count of it: the next one there would begin within it, and when it was given up keep the lock for ever. Such a
/// connection is closed.
async fn is_usable(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // Its end may only be on its way.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

impl Connection {
    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), Error> {
        Ok(self.db.ping().await?)
    }

    /// The pool, for whoever needs a connection beside it.
    pub(super) fn pool(&self) -> &DatabaseConnection {
        &self.db
    }

    /// A transaction that is going to write. On SQLite BEGIN IMMEDIATE: a deferred one that reads first fails when
    /// another has written in between.
    pub(super) async fn begin(&self) -> Result<DatabaseTransaction, Error> {
        let sqlite_transaction_mode =
            (self.get_database_backend() == DbBackend::Sqlite).then_some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions {
            sqlite_transaction_mode,
            ..TransactionOptions::default()
        };
        let tx = self.db.begin_with_options(options).await?;
        if self.pooled {
            let (name, value) = IDLE;
            tx.execute_unprepared(&format!("SET LOCAL {name} = '{value}'")).await?;
        }
        Ok(tx)
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Connection {
    fn get_database_backend(&self) -> DbBackend {
        self.db.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.db.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.db.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut left = again(&statement);
        loop {
            match self.db.query_one_raw(statement.clone()).await {
                Err(error) if left > 0 && Error::is_cut(&error) => left -= 1,
                answered => return answered,
            }
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut left = again(&statement);
        loop {
            match self.db.query_all_raw(statement.clone()).await {
                Err(error) if left > 0 && Error::is_cut(&error) => left -= 1,
                answered => return answered,
            }
        }
    }
}

/// How often a statement is asked again when its connection was cut. INSERT … RETURNING comes this way, too.
fn again(statement: &Statement) -> u32 {
    if statement.sql.starts_with("SELECT") { AGAIN } else { 0 }
}

/// Any number, as long as nothing else in the database locks it: the first eight bytes of SHA-256("castoff turn").
const TURN: i64 = 0x027e_abd2_d1eb_6e8d;

/// Waits until no other transaction has the turn, and keeps it until this one ends. For what looks at many rows, or at
/// none, before it decides: there is no row to lock. What is read afterwards is what others have committed. SQLite has
/// one writer anyway.
pub(super) async fn take_turn(tx: &DatabaseTransaction) -> Result<(), Error> {
    lock(tx, TURN).await
}

/// Takes a lock of this number until the transaction ends, on PostgreSQL.
pub(super) async fn lock(tx: &impl ConnectionTrait, number: i64) -> Result<(), Error> {
    if tx.get_database_backend() == DbBackend::Postgres {
        let lock = format!("SELECT pg_advisory_xact_lock({number})");
        tx.execute_raw(Statement::from_string(DbBackend::Postgres, lock))
            .await?;
    }
    Ok(())
}

tokio::task_local! {
    static COMMITTED: Cell<bool>;
}

/// Ends a transaction. Every one ends here: what a failed commit means is not what another statement's failure does.
pub(super) async fn commit(tx: DatabaseTransaction) -> Result<(), Error> {
    tx.commit().await.map_err(Error::of_commit)?;
    // Nobody asks outside of `noting_commits`.
    let _ = COMMITTED.try_with(|committed| committed.set(true));
    Ok(())
}

/// Does something, and remembers meanwhile whether a transaction of it was committed: see [`has_committed`].
pub async fn noting_commits<T>(work: impl Future<Output = T>) -> T {
    COMMITTED.scope(Cell::new(false), work).await
}

/// Whether what goes on within [`noting_commits`] has changed something already.
pub fn has_committed() -> bool {
    COMMITTED.try_with(Cell::get).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLite may end a transaction by itself when its disk is full, and sqlx then loses count: the next one on that
    /// connection would never end, and keep everybody else from writing.
    #[tokio::test]
    async fn a_transaction_that_ended_by_itself_locks_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let url = crate::store::sqlite_url(folder.path());
        let (one, other) = (connect(&url, false).await.unwrap(), connect(&url, false).await.unwrap());
        one.execute_unprepared("CREATE TABLE t (b BLOB)").await.unwrap();
        let insert = |bytes: usize| format!("INSERT INTO t VALUES (zeroblob({bytes}))");
        // Each of the pool comes to both.
        for _ in 0..40 {
            let tx = one.begin().await.unwrap();
            tx.execute_unprepared("PRAGMA max_page_count = 20").await.unwrap();
            let full = tx.execute_unprepared(&insert(1 << 20)).await.unwrap_err();
            assert!(full.to_string().contains("full"), "{full}");
        }
        for _ in 0..40 {
            let tx = one.begin().await.unwrap();
            tx.execute_unprepared(&insert(1)).await.unwrap();
            drop(tx);
        }
        let tx = other.begin().await.unwrap();
        tx.execute_unprepared(&insert(1)).await.unwrap();
        commit(tx).await.unwrap();
    }
}
