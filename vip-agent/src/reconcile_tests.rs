use vip_common::abi::SLOT_SESSION;

use std::collections::HashMap;

use super::*;
use crate::{
    host::{Address, FOR_EVER, IFA_F_NODAD, IFA_F_NOPREFIXROUTE, IFA_PROTO_XVIP, Link},
    vip::{IfIndex, Mac},
};

const VIP: &str = "192.0.2.100";
const CLAIM: Claim = Claim {
    slot: SLOT_SESSION,
    epoch: 7,
    yields_void_before_ns: 0,
};

fn host() -> Host {
    let link = |ifindex: IfIndex, mtu| Link {
        ifindex,
        name: format!("eth{ifindex}"),
        mac: Some(Mac([2, 0, 0, 0, 0, ifindex as u8])),
        up: true,
        carrier: true,
        mtu,
        ..Link::default()
    };
    let links = [link(2, 1500), link(3, 1500), link(4, 1000)];
    Host {
        links: links.map(|link| (link.ifindex, link)).into(),
        ..Host::default()
    }
}

fn at(vip: &str, ifindex: IfIndex) -> Placement {
    let vip: std::net::IpAddr = vip.parse().unwrap();
    let home = Home {
        ifindex,
        net: vip.into(),
        note: None,
        carrier: true,
    };
    Placement {
        vip,
        home: Ok(home),
    }
}

fn planned(desired: &[Placement], programmed: &Programmed, host: &Host) -> Plan {
    planned_by(&Rights::Everything(CLAIM), desired, programmed, host)
}

fn planned_by(
    rights: &Rights,
    desired: &[Placement],
    programmed: &Programmed,
    host: &Host,
) -> Plan {
    let policy = BindPolicy {
        held: Kind::Bind,
        valid_lft: FOR_EVER,
        adopt: &[],
    };
    let mut counters = CounterIndices::continuing(programmed);
    plan(desired, rights, policy, programmed, host, &mut counters)
}

/// The maps and addresses after a plan was carried out.
fn carried_out(plan: &Plan, programmed: &Programmed, host: &Host) -> (Programmed, Host) {
    let (mut programmed, mut host) = (programmed.clone(), host.clone());
    programmed.extend(
        plan.fence
            .iter()
            .chain(&plan.program)
            .chain(&plan.complete)
            .copied(),
    );
    for key in &plan.remove {
        programmed.remove(key);
    }
    for change in &plan.binding.add {
        let link = host.links.get_mut(&change.ifindex).unwrap();
        link.addresses.push(Address {
            net: change.net,
            proto: IFA_PROTO_XVIP,
            flags: IFA_F_NODAD | IFA_F_NOPREFIXROUTE,
            label: None,
            valid_lft: FOR_EVER,
            preferred_lft: 0,
        });
    }
    for change in &plan.binding.remove {
        let link = host.links.get_mut(&change.ifindex).unwrap();
        link.addresses.retain(|address| address.net != change.net);
    }
    (programmed, host)
}

#[test]
fn a_new_vip_is_programmed_silent_then_bound_then_live_and_nothing_is_left_to_do() {
    let plan = planned(&[at(VIP, 2)], &Programmed::new(), &host());
    assert!(
        plan.program
            .iter()
            .all(|(_, entry)| entry.slot == SLOT_NEVER)
    );
    assert_eq!(
        plan.program.len(),
        2,
        "its interface, and the rest of the node"
    );
    let [(key, entry)] = plan.complete[..] else {
        panic!("{:?}", plan.complete)
    };
    assert_eq!((key.ifindex, entry.slot, entry.epoch), (2, SLOT_SESSION, 7));
    assert_eq!(entry.mac, [2, 0, 0, 0, 0, 2]);
    assert_eq!(
        plan.place_of(&key),
        Some((2, "192.0.2.100/32".parse().unwrap()))
    );

    let (programmed, host) = carried_out(&plan, &Programmed::new(), &host());
    assert!(planned(&[at(VIP, 2)], &programmed, &host).is_settled());
}

