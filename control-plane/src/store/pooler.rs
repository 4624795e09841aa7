//! What stands between us and the database, when it is not the database: a pooler, which lends its sessions to many.
//!
//! Apart from the connections, because nothing else may have to know. One that gives each transaction a session is fine for
//! all that is asked in transactions. A lock that outlives a transaction, or LISTEN, would be left with somebody else, and
//! nothing would say so: whoever needs a session asks here first whether it is its own.

use super::Error;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _, PgConnection};
use sea_orm::{ConnectOptions, DatabaseConnection, DbErr};

/// What is to be done where a session is not our own.
const SHARED: &str = "a pooler stands before the database and shares its sessions, but migrations (their lock) and LISTEN need \
     one of their own: give a URL that leads past the pooler, too, by --database-direct-url-file or \
     CASTOFF_DATABASE_DIRECT_URL (database.directUrl of the chart)";
/// What is to be done where statements that are prepared get lost, or meet those of others.
const FORGETFUL: &str = "the pooler before the database does not keep the prepared statements of those who share a session: set \
     max_prepared_statements to 200 there (PgBouncer 1.21 or newer)";

/// A setting that PostgreSQL keeps for whoever asks at the start of a session. A pooler refuses it, or passes over it.
const OURS: (&str, &str) = ("castoff.session", "own");
/// Of the states of PostgreSQL: a prepared statement that is not there, and one that is there already.
const NOT_PREPARED: &[&str] = &["26000", "42P05"];
/// Who answers: each session has a process of the server.
const WHO: &str = "SELECT pg_backend_pid()";
/// So often two ask by turns. The first round is enough where nobody else asks: the session is the same one.
const ROUNDS: u32 = 4;

/// What a connection is opened with whose session must be ours.
pub(super) fn ask_for_own(options: &mut ConnectOptions) {
    options.map_sqlx_postgres_opts(|postgres| postgres.options([OURS]));
}

/// What a connection is opened with that goes through a pooler: nothing is said of the session, not even what our driver
/// says by itself.
pub(super) fn say_nothing(postgres: PgConnectOptions) -> PgConnectOptions {
    postgres.extra_float_digits(None)
}

/// Whether the session that was asked for by [`ask_for_own`] is ours. Nothing is left in one that is not.
///
/// # Errors
/// It is not, with what to do about it.
pub(super) async fn check_own(db: &DatabaseConnection) -> Result<(), Error> {
    let pool = db.get_postgres_connection_pool();
    let checked = async {
        let (name, value) = OURS;
        let asked = "SELECT coalesce(current_setting($1, true), '')";
        let said: String = sqlx::query_scalar(asked).bind(name).fetch_one(pool).await?;
        if said != value {
            return Ok(false);
        }
        // One that passes on what is said: it may lend the session between two questions.
        let mut other = pool.connect_options().connect().await?;
        for _ in 0..ROUNDS {
            let ours: i32 = sqlx::query_scalar(WHO).fetch_one(pool).await?;
            let mut held = other.begin().await?;
            let theirs: i32 = sqlx::query_scalar(WHO).fetch_one(&mut *held).await?;
            let still: i32 = sqlx::query_scalar(WHO).fetch_one(pool).await?;
            held.rollback().await?;
            if theirs == ours || still != ours {
                return Ok(false);
            }
        }
        other.close().await.map(|()| true)
    };
    match checked.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(shared()),
        // Its statements get lost, too.
        Err(error) if is_unprepared(&error) => Err(shared()),
        Err(error) => Err(Error::of_driver(error)),
    }
}

/// What it means that a session of our own was not given.
pub(super) fn of_opening(error: DbErr) -> Error {
    // The words of PgBouncer, which has no state of its own for it.
    match Error::said(&error) {
        Some(said) if said.message().starts_with("unsupported startup parameter") => shared(),
        _ => Error::Database(error),
    }
}

/// Somebody else has the session.
fn shared() -> Error {
    Error::NotAllowed(SHARED.to_owned())
}

/// Whether statements can be prepared: whichever session a transaction is given, it must know those of its client. Looked at
/// before anything else is asked, as it would fail only when several ask at once.
///
/// # Errors
/// They get lost, with what to do about it; or the database did not answer.
pub(super) async fn check_statements(db: &DatabaseConnection) -> Result<(), Error> {
    let options = db.get_postgres_connection_pool().connect_options();
    let asked = async {
        let (mut one, mut other) = (options.connect().await?, options.connect().await?);
        for _ in 0..ROUNDS {
            prepared(&mut one).await?;
            prepared(&mut other).await?;
        }
        one.close().await?;
        other.close().await
    };
    asked.await.map_err(|error| match is_unprepared(&error) {
        true => Error::NotAllowed(FORGETFUL.to_owned()),
        false => Error::of_driver(error),
    })
}

fn is_unprepared(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| NOT_PREPARED.contains(&&*code))
}

/// Prepares a statement the first time, and from then on takes it for prepared.
async fn prepared(line: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1").execute(line).await.map(drop)
}
