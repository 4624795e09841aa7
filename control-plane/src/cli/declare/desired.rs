//! What files ask for, once it is known to be complete and of the right types.
//!
//! What a file does not say is absent here, and stays on the server as it is.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// All that the files of one call ask for, by name.
#[derive(Debug, Default)]
pub(super) struct Desired {
    pub(super) infrastructures: BTreeMap<String, Infrastructure>,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) deployments: BTreeMap<String, Deployment>,
}

/// Who may do what: the privileges of each group.
pub(super) type Grants = BTreeMap<String, Vec<String>>;

/// Keys by name.
pub(super) type Keys = BTreeMap<String, Key>;

/// An infrastructure.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Infrastructure {
    /// As the API names them.
    pub(super) settings: Map<String, Value>,
    /// The file that opens its cluster, for when it is made.
    pub(super) kubeconfig: Option<PathBuf>,
    pub(super) grants: Option<Grants>,
}

/// A service.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Service {
    /// As the API names them.
    pub(super) settings: Map<String, Value>,
    pub(super) versions: BTreeMap<String, Version>,
    pub(super) grants: Option<Grants>,
    pub(super) keys: Option<Keys>,
}

/// A version of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Version {
    /// The file or folder that it is uploaded from.
    pub(super) package: Option<PathBuf>,
    /// `sha256:` and what its bytes must have.
    pub(super) digest: Option<String>,
}

/// A deployment.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Deployment {
    pub(super) service: String,
    pub(super) infrastructure: String,
    /// Versions with their weights.
    pub(super) route: Option<Vec<(String, u64)>>,
    pub(super) enabled: Option<bool>,
    /// As the API names them: access, scale, limits, key_header.
    pub(super) settings: Map<String, Value>,
    pub(super) keys: Option<Keys>,
}

/// A key, by reference.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Key {
    pub(super) source: Option<Source>,
    /// As the API names them: class, weak, not_before, expires_at, endpoints, rate_limit, quota.
    pub(super) settings: Map<String, Value>,
    pub(super) revoked: Option<bool>,
}

/// Where a key comes from when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// From a file.
    Import(PathBuf),
    /// The server makes it, and it is written into a new file.
    Save(PathBuf),
}
