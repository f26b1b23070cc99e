//! From a frame to the fields of a message, as far as its target.

use super::{
    ADVERTISEMENT, ICMPV6, ROUTER_SOLICITATION, SOLICITATION, first, is_mapped, is_unspecified,
    second, source, target,
};
use crate::{
    packet::Packet,
    work::{Claim, Work},
};

const FRAGMENT_HEADER: u8 = 44;
const AUTHENTICATION_HEADER: u8 = 51;

const SOLICITED: u16 = 0x4000u16.to_be();

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
