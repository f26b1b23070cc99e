use super::*;
use crate::host::IFA_PROTO_XVIP;

const ETH0: IfIndex = 2;

fn net(text: &str) -> BoundVip {
    text.parse().unwrap()
}

fn address(text: &str, proto: u8) -> Address {
    let net = net(text);
    let (flags, preferred_lft) = match net {
        IpNet::V4(_) => (0x280, FOR_EVER),
        IpNet::V6(_) => (0x282, 0),
    };
    Address {
        net,
        proto,
        flags,
        label: None,
        valid_lft: FOR_EVER,
        preferred_lft,
    }
}

fn ours(text: &str) -> Address {
    address(text, IFA_PROTO_XVIP)
}

fn foreign(text: &str) -> Address {
    address(text, 0)
}

fn host(addresses: Vec<Address>) -> Host {
    let link = Link {
        ifindex: ETH0,
        name: "eth0".into(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        up: true,
        mtu: 1500,
        addresses,
        ..Link::default()
    };
    Host {
        links: [(ETH0, link)].into(),
        ..Host::default()
    }
}

fn want(vip: &str) -> Wanted {
    Wanted {
        vip: net(vip),
        ifindex: ETH0,
        kind: Kind::Bind,
        valid_lft: FOR_EVER,
    }
}

fn made(change: &AddressChange) -> (Operation, BoundVip) {
    (change.operation, change.net)
}

#[test]
fn what_is_wanted_and_absent_is_added_in_both_families() {
    let plan = plan(
        &[want("192.0.2.100/32"), want("2001:db8::100/128")],
        &host(vec![]),
        &[],
    );
    assert_eq!(plan.add.len(), 2);
    assert!(plan.remove.is_empty() && plan.refused.is_empty());
}

#[test]
fn what_is_ours_and_right_is_adopted_without_a_request() {
    let observed = host(vec![ours("192.0.2.100/32"), ours("2001:db8::100/128")]);
    let plan = plan(
        &[want("192.0.2.100/32"), want("2001:db8::100/128")],
        &observed,
        &[],
    );
    assert!(plan.is_settled());
    assert_eq!(plan.adopted.len(), 2);
}

#[test]
fn an_orphan_is_swept_and_a_foreign_address_is_left() {
    let observed = host(vec![ours("192.0.2.100/32"), foreign("192.0.2.7/24")]);
    let plan = plan(&[], &observed, &[]);
    assert_eq!(plan.remove.len(), 1);
    assert_eq!(plan.remove[0].net, net("192.0.2.100/32"));
    assert!(plan.refused.is_empty());
}

#[test]
fn an_equal_foreign_address_is_refused_and_taken_over_from_kube_vip_only_when_asked() {
    for vip in ["192.0.2.100/32", "2001:db8::100/128"] {
        let observed = host(vec![foreign(vip)]);
        let without = plan(&[want(vip)], &observed, &[]);
        assert!(without.is_settled());
        assert_eq!(without.refused[0].1, Refusal::Foreign(net(vip)));
        let with = plan(&[want(vip)], &observed, &[Adopt::KubeVip]);
        assert_eq!(made(&with.replace[0]), (Operation::Replace, net(vip)));
    }
}

#[test]
fn only_an_unmarked_host_prefix_is_taken_over() {
    for held in [
        foreign("192.0.2.100/24"),
        foreign("2001:db8::100/64"),
        address("192.0.2.100/32", 0x11),
    ] {
        let vip = host_prefix(held.net.addr()).to_string();
        let plan = plan(&[want(&vip)], &host(vec![held.clone()]), &[Adopt::KubeVip]);
        assert!(plan.is_settled(), "{held:?}");
        assert_eq!(plan.refused[0].1, Refusal::Foreign(held.net));
    }
}

#[test]
fn a_foreign_twin_that_appears_later_darkens_nothing() {
    let observed = host(vec![foreign("192.0.2.100/24"), ours("192.0.2.100/32")]);
    let plan = plan(&[want("192.0.2.100/32")], &observed, &[]);
    assert_eq!(plan.adopted.len(), 1);
    assert!(plan.refused.is_empty() && plan.is_settled());
}

#[test]
fn a_new_prefix_length_is_bound_before_the_old_goes_but_after_it_for_ipv6() {
    let observed = host(vec![ours("192.0.2.100/32"), ours("2001:db8::100/128")]);
    let plan = plan(
        &[want("192.0.2.100/24"), want("2001:db8::100/64")],
        &observed,
        &[],
    );
    let order: Vec<_> = plan.changes().iter().map(made).collect();
    assert_eq!(
        order,
        [
            (Operation::Remove, net("2001:db8::100/128")),
            (Operation::Add, net("192.0.2.100/24")),
            (Operation::Add, net("2001:db8::100/64")),
            (Operation::Remove, net("192.0.2.100/32")),
        ]
    );
    let (first, last) = plan.in_two();
    assert_eq!(first.len(), 3, "what VIPs wait for");
    assert_eq!(made(&last[0]), (Operation::Remove, net("192.0.2.100/32")));
}

#[test]
fn who_leaves_binds_what_it_serves_and_puts_off_the_rest() {
    let group = Wanted {
        kind: Kind::Group,
        ..want("2001:db8::12:3456/64")
    };
    let (gone, lost) = (ours("192.0.2.102/32"), ours("192.0.2.101/32"));
    let observed = host(vec![lost, gone.clone(), ours("2001:db8::100/128")]);
    let desired = [want("192.0.2.100/32"), want("2001:db8::100/64"), group];
    let mut plan = plan(&desired, &observed, &[]);
    assert_eq!((plan.add.len(), plan.remove.len()), (3, 3));
    plan.put_off(|vip| vip == gone.net.addr());
    let changes: Vec<_> = plan.changes().iter().map(made).collect();
    assert_eq!(
        changes,
        [
            (Operation::Remove, net("2001:db8::100/128")),
            (Operation::Add, net("192.0.2.100/32")),
            (Operation::Add, net("2001:db8::100/64")),
            (Operation::Remove, gone.net),
        ]
    );
}

#[test]
fn ipv6_is_refused_with_a_reason_where_the_link_cannot_carry_it_and_ipv4_is_not() {
    let desired = [want("192.0.2.100/32"), want("2001:db8::100/128")];
    let mut small = host(vec![]);
    let mut disabled = small.clone();
    let link = small.links.get_mut(&ETH0).unwrap();
    (link.mtu, link.ipv6_disabled) = (1279, true);
    disabled.links.get_mut(&ETH0).unwrap().ipv6_disabled = true;
    for (observed, why) in [
        (small, Refusal::MtuTooSmall(1279)),
        (disabled, Refusal::Ipv6Disabled),
    ] {
        let plan = plan(&desired, &observed, &[]);
        assert_eq!(plan.add.len(), 1);
        assert_eq!(plan.refused, [((ETH0, net("2001:db8::100/128")), why)]);
    }
}

#[test]
fn a_link_that_is_gone_is_a_refusal_until_it_is_back() {
    let desired = [want("192.0.2.100/32")];
    let refused = plan(&desired, &Host::default(), &[]).refused;
    assert_eq!(refused[0].1, Refusal::NoLink);
    assert_eq!(plan(&desired, &host(vec![]), &[]).add.len(), 1);
}

#[test]
fn a_candidate_joins_the_group_of_an_ipv6_vip_by_a_cover_and_of_an_ipv4_vip_not_at_all() {
    let group = |vip| Wanted {
        kind: Kind::Group,
        ..want(vip)
    };
    let desired = [group("192.0.2.100/32"), group("2001:db8::12:3456/64")];
    let plan = plan(&desired, &host(vec![]), &[]);
    assert_eq!(plan.add.len(), 1);
    assert_eq!(plan.add[0].net, net("fe80:7876:6970:200:0:1:12:3456/128"));
}

#[test]
fn vips_of_one_group_share_a_cover() {
    let group = |vip| Wanted {
        kind: Kind::Group,
        ..want(vip)
    };
    let desired = [group("2001:db8:1::1/128"), group("2001:db8:2::1/128")];
    assert_eq!(plan(&desired, &host(vec![]), &[]).add.len(), 1);
}

#[test]
fn a_lifetime_is_refreshed_when_half_of_it_has_passed() {
    let wanted = Wanted {
        valid_lft: 300,
        ..want("192.0.2.100/32")
    };
    for (left, refreshed) in [(300, 0), (151, 0), (150, 1), (FOR_EVER, 1)] {
        let mut held = ours("192.0.2.100/32");
        held.valid_lft = left;
        let plan = plan(&[wanted], &host(vec![held]), &[]);
        assert_eq!(plan.replace.len(), refreshed, "{left} s left");
    }
}

#[test]
fn a_primary_address_stays_while_the_kernel_would_take_others_along() {
    let secondary = |mut address: Address| {
        address.flags |= IFA_F_SECONDARY;
        address
    };
    let observed = host(vec![
        ours("192.0.2.100/24"),
        secondary(foreign("192.0.2.7/24")),
    ]);
    let kept = plan(&[], &observed, &[]);
    assert!(kept.is_settled());
    assert_eq!(kept.refused[0].1, Refusal::TakesAlong(net("192.0.2.7/24")));

    let mut promoting = observed.clone();
    promoting.links.get_mut(&ETH0).unwrap().promote_secondaries = true;
    assert_eq!(plan(&[], &promoting, &[]).remove.len(), 1);

    // All of ours that go at once may go.
    let all_ours = host(vec![
        ours("192.0.2.100/24"),
        secondary(ours("192.0.2.101/24")),
    ]);
    assert_eq!(plan(&[], &all_ours, &[]).remove.len(), 2);
}
