//! Addresses that Services name, and who may not have them.

use serde_json::json;
use tests::kubernetes::{SharedBed, load_balancer};

use super::{annotated, asking, ms, observe};

const VIP: &str = "192.0.2.150";
const SIX: &str = "2001:db8::150";

#[test]
#[ignore = "needs root"]
fn every_annotation_that_names_addresses_is_obeyed_and_so_is_load_balancer_ip() {
    let bed = SharedBed::take().unwrap();
    let names = [
        "xvip.io/addresses",
        "kube-vip.io/loadbalancerIPs",
        "metallb.io/loadBalancerIPs",
        "metallb.universe.tf/loadBalancerIPs",
    ];
    for (number, annotation) in names.into_iter().enumerate() {
        let (four, six) = (
            format!("192.0.2.15{number}"),
            format!("2001:db8::15{number}"),
        );
        let name = format!("web-{number}");
        let annotations = json!({annotation: format!("{six}, {four}")});
        bed.create_service(&annotated(&name, &["IPv4", "IPv6"], annotations))
            .unwrap();
        // In the order of the Service's families, not of the annotation.
        bed.expect_ingress(&name, &[&four, &six]);
    }
    let mut service = load_balancer("field", &["IPv4"]);
    service.spec.as_mut().unwrap().load_balancer_ip = Some("192.0.2.159".into());
    bed.create_service(&service).unwrap();
    bed.expect_ingress("field", &["192.0.2.159"]);
    let both = json!({"xvip.io/addresses": VIP, "metallb.io/loadBalancerIPs": "192.0.2.158"});
    bed.create_service(&annotated("torn", &["IPv4"], both))
        .unwrap();
    bed.expect_refusal("torn", "Contradiction");
    bed.create_service(&asking("nonsense", &["IPv4"], "web.example"))
        .unwrap();
    bed.expect_refusal("nonsense", "InvalidValue");
}

#[test]
#[ignore = "needs root"]
fn a_new_address_outside_every_pool_is_refused_once_there_is_a_pool() {
    let bed = SharedBed::take().unwrap();
    bed.create_service(&asking("early", &["IPv4"], VIP))
        .unwrap();
    bed.expect_ingress("early", &[VIP]);
    bed.put_pool("front", json!({"addresses": ["192.0.2.152/31"]}))
        .unwrap();
    bed.create_service(&asking("late", &["IPv4"], "192.0.2.151"))
        .unwrap();
    let message = bed.expect_refusal("late", "OutsidePool");
    assert!(message.contains("192.0.2.151"), "{message}");
    bed.expect_event("late", "AddressRefused", "192.0.2.151");
    bed.create_service(&asking("inside", &["IPv4"], "192.0.2.153"))
        .unwrap();
    bed.expect_ingress("inside", &["192.0.2.153"]);
    bed.expect_vips(&[VIP, "192.0.2.153"]);
}

#[test]
#[ignore = "needs root"]
fn an_address_of_a_node_of_the_api_server_or_of_a_gateway_is_given_to_nobody() {
    let bed = SharedBed::take().unwrap();
    for (name, address, reason) in [
        ("node", "192.0.2.12", "node-2"),
        ("node-six", "2001:db8::13", "node-3"),
        ("api", "198.51.100.1", "API server"),
        ("gateway", "192.0.2.254", "gateway"),
        ("broadcast", "192.0.2.255", "broadcast"),
        ("multicast", "224.0.0.5", "multicast"),
    ] {
        let family = if address.contains(':') {
            "IPv6"
        } else {
            "IPv4"
        };
        bed.create_service(&asking(name, &[family], address))
            .unwrap();
        let message = bed.expect_condition(name, "xvip.io/Allocated", {
            let invalid = name == "multicast";
            if invalid {
                "InvalidValue"
            } else {
                "AddressReserved"
            }
        });
        assert!(message.contains(reason), "{name}: {message}");
    }
    bed.expect_vips(&[]);
    // Nor is it one of those that a pool gives.
    bed.put_pool("nodes", json!({"addresses": ["192.0.2.11-192.0.2.14"]}))
        .unwrap();
    bed.create_service(&load_balancer("any", &["IPv4"]))
        .unwrap();
    bed.expect_ingress("any", &["192.0.2.14"]);
}

#[test]
#[ignore = "needs root"]
fn an_address_that_a_stranger_answers_for_is_passed_over_and_refused_by_name() {
    let bed = SharedBed::take().unwrap();
    for bind in [
        "ip addr add 192.0.2.156/32 dev lan0",
        "ip addr add 2001:db8::156/128 dev lan0 nodad",
    ] {
        bed.client.run(bind).unwrap();
    }
    bed.put_pool(
        "front",
        json!({"addresses": ["192.0.2.156/31", "2001:db8::156/127"]}),
    )
    .unwrap();
    bed.create_service(&load_balancer("any", &["IPv4", "IPv6"]))
        .unwrap();
    bed.expect_ingress("any", &["192.0.2.157", "2001:db8::157"]);
    bed.create_service(&asking("named", &["IPv4"], "192.0.2.156"))
        .unwrap();
    let message = bed.expect_refusal("named", "AddressInUse");
    assert!(message.contains("02:00:00:00:00:20"), "{message}");
    bed.client
        .run("ip addr flush dev lan0 to 192.0.2.156/32; ip addr flush dev lan0 to 2001:db8::156")
        .unwrap();
}

#[test]
#[ignore = "needs root"]
fn another_address_stands_before_the_old_one_goes() {
    let bed = SharedBed::take().unwrap();
    bed.create_service(&asking("web", &["IPv6"], SIX)).unwrap();
    let next = "2001:db8::151";
    let observer = observe(&bed, &[SIX, next]);
    bed.expect_answer(&observer, SIX, &[0, 1, 2]);
    let change = json!({"metadata": {"annotations": {"xvip.io/addresses": next}}});
    bed.patch_service("web", change).unwrap();
    bed.expect_ingress("web", &[next]);
    bed.expect_vips(&[next]);
    bed.expect_silence(&observer, SIX);
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    let old = observed.timeline(SIX).reigns()[0].until;
    let new = observed.timeline(next).reigns()[0].from;
    assert!(new < old + ms(10), "unanswered from {old:?} to {new:?}");
}
