//! How a deployment's pods are reached: a Service, and what leads to it from outside.

use super::super::labels::selector;
use super::{Desired, Kind, Object, object};
use crate::domain::kubernetes::Exposure;
use serde_json::{Value, json};

/// Of the Service, and of pods.
pub(in super::super) const HTTP: u16 = 8000;

pub(super) fn objects(desired: &Desired) -> Vec<Object> {
    let mut objects = vec![service(desired)];
    objects.extend(match &desired.settings.exposure {
        Exposure::ClusterIp {} | Exposure::LoadBalancer {} => None,
        Exposure::Ingress {
            host,
            class,
            tls_secret,
        } => {
            let host = host.host(desired.name.as_str());
            let mut spec = json!({
                "rules": [{"host": host, "http": {"paths": [{
                    "path": "/", "pathType": "Prefix",
                    "backend": {"service": {"name": desired.name, "port": {"number": HTTP}}},
                }]}}],
            });
            if let Some(class) = class {
                put(&mut spec, "ingressClassName", json!(class));
            }
            if let Some(secret) = tls_secret {
                put(&mut spec, "tls", json!([{"hosts": [host], "secretName": secret}]));
            }
            Some(object(desired, Kind::Ingress, json!({ "spec": spec })))
        }
        Exposure::HttpRoute {
            host,
            gateway,
            gateway_namespace,
            tls: _,
        } => {
            let namespace = gateway_namespace.as_ref().map(ToString::to_string);
            let namespace = namespace.unwrap_or_else(|| desired.settings.namespace.to_string());
            let spec = json!({
                "parentRefs": [{"name": gateway, "namespace": namespace}],
                "hostnames": [host.host(desired.name.as_str())],
                "rules": [{"backendRefs": [{"name": desired.name, "port": HTTP}]}],
            });
            Some(object(desired, Kind::HttpRoute, json!({ "spec": spec })))
        }
    });
    objects
}

fn service(desired: &Desired) -> Object {
    let kind = match desired.settings.exposure {
        Exposure::LoadBalancer {} => "LoadBalancer",
        _ => "ClusterIP",
    };
    let spec = json!({
        "type": kind,
        "selector": selector(desired.deployment),
        "ports": [{"name": "http", "port": HTTP, "targetPort": HTTP, "protocol": "TCP", "appProtocol": "http"}],
    });
    object(desired, Kind::Service, json!({ "spec": spec }))
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}
