//! Tools on the machine itself: the schema, admin keys, the epoch. They work on the database, with or without a control
//! plane running.

use crate::app::{Opened, open};
use crate::causes::with_causes;
use crate::config::{MasterKeyPlace, Place};
use crate::domain::{AccountName, Time};
use crate::store::{StepState, migrate_down, migrate_up, migration_status};
use clap::{Args, Subcommand};

/// `castoff migrate`.
#[derive(Args)]
#[command(after_help = "Example:\n  castoff migrate status --data-dir /var/lib/castoff")]
pub struct Migrate {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Apply what is pending
    #[command(after_help = "Example:\n  castoff migrate up")]
    Up,
    /// Take back the last steps, and lose what they hold
    #[command(after_help = "Example:\n  castoff migrate down --steps 1")]
    Down {
        /// How many
        #[arg(long, default_value_t = 1)]
        steps: u32,
    },
    /// Which steps are applied
    #[command(after_help = "Example:\n  castoff migrate status")]
    Status,
}

/// `castoff admin-key`.
#[derive(Args)]
#[command(after_help = "Example:\n  castoff admin-key create bootstrap --expires-in-days 1")]
pub struct AdminKey {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    keeping: MasterKeyPlace,
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Subcommand)]
enum Deed {
    /// Make a key, and print it once
    #[command(after_help = "Example:\n  castoff admin-key create bootstrap --expires-in-days 1")]
    Create {
        /// What it is for
        name: String,
        /// When it ends [default: never]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..))]
        expires_in_days: Option<u16>,
    },
    /// The keys, without their text
    #[command(after_help = "Example:\n  castoff admin-key list")]
    List,
    /// End a key
    #[command(after_help = "Example:\n  castoff admin-key delete bootstrap")]
    Delete {
        /// Its name
        name: String,
    },
}

/// `castoff epoch`.
#[derive(Args)]
#[command(after_help = "Example:\n  castoff epoch raise")]
pub struct Epoch {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    keeping: MasterKeyPlace,
    #[command(subcommand)]
    deed: EpochDeed,
}

#[derive(Subcommand)]
enum EpochDeed {
    /// After a database was restored from a backup: nodes refuse what is older than what they hold, until this
    #[command(after_help = "Example:\n  castoff epoch raise")]
    Raise,
}

impl Migrate {
    /// Does what is asked.
    ///
    /// # Errors
    /// In plain words.
    pub async fn run(self) -> Result<(), String> {
        std::fs::create_dir_all(&self.place.data_dir)
            .map_err(|error| format!("{}: {error}", self.place.data_dir.display()))?;
        let url = self.place.database_urls()?.direct().to_owned();
        match self.step {
            Step::Up => migrate_up(&url).await.map_err(plain)?,
            Step::Down { steps } => migrate_down(&url, steps).await.map_err(plain)?,
            Step::Status => {}
        }
        for (name, standing) in migration_status(&url).await.map_err(plain)? {
            match standing {
                StepState::Applied => println!("applied  {name}"),
                StepState::Pending => println!("pending  {name}"),
                StepState::Later => println!("applied  {name}  (by a later release)"),
            }
        }
        Ok(())
    }
}

impl AdminKey {
    /// Does what is asked.
    ///
    /// # Errors
    /// In plain words.
    pub async fn run(self) -> Result<(), String> {
        let Opened { store, .. } = open(&self.place, &self.keeping).await?;
        let system = store.system();
        match self.deed {
            Deed::Create { name, expires_in_days } => {
                let name = AccountName::parse(&name).map_err(|invalid| format!("the name {}", invalid.reason))?;
                let ends = expires_in_days.map(|days| system.now().after_ms(i64::from(days) * 86_400_000));
                let secret = system.create_admin_key(&name, ends).await.map_err(plain)?;
                println!("{}", secret.expose());
                eprintln!(
                    "This key has all rights of a platform admin and is not shown again. Use it as CASTOFF_TOKEN, or Authorization: Bearer."
                );
            }
            Deed::List => {
                let keys = system.admin_keys().await.map_err(plain)?;
                for key in keys {
                    let time = |time: Option<Time>| time.map_or_else(|| "never".to_owned(), |time| time.to_string());
                    println!(
                        "{}  …{}  made {}  ends {}  last used {}",
                        key.name,
                        key.hint,
                        key.created_at,
                        time(key.expires_at),
                        time(key.last_used_at)
                    );
                }
            }
            Deed::Delete { name } => system.delete_admin_key(&name).await.map_err(plain)?,
        }
        Ok(())
    }
}

impl Epoch {
    /// Does what is asked.
    ///
    /// # Errors
    /// In plain words.
    pub async fn run(self) -> Result<(), String> {
        let Opened { store, .. } = open(&self.place, &self.keeping).await?;
        let EpochDeed::Raise = self.deed;
        let epoch = store.system().raise_epoch().await.map_err(plain)?;
        println!("epoch {epoch}: every config was raised");
        Ok(())
    }
}

/// An error of the store with its causes, in one line.
pub(crate) fn plain(error: crate::store::Error) -> String {
    with_causes(&error)
}
