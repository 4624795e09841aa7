//! What an infrastructure of kind kubernetes is told: where its pods run, what they may take, and how they are reached.
//!
//! Apart from what is made of it (`launch/kubernetes`). The rule a newcomer would break: a setting that decides what a pod
//! looks like has one canonical form, since pods are replaced when their template differs.

mod amounts;
mod control_plane;
mod egress;
mod exposure;
mod kubeconfig;
mod make;
mod permissions;
mod placement;
mod quantity;

pub use amounts::{Autoscaling, Resources};
pub use control_plane::DialledAt;
pub use egress::{Egress, Protocol};
pub use exposure::{Exposure, HostTemplate};
pub use kubeconfig::{ClusterUser, Kubeconfig};
pub use make::{Make, Template};
pub use permissions::{EVENTS, PERMISSIONS, Permission, RENEWAL};
pub use placement::{Effect, Operator, Placement, Spread, Toleration, Unsatisfiable};
pub use quantity::{Bytes, Cpu};

use super::{ImageName, Invalid, NamespaceName, ObjectName};
use amounts::MOST_PODS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What an infrastructure of kind kubernetes is told. What is absent has its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// The API server that the kubeconfig names; null: the cluster that the control plane runs in. Not to be set.
    #[serde(default)]
    #[schema(read_only)]
    pub cluster: Option<String>,
    /// Where everything is made. It must be there already.
    pub namespace: NamespaceName,
    /// What pods run; null: the one that the control plane was started with.
    #[serde(default)]
    pub image: Option<ImageName>,
    /// Where pods dial the control plane; null: where all nodes do, as the control plane was started with.
    #[serde(default)]
    pub control_plane: Option<DialledAt>,
    /// Secrets of the namespace by which images are pulled.
    #[serde(default)]
    #[schema(max_items = 10)]
    pub image_pull_secrets: Vec<ObjectName>,
    /// How many pods a deployment has that does not say.
    #[serde(default = "Kubernetes::one")]
    #[schema(minimum = 1, maximum = 200)]
    pub replicas: u32,
    /// What a pod takes, unless its deployment says otherwise.
    #[serde(default)]
    pub resources: Resources,
    /// How many pods there are, unless their deployment says otherwise; null: as many as its replicas.
    #[serde(default)]
    pub autoscaling: Option<Autoscaling>,
    /// What a pod may keep of model files.
    #[serde(default = "Kubernetes::packages")]
    pub packages: Bytes,
    /// How pods are replaced.
    #[serde(default)]
    pub rollout: Rollout,
    /// Where pods run.
    #[serde(default)]
    pub placement: Placement,
    /// How programs reach pods.
    #[serde(default)]
    pub exposure: Exposure,
    /// Where pods may connect to, beside the control plane and name servers.
    #[serde(default)]
    #[schema(max_items = 50)]
    pub egress: Vec<Egress>,
    /// The labels of the pods that are the cluster's name servers, all of them; null: `k8s-app: kube-dns`.
    #[serde(default)]
    pub name_servers: Option<BTreeMap<String, String>>,
    /// More labels of everything that is made.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// More annotations of everything that is made.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// How pods are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rollout {
    /// A new one is ready before an old one ends.
    #[default]
    Surge,
    /// All old ones end before a new one starts.
    Recreate,
}

/// Bytes that a Secret takes, before they are written in base64.
pub const MOST_IN_SECRET: usize = 1 << 20;

impl Kubernetes {
    fn packages() -> Bytes {
        Bytes::mib(4 << 10)
    }

    fn one() -> u32 {
        1
    }

