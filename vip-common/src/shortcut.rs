//! The usual question, answered in place: untagged, of the shape that nearly all hosts send, for
//! a VIP that is confirmed, by a sender who claims no VIP.
//!
//! Whatever is unusual leaves the frame as it was and goes the general way of
//! [`crate::ingress`], which would have answered the usual question alike: a test compares them.
//! Nothing here is stricter or looser, it only copies less and asks the maps less.
//!
//! The frame is looked at in several steps, with look-ups between: what is held across a call, or
//! too much at once, goes to the stack, and without CAP_PERFMON the verifier puts a barrier of 15
//! to 25 ns behind such a write. Keys lie in the scratch area for the same reason.

use crate::{
    abi::{FOREVER, LinkEntry, SLOT_NEVER, VipEntry},
    arp,
    counter::Family,
    ethernet, nd,
    packet::{ARP_FRAME, NA_FRAME, Packet},
    tables::Tables,
    work::{MacWords, QuickKey, Work, is_group, is_station, mac_words},
};

/// Answers; false when the question is not a usual one, or none.
#[inline(always)]
pub fn answer<'a, P: Packet, T: Tables<'a>>(packet: P, tables: T, work: &mut Work) -> bool {
    match packet.head(|frame: &mut [u16; 7]| frame[6]) {
        Some(ethernet::ARP) => answer_arp(packet, tables, &mut work.quick),
        Some(ethernet::IPV6) => answer_solicitation(packet, tables, &mut work.quick),
        _ => false,
    }
}

/// Words of an ARP request without padding, and of its answer.
const ARP: usize = 21;
const ARP_ANSWER: usize = ARP_FRAME as usize / 2;
/// Words of a solicitation with one option, and of its answer.
const ND: usize = NA_FRAME as usize / 2;

#[inline(never)]
fn answer_arp<'a, P: Packet, T: Tables<'a>>(packet: P, tables: T, key: &mut QuickKey) -> bool {
    let ifindex = packet.ifindex();
    let asks = packet.head(|frame: &mut [u16; ARP]| {
        key.set_ipv4([frame[19], frame[20]], ifindex);
        arp::is_request(&[frame[7], frame[8], frame[9], frame[10]])
            && is_sender(frame, &[frame[11], frame[12], frame[13]])
            && (frame[14] ^ frame[19] | frame[15] ^ frame[20]) != 0
    });
    if asks != Some(true) {
        return false;
    }
    let Some(entry) = tables.vip_quick(key) else {
        return false;
    };
    let claims = packet.head(|frame: &mut [u16; ARP]| {
        key.set_ipv4([frame[14], frame[15]], packet.ifindex());
        (frame[14] | frame[15]) != 0
    });
    // A VIP that stands under no interface is never live: to claim it is no conflict.
    if claims == Some(true) && tables.vip_quick(key).is_some() {
        return false;
    }
    let to_us = packet.head(|frame: &mut [u16; ARP]| {
        let to_all = frame[0] & frame[1] & frame[2] == 0xffff;
        to_all || is_to_us(frame, entry)
    });
    if to_us != Some(true) || !is_confirmed(tables, entry) {
        return false;
    }
    let other = packet.head(|frame: &mut [u16; ARP]| !is_from_us(frame, entry));
    if other != Some(true) || !packet.resize(ARP_FRAME) {
        return false;
    }
    let answered = packet.head(|frame: &mut [u16; ARP_ANSWER]| {
        let mac = mac_words(&entry.mac);
        turn_round(frame, &mac);
        arp::answer_in_place(frame, &mac);
    });
    if answered.is_none() {
        return false;
    }
    tables.answered(entry, Family::Ipv4);
    true
}

