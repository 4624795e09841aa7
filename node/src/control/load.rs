//! Loading a config aside: fetch what is missing, then build on a thread that may block.
//!
//! The rule a newcomer would break: a load never touches what callers see. It may take minutes, and a newer config may
//! overtake it.

use super::copy::Opened;
use super::dial::Client;
use super::fetch::{self, NotFetched, Packages};
use super::serves::{NotBuilt, Serves};
use castoff_wire::proto::nack::Code;
use castoff_wire::proto::{Config, Position};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinHandle;

/// Why a load came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file is missing.
    #[error(transparent)]
    NotFetched(#[from] NotFetched),
    /// The serving side does not take it.
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
    /// The thread that built it panicked: a bug, and no reason to take the node down.
    #[error("loading ended unexpectedly")]
    Broken,
}

impl Failure {
    /// How the control plane is told.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFetched(_) | Self::NotBuilt(NotBuilt::Package(_)) => Code::Package,
            Self::NotBuilt(NotBuilt::Malformed(_)) => Code::Malformed,
            Self::NotBuilt(NotBuilt::Model(_)) | Self::Broken => Code::Model,
            Self::NotBuilt(NotBuilt::TestQuery(_)) => Code::TestQuery,
        }
    }

    /// Whether it was only that nobody could be asked for a file.
    pub fn is_alone(&self) -> bool {
        matches!(self, Self::NotFetched(error) if error.is_alone())
    }

    /// Whether trying again may help: not where only a control plane could give a file, which is told when it comes.
    pub fn may_pass(&self) -> bool {
        self.code() == Code::Package && !matches!(self, Self::NotFetched(NotFetched::Alone))
    }
}

/// What is loaded.
#[derive(Clone, Debug)]
pub enum Target {
    /// A config as it is.
    Whole(Box<Opened>),
    /// The models of a config with the key set of a newer one, whose own models cannot be loaded.
    Older {
        /// Whose models.
        models: Box<Opened>,
        /// Whose key set.
        access: Box<Opened>,
    },
}

impl Target {
    /// The document to build, and where its models stand.
    pub fn document(&self) -> (Config, Position) {
        match self {
            Self::Whole(opened) => (opened.config.clone(), opened.position.clone()),
            Self::Older { models, access } => {
                let config = Config {
                    access: access.config.access.clone(),
                    ..models.config.clone()
                };
                (config, models.position.clone())
            }
        }
    }

    /// The config that this load is an attempt at.
    pub fn position(&self) -> &Position {
        match self {
            Self::Whole(opened) => &opened.position,
            Self::Older { models, .. } => &models.position,
        }
    }
}

/// A load that is going on.
#[derive(Debug)]
pub struct Load<B> {
    /// What is loaded.
    pub target: Target,
    building: Arc<AtomicBool>,
    task: JoinHandle<Result<B, Failure>>,
}

impl<B: Clone + Send + Sync + 'static> Load<B> {
    /// Starts to load.
    pub fn start<S: Serves<Built = B>>(
        target: Target,
        serves: Arc<S>,
        packages: Arc<Packages>,
        client: Option<Client>,
        previous: Option<B>,
    ) -> Self {
        let building = Arc::new(AtomicBool::new(false));
        let (config, position) = target.document();
        let began = building.clone();
        let task = tokio::spawn(async move {
            let files = fetch::files(&config).ok_or_else(|| NotBuilt::Malformed("a file without a digest".into()))?;
            packages.ensure(&files, client.as_ref()).await?;
            began.store(true, Ordering::Relaxed);
            build(serves, packages, config, position, previous).await
        });
        Self { target, building, task }
    }

    /// Waits for the end. May be dropped and called again.
    pub async fn ended(&mut self) -> Result<B, Failure> {
        (&mut self.task).await.unwrap_or(Err(Failure::Broken))
    }

    /// Gives up, unless models are being loaded: that cannot be interrupted, and a second load beside it would take the
    /// memory of both.
    pub fn give_up(&self) -> bool {
        let idle = !self.building.load(Ordering::Relaxed);
        if idle {
            self.task.abort();
        }
        idle
    }
}

/// Builds on a thread that may block.
pub async fn build<S: Serves>(
    serves: Arc<S>,
    packages: Arc<Packages>,
    config: Config,
    position: Position,
    previous: Option<S::Built>,
) -> Result<S::Built, Failure> {
    let built =
        tokio::task::spawn_blocking(move || serves.build(&config, &position, packages.folder(), previous.as_ref()));
    Ok(built.await.map_err(|_| Failure::Broken)??)
}
