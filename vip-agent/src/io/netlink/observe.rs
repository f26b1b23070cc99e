//! From netlink messages to [`Host`].

use std::{collections::BTreeMap, fs, net::IpAddr};

use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{
        AfSpecInet, AfSpecInet6, AfSpecUnspec, InfoBond, InfoData, InfoKind, InfoVlan,
        LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
    },
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteVia},
};

use crate::{
    host::{Address, DefaultRoute, FOR_EVER, Host, Link},
    vip::Mac,
};

/// A dump of all links, without their statistics.
pub(super) fn all_links() -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    (message.attributes).push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    RouteNetlinkMessage::GetLink(message)
}

/// A dump of all addresses of both families.
pub(super) fn all_addresses() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetAddress(AddressMessage::default())
}

/// Dumps of the main routing tables; the local ones hold a route for each address.
pub(super) fn main_tables() -> [RouteNetlinkMessage; 2] {
    [AddressFamily::Inet, AddressFamily::Inet6].map(|family| {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        RouteNetlinkMessage::GetRoute(message)
    })
}

/// The event may change what [`host`] would say. Our own additions do not: they are the answer to
/// what was observed, and would be observed again, ten thousand times.
pub(super) fn matters(event: &RouteNetlinkMessage) -> bool {
    match event {
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
            route.header.table == RouteHeader::RT_TABLE_MAIN
                && route.header.destination_prefix_length == 0
        }
        RouteNetlinkMessage::NewAddress(message) => {
            !address(message).is_some_and(|address| address.is_ours())
        }
        _ => true,
    }
}

/// Puts the dumps together.
pub(super) fn host(
    links: Vec<RouteNetlinkMessage>,
    addresses: Vec<RouteNetlinkMessage>,
    routes: Vec<RouteNetlinkMessage>,
) -> Host {
    // Netlink tells of each link, but not of "all", which holds for each as well.
    let promote_all = fs::read("/proc/sys/net/ipv4/conf/all/promote_secondaries")
        .is_ok_and(|text| text.first() == Some(&b'1'));
    let mut found = BTreeMap::new();
    for message in links {
        if let RouteNetlinkMessage::NewLink(message) = message {
            let mut link = link(message);
            link.promote_secondaries |= promote_all;
            found.insert(link.ifindex, link);
        }
    }
    for message in addresses {
        if let RouteNetlinkMessage::NewAddress(message) = message
            && let Some(address) = address(&message)
            && let Some(link) = found.get_mut(&message.header.index)
        {
            link.addresses.push(address);
        }
    }
    Host {
        links: found,
        default_routes: routes
            .into_iter()
            .filter_map(default_route)
            .flatten()
            .collect(),
    }
}

fn link(message: LinkMessage) -> Link {
    let flags = message.header.flags;
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    let mut link = Link {
        ifindex: message.header.index,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::Running),
        noarp: flags.contains(LinkFlags::Noarp),
        // Without an IPv6 half the kernel tells none of its settings.
        ipv6_disabled: true,
        ..Link::default()
    };
    let mut lower_is_elsewhere = false;
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::CarrierUpCount(count) => link.carrier_ups = count,
            LinkAttribute::Controller(master) => link.master = Some(master),
            LinkAttribute::Link(lower) if lower != link.ifindex && lower != 0 => {
                link.lower = Some(lower);
            }
            LinkAttribute::LinkNetNsId(_) => lower_is_elsewhere = true,
            LinkAttribute::Address(octets) if ethernet => {
                link.mac = <[u8; 6]>::try_from(octets).ok().map(Mac);
            }
            LinkAttribute::LinkInfo(infos) => infos.iter().for_each(|info| kind(&mut link, info)),
            LinkAttribute::AfSpecUnspec(specs) => {
                specs.iter().for_each(|spec| settings(&mut link, spec));
            }
            _ => {}
        }
    }
    // IFLA_LINK of a pair names the other end, which is not below.
    let is_pair = (link.kind.as_deref()).is_some_and(|kind| kind == "veth" || kind == "netkit");
    if lower_is_elsewhere || is_pair {
        link.lower = None;
    }
    link
}

