//! Address families, and which of them a Service wants.

use std::{fmt, net::IpAddr};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    /// That of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// As `ipFamilies` names it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "IPv4" => Some(Self::Ipv4),
            "IPv6" => Some(Self::Ipv6),
            _ => None,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// `ipFamilyPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FamilyPolicy {
    /// The first family alone.
    #[default]
    SingleStack,
    /// Each family that there is an address of, at least one.
    PreferDualStack,
    /// Both families or none.
    RequireDualStack,
}

impl FamilyPolicy {
    pub(super) fn parse(text: &str) -> Self {
        match text {
            "PreferDualStack" => Self::PreferDualStack,
            "RequireDualStack" => Self::RequireDualStack,
            _ => Self::SingleStack,
        }
    }
}
