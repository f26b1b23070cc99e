//! What no frame, however odd, brings about. Frames are mutations of the golden ones; the
//! answers are taken apart by pnet.

#![expect(clippy::unwrap_used, reason = "the lint knows test functions only")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_base::MacAddr;
use pnet_packet::{
    Packet as _,
    arp::{ArpOperations, ArpPacket},
    ethernet::{EtherTypes, EthernetPacket},
    icmpv6::ndp::{NdpOptionTypes, NeighborAdvertPacket},
    ipv6::Ipv6Packet,
};
use proptest::prelude::*;
use tests::{
    golden::{
        Direction, cases, judge,
        mutate::{Dice, message, mutate, right_checksum},
        outcome::Outcome,
        world::{
            FENCED4, FENCED6, IFINDEX, LIVE4, LIVE6, OURS, OWN_LINK_LOCAL, OWN4, OWN6, State, VIP4,
            VIP6,
        },
    },
    model::Model,
};
use vip_common::{
    abi::{SLOT_NEVER, VipKey},
    counter::{Family, Verdict},
    packet::Action,
    work::Work,
};

const NOW: u64 = 600_000_000_000_000;

fn model(state: State) -> Model {
    Model::new(&state.contents(NOW), NOW)
}

/// The VIPs that vary and those that do not, all fenced alike.
fn all_fenced(state: State) -> Model {
    let mut contents = state.contents(NOW);
    let varying = contents.vips[&VipKey::new(IpAddr::V4(VIP4), IFINDEX)];
    for entry in contents.vips.values_mut() {
        (entry.slot, entry.epoch) = (varying.slot, varying.epoch);
    }
    Model::new(&contents, NOW)
}

fn judged(model: &Model, direction: Direction, frame: &[u8]) -> Outcome {
    judge(model, &mut Work::new(), direction, frame)
}

/// A mutated golden frame.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let originals: Vec<Vec<u8>> = cases().into_iter().map(|case| case.frame).collect();
    any::<u64>().prop_map(move |seed| mutate(&mut Dice::new(seed), &originals))
}

fn any_of<const N: usize>(states: [State; N]) -> impl Strategy<Value = State> {
    (0..N).prop_map(move |at| states[at])
}

/// States in which the VIP is fenced whatever its slot's epoch.
const FENCED: [State; 3] = [State::Fenced, State::Passed, State::OtherEpoch];
const LIVE: [State; 5] = [
    State::Confirmed,
    State::Static,
    State::Router,
    State::Unconfirmed,
    State::YieldVoid,
];

const VIPS4: [Ipv4Addr; 3] = [VIP4, LIVE4, FENCED4];
const VIPS6: [Ipv6Addr; 3] = [VIP6, LIVE6, FENCED6];

/// EtherType and offset of what follows the tags, as far as ingress looks: none in a VLAN.
fn behind_tags(frame: &[u8]) -> Option<(u16, usize)> {
    let mut at = 12;
    for _ in 0..3 {
        let kind = u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?);
        if kind != 0x8100 && kind != 0x88a8 {
            return Some((kind, at + 2));
        }
        let control = u16::from_be_bytes(frame.get(at + 2..at + 4)?.try_into().ok()?);
        if control & 0xfff != 0 {
            return None;
        }
        at += 4;
    }
    None
}

/// Which address the frame asks for, as pnet reads it.
fn asked(frame: &[u8]) -> Option<IpAddr> {
    let (kind, at) = behind_tags(frame)?;
    if kind == 0x0806 {
        let arp = ArpPacket::new(frame.get(at..at + 28)?)?;
        let (spa, tpa) = (arp.get_sender_proto_addr(), arp.get_target_proto_addr());
        return (arp.get_operation() == ArpOperations::Request && spa != tpa)
            .then_some(IpAddr::V4(tpa));
    }
    let ip = Ipv6Packet::new(frame.get(at..)?)?;
    let message = frame.get(at + 40..at + 64)?;
    (kind == 0x86dd && ip.get_next_header().0 == 58 && message[0] == 135).then(|| {
        let target: [u8; 16] = message[8..24].try_into().unwrap();
        IpAddr::from(target)
    })
}

fn is_vip(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => VIPS4.contains(&address),
        IpAddr::V6(address) => VIPS6.contains(&address),
    }
}

