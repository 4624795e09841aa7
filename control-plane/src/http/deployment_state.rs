//! How a deployment stands and where it is called, from what is known of its nodes. Pure.

use crate::domain::{Deployment, InfrastructureKind};
use crate::store::{Node, NodeState};
use serde::Serialize;
use utoipa::ToSchema;

/// How a deployment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentState {
    /// Switched off.
    Off,
    /// No node is ready yet.
    Starting,
    /// As many nodes as wanted are ready.
    Running,
    /// Some nodes are ready, but fewer than wanted.
    Degraded,
    /// Its nodes end again and again.
    CrashLooping,
    /// Nodes are an operator's, and none is connected.
    Waiting,
}

/// How a deployment stands, from its nodes.
pub fn state(deployment: &Deployment, nodes: &[Node]) -> DeploymentState {
    let count = |state| nodes.iter().filter(|node| node.state == state).count();
    let ready = count(NodeState::Ready);
    let launched = deployment.kind != InfrastructureKind::Static;
    let wanted = if launched {
        usize::try_from(deployment.least).unwrap_or(1)
    } else {
        1
    };
    match () {
        () if !deployment.enabled => DeploymentState::Off,
        () if ready >= wanted => DeploymentState::Running,
        () if ready > 0 => DeploymentState::Degraded,
        () if count(NodeState::CrashLooping) > 0 => DeploymentState::CrashLooping,
        () if !launched && nodes.iter().all(|node| !node.connected) => DeploymentState::Waiting,
        () => DeploymentState::Starting,
    }
}

/// Where programs call a deployment: its own port, or of static nodes the first that is ready.
pub fn url(deployment: &Deployment, nodes: &[Node]) -> Option<String> {
    let address = match deployment.kind {
        InfrastructureKind::Local => deployment.port.map(|port| format!("127.0.0.1:{port}")),
        InfrastructureKind::Static => nodes
            .iter()
            .find(|node| node.state == NodeState::Ready)?
            .http_address
            .clone(),
        InfrastructureKind::Kubernetes => return deployment.address.clone(),
    };
    address.map(|address| format!("http://{address}"))
}
