use std::{cell::RefCell, net::Ipv6Addr, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    abi::{EventKind, LeaseSlot, SLOT_SESSION, VipKey, VipState},
    checksum,
    counter::Verdict,
    ingress::ingress,
    packet::Action,
    slice::Frame,
    tables::VipCount,
    trace::Decision,
    work::Key,
};

const IFINDEX: u32 = 7;
const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 0xc];
const NOW: u64 = 1_000;
const VIP4: [u8; 4] = [192, 0, 2, 100];
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// What happened to the maps.
#[derive(Debug, PartialEq)]
enum Effect {
    Counted(Verdict, Family),
    CountedVip(VipCount),
    Yield(Key),
    Interval(Key),
    Reported(EventKind),
}

struct Maps {
    vips: Vec<(VipKey, VipEntry)>,
    lease: LeaseSlot,
    link: LinkEntry,
    shortcut: bool,
    effects: RefCell<Vec<Effect>>,
}

impl Maps {
    fn note(&self, effect: Effect) {
        self.effects.borrow_mut().push(effect);
    }
}

impl<'a> Tables<'a> for &'a Maps {
    fn now(self) -> u64 {
        NOW
    }
    fn vip(self, key: &Key) -> Option<&'a VipEntry> {
        let key = key.vip_key();
        let found = self.vips.iter().find(|(vip, _)| *vip == key);
        found.map(|(_, entry)| entry)
    }
    fn lease(self, slot: u16) -> Option<LeaseSlot> {
        (slot == SLOT_SESSION).then_some(self.lease)
    }
    fn state(self, _key: &Key) -> Option<VipState> {
        None
    }
    fn note_yield(self, key: &Key, _now: u64, _confirmed: u64) -> bool {
        self.note(Effect::Yield(*key));
        true
    }
    fn take_interval(self, key: &Key, _now: u64) -> bool {
        self.note(Effect::Interval(*key));
        true
    }
    fn take_bucket(self, _ifindex: u32, _now: u64) -> bool {
        true
    }
    fn is_host_mac(self, _mac: &MacWords) -> bool {
        false
    }
    fn link(self, ifindex: u32) -> Option<&'a LinkEntry> {
        (ifindex == IFINDEX).then_some(&self.link)
    }
    fn count(self, verdict: Verdict, family: Family) {
        self.note(Effect::Counted(verdict, family));
    }
    fn count_vip(self, _entry: &VipEntry, what: VipCount) {
        self.note(Effect::CountedVip(what));
    }
    fn traced_until(self) -> u64 {
        if self.shortcut { 0 } else { u64::MAX }
    }
    fn report(self, _: &Work, _: &MacWords, kind: EventKind, _: bool, _: u64) {
        self.note(Effect::Reported(kind));
    }
    fn trace<P: Packet>(self, _: P, _: Decision<'_>, _: u64) {}
}

fn ethernet(to: [u8; 6], ether_type: u16) -> Vec<u8> {
    [&to[..], &CLIENT, &ether_type.to_be_bytes()].concat()
}

