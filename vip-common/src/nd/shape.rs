//! The form of a message: malformed, irregular or regular (`wire.md`, rules 14 to 26).

use super::{
    FF02, Found, L2_MULTICAST, ONE, SOLICITATION, destination, first, high_is_zero, is_mapped,
    is_unspecified, second, source, target,
};
use crate::{
    checksum,
    packet::{ICMP_MAX, Packet},
    shape::Shape,
    work::{MacWords, Work, is_group, is_station},
};

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
    if checksum::fold(sum) != 0xffff {
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
    // Even where it is right: it looks like none, and rule 19 calls it malformed. A rival's claim
    // counts by what its hearers make of it, and to them it is right.
    if work.icmp[1] == 0 {
        return Shape::Checksum;
    }
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
