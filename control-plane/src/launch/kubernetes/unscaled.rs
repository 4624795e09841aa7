//! Why an autoscaler does not see what it should scale by, in plain words: pure.
//!
//! Only what somebody has to mend is said: figures of pods that have just come are late, and that is nobody's trouble.

use super::bounds::words;
use serde_json::Value;

/// Of a HorizontalPodAutoscaler as the API server gives it; none when it sees everything, and of any other object.
pub(super) fn of(object: &Value) -> Option<String> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find_map(|condition| {
        let word = |name: &str| condition.get(name).and_then(Value::as_str).unwrap_or_default();
        if word("type") != "ScalingActive" || word("status") != "False" {
            return None;
        }
        // "… unable to fetch metrics from custom metrics API: why"; whose figures are late has another message.
        let (_, why) = word("message").split_once("unable to fetch metrics from ")?;
        let why = words(why);
        let (what, needs) = match word("reason") {
            "FailedGetPodsMetric" => (
                "calls in flight",
                "a metrics API (custom.metrics.k8s.io, such as that of prometheus-adapter) that has castoff_node_in_flight \
                 of pods; or scale by cpu_percent",
            ),
            "FailedGetResourceMetric" => (
                "processor or memory",
                "metrics-server (metrics.k8s.io); or scale by in_flight",
            ),
            _ => return None,
        };
        Some(format!("its pods are not scaled by {what}: {why}: the cluster needs {needs}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_is_said_and_what_is_late_is_not() {
        let compute = "the HPA was unable to compute the replica count: unable to get metric m: ";
        let no_api =
            "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered";
        let no_server =
            "unable to fetch metrics from resource metrics API: the server could not find the requested resource";
        let late = "no metrics returned from custom metrics API";
        for (reason, message, says) in [
            (
                "FailedGetPodsMetric",
                no_api,
                Some("calls in flight: custom metrics API: no custom metrics API"),
            ),
            ("FailedGetPodsMetric", no_api, Some("castoff_node_in_flight")),
            ("FailedGetResourceMetric", no_server, Some("metrics-server")),
            ("FailedGetPodsMetric", late, None),
            (
                "ScalingDisabled",
                "scaling is disabled since the replica count of the target is zero",
                None,
            ),
        ] {
            let conditions = json!([
                {"type": "AbleToScale", "status": "True", "reason": "SucceededGetScale"},
                {"type": "ScalingActive", "status": "False", "reason": reason, "message": format!("{compute}{message}")},
            ]);
            let said = of(&json!({"status": {"conditions": conditions}}));
            match says {
                Some(says) => assert!(said.as_ref().is_some_and(|said| said.contains(says)), "{said:?}"),
                None => assert_eq!(said, None),
            }
        }
        let sees =
            json!([{"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound", "message": no_api}]);
        assert_eq!(of(&json!({"status": {"conditions": sees}})), None);
        assert_eq!(of(&json!({})), None);
    }
}
