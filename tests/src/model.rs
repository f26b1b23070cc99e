//! The maps in memory: what the decision sees in userspace, with a clock that stands still.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap, HashSet},
};

use vip_common::{
    abi::{
        Event, EventKind, LEASE_SLOTS, LeaseSlot, LinkEntry, LinkState, Traced, VipCounters,
        VipEntry, VipKey, VipState,
    },
    counter::{COUNTERS, Family, Verdict, index},
    packet::Packet,
    tables::{DEFEND_INTERVAL_NS, Tables, VipCount, take_token},
    trace::{Decision, fill},
    work::{Key, MacWords, Work, mac_bytes},
};

/// What stands in the maps before a frame is judged.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// `VIPS`.
    pub vips: HashMap<VipKey, VipEntry>,
    /// `LEASES`.
    pub leases: [LeaseSlot; LEASE_SLOTS as usize],
    /// `VIP_STATE`.
    pub states: BTreeMap<VipKey, VipState>,
    /// `LINKS`.
    pub links: HashMap<u32, LinkEntry>,
    /// `LINK_STATE`.
    pub buckets: BTreeMap<u32, LinkState>,
    /// Keys of `HOST_MACS`.
    pub host_macs: HashSet<[u8; 6]>,
}

/// The maps, and what the decision left in them.
#[derive(Debug, Default)]
pub struct Model {
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub clock: Cell<u64>,
    /// `VIPS`, `LINKS` and `HOST_MACS`, and how the others were at first.
    pub contents: Contents,
    /// `LEASES` now.
    pub leases: RefCell<[LeaseSlot; LEASE_SLOTS as usize]>,
    /// `VIP_STATE` now.
    pub states: RefCell<BTreeMap<VipKey, VipState>>,
    /// `LINK_STATE` now.
    pub buckets: RefCell<BTreeMap<u32, LinkState>>,
    /// `COUNTERS`.
    pub counters: RefCell<[u64; COUNTERS as usize]>,
    /// `VIP_COUNTERS`.
    pub vip_counters: RefCell<BTreeMap<u32, VipCounters>>,
    /// `EVENTS`.
    pub events: RefCell<Vec<Event>>,
    /// `VIP_STATE` has no room for a further entry.
    pub states_full: Cell<bool>,
    /// `TRACED`.
    pub traced: RefCell<Vec<Traced>>,
}

impl Model {
    /// Maps with these contents, at this time.
    pub fn new(contents: &Contents, now: u64) -> Self {
        let model = Self {
            contents: contents.clone(),
            ..Self::default()
        };
        model.clock.set(now);
        model.reset();
        model
    }

    /// Everything that the decision wrote is as at first again.
    pub fn reset(&self) {
        *self.leases.borrow_mut() = self.contents.leases;
        self.states.borrow_mut().clone_from(&self.contents.states);
        self.buckets.borrow_mut().clone_from(&self.contents.buckets);
        self.counters.borrow_mut().fill(0);
        self.vip_counters.borrow_mut().clear();
        self.events.borrow_mut().clear();
        self.traced.borrow_mut().clear();
    }

    /// Moves the clock.
    pub fn pass(&self, nanoseconds: u64) {
        self.clock.set(self.clock.get() + nanoseconds);
    }

    /// How often frames were counted so.
    pub fn counted(&self, verdict: Verdict, family: Family) -> u64 {
        self.counters.borrow()[index(verdict, family) as usize]
    }
}

impl<'a> Tables<'a> for &'a Model {
    fn now(self) -> u64 {
        self.clock.get()
    }

    fn vip(self, key: &Key) -> Option<&'a VipEntry> {
        self.contents.vips.get(&key.vip_key())
    }

    fn lease(self, slot: u16) -> Option<LeaseSlot> {
        self.leases.borrow().get(usize::from(slot)).copied()
    }

    fn state(self, key: &Key) -> Option<VipState> {
        self.states.borrow().get(&key.vip_key()).copied()
    }

    fn note_yield(self, key: &Key, now: u64, confirmed: u64) -> bool {
        let mut states = self.states.borrow_mut();
        if self.states_full.get() && !states.contains_key(&key.vip_key()) {
            return false;
        }
        let state = states.entry(key.vip_key()).or_default();
        let known = state.yield_at_ns != 0 && state.yield_confirmed_ns == confirmed;
        state.yield_at_ns = now;
        state.yield_confirmed_ns = confirmed;
        !known
    }

    fn take_interval(self, key: &Key, now: u64) -> bool {
        let mut states = self.states.borrow_mut();
        if self.states_full.get() && !states.contains_key(&key.vip_key()) {
            return false;
        }
        let last = &mut states.entry(key.vip_key()).or_default().defended_at_ns;
        if *last != 0 && now - *last < DEFEND_INTERVAL_NS {
            return false;
        }
        *last = now;
        true
    }

    fn take_bucket(self, ifindex: u32, now: u64) -> bool {
        let mut buckets = self.buckets.borrow_mut();
        let full_at = &mut buckets.entry(ifindex).or_default().bucket_full_at_ns;
        take_token(*full_at, now).is_some_and(|next| {
            *full_at = next;
            true
        })
    }

    fn is_host_mac(self, mac: &MacWords) -> bool {
        self.contents.host_macs.contains(&mac_bytes(mac))
    }

    fn link(self, ifindex: u32) -> Option<&'a LinkEntry> {
        self.contents.links.get(&ifindex)
    }

    fn count(self, verdict: Verdict, family: Family) {
        self.counters.borrow_mut()[index(verdict, family) as usize] += 1;
    }

    fn count_vip(self, entry: &VipEntry, what: VipCount) {
        let mut counters = self.vip_counters.borrow_mut();
        let counters = counters.entry(entry.counter).or_default();
        match what {
            VipCount::Answer => counters.answers += 1,
            VipCount::Conflict => counters.conflicts += 1,
        }
    }

    fn report(self, work: &Work, rival: &MacWords, kind: EventKind, announce: bool, now: u64) {
        self.events.borrow_mut().push(Event {
            at_ns: now,
            key: work.claim.vip_key(),
            rival: mac_bytes(rival),
            kind: kind as u8,
            flags: if announce { Event::ANNOUNCE } else { 0 },
        });
    }

    fn trace<P: Packet>(self, packet: P, decision: Decision<'_>, now: u64) {
        let mut record = Traced {
            at_ns: now,
            length: packet.length(),
            ifindex: packet.ifindex(),
            ..Traced::default()
        };
        fill(&mut record, decision);
        self.traced.borrow_mut().push(record);
    }
}
