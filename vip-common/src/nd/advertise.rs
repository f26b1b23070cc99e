//! Advertisements of ours (RFC 4861, 4.4): answers and announcements.

use super::{ADVERTISEMENT, FF02, L2_MULTICAST, ONE, OVERRIDE, asks_from_nowhere, source};
use crate::{
    checksum, ethernet,
    work::{MacWords, Work},
};

const ROUTER: u16 = 0x8000u16.to_be();
const SOLICITED: u16 = 0x4000u16.to_be();

/// Puts the answer to the solicitation into `work.reply`.
#[inline(always)]
pub fn build_answer(work: &mut Work, mac: &MacWords, router: bool) {
    if asks_from_nowhere(work) {
        build(
            work,
            mac,
            &ALL_NODES_MAC,
            &ALL_NODES,
            OVERRIDE | router_flag(router),
            false,
        );
    } else {
        let to = work.source();
        let requester = *source(work);
        let flags = solicited_flags(router);
        build(work, mac, &to, &requester, flags, false);
    }
}

/// Puts an unsolicited advertisement for the claimed VIP into `work.reply` (RFC 4861, 7.2.6).
#[inline(always)]
pub fn build_announcement(work: &mut Work, mac: &MacWords, router: bool) {
    build(
        work,
        mac,
        &ALL_NODES_MAC,
        &ALL_NODES,
        OVERRIDE | router_flag(router),
        true,
    );
}

const ALL_NODES: [u16; 8] = [FF02, 0, 0, 0, 0, 0, 0, ONE];
const ALL_NODES_MAC: MacWords = [L2_MULTICAST, 0, ONE];

#[inline(always)]
const fn router_flag(router: bool) -> u16 {
    if router { ROUTER } else { 0 }
}

#[inline(always)]
fn build(
    work: &mut Work,
    mac: &MacWords,
    to_mac: &MacWords,
    to: &[u16; 8],
    flags: u16,
    claimed: bool,
) {
    let vip = if claimed {
        work.claim.words
    } else {
        work.ask.words
    };
    let reply = &mut work.reply;
    let mut at = 0;
    while at < 3 {
        reply[at] = to_mac[at];
        reply[at + 3] = mac[at];
        reply[at + 40] = mac[at];
        at += 1;
    }
    reply[6] = ethernet::IPV6;
    reply[7] = 0x6000u16.to_be();
    reply[8] = 0;
    reply[9] = 32u16.to_be();
    reply[10] = 0x3affu16.to_be();
    at = 0;
    while at < 8 {
        reply[at + 11] = vip[at];
        reply[at + 19] = to[at];
        reply[at + 31] = vip[at];
        at += 1;
    }
    reply[27] = (ADVERTISEMENT as u16 * 256).to_be();
    reply[29] = flags;
    reply[30] = 0;
    reply[39] = 0x0201u16.to_be();
    let mut total = checksum::icmpv6_rest(32) + reply[27] as u64 + flags as u64 + reply[39] as u64;
    at = 0;
    while at < 8 {
        total += vip[at] as u64 * 2 + to[at] as u64;
        at += 1;
    }
    total += mac[0] as u64 + mac[1] as u64 + mac[2] as u64;
    reply[28] = checksum::of(total);
}

/// Flags of the answer to a solicitation from a specified source.
#[inline(always)]
pub fn solicited_flags(router: bool) -> u16 {
    SOLICITED | OVERRIDE | router_flag(router)
}

/// Turns a usual solicitation, whose Ethernet header is the answer's, into the answer.
#[inline(always)]
pub fn answer_in_place(frame: &mut [u16; 43], mac: &MacWords, flags: u16) {
    // First what needs the MAC address: the verifier makes it dear to hold more than it must.
    let mut total = checksum::icmpv6_rest(32);
    let mut at = 0;
    while at < 3 {
        frame[40 + at] = mac[at];
        total += mac[at] as u64;
        at += 1;
    }
    frame[7] = 0x6000u16.to_be();
    frame[8] = 0;
    frame[27] = u16::from_ne_bytes([ADVERTISEMENT, 0]);
    frame[29] = flags;
    frame[30] = 0;
    frame[39] = 0x0201u16.to_be();
    total += frame[27] as u64 + flags as u64 + frame[39] as u64;
    at = 0;
    while at < 8 {
        let (requester, vip) = (frame[11 + at], frame[31 + at]);
        frame[19 + at] = requester;
        frame[11 + at] = vip;
        total += vip as u64 * 2 + requester as u64;
        at += 1;
    }
    frame[28] = checksum::of(total);
}
