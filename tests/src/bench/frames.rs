//! The frames of the benchmark.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_base::MacAddr;
use pnet_packet::icmpv6::{self, Icmpv6Packet};
use vip_common::packet::{ARP_FRAME, NA_FRAME};

/// The VIPs that are asked for.
pub(super) const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
pub(super) const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
/// Who asks.
const CLIENT4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const CLIENT: MacAddr = MacAddr(0x02, 0, 0, 0, 0, 0x0c);

fn ethernet(to: MacAddr, ether_type: u16) -> Vec<u8> {
    let mut frame = to.octets().to_vec();
    frame.extend(CLIENT.octets());
    frame.extend(ether_type.to_be_bytes());
    frame
}

/// A broadcast ARP request for the VIP, padded as on a wire.
pub(super) fn arp_request() -> Vec<u8> {
    let mut frame = ethernet(MacAddr::broadcast(), 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(CLIENT.octets());
    frame.extend(CLIENT4.octets());
    frame.extend([0; 6]);
    frame.extend(VIP4.octets());
    frame.resize(ARP_FRAME as usize, 0);
    frame
}

fn ipv6(frame: &mut Vec<u8>, length: u16, next: u8, hops: u8, to: Ipv6Addr) {
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([next, hops]);
    frame.extend(CLIENT6.octets());
    frame.extend(to.octets());
}

/// A multicast neighbour solicitation for the VIP with the sender's link-layer address.
pub(super) fn solicitation() -> Vec<u8> {
    let [.., a, b, c] = VIP6.octets();
    let group = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(a),
        u16::from_be_bytes([b, c]),
    );
    let mut frame = ethernet(MacAddr(0x33, 0x33, 0xff, a, b, c), 0x86dd);
    ipv6(&mut frame, 32, 58, 255, group);
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(VIP6.octets());
    message.extend([1, 1]);
    message.extend(CLIENT.octets());
    if let Some(packet) = Icmpv6Packet::new(&message) {
        let checksum = icmpv6::checksum(&packet, &CLIENT6, &group);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
    frame.extend(message);
    debug_assert_eq!(frame.len(), NA_FRAME as usize);
    frame
}

/// A TCP segment to a VIP or to anybody else: the programs do not look that far.
pub(super) fn tcp_segment(to: IpAddr) -> Vec<u8> {
    let ours = MacAddr(0x02, 0, 0, 0, 0, 0x01);
    let mut frame;
    match to {
        IpAddr::V4(to) => {
            frame = ethernet(ours, 0x0800);
            frame.extend([0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 6, 0, 0]);
            frame.extend(CLIENT4.octets());
            frame.extend(to.octets());
        }
        IpAddr::V6(to) => {
            frame = ethernet(ours, 0x86dd);
            ipv6(&mut frame, 40, 6, 64, to);
        }
    }
    frame.extend([
        0xc0, 0, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0xa0, 2, 0xff, 0xff,
    ]);
    frame.resize(frame.len() + 24, 1);
    frame
}