/// Makes the frame name other addresses, wherever it holds those of VIPs.
fn name_no_vip(frame: &mut [u8]) {
    let vips4 = VIPS4.map(|vip| vip.octets().to_vec());
    let vips6 = VIPS6.map(|vip| vip.octets().to_vec());
    for vip in vips4.iter().chain(&vips6) {
        for at in 0..frame.len() {
            if frame[at..].starts_with(vip) {
                frame[at + vip.len() - 1] ^= 0x80;
            }
        }
    }
}

/// Which address an untagged or priority-tagged frame claims to own, as pnet reads it.
fn claimed(frame: &[u8]) -> Option<IpAddr> {
    let (kind, at) = behind_tags(frame)?;
    if kind == 0x0806 {
        let arp = ArpPacket::new(frame.get(at..at + 28)?)?;
        let usual = matches!(arp.get_hardware_type().0, 1 | 6)
            && arp.get_protocol_type() == EtherTypes::Ipv4
            && (arp.get_hw_addr_len(), arp.get_proto_addr_len()) == (6, 4);
        return usual.then(|| IpAddr::V4(arp.get_sender_proto_addr()));
    }
    let ip = Ipv6Packet::new(frame.get(at..)?)?;
    if kind != 0x86dd || ip.get_next_header().0 != 58 {
        return None;
    }
    match frame.get(at + 40)? {
        133 if frame.len() >= at + 48 => Some(IpAddr::V6(ip.get_source())),
        135 if frame.len() >= at + 64 => Some(IpAddr::V6(ip.get_source())),
        136 => {
            let target: [u8; 16] = frame.get(at + 48..at + 64)?.try_into().ok()?;
            Some(IpAddr::from(target))
        }
        _ => None,
    }
}

