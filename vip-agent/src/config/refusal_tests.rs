use super::*;
use crate::{
    config::read,
    host::{DefaultRoute, IFA_PROTO_XVIP},
};

fn address(net: &str, proto: u8) -> Address {
    Address {
        net: net.parse().unwrap(),
        proto,
        flags: 0,
        label: None,
        valid_lft: u32::MAX,
        preferred_lft: u32::MAX,
    }
}

/// A host of one interface, eth0, beside `extra`.
fn host(addresses: Vec<Address>, extra: Option<(&str, Vec<Address>)>) -> Host {
    let links = [("eth0", addresses)].into_iter().chain(extra);
    let links = (1..).zip(links).map(|(ifindex, (name, addresses))| {
        let link = Link {
            ifindex,
            name: name.to_owned(),
            addresses,
            ..Link::default()
        };
        (ifindex, link)
    });
    Host {
        links: links.collect(),
        default_routes: vec![DefaultRoute {
            gateway: Some("192.0.2.1".parse().unwrap()),
            ifindex: 1,
            metric: 0,
        }],
    }
}

fn usual() -> Host {
    host(
        vec![
            address("192.0.2.7/24", 0),
            address("2001:db8::7/64", 0),
            address("198.51.100.0/31", 0),
            address("2001:db8:1::1/127", 0),
        ],
        None,
    )
}

fn refused(vip: &str, host: &Host, file: &str) -> Option<String> {
    let file = format!("{file}\nvips: [{{address: 203.0.113.1}}, {{address: \"{vip}\"}}]");
    let (config, _) = read(&[], [], Some(&file), "node").into_config().unwrap();
    refuse(&config.vips[1], host, &config).map(|problem| {
        assert_eq!(problem.field, "vips[1].address");
        assert_eq!(problem.value, vip);
        problem.message
    })
}

#[track_caller]
fn assert_refused(vip: &str, host: &Host, file: &str, word: &str) {
    let message = refused(vip, host, file).expect("refused");
    assert!(message.contains(word), "{message}");
}

#[test]
fn an_address_of_the_node_is_refused() {
    assert_refused("192.0.2.7", &usual(), "", "eth0");
    assert_refused("2001:db8::7", &usual(), "", "eth0");
    assert_eq!(refused("192.0.2.100", &usual(), ""), None);
    assert_eq!(refused("2001:db8::100", &usual(), ""), None);
}

#[test]
fn the_gateway_is_refused() {
    assert_refused("192.0.2.1", &usual(), "", "gateway");
}

#[test]
fn the_network_broadcast_and_anycast_addresses_of_a_subnet_are_refused() {
    assert_refused("192.0.2.0", &usual(), "", "network");
    assert_refused("192.0.2.255", &usual(), "", "broadcast");
    assert_refused("2001:db8::", &usual(), "", "anycast");
}

#[test]
fn subnets_of_one_and_two_addresses_reserve_none() {
    assert_eq!(refused("198.51.100.1", &usual(), ""), None);
    assert_eq!(refused("2001:db8:1::", &usual(), ""), None);
}

#[test]
fn an_address_that_we_bound_is_no_obstacle_nor_its_subnet() {
    let host = host(vec![address("192.0.2.100/24", IFA_PROTO_XVIP)], None);
    assert_eq!(refused("192.0.2.100", &host, ""), None);
    assert_eq!(refused("192.0.2.255", &host, ""), None);
}

#[test]
fn what_kube_proxy_holds_does_not_count() {
    let held = vec![address("192.0.2.100/32", 0), address("10.0.0.1/8", 0)];
    let host = host(Vec::new(), Some(("kube-ipvs0", held)));
    assert_eq!(refused("192.0.2.100", &host, ""), None);
    assert_eq!(refused("10.255.255.255", &host, ""), None);
}

#[test]
fn what_kube_vip_bound_is_taken_over_when_asked_for() {
    let adopt = "adopt: [kube-vip]";
    for (vip, net) in [
        ("192.0.2.100", "192.0.2.100/32"),
        ("2001:db8::100", "2001:db8::100/128"),
    ] {
        // RTPROT_BOOT to RTPROT_STATIC and none at all: kube-vip's tells nothing.
        for proto in [0, 4, 16] {
            let host = host(vec![address(net, proto)], None);
            assert_refused(vip, &host, "", "bound by another");
            assert_eq!(refused(vip, &host, adopt), None);
        }
    }
}

#[test]
fn the_nodes_own_address_is_never_taken_over() {
    let adopt = "adopt: [kube-vip]";
    assert_refused("192.0.2.7", &usual(), adopt, "eth0");
    for proto in KERNEL_PROTOS {
        let host = host(vec![address("192.0.2.100/32", proto)], None);
        assert_refused("192.0.2.100", &host, adopt, "eth0");
    }
    let both = host(
        vec![address("192.0.2.100/32", 0)],
        Some(("eth1", vec![address("192.0.2.100/24", 0)])),
    );
    assert_refused("192.0.2.100", &both, adopt, "eth1");
}

#[test]
fn the_fix_names_adopt_where_it_would_help() {
    let host = host(vec![address("192.0.2.100/32", 0)], None);
    let file = "vips: [{address: 192.0.2.100}]";
    let (config, _) = read(&[], [], Some(file), "node").into_config().unwrap();
    let problem = refuse(&config.vips[0], &host, &config).unwrap();
    assert!(problem.fix.contains("adopt: [kube-vip]"));
}
