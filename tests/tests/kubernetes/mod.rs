//! Infrastructures of kind kubernetes, on a real cluster.

mod chart;
mod kills;
mod life;
mod tokens;
mod troubles;
mod two;

use acceptance::cluster::{Cluster, Namespace};
use acceptance::edge::Key;
use acceptance::world::grant;
use acceptance::{Cast, Database, Request, Value, World, eventually, json, models, ports};

/// A control plane beside the cluster, and one of its namespaces as the infrastructure `kube`, where dana may deploy.
struct Harbour {
    namespace: Namespace,
    cast: Cast,
}

/// Small, so that many fit on one machine.
fn small() -> Value {
    json!({"cpu": "10m", "memory": "64Mi", "cpu_limit": "1", "memory_limit": "256Mi"})
}

/// What a control plane is told so that pods reach it.
fn arguments(cluster: &Cluster) -> Vec<String> {
    let dialled = format!("{}:{}", cluster.outside, ports::range().0);
    let (url, image) = (format!("https://{dialled}"), cluster.image("castoff-node"));
    let named = [("--node-listen", dialled), ("--node-url", url), ("--node-image", image)];
    named
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
}

impl Harbour {
    fn open(cluster: &'static Cluster, subject: &str) -> Self {
        let harbour = Self::beside(cluster, subject);
        harbour.open_namespace();
        harbour
    }

    /// With no infrastructure yet.
    fn beside(cluster: &'static Cluster, subject: &str) -> Self {
        Self::on(cluster, subject, Database::Sqlite, &[])
    }

    /// With its rows there, and more in its environment.
    fn on(cluster: &'static Cluster, subject: &str, database: Database, environment: &[(&str, &str)]) -> Self {
        let arguments = arguments(cluster);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let cast = Cast::gather(World::start_in(database, &arguments, environment));
        cast.iris();
        Self {
            namespace: Namespace::new(cluster, subject),
            cast,
        }
    }

    /// The namespace as the infrastructure `kube`.
    fn open_namespace(&self) {
        let kubeconfig = self.namespace.kubeconfig(&self.cast.admin);
        self.infrastructure("kube", &self.namespace.name, &kubeconfig);
    }

    fn infrastructure(&self, name: &str, namespace: &str, kubeconfig: &str) {
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
    fn says(&self, infrastructure: &str, part: &str) {
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

    fn set(&self, settings: Value) {
        let body = json!({"kubernetes": settings});
        self.cast.admin.patch("/infrastructures/kube", body).expect(200);
    }

    fn deploy(&self, scale: Value) -> &Self {
        let body = json!({"service": "iris", "infrastructure": "kube", "version": "v1", "scale": scale});
        self.cast.dana.post("/deployments", body).expect(201);
        self.stands("running")
    }

    fn stands(&self, state: &str) -> &Self {
        eventually("the deployment stands so", || {
            let status = self.cast.dana.get("/deployments/iris-on-kube/status").expect(200);
            match status["state"] == state {
                true => Ok(()),
                false => Err(status.text()),
            }
        });
        self
    }

    fn key(&self, name: &str) -> Key {
        let path = "/deployments/iris-on-kube/keys?wait=20s";
        let made = self.cast.dana.post(path, json!({"name": name})).expect(201);
        Key {
            id: made.string("/id"),
            key: made.string("/key"),
        }
    }

    /// A field of an object of the deployment, as text.
    fn field(&self, kind: &str, pointer: &str) -> Result<String, String> {
        let object = self.namespace.get(&format!("{kind}/iris-on-kube"))?;
        let value = object.pointer(pointer).cloned().unwrap_or_default();
        Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    /// Everything in the namespace that is of this deployment.
    fn objects(&self) -> Vec<String> {
        let kinds = "deployments,replicasets,pods,services,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers";
        let found = self
            .namespace
            .kubectl(&["get", kinds, "-l", "castoff.dev/installation", "-o", "name"]);
        found.expect("kubectl lists").lines().map(str::to_owned).collect()
    }
}

fn call(url: &str, key: Option<&Key>) -> u16 {
    let mut request = Request::post(format!("{url}/public/api/v1/iris/iris/predict")).json(&models::setosa());
    if let Some(key) = key {
        request = request.header("x-api-key", &key.key);
    }
    request.try_send().map_or(0, |answer| answer.status)
}
