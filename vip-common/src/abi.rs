//! The layout of the pinned maps. `docs/maps.md` describes every field; the sizes are asserted
//! here, and a change of any of them is a new [`LAYOUT`].
//!
//! Addresses are 16 bytes, IPv4 in mapped form (RFC 4291, 2.5.5.2). Times are nanoseconds of
//! `CLOCK_BOOTTIME` (`bpf_ktime_get_boot_ns`).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Name of the directory that holds the maps of this layout, below the pin directory.
pub const LAYOUT: &str = "v1";

/// Slot of [`LeaseSlot`]s that is never live: fenced entries point here.
pub const SLOT_NEVER: u16 = 0;
/// Slot of the node's session, or of static ownership.
pub const SLOT_SESSION: u16 = 1;
/// Slot of the synthetic entries of the check after attach: always live.
pub const SLOT_CHECK: u16 = 2;
/// Slot of the Lease of the control plane.
pub const SLOT_CONTROL_PLANE: u16 = 3;
/// Number of lease slots.
pub const LEASE_SLOTS: u32 = 16;
/// A deadline that never passes.
pub const FOREVER: u64 = u64::MAX;

/// Capacity of `VIPS` and `VIP_STATE`.
pub const VIPS_CAPACITY: u32 = 131_072;
/// Capacity of `LINKS`, `LINK_STATE` and `HOST_MACS`.
pub const LINKS_CAPACITY: u32 = 4_096;
/// Capacity of `VIP_COUNTERS`; index 0 is shared by the VIPs that found no index of their own.
pub const VIP_COUNTERS_CAPACITY: u32 = 8_192;
/// Bytes of the `EVENTS` ring buffer.
pub const EVENTS_BYTES: u32 = 256 * 1024;
/// Bytes of the `TRACED` ring buffer.
pub const TRACED_BYTES: u32 = 1024 * 1024;

/// The interface index under which a VIP is known on the whole node, and never live.
pub const ANY_INTERFACE: u32 = 0;

/// Key of `VIPS` and `VIP_STATE`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VipKey {
    /// The VIP, IPv4 in mapped form.
    pub address: [u8; 16],
    /// The interface that answers, or [`ANY_INTERFACE`].
    pub ifindex: u32,
    /// Zero: keys are a multiple of 8 bytes.
    pub reserved: u32,
}

/// Value of `VIPS`, written by the agent alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VipEntry {
    /// MAC address given in answers: the interface's own.
    pub mac: [u8; 6],
    /// Index into `LEASES`.
    pub slot: u16,
    /// Bits [`VipEntry::SYNTHETIC`] and up.
    pub flags: u32,
    /// Index into `VIP_COUNTERS`.
    pub counter: u32,
    /// The entry is live only while this equals the epoch of its slot.
    pub epoch: u64,
    /// Until then the egress program lets claims of a VIP that is not live pass.
    pub claim_until_ns: u64,
    /// A yield noted before this time is over.
    pub yields_void_before_ns: u64,
}

impl VipEntry {
    /// The entry belongs to the check after attach: no counter moves for it.
    pub const SYNTHETIC: u32 = 1;
}

/// Value of `VIP_STATE`, written by the programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VipState {
    /// Time of the latest yield.
    pub yield_at_ns: u64,
    /// `confirmed_boot_ns` of the slot at the latest yield.
    pub yield_confirmed_ns: u64,
    /// Time of the latest defence, by the programs or ordered from the agent.
    pub defended_at_ns: u64,
}

/// Value of `LEASES`, memory-mapped by the agent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseSlot {
    /// From then on the slot's VIPs are silent.
    pub deadline_boot_ns: u64,
    /// From then on a claim of a rival fences the VIP instead of being defended against.
    pub confirmed_boot_ns: u64,
    /// Entries of another epoch are dead.
    pub epoch: u64,
}

/// Value of `LINKS` (key: interface index), written by the agent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkEntry {
    /// An own IPv4 address of the interface, or 0.0.0.0.
    pub ipv4: [u8; 4],
    /// Bits [`LinkEntry::FORWARDING`] and [`LinkEntry::BIND`].
    pub flags: u32,
    /// An own global IPv6 address of the interface, or `::`.
    pub ipv6: [u8; 16],
    /// The interface's own link-local address, or `::`.
    pub link_local: [u8; 16],
}

impl LinkEntry {
    /// IPv6 forwarding is on: neighbour advertisements carry the R flag (RFC 4861, 4.4).
    pub const FORWARDING: u32 = 1;
    /// VIPs of this interface are bound to it.
    pub const BIND: u32 = 2;

    /// IPv6 forwarding is on.
    #[inline(always)]
    pub const fn forwards(&self) -> bool {
        self.flags & Self::FORWARDING != 0
    }
}

/// Value of `LINK_STATE` (key: interface index), written by the programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// The token bucket for multicast frames, as the time at which it would be full again.
    pub bucket_full_at_ns: u64,
}

/// Key of `HOST_MACS`: the MAC address of an interface of this host. Value: its index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HostMac {
    /// The MAC address.
    pub mac: [u8; 6],
    /// Zero.
    pub reserved: u16,
}

