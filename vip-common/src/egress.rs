//! What may leave: a VIP that is not live is kept out of every ARP and ND frame (`wire.md`,
//! rule 28), since it would poison the neighbours' caches again.

use crate::{
    abi::{ANY_INTERFACE, VipEntry},
    arp, checksum,
    counter::{Family, Verdict},
    ethernet, nd,
    packet::{Action, Packet},
    standing::{Standing, standing},
    tables::Tables,
    work::{Claim, Work, words},
};

/// Judges a frame on its way out, and rewrites its sender where the node's own traffic needs it.
#[inline(always)]
pub fn egress<'a, P: Packet, T: Tables<'a>>(packet: P, tables: T, work: &mut Work) -> Action {
    match ethernet::read(packet, work) {
        Some(ethernet::ARP) if arp::read(packet, work) => judge_arp(packet, tables, work),
        Some(ethernet::IPV6) if nd::read(packet, work) => judge_nd(packet, tables, work),
        _ => Action::Pass,
    }
}

/// The claimed address is a VIP of ours that may not be claimed now.
#[inline(always)]
fn is_barred<'a, T: Tables<'a>>(tables: T, work: &mut Work) -> bool {
    let key = &mut work.claim;
    let mut entry: Option<&VipEntry> = tables.vip(key);
    if entry.is_none() {
        key.ifindex = ANY_INTERFACE;
        entry = tables.vip(key);
    }
    let Some(entry) = entry else { return false };
    let now = tables.now();
    if now < entry.claim_until_ns {
        return false;
    }
    !matches!(
        standing(tables, key, entry, now),
        Standing::Confirmed | Standing::Unconfirmed(_)
    )
}

#[inline(never)]
fn judge_arp<'a, P: Packet, T: Tables<'a>>(packet: P, tables: T, work: &mut Work) -> Action {
    if work.claims == Claim::None || !is_barred(tables, work) {
        return Action::Pass;
    }
    if work.arp[3] != arp::REQUEST || work.claims == Claim::Gratuitous {
        tables.count(Verdict::EgressDropped, Family::Ipv4);
        return Action::Drop;
    }
    // Without an own address the request becomes a probe: 0.0.0.0.
    let own = match tables.link(packet.ifindex()) {
        Some(link) => [
            u16::from_ne_bytes([link.ipv4[0], link.ipv4[1]]),
            u16::from_ne_bytes([link.ipv4[2], link.ipv4[3]]),
        ],
        None => [0, 0],
    };
    work.arp[7] = own[0];
    work.arp[8] = own[1];
    let sender = [own[0], own[1]];
    rewritten(tables, Family::Ipv4, packet.store(work.l3_at + 14, &sender))
}

#[inline(never)]
fn judge_nd<'a, P: Packet, T: Tables<'a>>(packet: P, tables: T, work: &mut Work) -> Action {
    let advertises = nd::icmp_type(work) == nd::ADVERTISEMENT;
    if !advertises {
        // Whatever it asks, the claim is in its source.
        work.claim.words = *nd::source(work);
    }
    if nd::is_mapped(&work.claim.words) || !is_barred(tables, work) {
        return Action::Pass;
    }
    if advertises {
        tables.count(Verdict::EgressDropped, Family::Ipv6);
        return Action::Drop;
    }
    let Some(link) = tables.link(packet.ifindex()) else {
        tables.count(Verdict::EgressDropped, Family::Ipv6);
        return Action::Drop;
    };
    let own = match (words(&link.ipv6), words(&link.link_local)) {
        (own, _) if !is_zero(&own) => own,
        (_, own) if !is_zero(&own) => own,
        _ => {
            tables.count(Verdict::EgressDropped, Family::Ipv6);
            return Action::Drop;
        }
    };
    let checksum = [checksum::replace(work.icmp[1], nd::source(work), &own)];
    let stored = packet.store(work.l3_at + 8, &own) && packet.store(work.icmp_at + 2, &checksum);
    rewritten(tables, Family::Ipv6, stored)
}

#[inline(always)]
fn is_zero(address: &[u16; 8]) -> bool {
    address.iter().fold(0, |all, word| all | word) == 0
}

/// A frame that could not be rewritten does not leave.
#[inline(always)]
fn rewritten<'a, T: Tables<'a>>(tables: T, family: Family, stored: bool) -> Action {
    let (verdict, action) = if stored {
        (Verdict::EgressRewritten, Action::Pass)
    } else {
        (Verdict::EgressDropped, Action::Drop)
    };
    tables.count(verdict, family);
    action
}
