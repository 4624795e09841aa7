//! A control plane beside a real cluster, with a namespace of it as an infrastructure.

use crate::cluster::{Cluster, Namespace};
use crate::edge::Key;
use crate::load::Load;
use crate::world::grant;
use crate::{Cast, Database, World, eventually, ports};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A control plane beside the cluster, and one of its namespaces as the infrastructure `kube`, where dana may deploy.
#[derive(Debug)]
pub struct Harbour {
    /// The namespace.
    pub namespace: Namespace,
    /// The control plane and its people.
    pub cast: Cast,
    /// Where pods dial the control plane.
    pub dialled: String,
}

/// Small, so that many fit on one machine.
pub fn small() -> Value {
    json!({"cpu": "10m", "memory": "64Mi", "cpu_limit": "1", "memory_limit": "256Mi"})
}

/// What a control plane is told so that pods reach it.
pub fn arguments(cluster: &Cluster) -> Vec<String> {
    let dialled = format!("{}:{}", cluster.outside, ports::range().0);
    let (url, image) = (format!("https://{dialled}"), cluster.image("castoff-node"));
    let named = [("--node-listen", dialled), ("--node-url", url), ("--node-image", image)];
    named
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
}

impl Harbour {
    /// With an infrastructure of its own.
    #[track_caller]
    pub fn open(cluster: &'static Cluster, subject: &str) -> Self {
        let harbour = Self::beside(cluster, subject);
        harbour.open_namespace();
        harbour
    }

    /// With no infrastructure yet.
    pub fn beside(cluster: &'static Cluster, subject: &str) -> Self {
        Self::on(cluster, subject, Database::Sqlite, &[])
    }

    /// With its rows there, and more in its environment.
    pub fn on(cluster: &'static Cluster, subject: &str, database: Database, environment: &[(&str, &str)]) -> Self {
        let arguments = arguments(cluster);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let [_, dialled, ..] = arguments[..] else {
            panic!("--node-listen comes first")
        };
        let cast = Cast::gather(World::start_in(database, &arguments, environment));
        cast.iris();
        Self {
            namespace: Namespace::new(cluster, subject),
            cast,
            dialled: dialled.to_owned(),
        }
    }

    /// The namespace as the infrastructure `kube`.
    pub fn open_namespace(&self) {
        let kubeconfig = self.namespace.kubeconfig(&self.cast.admin);
        self.infrastructure("kube", &self.namespace.name, &kubeconfig);
    }

    /// A namespace of a cluster as an infrastructure, where data scientists may deploy.
    #[track_caller]
    pub fn infrastructure(&self, name: &str, namespace: &str, kubeconfig: &str) {
        let settings = json!({"namespace": namespace, "resources": small()});
        let body = json!({
            "name": name, "kind": "kubernetes", "stage": "dev", "kubernetes": settings, "kubeconfig": kubeconfig,
        });
        self.cast.admin.post("/infrastructures", body).expect(201);
        grant(
            &self.cast.admin,
            "infrastructures",
            name,
            "data-scientists",
            &["deploy"],
        );
    }

    /// Deploys iris there, and waits until its status says this.
    #[track_caller]
    pub fn says(&self, infrastructure: &str, part: &str) {
        let name = format!("iris-on-{infrastructure}");
        if self.cast.dana.get(&format!("/deployments/{name}")).status == 404 {
            let body = json!({"service": "iris", "infrastructure": infrastructure, "version": "v1"});
            self.cast.dana.post("/deployments", body).expect(201);
        }
        eventually("its status says so", || {
            let status = self.cast.dana.get(&format!("/deployments/{name}/status")).expect(200);
            match status.string("/message").contains(part) {
                true => Ok(()),
                false => Err(status.text()),
            }
        });
    }

    /// Changes settings of `kube`.
    #[track_caller]
    pub fn set(&self, settings: Value) {
        let body = json!({"kubernetes": settings});
        self.cast.admin.patch("/infrastructures/kube", body).expect(200);
    }

