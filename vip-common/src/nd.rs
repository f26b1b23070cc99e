//! Neighbour Discovery (RFC 4861, 4.3 and 4.4; RFC 4862, 5.4; RFC 6980).
//!
//! ```text
//!  IPv6 header (words 0 to 19 of `ip6`)          message (words of `icmp`)
//!  0         4      6    7    8      24     40   0    1    2      4          8      24
//!  +---------+------+----+----+------+------+    +----+----+------+----------+------+---------
//!  | 6 TC FL | plen | 58 | 255| src  | dst  |    |type|code| csum | R S O 0  |target| options
//!  +---------+------+----+----+------+------+    +----+----+------+----------+------+---------
//!  word 0,1    2        3       4..   12..       0           1     2,3         4..    12..
//!
//!  option: | type | length in units of 8 | link-layer address, 6 bytes |
//! ```

use crate::{
    checksum, ethernet,
    packet::{ICMP_MAX, Packet},
    shape::Shape,
    work::{Claim, MacWords, Work, is_group, is_station},
};

/// Router Solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// Neighbour Solicitation.
pub const SOLICITATION: u8 = 135;
/// Neighbour Advertisement.
pub const ADVERTISEMENT: u8 = 136;

const ICMPV6: u8 = 58;
const FRAGMENT_HEADER: u8 = 44;
const AUTHENTICATION_HEADER: u8 = 51;

const ROUTER: u16 = 0x8000u16.to_be();
const SOLICITED: u16 = 0x4000u16.to_be();
const OVERRIDE: u16 = 0x2000u16.to_be();

const FF02: u16 = 0xff02u16.to_be();
const ONE: u16 = 1u16.to_be();
const L2_MULTICAST: u16 = 0x3333;

/// State of a walk over the options of a message.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Byte offset of the next option in the frame.
    pub at: u32,
    /// Byte offset of the end of the message.
    pub end: u32,
    /// The first link-layer address option of the wanted type, else the Ethernet source.
    pub mac: MacWords,
    /// That option's type: 1 in solicitations, 2 in advertisements.
    pub wanted: u8,
    /// What was found of it.
    pub found: Found,
    /// An option of length 0 or beyond the message.
    pub malformed: bool,
}

/// A link-layer address option.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// There is none.
    #[default]
    None,
    /// Of the length that Ethernet has.
    Address,
    /// Of another length.
    Odd,
}

impl Walk {
    /// A walk that has not begun.
    pub const fn new() -> Self {
        Self {
            at: 0,
            end: 0,
            mac: [0; 3],
            wanted: 0,
            found: Found::None,
            malformed: false,
        }
    }

    /// Takes in the option whose first 8 bytes are `option`.
    #[inline(always)]
    pub fn step(&mut self, option: &[u16; 4]) {
        let length = second(option[0]) as u32 * 8;
        self.at += length;
        if length == 0 || self.at > self.end {
            self.malformed = true;
        } else if first(option[0]) == self.wanted && self.found == Found::None {
            self.found = Found::Odd;
            if length == 8 {
                self.found = Found::Address;
                self.mac = [option[1], option[2], option[3]];
            }
        }
    }
}

#[inline(always)]
const fn first(word: u16) -> u8 {
    word.to_ne_bytes()[0]
}

#[inline(always)]
const fn second(word: u16) -> u8 {
    word.to_ne_bytes()[1]
}

