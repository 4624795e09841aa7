//! What is on the server of the things that files name, as far as the caller may see it.
//!
//! Only read: what follows from it is decided in the plan.

use super::desired::{Desired, Infrastructure};
use crate::cli::Desk;
use crate::cli::failure::Failure;
use crate::cli::table::cell;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is there.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) infrastructures: BTreeMap<String, Seen>,
    pub(super) services: BTreeMap<String, Seen>,
    pub(super) deployments: BTreeMap<String, Seen>,
    /// Names of all groups.
    pub(super) groups: BTreeSet<String>,
    /// Deployments that no file names, of services and on infrastructures that files do name; read for pruning only.
    pub(super) strays: Vec<Value>,
    /// Deployments that no file names; read for pruning, and where an infrastructure is not to allow everything.
    pub(super) others: Vec<Value>,
}

/// One thing, if it is there, with what belongs to it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) body: Option<Value>,
    pub(super) versions: BTreeMap<String, Value>,
    pub(super) grants: Part,
    pub(super) keys: Part,
}

/// A list that belongs to a thing.
#[derive(Debug, Default)]
pub(super) enum Part {
    /// No file says anything about it.
    #[default]
    Unasked,
    /// The caller may not see it: the server's answer.
    Hidden(Value),
    /// All of it.
    Known(Vec<Value>),
}

impl Part {
    /// What is known of it.
    pub(super) fn items(&self) -> &[Value] {
        match self {
            Self::Known(items) => items,
            Self::Unasked | Self::Hidden(_) => &[],
        }
    }
}

impl State {
    /// Reads it.
    pub(super) async fn read(desk: &Desk, desired: &Desired, prune: bool) -> Result<Self, Failure> {
        let mut state = Self::default();
        for (name, wanted) in &desired.services {
            let mut seen = Seen::read(desk, "services", name).await?;
            if seen.body.is_some() {
                if wanted.grants.is_some() {
                    seen.grants = part(desk, &["services", name, "grants"]).await?;
                }
                if wanted.keys.is_some() {
                    seen.keys = part(desk, &["services", name, "keys"]).await?;
                }
                seen.add_versions(desk, name, wanted.versions.keys()).await?;
            }
            state.services.insert(name.clone(), seen);
        }
        for (name, wanted) in &desired.infrastructures {
            let mut seen = Seen::read(desk, "infrastructures", name).await?;
            if seen.body.is_some() && wanted.grants.is_some() {
                seen.grants = part(desk, &["infrastructures", name, "grants"]).await?;
            }
            state.infrastructures.insert(name.clone(), seen);
        }
        for (name, wanted) in &desired.deployments {
            state.read_halves(desk, &wanted.service, &wanted.infrastructure).await?;
            if let Some(service) = state
                .services
                .get_mut(&wanted.service)
                .filter(|seen| seen.body.is_some())
            {
                let versions = wanted.route.iter().flatten().map(|(version, _)| version);
                service.add_versions(desk, &wanted.service, versions).await?;
            }
            let mut seen = Seen::read(desk, "deployments", name).await?;
            if seen.body.is_some() && wanted.keys.is_some() {
                seen.keys = part(desk, &["deployments", name, "keys"]).await?;
            }
            state.deployments.insert(name.clone(), seen);
        }
        let mut grants = desired.services.values().map(|service| &service.grants);
        let mut more = desired
            .infrastructures
            .values()
            .map(|infrastructure| &infrastructure.grants);
        if grants.any(Option::is_some) || more.any(Option::is_some) {
            let groups = desk.server.list(&["groups"], &[], usize::MAX).await?;
            state.groups = groups.iter().map(|group| cell(group, "/name")).collect();
        }
        let less = desired.infrastructures.values().any(allows_less);
        if prune || less {
            let all = desk.server.list(&["deployments"], &[], usize::MAX).await?;
            if prune {
                let strays = all.iter().filter(|found| is_stray(desired, found));
                state.strays = strays.cloned().collect();
            }
            let unnamed = |found: &Value| !desired.deployments.contains_key(&cell(found, "/name"));
            state.others = all.into_iter().filter(unnamed).collect();
        }
        Ok(state)
    }

