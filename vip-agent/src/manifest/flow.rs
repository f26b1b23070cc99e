//! A lane of its own for what keeps sessions alive, also while the API server is flooded.

use k8s_openapi::api::flowcontrol::v1::{
    FlowDistinguisherMethod, FlowSchema, FlowSchemaSpec, GroupSubject, LimitResponse,
    LimitedPriorityLevelConfiguration, PolicyRulesWithSubjects, PriorityLevelConfiguration,
    PriorityLevelConfigurationReference, PriorityLevelConfigurationSpec, QueuingConfiguration,
    ResourcePolicyRule, ServiceAccountSubject, Subject,
};

use super::{ACCOUNT, CONTROL_PLANE_NAMESPACE, Manifest, ManifestError, metadata, texts};

const NAME: &str = "xvip-sessions";
/// Before every one that Kubernetes ships except `exempt` (1) and `probes` (2): its own
/// `system-leader-election` stands at 100.
const PRECEDENCE: i32 = 50;
/// Of some 245 that Kubernetes shares out: a twenty-fifth of the server for two small writes a
/// second and the takeovers after a failure.
const SHARES: i32 = 10;
/// kubeadm's administrators, whom a static pod's kubeconfig names.
const ADMINISTRATORS: &str = "kubeadm:cluster-admins";

pub(super) fn add(manifest: &mut Manifest, namespace: &str) -> Result<(), ManifestError> {
    manifest.add(PriorityLevelConfiguration {
        metadata: metadata(NAME),
        spec: Some(PriorityLevelConfigurationSpec {
            type_: "Limited".to_owned(),
            limited: Some(LimitedPriorityLevelConfiguration {
                nominal_concurrency_shares: Some(SHARES),
                // Idle most of the time, but half of it is there at once.
                lendable_percent: Some(50),
                limit_response: Some(LimitResponse {
                    type_: "Queue".to_owned(),
                    queuing: Some(QueuingConfiguration {
                        hand_size: Some(4),
                        queue_length_limit: Some(50),
                        queues: Some(16),
                    }),
                }),
                ..LimitedPriorityLevelConfiguration::default()
            }),
            ..PriorityLevelConfigurationSpec::default()
        }),
        ..PriorityLevelConfiguration::default()
    })?;
    let account = Subject {
        kind: "ServiceAccount".to_owned(),
        service_account: Some(ServiceAccountSubject {
            name: ACCOUNT.to_owned(),
            namespace: namespace.to_owned(),
        }),
        ..Subject::default()
    };
    let administrators = Subject {
        kind: "Group".to_owned(),
        group: Some(GroupSubject {
            name: ADMINISTRATORS.to_owned(),
        }),
        ..Subject::default()
    };
    manifest.add(FlowSchema {
        metadata: metadata(NAME),
        spec: Some(FlowSchemaSpec {
            // The agents of all nodes are one user; a static pod's administrator is another.
            distinguisher_method: Some(FlowDistinguisherMethod {
                type_: "ByUser".to_owned(),
            }),
            matching_precedence: Some(PRECEDENCE),
            priority_level_configuration: PriorityLevelConfigurationReference {
                name: NAME.to_owned(),
            },
            rules: Some(vec![PolicyRulesWithSubjects {
                subjects: vec![account, administrators],
                resource_rules: Some(vec![
                    rule(
                        "coordination.k8s.io",
                        "leases",
                        &[namespace, CONTROL_PLANE_NAMESPACE],
                    ),
                    rule("xvip.io", "vipclaims", &[namespace]),
                ]),
                non_resource_rules: None,
            }]),
        }),
        ..FlowSchema::default()
    })
}

fn rule(group: &str, resource: &str, namespaces: &[&str]) -> ResourcePolicyRule {
    ResourcePolicyRule {
        api_groups: texts([group]),
        cluster_scope: None,
        namespaces: Some(namespaces.iter().map(|name| (*name).to_owned()).collect()),
        resources: texts([resource]),
        verbs: texts(["*"]),
    }
}
