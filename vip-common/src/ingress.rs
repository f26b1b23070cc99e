//! What a frame that comes in gets in return: the state rule of `wire.md`.

use crate::{
    abi::{ANY_INTERFACE, EventKind, LinkEntry, VipEntry},
    arp,
    counter::{Family, Verdict},
    ethernet, nd,
    packet::{ARP_FRAME, Action, NA_FRAME, Packet},
    shape::Shape,
    shortcut,
    standing::{Standing, standing},
    tables::{Judged, Tables, VipCount},
    trace::Decision,
    work::{Claim, Key, MacWords, Work, mac_words},
};

/// Judges a frame, and turns it into its answer where it gets one.
#[inline(always)]
pub fn ingress<'a, P: Packet, T: Tables<'a>>(packet: P, tables: T, work: &mut Work) -> Action {
    if shortcut::answer(packet, tables, work) {
        return Action::Transmit;
    }
    judge_any(packet, tables, work)
}

#[inline(never)]
fn judge_any<'a, P: Packet, T: Tables<'a>>(packet: P, tables: T, work: &mut Work) -> Action {
    match ethernet::read(packet, work) {
        Some(ethernet::ARP) if arp::read(packet, work) => judge(packet, tables, work, Family::Ipv4),
        Some(ethernet::IPV6) if nd::read(packet, work) => judge(packet, tables, work, Family::Ipv6),
        _ => Action::Pass,
    }
}

#[inline(always)]
fn judge<'a, P: Packet, T: Tables<'a>>(
    packet: P,
    tables: T,
    work: &mut Work,
    family: Family,
) -> Action {
    let mut outcome = Outcome::Nothing;
    // A VIP that stands under no interface is never live: to claim it is no conflict.
    if work.claims != Claim::None
        && let Some(entry) = tables.vip(&work.claim)
    {
        outcome = match family {
            Family::Ipv4 => judge_arp_claim(packet, tables, work, entry),
            Family::Ipv6 => judge_nd_claim(packet, tables, work, entry),
        };
    }
    if work.asks
        && let Some(entry) = look_up(tables, &mut work.ask)
    {
        // What is asked and yielded in one frame is not answered any more.
        let yielded = outcome == Outcome::Yielded && work.ask == work.claim;
        return match family {
            Family::Ipv4 => judge_arp_ask(packet, tables, work, entry, yielded),
            Family::Ipv6 => judge_nd_ask(packet, tables, work, entry, yielded),
        };
    }
    if outcome == Outcome::Defended {
        Action::Transmit
    } else {
        Action::Pass
    }
}

/// The entry of a key's interface, else the one that says that the VIP is never live here; the
/// key becomes that of the entry.
#[inline(always)]
fn look_up<'a, T: Tables<'a>>(tables: T, key: &mut Key) -> Option<&'a VipEntry> {
    if let Some(entry) = tables.vip(key) {
        return Some(entry);
    }
    key.ifindex = ANY_INTERFACE;
    tables.vip(key)
}

// The two families are judged by functions of their own, which the verifier walks apart.

#[inline(never)]
fn judge_arp_ask<'a, P: Packet, T: Tables<'a>>(
    packet: P,
    tables: T,
    work: &mut Work,
    entry: &VipEntry,
    yielded: bool,
) -> Action {
    let now = tables.now();
    if !is_live(tables, work, entry, yielded, now, Family::Ipv4, packet) {
        return Action::Drop;
    }
    let mac = mac_words(&entry.mac);
    let shape = arp::shape(work, &mac);
    let mut sent = false;
    if let Shape::Regular = shape {
        arp::build_reply(work, &mac);
        sent = packet.become_reply(ARP_FRAME, work);
    }
    conclude(tables, work, entry, now, Family::Ipv4, shape, sent, packet)
}

