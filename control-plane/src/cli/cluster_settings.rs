//! What is said of a cluster when an infrastructure is made or changed.

use super::failure::Failure;
use super::service::put;
use clap::Args;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Larger than any file of settings or kubeconfig.
const MOST_BYTES: u64 = 1 << 20;

/// What is said of a cluster.
#[derive(Args, Debug)]
pub struct ClusterSettings {
    /// The namespace of its pods (kind kubernetes)
    #[arg(long)]
    namespace: Option<String>,
    /// What its pods run, in place of the server's own choice (kind kubernetes)
    #[arg(long)]
    image: Option<String>,
    /// The kubeconfig that opens its cluster; without one it is the cluster that the server runs in (kind kubernetes)
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A file of YAML or JSON with more settings, as `infra show -o json` has them under `kubernetes`
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

impl ClusterSettings {
    /// Puts what is given where the API has it.
    pub(super) fn put(&self, body: &mut Map<String, Value>) -> Result<(), Failure> {
        let mut settings = match &self.settings {
            None => Map::new(),
            Some(path) => {
                let parsed: Result<Map<String, Value>, _> = serde_yaml_ng::from_str(&read(path)?);
                parsed.map_err(|error| Failure::Local(format!("{}: {error}", path.display())))?
            }
        };
        put(&mut settings, "namespace", self.namespace.as_ref());
        put(&mut settings, "image", self.image.as_ref());
        if !settings.is_empty() {
            body.insert("kubernetes".to_owned(), settings.into());
        }
        let kubeconfig = self.kubeconfig.as_deref().map(read).transpose()?;
        put(body, "kubeconfig", kubeconfig);
        Ok(())
    }
}

/// Reads a file of settings, or a kubeconfig.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let meta = std::fs::metadata(path).map_err(|error| Failure::file(path, &error))?;
    if meta.len() > MOST_BYTES {
        return Err(Failure::Local(format!("{}: is larger than 1 MiB", path.display())));
    }
    std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))
}
