//! What a deployment becomes in a cluster: pure, and complete. What is not in the list is taken away.
//!
//! Apart from applying it. The rule a newcomer would break: the same deployment always becomes the same bytes, whichever
//! release builds them, since pods are replaced when their template differs by one. What a release makes differently is a
//! template of its own (`domain/kubernetes/make.rs`).

mod exposure;
mod guard;
mod scaling;
mod secret;
#[cfg(test)]
mod tests;
mod workload;

use super::dialled::OwnPods;
use super::labels::{CONFIG, DEPLOYMENT, INSTALLATION, parse_position};
use crate::domain::kubernetes::{Autoscaling, Exposure, Kubernetes, MOST_IN_SECRET, Resources, Template};
use crate::domain::{DeploymentName, Limits, Scale};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// All that decides what a deployment becomes. It holds a token, and so has no Debug.
#[derive(Clone)]
pub(super) struct Desired {
    pub(super) installation: Uuid,
    pub(super) deployment: Uuid,
    pub(super) name: DeploymentName,
    pub(super) enabled: bool,
    pub(super) scale: Scale,
    pub(super) limits: Limits,
    pub(super) settings: Kubernetes,
    /// What its pods run.
    pub(super) image: String,
    /// By what they are made; none: by what another release makes, and what is there of them is left as it is.
    pub(super) template: Option<Template>,
    pub(super) boot: Boot,
    pub(super) control_plane: Dialled,
    /// Whether it has a NetworkPolicy.
    pub(super) is_walled: bool,
}

/// What a pod starts with.
#[derive(Clone)]
pub(super) struct Boot {
    /// The join document.
    pub(super) join: String,
    /// The signed config, encoded, and where it stands.
    pub(super) config: Vec<u8>,
    pub(super) position: (u64, u64),
    /// That it was the newest one a while ago, where nodes count from there.
    pub(super) vouched: Option<Vouched>,
    /// The hash of the join document's token, while nobody has noted that a Secret has it.
    pub(super) uncopied_token: Option<Vec<u8>>,
    /// Where the files of the config can be fetched without a control plane.
    pub(super) packages: Packages,
}

/// Where files can be fetched without a control plane.
#[derive(Clone)]
pub(super) enum Packages {
    /// There.
    At(Vec<u8>),
    /// Nowhere.
    Nowhere,
    /// There, but what says so does not fit into a Secret beside the rest.
    NoRoom,
}

impl Packages {
    /// What is said of it in a Secret.
    fn document(&self) -> Option<&Vec<u8>> {
        match self {
            Self::At(document) => Some(document),
            Self::Nowhere | Self::NoRoom => None,
        }
    }
}

/// What it means for pods that the addresses of their packages are not in their Secret.
pub(super) fn no_room(packages: &Packages) -> Option<String> {
    matches!(packages, Packages::NoRoom).then(|| {
        format!(
            "the addresses of its packages do not fit into its Secret ({MOST_IN_SECRET} bytes) beside its config: a pod that \
             starts while the control plane is away cannot fetch its models; revoke keys, or route to versions with fewer files"
        )
    })
}

/// That a config was the newest one at a moment.
#[derive(Clone)]
pub(super) struct Vouched {
    /// Signed, encoded.
    pub(super) document: Vec<u8>,
    /// In what time it is said anew.
    pub(super) again: Duration,
}

/// Where pods dial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dialled {
    /// Ranges of addresses, by the port there.
    pub(super) blocks: BTreeMap<u16, BTreeSet<String>>,
    /// In their own cluster.
    pub(super) inside: Vec<Inside>,
    /// The host of which no address is known.
    pub(super) unknown: Option<String>,
}

/// Somewhere in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// These pods.
    Pods(OwnPods),
    /// Some pod of a namespace: behind a Service whose pods, and their port, nobody knows here.
    Namespace(String),
}

