//! Addresses from pools, and whom pools admit.

use serde_json::json;

use super::*;
use crate::cluster::fixture;

#[test]
fn a_service_gets_an_address_of_a_pool_and_then_a_status() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30"]));
    bed.service("a", json!({}));
    let asked = bed.decide();
    assert_eq!(asked.probe, [ip("192.0.2.8")]);
    assert!(asked.create.is_empty() && asked.statuses.is_empty());
    bed.apply(&asked);
    let created = bed.decide();
    assert_eq!(created.create.len(), 1);
    assert_eq!(created.create[0].pool.as_deref(), Some("main"));
    assert!(
        created.statuses.is_empty(),
        "only addresses that have a Vip"
    );
    bed.apply(&created);
    let shown = bed.decide();
    assert_eq!(shown.statuses[0].ingress, [ip("192.0.2.8")]);
    bed.apply(&shown);
    bed.settle();
    assert_eq!(bed.shown("a"), ["192.0.2.8"]);
    assert_eq!(bed.condition("a"), None);
}

#[test]
fn what_is_being_created_is_neither_created_again_nor_given_to_another() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30"]));
    bed.service("b", json!({}));
    let asked = bed.decide();
    bed.apply(&asked);
    let created = bed.decide().create;
    bed.cluster.promise(created[0].clone());
    assert!(bed.decide().create.is_empty(), "it is under way");
    // It comes before the other in the order of Services.
    bed.service("a", json!({}));
    let asked = bed.decide();
    bed.apply(&asked);
    let decision = bed.decide();
    let others: Vec<_> = decision.create.iter().map(|it| it.address).collect();
    assert_eq!(others, [ip("192.0.2.9")]);
    assert!(decision.statuses.is_empty(), "nothing stands yet");
    bed.write(&created[0]);
    bed.settle();
    assert_eq!(
        (&*bed.shown("b"), &*bed.shown("a")),
        (&["192.0.2.8".to_owned()][..], &["192.0.2.9".to_owned()][..])
    );

    bed.service("c", json!({}));
    let asked = bed.decide();
    bed.apply(&asked);
    let broken = bed.decide().create[0].clone();
    bed.cluster.promise(broken.clone());
    assert!(bed.cluster.withdraw(broken.address));
    assert_eq!(bed.decide().create, [broken]);
}

#[test]
fn without_any_pool_explicit_addresses_are_taken_as_they_are() {
    let mut bed = Bed::new();
    bed.service("a", json!({"spec": {"loadBalancerIP": "198.51.100.7"}}));
    bed.service("b", json!({}));
    bed.settle();
    assert_eq!(bed.shown("a"), ["198.51.100.7"]);
    let family = Family::Ipv4;
    assert_eq!(bed.refused("b"), [Refusal::NoPool { family }]);
    assert_eq!(
        bed.condition("b"),
        Some((condition::ALLOCATED, "NoPool".into()))
    );
}

#[test]
fn once_a_pool_exists_a_new_explicit_address_outside_every_pool_is_refused() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30"]));
    bed.service("a", asks("192.0.2.10"));
    bed.service("b", asks("198.51.100.7"));
    bed.settle();
    assert_eq!(bed.shown("a"), ["192.0.2.10"]);
    let address = ip("198.51.100.7");
    assert_eq!(bed.refused("b"), [Refusal::OutsidePools { address }]);
    assert!(bed.shown("b").is_empty());
}

