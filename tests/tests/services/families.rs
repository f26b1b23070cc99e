//! `ipFamilies` and `ipFamilyPolicy`.

use serde_json::json;
use tests::kubernetes::{SharedBed, load_balancer};

use super::{observe, with_policy};

const FOUR: &str = "192.0.2.110";
const SIX: &str = "2001:db8::110";

fn both() -> serde_json::Value {
    json!({"addresses": ["192.0.2.110/31", "2001:db8::110/127"]})
}

#[test]
#[ignore = "needs root"]
fn dual_stack_is_served_in_the_order_of_the_service() {
    let bed = SharedBed::take().unwrap();
    bed.put_pool("both", both()).unwrap();
    let observer = observe(&bed, &[FOUR, SIX]);
    for (name, families, expected) in [
        ("v4-first", ["IPv4", "IPv6"], [FOUR, SIX]),
        (
            "v6-first",
            ["IPv6", "IPv4"],
            ["2001:db8::111", "192.0.2.111"],
        ),
    ] {
        bed.create_service(&load_balancer(name, &families)).unwrap();
        bed.expect_ingress(name, &expected);
    }
    for vip in [FOUR, SIX] {
        bed.expect_answer(&observer, vip, &[0, 1, 2]);
    }
    observer.finish().unwrap().one_answerer(None).unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_single_stack_service_gets_its_one_family() {
    let bed = SharedBed::take().unwrap();
    bed.put_pool("both", both()).unwrap();
    bed.create_service(&load_balancer("four", &["IPv4"]))
        .unwrap();
    bed.create_service(&load_balancer("six", &["IPv6"]))
        .unwrap();
    bed.expect_ingress("four", &[FOUR]);
    bed.expect_ingress("six", &[SIX]);
    bed.expect_vips(&[FOUR, SIX]);
}

#[test]
#[ignore = "needs root"]
fn prefer_dual_stack_takes_one_family_where_pools_have_one_and_the_other_once_there_is_one() {
    let bed = SharedBed::take().unwrap();
    bed.put_pool("six", json!({"addresses": ["2001:db8::110/127"]}))
        .unwrap();
    let service = load_balancer("web", &["IPv4", "IPv6"]);
    bed.create_service(&with_policy(service, "PreferDualStack"))
        .unwrap();
    bed.expect_ingress("web", &[SIX]);
    bed.expect_no_condition("web");
    let observer = observe(&bed, &[SIX]);
    let owner = bed.expect_answer(&observer, SIX, &[0, 1, 2]);
    bed.put_pool("four", json!({"addresses": ["192.0.2.110/31"]}))
        .unwrap();
    bed.expect_ingress("web", &[FOUR, SIX]);
    bed.expect_answer(&observer, SIX, &[owner]);
    let observed = observer.finish().unwrap();
    assert_eq!(observed.timeline(SIX).gaps().len(), 0, "it moved");
}

#[test]
#[ignore = "needs root"]
fn a_service_goes_from_single_to_dual_stack_and_back_and_keeps_its_first_address() {
    let bed = SharedBed::take().unwrap();
    bed.put_pool("both", both()).unwrap();
    bed.create_service(&load_balancer("web", &["IPv4"]))
        .unwrap();
    bed.expect_ingress("web", &[FOUR]);
    let observer = observe(&bed, &[FOUR, SIX]);
    bed.expect_answer(&observer, FOUR, &[0, 1, 2]);
    let began = observer.now();
    for policy in ["PreferDualStack", "RequireDualStack"] {
        let dual = json!({"spec": {"ipFamilyPolicy": policy, "ipFamilies": ["IPv4", "IPv6"]}});
        bed.patch_service("web", dual).unwrap();
        bed.expect_ingress("web", &[FOUR, SIX]);
        bed.expect_answer(&observer, SIX, &[0, 1, 2]);
    }
    let single = json!({"spec": {
        "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], "clusterIPs": null,
    }});
    bed.patch_service("web", single).unwrap();
    bed.expect_ingress("web", &[FOUR]);
    bed.expect_vips(&[FOUR]);
    bed.expect_silence(&observer, SIX);
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    assert_eq!(observed.timeline(FOUR).since(began).gaps(), []);
}

#[test]
#[ignore = "needs root"]
fn require_dual_stack_gets_both_addresses_or_none_and_says_which_is_missing() {
    let bed = SharedBed::take().unwrap();
    bed.put_pool("four", json!({"addresses": ["192.0.2.110/32"]}))
        .unwrap();
    bed.create_service(&load_balancer("web", &["IPv4", "IPv6"]))
        .unwrap();
    let message = bed.expect_refusal("web", "NoPool");
    assert!(message.contains("IPv6"), "{message}");
    bed.expect_event("web", "AddressRefused", "IPv6");
    bed.expect_ingress("web", &[]);
    bed.expect_vips(&[]);
    bed.put_pool("six", json!({"addresses": ["2001:db8::110/128"]}))
        .unwrap();
    bed.expect_ingress("web", &[FOUR, SIX]);
    bed.expect_no_condition("web");
}