/// What it means for pods that the control plane's host is not known.
pub(super) fn unknown_host(dialled: &Dialled) -> Option<String> {
    let host = dialled.unknown.as_ref()?;
    Some(format!(
        "no address of the control plane's host {host} is known here, so the NetworkPolicy of its pods cannot let them out to it: \
         see to the name server, or list its addresses in control_plane.addresses of the infrastructure"
    ))
}

impl Desired {
    fn resources(&self) -> Resources {
        self.scale.resources.unwrap_or(self.settings.resources)
    }

    /// How many pods there are by what they have to do; none when the deployment says how many.
    pub(super) fn autoscaling(&self) -> Option<Autoscaling> {
        self.scale.autoscaling(self.settings.autoscaling)
    }
}

/// The kinds of objects that are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    ServiceAccount,
    Secret,
    NetworkPolicy,
    Service,
    Deployment,
    PodDisruptionBudget,
    HorizontalPodAutoscaler,
    Ingress,
    HttpRoute,
}

impl Kind {
    /// Every kind, in the order in which they are applied: what a pod needs is there before it.
    pub(super) const ALL: [Self; 9] = [
        Self::ServiceAccount,
        Self::Secret,
        Self::NetworkPolicy,
        Self::Service,
        Self::Deployment,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
        Self::Ingress,
        Self::HttpRoute,
    ];

    /// Its group, version, name and the name of its collection.
    pub(super) fn api(self) -> [&'static str; 4] {
        match self {
            Self::ServiceAccount => ["", "v1", "ServiceAccount", "serviceaccounts"],
            Self::Secret => ["", "v1", "Secret", "secrets"],
            Self::NetworkPolicy => ["networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"],
            Self::Service => ["", "v1", "Service", "services"],
            Self::Deployment => ["apps", "v1", "Deployment", "deployments"],
            Self::PodDisruptionBudget => ["policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"],
            Self::HorizontalPodAutoscaler => [
                "autoscaling",
                "v2",
                "HorizontalPodAutoscaler",
                "horizontalpodautoscalers",
            ],
            Self::Ingress => ["networking.k8s.io", "v1", "Ingress", "ingresses"],
            Self::HttpRoute => ["gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"],
        }
    }

    /// Whether every cluster knows it. Others have to be installed there.
    pub(super) fn is_everywhere(self) -> bool {
        self != Self::HttpRoute
    }

    /// Whether pods do without it: what needs it, its own object, is lacking where the cluster shows none of this kind. All that
    /// a pod needs comes before the Deployment.
    pub(super) fn is_spared(self) -> bool {
        self > Self::Deployment
    }

    /// Whether it leads to pods from outside.
    pub(super) fn leads_in(self) -> bool {
        matches!(self, Self::Ingress | Self::HttpRoute)
    }

    /// Whether an infrastructure has objects of this kind.
    pub(super) fn is_made_by(self, settings: &Kubernetes) -> bool {
        match self {
            Self::HttpRoute => matches!(settings.exposure, Exposure::HttpRoute { .. }),
            Self::Ingress => matches!(settings.exposure, Exposure::Ingress { .. }),
            _ => true,
        }
    }
}

/// An object as it should be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// As it is applied.
    pub(super) body: Value,
}

impl Object {
    /// The config in it.
    pub(super) fn position(&self) -> Option<(u64, u64)> {
        let notes = self.body.pointer("/metadata/annotations")?;
        parse_position(notes.get(CONFIG)?.as_str()?)
    }
}

/// Objects that were built.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prepared;
/// Objects that a cluster has, and the kinds of those that it could not be given.
#[derive(Clone, Debug)]
pub(super) struct Applied {
    undone: Vec<Kind>,
}

/// The objects of one deployment: all of them, in the order in which they are applied.
#[derive(Clone, Debug)]
pub(super) struct Objects<S> {
    items: Vec<Object>,
    left_alone: Vec<Kind>,
    state: S,
}

impl<S> Objects<S> {
    pub(super) fn items(&self) -> &[Object] {
        &self.items
    }