#[test]
fn a_vip_waits_for_its_own_address_and_not_for_all_that_are_bound_with_it() {
    let vips = ["192.0.2.100", "192.0.2.101", "2001:db8::1", "2001:db8::2"].map(|vip| at(vip, 2));
    let bound = planned(&vips[..1], &Programmed::new(), &host());
    let (_, host) = carried_out(&bound, &Programmed::new(), &host());
    let plan = planned(&vips, &Programmed::new(), &host);
    let (wanted, _) = plan.binding.in_two();
    let parts = plan.in_parts(&wanted, 2);
    let sizes: Vec<usize> = parts.iter().map(|part| part.bind.len()).collect();
    assert_eq!(sizes, [0, 2, 1]);
    for (part, at_home) in parts.iter().zip([1, 2, 1]) {
        assert_eq!(part.complete.len(), at_home, "{parts:?}");
        let bound: HashSet<Place> = part.bind.iter().map(AddressChange::place).collect();
        for (key, _) in &part.complete {
            assert!(bound.is_empty() || bound.contains(&plan.place_of(key).unwrap()));
        }
    }
    assert_eq!(parts[0].complete[0].0.ip(), vips[0].vip);
    assert_eq!(
        plan.in_parts(&[], 2).len(),
        1,
        "nothing to bind, all to complete"
    );
}

#[test]
fn a_vip_that_moves_is_fenced_on_the_old_interface_before_it_is_live_on_the_new_one() {
    let first = planned(&[at(VIP, 2)], &Programmed::new(), &host());
    let (programmed, host) = carried_out(&first, &Programmed::new(), &host());
    let plan = planned(&[at(VIP, 3)], &programmed, &host);
    let [(fenced, entry)] = plan.fence[..] else {
        panic!("{:?}", plan.fence)
    };
    assert_eq!((fenced.ifindex, entry.slot), (2, SLOT_NEVER));
    assert_eq!(plan.remove, [fenced]);
    assert_eq!(plan.binding.remove.len(), 1);
    assert_eq!(
        plan.complete
            .iter()
            .map(|(key, _)| key.ifindex)
            .collect::<Vec<_>>(),
        [3]
    );
}

#[test]
fn a_vip_that_goes_is_fenced_unbound_and_forgotten() {
    let first = planned(&[at(VIP, 2)], &Programmed::new(), &host());
    let (programmed, host) = carried_out(&first, &Programmed::new(), &host());
    let plan = planned(&[], &programmed, &host);
    assert_eq!(plan.fence.len(), 1);
    assert_eq!(plan.remove.len(), 2);
    let (programmed, host) = carried_out(&plan, &programmed, &host);
    assert!(programmed.is_empty());
    assert!(planned(&[], &programmed, &host).is_settled());
}

#[test]
fn an_ipv6_vip_is_silent_where_the_mtu_takes_ipv6_away_and_live_again_afterwards() {
    let vip = "2001:db8::100";
    let plan = planned(&[at(vip, 4)], &Programmed::new(), &host());
    assert!(plan.complete.is_empty(), "the kernel cannot serve it");
    let (programmed, mut host) = carried_out(&plan, &Programmed::new(), &host());
    host.links.get_mut(&4).unwrap().mtu = 1280;
    assert_eq!(planned(&[at(vip, 4)], &programmed, &host).complete.len(), 1);
}

#[test]
fn a_new_mac_address_is_written_into_the_live_entry() {
    let first = planned(&[at(VIP, 2)], &Programmed::new(), &host());
    let (programmed, mut host) = carried_out(&first, &Programmed::new(), &host());
    host.links.get_mut(&2).unwrap().mac = Some(Mac([6; 6]));
    let plan = planned(&[at(VIP, 2)], &programmed, &host);
    assert!(plan.fence.is_empty(), "it is answered all the while");
    assert_eq!(plan.complete[0].1.mac, [6; 6]);
}

