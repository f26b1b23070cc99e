//! The Lease of the control plane as a candidate observes it: when whoever holds it is dead.

use std::{collections::BTreeSet, time::Duration};

use super::{
    lease::{Lease, SessionId, Uid},
    time::BootTime,
    timing::Timing,
};

/// What a Lease acknowledges whose session may answer.
const HELD: &str = "control-plane";
/// And one whose session waits for an unknown one to be silent. One that was released
/// acknowledges nothing, so a Lease that was emptied by hand looks otherwise.
const WAITING: &str = "waiting";

/// What a session's Lease is to acknowledge.
pub(super) fn mark(is_held: bool) -> BTreeSet<Uid> {
    [if is_held { HELD } else { WAITING }.into()].into()
}

/// The Lease's session may answer.
pub(super) fn is_held(lease: &Lease) -> bool {
    lease.claims_read.contains(&HELD.into())
}

/// The Lease over quorum reads, by this node's own clock alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Rival {
    /// As read last; none: nothing was read.
    read: Option<Read>,
    /// The session that held it last, as far as this process has seen.
    former: Option<SessionId>,
    /// The Lease under the latest session of this node, which could answer and is silent.
    own: Option<Lease>,
    /// L of the Lease when its session could answer.
    duration: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Read {
    lease: Option<Lease>,
    /// Since when it has been so, over reads less than H apart.
    changed: BootTime,
    /// When it was read last.
    at: BootTime,
}

impl Rival {
    /// A quorum read, or a write that succeeded. After a gap of H L is counted anew: nobody else
    /// may have reached the register either (rule 5).
    pub(super) fn read(&mut self, lease: Option<Lease>, now: BootTime, hold: Duration) {
        let old = self.read.take();
        let changed = match &old {
            Some(old) if now < old.at + hold && is_same(&old.lease, &lease) => old.changed,
            _ => now,
        };
        // What happened in a gap is not known, so nobody's silence is.
        if old.is_none_or(|old| now >= old.at + hold) {
            self.former = None;
        }
        if let Some(lease) = &lease {
            if is_held(lease) {
                self.duration = Some(lease.duration);
            }
            if let Some(holder) = &lease.holder {
                self.former = Some(holder.clone());
            }
        }
        self.read = Some(Read {
            lease,
            changed,
            at: now,
        });
    }

    /// This node's session ended, and its kernel is silent.
    pub(super) fn ended(&mut self, lease: Option<Lease>) {
        self.own = lease.filter(is_held);
    }

    /// A human emptied the Lease of this node's own session: whoever had taken it in between would
    /// have named that one.
    fn is_own(&self, lease: &Lease) -> bool {
        let own = self.own.as_ref();
        own.is_some_and(|own| own.uid == lease.uid && own.revoked == lease.revoked)
    }

    pub(super) fn lease(&self) -> Option<&Lease> {
        self.read.as_ref()?.lease.as_ref()
    }

    pub(super) fn former(&self) -> Option<&SessionId> {
        self.former.as_ref()
    }

    /// When the Lease was read last.
    pub(super) fn read_at(&self) -> Option<BootTime> {
        Some(self.read.as_ref()?.at)
    }

    /// Since when the Lease has been as it is.
    pub(super) fn changed(&self) -> BootTime {
        self.read.as_ref().map_or(BootTime::NEVER, |r| r.changed)
    }

    /// When the Lease may be taken, if it stays as it is. `alone`: there is no other Node that
    /// might hold it.
    pub(super) fn free_at(&self, alone: bool) -> BootTime {
        let Some(Read { lease, changed, .. }) = &self.read else {
            return BootTime::NEVER;
        };
        match lease {
            Some(lease) if lease.holder.is_some() => *changed + lease.duration,
            // Emptied by hand.
            Some(lease) if is_held(lease) && !alone && !self.is_own(lease) => {
                *changed + lease.duration
            }
            _ => BootTime::default(),
        }
    }

    /// For how long who takes the Lease is silent: a session may live that is not in it. A Lease
    /// that is not there has no version by which to see that there was none meanwhile, so L is
    /// counted from the creation on, after which no other can be renewed.
    pub(super) fn grace(&self, alone: bool) -> Duration {
        let is_known = |lease: &Lease| {
            let is_released = lease.holder.is_none() && lease.claims_read.is_empty();
            is_held(lease) || is_released && lease.revoked.is_some()
        };
        if alone || self.lease().is_some_and(is_known) {
            Duration::ZERO
        } else {
            self.duration.unwrap_or(Timing::UNSEEN_DURATION)
        }
    }
}

fn is_same(old: &Option<Lease>, new: &Option<Lease>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => new.is_unchanged(old),
        (None, None) => true,
        _ => false,
    }
}
