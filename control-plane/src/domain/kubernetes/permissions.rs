//! What Castoff's account needs in a namespace: from this one list both the Role is made and the check asks.

/// Verbs on resources of an API group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Empty for the core.
    pub group: &'static str,
    /// In the plural, with its subresource.
    pub resource: &'static str,
    /// What is done.
    pub verbs: &'static [&'static str],
}

const KEPT: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// All that is needed, in one namespace and nowhere else.
pub const PERMISSIONS: [Permission; 13] = [
    kept("", "serviceaccounts"),
    kept("", "secrets"),
    kept("", "services"),
    kept("apps", "deployments"),
    kept("autoscaling", "horizontalpodautoscalers"),
    kept("policy", "poddisruptionbudgets"),
    kept("networking.k8s.io", "networkpolicies"),
    kept("networking.k8s.io", "ingresses"),
    kept("gateway.networking.k8s.io", "httproutes"),
    // To be looked at; created by a dry run only, when an infrastructure is checked.
    Permission {
        group: "",
        resource: "pods",
        verbs: &["get", "list", "watch", "create"],
    },
    Permission {
        group: "",
        resource: "resourcequotas",
        verbs: &["list"],
    },
    Permission {
        group: "",
        resource: "pods/log",
        verbs: &["get"],
    },
    EVENTS,
];

/// To say why a pod is not made. What was let in by an earlier release lacks it, and goes on without.
pub const EVENTS: Permission = Permission {
    group: "",
    resource: "events",
    verbs: &["list"],
};

/// Also needed, of its own account alone, where Castoff comes by a token of one: to exchange that before it ends.
pub const RENEWAL: Permission = Permission {
    group: "",
    resource: "serviceaccounts/token",
    verbs: &["create"],
};

const fn kept(group: &'static str, resource: &'static str) -> Permission {
    Permission {
        group,
        resource,
        verbs: KEPT,
    }
}
