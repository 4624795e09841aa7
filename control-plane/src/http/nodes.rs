//! What runs: nodes, their logs, and how to call them.

use super::caller::Caller;
use super::deployment_state::{DeploymentState, state, url};
use super::deployments::ConfigPosition;
use super::output::{Answer, Created, List, Secretive, whole};
use super::state::Api;
use crate::authn::Actor;
use crate::authz::{Action, Deploy, ListKeys, View};
use crate::domain::kubernetes::Make;
use crate::domain::package::{Datatype, Endpoint, EndpointKind};
use crate::domain::{
    Access, ApiKey, Deployment, EndpointName, InfrastructureKind, KeyState, Refusal, RefusalReason, Time,
};
use crate::store::{Error, KeyRing, Node, NodeState, PageRequest, Permit};
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// A node.
#[derive(Serialize, ToSchema)]
#[schema(as = Node)]
pub struct NodeOut {
    id: Uuid,
    state: NodeState,
    /// Of a local node.
    pid: Option<u32>,
    /// The name of its pod, on Kubernetes; null until it is known there, and elsewhere.
    pod: Option<String>,
    http_address: Option<String>,
    /// Its health and metrics.
    ops_address: Option<String>,
    release: Option<String>,
    /// The config in force there.
    acked: Option<ConfigPosition>,
    last_seen_at: Option<Time>,
    restarts: u64,
    /// How its last process ended.
    last_exit: Option<String>,
    /// What goes wrong: why it is not ready, or what it could not do.
    reason: Option<String>,
    /// Its config was not confirmed by the control plane since its start.
    stale: bool,
    /// Configs that it refused since its start.
    refused_configs: u64,
    /// The latest refusal, until a newer config is in force there.
    refused: Option<RefusalOut>,
}

/// What a node did not obey.
#[derive(Serialize, ToSchema)]
#[schema(as = Refusal)]
pub struct RefusalOut {
    reason: RefusalReason,
    /// Where it says that it stands; null when it could not be opened.
    config: Option<ConfigPosition>,
    /// Refusals in a row.
    count: u64,
    /// In plain words.
    message: String,
    /// What the node says about it.
    detail: String,
}

/// How a deployment stands, in full.
#[derive(Serialize, ToSchema)]
pub struct Status {
    deployment: String,
    state: DeploymentState,
    /// In plain words.
    message: String,
    url: Option<String>,
    config: ConfigPosition,
    /// Until when its pods can fetch their packages from the object store without a control plane; null where they cannot.
    package_addresses_expire_at: Option<Time>,
    /// Of what make its pods are; null elsewhere than on Kubernetes, and before the first was made.
    pods: Option<PodsOut>,
    nodes: Vec<NodeOut>,
}

/// Of what make pods are. An upgrade of Castoff changes none of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Pods)]
pub struct PodsOut {
    /// What they run, for those who administer the infrastructure.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    /// The generation of how a release of Castoff makes pods.
    template: u32,
    /// Not all of them yet: others are being replaced.
    moving: bool,
    /// What an upgrade of their infrastructure would make of them; null when they are that.
    next: Option<NextOut>,
}

/// What pods would be made into. Which image is for those to know who administer the infrastructure.
#[derive(Serialize, ToSchema)]
#[schema(as = NextPods)]
pub struct NextOut {
    another_image: bool,
    template: u32,
}

/// A rotation that has begun.
#[derive(Serialize, ToSchema)]
pub struct Rotated {
    /// The nodes that have not got the new token yet. The event `node-token-rotated` says that none is left.
    pending: Vec<Uuid>,
}

/// Code that calls a deployment.
#[derive(Serialize, ToSchema)]
pub struct Sample {
    /// The first key that opens it and that the caller may see, masked: which one to put in place of $CASTOFF_KEY.
    key_hint: Option<String>,
    /// To be pasted into a shell.
    curl: String,
    /// The same in Python.
    python: String,
}

impl From<Node> for NodeOut {
    fn from(node: Node) -> Self {
        Self {
            id: node.id,
            state: node.state,
            pid: node.pid,
            pod: node.pod,
            http_address: node.http_address,
            ops_address: node.ops_address,
            release: node.release,
            acked: node.acked.map(|(epoch, version)| ConfigPosition { epoch, version }),
            last_seen_at: node.last_seen_at,
            restarts: node.restarts,
            last_exit: node.last_exit,
            reason: node.reason,
            stale: node.stale,
            refused_configs: node.refused_configs,
            refused: node.refused.map(RefusalOut::from),
        }
    }
}

impl From<Refusal> for RefusalOut {
    fn from(refusal: Refusal) -> Self {
        Self {
            message: refusal.line(),
            reason: refusal.reason,
            config: refusal.config.map(|(epoch, version)| ConfigPosition { epoch, version }),
            count: refusal.count,
            detail: refusal.detail,
        }
    }
}