/// Reads an ND message as far as its target; false when the frame holds none.
#[inline(always)]
pub fn read<P: Packet>(packet: P, work: &mut Work) -> bool {
    if !packet.load(work.l3_at, &mut work.ip6) {
        return false;
    }
    work.extensions = 0;
    work.fragment = false;
    work.icmp_at = work.l3_at + 40;
    if first(work.ip6[3]) != ICMPV6 && !skip_extensions(packet, work) {
        return false;
    }
    let payload = u32::from(u16::from_be(work.ip6[2]));
    let skipped = work.icmp_at - work.l3_at - 40;
    work.icmp_length = payload.saturating_sub(skipped);
    work.whole = work.icmp_length == 32 && load_start::<16, P>(packet, work);
    if !work.whole {
        if !load_start::<12, P>(packet, work) {
            return load_start::<4, P>(packet, work) && read_router_solicitation(packet, work);
        }
        work.whole = work.icmp_length == 24;
    }
    let ifindex = packet.ifindex();
    work.ask.ifindex = ifindex;
    work.claim.ifindex = ifindex;
    work.walk.wanted = 1;
    match first(work.icmp[0]) {
        SOLICITATION => {
            work.asks = !is_mapped(target(work));
            work.ask.words = *target(work);
            work.claims = if is_unspecified(source(work)) || is_mapped(source(work)) {
                Claim::None
            } else {
                Claim::InPassing
            };
            work.claim.words = *source(work);
        }
        ADVERTISEMENT => {
            work.asks = false;
            let solicited = work.icmp[2] & SOLICITED != 0;
            work.claims = if is_mapped(target(work)) {
                Claim::None
            } else if solicited {
                Claim::InPassing
            } else {
                Claim::Gratuitous
            };
            work.claim.words = *target(work);
            work.walk.wanted = 2;
        }
        _ => return read_router_solicitation(packet, work),
    }
    true
}

/// A Router Solicitation matters only on its way out: its option would poison routers.
#[inline(always)]
fn read_router_solicitation<P: Packet>(packet: P, work: &mut Work) -> bool {
    work.asks = false;
    work.claims = Claim::None;
    work.claim.ifindex = packet.ifindex();
    first(work.icmp[0]) == ROUTER_SOLICITATION
}

#[inline(always)]
fn load_start<const W: usize, P: Packet>(packet: P, work: &mut Work) -> bool {
    match work.icmp.first_chunk_mut::<W>() {
        Some(start) => packet.load(work.icmp_at, start),
        None => false,
    }
}

/// Skips up to two extension headers; false when no ICMPv6 message follows, or it is not the
/// first fragment. What lies behind more of them is caught on egress. No loop: the verifier
/// follows mispredicted branches too, and does not see its end there.
#[inline(never)]
fn skip_extensions<P: Packet>(packet: P, work: &mut Work) -> bool {
    let header = first(work.ip6[3]);
    skip_extension(packet, work, header)
        && (first(work.extension[0]) == ICMPV6
            || (skip_extension(packet, work, first(work.extension[0]))
                && first(work.extension[0]) == ICMPV6))
}

#[inline(always)]
fn skip_extension<P: Packet>(packet: P, work: &mut Work, header: u8) -> bool {
    let authentication = header == AUTHENTICATION_HEADER;
    let fragment = header == FRAGMENT_HEADER;
    if (!authentication && !fragment && !is_options_like(header))
        || !packet.load(work.icmp_at, &mut work.extension)
    {
        return false;
    }
    let length = u32::from(second(work.extension[0]));
    work.extensions += 1;
    work.icmp_at += if fragment {
        work.fragment = true;
        8
    } else if authentication {
        (length + 2) * 4
    } else {
        (length + 1) * 8
    };
    !fragment || u16::from_be(work.extension[1]) & 0xfff8 == 0
}

/// Hop-by-hop options, routing, destination options, mobility, HIP, shim6: their second byte is
/// a length in units of 8 bytes that does not count the first (RFC 8200, 4; RFC 6564).
#[inline(always)]
pub const fn is_options_like(next: u8) -> bool {
    matches!(next, 0 | 43 | 60 | 135 | 139 | 140)
}

/// Whether a next header may lead to an ND message.
#[inline(always)]
pub const fn may_lead_to_nd(next: u8) -> bool {
    next == ICMPV6
        || next == FRAGMENT_HEADER
        || next == AUTHENTICATION_HEADER
        || is_options_like(next)
}

/// Whether an ICMPv6 type is one that [`read`] looks at.
#[inline(always)]
pub const fn is_nd(icmp_type: u8) -> bool {
    matches!(
        icmp_type,
        ROUTER_SOLICITATION | SOLICITATION | ADVERTISEMENT
    )
}

