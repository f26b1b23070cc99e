//! The service account and the least that it needs.

use k8s_openapi::api::{
    core::v1::{Namespace, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
};

use super::{
    ACCOUNT, CONTROL_PLANE_LEASE, CONTROL_PLANE_NAMESPACE, Manifest, ManifestError, metadata,
    metadata_in, texts,
};

const READ: [&str; 3] = ["get", "list", "watch"];
const FOLLOW: [&str; 2] = ["list", "watch"];
const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn add(manifest: &mut Manifest, namespace: &str) -> Result<(), ManifestError> {
    let mut own = metadata(namespace);
    // Host network, bpffs and CAP_BPF lie outside of the other levels of Pod Security.
    for mode in ["enforce", "audit", "warn"] {
        let label = format!("pod-security.kubernetes.io/{mode}");
        let labels = own.labels.get_or_insert_default();
        labels.insert(label, "privileged".to_owned());
    }
    manifest.add(Namespace {
        metadata: own,
        ..Namespace::default()
    })?;
    manifest.add(ServiceAccount {
        metadata: metadata_in(namespace, ACCOUNT),
        ..ServiceAccount::default()
    })?;
    manifest.add(ClusterRole {
        metadata: metadata(ACCOUNT),
        rules: Some(cluster()),
        aggregation_rule: None,
    })?;
    manifest.add(ClusterRoleBinding {
        metadata: metadata(ACCOUNT),
        role_ref: role_ref("ClusterRole", ACCOUNT),
        subjects: Some(subjects(namespace)),
    })?;
    for (namespace_of, name, rules) in [
        (namespace, ACCOUNT, own_namespace()),
        (
            CONTROL_PLANE_NAMESPACE,
            CONTROL_PLANE_LEASE,
            control_plane(),
        ),
    ] {
        manifest.add(Role {
            metadata: metadata_in(namespace_of, name),
            rules: Some(rules),
        })?;
        manifest.add(RoleBinding {
            metadata: metadata_in(namespace_of, name),
            role_ref: role_ref("Role", name),
            subjects: Some(subjects(namespace)),
        })?;
    }
    Ok(())
}

fn cluster() -> Vec<PolicyRule> {
    vec![
        rule("", ["services", "nodes", "namespaces"], FOLLOW),
        rule("discovery.k8s.io", ["endpointslices"], FOLLOW),
        rule("xvip.io", ["vippools", "vips"], FOLLOW),
        rule("xvip.io", ["vips"], ["create", "patch", "delete"]),
        rule("xvip.io", ["vips/status", "vippools/status"], ["patch"]),
        rule("", ["services/status"], ["patch"]),
        rule("events.k8s.io", ["events"], ["create", "patch"]),
    ]
}

fn own_namespace() -> Vec<PolicyRule> {
    let leases = [READ.as_slice(), &["create", "update", "delete"]].concat();
    let claims = [READ.as_slice(), &["create", "update"]].concat();
    vec![
        PolicyRule {
            verbs: leases.into_iter().map(str::to_owned).collect(),
            ..rule("coordination.k8s.io", ["leases"], [])
        },
        PolicyRule {
            verbs: claims.into_iter().map(str::to_owned).collect(),
            ..rule("xvip.io", ["vipclaims"], [])
        },
    ]
}

/// `create` cannot be limited to a name.
fn control_plane() -> Vec<PolicyRule> {
    let leases = |verbs: &[&str]| PolicyRule {
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..rule("coordination.k8s.io", ["leases"], [])
    };
    vec![
        leases(&["create"]),
        PolicyRule {
            resource_names: Some(texts([CONTROL_PLANE_LEASE])),
            ..leases(&["get", "update"])
        },
    ]
}

fn rule<const R: usize, const V: usize>(
    group: &str,
    resources: [&str; R],
    verbs: [&str; V],
) -> PolicyRule {
    PolicyRule {
        api_groups: Some(texts([group])),
        resources: Some(texts(resources)),
        verbs: texts(verbs),
        ..PolicyRule::default()
    }
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef {
        api_group: RBAC.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

fn subjects(namespace: &str) -> Vec<Subject> {
    vec![Subject {
        api_group: None,
        kind: "ServiceAccount".to_owned(),
        name: ACCOUNT.to_owned(),
        namespace: Some(namespace.to_owned()),
    }]
}
