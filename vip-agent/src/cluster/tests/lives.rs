//! Services that come, change and go; restarts.

use serde_json::json;

use super::*;
use crate::{api, cluster::fixture};

#[test]
fn nothing_is_decided_before_every_kind_was_listed() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30"]));
    bed.service("a", json!({}));
    bed.settle();
    let mut fresh = Cluster::default();
    fresh.services(Change::Listed(Vec::new()));
    let vip = bed.cluster.all_vips().next().unwrap();
    let object = api::Vip::new("v", (&vip.assignment).into());
    fresh.vips(Change::Listed(vec![object]));
    assert!(!fresh.is_complete());
    let decision = decide(&fresh, &bed.settings, &bed.forbidden, &bed.lan);
    assert!(decision.is_settled());
}

#[test]
fn restarts_move_no_address() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/29"]));
    for name in ["a", "b", "c"] {
        bed.service(name, json!({}));
    }
    bed.settle();
    bed.delete("a");
    bed.settle();
    let before = (bed.shown("b"), bed.shown("c"));
    bed.restart();
    assert!(bed.decide().is_settled());
    // Nor when the Vips are lost: the statuses still tell.
    let vips: Vec<_> = bed.cluster.all_vips().cloned().collect();
    bed.cluster.vips(Change::Listed(Vec::new()));
    let decision = bed.decide();
    let created: Vec<_> = decision.create.iter().map(|vip| vip.address).collect();
    let lost: Vec<_> = vips.iter().map(|vip| vip.assignment.address).collect();
    assert_eq!(created, lost, "without a probe: they are answered for");
    assert!(decision.probe.is_empty() && decision.statuses.is_empty());
    bed.settle();
    assert_eq!((bed.shown("b"), bed.shown("c")), before);
}

#[test]
fn addresses_come_along_from_another_load_balancer() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/29"]));
    bed.rivals = vec![ip("203.0.113.5")];
    let had = |address: &str| json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
    bed.service("a", had("203.0.113.5"));
    let first = bed.decide();
    assert_eq!(
        (first.create.len(), first.statuses.len()),
        (1, 0),
        "a Vip first"
    );
    // kube-vip lets Services share without a key.
    let mut other = had("203.0.113.5");
    other["spec"] = json!({"ports": [{"port": 443}]});
    bed.service("b", other);
    bed.service("same-port", had("203.0.113.5"));
    // k3s writes the addresses of nodes.
    bed.cluster
        .nodes(Change::Applied(fixture::node("n1", &["192.0.2.11"])));
    bed.service("on-node", had("192.0.2.11"));
    bed.settle();
    assert_eq!(bed.shown("a"), ["203.0.113.5"]);
    assert_eq!(bed.shown("b"), ["203.0.113.5"]);
    assert_eq!(bed.shown("on-node"), ["192.0.2.8"]);
    assert_eq!(bed.shown("same-port"), ["192.0.2.9"]);
    let vip = bed.cluster.vip(ip("203.0.113.5")).unwrap();
    assert_eq!(vip.assignment.services.len(), 2);
}

#[test]
fn a_status_that_something_wipes_or_changes_is_written_anew() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/29"]));
    bed.service("a", json!({}));
    bed.settle();
    let key = ServiceKey::new("web", "a");
    for ingress in [
        json!([]),
        json!([{"ip": "192.0.2.8", "ipMode": "Proxy"}]),
        json!([{"ip": "192.0.2.8"}]),
        json!([{"ip": "192.0.2.9", "ipMode": "VIP"}]),
        json!([{"hostname": "lb.example"}]),
    ] {
        let mut service = bed.services[&key].clone();
        service.status =
            serde_json::from_value(json!({"loadBalancer": {"ingress": ingress}})).unwrap();
        bed.put(service);
        let decision = bed.decide();
        assert_eq!(decision.statuses[0].ingress, [ip("192.0.2.8")], "{ingress}");
        bed.settle();
        assert_eq!(bed.vips(), ["192.0.2.8"]);
    }
}

#[test]
fn deletion_gives_the_address_back() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/29"]));
    bed.service("a", json!({}));
    bed.service("b", json!({}));
    bed.settle();
    bed.delete("a");
    bed.settle();
    assert_eq!(bed.vips(), ["192.0.2.9"]);
    // Also when a finalizer keeps the object.
    bed.service(
        "b",
        json!({"metadata": {"deletionTimestamp": "2026-02-01T00:00:00Z", "finalizers": ["a.example/b"]}}),
    );
    bed.settle();
    assert!(bed.vips().is_empty());
}

#[test]
fn a_change_of_type_gives_the_address_back() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/29"]));
    bed.service("a", json!({}));
    bed.settle();
    bed.service("a", json!({"spec": {"type": "ClusterIP"}}));
    let decision = bed.decide();
    assert_eq!(decision.delete.len(), 1);
    bed.settle();
    assert!(bed.shown("a").is_empty());
}

#[test]
fn a_service_that_is_to_be_ignored_loses_its_address_and_its_status() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/29"]));
    bed.service("a", json!({}));
    bed.settle();
    bed.service(
        "a",
        json!({"metadata": {"annotations": {"kube-vip.io/ignore": "true"}}}),
    );
    let decision = bed.decide();
    assert_eq!((decision.delete.len(), decision.statuses.len()), (1, 1));
    bed.settle();
    assert!(bed.shown("a").is_empty() && bed.vips().is_empty());
}

#[test]
fn only_services_of_our_classes_and_namespaces_are_served() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/29"]));
    let class = |class: &str| json!({"spec": {"loadBalancerClass": class}});
    bed.service("ours", class("xvip.io/vip"));
    bed.service("theirs", class("other.example/lb"));
    bed.service("unsaid", json!({}));
    bed.service("inner", json!({"spec": {"type": "ClusterIP"}}));
    bed.settle();
    assert_eq!(bed.shown("ours").len(), 1);
    assert!(bed.shown("theirs").is_empty());
    assert_eq!(bed.shown("unsaid").len(), 1);
    assert!(bed.shown("inner").is_empty());
    bed.settings.default = false;
    bed.settle();
    assert!(bed.shown("unsaid").is_empty());
    bed.settings.classes.insert("other.example/lb".into());
    bed.settle();
    assert_eq!(bed.shown("theirs").len(), 1);
    bed.settings.namespaces = ["shop".to_owned()].into();
    bed.settle();
    assert!(bed.vips().is_empty());
}

#[test]
fn a_hostname_of_another_controller_is_left_alone() {
    let mut bed = Bed::new();
    bed.service(
        "a",
        json!({"status": {"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}}}),
    );
    let decision = bed.decide();
    let [status] = &decision.statuses[..] else {
        panic!("{decision:?}")
    };
    assert_eq!(status.conditions[0].reason, "NoPool");
    assert!(status.ingress.is_empty());
}
