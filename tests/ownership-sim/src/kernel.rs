//! What a node's kernel does with the maps: the production judgement over simulated maps.

use std::{collections::BTreeMap, net::IpAddr};

use vip_common::{
    abi::{
        EventKind, FOREVER, LeaseSlot, LinkEntry, SLOT_NEVER, SLOT_SESSION, VipEntry, VipState,
        mapped,
    },
    counter::{Family, Verdict},
    extension::Extension,
    packet::Packet,
    standing::{Standing, standing},
    tables::{DEFEND_INTERVAL_NS, Tables, VipCount},
    trace::Decision,
    work::{Key, MacWords, Work},
};
use vip_ownership::BootTime;

/// The interface that all VIPs are on.
const IFINDEX: u32 = 1;

/// The maps of a node; they outlive its agent, and not its boot.
#[derive(Clone, Debug, Default)]
pub(super) struct Kernel {
    pub(super) slot: LeaseSlot,
    entries: BTreeMap<IpAddr, VipEntry>,
    state: BTreeMap<IpAddr, VipState>,
}

/// What an [`vip_ownership::Action::Extend`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Times {
    pub(super) deadline: BootTime,
    pub(super) confirmed: BootTime,
}

/// What the kernel does about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    /// An ask is answered.
    Answered,
    /// A claim is answered by one of our own.
    Defended,
    /// The VIP was yielded, and the agent hears of it.
    Yielded,
    /// The frame goes up: the agent may hear it.
    Passed,
}

impl Kernel {
    pub(super) fn standing(&self, vip: IpAddr, now: BootTime) -> Standing {
        match self.entries.get(&vip) {
            Some(entry) => standing(self, &key(vip), entry, now.0),
            None => Standing::Fenced,
        }
    }

    /// `xvip_extend`: false, and nothing moved, when the deadline has passed.
    pub(super) fn extend(&mut self, times: Times, now: BootTime) -> bool {
        let asked = Extension {
            deadline_boot_ns: times.deadline.0,
            confirmed_boot_ns: times.confirmed.0,
            slot: SLOT_SESSION.into(),
            reserved: 0,
        };
        let moved = self.slot.extended(&asked, now.0);
        self.slot = moved.unwrap_or(self.slot);
        moved.is_some()
    }

    /// What mutants do: a deadline that has passed is moved, too.
    pub(super) fn lift(&mut self, times: Times) {
        self.extend(times, BootTime(0));
    }

    pub(super) fn is_passed(&self, now: BootTime) -> bool {
        now.0 >= self.slot.deadline_boot_ns
    }

    /// VIPs of the session that are yielded for the slot's `confirmed`.
    pub(super) fn yielded(&self, now: BootTime) -> Vec<IpAddr> {
        if now.0 < self.slot.confirmed_boot_ns {
            return Vec::new();
        }
        let of_session =
            |entry: &VipEntry| entry.slot == SLOT_SESSION && entry.epoch == self.slot.epoch;
        let entries = self.entries.iter().filter(|(_, entry)| of_session(entry));
        let fenced = entries.filter(|(vip, _)| self.standing(**vip, now) == Standing::Fenced);
        fenced.map(|(vip, _)| *vip).collect()
    }

    pub(super) fn live(&mut self, vip: IpAddr, epoch: u64, void_before: BootTime) {
        self.entries.insert(
            vip,
            VipEntry {
                slot: SLOT_SESSION,
                epoch,
                yields_void_before_ns: void_before.0,
                ..VipEntry::default()
            },
        );
    }

    pub(super) fn fence(&mut self, vip: IpAddr) {
        if let Some(entry) = self.entries.get_mut(&vip) {
            entry.slot = SLOT_NEVER;
        }
    }

    /// VIPs whose entries name the slot and its epoch.
    pub(super) fn of_session(&self) -> impl Iterator<Item = IpAddr> {
        let epoch = self.slot.epoch;
        let entries = self.entries.iter();
        entries
            .filter(move |(_, entry)| entry.slot == SLOT_SESSION && entry.epoch == epoch)
            .map(|(vip, _)| *vip)
    }

    /// A rival's claim, or an ask (the state rule of `wire.md`).
    pub(super) fn receive(
        &mut self,
        vip: IpAddr,
        is_claim: bool,
        notes: bool,
        now: BootTime,
    ) -> Effect {
        match (self.standing(vip, now), is_claim) {
            (Standing::Confirmed, true) if self.may_defend(vip, now) => Effect::Defended,
            (Standing::Confirmed, true) => Effect::Nothing,
            (Standing::Confirmed | Standing::Unconfirmed(_), false) => Effect::Answered,
            (Standing::Unconfirmed(confirmed), true) => {
                self.yields(vip, now, confirmed);
                Effect::Yielded
            }
            (Standing::Passed(confirmed), _) => {
                if notes {
                    self.yields(vip, now, confirmed);
                }
                Effect::Passed
            }
            (Standing::Fenced, _) => Effect::Passed,
        }
    }

    fn yields(&mut self, vip: IpAddr, now: BootTime, confirmed: u64) {
        let state = self.state.entry(vip).or_default();
        state.yield_at_ns = now.0;
        state.yield_confirmed_ns = confirmed;
    }

    /// A claim is answered once in an interval.
    fn may_defend(&mut self, vip: IpAddr, now: BootTime) -> bool {
        let state = self.state.entry(vip).or_default();
        let free = state.defended_at_ns == 0 || now.0 - state.defended_at_ns >= DEFEND_INTERVAL_NS;
        if free {
            state.defended_at_ns = now.0;
        }
        free
    }
}

fn key(vip: IpAddr) -> Key {
    let bytes = mapped(vip);
    let mut words = [0; 8];
    for (word, pair) in words.iter_mut().zip(bytes.chunks_exact(2)) {
        *word = u16::from_ne_bytes([pair[0], pair[1]]);
    }
    Key {
        words,
        ifindex: IFINDEX,
        reserved: 0,
    }
}

impl<'a> Tables<'a> for &'a Kernel {
    fn now(self) -> u64 {
        FOREVER
    }

    fn vip(self, key: &Key) -> Option<&'a VipEntry> {
        self.entries.get(&key.vip_key().ip())
    }

    fn lease(self, slot: u16) -> Option<LeaseSlot> {
        (slot == SLOT_SESSION).then_some(self.slot)
    }

    fn state(self, key: &Key) -> Option<VipState> {
        self.state.get(&key.vip_key().ip()).copied()
    }

    // What a claim changes is done by `receive`; a standing changes nothing.
    fn note_yield(self, _: &Key, _: u64, _: u64) -> bool {
        false
    }

    fn take_interval(self, _: &Key, _: u64) -> bool {
        false
    }

    fn take_bucket(self, _: u32, _: u64) -> bool {
        true
    }

    fn is_host_mac(self, _: &MacWords) -> bool {
        false
    }

    fn link(self, _: u32) -> Option<&'a LinkEntry> {
        None
    }

    fn count(self, _: Verdict, _: Family) {}

    fn count_vip(self, _: &VipEntry, _: VipCount) {}

    fn report(self, _: &Work, _: &MacWords, _: EventKind, _: bool, _: u64) {}

    fn trace<P: Packet>(self, _: P, _: Decision<'_>, _: u64) {}
}
