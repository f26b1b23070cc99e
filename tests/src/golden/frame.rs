//! Frames as others send them, written byte by byte: nothing here is shared with the code that
//! judges them.

use std::net::{Ipv4Addr, Ipv6Addr};

use pnet_packet::{ip::IpNextHeaderProtocol, util::ipv6_checksum};

use super::world::{CLIENT, CLIENT4, CLIENT6, OURS, RIVAL, VIP4, VIP6};

/// Broadcast.
pub const EVERYONE: [u8; 6] = [0xff; 6];

fn ethernet(to: [u8; 6], from: [u8; 6], tags: &[(u16, u16)], ether_type: u16) -> Vec<u8> {
    let mut bytes = [to, from].concat();
    for (kind, control) in tags {
        bytes.extend(kind.to_be_bytes());
        bytes.extend(control.to_be_bytes());
    }
    bytes.extend(ether_type.to_be_bytes());
    bytes
}

/// An ARP frame.
#[derive(Clone, Debug)]
pub struct Arp {
    /// Ethernet destination.
    pub to: [u8; 6],
    /// Ethernet source.
    pub from: [u8; 6],
    /// VLAN tags: EtherType, tag control information.
    pub tags: Vec<(u16, u16)>,
    /// Hardware type, protocol type.
    pub types: (u16, u16),
    /// Lengths of hardware and protocol addresses.
    pub lengths: (u8, u8),
    /// Operation.
    pub operation: u16,
    /// Sender hardware address.
    pub sha: [u8; 6],
    /// Sender protocol address.
    pub spa: Ipv4Addr,
    /// Target hardware address.
    pub tha: [u8; 6],
    /// Target protocol address.
    pub tpa: Ipv4Addr,
    /// What follows the message.
    pub trailer: Vec<u8>,
}

impl Arp {
    /// The client's broadcast request for the VIP, in 42 bytes.
    pub fn ask() -> Self {
        Self {
            to: EVERYONE,
            from: CLIENT,
            tags: vec![],
            types: (1, 0x0800),
            lengths: (6, 4),
            operation: 1,
            sha: CLIENT,
            spa: CLIENT4,
            tha: [0; 6],
            tpa: VIP4,
            trailer: vec![],
        }
    }

    /// The rival's gratuitous request for the VIP.
    pub fn claim() -> Self {
        Self {
            from: RIVAL,
            sha: RIVAL,
            spa: VIP4,
            ..Self::ask()
        }
    }

    /// The rival's gratuitous reply.
    pub fn gratuitous_reply() -> Self {
        Self {
            operation: 2,
            tha: RIVAL,
            ..Self::claim()
        }
    }

    /// What this host's kernel answers to the client's request.
    pub fn our_reply() -> Self {
        Self {
            to: CLIENT,
            from: OURS,
            operation: 2,
            sha: OURS,
            spa: VIP4,
            tha: CLIENT,
            tpa: CLIENT4,
            ..Self::ask()
        }
    }

    /// The frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = ethernet(self.to, self.from, &self.tags, 0x0806);
        bytes.extend(self.types.0.to_be_bytes());
        bytes.extend(self.types.1.to_be_bytes());
        bytes.extend([self.lengths.0, self.lengths.1]);
        bytes.extend(self.operation.to_be_bytes());
        bytes.extend(self.sha);
        bytes.extend(self.spa.octets());
        bytes.extend(self.tha);
        bytes.extend(self.tpa.octets());
        bytes.extend(&self.trailer);
        bytes
    }
}

/// What stands in the checksum field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// The right one.
    Right,
    /// The right one, and ffff for 0: the same number, and no zero (rule 19).
    Nonzero,
    /// Off by one.
    Wrong,
    /// Zero.
    Zero,
}

/// A Neighbour Discovery frame.
#[derive(Clone, Debug)]
pub struct Nd {
    /// Ethernet destination.
    pub to: [u8; 6],
    /// Ethernet source.
    pub from: [u8; 6],
    /// VLAN tags: EtherType, tag control information.
    pub tags: Vec<(u16, u16)>,
    /// IP version.
    pub version: u8,
    /// Payload length, where it is not the right one.
    pub payload_length: Option<u16>,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source.
    pub source: Ipv6Addr,
    /// Destination.
    pub destination: Ipv6Addr,
    /// Extension headers: number and bytes, the first of which is overwritten by the next number.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// ICMPv6 type and code.
    pub kind: (u8, u8),
    /// Flags and reserved bits.
    pub flags: u32,
    /// Target.
    pub target: Option<Ipv6Addr>,
    /// Options.
    pub options: Vec<u8>,
    /// Checksum.
    pub sum: Sum,
    /// What follows the packet.
    pub trailer: Vec<u8>,
}

