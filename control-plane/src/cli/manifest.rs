//! What lets Castoff into a cluster: an account that may work in one namespace, and nowhere else.

use super::failure::Failure;
use crate::domain::NamespaceName;
use crate::domain::kubernetes::{PERMISSIONS, Permission};
use std::fmt::Write;

/// ServiceAccount, Role and RoleBinding, after what to do with them.
pub(super) fn of(namespace: &str) -> Result<String, Failure> {
    let namespace = NamespaceName::parse(namespace);
    let namespace = namespace.map_err(|invalid| Failure::Usage(format!("the namespace {}", invalid.reason)))?;
    let mut rules = String::new();
    for Permission { group, resource, verbs } in PERMISSIONS {
        // A string takes whatever is written to it.
        let _ = writeln!(
            rules,
            "  - apiGroups: [{group:?}]\n    resources: [{resource:?}]\n    verbs: {verbs:?}"
        );
    }
    Ok(format!(
        r#"# What Castoff needs to run pods in the namespace {namespace}, which must be there. With kubectl at that cluster:
#   castoff infra manifest {namespace} | kubectl apply -f -
#   kubectl config view --minify --flatten > castoff.yaml
#   export KUBECONFIG=castoff.yaml
#   kubectl config set-credentials castoff --token "$(kubectl --namespace {namespace} create token castoff --duration 24h)"
#   kubectl config set-context --current --user castoff
# castoff.yaml is then what `castoff infra create NAME --kind kubernetes --namespace {namespace} --kubeconfig castoff.yaml`
# wants; delete it afterwards. Castoff keeps it encrypted, and renews the token as long as it works.
apiVersion: v1
kind: ServiceAccount
metadata:
  name: castoff
  namespace: {namespace}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: castoff
  namespace: {namespace}
rules:
{rules}  # To renew its own token.
  - apiGroups: [""]
    resources: ["serviceaccounts/token"]
    resourceNames: ["castoff"]
    verbs: ["create"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: castoff
  namespace: {namespace}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: castoff
subjects:
  - kind: ServiceAccount
    name: castoff
    namespace: {namespace}
"#
    ))
}