impl PodsOut {
    /// Of a deployment, where new ones would be of this make, for somebody who may know their image or not.
    fn of(deployment: &Deployment, newest: &Make, shows_image: bool) -> Option<Self> {
        let own = deployment.make.clone()?;
        let next = (*newest != own).then(|| NextOut {
            another_image: newest.image != own.image,
            template: newest.template,
        });
        Some(Self {
            image: shows_image.then_some(own.image),
            template: own.template,
            moving: deployment.moving,
            next,
        })
    }
}

fn message(deployment: &Deployment, nodes: &[Node]) -> String {
    let ready = nodes.iter().filter(|node| node.state == NodeState::Ready).count();
    let reason = nodes.iter().find_map(|node| match node.state {
        NodeState::CrashLooping => node.last_exit.clone(),
        _ => node.reason.clone().or(node.refused.as_ref().map(Refusal::line)),
    });
    let reason = deployment.problem.clone().or(reason);
    let base = match state(deployment, nodes) {
        DeploymentState::Off => "switched off".to_owned(),
        DeploymentState::Running if ready == 1 => "1 node ready".to_owned(),
        DeploymentState::Running => format!("{ready} nodes ready"),
        DeploymentState::Starting => "no node is ready yet".to_owned(),
        DeploymentState::Degraded => format!("{ready} of {} nodes ready", deployment.least),
        DeploymentState::CrashLooping => "its nodes end again and again: see its logs".to_owned(),
        DeploymentState::Waiting => "waits for nodes: make a join document with POST node-tokens".to_owned(),
    };
    match reason {
        Some(reason) if state(deployment, nodes) != DeploymentState::Off => format!("{base}: {reason}"),
        _ => base,
    }
}

/// How a deployment stands, with its nodes.
#[utoipa::path(get, path = "/deployments/{deployment}/status", tag = "deployments", params(("deployment" = String, Path)),
    responses((status = 200, body = Status)))]
pub async fn status(permit: Permit<View, Deployment>, State(api): State<Api>) -> Answer<axum::Json<Status>> {
    let nodes = api.store.nodes(&permit).await?;
    Ok(axum::Json(Status {
        deployment: permit.name.to_string(),
        state: state(&permit, &nodes),
        message: message(&permit, &nodes),
        url: url(&permit, &nodes),
        config: ConfigPosition {
            epoch: permit.config.0,
            version: permit.config.1,
        },
        package_addresses_expire_at: api.store.addresses_end(&permit).await?,
        pods: PodsOut::of(
            &permit,
            &api.clusters.make(permit.named_image.as_ref()),
            api.table.allows(Action::AdministerInfrastructure, permit.standing()),
        ),
        nodes: nodes.into_iter().map(NodeOut::from).collect(),
    }))
}

/// A deployment's nodes.
#[utoipa::path(get, path = "/deployments/{deployment}/nodes", tag = "deployments", params(("deployment" = String, Path)),
    responses((status = 200, body = List<NodeOut>)))]
pub async fn list(permit: Permit<View, Deployment>, State(api): State<Api>) -> Answer<List<NodeOut>> {
    Ok(whole(
        api.store.nodes(&permit).await?.into_iter().map(NodeOut::from).collect(),
    ))
}

/// Make a token for nodes that an operator starts. The join document is in this answer only.
#[utoipa::path(post, path = "/deployments/{deployment}/node-tokens", tag = "deployments", params(("deployment" = String, Path)),
    responses((status = 201, description = "The join document, to be kept in a file of mode 0600", body = Value)))]
pub async fn create_token(permit: Permit<Deploy, Deployment>, State(api): State<Api>) -> Answer<impl IntoResponse> {
    if permit.kind != InfrastructureKind::Static {
        return Err(Error::InUse(
            "nodes of this infrastructure are started by the control plane: they need no token".to_owned(),
        )
        .into());
    }
    let secret = api.store.create_node_token(&permit).await?;
    let join = api.joins.document(permit.id, &secret);
    let place = format!("/deployments/{}/nodes", permit.name);
    Ok(Secretive(Created(place, axum::Json(json!({"join": join})))))
}

/// Give the nodes a new token in place of theirs. Those on the line are told, and it lies where others boot from; the old one
/// ends five minutes after all of them have it, or at the next rotation.
#[utoipa::path(post, path = "/deployments/{deployment}/node-tokens/rotate", tag = "deployments", params(("deployment" = String, Path)),
    responses((status = 200, body = Rotated)))]
pub async fn rotate_token(permit: Permit<Deploy, Deployment>, State(api): State<Api>) -> Answer<axum::Json<Rotated>> {
    let pending = api.store.rotate_node_token(&permit).await?;
    Ok(axum::Json(Rotated { pending }))
}

/// Code that calls a deployment, with the first key that the caller may see, masked.
#[utoipa::path(get, path = "/deployments/{deployment}/sample", tag = "deployments", params(("deployment" = String, Path)),
    responses((status = 200, body = Sample)))]