/// Source of the packet.
#[inline(always)]
pub fn source(work: &Work) -> &[u16; 8] {
    window(&work.ip6, 4)
}

/// Destination of the packet.
#[inline(always)]
pub fn destination(work: &Work) -> &[u16; 8] {
    window(&work.ip6, 12)
}

/// Target of the message.
#[inline(always)]
pub fn target(work: &Work) -> &[u16; 8] {
    window(&work.icmp, 4)
}

/// Type of the message.
#[inline(always)]
pub fn icmp_type(work: &Work) -> u8 {
    first(work.icmp[0])
}

#[inline(always)]
fn window<const N: usize>(words: &[u16; N], at: usize) -> &[u16; 8] {
    const NOTHING: [u16; 8] = [0; 8];
    match words.get(at..) {
        Some(rest) => rest.first_chunk().unwrap_or(&NOTHING),
        None => &NOTHING,
    }
}

#[inline(always)]
fn is_unspecified(address: &[u16; 8]) -> bool {
    high_is_zero(address) && (address[5] | address[6] | address[7]) == 0
}

/// A v4-mapped address (RFC 4291, 2.5.5.2). The maps hold IPv4 VIPs in this form, and no IPv6
/// frame asks for one or claims one.
#[inline(always)]
pub fn is_mapped(address: &[u16; 8]) -> bool {
    high_is_zero(address) && address[5] == 0xffff
}

#[inline(always)]
fn high_is_zero(address: &[u16; 8]) -> bool {
    (address[0] | address[1] | address[2] | address[3] | address[4]) == 0
}

/// What is wrong with the message, if anything; reads it whole and walks its options.
#[inline(never)]
pub fn fault<P: Packet>(packet: P, work: &mut Work) -> Option<Shape> {
    if first(work.ip6[0]) >> 4 != 6 {
        return Some(Shape::Version);
    }
    if second(work.ip6[3]) != 255 {
        return Some(Shape::HopLimit);
    }
    if work.fragment {
        return Some(Shape::Fragment);
    }
    if second(work.icmp[0]) != 0 {
        return Some(Shape::Code);
    }
    let length = work.icmp_length;
    let end = work.icmp_at + length;
    if length < 24 || length & 7 != 0 || end > packet.length() {
        return Some(Shape::Length);
    }
    let source = source(work);
    if first(source[0]) == 0xff
        || (high_is_zero(source) && (source[5] | source[6]) == 0 && source[7] == ONE)
    {
        return Some(Shape::Source);
    }
    if length > ICMP_MAX {
        return Some(Shape::TooLong);
    }
    if !work.whole && !packet.load_icmp(work.icmp_at, length, work) {
        return Some(Shape::Length);
    }
    let sum = u64::from(packet.sum_icmp(length, work)) + checksum::icmpv6_rest(length);
    if work.icmp[1] == 0 || checksum::fold(sum) != 0xffff {
        return Some(Shape::Checksum);
    }
    work.walk.at = work.icmp_at + 24;
    work.walk.end = end;
    work.walk.mac = work.source();
    work.walk.found = Found::None;
    work.walk.malformed = false;
    if length == 32 {
        let option = [work.icmp[12], work.icmp[13], work.icmp[14], work.icmp[15]];
        work.walk.step(&option);
    } else if length > 32 {
        packet.walk_options(work);
    }
    // A walk that was cut short has not seen the end.
    if work.walk.malformed || work.walk.at != end {
        Some(Shape::Option)
    } else {
        None
    }
}