fn request(to: [u8; 6], sender: [u8; 4], length: usize) -> Vec<u8> {
    let mut frame = ethernet(to, 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend([&CLIENT[..], &sender, &[0xff; 6], &VIP4].concat());
    frame.resize(length, 0xaa);
    frame
}

fn solicitation(to: [u8; 6], source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let mut frame = ethernet(to, 0x86dd);
    frame.extend([0x60, 1, 2, 3, 0, 32, 58, 255]);
    frame.extend([source.octets(), destination.octets()].concat());
    frame.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    frame.extend([&VIP6.octets()[..], &[1, 1], &CLIENT].concat());
    set_checksum(&mut frame);
    frame
}

fn set_checksum(frame: &mut [u8]) {
    frame[56..58].fill(0);
    let words: Vec<u16> = frame[22..86]
        .chunks_exact(2)
        .map(|pair| u16::from_ne_bytes([pair[0], pair[1]]))
        .collect();
    let sum = u64::from(checksum::sum(&words)) + checksum::icmpv6_rest(32);
    frame[56..58].copy_from_slice(&(!checksum::fold(sum)).to_ne_bytes());
}

fn maps(shortcut: bool, lease: LeaseSlot, others: &[(VipKey, u16)]) -> Maps {
    let entry = |slot| VipEntry {
        mac: OURS,
        slot,
        epoch: 3,
        ..VipEntry::default()
    };
    let own =
        [VIP4.into(), VIP6.into()].map(|vip| (VipKey::new(vip, IFINDEX), entry(SLOT_SESSION)));
    let others = others.iter().map(|(key, slot)| (*key, entry(*slot)));
    Maps {
        vips: others.chain(own).collect(),
        lease,
        link: LinkEntry {
            flags: LinkEntry::FORWARDING,
            ..LinkEntry::default()
        },
        shortcut,
        effects: RefCell::default(),
    }
}

/// What becomes of a frame, and of the maps.
fn judge(maps: &Maps, frame: &[u8]) -> (Action, Vec<u8>) {
    let mut buffer = [0; 256];
    buffer[..frame.len()].copy_from_slice(frame);
    let packet = Frame::new(IFINDEX, &mut buffer, frame.len());
    let action = ingress(&packet, maps, &mut Work::new());
    let length = packet.len();
    (action, buffer[..length].to_vec())
}

const LIVE: LeaseSlot = LeaseSlot {
    deadline_boot_ns: FOREVER,
    confirmed_boot_ns: FOREVER,
    epoch: 3,
};

fn usual_questions() -> [Vec<u8>; 7] {
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0x100);
    [
        request([0xff; 6], [192, 0, 2, 1], 42),
        request([0xff; 6], [192, 0, 2, 1], 60),
        request(OURS, [192, 0, 2, 1], 90),
        request([0xff; 6], [0; 4], 60),
        solicitation([0x33, 0x33, 0xff, 0, 1, 0], CLIENT6, group),
        solicitation(OURS, CLIENT6, group),
        solicitation(OURS, CLIENT6, VIP6),
    ]
}

#[test]
fn every_usual_question_takes_the_shortcut() {
    for frame in usual_questions() {
        let maps = maps(true, LIVE, &[]);
        let mut buffer = [0; 256];
        buffer[..frame.len()].copy_from_slice(&frame);
        let packet = Frame::new(IFINDEX, &mut buffer, frame.len());
        assert!(answer(&packet, &maps, &mut Work::new()), "{frame:02x?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_shortcut_does_what_the_general_way_does(
        which in 0..7usize,
        changes in prop::collection::vec((0..90usize, any::<u8>()), 0..4),
        repair in any::<bool>(),
        cut in prop::option::of(0..100usize),
        deadline in prop::sample::select(vec![0, NOW, NOW + 1, FOREVER]),
        confirmed in prop::sample::select(vec![0, NOW, NOW + 1, FOREVER]),
        epoch in 2..4u64,
        claimed in prop::option::of((any::<bool>(), 0..2u16)),
    ) {
        let mut frame = usual_questions()[which].clone();
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        if repair && which > 3 {
            set_checksum(&mut frame);
        }
        if let Some(length) = cut {
            frame.resize(length, 0);
        }
        let lease = LeaseSlot { deadline_boot_ns: deadline, confirmed_boot_ns: confirmed, epoch };
        let mut others = Vec::new();
        if let Some((here, slot)) = claimed {
            let ifindex = if here { IFINDEX } else { 0 };
            others.push((VipKey::new([192, 0, 2, 1].into(), ifindex), slot));
            others.push((VipKey::new(CLIENT6.into(), ifindex), slot));
        }
        let (short, general) = (maps(true, lease, &others), maps(false, lease, &others));
        prop_assert_eq!(judge(&short, &frame), judge(&general, &frame));
        prop_assert_eq!(short.effects.take(), general.effects.take());
    }
}
