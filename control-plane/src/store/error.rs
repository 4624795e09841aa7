//! What can go wrong between a permit and a row.

use crate::domain::Invalid;
use sea_orm::{DbErr, RuntimeErr, SqlErr};

/// What the store answers when it does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such row, or none that the caller may know of.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Somebody changed the row in between.
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
    /// The database did not answer, or said no.
    #[error("the database failed")]
    Database(#[source] DbErr),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl Error {
    /// Whether trying again may help: the database is away or overloaded.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Database(DbErr::Conn(_) | DbErr::ConnectionAcquire(_)))
    }

    /// Whether the disk of the database is full: nothing was changed, and nothing can be until there is space.
    pub fn is_full(&self) -> bool {
        // "53100 disk_full" of PostgreSQL; SQLITE_FULL, of which sqlx gives the extended code.
        let full = |code: &str| code == "53100" || code == "13";
        let Self::Database(DbErr::Exec(error) | DbErr::Query(error) | DbErr::Conn(error)) = self else {
            return false;
        };
        match error {
            RuntimeErr::SqlxError(error) => {
                let code = error.as_database_error().and_then(|error| error.code());
                code.is_some_and(|code| full(&code))
            }
            RuntimeErr::Internal(_) => false,
        }
    }

    /// A name that is taken, where the database says that a unique column would not be; any other error as it is.
    pub(super) fn taken(what: &'static str) -> impl FnOnce(DbErr) -> Self {
        move |error| match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Self::Taken(what),
            _ => Self::Database(error),
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

/// A stored text that must be what was written.
pub(super) fn stored<T, E>(value: Result<T, E>, what: &'static str) -> Result<T, Error> {
    value.map_err(|_| Error::Unreadable(what))
}
