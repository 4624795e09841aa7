//! Deployments: one service on one infrastructure.

use super::kubernetes::{Autoscaling, Make};
use super::{DeploymentName, HeaderName, ImageName, InfrastructureKind, Invalid, Scale, Time, VersionName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Who may call a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Whoever holds one of its own keys; with no key, nobody.
    Keys,
    /// What its service says: the service's setting and keys, beside its own keys.
    Inherit,
    /// Anybody. Said explicitly, and audited.
    Public,
}

/// One version and its share of the calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Leg {
    /// The version.
    pub version: VersionName,
    /// Out of 100.
    #[schema(maximum = 100)]
    pub weight: u32,
    /// SHA-256 that the version had when the route was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Which versions answer, and how often. Never empty; the weights sum to 100; no version twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Leg>", into = "Vec<Leg>")]
pub struct Route(Vec<Leg>);

/// More versions side by side than this is not a route but a mistake.
const MOST_LEGS: usize = 10;

impl Route {
    /// All calls to one version.
    pub fn only(version: VersionName) -> Self {
        Self(vec![Leg {
            version,
            weight: 100,
            digest: None,
        }])
    }

    /// The legs, in the order they were given.
    pub fn legs(&self) -> &[Leg] {
        &self.0
    }

    /// The same route with what `pin` says of each leg.
    pub fn pinned(self, pin: impl Fn(&VersionName) -> Option<String>) -> Self {
        Self(
            self.0
                .into_iter()
                .map(|leg| Leg {
                    digest: pin(&leg.version),
                    ..leg
                })
                .collect(),
        )
    }
}

impl TryFrom<Vec<Leg>> for Route {
    type Error = Invalid;

    fn try_from(legs: Vec<Leg>) -> Result<Self, Invalid> {
        if legs.is_empty() || legs.len() > MOST_LEGS {
            return Err(Invalid::new("", format!("must name 1 to {MOST_LEGS} versions")));
        }
        let sum = legs.iter().fold(0u32, |sum, leg| sum.saturating_add(leg.weight));
        if sum != 100 {
            return Err(Invalid::new("", format!("weights must sum to 100, these sum to {sum}")));
        }
        for (place, leg) in legs.iter().enumerate() {
            if legs.iter().take(place).any(|earlier| earlier.version == leg.version) {
                return Err(Invalid::new(format!("/{place}/version"), "is named twice"));
            }
        }
        Ok(Self(legs))
    }
}

impl From<Route> for Vec<Leg> {
    fn from(route: Route) -> Self {
        route.0
    }
}

/// What a node allows itself and its callers. Bounds are checked by [`Limits::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Sessions per model, each owned by a thread.
    #[schema(minimum = 1, maximum = 64)]
    pub sessions: u32,
    /// Calls that may wait for a session.
    #[schema(minimum = 1, maximum = 65_536)]
    pub queue: u32,
    /// From the arrival of a call to its answer, in milliseconds.
    #[schema(minimum = 10, maximum = 600_000)]
    pub deadline_ms: u32,
    /// Bytes of one request's body.
    #[schema(minimum = 1_024, maximum = 1_073_741_824)]
    pub max_body_bytes: u64,
    /// How long a node that is asked to end keeps accepting, in milliseconds.
    #[schema(maximum = 60_000)]
    pub drain_delay_ms: u32,
    /// Deny when cut off from the control plane for longer, in seconds; 0: never. A pod that starts without having heard it
    /// counts from when it last vouched for what the pod starts with: half of this before, or 15 s.
    #[schema(maximum = 2_592_000)]
    pub max_staleness_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 1,
            queue: 256,
            deadline_ms: 10_000,
            max_body_bytes: 16 << 20,
            drain_delay_ms: 5_000,
            max_staleness_s: 0,
        }
    }
}

pub(super) fn within<T: PartialOrd + std::fmt::Display + Copy>(
    pointer: &str,
    value: T,
    least: T,
    most: T,
) -> Result<(), Invalid> {
    if value < least || value > most {
        return Err(Invalid::new(pointer, format!("must be {least} to {most}")));
    }
    Ok(())
}

