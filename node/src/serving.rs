//! What one config came to: loaded models, a route, and the keys that open them. Never changed once built.
//!
//! Apart from `state`, which swaps one for another. The rule a newcomer would break: building reads the config as if a
//! stranger had written it; what does not hold refuses the whole config, and the one in force stays.

mod access;

pub use access::{Access, Key, KeyUsage};

use crate::engine::{Engine, Model};
use crate::predict::route::Weighted;
use castoff_wire::proto;
use castoff_wire::sha256;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Why a config cannot be served. Its text is for people, and names no key or hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// It does not hold together.
    #[error("the config does not hold together: {0}")]
    Malformed(String),
    /// A file of it cannot be had.
    #[error("a file cannot be had: {0}")]
    Package(String),
    /// A model of it cannot be loaded.
    #[error("a model cannot be loaded: {0}")]
    Model(String),
    /// A model of it answers a test query wrongly, or not at all.
    #[error("a test query failed: {0}")]
    TestQuery(String),
}

/// How much a call may take, within sane bounds whatever the config says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions per model.
    pub sessions: usize,
    /// Calls that may wait for a session.
    pub queue: usize,
    /// From a call's arrival to its answer.
    pub deadline: Duration,
    /// The largest body.
    pub max_body_bytes: usize,
    /// How long a draining node goes on accepting.
    pub drain_delay: Duration,
    /// Cut off for longer than this: deny. `None`: never.
    pub max_staleness: Option<Duration>,
}

impl Limits {
    fn of(limits: &proto::Limits) -> Self {
        let or = |value: u32, default: u32| if value == 0 { default } else { value };
        Self {
            sessions: or(limits.sessions, 1) as usize,
            queue: limits.queue as usize,
            deadline: Duration::from_millis(or(limits.deadline_ms, 30_000).into()),
            max_body_bytes: match limits.max_body_bytes {
                0 => 16 << 20,
                bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
            },
            drain_delay: Duration::from_millis(limits.drain_delay_ms.into()),
            max_staleness: (limits.max_staleness_s > 0).then(|| Duration::from_secs(limits.max_staleness_s.into())),
        }
    }
}

impl Default for Limits {
    /// What holds before any config: drain at once, since nothing is served.
    fn default() -> Self {
        Self::of(&proto::Limits::default())
    }
}

/// What a records endpoint or a tensor endpoint is called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By tensors.
    Tensor,
    /// By rows of named values.
    Records,
}

/// One callable model of one version.
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// How it is meant to be called.
    pub kind: Kind,
    /// Its model, maybe shared with the snapshot before.
    pub model: Arc<Model>,
    /// Names for the columns of its one tensor; empty: each input is a column.
    pub columns: Vec<String>,
    /// Names of its classes; empty: the model's own.
    pub labels: Vec<String>,
    /// Rows that one run of its model may have, of several calls; 1: each call alone.
    pub max_batch_size: usize,
    /// Digest of its test queries; `None`: there are none.
    pub test_queries: Option<[u8; 32]>,
}

impl Endpoint {
    /// Whether a query that was asked of the other is answered the same here.
    fn answers_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.model, &other.model)
            && (self.kind, &self.columns, &self.labels) == (other.kind, &other.columns, &other.labels)
            && (self.max_batch_size, self.test_queries) == (other.max_batch_size, other.test_queries)
    }
}

/// One version of the service, with its share of the calls.
pub struct Version {
    /// Its name.
    pub name: String,
    /// Out of 100.
    pub weight: u32,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

impl Version {
    /// Its endpoint of that name.
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name == name)
    }
}

impl Weighted for &Version {
    fn weight(&self) -> u32 {
        self.weight
    }
}

/// What one config came to.
pub struct Serving {
    /// The deployment's id, which the hashes of its keys are bound to.
    pub deployment_id: Uuid,
    /// Where the config stands.
    pub position: proto::Position,
    /// The deployment's name.
    pub deployment: String,
    /// The service's name.
    pub service: String,
    /// The route.
    pub versions: Vec<Version>,
    /// How much a call may take.
    pub limits: Limits,
    /// Who may call.
    pub access: Access,
    models: HashMap<ModelId, Arc<Model>>,
}

/// A model is loaded anew when its bytes or its number of sessions change.
type ModelId = ([u8; 32], usize);

/// The bytes of a file, by its SHA-256.
pub type Files<'a> = dyn Fn(&[u8]) -> Result<Vec<u8>, String> + 'a;

/// Where a build takes from what is already there.
pub(crate) struct Sources<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) files: &'a Files<'a>,
    pub(crate) previous: Option<&'a Serving>,
    /// What calls are judged by now.
    pub(crate) in_force: Option<&'a Serving>,
    pub(crate) usage: &'a mut dyn FnMut(Uuid) -> Arc<KeyUsage>,
}

