//! How many pods there are by what they have to do.

use super::{Desired, Kind, Object};
use serde_json::{Value, json};

pub(super) fn object(desired: &Desired) -> Option<Object> {
    let autoscaling = desired.autoscaling()?;
    let of = |name: &str, percent: Option<u32>| {
        percent.map(|percent| {
            let target = json!({"type": "Utilization", "averageUtilization": percent});
            json!({"type": "Resource", "resource": {"name": name, "target": target}})
        })
    };
    let in_flight = autoscaling.in_flight.map(|calls| {
        let target = json!({"type": "AverageValue", "averageValue": calls.to_string()});
        json!({"type": "Pods", "pods": {"metric": {"name": "castoff_node_in_flight"}, "target": target}})
    });
    let metrics: Vec<Value> = [
        of("cpu", autoscaling.cpu_percent),
        of("memory", autoscaling.memory_percent),
        in_flight,
    ]
    .into_iter()
    .flatten()
    .collect();
    let spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": desired.name},
        "minReplicas": autoscaling.min, "maxReplicas": autoscaling.max,
        "metrics": metrics,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": autoscaling.scale_down_s}},
    });
    Some(super::object(
        desired,
        Kind::HorizontalPodAutoscaler,
        json!({ "spec": spec }),
    ))
}