impl Limits {
    /// Checks the bounds.
    ///
    /// # Errors
    /// The first field that is out of bounds.
    pub fn check(self) -> Result<Self, Invalid> {
        within("/sessions", self.sessions, 1, 64)?;
        within("/queue", self.queue, 1, 65_536)?;
        within("/deadline_ms", self.deadline_ms, 10, 600_000)?;
        within("/max_body_bytes", self.max_body_bytes, 1_024, 1 << 30)?;
        within("/drain_delay_ms", self.drain_delay_ms, 0, 60_000)?;
        within("/max_staleness_s", self.max_staleness_s, 0, 30 * 86_400)?;
        Ok(self)
    }
}

/// One service on one infrastructure.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Never used again: key hashes on nodes depend on it.
    pub id: Uuid,
    /// Unique.
    pub name: DeploymentName,
    /// The service.
    pub service_id: Uuid,
    /// Its name.
    pub service: String,
    /// The infrastructure.
    pub infrastructure_id: Uuid,
    /// Its name.
    pub infrastructure: String,
    /// Its kind.
    pub kind: InfrastructureKind,
    /// Whether nodes should run.
    pub enabled: bool,
    /// Who may call.
    pub access: Access,
    /// The header in which keys travel, besides Authorization.
    pub key_header: HeaderName,
    /// Which versions answer.
    pub route: Route,
    /// How many nodes.
    pub scale: Scale,
    /// At least so many there should be.
    pub least: u32,
    /// How many by what they have to do, by itself or by its infrastructure; none when there are as many as it says.
    pub autoscaling: Option<Autoscaling>,
    /// How many its infrastructure gives a deployment that does not say.
    pub usual_replicas: u32,
    /// What a node allows itself and its callers.
    pub limits: Limits,
    /// The stable port of a local deployment, once it has one.
    pub port: Option<u16>,
    /// What the launcher cannot do, in plain words.
    pub problem: Option<String>,
    /// Of what make its pods are, once that is known; on Kubernetes.
    pub make: Option<Make>,
    /// Whether its pods are being replaced by such of it.
    pub moving: bool,
    /// What its infrastructure says that new pods run; on Kubernetes.
    pub named_image: Option<ImageName>,
    /// The host that a balancer of its cluster has for it, as was last seen; on Kubernetes.
    pub balancer: Option<String>,
    /// Where programs call it, by what its infrastructure says, once that is known; on Kubernetes.
    pub address: Option<String>,
    /// The config in force: epoch and version.
    pub config: (u64, u64),
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
    /// Raised by every change; also the number in its history.
    pub revision: i64,
}

/// One entry of a deployment's history.
#[derive(Clone, Debug)]
pub struct Revision {
    /// 1, 2, 3, …
    pub n: i64,
    /// Which versions answered.
    pub route: Route,
    /// How many nodes.
    pub scale: Scale,
    /// What a node allowed.
    pub limits: Limits,
    /// Who made it.
    pub author: String,
    /// Why, as its author says.
    pub note: String,
    /// When.
    pub at: Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg(version: &str, weight: u32) -> Leg {
        Leg {
            version: VersionName::parse(version).unwrap(),
            weight,
            digest: None,
        }
    }

    #[test]
    fn routes() {
        for (legs, fits) in [
            (vec![leg("a", 100)], true),
            (vec![leg("a", 90), leg("b", 10)], true),
            (vec![leg("a", 100), leg("b", 0)], true),
            (vec![], false),
            (vec![leg("a", 99)], false),
            (vec![leg("a", u32::MAX), leg("b", 101)], false),
            (vec![leg("a", 50), leg("a", 50)], false),
        ] {
            assert_eq!(Route::try_from(legs.clone()).is_ok(), fits, "{legs:?}");
        }
    }

    #[test]
    fn the_defaults_are_within_bounds() {
        Limits::default().check().unwrap();
    }
}