    /// Deploys iris there, and waits until it runs.
    #[track_caller]
    pub fn deploy(&self, scale: Value) -> &Self {
        let body = json!({"service": "iris", "infrastructure": "kube", "version": "v1", "scale": scale});
        self.cast.dana.post("/deployments", body).expect(201);
        self.stands("running")
    }

    /// Waits until it stands so.
    #[track_caller]
    pub fn stands(&self, state: &str) -> &Self {
        eventually("the deployment stands so", || {
            let status = self.cast.dana.get("/deployments/iris-on-kube/status").expect(200);
            match status["state"] == state {
                true => Ok(()),
                false => Err(status.text()),
            }
        });
        self
    }

    /// A new key of it, which all its pods know.
    #[track_caller]
    pub fn key(&self, name: &str) -> Key {
        let path = "/deployments/iris-on-kube/keys?wait=20s";
        let made = self.cast.dana.post(path, json!({"name": name})).expect(201);
        Key {
            id: made.string("/id"),
            key: made.string("/key"),
        }
    }

    /// Calls of iris through the Service with this key; none where the cluster is elsewhere, which CI does not forgive.
    pub fn calls(&self, key: &Key) -> Option<Load> {
        let address = self.field("service", "/spec/clusterIP").expect("it has an address");
        let calls = Load::of_iris(&format!("http://{address}:8000"), key);
        if calls.is_taken() {
            return Some(calls);
        }
        let reason = "the cluster's Services are not reached from this machine";
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "needed in CI: {reason}"
        );
        crate::skipped("in part", reason);
        None
    }

    /// The ids of its pods.
    pub fn uids(&self) -> BTreeSet<String> {
        self.of_pods("jsonpath={.items[*].metadata.uid}")
    }

    /// Their names.
    pub fn pod_names(&self) -> BTreeSet<String> {
        self.of_pods("jsonpath={.items[*].metadata.name}")
    }

    fn of_pods(&self, path: &str) -> BTreeSet<String> {
        let pods = ["get", "pods", "-l", "castoff.dev/installation", "-o", path];
        let said = self.namespace.kubectl(&pods).expect("kubectl lists");
        said.split_whitespace().map(str::to_owned).collect()
    }

    /// A field of an object of the deployment, as text.
    ///
    /// # Errors
    /// The object is not there.
    pub fn field(&self, kind: &str, pointer: &str) -> Result<String, String> {
        let object = self.namespace.get(&format!("{kind}/iris-on-kube"))?;
        let value = object.pointer(pointer).cloned().unwrap_or_default();
        Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    /// Everything in the namespace that is of this deployment.
    pub fn objects(&self) -> Vec<String> {
        self.try_objects().expect("kubectl lists")
    }

    /// The same of a cluster that may be away.
    ///
    /// # Errors
    /// It is.
    pub fn try_objects(&self) -> Result<Vec<String>, String> {
        let found = self.found(&["replicasets.apps", "pods"], "name")?;
        Ok(found.lines().map(str::to_owned).collect())
    }

    /// The objects that Castoff has made, whole: all at one moment, or as near to it as a cluster has one.
    ///
    /// # Errors
    /// The cluster is away.
    pub fn try_owned(&self) -> Result<Vec<Value>, String> {
        let found: Value = serde_json::from_str(&self.found(&[], "json")?).map_err(|error| error.to_string())?;
        Ok(found["items"].as_array().cloned().unwrap_or_default())
    }

    fn found(&self, more: &[&str], format: &str) -> Result<String, String> {
        let mut kinds = self.namespace.owned_kinds()?;
        kinds.extend(more.iter().map(|kind| (*kind).to_owned()));
        loop {
            let asked = ["get", &kinds.join(","), "-l", "castoff.dev/installation", "-o", format];
            match self.namespace.kubectl(&asked) {
                Ok(found) => return Ok(found),
                // Of a kind that the cluster does not know it has nothing.
                Err(why) => {
                    let count = kinds.len();
                    kinds.retain(|kind| {
                        let resource = kind.split('.').next().unwrap_or_default();
                        !why.contains(&format!("doesn't have a resource type \"{resource}\""))
                    });
                    if kinds.len() == count {
                        return Err(why);
                    }
                }
            }
        }
    }
}