#[test]
fn what_a_later_pool_forbids_is_said_and_never_withdraws() {
    let mut bed = Bed::new();
    bed.service("a", asks("198.51.100.7"));
    bed.settle();
    bed.pool("main", json!({"addresses": ["192.0.2.8/30"]}));
    let decision = bed.settle();
    assert_eq!(bed.shown("a"), ["198.51.100.7"]);
    assert_eq!(
        bed.condition("a"),
        Some((condition::WARNING, "KeptAgainstRules".into()))
    );
    let report = &decision.reports[&ServiceKey::new("web", "a")];
    let address = ip("198.51.100.7");
    let why = Refusal::OutsidePools { address };
    assert_eq!(report.warnings, [Warning::Kept { address, why }]);
    // A pool that holds it after all.
    bed.pool("main", json!({"addresses": ["198.51.100.0/24"]}));
    bed.settle();
    assert_eq!(bed.condition("a"), None);
    let vip = bed.cluster.vip(address).unwrap();
    assert_eq!(vip.assignment.pool.as_deref(), Some("main"));
}

#[test]
fn what_a_later_node_or_policy_forbids_is_said_and_never_withdraws() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30"]));
    bed.service("a", json!({}));
    bed.settle();
    let node = fixture::node("n1", &["192.0.2.8"]);
    bed.cluster.nodes(Change::Applied(node));
    bed.pool(
        "main",
        json!({"addresses": ["192.0.2.8/30"], "namespaces": ["shop"]}),
    );
    bed.settle();
    assert_eq!(bed.shown("a"), ["192.0.2.8"]);
    assert_eq!(
        bed.condition("a"),
        Some((condition::WARNING, "KeptAgainstRules".into()))
    );
    // The pool loses the address, then is gone itself: what it said of interfaces stays.
    let lists = |addresses: &str| json!({"addresses": [addresses], "interfaces": ["eth1"]});
    bed.pool("main", lists("192.0.2.8/30"));
    bed.settle();
    bed.pool("main", lists("203.0.113.0/24"));
    bed.settle();
    bed.cluster.pools(Change::Deleted(fixture::pool(
        "main",
        json!({"addresses": ["::/128"]}),
    )));
    bed.settle();
    assert_eq!(bed.shown("a"), ["192.0.2.8"]);
    let vip = bed.cluster.vip(ip("192.0.2.8")).unwrap();
    assert_eq!(vip.assignment.interfaces, ["eth1"]);
}

#[test]
fn a_pool_says_who_may_use_it_also_by_explicit_address() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30"]));
    bed.pool(
        "shops",
        json!({"addresses": ["198.51.100.0/30"], "namespaceSelector": {"matchLabels": {"kind": "shop"}}}),
    );
    let shop = fixture::namespace("shop", json!({"kind": "shop"}));
    bed.cluster.namespaces(Change::Applied(shop));
    bed.service("a", asks("198.51.100.1"));
    bed.service_in("shop", "a", asks("198.51.100.1"));
    bed.service_in("shop", "b", json!({}));
    bed.service(
        "named",
        json!({"metadata": {"annotations": {"xvip.io/pool": "shops"}}}),
    );
    bed.settle();
    let refusal = Refusal::NotAdmitted {
        pool: "shops".into(),
        namespace: true,
    };
    assert_eq!(bed.refused("a"), bed.refused("named"));
    assert_eq!(bed.refused("a"), [refusal]);
    // A pool for some is used before one for all.
    assert_eq!(bed.vips(), ["198.51.100.0", "198.51.100.1"]);
}

#[test]
fn a_named_pool_is_the_only_one_that_is_used() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30"]));
    bed.pool(
        "manual",
        json!({"addresses": ["198.51.100.0/31"], "autoAssign": false}),
    );
    let named = |pool: &str| json!({"metadata": {"annotations": {"metallb.universe.tf/address-pool": pool}}});
    bed.service("a", named("manual"));
    bed.service("b", json!({}));
    bed.service("c", named("none"));
    let mut both = asks("192.0.2.9");
    both["metadata"]["annotations"]["xvip.io/pool"] = "manual".into();
    bed.service("d", both);
    bed.settle();
    assert_eq!(bed.shown("a"), ["198.51.100.0"]);
    assert_eq!(bed.shown("b"), ["192.0.2.8"]);
    assert_eq!(
        bed.refused("c"),
        [Refusal::NoSuchPool {
            pool: "none".into()
        }]
    );
    let outside = Refusal::OutsidePool {
        address: ip("192.0.2.9"),
        pool: "manual".into(),
    };
    assert_eq!(bed.refused("d"), [outside]);
}

