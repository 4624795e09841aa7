//! Places to run.

use super::{InfrastructureName, Kubernetes, Stage, Time};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What runs the nodes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InfrastructureKind {
    /// The control plane starts them as processes of its own machine.
    Local,
    /// An operator starts them, with a join document.
    Static,
    /// They are pods of a cluster.
    Kubernetes,
}

/// Which ways past a deployment's own keys an infrastructure allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Allowances {
    /// Deployments may take over the service's access and keys.
    pub inherit: bool,
    /// Deployments may be public.
    pub public: bool,
    /// Deployments may accept keys that people own.
    pub personal_keys: bool,
}

impl Allowances {
    /// What a new infrastructure of this stage allows: dev everything, any other nothing until its admin says so.
    /// Otherwise the owner of a service could mint a key that opens production.
    pub fn of_stage(stage: &Stage) -> Self {
        let all = stage.as_str() == "dev";
        Self {
            inherit: all,
            public: all,
            personal_keys: all,
        }
    }
}

/// A place to run.
#[derive(Clone, Debug)]
pub struct Infrastructure {
    /// Never used again.
    pub id: Uuid,
    /// Unique.
    pub name: InfrastructureName,
    /// What runs the nodes.
    pub kind: InfrastructureKind,
    /// Where it stands in the life cycle.
    pub stage: Stage,
    /// For people.
    pub description: String,
    /// Which ways past a deployment's own keys it allows.
    pub allow: Allowances,
    /// Of kind kubernetes.
    pub kubernetes: Option<Kubernetes>,
    /// When it was made.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
    /// Raised by every change.
    pub revision: i64,
}
