//! The API group `xvip.io/v1alpha1`: pools, VIPs and claims as the API server keeps them.
//!
//! The types are the schema: `vip-agent manifest crds` prints what is derived from them here. What
//! CEL can judge is refused by the API server; the rest (the order of an IPv6 range, an overlap of
//! pools) is for `cluster`, which says it in a condition.

// `KubeSchema` repeats each type inside of a function.
#![allow(unreachable_pub)]
// Several columns have the type "string".
#![allow(clippy::duplicated_attributes)]

pub mod claims;
pub mod pool;
pub mod vip;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use self::{
    claims::{ClaimRow, VipClaims, VipClaimsSpec},
    pool::{VipPool, VipPoolSpec, VipPoolStatus},
    vip::{ServiceRef, Vip, VipSpec, VipStatus, vip_name},
};

/// The group of all types here.
pub const GROUP: &str = "xvip.io";
/// Their version.
pub const VERSION: &str = "v1alpha1";

/// The definitions of all types of the group.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![VipPool::crd(), Vip::crd(), VipClaims::crd()]
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Every JSON object of a schema, with where it stands.
    fn objects<'a>(at: &str, value: &'a Value, found: &mut Vec<(String, &'a Value)>) {
        match value {
            Value::Object(map) => {
                found.push((at.to_owned(), value));
                for (key, value) in map {
                    objects(&format!("{at}.{key}"), value, found);
                }
            }
            Value::Array(values) => {
                for value in values {
                    objects(at, value, found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_type_is_served_in_one_group_and_version() {
        let names: Vec<_> = definitions()
            .into_iter()
            .map(|definition| {
                assert_eq!(definition.spec.group, GROUP);
                assert_eq!(definition.spec.versions[0].name, VERSION);
                (definition.spec.names.plural, definition.spec.scope)
            })
            .collect();
        let expected = [
            ("vippools", "Cluster"),
            ("vips", "Cluster"),
            ("vipclaims", "Namespaced"),
        ];
        assert_eq!(
            names,
            expected.map(|(plural, scope)| (plural.to_owned(), scope.to_owned()))
        );
    }

    #[test]
    fn numbers_have_formats_that_the_api_server_knows() {
        for definition in definitions() {
            let schema = serde_json::to_value(&definition.spec.versions).unwrap();
            let mut found = Vec::new();
            objects(&definition.spec.names.kind, &schema, &mut found);
            for (at, object) in found {
                if let Some(Value::String(format)) = object.get("format") {
                    assert!(
                        ["int32", "int64", "date-time"].contains(&format.as_str()),
                        "{at}: {format}"
                    );
                }
            }
        }
    }

    #[test]
    fn claims_keep_fields_of_a_later_version() {
        let text = r#"{"apiVersion":"xvip.io/v1alpha1","kind":"VipClaims","metadata":{"name":"xvip-0"},
            "spec":{"buckets":64,"hash":"fnv1a-64","later":{"a":1},"rows":[
                {"bucket":3,"node":"a","session":"a/00/00","weight":7}],"version":9}}"#;
        let claims: VipClaims = serde_json::from_str(text).unwrap();
        assert_eq!(claims.spec.version, 9);
        assert_eq!(claims.spec.rows[0].bucket, Some(3));
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&claims).unwrap(), expected);
        let schema = serde_json::to_value(VipClaims::crd().spec.versions).unwrap();
        let spec = &schema[0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let rows = &spec["properties"]["rows"];
        assert_eq!(spec["x-kubernetes-preserve-unknown-fields"], true);
        assert_eq!(rows["items"]["x-kubernetes-preserve-unknown-fields"], true);
        assert_eq!(rows["x-kubernetes-list-type"], "atomic");
    }
}