#[test]
fn an_address_moves_when_its_service_names_another_pool_and_answers_meanwhile() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/30"]));
    bed.pool(
        "other",
        json!({"addresses": ["198.51.100.0/31"], "autoAssign": false}),
    );
    bed.service("a", json!({}));
    bed.settle();
    bed.service(
        "a",
        json!({"metadata": {"annotations": {"xvip.io/pool": "other"}}}),
    );
    for _ in 0..3 {
        let decision = bed.decide();
        let gone: Vec<_> = decision
            .delete
            .iter()
            .map(|gone| gone.address.to_string())
            .collect();
        assert!(bed.shown("a").iter().all(|shown| !gone.contains(shown)));
        bed.apply(&decision);
        assert!(!bed.shown("a").is_empty());
    }
    bed.settle();
    assert_eq!(bed.shown("a"), ["198.51.100.0"]);
    assert_eq!(bed.vips(), ["198.51.100.0"]);
}

#[test]
fn an_exhausted_pool_is_said_and_a_freed_address_goes_to_the_oldest() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/32"]));
    let made = |at: &str| json!({"metadata": {"creationTimestamp": at}});
    bed.service("z", made("2026-01-01T00:00:00Z"));
    bed.service("y", made("2026-01-01T00:00:01Z"));
    bed.service("x", made("2026-01-01T00:00:02Z"));
    bed.settle();
    assert_eq!(bed.shown("z"), ["192.0.2.8"]);
    let exhausted = Refusal::Exhausted {
        family: Family::Ipv4,
        pools: vec!["main".into()],
    };
    assert_eq!(bed.refused("y"), [exhausted]);
    bed.delete("z");
    bed.settle();
    assert_eq!(bed.shown("y"), ["192.0.2.8"]);
    assert!(bed.shown("x").is_empty());
}

#[test]
fn pools_tell_how_much_is_used_and_what_is_wrong() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/29", "2001:db8::9-2001:db8::1"]));
    bed.pool(
        "other",
        json!({"addresses": ["192.0.2.12-192.0.2.20"], "autoAssign": false}),
    );
    bed.service("a", json!({}));
    bed.settle();
    let status = bed.cluster.pools["main"].status.clone().unwrap();
    assert_eq!((status.total, status.used, status.free), (8, 1, 7));
    let said: Vec<_> = status
        .conditions
        .iter()
        .map(|c| (c.kind, c.status, c.reason.as_str(), c.message.as_str()))
        .collect();
    let expected = [
        (
            condition::OVERLAPPING,
            true,
            "OtherPool",
            "VipPool other has 192.0.2.12-192.0.2.15, too",
        ),
        (
            condition::VALID,
            false,
            "ReversedRange",
            "addresses: 2001:db8::9-2001:db8::1 is reversed: write 2001:db8::1-2001:db8::9",
        ),
    ];
    assert_eq!(said, expected);
}

#[test]
fn interfaces_and_prefix_come_from_the_service_then_from_the_pool() {
    let mut bed = Bed::new();
    bed.pool(
        "main",
        json!({"addresses": ["192.0.2.8/29"], "interfaces": ["eth1"], "prefix": "24"}),
    );
    bed.service("a", json!({}));
    bed.service(
        "b",
        json!({"metadata": {"annotations": {"xvip.io/interfaces": "eth2,bond*"}}}),
    );
    bed.settle();
    let vip = |address: &str| bed.cluster.vip(ip(address)).unwrap().assignment.clone();
    assert_eq!(vip("192.0.2.8").interfaces, ["eth1"]);
    assert_eq!(vip("192.0.2.8").prefix.as_deref(), Some("24"));
    assert_eq!(vip("192.0.2.9").interfaces, ["eth2", "bond*"]);
}
