//! The rows: who may touch them is asked before, with a [`Permit`] or [`Visible`] in hand.
//!
//! The rule a newcomer would break: a public function that reads or writes rows takes a permit, or belongs to
//! [`SystemStore`] and is called by nobody but background loops and the command line on the machine.

mod accounts;
mod addresses;
mod admission;
mod api_keys;
mod audit;
mod boot_size;
mod clusters;
mod config_facts;
mod configs;
mod connection;
mod credentials;
mod deployments;
mod entity;
mod error;
mod events;
mod grants;
mod groups;
mod hints;
mod idempotency;
mod infrastructures;
mod installation;
mod json;
mod key_rings;
mod known;
mod lease;
mod listing;
mod migrate;
mod node_tokens;
mod nodes;
mod page;
mod permit;
mod platform;
mod pooler;
mod progress;
mod reports;
mod rollout;
mod room;
mod rows;
mod seen;
mod services;
mod upgrades;
mod vault;
mod versions;
mod witness;
mod written;

pub use accounts::{AccountChange, NewAccount};
pub use addresses::KeptAddresses;
pub use admission::{Ask, GrantSource};
pub use api_keys::{Changed, KeyChange, KeyRing, MachineKeyUse, NewKey, WritableRing};
pub use audit::{AuditFilter, AuditRow};
pub use boot_size::JoinSize;
pub use clusters::{Cluster, Leftover};
pub use config_facts::{ConfigFacts, KeyFact, LegFact, Publish, Published};
pub use configs::StoredConfig;
pub use connection::{Connection, connect, has_committed, noting_commits};
pub use error::Error;
pub use events::Event;
pub use grants::Granted;
pub use groups::GroupChange;
pub use idempotency::{Once, Remembered, Reply, once};
pub use infrastructures::{InfrastructureChange, NewInfrastructure};
pub use installation::{Installation, is_sealed, prepare};
pub use lease::{Acting, Holding, LEASE, Living, Presence};
pub use listing::Listed;
pub use migrate::{StepState, migrate_down, migrate_up, migration_status};
pub use node_tokens::token_id;
pub use nodes::{LaunchedNode, Node, NodeState};
pub use page::{MOST as MOST_IN_PAGE, Page, PageRequest};
pub use permit::{Facts, Permit, Refusal, Unchecked, Visible};
pub use platform::SystemStore;
pub use progress::Progress;
pub use reports::{Gone, NodeReport};
pub use rollout::{DeploymentChange, NewDeployment};
pub use rows::{Platform, Site};
pub use seen::Seen;
pub use services::{NewService, ServiceChange};
pub use vault::{MasterKey, Vault};
pub use versions::NewVersion;
pub use written::{Reported, Written};

use crate::clock::Clock;
use connection::{commit, take_turn};
use known::Known;
use sea_orm::DatabaseTransaction;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tokio::sync::broadcast;
use uuid::Uuid;
use witness::Witness;

/// Something changed that a background loop may want to look at. A hint: loops also look by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    /// The config of a deployment was raised.
    Config(Uuid),
    /// A deployment was made, switched on or off, scaled or deleted.
    Deployment(Uuid),
    /// An infrastructure was made, changed or deleted.
    Infrastructure(Uuid),
    /// The config of a deployment lies where its nodes boot from.
    Copy(Uuid),
    /// A node said something that its deployment's status depends on.
    Node(Uuid),
    /// Something was added to the events.
    Event,
    /// What an account may do has changed: its streams look again.
    Account(Uuid),
    /// The lease was given back: whoever waits for it may have it.
    Lease,
}

/// The rows of one installation.
#[derive(Clone)]
pub struct Store {
    /// Of this control plane's process.
    id: Uuid,
    db: Connection,
    clock: Clock,
    vault: Arc<Vault>,
    publisher: Arc<dyn Publish>,
    /// Of the join documents, once somebody writes any.
    join_size: Arc<OnceLock<JoinSize>>,
    changes: broadcast::Sender<Change>,
    /// Those of this control plane, for the others.
    told: broadcast::Sender<Change>,
    witness: Witness,
}

/// The URL of the embedded database in a folder.
pub fn sqlite_url(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("castoff.db").display())
}

impl Store {
    /// The store of a prepared installation.
    pub fn new(db: Connection, clock: Clock, vault: Arc<Vault>, publisher: Arc<dyn Publish>) -> Self {
        // Nobody waits for a hint: a loop that lags behind looks at everything.
        let (changes, _) = broadcast::channel(1024);
        let (told, _) = broadcast::channel(1024);
        Self {
            id: Uuid::new_v4(),
            db,
            clock,
            vault,
            publisher,
            join_size: Arc::default(),
            changes,
            told,
            witness: Witness::default(),
        }
    }

    /// Names this process among the control planes on its database.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Says what join documents take, where configs lie beside them. The first to say so is believed.
    pub fn say_join_size(&self, size: JoinSize) {
        let _ = self.join_size.set(size);
    }

    /// What join documents take; nothing where nobody writes any, as in a program for the machine.
    fn join_size(&self) -> JoinSize {
        self.join_size.get().copied().unwrap_or_default()
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
        self.db.ping().await
    }

    /// What was read since the database last changed, by whomever.
    async fn known(&self) -> Arc<Known> {
        self.witness.known(&self.db).await
    }

    fn tell(&self, change: Change) {
        // With nobody listening there is nobody to tell.
        let _ = (self.changes.send(change), self.told.send(change));
    }

    /// A transaction that is going to write.
    async fn begin(&self) -> Result<DatabaseTransaction, Error> {
        self.db.begin().await
    }
}