impl Serving {
    /// Builds what the config says. Blocks while models load; those of the snapshot before are kept by digest.
    pub(crate) fn build(
        config: &proto::Config,
        position: proto::Position,
        sources: &mut Sources<'_>,
    ) -> Result<Self, NotServed> {
        let deployment_id = Uuid::from_slice(&config.deployment_id).map_err(|_| malformed("deployment_id"))?;
        let serving = config.serving.as_ref().ok_or_else(|| malformed("serving is missing"))?;
        let limits = Limits::of(serving.limits.as_ref().unwrap_or(&proto::Limits::default()));
        // The cheap half first: a config with a broken key set loads nothing.
        let access = access::access(
            config.access.as_ref().ok_or_else(|| malformed("access is missing"))?,
            sources,
        )?;
        check_route(serving)?;
        let mut models = HashMap::new();
        let mut versions = Vec::with_capacity(serving.versions.len());
        for version in &serving.versions {
            let mut endpoints = Vec::with_capacity(version.endpoints.len());
            for endpoint in &version.endpoints {
                endpoints.push(self::endpoint(
                    version,
                    endpoint,
                    limits.sessions,
                    sources,
                    &mut models,
                )?);
            }
            versions.push(Version {
                name: version.name.clone(),
                weight: version.weight,
                endpoints,
            });
        }
        Ok(Self {
            deployment_id,
            position,
            deployment: config.deployment.clone(),
            service: serving.service.clone(),
            versions,
            limits,
            access,
            models,
        })
    }

    /// Every loaded model, each once.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }

    /// What a name stands for in each version that has it.
    pub fn endpoints<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Version, &'a Endpoint)> {
        let named = move |version: &'a Version| Some((version, version.endpoint(name)?));
        self.versions.iter().filter_map(named)
    }

    /// Endpoints with test queries that no snapshot before has passed, with the digest of these.
    pub(crate) fn untested<'a>(
        &'a self,
        previous: Option<&'a Self>,
    ) -> impl Iterator<Item = (&'a Version, &'a Endpoint, &'a [u8; 32])> {
        let has_passed = move |endpoint: &Endpoint| {
            let mut before = previous.iter().flat_map(|previous| &previous.versions);
            before.any(|version| {
                version
                    .endpoint(&endpoint.name)
                    .is_some_and(|before| endpoint.answers_as(before))
            })
        };
        self.versions.iter().flat_map(move |version| {
            let tested = version.endpoints.iter().filter(move |endpoint| !has_passed(endpoint));
            tested.filter_map(move |endpoint| Some((version, endpoint, endpoint.test_queries.as_ref()?)))
        })
    }

    /// The name of the one endpoint there is; `None` when there are more.
    pub fn only_endpoint(&self) -> Option<&str> {
        let mut names = self
            .versions
            .iter()
            .flat_map(|version| &version.endpoints)
            .map(|endpoint| &endpoint.name);
        let first = names.next()?;
        names.all(|name| name == first).then_some(first)
    }
}

fn malformed(what: impl Into<String>) -> NotServed {
    NotServed::Malformed(what.into())
}

fn check_route(serving: &proto::Serving) -> Result<(), NotServed> {
    let total: u64 = serving.versions.iter().map(|version| u64::from(version.weight)).sum();
    if total != 100 {
        return Err(malformed(format!(
            "the weights of the route sum to {total}, not to 100"
        )));
    }
    let mut versions = HashSet::new();
    for version in &serving.versions {
        if !versions.insert(version.name.as_str()) {
            return Err(malformed(format!("version {} is routed twice", version.name)));
        }
        let mut endpoints = HashSet::new();
        if version.endpoints.is_empty() || !version.endpoints.iter().all(|it| endpoints.insert(it.name.as_str())) {
            return Err(malformed(format!(
                "version {} has no endpoint, or one twice",
                version.name
            )));
        }
    }
    Ok(())
}

fn endpoint(
    version: &proto::RoutedVersion,
    endpoint: &proto::Endpoint,
    sessions: usize,
    sources: &Sources<'_>,
    models: &mut HashMap<ModelId, Arc<Model>>,
) -> Result<Endpoint, NotServed> {
    let title = format!("{}/{}", version.name, endpoint.name);
    let file = endpoint
        .model
        .as_ref()
        .ok_or_else(|| malformed(format!("{title} has no model")))?;
    let digest: [u8; 32] = file
        .digest
        .as_slice()
        .try_into()
        .map_err(|_| malformed(format!("the model of {title} has no digest")))?;
    let id = (digest, sessions);
    let kept = models
        .get(&id)
        .or_else(|| sources.previous.and_then(|previous| previous.models.get(&id)));
    let model = match kept {
        Some(model) => Arc::clone(model),
        None => {
            let bytes = (sources.files)(&digest).map_err(|reason| NotServed::Package(format!("{title}: {reason}")))?;
            if sha256(&[&bytes]) != digest {
                return Err(NotServed::Package(format!("{title}: the file has another digest")));
            }
            let loaded = sources.engine.load(&title, &bytes, sessions);
            Arc::new(loaded.map_err(|reason| NotServed::Model(format!("{title}: {reason}")))?)
        }
    };
    models.insert(id, Arc::clone(&model));
    let test_queries = endpoint
        .test_queries
        .as_ref()
        .map(|file| file.digest.as_slice().try_into());
    let test_queries = test_queries
        .transpose()
        .map_err(|_| malformed(format!("the test queries of {title} have no digest")))?;
    let kind = match endpoint.kind {
        kind if kind == proto::endpoint::Kind::Records as i32 => Kind::Records,
        _ => Kind::Tensor,
    };
    if !endpoint.columns.is_empty() && model.inputs().len() != 1 {
        return Err(malformed(format!(
            "{title} has columns, but its model does not take exactly one tensor"
        )));
    }
    Ok(Endpoint {
        name: endpoint.name.clone(),
        kind,
        model,
        columns: endpoint.columns.clone(),
        labels: endpoint.labels.clone(),
        max_batch_size: endpoint.max_batch_size.max(1) as usize,
        test_queries,
    })
}
