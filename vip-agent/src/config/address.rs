//! Addresses that cannot be VIPs, wherever (`wire.md`, rule 9).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use vip_common::abi::{CHECK_IPV4, CHECK_IPV6};

use super::{problem::Problem, source::Given};
use crate::vip::BoundVip;

const OTHER: &str = "choose a unicast address of the subnet that nobody uses";

/// Reads the address of a VIP.
pub(super) fn parse(given: &Given<'_>) -> Result<IpAddr, Problem> {
    let text = given.string("an address, as in 192.0.2.100 or \"2001:db8::100\"")?;
    let address = text
        .parse::<IpAddr>()
        .map_err(|_| not_an_address(given, text))?;
    match reason(address) {
        Some(reason) => Err(given.problem(reason, OTHER)),
        None => Ok(address),
    }
}

fn not_an_address(given: &Given<'_>, text: &str) -> Problem {
    if let Ok(net) = text.parse::<IpNet>() {
        let fix = format!("write {}, and {} as `prefix`", net.addr(), net.prefix_len());
        return given.problem("an address with a prefix length", fix);
    }
    let fix = "write an IPv4 or IPv6 address, as in 192.0.2.100 or 2001:db8::100";
    match text.split_once('%') {
        Some((address, _)) if address.parse::<Ipv6Addr>().is_ok() => {
            given.problem("a VIP has no zone", OTHER)
        }
        _ => given.problem("not an IP address; names are not looked up", fix),
    }
}

/// Why no host may have it as a VIP.
pub fn reason(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => reason_v4(v4),
        IpAddr::V6(v6) => reason_v6(v6),
    }
}

fn reason_v4(v4: Ipv4Addr) -> Option<&'static str> {
    Some(match v4 {
        CHECK_IPV4 => "reserved (RFC 7600): xvip's own check after attach asks for it",
        _ if v4.octets()[0] == 0 => "unspecified: 0.0.0.0/8 means this host on this network",
        _ if v4.is_loopback() => "a loopback address, which never leaves a host",
        _ if v4.is_link_local() => {
            "link-local: hosts choose these addresses for themselves (RFC 3927)"
        }
        _ if v4.is_multicast() => "a multicast address",
        _ if v4.is_broadcast() => "the broadcast address",
        _ => return None,
    })
}

fn reason_v6(v6: Ipv6Addr) -> Option<&'static str> {
    Some(match v6 {
        CHECK_IPV6 => "reserved (RFC 6666): xvip's own check after attach asks for it",
        _ if v6.is_unspecified() => "the unspecified address",
        _ if v6.is_loopback() => "the loopback address, which never leaves a host",
        _ if v6.is_multicast() => "a multicast address",
        _ if v6.to_ipv4_mapped().is_some() => {
            "an IPv4-mapped address: write the IPv4 address itself"
        }
        _ if v6.is_unicast_link_local() => {
            "link-local: clients need a zone to reach it, and routers do not forward to it"
        }
        _ => return None,
    })
}

/// Why an address cannot be a VIP within this subnet: it stands for all or any of its hosts.
/// A subnet of two addresses (RFC 3021, RFC 6164) or one has no such address.
pub fn reserved_in(address: IpAddr, subnet: BoundVip) -> Option<&'static str> {
    match (address, subnet) {
        (IpAddr::V4(v4), IpNet::V4(net)) if net.prefix_len() < 31 => {
            if v4 == net.network() {
                Some("the network address of the subnet")
            } else if v4 == net.broadcast() {
                Some("the broadcast address of the subnet")
            } else {
                None
            }
        }
        (IpAddr::V6(v6), IpNet::V6(net)) if net.prefix_len() < 127 && v6 == net.network() => {
            Some("the subnet-router anycast address (RFC 4291, 2.6.1)")
        }
        _ => None,
    }
}