    /// The service and the infrastructure that a deployment names, where no file describes them.
    async fn read_halves(&mut self, desk: &Desk, service: &str, infrastructure: &str) -> Result<(), Failure> {
        if !self.services.contains_key(service) {
            let seen = Seen::read(desk, "services", service).await?;
            self.services.insert(service.to_owned(), seen);
        }
        if !self.infrastructures.contains_key(infrastructure) {
            let seen = Seen::read(desk, "infrastructures", infrastructure).await?;
            self.infrastructures.insert(infrastructure.to_owned(), seen);
        }
        Ok(())
    }
}

/// Whether a file says of an infrastructure that it does not allow something.
fn allows_less(wanted: &Infrastructure) -> bool {
    let allow = wanted.settings.get("allow").and_then(Value::as_object);
    allow.is_some_and(|allow| allow.values().any(|allowed| *allowed == Value::Bool(false)))
}

/// Whether pruning is about this deployment: files describe its service, and name its infrastructure, but not itself.
fn is_stray(desired: &Desired, found: &Value) -> bool {
    let of = |at: &str| cell(found, at);
    let infrastructure = of("/infrastructure");
    let named = desired.infrastructures.contains_key(&infrastructure)
        || desired
            .deployments
            .values()
            .any(|wanted| wanted.infrastructure == infrastructure);
    desired.services.contains_key(&of("/service")) && named && !desired.deployments.contains_key(&of("/name"))
}

impl Seen {
    async fn read(desk: &Desk, kind: &str, name: &str) -> Result<Self, Failure> {
        let body = found(desk, &[kind, name]).await?;
        Ok(Self {
            body,
            ..Self::default()
        })
    }

    async fn add_versions<'a>(
        &mut self,
        desk: &Desk,
        service: &str,
        names: impl Iterator<Item = &'a String>,
    ) -> Result<(), Failure> {
        for name in names {
            if self.versions.contains_key(name) {
                continue;
            }
            if let Some(version) = found(desk, &["services", service, "versions", name]).await? {
                self.versions.insert(name.clone(), version);
            }
        }
        Ok(())
    }
}

async fn found(desk: &Desk, path: &[&str]) -> Result<Option<Value>, Failure> {
    match desk.server.get(path, &[]).await {
        Ok(body) => Ok(Some(body)),
        Err(failure) if failure.status() == Some(404) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A list that belongs to a thing.
pub(super) async fn part(desk: &Desk, path: &[&str]) -> Result<Part, Failure> {
    match desk.server.list(path, &[], usize::MAX).await {
        Ok(items) => Ok(Part::Known(items)),
        Err(Failure::Refused(refusal)) if refusal.status == 403 => Ok(Part::Hidden(refusal.body)),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::declare::desired::{Deployment, Service};
    use serde_json::json;

    #[test]
    fn what_pruning_is_about() {
        let mut desired = Desired::default();
        desired.services.insert("iris".into(), Service::default());
        desired.infrastructures.insert("test".into(), Infrastructure::default());
        let kept = Deployment {
            service: "iris".into(),
            infrastructure: "dev".into(),
            ..Deployment::default()
        };
        desired.deployments.insert("kept".into(), kept);
        for (name, service, infrastructure, stray) in [
            ("other", "iris", "dev", true),
            ("other", "iris", "test", true),
            ("kept", "iris", "dev", false),
            ("other", "rose", "dev", false),
            // Nothing here speaks of prod.
            ("other", "iris", "prod", false),
        ] {
            let found = json!({"name": name, "service": service, "infrastructure": infrastructure});
            assert_eq!(is_stray(&desired, &found), stray, "{found}");
        }
    }
}
