//! The rights that a store needs.

/// Returns the manifest of a Role with what a store needs in this namespace, and of a RoleBinding that gives it to a service account
/// there: for `kubectl apply`.
///
/// [`KubernetesStore::purge`](crate::KubernetesStore::purge) needs the verb `delete` as well, which the manifest has as a comment.
///
/// ```
/// print!("{}", lease_kubernetes::rbac_manifest("team-a", "billing"));
/// ```
#[must_use]
pub fn rbac_manifest(namespace: &str, service_account: &str) -> String {
    format!(
        r#"apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {service_account}-leases
  namespace: {namespace}
rules:
  - apiGroups: ["coordination.k8s.io"]
    resources: ["leases"]
    # Add "delete" for those who purge.
    verbs: ["get", "list", "watch", "create", "patch"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {service_account}-leases
  namespace: {namespace}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {service_account}-leases
subjects:
  - kind: ServiceAccount
    name: {service_account}
    namespace: {namespace}
"#
    )
}
