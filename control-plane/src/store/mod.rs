//! The rows: who may touch them is asked before, with a [`Permit`] or [`Visible`] in hand.
//!
//! The rule a newcomer would break: a public function that reads or writes rows takes a permit, or belongs to
//! [`SystemStore`] and is called by nobody but background loops and the command line on the machine.

mod accounts;
mod admission;
mod api_keys;
mod audit;
mod config_facts;
mod configs;
mod credentials;
mod deployments;
mod entity;
mod error;
mod events;
mod grants;
mod groups;
mod idempotency;
mod infrastructures;
mod installation;
mod key_rings;
mod migrate;
mod nodes;
mod page;
mod permit;
mod platform;
mod reports;
mod rollout;
mod rows;
mod services;
mod vault;
mod versions;

pub use accounts::{AccountChange, NewAccount};
pub use admission::{Ask, GrantSource};
pub use api_keys::{Changed, KeyChange, KeyRing, MachineKeyUse, NewKey, WritableRing};
pub use audit::{AuditFilter, AuditRow};
pub use config_facts::{ConfigFacts, KeyFact, LegFact, Publish, Published};
pub use configs::StoredConfig;
pub use error::Error;
pub use events::Event;
pub use grants::Granted;
pub use groups::GroupChange;
pub use idempotency::Remembered;
pub use infrastructures::{InfrastructureChange, NewInfrastructure};
pub use installation::{Installation, prepare};
pub use migrate::{migrate_down, migrate_up, migration_status};
pub use nodes::{LaunchedNode, Node, NodeState};
pub use page::{MOST as MOST_IN_PAGE, Page, PageRequest};
pub use permit::{Facts, Permit, Refusal, Seen, Unchecked, Visible};
pub use platform::SystemStore;
pub use reports::NodeReport;
pub use rollout::{DeploymentChange, NewDeployment};
pub use rows::{Platform, Site};
pub use services::{NewService, ServiceChange};
pub use vault::{MasterKey, Vault};
pub use versions::NewVersion;

use crate::clock::Clock;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use uuid::Uuid;

/// Something changed that a background loop may want to look at. A hint: loops also look by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The config of a deployment was raised.
    Config(Uuid),
    /// A deployment was made, switched on or off, scaled or deleted.
    Deployment(Uuid),
    /// A node said something that its deployment's status depends on.
    Node(Uuid),
    /// Something was added to the events.
    Event,
    /// What an account may do has changed: its streams look again.
    Account(Uuid),
}

/// The rows of one installation.
#[derive(Clone)]
pub struct Store {
    db: DatabaseConnection,
    clock: Clock,
    vault: Arc<Vault>,
    publisher: Arc<dyn Publish>,
    changes: broadcast::Sender<Change>,
}

/// Opens the database at a URL: `sqlite:///path/castoff.db` or `postgres://…`.
///
/// # Errors
/// The URL is of neither, or the database does not answer.
pub async fn connect(url: &str) -> Result<DatabaseConnection, Error> {
    let mut options = ConnectOptions::new(url);
    options
        .sqlx_logging(false)
        .acquire_timeout(Duration::from_secs(10))
        .connect_timeout(Duration::from_secs(10));
    if url.starts_with("sqlite:") {
        options.max_connections(8).map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .create_if_missing(true)
                .foreign_keys(true)
                .pragma("journal_mode", "WAL")
                // Every commit is on disk before it is acknowledged.
                .pragma("synchronous", "FULL")
                .busy_timeout(Duration::from_secs(10))
        });
    } else {
        options.max_connections(16);
    }
    Ok(Database::connect(options).await?)
}

/// The URL of the embedded database in a folder.
pub fn sqlite_url(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("castoff.db").display())
}

impl Store {
    /// The store of a prepared installation.
    pub fn new(db: DatabaseConnection, clock: Clock, vault: Arc<Vault>, publisher: Arc<dyn Publish>) -> Self {
        // Nobody waits for a hint: a loop that lags behind looks at everything.
        let (changes, _) = broadcast::channel(1024);
        Self {
            db,
            clock,
            vault,
            publisher,
            changes,
        }
    }

    /// Hints of changes from here on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// The clock that times are taken from.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The rows for background loops and the machine itself, without permits.
    pub fn system(&self) -> SystemStore {
        SystemStore::new(self.clone())
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), Error> {
        Ok(self.db.ping().await?)
    }

    fn tell(&self, change: Change) {
        // With nobody listening there is nobody to tell.
        let _ = self.changes.send(change);
    }

    /// A transaction that is going to write. On SQLite BEGIN IMMEDIATE: a deferred one that reads first fails when
    /// another has written in between.
    async fn begin(&self) -> Result<DatabaseTransaction, Error> {
        Ok(begin(&self.db).await?)
    }
}

/// Any number, as long as nothing else in the database locks it: the first eight bytes of SHA-256("castoff turn").
const TURN: i64 = 0x027e_abd2_d1eb_6e8d;

/// Waits until no other transaction has the turn, and keeps it until this one ends. For what looks at many rows, or at
/// none, before it decides: there is no row to lock. What is read afterwards is what others have committed. SQLite has
/// one writer anyway.
async fn take_turn(tx: &DatabaseTransaction) -> Result<(), Error> {
    if tx.get_database_backend() == DbBackend::Postgres {
        let lock = format!("SELECT pg_advisory_xact_lock({TURN})");
        tx.execute_raw(Statement::from_string(DbBackend::Postgres, lock))
            .await?;
    }
    Ok(())
}

async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, sea_orm::DbErr> {
    let sqlite_transaction_mode =
        (db.get_database_backend() == DbBackend::Sqlite).then_some(SqliteTransactionMode::Immediate);
    db.begin_with_options(TransactionOptions {
        sqlite_transaction_mode,
        ..TransactionOptions::default()
    })
    .await
}
