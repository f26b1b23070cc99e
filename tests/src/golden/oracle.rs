//! What `wire.md` says leaves, built by pnet: a second opinion that shares no code with ours.

use std::net::{Ipv4Addr, Ipv6Addr};

use pnet_base::MacAddr;
use pnet_packet::{
    Packet as _,
    arp::{ArpHardwareTypes, ArpOperation, ArpOperations, MutableArpPacket},
    ethernet::{EtherTypes, MutableEthernetPacket},
    icmpv6::{
        self, Icmpv6Packet, Icmpv6Types,
        ndp::{MutableNdpOptionPacket, MutableNeighborAdvertPacket, NdpOptionTypes},
    },
    ip::IpNextHeaderProtocols,
    ipv6::MutableIpv6Packet,
};

use super::{
    frame::{ALL_NODES, EVERYONE, group_mac},
    world::{CLIENT, CLIENT4, CLIENT6, OURS, VIP4, VIP6},
};

/// Length of an ARP frame that xvip sends (rule 6).
pub const ARP_LENGTH: usize = 60;
/// Length of a neighbour advertisement that xvip sends (rule 6).
pub const NA_LENGTH: usize = 86;

const OUR_MAC: MacAddr = MacAddr(OURS[0], OURS[1], OURS[2], OURS[3], OURS[4], OURS[5]);

fn arp(
    to: [u8; 6],
    operation: ArpOperation,
    spa: Ipv4Addr,
    tha: [u8; 6],
    tpa: Ipv4Addr,
) -> Vec<u8> {
    let mut bytes = vec![0; ARP_LENGTH];
    let mut frame = MutableEthernetPacket::new(&mut bytes).unwrap();
    frame.set_destination(to.into());
    frame.set_source(OUR_MAC);
    frame.set_ethertype(EtherTypes::Arp);
    let mut message = MutableArpPacket::new(&mut bytes[14..]).unwrap();
    message.set_hardware_type(ArpHardwareTypes::Ethernet);
    message.set_protocol_type(EtherTypes::Ipv4);
    message.set_hw_addr_len(6);
    message.set_proto_addr_len(4);
    message.set_operation(operation);
    message.set_sender_hw_addr(OUR_MAC);
    message.set_sender_proto_addr(spa);
    message.set_target_hw_addr(tha.into());
    message.set_target_proto_addr(tpa);
    bytes
}

/// Rule 1: unicast to the requester, whoever it is.
pub fn arp_reply(to: [u8; 6], sha: [u8; 6], spa: Ipv4Addr, vip: Ipv4Addr) -> Vec<u8> {
    arp(to, ArpOperations::Reply, vip, sha, spa)
}

/// Rule 1, to the client of the captures.
pub fn reply() -> Vec<u8> {
    arp_reply(CLIENT, CLIENT, CLIENT4, VIP4)
}

/// Rule 13: the broadcast announcement, with THA 0 (rule 10).
pub fn announcement(vip: Ipv4Addr) -> Vec<u8> {
    arp(EVERYONE, ArpOperations::Request, vip, [0; 6], vip)
}

/// The R, S and O flags (RFC 4861, 4.4).
pub const ROUTER: u8 = 0x80;
/// Solicited.
pub const SOLICITED: u8 = 0x40;
/// Override.
pub const OVERRIDE: u8 = 0x20;

/// A neighbour advertisement of a VIP.
pub fn advertisement(to_mac: [u8; 6], to: Ipv6Addr, vip: Ipv6Addr, flags: u8) -> Vec<u8> {
    let mut bytes = vec![0; NA_LENGTH];
    let mut frame = MutableEthernetPacket::new(&mut bytes).unwrap();
    frame.set_destination(to_mac.into());
    frame.set_source(OUR_MAC);
    frame.set_ethertype(EtherTypes::Ipv6);
    let mut packet = MutableIpv6Packet::new(&mut bytes[14..]).unwrap();
    packet.set_version(6);
    packet.set_payload_length(32);
    packet.set_next_header(IpNextHeaderProtocols::Icmpv6);
    packet.set_hop_limit(255);
    packet.set_source(vip);
    packet.set_destination(to);
    let mut message = MutableNeighborAdvertPacket::new(&mut bytes[54..]).unwrap();
    message.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
    message.set_flags(flags);
    message.set_target_addr(vip);
    let mut option = MutableNdpOptionPacket::new(&mut bytes[78..]).unwrap();
    option.set_option_type(NdpOptionTypes::TargetLLAddr);
    option.set_length(1);
    option.set_data(&OURS);
    let sum = icmpv6::checksum(&Icmpv6Packet::new(&bytes[54..]).unwrap(), &vip, &to);
    let mut message = MutableNeighborAdvertPacket::new(&mut bytes[54..]).unwrap();
    message.set_checksum(sum);
    assert_eq!(message.packet().len(), 32);
    bytes
}

/// Rule 14, to the client of the captures.
pub fn answer() -> Vec<u8> {
    advertisement(CLIENT, CLIENT6, VIP6, SOLICITED | OVERRIDE)
}

/// Rules 13 and 17: to all nodes.
pub fn unsolicited(vip: Ipv6Addr, router: u8) -> Vec<u8> {
    advertisement(group_mac(ALL_NODES), ALL_NODES, vip, OVERRIDE | router)
}