/// What every frame that a program sends has in common.
fn check_answer(frame: &[u8]) -> Result<(), TestCaseError> {
    let ours = MacAddr::from(OURS);
    let ethernet = EthernetPacket::new(frame).unwrap();
    prop_assert_eq!(ethernet.get_source(), ours);
    prop_assert_ne!(ethernet.get_destination(), ours);
    match ethernet.get_ethertype() {
        EtherTypes::Arp => {
            prop_assert_eq!(frame.len(), 60);
            let arp = ArpPacket::new(ethernet.payload()).unwrap();
            prop_assert_eq!(arp.get_sender_hw_addr(), ours);
            prop_assert!(is_vip(IpAddr::V4(arp.get_sender_proto_addr())));
            prop_assert!(
                frame[42..].iter().all(|byte| *byte == 0),
                "padding is not zero"
            );
            let reply = arp.get_operation() == ArpOperations::Reply;
            prop_assert_eq!(reply, !ethernet.get_destination().is_broadcast());
            prop_assert!(!ethernet.get_destination().is_multicast() || !reply);
        }
        EtherTypes::Ipv6 => {
            prop_assert_eq!(frame.len(), 86);
            let ip = Ipv6Packet::new(ethernet.payload()).unwrap();
            prop_assert_eq!((ip.get_version(), ip.get_hop_limit()), (6, 255));
            prop_assert_eq!((ip.get_payload_length(), ip.get_next_header().0), (32, 58));
            let advert = NeighborAdvertPacket::new(ip.payload()).unwrap();
            prop_assert_eq!(
                (advert.get_icmpv6_type().0, advert.get_icmpv6_code().0),
                (136, 0)
            );
            prop_assert_eq!(advert.get_target_addr(), ip.get_source());
            prop_assert!(is_vip(IpAddr::V6(ip.get_source())));
            let sum = right_checksum(frame).map(|sum| if sum == 0 { 0xffff } else { sum });
            prop_assert_eq!(Some(advert.get_checksum()), sum);
            let option = &advert.get_options()[0];
            prop_assert_eq!(option.option_type, NdpOptionTypes::TargetLLAddr);
            prop_assert_eq!(option.data.as_slice(), OURS.as_slice());
            // RFC 4861, 4.4: not solicited when sent to a group.
            let solicited = advert.get_flags() & 0x40 != 0;
            prop_assert_eq!(solicited, !ip.get_destination().is_multicast());
            prop_assert_eq!(solicited, !ethernet.get_destination().is_multicast());
        }
        other => prop_assert!(false, "sent {other}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_fenced_vip_never_answers(frame in frame(), state in any_of(FENCED)) {
        let outcome = judged(&all_fenced(state), Direction::In, &frame);
        prop_assert_ne!(outcome.action, Action::Transmit);
        prop_assert_eq!(outcome.answers, 0);
        if asked(&frame).is_some_and(is_vip) {
            prop_assert_eq!(outcome.action, Action::Drop);
        }
    }

    #[test]
    fn ingress_sends_well_formed_answers_or_leaves_the_frame_alone(
        frame in frame(), state in any_of(LIVE),
    ) {
        let outcome = judged(&model(state), Direction::In, &frame);
        match (outcome.action, outcome.frame) {
            (Action::Transmit, Some(answer)) => check_answer(&answer)?,
            // A frame that already was what is sent.
            (Action::Transmit, None) => prop_assert!(false, "sent {frame:02x?} back"),
            (_, after) => prop_assert_eq!(after, None, "modified, and not sent"),
        }
    }

    #[test]
    fn a_live_vip_is_never_dropped(frame in frame(), state in any_of(LIVE)) {
        let mut contents = state.contents(NOW);
        contents.vips.retain(|_, entry| entry.slot != SLOT_NEVER);
        let outcome = judged(&Model::new(&contents, NOW), Direction::In, &frame);
        // Not even by a yield: only a frame that yields the very VIP that it asks for is.
        if outcome.action == Action::Drop {
            prop_assert!(outcome.counted.contains(&(Verdict::Yielded, Family::Ipv6)));
            prop_assert_eq!(asked(&frame), claimed(&frame));
        }
    }

    #[test]
    fn a_frame_that_names_no_vip_is_not_touched(
        mut frame in frame(), state in any_of(State::ALL), out in any::<bool>(),
    ) {
        name_no_vip(&mut frame);
        let direction = if out { Direction::Out } else { Direction::In };
        prop_assert_eq!(judged(&model(state), direction, &frame), Outcome::untouched());
    }

    #[test]
    fn random_bytes_are_not_touched(
        mut frame in prop::collection::vec(any::<u8>(), 0..300), state in any_of(State::ALL),
    ) {
        name_no_vip(&mut frame);
        for direction in [Direction::In, Direction::Out] {
            prop_assert_eq!(judged(&model(state), direction, &frame), Outcome::untouched());
        }
    }

    #[test]
    fn a_fenced_vip_never_leaves_in_a_claim(frame in frame(), state in any_of(FENCED)) {
        let outcome = judged(&all_fenced(state), Direction::Out, &frame);
        prop_assert_ne!(outcome.action, Action::Transmit);
        if outcome.action == Action::Pass {
            let left = outcome.frame.as_ref().unwrap_or(&frame);
            prop_assert!(!claimed(left).is_some_and(is_vip), "{left:02x?} leaves");
        }
    }

    #[test]
    fn a_rewritten_frame_keeps_all_but_sender_and_checksum(
        frame in frame(), state in any_of(FENCED),
    ) {
        let outcome = judged(&all_fenced(state), Direction::Out, &frame);
        let Some(after) = outcome.frame else { return Ok(()) };
        prop_assert_eq!(after.len(), frame.len());
        prop_assert_eq!(outcome.counted.len(), 1);
        let own = claimed(&after);
        let known = [IpAddr::V4(OWN4), IpAddr::V6(OWN6), IpAddr::V6(OWN_LINK_LOCAL)];
        let (_, at) = behind_tags(&after).unwrap();
        let changed: Vec<usize> = (0..frame.len()).filter(|at| frame[*at] != after[*at]).collect();
        if after[at - 1] == 0x06 {
            prop_assert!(own.is_some_and(|own| known.contains(&own)));
            prop_assert!(changed.iter().all(|byte| (at + 14..at + 18).contains(byte)));
            return Ok(());
        }
        let (Some(before), Some(message)) = (message(&frame), message(&after)) else {
            return Ok(());
        };
        let sum = message.start + 2..message.start + 4;
        prop_assert!(
            changed.iter().all(|byte| (at + 8..at + 24).contains(byte) || sum.contains(byte))
        );
        let stored = |frame: &[u8]| u16::from_be_bytes([frame[sum.start], frame[sum.start + 1]]);
        if right_checksum(&frame) == Some(stored(&frame)) && before == message {
            let right = right_checksum(&after).unwrap();
            // 0 and ffff are the same number in one's complement.
            prop_assert!(right == stored(&after) || (right == 0 && stored(&after) == 0xffff));
        }
    }
}
