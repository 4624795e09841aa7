//! The chart: what it renders, and releases of it on a real cluster.

mod available;
mod beside;
mod certificates;
mod elsewhere;
mod life;
mod notes;
mod rendered;
mod replicas;
mod upgrade;
mod walls;

use super::{call, small};
use acceptance::cluster::{Cluster, Forward, Namespace};
use acceptance::edge::Key;
use acceptance::{Actor, Value, eventually, json, models};
use std::path::{Path, PathBuf};

/// The chart of this tree.
fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/castoff")
}

/// One release of it in a namespace.
struct Release<'a> {
    namespace: &'a Namespace,
    images: Vec<String>,
}

impl<'a> Release<'a> {
    fn of(cluster: &Cluster, namespace: &'a Namespace) -> Self {
        Self::of_programs(acceptance::Release::This, cluster, namespace)
    }

    /// With the programs of this release of ours.
    fn of_programs(made: acceptance::Release, cluster: &Cluster, namespace: &'a Namespace) -> Self {
        let set = |what: &str, program: &str| {
            let (repository, tag) = cluster.image_parts(made, program);
            format!("{what}.repository={repository},{what}.tag={tag}")
        };
        Self {
            namespace,
            images: vec![set("image", "castoff"), set("nodeImage", "castoff-node")],
        }
    }

    #[track_caller]
    fn helm(&self, verb: &str, more: &[&str]) {
        self.helm_with(&chart(), verb, more);
    }

    /// With another chart.
    #[track_caller]
    fn helm_with(&self, chart: &Path, verb: &str, more: &[&str]) {
        let chart = chart.to_str().expect("a path");
        let mut arguments = vec![verb, "castoff", chart, "--wait", "--timeout", "180s"];
        for image in &self.images {
            arguments.extend(["--set", image.as_str()]);
        }
        arguments.extend(more);
        self.namespace.helm(&arguments).expect("helm is content");
    }

    /// `helm test`.
    #[track_caller]
    fn proves_itself(&self) {
        let tested = self
            .namespace
            .helm(&["test", "castoff", "--timeout", "120s"])
            .expect("the test passes");
        assert!(tested.contains("Phase:          Succeeded"), "{tested}");
    }

    /// What the first start has made.
    fn password(&self) -> String {
        self.kept("first-password")
    }

    /// What the control plane keeps in its Secret under this key.
    fn kept(&self, key: &str) -> String {
        let template = format!("go-template={{{{index .data \"{key}\" | base64decode}}}}");
        let secret = ["get", "secret", "castoff", "-o", &template];
        self.namespace.kubectl(&secret).expect("made at the first start")
    }

    /// The way to REST that needs no exposure.
    fn door(&self) -> Forward {
        Forward::to(self.namespace, "deployment/castoff", 8400)
    }

    /// The pods of models.
    fn pods(&self) -> String {
        let path = "jsonpath={.items[*].metadata.uid}";
        let pods = ["get", "pods", "-l", "castoff.dev/installation", "-o", path];
        self.namespace.kubectl(&pods).expect("kubectl lists")
    }

    /// Iris on the namespace of the release, with a key; small, and with so many pods.
    #[track_caller]
    fn serves_iris(&self, admin: &Actor, replicas: u32) -> Key {
        let settings = json!({"kubernetes": {"namespace": self.namespace.name, "resources": small()}});
        admin.patch("/infrastructures/cluster", settings).expect(200);
        admin.post("/services", json!({"name": "iris"})).expect(201);
        admin
            .upload("iris", "v1", models::read("iris-columns.onnx"))
            .expect(201);
        let body = json!({
            "service": "iris", "infrastructure": "cluster", "version": "v1", "scale": {"replicas": replicas},
        });
        admin.post("/deployments", body).expect(201);
        self.runs(admin);
        new_key(admin, "first")
    }

    #[track_caller]
    fn runs(&self, admin: &Actor) {
        eventually("iris runs", || {
            let status = admin.get("/deployments/iris-on-cluster/status").expect(200);
            match status["state"] == "running" {
                true => Ok(()),
                false => Err(status.text()),
            }
        });
    }
}

#[track_caller]
fn new_key(admin: &Actor, name: &str) -> Key {
    let made = admin
        .post("/deployments/iris-on-cluster/keys?wait=30s", json!({"name": name}))
        .expect(201);
    Key {
        id: made.string("/id"),
        key: made.string("/key"),
    }
}
