//! `ipFamilies` and `ipFamilyPolicy`.

use serde_json::json;

use super::*;

#[test]
fn families_are_served_in_the_order_of_the_service() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30", "2001:db8::8/126"]));
    bed.service("a", dual("RequireDualStack"));
    bed.service(
        "b",
        json!({"spec": {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv6"]}}),
    );
    bed.service("c", json!({"spec": {"ipFamilies": ["IPv6"]}}));
    bed.settle();
    assert_eq!(bed.shown("a"), ["2001:db8::8", "192.0.2.8"]);
    assert_eq!(bed.shown("b"), ["192.0.2.9", "2001:db8::9"]);
    assert_eq!(bed.shown("c"), ["2001:db8::a"]);
}

#[test]
fn prefer_dual_stack_gets_one_address_where_pools_have_one_family() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30"]));
    bed.service("a", dual("PreferDualStack"));
    bed.settle();
    assert_eq!(bed.shown("a"), ["192.0.2.8"]);
    assert_eq!(bed.condition("a"), None);
    // And the other when there is one, without moving the first.
    bed.pool("six", json!({"addresses": ["2001:db8::8/126"]}));
    bed.settle();
    assert_eq!(bed.shown("a"), ["2001:db8::8", "192.0.2.8"]);
}

#[test]
fn require_dual_stack_gets_both_or_none() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/32"]));
    bed.service("a", dual("RequireDualStack"));
    bed.service(
        "b",
        json!({"metadata": {"creationTimestamp": "2026-01-02T00:00:00Z"}}),
    );
    bed.settle();
    assert!(bed.shown("a").is_empty());
    let missing = Family::Ipv6;
    let refusals = bed.refused("a");
    assert!(refusals.contains(&Refusal::NoPool { family: missing }));
    assert!(refusals.contains(&Refusal::BothOrNone { missing }));
    // What it does not take is left to others.
    assert_eq!(bed.shown("b"), ["192.0.2.8"]);
    bed.pool(
        "six",
        json!({"addresses": ["2001:db8::8/126", "192.0.2.9/32"]}),
    );
    bed.rivals = vec![ip("2001:db8::8")];
    loop {
        let decision = bed.decide();
        if decision.is_settled() {
            break;
        }
        assert_ne!(decision.create.len(), 1, "both at once");
        bed.apply(&decision);
        assert_ne!(bed.shown("a").len(), 1);
    }
    assert_eq!(bed.shown("a"), ["2001:db8::9", "192.0.2.9"]);
}

#[test]
fn a_change_from_prefer_to_single_gives_the_second_address_back() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30", "2001:db8::8/126"]));
    bed.service("a", dual("PreferDualStack"));
    bed.settle();
    bed.service(
        "a",
        json!({"spec": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}}),
    );
    let decision = bed.decide();
    assert_eq!(decision.statuses[0].ingress, [ip("2001:db8::8")]);
    assert!(decision.delete.is_empty(), "the status first");
    bed.settle();
    assert_eq!(bed.vips(), ["2001:db8::8"]);
    // And back, and on to Require.
    bed.service("a", dual("PreferDualStack"));
    bed.settle();
    bed.service("a", dual("RequireDualStack"));
    bed.settle();
    assert_eq!(bed.shown("a"), ["2001:db8::8", "192.0.2.8"]);
}

#[test]
fn a_change_from_prefer_to_require_never_withdraws_the_one_address() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30"]));
    bed.service("a", dual("PreferDualStack"));
    bed.settle();
    bed.service("a", dual("RequireDualStack"));
    bed.settle();
    assert_eq!(bed.shown("a"), ["192.0.2.8"]);
    assert_eq!(
        bed.condition("a"),
        Some((condition::ALLOCATED, "NoPool".into()))
    );
}

#[test]
fn an_explicit_address_of_a_family_that_the_service_has_not_is_said() {
    let mut bed = Bed::new();
    bed.service("a", asks("192.0.2.1,2001:db8::1"));
    bed.service("b", asks("2001:db8::1"));
    bed.settle();
    assert_eq!(bed.shown("a"), ["192.0.2.1"]);
    assert_eq!(
        bed.condition("a"),
        Some((condition::WARNING, "AddressIgnored".into()))
    );
    let address = ip("2001:db8::1");
    assert_eq!(bed.refused("b"), [Refusal::OtherFamily { address }]);
}

#[test]
fn require_dual_stack_shows_nothing_while_one_vip_is_still_to_come() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30", "2001:db8::8/126"]));
    bed.service("a", dual("RequireDualStack"));
    let probe = bed.decide();
    bed.apply(&probe);
    let mut half = bed.decide();
    assert_eq!(half.create.len(), 2);
    half.create.truncate(1);
    bed.apply(&half);
    let decision = bed.decide();
    assert_eq!(decision.create.len(), 1);
    assert!(decision.statuses.is_empty());
    bed.settle();
    assert_eq!(bed.shown("a"), ["2001:db8::8", "192.0.2.8"]);
}