/// The form of a solicitation for a VIP that answers with `mac`.
#[inline(always)]
pub fn shape<P: Packet>(packet: P, work: &mut Work, mac: &MacWords) -> Shape {
    let to = work.destination();
    let group = is_group(&to);
    if to != *mac && !group {
        return Shape::Elsewhere;
    }
    if let Some(fault) = fault(packet, work) {
        return fault;
    }
    let work = &*work;
    let detects_duplicates = is_unspecified(source(work));
    let has_option = work.walk.found != Found::None;
    let destination = destination(work);
    let solicited_node = is_solicited_node(destination);
    if detects_duplicates {
        if has_option {
            return Shape::DadOption;
        }
        if !solicited_node {
            return Shape::DadDestination;
        }
    }
    if work.tags > 1 {
        return Shape::NestedTags;
    }
    if work.extensions > 0 {
        return Shape::Extensions;
    }
    if is_mapped(source(work)) {
        return Shape::MappedSource;
    }
    let from = work.source();
    if work.walk.found == Found::Odd || work.walk.mac != from || from == *mac || !is_station(&from)
    {
        return Shape::SenderMac;
    }
    if first(destination[0]) != 0xff {
        return if group {
            Shape::GroupDestination
        } else if destination != target(work) {
            Shape::OtherDestination
        } else {
            Shape::Regular
        };
    }
    let own_group = solicited_node
        && second(destination[6]) == second(target(work)[6])
        && destination[7] == target(work)[7];
    if !own_group || (group && to != [L2_MULTICAST, destination[6], destination[7]]) {
        Shape::GroupDestination
    } else if !detects_duplicates && !has_option {
        Shape::NoSourceOption
    } else {
        Shape::Regular
    }
}

/// `ff02::1:ff00:0/104` (RFC 4291, 2.7.1).
#[inline(always)]
fn is_solicited_node(address: &[u16; 8]) -> bool {
    address[0] == FF02
        && (address[1] | address[2] | address[3] | address[4]) == 0
        && address[5] == ONE
        && first(address[6]) == 0xff
}

/// The solicitation is one of duplicate address detection, answered to all nodes.
#[inline(always)]
pub fn asks_from_nowhere(work: &Work) -> bool {
    is_unspecified(source(work))
}

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

/// Whether the frame, without tag, is a solicitation with one option and nothing before or behind.
#[inline(always)]
pub fn is_solicitation(frame: &[u16; 43]) -> bool {
    frame[9] == 32u16.to_be()
        && frame[10] == 0x3affu16.to_be()
        && frame[27] == u16::from_ne_bytes([SOLICITATION, 0])
}

/// Whether [`shape`] would find such a solicitation regular, but for its checksum and for what
/// depends on the VIP's MAC address. Not all that are regular: no duplicate address detection.
#[inline(always)]
pub fn is_usual_solicitation(frame: &[u16; 43]) -> bool {
    // Unspecified, loopback and v4-mapped sources begin with ten zero bytes.
    let specified = (frame[11] | frame[12] | frame[13] | frame[14] | frame[15]) != 0;
    // So does a v4-mapped target, under which the maps hold an IPv4 VIP.
    let specified = specified && (frame[31] | frame[32] | frame[33] | frame[34] | frame[35]) != 0;
    if first(frame[7]) >> 4 != 6
        || frame[28] == 0
        || frame[39] != 0x0101u16.to_be()
        || !specified
        || first(frame[11]) == 0xff
    {
        return false;
    }
    if frame[19] == FF02 {
        (frame[20] | frame[21] | frame[22] | frame[23]) == 0
            && frame[24] == ONE
            && frame[25] == u16::from_ne_bytes([0xff, second(frame[37])])
            && frame[26] == frame[38]
            && (!is_group(&[frame[0], 0, 0])
                || [frame[0], frame[1], frame[2]] == [L2_MULTICAST, frame[25], frame[26]])
    } else {
        let mut differs = frame[0] & u16::from_ne_bytes([1, 0]);
        let mut at = 0;
        while at < 8 {
            differs |= frame[19 + at] ^ frame[31 + at];
            at += 1;
        }
        differs == 0
    }
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

/// Sender's link-layer address of a claim: the option, else the Ethernet source.
#[inline(always)]
pub fn sender(work: &Work) -> MacWords {
    work.walk.mac
}

/// The claim is an advertisement without the override flag, as proxies send it.
#[inline(always)]
pub fn is_modest(work: &Work) -> bool {
    icmp_type(work) == ADVERTISEMENT && work.icmp[2] & OVERRIDE == 0
}
