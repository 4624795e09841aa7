//! What keeps pods apart from the rest of a cluster, and some of them there while machines are drained.

use super::super::labels::selector;
use super::exposure::HTTP;
use super::workload::{GRPC, OPS};
use super::{Desired, Inside, Kind, Object, object};
use serde_json::{Value, json};

/// Where the name server of each machine is found, where there is one (NodeLocal DNSCache).
const LOCAL_DNS: &str = "169.254.20.10/32";

/// An identity of their own that opens nothing: pods have no business with the API server.
pub(super) fn service_account(desired: &Desired) -> Object {
    let fields = json!({"automountServiceAccountToken": false});
    object(desired, Kind::ServiceAccount, fields)
}

/// In: calls and probes. Out: the control plane, names, and what the infrastructure lists. A policy sees the ports of pods,
/// behind Services: name servers are chosen by their label, whatever port they have.
pub(super) fn network_policy(desired: &Desired) -> Object {
    let tcp = |port: u16| json!({"protocol": "TCP", "port": port});
    let block = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
    let namespace = |name: &str| json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
    let name_servers = match &desired.settings.name_servers {
        Some(labels) => json!(labels),
        None => json!({"k8s-app": "kube-dns"}),
    };
    let mut out = vec![
        json!({"to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": name_servers}}]}),
        json!({"to": [block(LOCAL_DNS)], "ports": [{"protocol": "UDP", "port": 53}, tcp(53)]}),
    ];
    for (port, blocks) in &desired.control_plane.blocks {
        let blocks: Vec<Value> = blocks.iter().map(|cidr| block(cidr)).collect();
        out.push(json!({"to": blocks, "ports": [tcp(*port)]}));
    }
    for inside in &desired.control_plane.inside {
        out.push(match inside {
            Inside::Pods(pods) => json!({
                "to": [{"namespaceSelector": namespace(&pods.namespace), "podSelector": {"matchLabels": pods.labels}}],
                "ports": [tcp(pods.port)],
            }),
            Inside::Namespace(name) => json!({"to": [{"namespaceSelector": namespace(name)}]}),
        });
    }
    for egress in &desired.settings.egress {
        let port = json!({"protocol": egress.protocol.word(), "port": egress.port});
        out.push(json!({"to": [block(&egress.cidr)], "ports": [port]}));
    }
    let spec = json!({
        "podSelector": {"matchLabels": selector(desired.deployment)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [tcp(HTTP), tcp(GRPC), tcp(OPS)]}],
        "egress": out,
    });
    object(desired, Kind::NetworkPolicy, json!({ "spec": spec }))
}

/// One pod at a time may be asked to leave; one that does not work keeps nobody waiting.
pub(super) fn disruption_budget(desired: &Desired) -> Object {
    let spec: Value = json!({
        "maxUnavailable": 1,
        "selector": {"matchLabels": selector(desired.deployment)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    });
    object(desired, Kind::PodDisruptionBudget, json!({ "spec": spec }))
}