    /// The settings of a namespace, all else as it is by default.
    pub fn of(namespace: NamespaceName) -> Self {
        Self {
            cluster: None,
            namespace,
            image: None,
            control_plane: None,
            image_pull_secrets: Vec::new(),
            replicas: Self::one(),
            resources: Resources::default(),
            autoscaling: None,
            packages: Self::packages(),
            rollout: Rollout::default(),
            placement: Placement::default(),
            exposure: Exposure::default(),
            egress: Vec::new(),
            name_servers: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// Where programs call a deployment: from outside the cluster, or from within where nothing leads in. None while a balancer
    /// has no address for it.
    pub fn address(&self, deployment: &str, balancer: Option<&str>) -> Option<String> {
        let (host, tls) = match &self.exposure {
            Exposure::ClusterIp {} => return Some(format!("http://{deployment}.{}.svc:8000", self.namespace)),
            Exposure::LoadBalancer {} => return balancer.map(|host| format!("http://{host}:8000")),
            Exposure::Ingress { host, tls_secret, .. } => (host, tls_secret.is_some()),
            Exposure::HttpRoute { host, tls, .. } => (host, *tls),
        };
        let scheme = if tls { "https" } else { "http" };
        Some(format!("{scheme}://{}", host.host(deployment)))
    }

    /// Checks that a deployment of this name can be called there.
    ///
    /// # Errors
    /// Its host would be none.
    pub fn check_host(&self, deployment: &str) -> Result<(), Invalid> {
        match &self.exposure {
            Exposure::ClusterIp {} | Exposure::LoadBalancer {} => Ok(()),
            Exposure::Ingress { host, .. } | Exposure::HttpRoute { host, .. } => host.check(deployment),
        }
    }

    /// Checks what no single field can say.
    ///
    /// # Errors
    /// The first field that does not fit.
    pub fn check(self) -> Result<Self, Invalid> {
        if let Some(dialled) = &self.control_plane {
            dialled.check().map_err(|invalid| invalid.under("/control_plane"))?;
        }
        if !(1..=MOST_PODS).contains(&self.replicas) {
            return Err(Invalid::new("/replicas", format!("must be 1 to {MOST_PODS}")));
        }
        self.resources.check().map_err(|invalid| invalid.under("/resources"))?;
        if let Some(autoscaling) = self.autoscaling {
            autoscaling.check().map_err(|invalid| invalid.under("/autoscaling"))?;
        }
        self.placement.check().map_err(|invalid| invalid.under("/placement"))?;
        few("/image_pull_secrets", self.image_pull_secrets.len(), 10)?;
        few("/egress", self.egress.len(), 50)?;
        if let Some(labels) = &self.name_servers {
            egress::check_name_servers(labels).map_err(|invalid| invalid.under("/name_servers"))?;
        }
        for (place, egress) in self.egress.iter().enumerate() {
            let checked = egress.check();
            checked.map_err(|invalid| invalid.under(&format!("/egress/{place}")))?;
        }
        for (what, pairs) in [("/labels", &self.labels), ("/annotations", &self.annotations)] {
            few(what, pairs.len(), 50)?;
            for (name, value) in pairs {
                let fits = is_qualified(name)
                    && if what == "/labels" {
                        is_label(value)
                    } else {
                        value.len() <= 4_096
                    };
                if !fits {
                    return Err(Invalid::new(
                        what,
                        "has a name or a value that Kubernetes does not take",
                    ));
                }
                // What is selected by them must be ours alone.
                if name.starts_with("castoff.dev/") {
                    return Err(Invalid::new(
                        what,
                        "must not be of castoff.dev/, which Castoff sets itself",
                    ));
                }
            }
        }
        Ok(self)
    }
}

fn few(pointer: &str, count: usize, most: usize) -> Result<(), Invalid> {
    match count > most {
        true => Err(Invalid::new(pointer, format!("must have at most {most} entries"))),
        false => Ok(()),
    }
}

/// A label's value: at most 63 letters, digits, dots, underscores and hyphens, a letter or digit at either end.
fn is_label(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    bytes.len() <= 63 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner)
}

/// The name of a label or an annotation: one as its value, with a domain and a slash before it or not.
fn is_qualified(text: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && is_label(name);
    match text.split_once('/') {
        None => is_name(text),
        Some((domain, name)) => ObjectName::parse(domain).is_ok() && is_name(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(settings: Value) -> Result<Kubernetes, String> {
        let parsed: Kubernetes = serde_json::from_value(settings).map_err(|error| error.to_string())?;
        parsed.check().map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn a_namespace_is_enough() {
        let least = parse(json!({"namespace": "models"})).unwrap();
        assert_eq!(least, Kubernetes::of(NamespaceName::parse("models").unwrap()));
        let written = serde_json::to_value(&least).unwrap();
        assert_eq!(parse(written).unwrap(), least, "it is read as it is written");
    }

    #[test]
    fn programs_are_told_an_address_that_leads_there() {
        for (exposure, balancer, address) in [
            (json!({"kind": "cluster-ip"}), None, Some("http://iris.m.svc:8000")),
            (json!({"kind": "load-balancer"}), None, None),
            (
                json!({"kind": "load-balancer"}),
                Some("192.0.2.7"),
                Some("http://192.0.2.7:8000"),
            ),
            // What a balancer had before.
            (
                json!({"kind": "cluster-ip"}),
                Some("192.0.2.7"),
                Some("http://iris.m.svc:8000"),
            ),
            (
                json!({"kind": "ingress", "host": "{deployment}.example"}),
                None,
                Some("http://iris.example"),
            ),
        ] {
            let settings: Kubernetes = serde_json::from_value(json!({"namespace": "m", "exposure": exposure})).unwrap();
            assert_eq!(
                settings.address("iris", balancer).as_deref(),
                address,
                "{exposure} {balancer:?}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (settings, place) in [
            (json!({}), "namespace"),
            (json!({"namespace": "Models"}), "lower-case"),
            (json!({"namespace": "m", "colour": 1}), "colour"),
            (json!({"namespace": "m", "replicas": 0}), "/replicas"),
            (json!({"namespace": "m", "replicas": 201}), "/replicas"),
            (
                json!({"namespace": "m", "resources": {"memory": "2Gi"}}),
                "/resources/memory_limit",
            ),
            (
                json!({"namespace": "m", "resources": {"cpu": "3"}}),
                "/resources/cpu_limit",
            ),
            (
                json!({"namespace": "m", "autoscaling": {"min": 2, "max": 1, "cpu_percent": 1}}),
                "/autoscaling/max",
            ),
            (
                json!({"namespace": "m", "autoscaling": {"min": 1, "max": 2}}),
                "/autoscaling needs",
            ),
            (
                json!({"namespace": "m", "egress": [{"cidr": "10.0.0.0/33", "port": 1}]}),
                "/egress/0",
            ),
            (
                json!({"namespace": "m", "egress": [{"cidr": "10.0.0.0", "port": 1}]}),
                "/egress/0",
            ),
            (
                json!({"namespace": "m", "egress": [{"cidr": "10.0.0.0/8", "port": 1, "protocol": "icmp"}]}),
                "icmp",
            ),
            (json!({"namespace": "m", "name_servers": {}}), "/name_servers"),
            (json!({"namespace": "m", "name_servers": {"a": "b c"}}), "/name_servers"),
            (json!({"namespace": "m", "labels": {"a": "b c"}}), "/labels"),
            (
                json!({"namespace": "m", "labels": {"castoff.dev/installation": "x"}}),
                "castoff.dev/",
            ),
            (json!({"namespace": "m", "annotations": {"": "x"}}), "/annotations"),
            (
                json!({"namespace": "m", "exposure": {"kind": "ingress", "host": "models.example"}}),
                "{deployment}",
            ),
            (
                json!({"namespace": "m", "exposure": {"kind": "cluster-ip", "host": "x"}}),
                "host",
            ),
            (
                json!({"namespace": "m", "placement": {"tolerations": [{"operator": "equal"}]}}),
                "/placement/tolerations/0",
            ),
        ] {
            let wrong = parse(settings.clone()).unwrap_err();
            assert!(wrong.contains(place), "{settings}: {wrong}");
        }
    }
}