pub async fn sample(
    permit: Permit<View, Deployment>,
    Caller(actor): Caller,
    State(api): State<Api>,
) -> Answer<axum::Json<Sample>> {
    let nodes = api.store.nodes(&permit).await?;
    let endpoint = api.store.first_endpoint(&permit).await?;
    let key_hint = first_key(&api, &actor, &permit, &endpoint.name).await?;
    let base = url(&permit, &nodes).unwrap_or_else(|| "http://ADDRESS".to_owned());
    let (path, body) = call(&permit, &endpoint);
    let header = permit.key_header.as_str();
    let curl = format!(
        "curl {base}{path} -H \"{header}: $CASTOFF_KEY\" -H 'content-type: application/json' -d '{}'",
        body.to_string().replace('\'', "'\\''")
    );
    let python = format!(
        "import json, os, urllib.request\nrequest = urllib.request.Request(\n    {:?},\n    json.dumps({}).encode(),\n    {{{header:?}: os.environ[\"CASTOFF_KEY\"], \"content-type\": \"application/json\"}},\n)\nprint(json.load(urllib.request.urlopen(request)))\n",
        format!("{base}{path}"),
        python_literal(&body),
    );
    Ok(axum::Json(Sample { key_hint, curl, python }))
}

/// The first key that opens the endpoint, masked: of the deployment's own keys, then of the service's when they open it,
/// too, and the caller may see them.
async fn first_key(
    api: &Api,
    actor: &Arc<Actor>,
    permit: &Permit<View, Deployment>,
    endpoint: &EndpointName,
) -> Answer<Option<String>> {
    let now = api.store.clock().now();
    let opens = |key: &ApiKey| {
        let scoped = key.endpoints.is_empty() || key.endpoints.iter().any(|name| name == endpoint.as_str());
        scoped && key.state(now) == KeyState::Active
    };
    let first = async |ring: &KeyRing<'_>| -> Answer<Option<String>> {
        let keys = api.store.keys(ring, &PageRequest::default()).await?.items;
        Ok(keys.into_iter().find(opens).map(|key| key.masked))
    };
    let own = first(&api.store.deployment_keys(permit).await?).await?;
    if own.is_some() || permit.access != Access::Inherit {
        return Ok(own);
    }
    let service = api.store.service(actor, &permit.service).await?;
    match service.admit::<ListKeys>(&api.table, actor) {
        Ok(service) => first(&api.store.service_keys(&service).await?).await,
        Err(_) => Ok(None),
    }
}

/// Where an endpoint is called, and with a body of the right form whose values are zeros.
fn call(deployment: &Deployment, endpoint: &Endpoint) -> (String, Value) {
    let value = |datatype: Datatype| match datatype {
        Datatype::Bytes => json!("text"),
        Datatype::Bool => json!(false),
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => json!(0.5),
        _ => json!(1),
    };
    match endpoint.kind {
        EndpointKind::Records => {
            let first = endpoint.inputs.first().map_or(Datatype::Fp32, |input| input.datatype);
            let features: serde_json::Map<String, Value> = if endpoint.columns.is_empty() {
                endpoint
                    .inputs
                    .iter()
                    .map(|input| (input.name.clone(), value(input.datatype)))
                    .collect()
            } else {
                endpoint
                    .columns
                    .iter()
                    .map(|column| (column.clone(), value(first)))
                    .collect()
            };
            let path = format!("/public/api/v1/{}/{}/predict", deployment.service, endpoint.name);
            (path, json!({"features": features}))
        }
        EndpointKind::Tensor => {
            let inputs: Vec<Value> = endpoint
                .inputs
                .iter()
                .map(|input| {
                    let shape: Vec<i64> = input.shape.iter().map(|dim| (*dim).max(1)).collect();
                    // A sample of a large image is no help to anybody: its data is cut, and said so by its count.
                    let count = shape.iter().copied().fold(1, i64::saturating_mul).clamp(1, 64);
                    let data: Vec<Value> = (0..count).map(|_| value(input.datatype)).collect();
                    json!({"name": input.name, "datatype": input.datatype, "shape": shape, "data": data})
                })
                .collect();
            (format!("/v2/models/{}/infer", endpoint.name), json!({"inputs": inputs}))
        }
    }
}

/// JSON as Python writes it.
fn python_literal(value: &Value) -> String {
    let all = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        // A JSON string or number means the same in Python.
        Value::String(_) | Value::Number(_) => value.to_string(),
        Value::Array(parts) => format!("[{}]", all(parts.iter().map(python_literal).collect())),
        Value::Object(parts) => {
            let pair = |(name, part): (&String, &Value)| format!("{}: {}", json!(name), python_literal(part));
            format!("{{{}}}", all(parts.iter().map(pair).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_python_whatever_columns_are_called() {
        let body = json!({"features": {"is_true": true, "null": null, "falsehood": "it is \"false\"", "n": [1, 0.5]}});
        assert_eq!(
            python_literal(&body),
            r#"{"features": {"is_true": True, "null": None, "falsehood": "it is \"false\"", "n": [1, 0.5]}}"#
        );
    }
}