#[inline(never)]
fn answer_solicitation<'a, P: Packet, T: Tables<'a>>(
    packet: P,
    tables: T,
    key: &mut QuickKey,
) -> bool {
    let ifindex = packet.ifindex();
    let asks = packet.head(|frame: &mut [u16; ND]| {
        key.set_ipv6(eight(frame, 31), ifindex);
        nd::is_solicitation(frame)
    });
    if asks != Some(true) {
        return false;
    }
    let Some(entry) = tables.vip_quick(key) else {
        return false;
    };
    packet.head(|frame: &mut [u16; ND]| key.set_ipv6(eight(frame, 11), packet.ifindex()));
    // A VIP that stands under no interface is never live: to claim it is no conflict.
    if tables.vip_quick(key).is_some() {
        return false;
    }
    let usual = packet.head(|frame: &mut [u16; ND]| {
        is_sender(frame, &[frame[40], frame[41], frame[42]]) && nd::is_usual_solicitation(frame)
    });
    if usual != Some(true) || packet.sum_solicitation() != Some(0xffff) {
        return false;
    }
    let to_us =
        packet.head(|frame: &mut [u16; ND]| is_group(&[frame[0], 0, 0]) || is_to_us(frame, entry));
    if to_us != Some(true) || !is_confirmed(tables, entry) {
        return false;
    }
    let other = packet.head(|frame: &mut [u16; ND]| !is_from_us(frame, entry));
    if other != Some(true) || !packet.resize(NA_FRAME) {
        return false;
    }
    let flags = nd::solicited_flags(tables.link_quick(key).is_some_and(LinkEntry::forwards));
    let answered = packet.head(|frame: &mut [u16; ND]| {
        let mac = mac_words(&entry.mac);
        turn_round(frame, &mac);
        nd::answer_in_place(frame, &mac, flags);
    });
    if answered.is_none() {
        return false;
    }
    tables.answered(entry, Family::Ipv6);
    true
}

/// The entry is confirmed, and nobody traces.
#[inline(always)]
fn is_confirmed<'a, T: Tables<'a>>(tables: T, entry: &VipEntry) -> bool {
    if tables.traced_until() == 0
        && let Some(lease) = tables.lease(entry.slot)
        && lease.deadline_boot_ns & lease.confirmed_boot_ns == FOREVER
    {
        // Static ownership needs no clock, which costs as much as a look-up.
        return entry.slot != SLOT_NEVER && lease.epoch == entry.epoch;
    }
    is_confirmed_now(tables, entry)
}

#[inline(never)]
fn is_confirmed_now<'a, T: Tables<'a>>(tables: T, entry: &VipEntry) -> bool {
    let now = tables.now();
    if entry.slot == SLOT_NEVER || now < tables.traced_until() {
        return false;
    }
    match tables.lease(entry.slot) {
        Some(lease) => {
            now < lease.deadline_boot_ns
                && lease.epoch == entry.epoch
                && now < lease.confirmed_boot_ns
        }
        None => false,
    }
}

/// The sender names the MAC address that it sends from, a station's.
#[inline(always)]
fn is_sender<const W: usize>(frame: &[u16; W], named: &MacWords) -> bool {
    let differs = named[0] ^ frame[3] | named[1] ^ frame[4] | named[2] ^ frame[5];
    differs == 0 && is_station(named)
}

#[inline(always)]
fn is_to_us<const W: usize>(frame: &[u16; W], entry: &VipEntry) -> bool {
    let mac = mac_words(&entry.mac);
    (frame[0] ^ mac[0] | frame[1] ^ mac[1] | frame[2] ^ mac[2]) == 0
}

#[inline(always)]
fn is_from_us<const W: usize>(frame: &[u16; W], entry: &VipEntry) -> bool {
    let mac = mac_words(&entry.mac);
    (frame[3] ^ mac[0] | frame[4] ^ mac[1] | frame[5] ^ mac[2]) == 0
}

/// Makes the sender the receiver, and us the sender.
#[inline(always)]
fn turn_round<const W: usize>(frame: &mut [u16; W], mac: &MacWords) {
    let mut at = 0;
    while at < 3 {
        frame[at] = frame[at + 3];
        frame[at + 3] = mac[at];
        at += 1;
    }
}

#[inline(always)]
fn eight<const W: usize>(frame: &[u16; W], at: usize) -> [u16; 8] {
    [
        frame[at],
        frame[at + 1],
        frame[at + 2],
        frame[at + 3],
        frame[at + 4],
        frame[at + 5],
        frame[at + 6],
        frame[at + 7],
    ]
}

#[cfg(test)]
mod tests;
