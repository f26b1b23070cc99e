//! The host of the captures: its addresses, and the states that its VIPs are shown in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vip_common::abi::{
    ANY_INTERFACE, FOREVER, LeaseSlot, LinkEntry, LinkState, SLOT_NEVER, SLOT_SESSION, VipEntry,
    VipKey, VipState,
};

use crate::model::Contents;

/// The interface: that of TEST_RUN.
pub const IFINDEX: u32 = 1;

/// The interface's own MAC address.
pub const OURS: [u8; 6] = [2, 0xaa, 0, 0, 0, 1];
/// That of another interface of the host.
pub const OUR_OTHER: [u8; 6] = [2, 0xaa, 0, 0, 0, 2];
/// Somebody who asks.
pub const CLIENT: [u8; 6] = [2, 0xcc, 0, 0, 0, 1];
/// Somebody who claims.
pub const RIVAL: [u8; 6] = [2, 0xee, 0, 0, 0, 1];

/// The VIP whose state varies.
pub const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// The VIP whose state varies.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, 0x100);
/// A VIP that is always live, and confirmed.
pub const LIVE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 101);
/// A VIP that is always live, and confirmed.
pub const LIVE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, 0x101);
/// A VIP that is always fenced.
pub const FENCED4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 102);
/// A VIP that is always fenced.
pub const FENCED6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, 0x102);

/// The client's addresses.
pub const CLIENT4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
/// The client's addresses.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
/// The host's own addresses.
pub const OWN4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The host's own addresses.
pub const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// The host's own addresses.
pub const OWN_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xaa, 0xff, 0xfe00, 1);

/// `VIP_COUNTERS` index of [`VIP4`] and [`VIP6`].
pub const COUNTER: u32 = 1;
/// `VIP_COUNTERS` index of the VIPs whose state does not vary.
pub const OTHER_COUNTER: u32 = 2;

/// How [`VIP4`] and [`VIP6`] stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Live.
    Confirmed,
    /// Live by static ownership: both times never pass.
    Static,
    /// Live, and the interface forwards IPv6.
    Router,
    /// Live, with a defence a second ago.
    DefendedJustNow,
    /// Live, with a defence eleven seconds ago.
    DefendedBefore,
    /// Live, and the bucket for multicast frames is empty.
    BucketEmpty,
    /// Live, past `confirmed`.
    Unconfirmed,
    /// Yielded before `confirmed` moved: live, past `confirmed` again.
    YieldOutlived,
    /// Yielded, and the agent's probes stayed unanswered since: live, past `confirmed`.
    YieldVoid,
    /// Yielded for this `confirmed`.
    Yielded,
    /// The deadline has passed.
    Passed,
    /// At slot 0.
    Fenced,
    /// At slot 0, and about to go live: claims may leave.
    Claiming,
    /// Of an earlier session.
    OtherEpoch,
    /// Known on the node, never live on this interface.
    OnNode,
    /// Fenced on an interface without a global address.
    NoGlobal,
    /// Fenced on an interface without any address.
    NoAddress,
    /// Not a VIP.
    Unknown,
}

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3_600 * SECOND;
const EPOCH: u64 = 7;
const SLOT_STATIC: u16 = 3;

/// How many nanoseconds of boot time the states reach back.
pub const REACH_NS: u64 = 12 * SECOND;

