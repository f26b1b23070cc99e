//! Addresses of several Services.

use serde_json::json;

use super::*;

#[test]
fn services_of_one_key_share_an_address_on_disjoint_ports() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30"]));
    bed.service("a", shared("web", 80));
    bed.service("b", shared("web", 443));
    bed.service("c", shared("web", 443));
    bed.service("d", shared("other", 25));
    bed.settle();
    assert_eq!(bed.shown("a"), ["192.0.2.8"]);
    assert_eq!(bed.shown("b"), ["192.0.2.8"]);
    assert_eq!(bed.shown("c"), ["192.0.2.9"]);
    assert_eq!(bed.shown("d"), ["192.0.2.10"]);
    let vip = bed.cluster.vip(ip("192.0.2.8")).unwrap();
    assert_eq!(vip.assignment.share_key.as_deref(), Some("web"));
    assert_eq!(vip.assignment.services.len(), 2);
}

#[test]
fn a_shared_address_is_removed_only_with_its_last_service() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30"]));
    bed.service("a", shared("web", 80));
    bed.service("b", shared("web", 443));
    bed.settle();
    bed.delete("a");
    let decision = bed.decide();
    assert_eq!((decision.update.len(), decision.delete.len()), (1, 0));
    bed.settle();
    assert_eq!(bed.shown("b"), ["192.0.2.8"]);
    bed.delete("b");
    bed.settle();
    assert!(bed.vips().is_empty());
}

#[test]
fn an_explicit_address_of_another_service_is_refused_with_its_holder() {
    let mut bed = Bed::new();
    let both = |key: &str, port| {
        let mut service = shared(key, port);
        service["metadata"]["annotations"]["xvip.io/addresses"] = "192.0.2.8".into();
        service
    };
    bed.service("a", both("web", 80));
    bed.service("b", both("web", 80));
    bed.service("c", both("web", 81));
    bed.service("d", both("other", 82));
    bed.settle();
    let taken = |clash| Refusal::Taken {
        address: ip("192.0.2.8"),
        holder: ServiceKey::new("web", "a"),
        clash,
    };
    let port = Port {
        protocol: "TCP".into(),
        number: 80,
    };
    assert_eq!(bed.refused("b"), [taken(Clash::Port(port))]);
    assert_eq!(bed.shown("c"), ["192.0.2.8"]);
    assert_eq!(bed.refused("d"), [taken(Clash::Keys)]);
}

#[test]
fn what_later_breaks_the_sharing_is_said_and_never_withdraws() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30"]));
    bed.service("a", shared("web", 80));
    bed.service("b", shared("web", 443));
    bed.settle();
    bed.service("b", json!({"spec": {"ports": [{"port": 443}]}}));
    bed.settle();
    assert_eq!(bed.shown("b"), ["192.0.2.8"]);
    assert_eq!(
        bed.condition("b"),
        Some((condition::WARNING, "KeptAgainstRules".into()))
    );
}