/// The solicited-node group of an address (RFC 4291, 2.7.1).
pub fn group(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a & 0xff, b)
}

/// Where Ethernet carries a multicast packet (RFC 2464, 7).
pub fn group_mac(address: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = address.octets();
    [0x33, 0x33, a, b, c, d]
}

/// An option with a link-layer address: 1 the source's, 2 the target's.
pub fn link_layer(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1], &mac[..]].concat()
}

/// The address with another last word.
pub fn with_last(address: Ipv6Addr, word: u16) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(address) & !0xffff | u128::from(word))
}

/// All nodes.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

impl Nd {
    /// The client's multicast solicitation for the VIP.
    pub fn ask() -> Self {
        Self {
            to: group_mac(group(VIP6)),
            from: CLIENT,
            tags: vec![],
            version: 6,
            payload_length: None,
            hop_limit: 255,
            source: CLIENT6,
            destination: group(VIP6),
            extensions: vec![],
            kind: (135, 0),
            flags: 0,
            target: Some(VIP6),
            options: link_layer(1, CLIENT),
            sum: Sum::Right,
            trailer: vec![],
        }
    }

    /// The client's unicast solicitation, as neighbour unreachability detection sends it.
    pub fn refresh() -> Self {
        Self {
            to: OURS,
            destination: VIP6,
            options: vec![],
            ..Self::ask()
        }
    }

    /// Duplicate address detection.
    pub fn dad() -> Self {
        Self {
            source: Ipv6Addr::UNSPECIFIED,
            options: vec![],
            ..Self::ask()
        }
    }

    /// The rival's unsolicited advertisement of the VIP.
    pub fn claim() -> Self {
        Self {
            to: group_mac(ALL_NODES),
            from: RIVAL,
            source: VIP6,
            destination: ALL_NODES,
            kind: (136, 0),
            flags: 0x2000_0000,
            options: link_layer(2, RIVAL),
            ..Self::ask()
        }
    }

    /// What this host's kernel answers to the client's solicitation.
    pub fn our_answer() -> Self {
        Self {
            to: CLIENT,
            from: OURS,
            source: VIP6,
            destination: CLIENT6,
            flags: 0x6000_0000,
            options: link_layer(2, OURS),
            ..Self::claim()
        }
    }

    /// The ICMPv6 message.
    fn message(&self) -> Vec<u8> {
        let mut message = vec![self.kind.0, self.kind.1, 0, 0];
        message.extend(self.flags.to_be_bytes());
        if let Some(target) = self.target {
            message.extend(target.octets());
        }
        message.extend(&self.options);
        let icmpv6 = IpNextHeaderProtocol(58);
        let right = ipv6_checksum(&message, 1, &[], &self.source, &self.destination, icmpv6);
        let sum = match self.sum {
            Sum::Nonzero if right == 0 => 0xffff,
            Sum::Right | Sum::Nonzero => right,
            Sum::Wrong => right.wrapping_add(1),
            Sum::Zero => 0,
        };
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        message
    }

    /// The last word of an address that makes the checksum zero, where the frame has 0 there.
    pub fn word_for_sum_of_zero(&self) -> u16 {
        let message = self.message();
        u16::from_be_bytes([message[2], message[3]])
    }

    /// The frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = ethernet(self.to, self.from, &self.tags, 0x86dd);
        let numbers = self.extensions.iter().map(|(number, _)| *number);
        let mut next = numbers.chain([58]);
        let mut payload = Vec::new();
        let first = next.next().unwrap_or(58);
        for ((_, extension), number) in self.extensions.iter().zip(next) {
            payload.push(number);
            payload.extend(&extension[1..]);
        }
        payload.extend(self.message());
        let length = self.payload_length.unwrap_or(payload.len() as u16);
        bytes.extend([self.version << 4, 0, 0, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend([first, self.hop_limit]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(payload);
        bytes.extend(&self.trailer);
        bytes
    }
}
