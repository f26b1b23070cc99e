//! Objects as an API server hands them out, for the tests of this module.

use k8s_openapi::api::{
    core::v1::{Namespace, Node, Service},
    discovery::v1::EndpointSlice,
};
use serde_json::{Value, json};

use crate::api::VipPool;

/// Writes `over` into `under`, object by object.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// A Service of type LoadBalancer, IPv4 SingleStack, port 80, made at the epoch; changed by
/// `change`.
pub(super) fn service(namespace: &str, name: &str, change: Value) -> Service {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": format!("uid-{namespace}-{name}"),
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1"],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "externalTrafficPolicy": "Cluster",
            "internalTrafficPolicy": "Cluster",
            "selector": {"app": name},
            "sessionAffinity": "None",
            "allocateLoadBalancerNodePorts": true,
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080, "nodePort": 30080}],
        },
        "status": {"loadBalancer": {}},
    });
    merge(&mut object, change);
    serde_json::from_value(object).unwrap()
}

pub(super) fn pool(name: &str, spec: Value) -> VipPool {
    let object = json!({
        "apiVersion": "xvip.io/v1alpha1",
        "kind": "VipPool",
        "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": "1"},
        "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

/// A Node that is ready.
pub(crate) fn node(name: &str, addresses: &[&str]) -> Node {
    let addresses: Vec<_> = addresses
        .iter()
        .map(|address| json!({"type": "InternalIP", "address": address}))
        .collect();
    let object = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"podCIDR": "10.244.0.0/24"},
        "status": {
            "addresses": addresses,
            "conditions": [
                {"type": "MemoryPressure", "status": "False", "reason": "", "message": ""},
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""},
            ],
        },
    });
    serde_json::from_value(object).unwrap()
}

pub(super) fn namespace(name: &str, labels: Value) -> Namespace {
    let object = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    });
    serde_json::from_value(object).unwrap()
}

/// A slice of a Service in namespace `web`: each endpoint's node, and `ready`, `leaving`
/// (terminating, still serving), `gone` (terminating) or `down`.
pub(super) fn slice(service: &str, name: &str, endpoints: &[(&str, &str)]) -> EndpointSlice {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(node, state)| {
            let conditions = match *state {
                "ready" => json!({"ready": true, "serving": true, "terminating": false}),
                "leaving" => json!({"ready": false, "serving": true, "terminating": true}),
                "gone" => json!({"ready": false, "serving": false, "terminating": true}),
                _ => json!({"ready": false, "serving": false, "terminating": false}),
            };
            json!({"addresses": ["10.244.0.5"], "nodeName": node, "conditions": conditions})
        })
        .collect();
    let object = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": "web",
            "name": name,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    });
    serde_json::from_value(object).unwrap()
}
