//! Moving the schema: by hand with `castoff migrate`, and at each start.

use super::{Error, pooler};
use castoff_migrations::{MigrationStatus, Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use std::time::Duration;

/// Any number, as long as nothing else in the database locks it: the first eight bytes of SHA-256("castoff migrate").
const LOCK: i64 = 0x1c0f_f5ca_57ed_7a1e;

/// How a step of the schema stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// It is applied.
    Applied,
    /// It is not.
    Pending,
    /// A later release has applied it.
    Later,
}

/// Applies every step that is pending. What a later release has added stays: it expands the schema, and this one runs on it.
///
/// # Errors
/// A step failed, the database did not answer, or a later release took away what this one needs.
pub async fn migrate_up(url: &str) -> Result<(), Error> {
    locked(url, async |db| {
        let later = Migrator::later(db).await?;
        let in_the_way = Migrator::in_the_way(&later);
        if !in_the_way.is_empty() {
            return Err(Error::NotAllowed(format!(
                "a later release took away what this one needs ({}): run that release, or restore a backup from before it",
                in_the_way.join(", ")
            )));
        }
        if !later.is_empty() {
            tracing::info!(steps = later.join(", "), "a later release has added to the schema");
        }
        Ok(Migrator::up(db, None).await?)
    })
    .await
}

/// Takes back the last `steps` steps, with what they hold.
///
/// # Errors
/// A step failed, the database did not answer, or the last step is one of a later release.
pub async fn migrate_down(url: &str, steps: u32) -> Result<(), Error> {
    locked(url, async |db| {
        let later = Migrator::later(db).await?;
        if !later.is_empty() {
            return Err(Error::NotAllowed(format!(
                "the last steps are those of a later release ({}): take them back with that one",
                later.join(", ")
            )));
        }
        Ok(Migrator::down(db, Some(steps)).await?)
    })
    .await
}

/// Every step's name and how it stands.
///
/// # Errors
/// The database did not answer.
pub async fn migration_status(url: &str) -> Result<Vec<(String, StepState)>, Error> {
    locked(url, async |db| {
        let steps = Migrator::get_migration_with_status(db).await?;
        let own = steps.iter().map(|step| match step.status() {
            MigrationStatus::Applied => (step.name().to_owned(), StepState::Applied),
            MigrationStatus::Pending => (step.name().to_owned(), StepState::Pending),
        });
        let later = Migrator::later(db).await?;
        Ok(own
            .chain(later.into_iter().map(|step| (step, StepState::Later)))
            .collect())
    })
    .await
}

/// Runs something on a single connection, on PostgreSQL under an advisory lock: replicas that start at once take turns. The
/// lock belongs to the session, which must therefore be ours alone.
async fn locked<T>(url: &str, work: impl AsyncFnOnce(&DatabaseConnection) -> Result<T, Error>) -> Result<T, Error> {
    let mut options = ConnectOptions::new(url);
    options
        .sqlx_logging(false)
        .min_connections(1)
        .max_connections(1)
        .connect_timeout(Duration::from_secs(10));
    if url.starts_with("sqlite:") {
        options.map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .create_if_missing(true)
                .pragma("journal_mode", "WAL")
                .busy_timeout(Duration::from_secs(10))
        });
    }
    pooler::ask_for_own(&mut options);
    let db = Database::connect(options).await.map_err(pooler::of_opening)?;
    let lock = |call: &str| Statement::from_string(DbBackend::Postgres, format!("SELECT {call}({LOCK})"));
    let postgres = db.get_database_backend() == DbBackend::Postgres;
    if postgres {
        pooler::check_own(&db).await?;
        db.execute_raw(lock("pg_advisory_lock")).await?;
    }
    let result = work(&db).await;
    if postgres {
        db.execute_raw(lock("pg_advisory_unlock")).await?;
    }
    db.close().await?;
    result
}
