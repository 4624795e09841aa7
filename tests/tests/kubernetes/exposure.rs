//! What leads to a deployment from outside. Nobody serves it here, so what is shown is that the API server takes it.

use super::{Harbour, small};
use acceptance::cluster::Cluster;
use acceptance::{Value, eventually, json};

/// An Ingress, then an HTTPRoute in its place, then neither.
#[test]
fn an_ingress_and_a_route_are_taken_and_taken_away() {
    let Some(cluster) = Cluster::there() else { return };
    cluster.define();
    let harbour = Harbour::open(cluster, "exposure");
    let exposed = |exposure: Value| {
        let namespace = &harbour.namespace.name;
        harbour.set(json!({"namespace": namespace, "resources": small(), "exposure": exposure}));
    };
    let there = |kind: &str, pointer: &str, value: &str| {
        eventually("it is there", || match harbour.field(kind, pointer)? {
            found if found == value => Ok(()),
            found => Err(found),
        });
    };
    let gone = |kind: &str| {
        eventually("it is gone", || {
            harbour.namespace.get(&format!("{kind}/iris-on-kube")).is_err()
        });
    };
    let host = "{deployment}.models.example";
    exposed(json!({"kind": "ingress", "host": host, "class": "nginx", "tls_secret": "wildcard"}));
    harbour.deploy(json!({"replicas": 1}));
    there("ingress", "/spec/rules/0/host", "iris-on-kube.models.example");
    there("ingress", "/spec/tls/0/secretName", "wildcard");

    // What is not taken out of a merge patch stays, and means nothing to the other kind.
    exposed(json!({
        "kind": "http-route", "host": host, "class": null, "tls_secret": null,
        "gateway": "shared", "gateway_namespace": "gateways",
    }));
    there("httproute", "/spec/hostnames/0", "iris-on-kube.models.example");
    there("httproute", "/spec/parentRefs/0/namespace", "gateways");
    there("httproute", "/spec/rules/0/backendRefs/0/port", "8000");
    gone("ingress");
    harbour.stands("running");

    exposed(json!({"kind": "cluster-ip", "host": null, "gateway": null, "gateway_namespace": null, "tls": null}));
    gone("httproute");
    harbour.stands("running");
}