#[inline(never)]
fn judge_nd_ask<'a, P: Packet, T: Tables<'a>>(
    packet: P,
    tables: T,
    work: &mut Work,
    entry: &VipEntry,
    yielded: bool,
) -> Action {
    let now = tables.now();
    if !is_live(tables, work, entry, yielded, now, Family::Ipv6, packet) {
        return Action::Drop;
    }
    let mac = mac_words(&entry.mac);
    let shape = nd::shape(packet, work, &mac);
    let mut sent = false;
    if let Shape::Regular = shape {
        let multicast = nd::asks_from_nowhere(work);
        if !multicast || tables.take_bucket(work.ask.ifindex, now) {
            nd::build_answer(work, &mac, is_router(tables, work.ask.ifindex));
            sent = packet.become_reply(NA_FRAME, work);
        }
    }
    conclude(tables, work, entry, now, Family::Ipv6, shape, sent, packet)
}

#[inline(always)]
fn is_router<'a, T: Tables<'a>>(tables: T, ifindex: u32) -> bool {
    tables.link(ifindex).is_some_and(LinkEntry::forwards)
}

/// Whether the VIP in `work.ask` is live; if not, the drop is counted, and noted where the
/// deadline has passed.
#[inline(always)]
fn is_live<'a, P: Packet, T: Tables<'a>>(
    tables: T,
    work: &Work,
    entry: &VipEntry,
    yielded: bool,
    now: u64,
    family: Family,
    packet: P,
) -> bool {
    match standing(tables, &work.ask, entry, now) {
        Standing::Confirmed | Standing::Unconfirmed(_) if !yielded => return true,
        Standing::Passed(confirmed) => {
            tables.note_yield(&work.ask, now, confirmed);
        }
        _ => {}
    }
    if entry.flags & VipEntry::SYNTHETIC == 0 {
        tables.count(Verdict::Fenced, family);
        let judged = Judged {
            verdict: Verdict::Fenced,
            shape: Shape::Regular,
            family,
        };
        tables.trace(
            packet,
            Decision {
                work,
                key: &work.ask,
                judged,
            },
            now,
        );
    }
    false
}

#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "inlined: a struct would live on the BPF stack"
)]
fn conclude<'a, P: Packet, T: Tables<'a>>(
    tables: T,
    work: &Work,
    entry: &VipEntry,
    now: u64,
    family: Family,
    shape: Shape,
    sent: bool,
    packet: P,
) -> Action {
    let action = if sent { Action::Transmit } else { Action::Pass };
    let verdict = if sent {
        Verdict::Answered
    } else if shape.is_malformed() {
        Verdict::Malformed
    } else if let Shape::Elsewhere = shape {
        return action;
    } else {
        Verdict::Left
    };
    if entry.flags & VipEntry::SYNTHETIC == 0 {
        tables.count(verdict, family);
        if sent {
            tables.count_vip(entry, VipCount::Answer);
        }
        let judged = Judged {
            verdict,
            shape,
            family,
        };
        tables.trace(
            packet,
            Decision {
                work,
                key: &work.ask,
                judged,
            },
            now,
        );
    }
    action
}

/// What came of a claim.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Nothing,
    /// The frame has become the defence.
    Defended,
    /// The VIP is fenced from now on.
    Yielded,
}

#[inline(never)]
fn judge_arp_claim<'a, P: Packet, T: Tables<'a>>(
    packet: P,
    tables: T,
    work: &mut Work,
    entry: &VipEntry,
) -> Outcome {
    let rival = arp::sender(work);
    let defends = judge_claim(tables, work, entry, &rival, Family::Ipv4, false);
    if defends != Defence::Now {
        return defends.outcome(packet, tables, work, Family::Ipv4);
    }
    arp::build_announcement(work, &mac_words(&entry.mac));
    let sent = packet.become_reply(ARP_FRAME, work);
    if sent {
        trace_claim(packet, tables, work, Verdict::Defended, Family::Ipv4);
    }
    defended(tables, work, &rival, Family::Ipv4, sent)
}

