//! What is written, as the API server takes it. No clock and no I/O.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as Object, Time};
use serde_json::{Map, Value, json};

use crate::{
    api::{GROUP, VERSION, Vip, VipSpec, VipStatus, vip_name},
    cluster::{Assignment, Condition, PoolStatus, ServiceKey},
};

/// Keys of a `Vip`'s spec that are left out when they say nothing.
const OPTIONAL: [&str; 6] = [
    "controlPlane",
    "interfaces",
    "pool",
    "prefix",
    "services",
    "shareKey",
];

/// A `Vip` to be created.
pub(super) fn vip(assignment: &Assignment) -> Vip {
    Vip::new(&vip_name(assignment.address), VipSpec::from(assignment))
}

/// A merge patch (RFC 7396) that makes the spec of a `Vip` this one, if it is still in the state
/// that was read.
pub(super) fn vip_change(
    assignment: &Assignment,
    uid: &str,
    resource_version: &str,
) -> serde_json::Result<Value> {
    let mut spec: Map<String, Value> = OPTIONAL
        .into_iter()
        .map(|key| (key.to_owned(), Value::Null))
        .collect();
    if let Value::Object(said) = serde_json::to_value(VipSpec::from(assignment))? {
        spec.extend(said);
    }
    Ok(json!({
        "metadata": { "uid": uid, "resourceVersion": resource_version },
        "spec": spec,
    }))
}

/// The status of a `Vip`, for server-side apply.
pub(super) fn vip_status(address: IpAddr, status: &VipStatus) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Vip",
        "metadata": { "name": vip_name(address) },
        "status": status,
    })
}

/// The status of a Service, for server-side apply. Without addresses it has an empty list: left
/// out, the field would stay where another field manager owns it, too.
pub(super) fn service_status(
    key: &ServiceKey,
    addresses: &[IpAddr],
    conditions: &[Condition],
    now: Timestamp,
) -> Value {
    let ingress: Vec<Value> = addresses
        .iter()
        .map(|address| json!({ "ip": address, "ipMode": "VIP" }))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": &*key.namespace, "name": &*key.name },
        "status": {
            "conditions": dated(conditions, now),
            "loadBalancer": { "ingress": ingress },
        },
    })
}

/// The status of a pool, for server-side apply.
pub(super) fn pool_status(name: &str, status: &PoolStatus, now: Timestamp) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "VipPool",
        "metadata": { "name": name },
        "status": {
            "total": status.total.to_string(),
            "used": status.used.to_string(),
            "free": status.free.to_string(),
            "conditions": dated(&status.conditions, now),
        },
    })
}

/// Conditions are written when one of them changed: now.
fn dated(conditions: &[Condition], now: Timestamp) -> Vec<Object> {
    let date = |condition: &Condition| Object {
        type_: condition.kind.to_owned(),
        status: if condition.status { "True" } else { "False" }.to_owned(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        last_transition_time: Time(now),
        observed_generation: None,
    };
    conditions.iter().map(date).collect()
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;

    use super::*;

    fn assignment() -> Assignment {
        Assignment {
            address: "2001:db8::100".parse().unwrap(),
            pool: None,
            services: [ServiceKey::new("web", "a")].into(),
            control_plane: false,
            share_key: None,
            interfaces: Vec::new(),
            prefix: Some("32,64".into()),
        }
    }

    #[test]
    fn a_change_says_something_about_every_field() {
        let schema = serde_json::to_value(Vip::crd().spec.versions).unwrap();
        let spec = &schema[0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let properties: Vec<&String> = spec["properties"].as_object().unwrap().keys().collect();
        let patch = vip_change(&assignment(), "u", "7").unwrap();
        let said: Vec<&String> = patch["spec"].as_object().unwrap().keys().collect();
        assert_eq!(said, properties);
        assert_eq!(patch["spec"]["pool"], Value::Null);
        assert_eq!(patch["spec"]["prefix"], "32,64");
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
    }

    #[test]
    fn a_vip_is_named_after_its_address() {
        assert_eq!(
            vip(&assignment()).metadata.name.as_deref(),
            Some("2001-db8--100")
        );
    }

    #[test]
    fn a_service_without_addresses_says_so() {
        let key = ServiceKey::new("web", "a");
        let status = service_status(&key, &[], &[], Timestamp::UNIX_EPOCH);
        let expected = json!({ "conditions": [], "loadBalancer": { "ingress": [] } });
        assert_eq!(status["status"], expected);
        let addresses = ["192.0.2.1".parse().unwrap()];
        let status = service_status(&key, &addresses, &[], Timestamp::UNIX_EPOCH);
        assert_eq!(
            status["status"]["loadBalancer"]["ingress"],
            json!([{ "ip": "192.0.2.1", "ipMode": "VIP" }])
        );
    }
}
