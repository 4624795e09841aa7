//! The control plane that acts is frozen with a question on its way to the cluster, and thawed when another has gone on.

use super::two::{beside, terms};
use super::{Harbour, small};
use acceptance::castoff::Server;
use acceptance::cluster::Cluster;
use acceptance::proxy::Gate;
use acceptance::{Actor, Database, Value, eventually, json};
use rustix::process::Signal;

const PATH: &str = "/deployments/iris-on-kube";
const OVER: &str = "this control plane does not act any more";

/// One that is frozen, until it is thawed.
struct Frozen<'a>(&'a Server);

impl<'a> Frozen<'a> {
    /// It is asked no more, and the other one acts before this returns.
    fn with(acting: &'a Server, other: &Server) -> Self {
        let before = terms(other);
        acting.process().signal(Signal::STOP);
        let frozen = Self(acting);
        eventually("the other one acts", || terms(other) > before);
        frozen
    }

    fn thaw(self) {
        let before = self.0.logged().matches(OVER).count();
        self.0.process().signal(Signal::CONT);
        eventually("it knows that its time is over", || {
            self.0.logged().matches(OVER).count() > before
        });
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.process().signal(Signal::CONT);
    }
}

/// What it asked for arrives after what its successor has done, and undoes nothing of it: no config goes back, nothing that is
/// wanted again is taken away, nothing that is gone comes back.
#[test]
fn what_it_was_about_to_do_undoes_nothing() {
    let Some(cluster) = Cluster::there() else { return };
    let Some(database) = Database::postgres() else { return };
    let harbour = Harbour::on(cluster, "frozen", database.clone(), &[]);
    let namespace = harbour.namespace.name.clone();
    let gate = Gate::before(&harbour.namespace, &harbour.namespace.kubeconfig(&harbour.cast.admin));
    harbour.infrastructure("kube", &namespace, &gate.kubeconfig);
    // No pod is to run: it is not pods that are tested.
    let placement = json!({"node_selector": {"made-of": "gold"}});
    harbour.set(json!({"namespace": namespace, "resources": small(), "placement": placement}));
    let body = json!({"service": "iris", "infrastructure": "kube", "version": "v1"});
    harbour.cast.dana.post("/deployments", body).expect(201);
    let (second, dana) = beside(&harbour, cluster, database);
    let admin = Actor::with_token(&second.url, "admin", harbour.cast.admin.token());
    let (first, here) = (&harbour.cast.world.server, &harbour.cast.dana);
    let is_there = |kind: &str| harbour.field(kind, "/metadata/name").is_ok();
    let version = |kind: &str| harbour.field(kind, "/metadata/resourceVersion");
    let expose = |admin: &Actor, exposure: Value| {
        let body = json!({"kubernetes": {"exposure": exposure}});
        admin.patch("/infrastructures/kube", body).expect(200);
    };
    let ingress = |host: &str| json!({"kind": "ingress", "host": format!("{{deployment}}.{host}")});

    eventually("it is there", || is_there("deployment"));
    here.post(&format!("{PATH}/disable"), json!({})).expect(200);
    eventually("its Secret is gone", || !is_there("secret"));
    gate.hold(format!("PATCH /api/v1/namespaces/{namespace}/secrets/iris-on-kube"));
    here.post(&format!("{PATH}/enable"), json!({})).expect_any(&[200, 202]);
    gate.holds();
    let frozen = Frozen::with(first, &second);
    let made = dana.post(&format!("{PATH}/keys?wait=30s"), json!({"name": "newer"}));
    assert_eq!(made.expect(201)["receipts"][0]["durable_copy_written"], true);
    let newest = version("secret");
    assert_eq!(gate.let_go(), 409, "a Secret that was made meanwhile");
    assert_eq!(version("secret"), newest);
    frozen.thaw();

    expose(&admin, ingress("before.example"));
    eventually("it is there", || is_there("ingress"));
    gate.hold(format!(
        "DELETE /apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses/iris-on-kube"
    ));
    expose(&admin, json!({"kind": "cluster-ip", "host": null}));
    gate.holds();
    let frozen = Frozen::with(&second, first);
    expose(&harbour.cast.admin, ingress("after.example"));
    eventually("it leads there again", || {
        harbour.field("ingress", "/spec/rules/0/host") == Ok("iris-on-kube.after.example".to_owned())
    });
    let newest = version("ingress");
    assert_eq!(gate.let_go(), 409, "an Ingress that is wanted again");
    assert_eq!(version("ingress"), newest);
    frozen.thaw();

    gate.hold(format!(
        "PATCH /apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/iris-on-kube"
    ));
    let edit = r#"[{"op": "add", "path": "/spec/egress/-", "value": {}}]"#;
    let edit = ["patch", "networkpolicy/iris-on-kube", "--type=json", "-p", edit];
    harbour.namespace.kubectl(&edit).expect("it is there");
    gate.holds();
    let frozen = Frozen::with(first, &second);
    dana.post(&format!("{PATH}/disable"), json!({})).expect(200);
    eventually("it is gone", || !is_there("networkpolicy"));
    assert_eq!(gate.let_go(), 409, "a policy that is gone");
    assert!(!is_there("networkpolicy"));
    frozen.thaw();
}