    /// What is there of this kind stays as it is.
    pub(super) fn leaves_alone(&self, kind: Kind) -> bool {
        self.left_alone.contains(&kind)
    }
}

impl Objects<Prepared> {
    /// The cluster has them now, but for those of these kinds.
    pub(super) fn applied_but(mut self, undone: Vec<Kind>) -> Objects<Applied> {
        self.items.retain(|object| !undone.contains(&object.kind));
        Objects {
            items: self.items,
            left_alone: self.left_alone,
            state: Applied { undone },
        }
    }
}

impl Objects<Applied> {
    /// Whether the one of this kind could not be made what it should be.
    pub(super) fn lack(&self, kind: Kind) -> bool {
        self.state.undone.contains(&kind)
    }
}

/// These objects, to be compared.
#[cfg(test)]
pub(super) fn built(items: Vec<Object>, left_alone: Option<Kind>) -> Objects<Prepared> {
    Objects {
        items,
        left_alone: left_alone.into_iter().collect(),
        state: Prepared,
    }
}

/// What a deployment becomes. Switched off it keeps its address.
pub(super) fn build(desired: &Desired) -> Objects<Prepared> {
    let mut items = exposure::objects(desired);
    let mut left_alone = Vec::new();
    if desired.enabled {
        items.push(guard::service_account(desired));
        // What was let out before is known better than nothing.
        match desired.control_plane.unknown.is_some() && desired.is_walled {
            true => left_alone.push(Kind::NetworkPolicy),
            false => items.push(guard::network_policy(desired)),
        }
        items.push(guard::disruption_budget(desired));
        items.push(secret::object(desired));
        match desired.template {
            Some(template) => items.push(workload::object(desired, template)),
            None => left_alone.push(Kind::Deployment),
        }
        items.extend(scaling::object(desired));
    }
    items.sort_by_key(|object| object.kind);
    Objects {
        items,
        left_alone,
        state: Prepared,
    }
}

/// What a deployment becomes that is no more.
pub(super) fn nothing() -> Objects<Prepared> {
    Objects {
        items: Vec::new(),
        left_alone: Vec::new(),
        state: Prepared,
    }
}

/// A pod as a deployment of this infrastructure would make it, to be asked whether it is admitted.
pub(super) fn pod(desired: &Desired, template: Template) -> Value {
    let mut pod = workload::pods(desired, template);
    let name = format!("castoff-check-{}", desired.deployment);
    let mut metadata = metadata(desired);
    if let Some(own) = metadata.as_object_mut() {
        own.insert("name".to_owned(), name.into());
    }
    if let Some(object) = pod.as_object_mut() {
        object.insert("apiVersion".to_owned(), "v1".into());
        object.insert("kind".to_owned(), "Pod".into());
        object.insert("metadata".to_owned(), metadata);
    }
    pod
}

/// Name, labels and annotations of everything that a deployment becomes.
fn metadata(desired: &Desired) -> Value {
    let settings = &desired.settings;
    let mut labels: Map<String, Value> = Map::new();
    for (name, value) in &settings.labels {
        labels.insert(name.clone(), value.as_str().into());
    }
    for (name, value) in [
        (INSTALLATION, desired.installation.to_string()),
        (DEPLOYMENT, desired.deployment.to_string()),
        ("app.kubernetes.io/name", "castoff-node".to_owned()),
        ("app.kubernetes.io/instance", desired.name.to_string()),
        ("app.kubernetes.io/managed-by", "castoff".to_owned()),
    ] {
        labels.insert(name.to_owned(), value.into());
    }
    json!({
        "name": desired.name, "namespace": settings.namespace,
        "labels": labels, "annotations": settings.annotations,
    })
}

fn object(desired: &Desired, kind: Kind, fields: Value) -> Object {
    let [group, version, name, _] = kind.api();
    let api_version = match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    };
    let mut body = json!({"apiVersion": api_version, "kind": name, "metadata": metadata(desired)});
    if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
        body.extend(fields);
    }
    Object {
        kind,
        name: desired.name.to_string(),
        body,
    }
}
