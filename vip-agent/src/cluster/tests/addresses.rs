//! Addresses that nobody can have, that others have, and those that Services name.

use serde_json::json;

use super::*;
use crate::{api, cluster::fixture};

#[test]
fn an_address_of_a_node_or_of_the_api_server_is_refused() {
    let mut bed = Bed::new();
    bed.cluster
        .nodes(Change::Applied(fixture::node("n1", &["192.0.2.11"])));
    let mut slice = fixture::slice("kubernetes", "kubernetes", &[("n1", "ready")]);
    slice.metadata.namespace = Some("default".into());
    slice.endpoints[0].addresses = vec!["192.0.2.12".into()];
    bed.cluster.endpoint_slices(Change::Applied(slice));
    bed.forbidden.api_servers = [ip("192.0.2.13")].into();
    bed.forbidden.gateways = [ip("192.0.2.1")].into();
    bed.forbidden.bound = [(ip("192.0.2.14"), "eth0".into())].into();
    bed.forbidden.subnets = ["192.0.2.0/24".parse().unwrap()].into();
    for last in ["11", "12", "13", "1", "14", "0", "255"] {
        bed.service(last, asks(&format!("192.0.2.{last}")));
    }
    bed.settle();
    let node = Refusal::NodeAddress {
        address: ip("192.0.2.11"),
        node: "n1".into(),
    };
    assert_eq!(bed.refused("11"), [node]);
    for last in ["12", "13"] {
        let address = ip(&format!("192.0.2.{last}"));
        assert_eq!(bed.refused(last), [Refusal::ApiServer { address }]);
    }
    for last in ["1", "14", "0", "255"] {
        assert_eq!(bed.refused(last)[0].reason(), "AddressReserved", "{last}");
    }
    assert!(bed.vips().is_empty());
}

#[test]
fn pool_addresses_that_nobody_can_have_are_passed_over() {
    let mut bed = Bed::with_pool(json!(["192.0.2.0/30"]));
    bed.forbidden.subnets = ["192.0.2.0/24".parse().unwrap()].into();
    bed.forbidden.gateways = [ip("192.0.2.1")].into();
    bed.cluster
        .nodes(Change::Applied(fixture::node("n1", &["192.0.2.2"])));
    bed.service("a", json!({}));
    bed.settle();
    assert_eq!(bed.shown("a"), ["192.0.2.3"]);
}

#[test]
fn an_address_that_the_lan_answers_for_is_never_given() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/31"]));
    bed.rivals = vec![ip("192.0.2.8")];
    bed.service("a", json!({}));
    bed.service("b", asks("192.0.2.8"));
    bed.settle();
    assert_eq!(bed.shown("a"), ["192.0.2.9"]);
    let answered = Refusal::Answered {
        address: ip("192.0.2.8"),
        mac: RIVAL,
    };
    assert_eq!(bed.refused("b"), [answered]);
    // Asked again, its condition does not blink.
    bed.lan.remove(&ip("192.0.2.8"));
    let again = bed.decide();
    assert_eq!(again.probe, [ip("192.0.2.8")]);
    assert!(again.statuses.is_empty());
    bed.rivals.clear();
    bed.settle();
    assert_eq!(bed.shown("b"), ["192.0.2.8"]);
    assert_eq!(bed.condition("b"), None);
}

#[test]
fn free_addresses_of_a_pool_are_probed_ahead() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/29", "2001:db8::/64"]));
    bed.settings.probe_ahead = 2;
    let ahead = bed.decide();
    let expected = ["192.0.2.8", "192.0.2.9", "2001:db8::", "2001:db8::1"].map(ip);
    assert_eq!(ahead.probe, expected);
    bed.settle();
    bed.service("a", json!({}));
    let decision = bed.decide();
    assert_eq!(
        decision.create[0].address,
        ip("192.0.2.8"),
        "without a pause"
    );
    assert_eq!(decision.probe, [ip("192.0.2.10")]);
}

#[test]
fn a_changed_explicit_address_stands_before_the_old_one_goes() {
    let mut bed = Bed::new();
    bed.service("a", asks("192.0.2.8"));
    bed.settle();
    bed.service("a", asks("192.0.2.9"));
    loop {
        let decision = bed.decide();
        if decision.is_settled() {
            break;
        }
        assert!(decision.create.is_empty() || decision.delete.is_empty());
        bed.apply(&decision);
        let shown: Vec<_> = bed.shown("a");
        assert!(shown.iter().all(|address| bed.vips().contains(address)));
        assert_eq!(shown.len(), 1);
    }
    assert_eq!(bed.shown("a"), ["192.0.2.9"]);
    assert_eq!(bed.vips(), ["192.0.2.9"]);
    // One that is refused leaves the old one where it is.
    bed.rivals = vec![ip("192.0.2.10")];
    bed.service("a", asks("192.0.2.10"));
    bed.settle();
    assert_eq!(bed.shown("a"), ["192.0.2.9"]);
    assert_eq!(
        bed.condition("a"),
        Some((condition::ALLOCATED, "AddressInUse".into()))
    );
    // As does one that means nothing.
    bed.service("a", asks("web.example"));
    bed.settle();
    assert_eq!(bed.shown("a"), ["192.0.2.9"]);
    assert_eq!(
        bed.condition("a"),
        Some((condition::ALLOCATED, "InvalidValue".into()))
    );
}

#[test]
fn an_address_of_the_control_plane_is_never_touched() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/31"]));
    let spec = api::VipSpec {
        address: "192.0.2.8".into(),
        control_plane: true,
        ..api::VipSpec::default()
    };
    bed.cluster
        .vips(Change::Applied(api::Vip::new("192.0.2.8", spec)));
    bed.service("a", json!({}));
    bed.service("b", asks("192.0.2.8"));
    bed.settle();
    assert_eq!(bed.shown("a"), ["192.0.2.9"]);
    let address = ip("192.0.2.8");
    assert_eq!(bed.refused("b"), [Refusal::ApiServer { address }]);
    assert!(bed.cluster.vip(address).is_some());
    assert!(served(&bed.cluster)[&address].control_plane);
}
