//! What the agent observes of its host: links and their addresses, as netlink tells them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use crate::vip::{IfIndex, Mac};

/// Protocol number that marks the addresses we bind (`IFA_PROTO`, rtnetlink(7)). The kernel
/// itself uses 1 to 3; the numbers above are free for routing daemons and the like.
pub const IFA_PROTO_XVIP: u8 = 0x76;

/// `IFA_F_SECONDARY`: a further IPv4 address of a subnet that already has one on the link.
pub const IFA_F_SECONDARY: u32 = 0x01;
/// `IFA_F_NODAD`: usable at once, without duplicate address detection (IPv6).
pub const IFA_F_NODAD: u32 = 0x02;
/// `IFA_F_DADFAILED`: found in use by another host (IPv6).
pub const IFA_F_DADFAILED: u32 = 0x08;
/// `IFA_F_TENTATIVE`: not answered for yet (IPv6).
pub const IFA_F_TENTATIVE: u32 = 0x40;
/// `IFA_F_NOPREFIXROUTE`: the address brings no route for its prefix.
pub const IFA_F_NOPREFIXROUTE: u32 = 0x200;
/// A lifetime without end (`INFINITY_LIFE_TIME`), in the place of seconds.
pub const FOR_EVER: u32 = u32::MAX;
/// Below this MTU the kernel takes IPv6 off a link, addresses and groups included (RFC 8200, 5).
pub const IPV6_MIN_MTU: u32 = 1280;

/// The host's links and addresses at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Links by index.
    pub links: BTreeMap<IfIndex, Link>,
    /// Gateways of default routes, with the interface they are reached by.
    pub default_routes: Vec<DefaultRoute>,
}

/// A default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The next hop; a route without one has none.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub ifindex: IfIndex,
    /// `RTA_PRIORITY`: the lowest wins.
    pub metric: u32,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub ifindex: IfIndex,
    /// Its name.
    pub name: String,
    /// Its MAC address, for links of type ARPHRD_ETHER.
    pub mac: Option<Mac>,
    /// `IFF_UP`.
    pub up: bool,
    /// `IFF_RUNNING`: operational by RFC 2863. A carrier alone (`IFF_LOWER_UP`) comes before the
    /// queue of the device is in place, and frames sent in between are lost without an error.
    pub carrier: bool,
    /// `IFLA_CARRIER_UP_COUNT`: how often the carrier came so far. A bounce between two looks
    /// shows in it alone.
    pub carrier_ups: u32,
    /// `IFF_NOARP`.
    pub noarp: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// `IFLA_INFO_KIND`: veth, vlan, bond, bridge, macvlan, dummy and so on; none for hardware.
    pub kind: Option<String>,
    /// The bridge, bond, VRF or the like that this link is a port of.
    pub master: Option<IfIndex>,
    /// The lower device (`IFLA_LINK`), when it lives in this namespace.
    pub lower: Option<IfIndex>,
    /// The VLAN id, of kind vlan.
    pub vlan_id: Option<u16>,
    /// Mode of a bond, as the kernel numbers it (6 is balance-alb).
    pub bond_mode: Option<u8>,
    /// `/proc/sys/net/ipv6/conf/NAME/disable_ipv6`.
    pub ipv6_disabled: bool,
    /// `/proc/sys/net/ipv6/conf/NAME/forwarding`.
    pub ipv6_forwarding: bool,
    /// `promote_secondaries`, of the link or of all: without it the kernel takes the secondary
    /// addresses of a subnet away together with the primary one (`__inet_del_ifa`).
    pub promote_secondaries: bool,
    /// Its addresses.
    pub addresses: Vec<Address>,
}

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Address and prefix length.
    pub net: IpNet,
    /// `IFA_PROTO`; zero when the kernel told none.
    pub proto: u8,
    /// `IFA_FLAGS`.
    pub flags: u32,
    /// `IFA_LABEL` (IPv4).
    pub label: Option<String>,
    /// `IFA_CACHEINFO` valid lifetime in seconds; `u32::MAX` for ever.
    pub valid_lft: u32,
    /// `IFA_CACHEINFO` preferred lifetime in seconds.
    pub preferred_lft: u32,
}

impl Address {
    /// We bound it.
    pub fn is_ours(&self) -> bool {
        self.proto == IFA_PROTO_XVIP
    }
}

impl Link {
    /// An own IPv4 address that is none of ours.
    pub fn own_ipv4(&self) -> Option<Ipv4Addr> {
        self.own().find_map(|net| match net.addr() {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        })
    }

    /// An own IPv6 address of global scope that is none of ours.
    pub fn own_ipv6(&self) -> Option<Ipv6Addr> {
        self.own().find_map(|net| match net.addr() {
            IpAddr::V6(v6) if !v6.is_unicast_link_local() => Some(v6),
            _ => None,
        })
    }

    /// The link-local IPv6 address.
    pub fn link_local(&self) -> Option<Ipv6Addr> {
        self.own().find_map(|net| match net.addr() {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(v6),
            _ => None,
        })
    }

    fn own(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.addresses
            .iter()
            .filter(|address| !address.is_ours())
            .map(|address| address.net)
    }
}

impl Host {
    /// The link of this name.
    pub fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }
}