#[inline(never)]
fn judge_nd_claim<'a, P: Packet, T: Tables<'a>>(
    packet: P,
    tables: T,
    work: &mut Work,
    entry: &VipEntry,
) -> Outcome {
    if nd::fault(packet, work).is_some() {
        return Outcome::Nothing;
    }
    let rival = nd::sender(work);
    let modest = nd::is_modest(work);
    let defends = judge_claim(tables, work, entry, &rival, Family::Ipv6, modest);
    if defends != Defence::Now {
        return defends.outcome(packet, tables, work, Family::Ipv6);
    }
    nd::build_announcement(
        work,
        &mac_words(&entry.mac),
        is_router(tables, work.claim.ifindex),
    );
    let sent = packet.become_reply(NA_FRAME, work);
    if sent {
        trace_claim(packet, tables, work, Verdict::Defended, Family::Ipv6);
    }
    defended(tables, work, &rival, Family::Ipv6, sent)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Defence {
    Nothing,
    Yielded,
    /// By this frame: it has no other purpose.
    Now,
}

impl Defence {
    #[inline(always)]
    fn outcome<'a, P: Packet, T: Tables<'a>>(
        self,
        packet: P,
        tables: T,
        work: &Work,
        family: Family,
    ) -> Outcome {
        if self != Self::Yielded {
            return Outcome::Nothing;
        }
        trace_claim(packet, tables, work, Verdict::Yielded, family);
        Outcome::Yielded
    }
}

/// Rule 13. A `modest` claim is counted, and never yielded to.
#[inline(always)]
fn judge_claim<'a, T: Tables<'a>>(
    tables: T,
    work: &Work,
    entry: &VipEntry,
    rival: &MacWords,
    family: Family,
    modest: bool,
) -> Defence {
    let now = tables.now();
    let standing = standing(tables, &work.claim, entry, now);
    if standing == Standing::Fenced || *rival == mac_words(&entry.mac) || tables.is_host_mac(rival)
    {
        return Defence::Nothing;
    }
    let key = &work.claim;
    match standing {
        Standing::Confirmed => {
            tables.count_vip(entry, VipCount::Conflict);
            if !tables.take_interval(key, now) {
                return Defence::Nothing;
            }
            if work.claims != Claim::Gratuitous {
                tables.report(work, rival, EventKind::Conflict, true, now);
                return Defence::Nothing;
            }
            if tables.take_bucket(key.ifindex, now) {
                return Defence::Now;
            }
            tables.report(work, rival, EventKind::Conflict, false, now);
            Defence::Nothing
        }
        Standing::Unconfirmed(confirmed) => {
            tables.count_vip(entry, VipCount::Conflict);
            if modest {
                return Defence::Nothing;
            }
            // None is in force, so one that is known for this `confirmed` was declared void: this
            // is a new one.
            if tables.note_yield(key, now, confirmed) || entry.yields_void_before_ns != 0 {
                tables.report(work, rival, EventKind::Yielded, false, now);
            }
            tables.count(Verdict::Yielded, family);
            Defence::Yielded
        }
        Standing::Passed(confirmed) => {
            if !modest {
                tables.note_yield(key, now, confirmed);
            }
            Defence::Nothing
        }
        Standing::Fenced => Defence::Nothing,
    }
}

#[inline(always)]
fn trace_claim<'a, P: Packet, T: Tables<'a>>(
    packet: P,
    tables: T,
    work: &Work,
    verdict: Verdict,
    family: Family,
) {
    let judged = Judged {
        verdict,
        shape: Shape::Regular,
        family,
    };
    let key = &work.claim;
    tables.trace(packet, Decision { work, key, judged }, tables.now());
}

#[inline(always)]
fn defended<'a, T: Tables<'a>>(
    tables: T,
    work: &Work,
    rival: &MacWords,
    family: Family,
    sent: bool,
) -> Outcome {
    let now = tables.now();
    if !sent {
        // The interval is taken: the agent is to use it.
        tables.report(work, rival, EventKind::Conflict, true, now);
        return Outcome::Nothing;
    }
    tables.count(Verdict::Defended, family);
    tables.report(work, rival, EventKind::Defended, false, now);
    Outcome::Defended
}
