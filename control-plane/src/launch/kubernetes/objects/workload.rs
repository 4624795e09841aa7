//! The pods of a deployment, and what replaces them.
//!
//! The rule a newcomer would break: pods meet the Pod Security Standard *restricted*; what is secret comes by a file.

use super::super::labels::{CONTAINER, TEMPLATE, selector};
use super::exposure::HTTP;
use super::{Desired, Kind, Object, metadata};
use crate::domain::Limits;
use crate::domain::kubernetes::{
    Effect, Operator, Placement, Resources, Rollout, Spread, Template, Toleration, Unsatisfiable,
};
use serde_json::{Map, Value, json};

/// gRPC.
pub(super) const GRPC: u16 = 8001;
/// Health and metrics.
pub(super) const OPS: u16 = 8002;
/// The user of our images, who is nobody.
const USER: i64 = 65_532;
/// What a node needs to end beyond its drain and the deadline of its last call.
const SLACK_S: u64 = 5;
/// Of the last config and what belongs to it: two copies of at most 32 MiB each, of two that are kept.
const COPY: &str = "128Mi";
/// An annotation: volumes that hold nothing of worth. Who makes clusters smaller keeps a machine for any other.
const EVICTABLE: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
/// An annotation: the container that kubectl means, whichever others somebody has put beside it.
const OURS: &str = "kubectl.kubernetes.io/default-container";

pub(super) fn object(desired: &Desired, template: Template) -> Object {
    let strategy = match desired.settings.rollout {
        Rollout::Surge => {
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
        }
        Rollout::Recreate => json!({"type": "Recreate"}),
    };
    let mut spec = json!({
        "selector": {"matchLabels": selector(desired.deployment)},
        "strategy": strategy,
        "revisionHistoryLimit": 2,
        "progressDeadlineSeconds": 600,
        "template": pods(desired, template),
    });
    // Else it is the autoscaler's.
    if let (None, Some(spec)) = (desired.autoscaling(), spec.as_object_mut()) {
        spec.insert("replicas".to_owned(), desired.scale.replicas.into());
    }
    super::object(desired, Kind::Deployment, json!({ "spec": spec }))
}

/// The pods as they are made by a template. What is changed here is changed for those after it only.
pub(super) fn pods(desired: &Desired, template: Template) -> Value {
    let settings = &desired.settings;
    let pulled: Vec<Value> = settings
        .image_pull_secrets
        .iter()
        .map(|name| json!({ "name": name }))
        .collect();
    let mut spec = json!({
        "serviceAccountName": desired.name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": grace_s(&desired.limits),
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(desired)],
        "volumes": [
            // Its group may read it: the process is not root, which owns it.
            {"name": "boot", "secret": {"secretName": desired.name, "defaultMode": 0o440}},
            {"name": "copy", "emptyDir": {"medium": "Memory", "sizeLimit": COPY}},
            {"name": "packages", "emptyDir": {"sizeLimit": settings.packages}},
        ],
    });
    if let Some(spec) = spec.as_object_mut() {
        if !pulled.is_empty() {
            spec.insert("imagePullSecrets".to_owned(), pulled.into());
        }
        place(spec, &settings.placement, &selector(desired.deployment));
    }
    let own = metadata(desired);
    let labels = own.pointer("/labels").cloned().unwrap_or_default();
    let annotations = own.pointer("/annotations").cloned().unwrap_or_default();
    let mut metadata = json!({"labels": labels, "annotations": annotations});
    if template >= Template::Second {
        add(&mut metadata, "labels", TEMPLATE, template.number().to_string());
        for (name, value) in [(EVICTABLE, "copy,packages"), (OURS, CONTAINER)] {
            add(&mut metadata, "annotations", name, value.to_owned());
        }
    }
    json!({"metadata": metadata, "spec": spec})
}

/// Adds a label or an annotation. What the infrastructure was told is not overwritten.
fn add(metadata: &mut Value, of: &str, name: &str, value: String) {
    if let Some(notes) = metadata.get_mut(of).and_then(Value::as_object_mut) {
        notes.entry(name).or_insert(value.into());
    }
}

