//! Any frame, over a handful of VIPs in every state: nothing panics, what is sent is well formed,
//! and a frame that is not sent keeps its length.
//!
//! Input: a byte that chooses state and direction, then the frame.
#![no_main]

use std::{
    cell::RefCell,
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use libfuzzer_sys::fuzz_target;
use vip_common::{
    abi::{ANY_INTERFACE, EventKind, LeaseSlot, LinkEntry, VipEntry, VipKey, VipState},
    counter::{Family, Verdict},
    egress::egress,
    ingress::ingress,
    packet::{ARP_FRAME, Action, NA_FRAME, Packet},
    shape::Shape,
    slice::{FRAME_MAX, Frame},
    tables::{Tables, VipCount},
    work::{Key, MacWords, Work},
};

const NOW: u64 = 1_000_000_000_000;
const IFINDEX: u32 = 1;
const MAC: [u8; 6] = [2, 0xaa, 0, 0, 0, 1];
const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, 0x100);

/// The least that the decision needs: no interval, no bucket.
struct Maps {
    vips: HashMap<VipKey, VipEntry>,
    lease: LeaseSlot,
    link: LinkEntry,
    states: RefCell<HashMap<VipKey, VipState>>,
}

impl Maps {
    fn new(choice: u8) -> Self {
        let confirmed = if choice & 1 != 0 { NOW + 1 } else { NOW - 1 };
        let deadline = if choice & 2 != 0 { NOW + 1 } else { NOW };
        let ifindex = if choice & 4 != 0 {
            IFINDEX
        } else {
            ANY_INTERFACE
        };
        let entry = VipEntry {
            mac: MAC,
            slot: u16::from(choice & 8 != 0),
            ..VipEntry::default()
        };
        let own = if choice & 16 != 0 {
            [0xfd; 16]
        } else {
            [0; 16]
        };
        Self {
            vips: [IpAddr::V4(VIP4), IpAddr::V6(VIP6)]
                .map(|vip| (VipKey::new(vip, ifindex), entry))
                .into(),
            lease: LeaseSlot {
                deadline_boot_ns: deadline,
                confirmed_boot_ns: confirmed,
                epoch: 0,
            },
            link: LinkEntry {
                ipv6: own,
                flags: LinkEntry::FORWARDING,
                ..LinkEntry::default()
            },
            states: RefCell::default(),
        }
    }

    fn is_live(choice: u8) -> bool {
        choice & 14 == 14
    }
}

impl<'a> Tables<'a> for &'a Maps {
    fn now(self) -> u64 {
        NOW
    }

    fn vip(self, key: &Key) -> Option<&'a VipEntry> {
        self.vips.get(&key.vip_key())
    }

    fn lease(self, _slot: u16) -> Option<LeaseSlot> {
        Some(self.lease)
    }

    fn state(self, key: &Key) -> Option<VipState> {
        self.states.borrow().get(&key.vip_key()).copied()
    }

    fn note_yield(self, key: &Key, now: u64, confirmed: u64) -> bool {
        let mut states = self.states.borrow_mut();
        let state = states.entry(key.vip_key()).or_default();
        state.yield_at_ns = now;
        state.yield_confirmed_ns = confirmed;
        true
    }

    fn take_interval(self, _key: &Key, _now: u64) -> bool {
        true
    }

    fn take_bucket(self, _ifindex: u32, _now: u64) -> bool {
        true
    }

    fn is_host_mac(self, mac: &MacWords) -> bool {
        mac[2] == 0
    }

    fn link(self, _ifindex: u32) -> Option<&'a LinkEntry> {
        Some(&self.link)
    }

    fn count(self, _verdict: Verdict, _family: Family) {}

    fn count_vip(self, _entry: &VipEntry, _what: VipCount) {}

    fn report(self, _work: &Work, _rival: &MacWords, _kind: EventKind, _announce: bool, _now: u64) {
    }

    fn trace<P: Packet>(self, _: P, _: &Work, _: Verdict, _: Shape, _: u64) {}
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    if bytes.len() > FRAME_MAX {
        return;
    }
    let maps = Maps::new(*choice);
    let mut buffer = [0; FRAME_MAX];
    buffer[..bytes.len()].copy_from_slice(bytes);
    let frame = Frame::new(IFINDEX, &mut buffer, bytes.len());
    let leaves = choice & 32 != 0;
    let action = if leaves {
        egress(&frame, &maps, &mut Work::new())
    } else {
        ingress(&frame, &maps, &mut Work::new())
    };
    let length = frame.len();
    let after = &buffer[..length];
    match action {
        Action::Transmit => {
            assert!(!leaves && Maps::is_live(*choice));
            assert_eq!(after[6..12], MAC);
            let wanted = if after[12] == 0x08 {
                ARP_FRAME
            } else {
                NA_FRAME
            };
            assert_eq!(length, wanted as usize);
        }
        Action::Pass if leaves => assert_eq!(length, bytes.len()),
        Action::Pass => assert_eq!(after, bytes),
        Action::Drop => {}
    }
});
