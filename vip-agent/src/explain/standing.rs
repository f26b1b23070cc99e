//! What the kernel programs make of an entry, told from the same four values.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vip_common::abi::{ANY_INTERFACE, LeaseSlot, SLOT_NEVER, VipEntry, VipKey, VipState};

/// What happens to questions under an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// Answered, and defended.
    Answered,
    /// Answered, and yielded to a rival's claim.
    Unconfirmed,
    /// Silent: the deadline of the slot has passed.
    Passed,
    /// Silent: the entry hangs on slot 0, so that no deadline makes it live.
    Fenced,
    /// Silent: it names another epoch than the slot has, that of a session that is gone.
    Outdated,
    /// Silent: yielded to a rival.
    Yielded,
}

impl Standing {
    /// Questions are answered.
    pub fn answers(self) -> bool {
        matches!(self, Self::Answered | Self::Unconfirmed)
    }
}

/// As `vip_common::standing` judges, with the reasons told apart. `slot` is the one that the entry
/// names.
pub fn standing(
    key: &VipKey,
    entry: &VipEntry,
    slot: &LeaseSlot,
    state: Option<VipState>,
    now: u64,
) -> Standing {
    if entry.slot == SLOT_NEVER || key.ifindex == ANY_INTERFACE {
        return Standing::Fenced;
    }
    if now >= slot.deadline_boot_ns {
        return Standing::Passed;
    }
    if entry.epoch != slot.epoch {
        return Standing::Outdated;
    }
    let confirmed = slot.confirmed_boot_ns;
    let yielded = state.is_some_and(|state| {
        state.yield_at_ns != 0
            && state.yield_confirmed_ns == confirmed
            && state.yield_at_ns >= entry.yields_void_before_ns
    });
    match now < confirmed {
        true => Standing::Answered,
        false if yielded => Standing::Yielded,
        false => Standing::Unconfirmed,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vip_common::{
        abi::{EventKind, LinkEntry},
        counter::{Family, Verdict},
        packet::Packet,
        standing as kernel,
        tables::{Tables, VipCount},
        trace::Decision,
        work::{Key, MacWords, Work},
    };

    use super::*;

    /// One slot and one state: all that the kernel's judgement asks for.
    #[derive(Clone, Copy)]
    struct One {
        slot: LeaseSlot,
        state: Option<VipState>,
    }

    impl<'a> Tables<'a> for One {
        fn now(self) -> u64 {
            unreachable!()
        }
        fn vip(self, _: &Key) -> Option<&'a VipEntry> {
            unreachable!()
        }
        fn lease(self, _: u16) -> Option<LeaseSlot> {
            Some(self.slot)
        }
        fn state(self, _: &Key) -> Option<VipState> {
            self.state
        }
        fn note_yield(self, _: &Key, _: u64, _: u64) -> bool {
            unreachable!()
        }
        fn take_interval(self, _: &Key, _: u64) -> bool {
            unreachable!()
        }
        fn take_bucket(self, _: u32, _: u64) -> bool {
            unreachable!()
        }
        fn is_host_mac(self, _: &MacWords) -> bool {
            unreachable!()
        }
        fn link(self, _: u32) -> Option<&'a LinkEntry> {
            unreachable!()
        }
        fn count(self, _: Verdict, _: Family) {}
        fn count_vip(self, _: &VipEntry, _: VipCount) {}
        fn report(self, _: &Work, _: &MacWords, _: EventKind, _: bool, _: u64) {}
        fn trace<P: Packet>(self, _: P, _: Decision<'_>, _: u64) {}
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn it_is_what_the_kernel_makes_of_it(
            [ifindex, at, confirmed] in [0_u32..2, 0..3, 0..3],
            slot in 0_u16..2,
            [epoch, slot_epoch] in [0_u64..2, 0..2],
            [now, deadline, slot_confirmed, void] in [0_u64..4, 0..4, 0..4, 0..4],
            has_state: bool,
        ) {
            let key = VipKey::new("192.0.2.1".parse().unwrap(), ifindex);
            let entry = VipEntry { slot, epoch, yields_void_before_ns: void, ..VipEntry::default() };
            // A yield is only ever stored at or past the `confirmed` that it is stored with.
            let (at, confirmed) = (u64::from(at.max(confirmed)), u64::from(confirmed));
            let state = has_state.then(|| VipState {
                yield_at_ns: at,
                yield_confirmed_ns: confirmed,
                ..VipState::default()
            });
            let lease = LeaseSlot {
                deadline_boot_ns: deadline,
                confirmed_boot_ns: slot_confirmed,
                epoch: slot_epoch,
            };
            let told = standing(&key, &entry, &lease, state, now);
            let judged = kernel::standing(One { slot: lease, state }, &key.into(), &entry, now);
            let agrees = match judged {
                kernel::Standing::Confirmed => told == Standing::Answered,
                kernel::Standing::Unconfirmed(_) => told == Standing::Unconfirmed,
                kernel::Standing::Passed(_) => told == Standing::Passed,
                kernel::Standing::Fenced => {
                    matches!(told, Standing::Fenced | Standing::Outdated | Standing::Yielded)
                }
            };
            prop_assert!(agrees, "{judged:?} {told:?}");
        }
    }
}
