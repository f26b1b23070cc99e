//! By what right this node answers for which VIPs.

use std::{collections::HashMap, net::IpAddr};

/// The right to answer for a VIP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Slot of `LEASES`.
    pub slot: u16,
    /// Its epoch.
    pub epoch: u64,
    /// Yields noted before this time (nanoseconds of `CLOCK_BOOTTIME`) are over.
    pub yields_void_before_ns: u64,
}

/// The rights of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Static ownership: every VIP that is desired.
    Everything(Claim),
    /// Those that the lease machine granted.
    Granted(HashMap<IpAddr, Claim>),
}

impl Rights {
    /// The right to answer for a VIP, if there is one.
    pub fn to(&self, vip: IpAddr) -> Option<Claim> {
        match self {
            Self::Everything(claim) => Some(*claim),
            Self::Granted(claims) => claims.get(&vip).copied(),
        }
    }
}
