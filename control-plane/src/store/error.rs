//! What can go wrong between a permit and a row.

use crate::domain::Invalid;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{DbErr, RuntimeErr, SqlErr, SqlxError};

/// What the store answers when it does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such row, or none that the caller may know of.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Somebody changed the row in between, or took away what it was to belong to.
    #[error("the row has changed since it was read")]
    Stale,
    /// The name is used already.
    #[error("another {0} has this name")]
    Taken(&'static str),
    /// Something is in the way.
    #[error("{0}")]
    InUse(String),
    /// What was asked for does not fit what is there.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// The rules do not allow this here.
    #[error("{0}")]
    NotAllowed(String),
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    NoRandom,
    /// A stored value cannot be read: an older or a damaged database.
    #[error("a stored value cannot be read: {0}")]
    Unreadable(&'static str),
    /// Another control plane acts now: nothing was changed.
    #[error("another control plane acts now")]
    Overtaken,
    /// The database did not answer, or said no. Nothing was changed.
    #[error("the database failed")]
    Database(#[source] DbErr),
    /// The database was lost while it was told to keep a change: it has kept all of it, or nothing.
    #[error("the database was lost in the middle of a commit")]
    Unclear(#[source] DbErr),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match error.sql_err() {
            // What it was to belong to has gone since the permit was given.
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => Self::Stale,
            _ => Self::Database(error),
        }
    }
}

impl Error {
    /// Whether trying again may help: the database is away, about to end or to begin, overloaded, or could not let two
    /// changes pass each other.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Database(DbErr::ConnectionAcquire(_)) => true,
            Self::Database(error) => match cause(error) {
                // What the server says, in the classes of PostgreSQL: 08 connections, 40 deadlocks and the like, 53 but
                // for 53100 (too many of something), 57P it ends or begins, 25P03 a connection that was idle too long.
                // Of SQLite the number 5, SQLITE_BUSY, in its last byte.
                Some(SqlxError::Database(said)) => said.code().is_some_and(|code| {
                    ["08", "40", "57P"].iter().any(|class| code.starts_with(class))
                        || ["25P03", "53000", "53200", "53300", "53400"].contains(&&*code)
                        || (code.len() < 5 && code.parse::<u32>().is_ok_and(|code| code & 0xff == 5))
                }),
                Some(error) => is_loss(error),
                None => false,
            },
            _ => false,
        }
    }

    /// Whether the disk of the database is full: nothing was changed, and nothing can be until there is space.
    pub fn is_full(&self) -> bool {
        // "53100 disk_full" of PostgreSQL; SQLITE_FULL, of which sqlx gives the extended code.
        let full = |code: &str| code == "53100" || code == "13";
        let Self::Database(error) = self else { return false };
        let Some(SqlxError::Database(said)) = cause(error) else {
            return false;
        };
        said.code().is_some_and(|code| full(&code))
    }

    /// Whether the connection was cut under a statement.
    pub(super) fn is_cut(error: &DbErr) -> bool {
        match cause(error) {
            Some(SqlxError::Database(said)) => said
                .code()
                .is_some_and(|code| code.starts_with("57P") || code.starts_with("08")),
            Some(SqlxError::PoolTimedOut | SqlxError::PoolClosed) | None => false,
            Some(other) => is_loss(other),
        }
    }

    /// What the driver says of a connection that is not in the pool.
    pub(super) fn of_driver(error: SqlxError) -> Self {
        Self::Database(DbErr::Conn(RuntimeErr::SqlxError(error.into())))
    }

    /// What the server says of it, or a pooler that stands before it.
    pub(super) fn said(error: &DbErr) -> Option<&dyn DatabaseError> {
        cause(error).and_then(SqlxError::as_database_error)
    }

    /// What a failed commit means.
    pub(super) fn of_commit(error: DbErr) -> Self {
        if Self::is_cut(&error) {
            Self::Unclear(error)
        } else {
            Self::Database(error)
        }
    }

    /// A name that is taken, where the database says that a unique column would not be; any other error as it is.
    pub(super) fn taken(what: &'static str) -> impl FnOnce(DbErr) -> Self {
        move |error| match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Self::Taken(what),
            _ => error.into(),
        }
    }

    /// A row that others refer to.
    pub(super) fn referred_to(why: &str) -> impl FnOnce(DbErr) -> Self {
        let why = why.to_owned();
        move |error| match error.sql_err() {
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => Self::InUse(why),
            _ => Self::Database(error),
        }
    }
}

/// What the driver says.
fn cause(error: &DbErr) -> Option<&SqlxError> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error))
        | DbErr::Conn(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

/// Whether the connection is gone, or there was none.
fn is_loss(error: &SqlxError) -> bool {
    use SqlxError::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
    matches!(
        error,
        Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed | WorkerCrashed
    )
}

/// A stored text that must be what was written.
pub(super) fn stored<T, E>(value: Result<T, E>, what: &'static str) -> Result<T, Error> {
    value.map_err(|_| Error::Unreadable(what))
}
