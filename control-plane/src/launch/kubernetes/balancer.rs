//! The address that a cluster's balancer has for a Service: pure.
//!
//! The cluster says it, and programs are sent there: only what is a host is believed.

use super::bounds::MOST_NAME;
use crate::domain::Kubernetes;
use crate::domain::kubernetes::Exposure;
use serde_json::Value;
use std::net::IpAddr;

/// The host, as it stands in a URL, of a Service as the API server gives it; none of any other object.
pub(super) fn of(object: &Value) -> Option<String> {
    let balancers = object.pointer("/status/loadBalancer/ingress")?.as_array()?;
    balancers.iter().find_map(|balancer| {
        let text = |name: &str| balancer.get(name)?.as_str().filter(|text| text.len() <= MOST_NAME);
        let address = text("ip").and_then(|text| text.parse::<IpAddr>().ok());
        match address {
            Some(IpAddr::V6(address)) => Some(format!("[{address}]")),
            Some(IpAddr::V4(address)) => Some(address.to_string()),
            None => text("hostname").filter(|host| is_host(host)).map(str::to_owned),
        }
    })
}

fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// That programs cannot call a deployment yet from outside.
pub(super) fn waits(settings: &Kubernetes, balancer: Option<&str>) -> Option<String> {
    (settings.exposure == Exposure::LoadBalancer {} && balancer.is_none()).then(|| {
        "its Service waits for the cluster to give it an address: where nothing in the cluster does, install what gives \
         Services of type LoadBalancer theirs, or choose another exposure for the infrastructure"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NamespaceName;
    use serde_json::json;

    #[test]
    fn a_host_is_taken_and_nothing_else() {
        for (ingress, host) in [
            (json!([{"ip": "192.0.2.7", "hostname": "a.example"}]), Some("192.0.2.7")),
            (json!([{"hostname": "a-1.elb.example"}]), Some("a-1.elb.example")),
            (json!([{"ip": "fd00::7"}]), Some("[fd00::7]")),
            (json!([{}, {"ip": "192.0.2.8"}]), Some("192.0.2.8")),
            (
                json!([{"hostname": "a/b"}, {"hostname": "user@a"}, {"hostname": ""}, {"ip": 7}]),
                None,
            ),
            (json!([{"hostname": "a".repeat(10_000)}]), None),
            (json!([]), None),
            (json!(null), None),
        ] {
            let service = json!({"status": {"loadBalancer": {"ingress": ingress}}});
            assert_eq!(of(&service).as_deref(), host, "{service}");
        }
        assert_eq!(of(&json!({})), None);
    }

    #[test]
    fn only_a_balancer_is_waited_for() {
        let mut settings = Kubernetes::of(NamespaceName::parse("m").unwrap());
        assert_eq!(waits(&settings, None), None);
        settings.exposure = Exposure::LoadBalancer {};
        assert!(waits(&settings, None).is_some() && waits(&settings, Some("a")).is_none());
    }
}
