//! The maps as the decision sees them.

use core::{mem::size_of, ptr};

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{bpf_ktime_get_boot_ns, bpf_map_lookup_elem},
};
use vip_common::{
    abi::{
        Event, EventKind, HostMac, LeaseSlot, LinkEntry, LinkState, SLOT_SESSION, TraceSwitch,
        Traced, VipCounters, VipEntry, VipKey, VipState,
    },
    counter::{self, Family, Verdict},
    extension::{EXTENDED, Extension, PASSED, REFUSED},
    packet::Packet,
    tables::{DEFEND_INTERVAL_NS, Tables, VipCount, take_token},
    trace::{Decision, fill},
    work::{Key, MacWords, QuickKey, Work},
};

use crate::maps;

/// The pinned maps.
#[derive(Clone, Copy)]
pub(crate) struct Store;

/// Indices of arrays, as memory that look-ups may read. Without CAP_PERFMON the verifier puts a
/// barrier behind every first write to a stack slot, which costs more than the look-up.
static INDICES: [u32; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Looks up without the stack.
#[inline(always)]
fn look_up<M, K, V>(map: *const M, key: *const K) -> Option<*mut V> {
    // SAFETY: the map is one of ours, and the key of its type.
    let value = unsafe { bpf_map_lookup_elem(map.cast_mut().cast(), key.cast()) };
    (!value.is_null()).then_some(value.cast())
}

/// The scratch area of this CPU: one for each direction.
#[inline(always)]
pub(crate) fn work<const DIRECTION: usize>() -> Option<*mut Work> {
    look_up(&raw const maps::WORK, &INDICES[DIRECTION])
}

#[inline(always)]
fn key(key: &Key) -> &VipKey {
    // SAFETY: `Key` is `VipKey` with its address as words: same size, same offsets, a stricter
    // alignment, and every bit pattern is valid for both.
    unsafe { &*ptr::from_ref(key).cast::<VipKey>() }
}

/// Replaces a number in a map if it still is `old`, with full ordering.
#[inline(always)]
fn exchange(number: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: the pointer comes from a map look-up and is 8-byte aligned.
    unsafe {
        core::intrinsics::atomic_cxchg::<
            u64,
            { core::intrinsics::AtomicOrdering::SeqCst },
            { core::intrinsics::AtomicOrdering::SeqCst },
        >(number, old, new)
        .1
    }
}

impl Store {
    /// The entry of `VIP_STATE`, made when it is missing.
    #[inline(always)]
    fn state_cell(at: &Key) -> Option<*mut VipState> {
        let at = key(at);
        if let Some(cell) = maps::VIP_STATE.get_ptr_mut(at) {
            return Some(cell);
        }
        let fresh = VipState {
            yield_at_ns: 0,
            yield_confirmed_ns: 0,
            defended_at_ns: 0,
        };
        // When another CPU was faster, its entry serves as well.
        let _ = maps::VIP_STATE.insert(at, &fresh, u64::from(BPF_NOEXIST));
        maps::VIP_STATE.get_ptr_mut(at)
    }

    /// Moves the times of a slot on, unless its deadline has passed. `confirmed` goes first: a
    /// live VIP is not unconfirmed in between.
    #[inline(always)]
    pub(crate) fn extend(self, by: &Extension) -> u32 {
        let Some(slot) = maps::LEASES.get_ptr_mut(by.slot) else {
            return REFUSED;
        };
        // SAFETY: the pointer comes from a look-up; each field is read once.
        let (deadline, confirmed, found) = unsafe {
            let (deadline, confirmed) = (
                &raw mut (*slot).deadline_boot_ns,
                &raw mut (*slot).confirmed_boot_ns,
            );
            let found = LeaseSlot {
                deadline_boot_ns: ptr::read_volatile(deadline),
                confirmed_boot_ns: ptr::read_volatile(confirmed),
                epoch: 0,
            };
            (deadline, confirmed, found)
        };
        let Some(to) = found.extended(by, self.now()) else {
            return PASSED;
        };
        // A store of the agent's that comes in between, as that of a fence, stays.
        let moved = exchange(confirmed, found.confirmed_boot_ns, to.confirmed_boot_ns)
            && exchange(deadline, found.deadline_boot_ns, to.deadline_boot_ns);
        if moved { EXTENDED } else { PASSED }
    }
}

impl Tables<'static> for Store {
    #[inline(always)]
    fn now(self) -> u64 {
        // SAFETY: the helper takes nothing.
        unsafe { bpf_ktime_get_boot_ns() }
    }

    #[inline(always)]
    fn vip(self, at: &Key) -> Option<&'static VipEntry> {
        // SAFETY: the map is not preallocated and the programs never insert into it: an entry
        // that was looked up stays as it is until the end of the program.
        unsafe { maps::VIPS.get(key(at)) }
    }

    #[inline(always)]
    fn vip_quick(self, at: &QuickKey) -> Option<&'static VipEntry> {
        // SAFETY: as for `vip`; a `QuickKey` is a `VipKey` as three numbers.
        look_up(&raw const maps::VIPS, at).map(|entry| unsafe { &*entry })
    }

    #[inline(always)]
    fn lease(self, slot: u16) -> Option<LeaseSlot> {
        let slot: *const LeaseSlot = if slot == SLOT_SESSION {
            look_up(&raw const maps::LEASES, &INDICES[SLOT_SESSION as usize])?
        } else {
            maps::LEASES.get_ptr(u32::from(slot))?
        };
        // SAFETY: the pointer comes from a look-up. The agent stores to the slot while we read:
        // each field is read once, the deadline first (see `vip_common::standing`).
        unsafe {
            let deadline_boot_ns = ptr::read_volatile(&raw const (*slot).deadline_boot_ns);
            let epoch = ptr::read_volatile(&raw const (*slot).epoch);
            let confirmed_boot_ns = ptr::read_volatile(&raw const (*slot).confirmed_boot_ns);
            Some(LeaseSlot {
                deadline_boot_ns,
                confirmed_boot_ns,
                epoch,
            })
        }
    }

    #[inline(always)]
    fn state(self, at: &Key) -> Option<VipState> {
        let state = maps::VIP_STATE.get_ptr(key(at))?;
        // SAFETY: as for a slot; `yield_confirmed_ns` is stored last and read first.
        unsafe {
            let yield_confirmed_ns = ptr::read_volatile(&raw const (*state).yield_confirmed_ns);
            let yield_at_ns = ptr::read_volatile(&raw const (*state).yield_at_ns);
            Some(VipState {
                yield_at_ns,
                yield_confirmed_ns,
                defended_at_ns: 0,
            })
        }
    }

    #[inline(always)]
    fn note_yield(self, at: &Key, now: u64, confirmed: u64) -> bool {
        let Some(state) = Self::state_cell(at) else {
            return false;
        };
        // SAFETY: the pointer comes from a look-up; see `state` for the order.
        unsafe {
            let known = ptr::read_volatile(&raw const (*state).yield_confirmed_ns) == confirmed
                && ptr::read_volatile(&raw const (*state).yield_at_ns) != 0;
            ptr::write_volatile(&raw mut (*state).yield_at_ns, now);
            ptr::write_volatile(&raw mut (*state).yield_confirmed_ns, confirmed);
            !known
        }
    }

    #[inline(always)]
    fn take_interval(self, at: &Key, now: u64) -> bool {
        let Some(state) = Self::state_cell(at) else {
            return false;
        };
        // SAFETY: the pointer comes from a look-up.
        let (cell, last) = unsafe {
            let cell = &raw mut (*state).defended_at_ns;
            (cell, ptr::read_volatile(cell))
        };
        if last != 0 && now < last.saturating_add(DEFEND_INTERVAL_NS) {
            return false;
        }
        exchange(cell, last, now)
    }

    #[inline(always)]
    fn take_bucket(self, ifindex: u32, now: u64) -> bool {
        if maps::LINK_STATE.get_ptr(ifindex).is_none() {
            let fresh = LinkState {
                bucket_full_at_ns: 0,
            };
            let _ = maps::LINK_STATE.insert(ifindex, &fresh, u64::from(BPF_NOEXIST));
        }
        let Some(state) = maps::LINK_STATE.get_ptr_mut(ifindex) else {
            return false;
        };
        // SAFETY: the pointer comes from a look-up.
        let (cell, full_at) = unsafe {
            let cell = &raw mut (*state).bucket_full_at_ns;
            (cell, ptr::read_volatile(cell))
        };
        // Losing the race to another CPU counts as an empty bucket: the frame is left.
        take_token(full_at, now).is_some_and(|next| exchange(cell, full_at, next))
    }

    #[inline(always)]
    fn is_host_mac(self, mac: &MacWords) -> bool {
        let words = [mac[0], mac[1], mac[2], 0];
        // SAFETY: four words are the 8 bytes of a `HostMac`, for which every pattern is valid.
        let mac: HostMac = unsafe { core::mem::transmute(words) };
        maps::HOST_MACS.get_ptr(mac).is_some()
    }

    #[inline(always)]
    fn link(self, ifindex: u32) -> Option<&'static LinkEntry> {
        // SAFETY: as for `vip`.
        unsafe { maps::LINKS.get(ifindex) }
    }

    #[inline(always)]
    fn link_quick(self, key: &QuickKey) -> Option<&'static LinkEntry> {
        // SAFETY: as for `vip`; the key is the first 4 bytes, in the order of the machine.
        look_up(&raw const maps::LINKS, key.link()).map(|entry| unsafe { &*entry })
    }

    #[inline(always)]
    fn count(self, verdict: Verdict, family: Family) {
        if let Some(count) = maps::COUNTERS.get_ptr_mut(counter::index(verdict, family)) {
            // SAFETY: the value belongs to this CPU; ingress and egress count different verdicts.
            unsafe { *count += 1 }
        }
    }

    #[inline(always)]
    fn count_vip(self, entry: &VipEntry, what: VipCount) {
        if let Some(counters) = maps::VIP_COUNTERS.get_ptr_mut(entry.counter) {
            // SAFETY: the value belongs to this CPU, and only ingress counts here.
            unsafe {
                match what {
                    VipCount::Answer => (*counters).answers += 1,
                    VipCount::Conflict => (*counters).conflicts += 1,
                }
            }
        }
    }

    #[inline(always)]
    fn answered(self, entry: &VipEntry, family: Family) {
        if entry.flags & VipEntry::SYNTHETIC != 0 {
            return;
        }
        let index = &raw const INDICES[counter::index(Verdict::Answered, family) as usize];
        // SAFETY: as for `count` and `count_vip`.
        unsafe {
            if let Some(count) = look_up::<_, _, u64>(&raw const maps::COUNTERS, index) {
                *count += 1;
            }
            let index = &raw const entry.counter;
            if let Some(count) = look_up::<_, _, VipCounters>(&raw const maps::VIP_COUNTERS, index)
            {
                (*count).answers += 1;
            }
        }
    }

    #[inline(always)]
    fn traced_until(self) -> u64 {
        match look_up::<_, _, TraceSwitch>(&raw const maps::TRACE, &INDICES[0]) {
            // SAFETY: the pointer comes from a look-up.
            Some(switch) => unsafe { ptr::read_volatile(&raw const (*switch).until_ns) },
            None => 0,
        }
    }

    #[inline(always)]
    fn report(self, work: &Work, rival: &MacWords, kind: EventKind, announce: bool, now: u64) {
        let Some(mut record) = maps::EVENTS.reserve_bytes(size_of::<Event>(), 0) else {
            if let Some(lost) = maps::COUNTERS.get_ptr_mut(counter::EVENTS_DROPPED) {
                // SAFETY: as for `count`.
                unsafe { *lost += 1 }
            }
            return;
        };
        let event = record.as_mut_ptr().cast::<u64>();
        let tail = work_tail(rival, kind, announce);
        // SAFETY: the record has the 40 bytes of an `Event`: time, key (16 + 8), rival and kind.
        unsafe {
            event.write(now);
            let at = ptr::from_ref(&work.claim).cast::<u64>();
            event.add(1).write(at.read());
            event.add(2).write(at.add(1).read());
            event.add(3).write(at.add(2).read());
            event.add(4).write(tail);
        }
        record.submit(0);
        crate::log_conflict();
    }

    #[inline(always)]
    fn trace<P: Packet>(self, packet: P, decision: Decision<'_>, now: u64) {
        if now < self.traced_until() {
            trace(packet.length(), packet.ifindex(), decision, now);
        }
    }
}

/// The last 8 bytes of an [`Event`] as they lie in memory (little-endian).
#[inline(always)]
fn work_tail(rival: &MacWords, kind: EventKind, announce: bool) -> u64 {
    let flags = if announce { Event::ANNOUNCE } else { 0 };
    u64::from(rival[0])
        | u64::from(rival[1]) << 16
        | u64::from(rival[2]) << 32
        | u64::from(kind as u8) << 48
        | u64::from(flags) << 56
}

/// Writes a record of `TRACED`, of the VIP that is looked for or of all.
#[inline(always)]
fn trace(length: u32, ifindex: u32, decision: Decision<'_>, now: u64) {
    let Some(mut record) = maps::TRACED.reserve_bytes(size_of::<Traced>(), 0) else {
        return;
    };
    // SAFETY: the record has the size of a `Traced`, the alignment of 8 that all records have,
    // and the kernel made it of memory in use, for which every pattern is a `Traced`.
    let traced = unsafe { &mut *record.as_mut_ptr().cast::<Traced>() };
    traced.at_ns = now;
    traced.length = length;
    traced.ifindex = ifindex;
    fill(traced, decision);
    record.submit(0);
}