impl State {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Confirmed,
        Self::Static,
        Self::Router,
        Self::DefendedJustNow,
        Self::DefendedBefore,
        Self::BucketEmpty,
        Self::Unconfirmed,
        Self::YieldOutlived,
        Self::YieldVoid,
        Self::Yielded,
        Self::Passed,
        Self::Fenced,
        Self::Claiming,
        Self::OtherEpoch,
        Self::OnNode,
        Self::NoGlobal,
        Self::NoAddress,
        Self::Unknown,
    ];

    /// Answered now.
    pub fn is_live(self) -> bool {
        self < Self::Yielded
    }

    /// Live, and answered past `confirmed`.
    pub fn is_unconfirmed(self) -> bool {
        matches!(
            self,
            Self::Unconfirmed | Self::YieldOutlived | Self::YieldVoid
        )
    }

    /// The slot of the session.
    pub fn lease(self, now: u64) -> LeaseSlot {
        let (confirmed, deadline) = match self {
            Self::Passed => (now - 10 * SECOND, now - 5 * SECOND),
            _ if self.is_unconfirmed() || self == Self::Yielded => (now - 5 * SECOND, now + HOUR),
            Self::Static => (FOREVER, FOREVER),
            _ => (now + HOUR, now + HOUR),
        };
        LeaseSlot {
            deadline_boot_ns: deadline,
            confirmed_boot_ns: confirmed,
            epoch: EPOCH,
        }
    }

    fn entry(self, now: u64) -> VipEntry {
        let slot = match self {
            Self::Fenced | Self::Claiming | Self::NoGlobal | Self::NoAddress => SLOT_NEVER,
            _ => SLOT_SESSION,
        };
        VipEntry {
            mac: OURS,
            slot,
            flags: 0,
            counter: COUNTER,
            epoch: if self == Self::OtherEpoch { 6 } else { EPOCH },
            claim_until_ns: if self == Self::Claiming {
                now + HOUR
            } else {
                0
            },
            yields_void_before_ns: if self == Self::YieldVoid {
                now - SECOND
            } else {
                0
            },
        }
    }

    fn vip_state(self, now: u64) -> Option<VipState> {
        let confirmed = self.lease(now).confirmed_boot_ns;
        let yielded = |confirmed| VipState {
            yield_at_ns: now - 2 * SECOND,
            yield_confirmed_ns: confirmed,
            defended_at_ns: 0,
        };
        let defended = |seconds| VipState {
            defended_at_ns: now - seconds * SECOND,
            ..VipState::default()
        };
        match self {
            Self::Yielded | Self::YieldVoid => Some(yielded(confirmed)),
            Self::YieldOutlived => Some(yielded(confirmed - SECOND)),
            Self::DefendedJustNow => Some(defended(1)),
            Self::DefendedBefore => Some(defended(11)),
            _ => None,
        }
    }

    fn link(self) -> LinkEntry {
        let (ipv4, ipv6, link_local) = match self {
            Self::NoAddress => ([0; 4], [0; 16], [0; 16]),
            Self::NoGlobal => ([0; 4], [0; 16], OWN_LINK_LOCAL.octets()),
            _ => (OWN4.octets(), OWN6.octets(), OWN_LINK_LOCAL.octets()),
        };
        LinkEntry {
            ipv4,
            ipv6,
            link_local,
            flags: if self == Self::Router {
                LinkEntry::FORWARDING
            } else {
                0
            },
        }
    }

    /// The maps in this state at a time.
    pub fn contents(self, now: u64) -> Contents {
        let mut contents = Contents {
            links: [(IFINDEX, self.link())].into(),
            host_macs: [OURS, OUR_OTHER].into(),
            ..Contents::default()
        };
        contents.leases[usize::from(SLOT_SESSION)] = self.lease(now);
        contents.leases[usize::from(SLOT_STATIC)] = LeaseSlot {
            deadline_boot_ns: FOREVER,
            confirmed_boot_ns: FOREVER,
            epoch: EPOCH,
        };
        let fixed = |slot| VipEntry {
            slot,
            counter: OTHER_COUNTER,
            ..Self::Confirmed.entry(now)
        };
        for (address, slot) in [
            (IpAddr::V4(LIVE4), SLOT_STATIC),
            (IpAddr::V6(LIVE6), SLOT_STATIC),
            (IpAddr::V4(FENCED4), SLOT_NEVER),
            (IpAddr::V6(FENCED6), SLOT_NEVER),
        ] {
            let key = VipKey::new(address, IFINDEX);
            contents.vips.insert(key, fixed(slot));
        }
        if self == Self::BucketEmpty {
            let bucket_full_at_ns = now + HOUR;
            contents
                .buckets
                .insert(IFINDEX, LinkState { bucket_full_at_ns });
        }
        let ifindex = if self == Self::OnNode {
            ANY_INTERFACE
        } else {
            IFINDEX
        };
        for address in [IpAddr::V4(VIP4), IpAddr::V6(VIP6)] {
            if self == Self::Unknown {
                continue;
            }
            let key = VipKey::new(address, ifindex);
            contents.vips.insert(key, self.entry(now));
            if let Some(state) = self.vip_state(now) {
                contents.states.insert(key, state);
            }
        }
        contents
    }
}