fn kind(link: &mut Link, info: &LinkInfo) {
    match info {
        LinkInfo::Kind(InfoKind::Other(kind)) => link.kind = Some(kind.clone()),
        LinkInfo::Kind(kind) => link.kind = Some(kind.to_string()),
        LinkInfo::Data(InfoData::Vlan(data)) => {
            link.vlan_id = data.iter().find_map(|info| match info {
                InfoVlan::Id(id) => Some(*id),
                _ => None,
            });
        }
        LinkInfo::Data(InfoData::Bond(data)) => {
            link.bond_mode = data.iter().find_map(|info| match info {
                InfoBond::Mode(mode) => Some(u8::from(*mode)),
                _ => None,
            });
        }
        _ => {}
    }
}

fn settings(link: &mut Link, spec: &AfSpecUnspec) {
    match spec {
        AfSpecUnspec::Inet(specs) => {
            for spec in specs {
                if let AfSpecInet::DevConf(conf) = spec {
                    link.promote_secondaries = conf.promote_secondaries != 0;
                }
            }
        }
        AfSpecUnspec::Inet6(specs) => {
            for spec in specs {
                if let AfSpecInet6::DevConf(conf) = spec {
                    link.ipv6_disabled = conf.disable_ipv6 != 0;
                    link.ipv6_forwarding = conf.forwarding != 0;
                }
            }
        }
        _ => {}
    }
}

/// None when the kernel told no address, as it does for no kind of link that there is.
fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut peer) = (None, None);
    let mut found = Address {
        net: IpNet::default(),
        proto: 0,
        flags: u32::from(message.header.flags.bits()),
        label: None,
        valid_lft: FOR_EVER,
        preferred_lft: FOR_EVER,
    };
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link IFA_ADDRESS is the peer's, else both are the same; IPv6
            // has IFA_LOCAL only with a peer.
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => peer = Some(*address),
            AddressAttribute::Flags(flags) => found.flags = flags.bits(),
            AddressAttribute::Label(label) => found.label = Some(label.clone()),
            AddressAttribute::Protocol(proto) => found.proto = u8::from(*proto),
            AddressAttribute::CacheInfo(lifetimes) => {
                found.valid_lft = lifetimes.ifa_valid;
                found.preferred_lft = lifetimes.ifa_preferred;
            }
            _ => {}
        }
    }
    found.net = IpNet::new(local.or(peer)?, message.header.prefix_len).ok()?;
    Some(found)
}

/// A default route, once for each of its next hops.
fn default_route(message: RouteNetlinkMessage) -> Option<Vec<DefaultRoute>> {
    let RouteNetlinkMessage::NewRoute(message) = message else {
        return None;
    };
    if message.header.destination_prefix_length != 0 {
        return None;
    }
    let (mut gateway, mut ifindex, mut metric, mut hops) = (None, None, 0, Vec::new());
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Gateway(address) => gateway = unicast(address),
            RouteAttribute::Via(RouteVia::Inet6(via)) => gateway = Some(via.into()),
            RouteAttribute::Oif(index) => ifindex = Some(index),
            RouteAttribute::Priority(priority) => metric = priority,
            RouteAttribute::MultiPath(next) => hops = next,
            _ => {}
        }
    }
    let single = ifindex.map(|ifindex| (gateway, ifindex));
    let many = hops.into_iter().map(|hop| {
        let gateway = hop
            .attributes
            .into_iter()
            .find_map(|attribute| match attribute {
                RouteAttribute::Gateway(address) => unicast(address),
                _ => None,
            });
        (gateway, hop.interface_index)
    });
    let routes = single.into_iter().chain(many);
    let route = |(gateway, ifindex)| DefaultRoute {
        gateway,
        ifindex,
        metric,
    };
    Some(routes.map(route).collect())
}

fn unicast(address: RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(v4.into()),
        RouteAddress::Inet6(v6) => Some(v6.into()),
        _ => None,
    }
}
