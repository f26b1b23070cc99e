//! The maps, all with BTF, so that bpftool prints names and fields. `docs/maps.md` tells who
//! writes what.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::{Array, HashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use vip_common::{
    abi::{
        EVENTS_BYTES, Event, HostMac, LEASE_SLOTS, LINKS_CAPACITY, LeaseSlot, LinkEntry, LinkState,
        SessionRecord, TRACED_BYTES, TraceSwitch, Traced, VIP_COUNTERS_CAPACITY, VIPS_CAPACITY,
        VipCounters, VipEntry, VipKey, VipState,
    },
    counter,
    work::Work,
};

// Elements of a preallocated hash are reused at once: a program that still reads a deleted entry
// could answer for one VIP with the MAC of another. Without preallocation they live until the
// end of the RCU period.
const HASH: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map]
pub(crate) static VIPS: HashMap<VipKey, VipEntry, { VIPS_CAPACITY as usize }, HASH> =
    HashMap::new();

#[btf_map]
pub(crate) static VIP_STATE: HashMap<VipKey, VipState, { VIPS_CAPACITY as usize }, HASH> =
    HashMap::new();

#[btf_map]
pub(crate) static LEASES: Array<LeaseSlot, { LEASE_SLOTS as usize }, { BPF_F_MMAPABLE as usize }> =
    Array::new();

#[btf_map]
pub(crate) static LINKS: HashMap<u32, LinkEntry, { LINKS_CAPACITY as usize }, HASH> =
    HashMap::new();

#[btf_map]
pub(crate) static LINK_STATE: HashMap<u32, LinkState, { LINKS_CAPACITY as usize }, HASH> =
    HashMap::new();

#[btf_map]
pub(crate) static HOST_MACS: HashMap<HostMac, u32, { LINKS_CAPACITY as usize }, HASH> =
    HashMap::new();

/// Not read by the programs: it lives and is pinned with them.
#[btf_map]
pub(crate) static SESSION: Array<SessionRecord, 1> = Array::new();

#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, { counter::COUNTERS as usize }> = PerCpuArray::new();

#[btf_map]
pub(crate) static VIP_COUNTERS: PerCpuArray<VipCounters, { VIP_COUNTERS_CAPACITY as usize }> =
    PerCpuArray::new();

#[btf_map]
pub(crate) static EVENTS: RingBuf<Event, { EVENTS_BYTES as usize }> = RingBuf::new();

#[btf_map]
pub(crate) static TRACE: Array<TraceSwitch, 1> = Array::new();

#[btf_map]
pub(crate) static TRACED: RingBuf<Traced, { TRACED_BYTES as usize }> = RingBuf::new();

/// Scratch area of a decision: one for each direction, and CPU.
#[btf_map]
pub(crate) static WORK: PerCpuArray<Work, 2> = PerCpuArray::new();
