//! What a cluster says when it does not let an object in, and what to do about it: pure.
//!
//! Apart from `connection`, since a cluster says the same of what we make and, later, of the pods that it makes of it. The rule
//! a newcomer would break: most of what is "forbidden" is no matter of permissions.

/// Why an object was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// In a few words.
    pub(super) what: &'static str,
    /// What to do.
    pub(super) advice: String,
}

/// From what the cluster says; none where it says nothing that is known.
pub(super) fn of(message: &str) -> Option<Refusal> {
    let says = |part: &str| message.contains(part);
    let (what, advice) = if says("exceeded quota") {
        let advice = "ask for more quota, or give smaller resources, or remove what the namespace does not need";
        ("the namespace's quota is used up", advice.to_owned())
    } else if let Some((_, asked)) = message.split_once("must specify ") {
        ("the namespace's quota asks for more to be said", specify(asked))
    } else if says("violates PodSecurity") {
        let advice = "Castoff's pods meet the profile restricted, so something in the cluster adds to them what the namespace \
                      does not admit: mend that, or give the namespace a profile that does";
        ("the namespace admits no such pods", advice.to_owned())
    } else if let Some(advice) = limit_range(message) {
        ("a LimitRange of the namespace refuses its resources", advice)
    } else if says("RuntimeClass") {
        let advice = "set kubernetes.placement.runtime_class of the infrastructure to one that the cluster has";
        ("the cluster has no such runtime class", advice.to_owned())
    } else if says("PriorityClass") {
        let advice = "set kubernetes.placement.priority_class of the infrastructure to one that the cluster has";
        ("the cluster has no such priority class", advice.to_owned())
    } else if says("failed calling webhook") {
        let advice = "mend it, or have it leave this namespace alone";
        ("an admission webhook of the cluster does not answer", advice.to_owned())
    } else if says("denied the request") || says("denied request") {
        let advice = "change the settings of the deployment or of its infrastructure to what the policy asks for, or ask who \
                      administers the cluster";
        ("a policy of the cluster refuses it", advice.to_owned())
    } else {
        return None;
    };
    Some(Refusal { what, advice })
}

/// Where a setting of a pod's resources is.
fn set(how: &str, settings: &[&str]) -> String {
    let named: Vec<String> = settings.iter().map(|setting| format!("resources.{setting}")).collect();
    format!(
        "{how} {} of the deployment, or of its infrastructure under kubernetes",
        named.join(" and ")
    )
}

/// Of a quota that counts what our pods do not say: `limits.cpu for: node`.
fn specify(asked: &str) -> String {
    match asked.contains("limits.cpu") {
        true => set("set", &["cpu_limit"]),
        false => "take it out of the quota, or add a LimitRange that gives it to pods".to_owned(),
    }
}

/// Of a LimitRange: `maximum memory usage per Container is 1Gi, but limit is 2Gi`. The first of what it says is enough: the next
/// is said when that is right.
fn limit_range(message: &str) -> Option<String> {
    let at = message
        .find(" usage per ")
        .or_else(|| message.find(" max limit to request ratio per "))?;
    let before: Vec<&str> = message.get(..at)?.rsplit([' ', '[', ',']).take(2).collect();
    let (resource, bound) = (*before.first()?, before.get(1).copied().unwrap_or_default());
    let is_ratio = !message.get(at..)?.starts_with(" usage per ");
    let (request, limit) = match resource {
        "memory" => ("memory", "memory_limit"),
        "cpu" => ("cpu", "cpu_limit"),
        _ => return Some("change the LimitRange: Castoff's pods say nothing of that".to_owned()),
    };
    Some(match bound {
        _ if is_ratio => set("bring nearer to each other", &[request, limit]),
        "minimum" => set("raise", &[request]),
        _ if message.contains("No limit is specified") => set("set", &[limit]),
        _ => set("lower", &[limit]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_do() {
        let pod = "pods \"iris-1\" is forbidden: ";
        for (message, what, advice) in [
            (
                "exceeded quota: q, requested: limits.memory=1Gi, used: limits.memory=0, limited: limits.memory=1Mi",
                "quota is used up",
                "ask for more quota, or give smaller resources",
            ),
            (
                "exceeded quota: q, requested: count/ingresses.networking.k8s.io=1, used: 0, limited: 0",
                "quota is used up",
                "or remove what the namespace does not need",
            ),
            (
                "failed quota: q: must specify limits.cpu for: node",
                "more to be said",
                "set resources.cpu_limit",
            ),
            (
                "failed quota: q: must specify requests.ephemeral-storage for: node",
                "more to be said",
                "add a LimitRange",
            ),
            (
                "violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false",
                "admits no such pods",
                "something in the cluster adds",
            ),
            (
                "maximum memory usage per Container is 128Mi, but limit is 256Mi",
                "a LimitRange",
                "lower resources.memory_limit of the deployment",
            ),
            (
                "[minimum memory usage per Container is 1Gi, but request is 64Mi, minimum cpu usage per Container is 1, but request is 10m]",
                "a LimitRange",
                "raise resources.memory of the deployment",
            ),
            (
                "minimum cpu usage per Pod is 1, but request is 10m",
                "a LimitRange",
                "raise resources.cpu of the deployment",
            ),
            (
                "maximum cpu usage per Container is 1.  No limit is specified",
                "a LimitRange",
                "set resources.cpu_limit of the deployment",
            ),
            (
                "memory max limit to request ratio per Container is 2, but provided ratio is 4.000000",
                "a LimitRange",
                "resources.memory and resources.memory_limit",
            ),
            (
                "minimum ephemeral-storage usage per Container is 1Gi.  No request is specified",
                "a LimitRange",
                "change the LimitRange",
            ),
            (
                "pod rejected: RuntimeClass \"gvisor\" not found",
                "no such runtime class",
                "kubernetes.placement.runtime_class",
            ),
            (
                "no PriorityClass with name high was found",
                "no such priority class",
                "kubernetes.placement.priority_class",
            ),
            (
                "Internal error occurred: failed calling webhook \"v.x\": connection refused",
                "webhook of the cluster does not answer",
                "have it leave this namespace alone",
            ),
            (
                "admission webhook \"v.x\" denied the request: no label team",
                "a policy of the cluster",
                "to what the policy asks for",
            ),
            (
                "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
                "a policy of the cluster",
                "to what the policy asks for",
            ),
        ] {
            let refusal = of(&format!("{pod}{message}")).expect(message);
            assert!(
                refusal.what.contains(what) && refusal.advice.contains(advice),
                "{message}: {refusal:?}"
            );
        }
        assert_eq!(of("secrets is forbidden: User \"u\" cannot list resource"), None);
        assert_eq!(of(""), None);
    }
}
