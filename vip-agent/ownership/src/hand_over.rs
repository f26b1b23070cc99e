//! Many VIPs are handed over in parts, so that none is silent while others are bound (ADR 32).

use std::{collections::BTreeMap, net::IpAddr};

use super::{Machine, claims::RowKey, lease::SessionId, object::Object, time::BootTime};

/// VIPs that a node hands over at a time, if these are not more parts than [`PARTS`].
pub const PART: usize = 64;
/// Parts that all VIPs are handed over in: each costs two writes, and a process that leaves has
/// little time.
const PARTS: usize = 16;

/// Between two of many parts there is at least this part of H: their heirs bind meanwhile.
const STEPS: u32 = 100;
/// The proof of an heir is waited for no longer than this part of H.
const PROOFS: u32 = 40;

/// A part of many that was handed over.
#[derive(Clone, Debug)]
pub(super) struct HandedOver {
    index: usize,
    version: u64,
    /// The next one does not leave before.
    from: BootTime,
    /// And waits no longer.
    until: BootTime,
}

impl HandedOver {
    /// The object whose turn it is after this: its heir may be another one, which binds meanwhile.
    pub(super) fn next(&self) -> usize {
        self.index + 1
    }
}

impl Machine {
    /// What is handed over next has to wait. One object is handed over at a time, so that the VIPs
    /// of each are silent for no longer than its own write takes; the reply to it has the machine
    /// look at the next.
    pub(super) fn hands_over_already(&mut self, now: BootTime) -> bool {
        self.objects.iter().any(Object::is_handed_over) || self.is_awaited(now)
    }

    /// A full part was written, by a request of the time `sent`.
    pub(super) fn part_left(&mut self, index: usize, version: u64, sent: BootTime, now: BootTime) {
        let hold = self.config.timing.hold();
        self.handed_over = Some(HandedOver {
            index,
            version,
            from: sent + hold / STEPS,
            until: now + hold / PROOFS,
        });
    }

    /// The heirs of the last part are not through with it yet: what is handed over next waits for
    /// them where it is answered, and not silent.
    fn is_awaited(&mut self, now: BootTime) -> bool {
        let Some(HandedOver {
            index,
            version,
            from,
            until,
        }) = self.handed_over
        else {
            return false;
        };
        let seen = self.objects[index].seen();
        let is_proven = seen.is_none_or(|claims| claims.version > version);
        let next_at = if is_proven { from } else { until };
        if self.due(next_at, now) {
            self.handed_over = None;
        }
        self.handed_over.is_some()
    }

    /// Leaves of the rows that are to be given away those that are enough for now; whether the
    /// VIPs of these are as many as may be silent at a time.
    pub(super) fn cut(
        &self,
        changes: &mut BTreeMap<RowKey, Option<SessionId>>,
        index: u32,
        by_bucket: impl Fn(IpAddr, u32) -> bool,
        now: BootTime,
    ) -> bool {
        let Some(most) = self.silent_at_a_time(now) else {
            return false;
        };
        let mut in_bucket = BTreeMap::<u32, usize>::new();
        for (vip, bucket) in self.vips_in(index) {
            if by_bucket(vip, bucket) {
                *in_bucket.entry(bucket).or_default() += 1;
            }
        }
        let mut silent = 0;
        changes.retain(|key, _| {
            let fits = silent < most;
            if fits {
                silent += match key {
                    RowKey::Bucket(bucket) => in_bucket.get(bucket).copied().unwrap_or(0),
                    RowKey::Address(_) => 1,
                };
            }
            fits
        });
        silent >= most
    }

    /// How many VIPs may be silent at a time, waiting for another node; none: all. Where they are
    /// unanswered already, or time runs out, it matters only that the last is answered.
    fn silent_at_a_time(&self, now: BootTime) -> Option<usize> {
        let is_late = self.leaving && now + self.config.timing.hold() * 3 / 4 > self.leave_by;
        if is_late || self.deaf {
            return None;
        }
        let all: usize = self.homes.iter().map(Vec::len).sum();
        Some(self.config.part.max(all / PARTS))
    }
}