/// Value of `SESSION`, pinned beside the layouts. Its layout never changes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionRecord {
    /// The session that a restarted agent continues; zero: none.
    pub id: [u8; 16],
    /// The boot that both sessions belong to.
    pub boot_id: [u8; 16],
    /// Epoch of its entries.
    pub epoch: u64,
    /// The session of the control plane; zero: none.
    pub control_plane_id: [u8; 16],
    /// Epoch of its entries.
    pub control_plane_epoch: u64,
}

/// Value of `VIP_COUNTERS` (per CPU).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VipCounters {
    /// Questions answered by the programs.
    pub answers: u64,
    /// Well-formed claims of a rival's MAC while the VIP was live.
    pub conflicts: u64,
}

/// A record of the `EVENTS` ring buffer: a change of state or a conflict, never one per packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// When it happened.
    pub at_ns: u64,
    /// Which VIP, on which interface.
    pub key: VipKey,
    /// The rival's MAC address.
    pub rival: [u8; 6],
    /// One of [`EventKind`].
    pub kind: u8,
    /// [`Event::ANNOUNCE`]: the agent is to announce the VIP.
    pub flags: u8,
}

impl Event {
    /// The programs took the interval of RFC 5227, 2.4 (c), and leave the frame to the agent.
    pub const ANNOUNCE: u8 = 1;
}

/// What an [`Event`] reports.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A rival claimed a confirmed VIP and the programs sent the defending announcement.
    Defended = 1,
    /// A rival claimed a confirmed VIP; see [`Event::ANNOUNCE`].
    Conflict = 2,
    /// A rival claimed an unconfirmed VIP: it is fenced until `confirmed` moves.
    Yielded = 3,
}

/// The one value of `TRACE`, written by `vip-agent trace`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceSwitch {
    /// Decisions are recorded until then, so that a dead reader costs nothing for long.
    pub until_ns: u64,
}

/// A record of the `TRACED` ring buffer, written only while [`TraceSwitch::until_ns`] lies ahead.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced {
    /// When the frame was judged.
    pub at_ns: u64,
    /// The VIP that decided; under interface 0 it is never live.
    pub key: VipKey,
    /// Interface that the frame came in by.
    pub ifindex: u32,
    /// Length of the frame in bytes.
    pub length: u32,
    /// One of [`crate::counter::Verdict`].
    pub verdict: u8,
    /// One of [`crate::shape::Shape`].
    pub shape: u8,
    /// Bytes of `frame` that were read.
    pub captured: u16,
    /// Zero.
    pub reserved: u32,
    /// The frame without its VLAN tags and extension headers, as far as it was read.
    pub frame: [u8; 88],
}

impl Default for Traced {
    fn default() -> Self {
        Self {
            at_ns: 0,
            key: VipKey::default(),
            ifindex: 0,
            length: 0,
            verdict: 0,
            shape: 0,
            captured: 0,
            reserved: 0,
            frame: [0; 88],
        }
    }
}

const _: () = {
    assert!(size_of::<VipKey>() == 24);
    assert!(size_of::<VipEntry>() == 40);
    assert!(size_of::<VipState>() == 24);
    assert!(size_of::<LeaseSlot>() == 24);
    assert!(size_of::<LinkEntry>() == 40);
    assert!(size_of::<LinkState>() == 8);
    assert!(size_of::<HostMac>() == 8);
    assert!(size_of::<SessionRecord>() == 64);
    assert!(size_of::<VipCounters>() == 16);
    assert!(size_of::<Event>() == 40);
    assert!(size_of::<TraceSwitch>() == 8);
    assert!(size_of::<Traced>() == 136);
};

#[cfg(feature = "user")]
macro_rules! plain_data {
    ($($of_maps:ty),+) => {
        $(
            // SAFETY: `repr(C)` of integers and byte arrays without padding, by the sizes above:
            // any bytes are a value, and all bytes of a value are initialised.
            unsafe impl aya::Pod for $of_maps {}
        )+
    };
}
#[cfg(feature = "user")]
plain_data!(
    VipKey,
    VipEntry,
    VipState,
    LeaseSlot,
    LinkEntry,
    LinkState,
    HostMac,
    SessionRecord,
    VipCounters,
    Event,
    TraceSwitch,
    Traced
);

/// Bytes of an address as the maps hold it.
pub const fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The address behind the bytes of a map.
pub fn unmapped(bytes: [u8; 16]) -> IpAddr {
    let v6 = Ipv6Addr::from(bytes);
    match v6.to_ipv4_mapped() {
        Some(v4) => IpAddr::V4(v4),
        None => IpAddr::V6(v6),
    }
}

impl VipKey {
    /// The key of `address` on an interface.
    pub const fn new(address: IpAddr, ifindex: u32) -> Self {
        Self {
            address: mapped(address),
            ifindex,
            reserved: 0,
        }
    }

    /// The VIP.
    pub fn ip(&self) -> IpAddr {
        unmapped(self.address)
    }
}

/// Reserved IPv4 address of the check after attach (RFC 7600, "IPv4 dummy address").
pub const CHECK_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
/// Reserved IPv6 address of the check after attach (RFC 6666, discard prefix).
pub const CHECK_IPV6: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 8);
