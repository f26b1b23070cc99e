//! Only the agents write claims.

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec,
    ValidatingAdmissionPolicySpec, Validation,
};

use super::{ACCOUNT, Manifest, ManifestError, metadata, texts};

const NAME: &str = "xvip-claims";

/// Deletion stays open: a namespace that goes takes its objects along, and agents fence at once
/// when claims vanish.
pub(super) fn add(manifest: &mut Manifest, namespace: &str) -> Result<(), ManifestError> {
    manifest.add(ValidatingAdmissionPolicy {
        metadata: metadata(NAME),
        spec: Some(ValidatingAdmissionPolicySpec {
            failure_policy: Some("Fail".to_owned()),
            match_constraints: Some(MatchResources {
                resource_rules: Some(vec![NamedRuleWithOperations {
                    api_groups: Some(texts(["xvip.io"])),
                    api_versions: Some(texts(["*"])),
                    operations: Some(texts(["CREATE", "UPDATE"])),
                    resources: Some(texts(["vipclaims"])),
                    ..NamedRuleWithOperations::default()
                }]),
                ..MatchResources::default()
            }),
            validations: Some(vec![Validation {
                expression: format!(
                    "request.userInfo.username == 'system:serviceaccount:{namespace}:{ACCOUNT}'"
                ),
                message: Some(
                    "claims say which node answers for which address: only the agents write them"
                        .to_owned(),
                ),
                reason: Some("Forbidden".to_owned()),
                ..Validation::default()
            }]),
            ..ValidatingAdmissionPolicySpec::default()
        }),
        ..ValidatingAdmissionPolicy::default()
    })?;
    manifest.add(ValidatingAdmissionPolicyBinding {
        metadata: metadata(NAME),
        spec: Some(ValidatingAdmissionPolicyBindingSpec {
            policy_name: Some(NAME.to_owned()),
            validation_actions: Some(texts(["Deny"])),
            ..ValidatingAdmissionPolicyBindingSpec::default()
        }),
    })
}