fn container(desired: &Desired) -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let port = |name: &str, port: u16| json!({"name": name, "containerPort": port, "protocol": "TCP"});
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": OPS, "scheme": "HTTP"},
            "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures,
        })
    };
    json!({
        "name": CONTAINER,
        "image": desired.image,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "--join", "/etc/castoff/join.json", "--boot-config", "/etc/castoff/config",
            "--data-dir", "/var/lib/castoff", "--packages", "/var/cache/castoff",
            "--node-id", "$(CASTOFF_POD_ID)", "--address", format!("$(CASTOFF_POD_ADDRESS):{HTTP}"),
            "--listen", format!("0.0.0.0:{HTTP}"), "--ops-listen", format!("0.0.0.0:{OPS}"),
        ],
        "env": [field("CASTOFF_POD_ID", "metadata.uid"), field("CASTOFF_POD_ADDRESS", "status.podIP")],
        "ports": [port("http", HTTP), port("ops", OPS)],
        // A process that runs is started, whatever it waits for; it is ready when it answers calls.
        "startupProbe": probe("/livez", 1, 60),
        "livenessProbe": probe("/livez", 10, 3),
        "readinessProbe": probe("/readyz", 1, 2),
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
        // The last lines of one that failed are in its status.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": resources(desired.resources()),
        "volumeMounts": [
            {"name": "boot", "mountPath": "/etc/castoff", "readOnly": true},
            {"name": "copy", "mountPath": "/var/lib/castoff"},
            {"name": "packages", "mountPath": "/var/cache/castoff"},
        ],
    })
}

fn resources(resources: Resources) -> Value {
    let mut limits = json!({"memory": resources.memory_limit});
    if let (Some(cpu), Some(limits)) = (resources.cpu_limit, limits.as_object_mut()) {
        limits.insert("cpu".to_owned(), json!(cpu));
    }
    json!({"requests": {"cpu": resources.cpu, "memory": resources.memory}, "limits": limits})
}

/// From being asked to end until it is ended: what it goes on accepting, the longest call after that, and some more.
fn grace_s(limits: &Limits) -> u64 {
    (u64::from(limits.drain_delay_ms) + u64::from(limits.deadline_ms)).div_ceil(1_000) + SLACK_S
}

fn place(spec: &mut Map<String, Value>, placement: &Placement, pods: &Value) {
    let mut put = |name: &str, value: Value| spec.insert(name.to_owned(), value);
    if !placement.node_selector.is_empty() {
        put("nodeSelector", json!(placement.node_selector));
    }
    if !placement.tolerations.is_empty() {
        put("tolerations", placement.tolerations.iter().map(toleration).collect());
    }
    if let Some(affinity) = &placement.affinity {
        put("affinity", json!(affinity));
    }
    if !placement.spread.is_empty() {
        let spread = placement.spread.iter().map(|over| spread(over, pods));
        put("topologySpreadConstraints", spread.collect());
    }
    if let Some(class) = &placement.priority_class {
        put("priorityClassName", json!(class));
    }
    if let Some(class) = &placement.runtime_class {
        put("runtimeClassName", json!(class));
    }
}

fn toleration(toleration: &Toleration) -> Value {
    let operator = match toleration.operator {
        Operator::Equal => "Equal",
        Operator::Exists => "Exists",
    };
    let effect = toleration.effect.map(|effect| match effect {
        Effect::NoSchedule => "NoSchedule",
        Effect::PreferNoSchedule => "PreferNoSchedule",
        Effect::NoExecute => "NoExecute",
    });
    let mut made = Map::new();
    made.insert("operator".to_owned(), operator.into());
    for (name, value) in [
        ("key", toleration.key.as_deref()),
        ("value", toleration.value.as_deref()),
        ("effect", effect),
    ] {
        if let Some(value) = value {
            made.insert(name.to_owned(), value.into());
        }
    }
    if let Some(seconds) = toleration.seconds {
        made.insert("tolerationSeconds".to_owned(), seconds.into());
    }
    Value::Object(made)
}

fn spread(over: &Spread, pods: &Value) -> Value {
    let otherwise = match over.when_unsatisfiable {
        Unsatisfiable::ScheduleAnyway => "ScheduleAnyway",
        Unsatisfiable::DoNotSchedule => "DoNotSchedule",
    };
    json!({
        "topologyKey": over.topology_key, "maxSkew": over.max_skew, "whenUnsatisfiable": otherwise,
        "labelSelector": {"matchLabels": pods},
        // Of one rollout: pods that are about to end do not count.
        "matchLabelKeys": ["pod-template-hash"],
    })
}
