//! Whether a VIP is live (`ownership.md`, "In the kernel").

use crate::{
    abi::{ANY_INTERFACE, SLOT_NEVER, VipEntry},
    tables::Tables,
    work::Key,
};

/// How a VIP of the map stands at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Live: answered, and defended against rivals.
    Confirmed,
    /// Live past `confirmed`: answered, and yielded to a rival's claim. Carries `confirmed`.
    Unconfirmed(u64),
    /// Silent since its deadline passed: a claim or question is noted like a yield. Carries
    /// `confirmed`.
    Passed(u64),
    /// Silent: never live here, of another epoch, or yielded.
    Fenced,
}

/// Judges an entry. The deadline is read before the epoch: a new session stores its epoch first,
/// so an entry of the old one is never taken for live by the new deadline.
#[inline(always)]
pub fn standing<'a, T: Tables<'a>>(tables: T, key: &Key, entry: &VipEntry, now: u64) -> Standing {
    if entry.slot == SLOT_NEVER || key.ifindex == ANY_INTERFACE {
        return Standing::Fenced;
    }
    let Some(lease) = tables.lease(entry.slot) else {
        return Standing::Fenced;
    };
    let confirmed = lease.confirmed_boot_ns;
    if now >= lease.deadline_boot_ns {
        return Standing::Passed(confirmed);
    }
    if lease.epoch != entry.epoch {
        return Standing::Fenced;
    }
    // A yield is only ever stored at or past the `confirmed` that it is stored with, so while
    // `confirmed` lies ahead there is none for it and no need to look.
    if now < confirmed {
        return Standing::Confirmed;
    }
    match tables.state(key) {
        Some(state)
            if state.yield_at_ns != 0
                && state.yield_confirmed_ns == confirmed
                && state.yield_at_ns >= entry.yields_void_before_ns =>
        {
            Standing::Fenced
        }
        _ => Standing::Unconfirmed(confirmed),
    }
}
