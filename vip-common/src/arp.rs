//! ARP over Ethernet (RFC 826, RFC 5227).
//!
//! ```text
//!  0      2      4    5    6      8           14         18          24         28
//!  +------+------+----+----+------+-----------+----------+-----------+----------+
//!  | htype| ptype|hlen|plen| oper |    SHA    |   SPA    |    THA    |   TPA    |
//!  | 1    | 0800 | 6  | 4  |      |           |          |           |          |
//!  +------+------+----+----+------+-----------+----------+-----------+----------+
//!  word 0    1      2        3      4  5  6     7    8     9  10  11   12   13
//! ```

use crate::{
    ethernet,
    packet::Packet,
    shape::Shape,
    work::{BROADCAST, Claim, MacWords, Work, is_group, is_station},
};

const ETHERNET: u16 = 1u16.to_be();
const IEEE_802: u16 = 6u16.to_be();
const IPV4: u16 = 0x0800u16.to_be();
const LENGTHS: u16 = 0x0604u16.to_be();
/// Operation of a request.
pub const REQUEST: u16 = 1u16.to_be();
/// Operation of a reply.
pub const REPLY: u16 = 2u16.to_be();

/// Reads the message; false when the frame is too short to hold one.
#[inline(always)]
pub fn read<P: Packet>(packet: P, work: &mut Work) -> bool {
    if !packet.load(work.l3_at, &mut work.arp) {
        return false;
    }
    let arp = &work.arp;
    let gratuitous = arp[7] == arp[12] && arp[8] == arp[13];
    work.asks = arp[3] == REQUEST && !gratuitous;
    work.claims = if !is_well_formed(arp) || (arp[7] | arp[8]) == 0 {
        Claim::None
    } else if gratuitous {
        Claim::Gratuitous
    } else {
        Claim::InPassing
    };
    let ifindex = packet.ifindex();
    work.ask.set_ipv4(work.arp[12], work.arp[13]);
    work.ask.ifindex = ifindex;
    work.claim.set_ipv4(work.arp[7], work.arp[8]);
    work.claim.ifindex = ifindex;
    true
}

#[inline(always)]
fn is_well_formed(arp: &[u16; 14]) -> bool {
    (arp[0] == ETHERNET || arp[0] == IEEE_802) && arp[1] == IPV4 && arp[2] == LENGTHS
}

/// The first four words are those of a request over Ethernet.
#[inline(always)]
pub fn is_request(head: &[u16; 4]) -> bool {
    *head == [ETHERNET, IPV4, LENGTHS, REQUEST]
}

/// Sender's hardware address.
#[inline(always)]
pub fn sender(work: &Work) -> MacWords {
    [work.arp[4], work.arp[5], work.arp[6]]
}

/// The form of a request for a VIP that answers with `mac`.
#[inline(always)]
pub fn shape(work: &Work, mac: &MacWords) -> Shape {
    let destination = work.destination();
    if destination != *mac && !is_group(&destination) {
        return Shape::Elsewhere;
    }
    if !is_well_formed(&work.arp) {
        return Shape::ArpFormat;
    }
    let sender = sender(work);
    if work.arp[0] != ETHERNET {
        Shape::Ieee802
    } else if destination != *mac && destination != BROADCAST {
        Shape::GroupDestination
    } else if work.tags > 1 {
        Shape::NestedTags
    } else if sender != work.source() || sender == *mac || !is_station(&sender) {
        Shape::SenderMac
    } else {
        Shape::Regular
    }
}

/// Puts the reply to the request in `work.arp` into `work.reply`.
#[inline(always)]
pub fn build_reply(work: &mut Work, mac: &MacWords) {
    let requester = [
        work.arp[4],
        work.arp[5],
        work.arp[6],
        work.arp[7],
        work.arp[8],
    ];
    let vip = [work.arp[12], work.arp[13]];
    let to = [requester[0], requester[1], requester[2]];
    build_head(work, &to, mac, REPLY);
    let reply = &mut work.reply;
    reply[14] = vip[0];
    reply[15] = vip[1];
    reply[16] = requester[0];
    reply[17] = requester[1];
    reply[18] = requester[2];
    reply[19] = requester[3];
    reply[20] = requester[4];
}

/// Turns a request, whose Ethernet header is the reply's, into the reply.
#[inline(always)]
pub fn answer_in_place(frame: &mut [u16; 30], mac: &MacWords) {
    let vip = [frame[19], frame[20]];
    let mut at = 11;
    while at < 16 {
        frame[at + 5] = frame[at];
        at += 1;
    }
    frame[10] = REPLY;
    frame[11] = mac[0];
    frame[12] = mac[1];
    frame[13] = mac[2];
    frame[14] = vip[0];
    frame[15] = vip[1];
    at = 21;
    while at < 30 {
        frame[at] = 0;
        at += 1;
    }
}

/// Puts a gratuitous request for the claimed VIP into `work.reply` (RFC 5227, 1.1: ARP
/// Announcement).
#[inline(always)]
pub fn build_announcement(work: &mut Work, mac: &MacWords) {
    let vip = [work.claim.words[6], work.claim.words[7]];
    build_head(work, &BROADCAST, mac, REQUEST);
    let reply = &mut work.reply;
    reply[14] = vip[0];
    reply[15] = vip[1];
    reply[16] = 0;
    reply[17] = 0;
    reply[18] = 0;
    reply[19] = vip[0];
    reply[20] = vip[1];
}

/// Everything up to the sender's hardware address, and the padding.
#[inline(always)]
fn build_head(work: &mut Work, to: &MacWords, mac: &MacWords, operation: u16) {
    let reply = &mut work.reply;
    reply[0] = to[0];
    reply[1] = to[1];
    reply[2] = to[2];
    reply[3] = mac[0];
    reply[4] = mac[1];
    reply[5] = mac[2];
    reply[6] = ethernet::ARP;
    reply[7] = ETHERNET;
    reply[8] = IPV4;
    reply[9] = LENGTHS;
    reply[10] = operation;
    reply[11] = mac[0];
    reply[12] = mac[1];
    reply[13] = mac[2];
    let mut padding = 21;
    while padding < 30 {
        reply[padding] = 0;
        padding += 1;
    }
}
