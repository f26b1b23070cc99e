//! Requests for addresses, complete: what is left out the kernel would guess.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{
        AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
        AddressScope, CacheInfo,
    },
};
use rtnetlink::AddressMessageBuilder;

use super::AddressError;
use crate::{
    binding::{AddressChange, Operation},
    host::IFA_PROTO_XVIP,
};

/// `RTM_NEWADDR` or `RTM_DELADDR`.
pub(super) fn request(change: &AddressChange) -> NetlinkMessage<RouteNetlinkMessage> {
    let address = address(change);
    let (flags, body) = match change.operation {
        Operation::Add => (
            NLM_F_CREATE | NLM_F_EXCL,
            RouteNetlinkMessage::NewAddress(address),
        ),
        Operation::Replace => (
            NLM_F_CREATE | NLM_F_REPLACE,
            RouteNetlinkMessage::NewAddress(address),
        ),
        Operation::Remove => (0, RouteNetlinkMessage::DelAddress(address)),
    };
    let mut message = NetlinkMessage::from(body);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    message
}

fn address(change: &AddressChange) -> AddressMessage {
    let (net, ifindex) = (change.net, change.ifindex);
    let (mut message, flags, preferred) = match net.addr() {
        IpAddr::V4(v4) => (
            AddressMessageBuilder::<Ipv4Addr>::new()
                .index(ifindex)
                .address(v4, net.prefix_len())
                .build(),
            AddressFlags::Noprefixroute,
            change.valid_lft,
        ),
        IpAddr::V6(v6) => (
            AddressMessageBuilder::<Ipv6Addr>::new()
                .index(ifindex)
                .address(v6, net.prefix_len())
                .build(),
            AddressFlags::Noprefixroute | AddressFlags::Nodad,
            // Deprecated from the start, so that it is never chosen as a source (RFC 6724, rule 3).
            0,
        ),
    };
    // The builder's broadcast address: a VIP is no place to send the subnet's broadcasts from.
    (message.attributes).retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
    message.header.scope = AddressScope::Universe;
    message.header.flags = AddressHeaderFlags::from_bits_truncate(flags.bits() as u8);
    let mut lifetimes = CacheInfo::default();
    lifetimes.ifa_preferred = preferred;
    lifetimes.ifa_valid = change.valid_lft;
    message.attributes.extend([
        AddressAttribute::Flags(flags),
        AddressAttribute::CacheInfo(lifetimes),
        AddressAttribute::Protocol(AddressProtocol::Other(IFA_PROTO_XVIP)),
    ]);
    message
}

/// What the kernel's answer means.
pub(super) fn outcome(change: &AddressChange, answer: &ErrorMessage) -> Result<(), AddressError> {
    let errno = -answer.raw_code();
    // EADDRNOTAVAIL: no such address; ENODEV: it went with its interface.
    let gone = [0, libc::EADDRNOTAVAIL, libc::ENODEV];
    let fine: &[i32] = match change.operation {
        Operation::Remove => &gone,
        Operation::Add | Operation::Replace => &gone[..1],
    };
    if fine.contains(&errno) {
        return Ok(());
    }
    Err(AddressError::Kernel {
        operation: change.operation,
        ifindex: change.ifindex,
        net: change.net,
        source: io::Error::from_raw_os_error(errno),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(net: &str) -> Vec<AddressAttribute> {
        let change = AddressChange {
            operation: Operation::Add,
            ifindex: 7,
            net: net.parse().unwrap(),
            valid_lft: u32::MAX,
        };
        let message = address(&change);
        assert_eq!(message.header.index, 7);
        assert_eq!(message.header.prefix_len, change.net.prefix_len());
        message.attributes
    }

    #[test]
    fn an_ipv4_vip_has_local_and_address_and_no_broadcast_at_any_prefix_length() {
        for net in ["192.0.2.100/32", "192.0.2.100/24"] {
            let attributes = attributes(net);
            let vip = IpAddr::from([192, 0, 2, 100]);
            assert!(attributes.contains(&AddressAttribute::Address(vip)));
            assert!(attributes.contains(&AddressAttribute::Local(vip)));
            let broadcast = |a: &AddressAttribute| matches!(a, AddressAttribute::Broadcast(_));
            assert!(!attributes.iter().any(broadcast), "{net}");
        }
    }

    #[test]
    fn an_ipv6_vip_is_deprecated_from_the_start_and_skips_dad() {
        let attributes = attributes("2001:db8::100/128");
        let flags = AddressFlags::Noprefixroute | AddressFlags::Nodad;
        assert!(attributes.contains(&AddressAttribute::Flags(flags)));
        let mut lifetimes = CacheInfo::default();
        lifetimes.ifa_valid = u32::MAX;
        assert!(attributes.contains(&AddressAttribute::CacheInfo(lifetimes)));
    }
}
