//! What the decision asks of, and leaves in, the maps.

use crate::{
    abi::{EventKind, LeaseSlot, LinkEntry, VipEntry, VipState},
    counter::{Family, Verdict},
    packet::Packet,
    shape::Shape,
    trace::Decision,
    work::{Key, MacWords, QuickKey, Work},
};

/// One defence, or order to defend, for a VIP in this time (RFC 5227, 2.4: DEFEND_INTERVAL).
pub const DEFEND_INTERVAL_NS: u64 = 10_000_000_000;
/// Time in which the bucket for multicast frames gains one: 100 a second and interface.
pub const BUCKET_STEP_NS: u64 = 10_000_000;
/// What the bucket holds when it is full: 200 frames.
pub const BUCKET_DEPTH_NS: u64 = 200 * BUCKET_STEP_NS;

/// Takes one frame out of a token bucket that is kept as the time at which it is full again.
/// Returns the new time, or none when the bucket is empty.
#[inline(always)]
pub const fn take_token(full_at_ns: u64, now: u64) -> Option<u64> {
    let from = if full_at_ns > now { full_at_ns } else { now };
    let full_at = from.saturating_add(BUCKET_STEP_NS);
    if full_at - now > BUCKET_DEPTH_NS {
        None
    } else {
        Some(full_at)
    }
}

/// What a count of a VIP counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VipCount {
    /// An answer.
    Answer,
    /// A conflict.
    Conflict,
}

/// How a frame was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What became of it.
    pub verdict: Verdict,
    /// How it was formed.
    pub shape: Shape,
    /// Of which family it is.
    pub family: Family,
}

/// The maps, whose entries live for `'a`. Copied freely: in the kernel it is nothing at all.
pub trait Tables<'a>: Copy {
    /// `CLOCK_BOOTTIME` in nanoseconds.
    fn now(self) -> u64;
    /// Entry of `VIPS` under exactly this key.
    fn vip(self, key: &Key) -> Option<&'a VipEntry>;
    /// As [`Tables::vip`].
    #[inline(always)]
    fn vip_quick(self, key: &QuickKey) -> Option<&'a VipEntry> {
        self.vip(&key.vip_key().into())
    }
    /// A slot of `LEASES`.
    fn lease(self, slot: u16) -> Option<LeaseSlot>;
    /// Entry of `VIP_STATE`.
    fn state(self, key: &Key) -> Option<VipState>;
    /// Stores a yield in `VIP_STATE`; true when none was stored for this `confirmed`.
    fn note_yield(self, key: &Key, now: u64, confirmed: u64) -> bool;
    /// Takes the interval of [`DEFEND_INTERVAL_NS`] of a VIP; false while it runs.
    fn take_interval(self, key: &Key, now: u64) -> bool;
    /// Takes a token of the interface's bucket for multicast frames.
    fn take_bucket(self, ifindex: u32, now: u64) -> bool;
    /// The MAC address is that of an interface of this host.
    fn is_host_mac(self, mac: &MacWords) -> bool;
    /// Entry of `LINKS`.
    fn link(self, ifindex: u32) -> Option<&'a LinkEntry>;
    /// Entry of `LINKS` of the key's interface.
    #[inline(always)]
    fn link_quick(self, key: &QuickKey) -> Option<&'a LinkEntry> {
        self.link(key.vip_key().ifindex)
    }
    /// Counts a frame.
    fn count(self, verdict: Verdict, family: Family);
    /// Counts for a VIP.
    fn count_vip(self, entry: &VipEntry, what: VipCount);
    /// Counts an answer, as a frame and for the VIP.
    #[inline(always)]
    fn answered(self, entry: &VipEntry, family: Family) {
        if entry.flags & VipEntry::SYNTHETIC == 0 {
            self.count(Verdict::Answered, family);
            self.count_vip(entry, VipCount::Answer);
        }
    }
    /// Time until which [`Tables::trace`] is to be called; [`crate::shortcut`] is not taken before.
    #[inline(always)]
    fn traced_until(self) -> u64 {
        u64::MAX
    }
    /// Reports a conflict over `work.claim`.
    fn report(self, work: &Work, rival: &MacWords, kind: EventKind, announce: bool, now: u64);
    /// Tells `trace` how the frame was judged for the VIP of `key`.
    fn trace<P: Packet>(self, packet: P, decision: Decision<'_>, now: u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_holds_two_hundred_and_gains_a_hundred_a_second() {
        let mut full_at = 0;
        let mut now = 1_000_000_000_000;
        let mut taken = 0;
        while let Some(next) = take_token(full_at, now) {
            full_at = next;
            taken += 1;
        }
        assert_eq!(taken, 200);
        now += 1_000_000_000;
        taken = 0;
        while let Some(next) = take_token(full_at, now) {
            full_at = next;
            taken += 1;
        }
        assert_eq!(taken, 100);
    }
}
