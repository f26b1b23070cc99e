//! Services: what of them is read, and whether each would keep its addresses.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::core::v1::{Namespace, Service},
    serde::de::DeserializeOwned,
};
use serde_json::json;

use super::{
    Draft, Peer,
    objects::{Object, Objects},
};
use crate::{
    api::VipPool,
    cluster::{self, Change, Cluster, Forbidden, LanAnswers, Settings},
};

/// Annotations of the peers that mean something here; and those that a peer writes for itself.
const READ: [&str; 9] = [
    "kube-vip.io/loadbalancerIPs",
    "kube-vip.io/ignore",
    "kube-vip.io/serviceInterface",
    "metallb.io/loadBalancerIPs",
    "metallb.io/address-pool",
    "metallb.io/allow-shared-ip",
    "metallb.universe.tf/loadBalancerIPs",
    "metallb.universe.tf/address-pool",
    "metallb.universe.tf/allow-shared-ip",
];
const WRITTEN: [&str; 4] = [
    "kube-vip.io/vipHost",
    "kube-vip.io/active-endpoint",
    "metallb.io/ip-allocated-from-pool",
    "metallb.universe.tf/ip-allocated-from-pool",
];
/// Beginnings of annotations whose feature is not here.
const REFUSED: [(&str, &str); 7] = [
    ("kube-vip.io/egress", "egress by the VIP"),
    ("kube-vip.io/hwaddr", "an address by DHCP"),
    ("kube-vip.io/requestedIP", "an address by DHCP"),
    ("kube-vip.io/loadbalancerHostname", "an address by DHCP"),
    ("kube-vip.io/forwardUPNP", "UPnP"),
    ("kube-vip.io/upnp", "UPnP"),
    ("kube-vip.io/wireguard", "WireGuard"),
];

pub(super) fn convert(peer: Peer, objects: &Objects, draft: &mut Draft) {
    let mut services: Vec<Service> = Vec::new();
    let mut classes = BTreeSet::new();
    let balancers = objects.of("Service").filter(|object| {
        let kind = object.at("/spec/type").and_then(|value| value.as_str());
        kind == Some("LoadBalancer")
    });
    for object in balancers {
        annotations(peer, object, draft);
        let class = object
            .at("/spec/loadBalancerClass")
            .and_then(|value| value.as_str());
        classes.extend(class.map(str::to_owned));
        services.extend(typed(object, draft));
    }
    if services.is_empty() {
        return;
    }
    class_names(&classes, draft);
    judge(services, objects, draft);
}

fn annotations(peer: Peer, object: &Object, draft: &mut Draft) {
    let ours = match peer {
        Peer::KubeVip => &["kube-vip.io/"][..],
        Peer::MetalLb => &["metallb.io/", "metallb.universe.tf/"][..],
    };
    for (name, value) in object.entries("/metadata/annotations") {
        let known = READ.contains(&&*name) || WRITTEN.contains(&&*name);
        if known || !ours.iter().any(|domain| name.starts_with(domain)) {
            continue;
        }
        let field = format!("{}: {name}", object.shown());
        let off = ["false", "False", "0", ""].contains(&value.trim());
        match REFUSED.iter().find(|(start, _)| name.starts_with(start)) {
            Some((_, feature)) if !off => {
                let message = format!("{feature} is not part of xvip");
                draft.refuse(
                    field,
                    value,
                    (&message, "remove it, or keep the peer for this Service"),
                );
            }
            _ => draft.warn(field, value, "no effect: remove it"),
        }
    }
}

fn typed<T: DeserializeOwned>(object: &Object, draft: &mut Draft) -> Option<T> {
    match serde_json::from_value(object.value.clone()) {
        Ok(typed) => Some(typed),
        Err(error) => {
            let message = format!("no {} of Kubernetes: {error}", object.kind);
            draft.refuse(
                object.shown(),
                "",
                (&message, "give it as the API server has it"),
            );
            None
        }
    }
}

/// A Service's class is immutable: the old ones are served, too.
fn class_names(classes: &BTreeSet<String>, draft: &mut Draft) {
    if classes.is_empty() {
        return;
    }
    let mut services = match draft.configuration.get("services") {
        Some(serde_json::Value::Object(services)) => services.clone(),
        _ => Default::default(),
    };
    let default = crate::config::Services::default().load_balancer_classes;
    let named = services
        .get("loadBalancerClasses")
        .and_then(|it| it.as_array());
    let mut served: Vec<String> = match named {
        Some(named) => named
            .iter()
            .filter_map(|it| it.as_str())
            .map(str::to_owned)
            .collect(),
        None => default,
    };
    let new = classes.iter().filter(|class| !served.contains(class));
    let new: Vec<String> = new.cloned().collect();
    served.extend(new);
    services.insert("loadBalancerClasses".into(), json!(served));
    draft.set("services", services.into());
}

/// Lets the allocator decide over the Services and the pools as they were converted.
fn judge(services: Vec<Service>, objects: &Objects, draft: &mut Draft) {
    let namespaces = objects
        .of("Namespace")
        .filter_map(|object| typed::<Namespace>(object, draft));
    let namespaces: Vec<Namespace> = namespaces.collect();
    let pools = draft
        .pools
        .iter()
        .map(|(name, spec)| VipPool::new(name, spec.clone()));
    let mut cluster = Cluster::default();
    cluster.pools(Change::Listed(pools.collect()));
    cluster.services(Change::Listed(services));
    cluster.namespaces(Change::Listed(namespaces));
    cluster.endpoint_slices(Change::Listed(Vec::new()));
    cluster.nodes(Change::Listed(Vec::new()));
    cluster.vips(Change::Listed(Vec::new()));
    let settings = settings(draft);
    let lan = LanAnswers::default();
    let decision = cluster::decide(&cluster, &settings, &Forbidden::default(), &lan);
    for (key, report) in &decision.reports {
        let field = format!("Service {key}");
        let value = cluster.service(key).map(value).unwrap_or_default();
        for refusal in &report.refusals {
            draft.refuse(&field, &value, (&refusal.to_string(), &refusal.fix()));
        }
        for warning in &report.warnings {
            draft.warn(&field, &value, warning.to_string());
        }
    }
}

/// The addresses that a Service has, else those that it asks for.
fn value(service: &cluster::Service) -> String {
    let asked = service.wish.as_ref().map(|wish| wish.addresses.as_slice());
    let addresses = match service.ingress.addresses.as_slice() {
        [] => asked.unwrap_or_default(),
        has => has,
    };
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(",")
}

/// As the configuration says.
fn settings(draft: &Draft) -> Settings {
    let default = Settings::default();
    let Some(services) = draft.configuration.get("services") else {
        return default;
    };
    let texts = |key: &str| {
        let list = services.get(key)?.as_array()?;
        Some(
            list.iter()
                .filter_map(|it| it.as_str())
                .map(str::to_owned)
                .collect(),
        )
    };
    Settings {
        classes: texts("loadBalancerClasses").unwrap_or(default.classes),
        default: services
            .get("default")
            .and_then(|it| it.as_bool())
            .unwrap_or(default.default),
        namespaces: texts("namespaces").unwrap_or_default(),
        probe_ahead: 0,
    }
}