#[test]
fn a_refused_vip_is_not_programmed_at_all() {
    // It is an address of the node itself: an entry would silence the node.
    let refused = Placement {
        vip: VIP.parse().unwrap(),
        home: Err(crate::desired::Homeless::NoInterface),
    };
    let plan = planned(&[refused], &Programmed::new(), &host());
    assert!(plan.is_settled());
}

#[test]
fn an_address_that_is_bound_already_is_not_silenced_while_it_is_taken_over() {
    let first = planned(&[at(VIP, 2)], &Programmed::new(), &host());
    let (_, host) = carried_out(&first, &Programmed::new(), &host());
    let plan = planned(&[at(VIP, 2)], &Programmed::new(), &host);
    let slots: Vec<_> = (plan.program.iter())
        .map(|(key, entry)| (key.ifindex, entry.slot))
        .collect();
    // Its own interface first: until then the entry of all others would be taken.
    assert_eq!(slots, [(2, SLOT_SESSION), (ANY_INTERFACE, SLOT_NEVER)]);
}

#[test]
fn a_vip_without_a_right_is_programmed_fenced_and_only_its_group_is_joined() {
    let none = Rights::Granted(HashMap::new());
    let (host, programmed) = (host(), Programmed::new());
    let desired = [at(VIP, 2), at("2001:db8::100", 2)];
    let plan = planned_by(&none, &desired, &programmed, &host);
    let (programmed, host) = carried_out(&plan, &programmed, &host);
    assert_eq!(programmed.len(), 4);
    assert!(programmed.values().all(|entry| entry.slot == SLOT_NEVER));
    let bound = &host.links[&2].addresses;
    let mac = host.links[&2].mac.unwrap();
    let cover = binding::cover("2001:db8::100".parse().unwrap(), mac);
    assert_eq!(bound.iter().map(|a| a.net).collect::<Vec<_>>(), [cover]);
    assert!(planned_by(&none, &desired, &programmed, &host).is_settled());
}

#[test]
fn a_right_that_comes_binds_and_goes_live_and_one_that_goes_fences_and_unbinds() {
    let none = Rights::Granted(HashMap::new());
    let vip: std::net::IpAddr = VIP.parse().unwrap();
    let some = Rights::Granted(HashMap::from([(vip, CLAIM)]));
    let desired = [at(VIP, 2)];
    let fenced = planned_by(&none, &desired, &Programmed::new(), &host());
    let (programmed, host) = carried_out(&fenced, &Programmed::new(), &host());
    let gain = planned_by(&some, &desired, &programmed, &host);
    assert_eq!(gain.binding.add.len(), 1);
    assert_eq!(gain.complete.len(), 1);
    let (programmed, host) = carried_out(&gain, &programmed, &host);
    let loss = planned_by(&none, &desired, &programmed, &host);
    assert_eq!(loss.fence.len(), 1);
    assert_eq!(loss.binding.remove.len(), 1);
    assert!(loss.remove.is_empty(), "it stays known");
}

#[test]
fn a_plan_made_before_all_vips_are_known_leaves_the_others_as_they_are() {
    let desired = [at(VIP, 2), at("192.0.2.101", 2), at("2001:db8::100", 2)];
    let first = planned(&desired, &Programmed::new(), &host());
    let (programmed, host) = carried_out(&first, &Programmed::new(), &host());
    let known: HashSet<IpAddr> = [VIP.parse().unwrap()].into();
    let mut plan = planned(&[at(VIP, 2)], &programmed, &host);
    assert!(!plan.is_settled());
    plan.confine(&known);
    assert!(plan.is_settled(), "{plan:?}");
    // What is known is withdrawn all the same.
    let none = Rights::Granted(HashMap::new());
    let mut plan = planned_by(&none, &[at(VIP, 2)], &programmed, &host);
    plan.confine(&known);
    assert_eq!((plan.fence.len(), plan.binding.remove.len()), (1, 1));
    assert!(plan.remove.is_empty());
}
