//! Announcements: frames that tell a LAN which MAC address a VIP has (`wire.md`, rule 10).
//!
//! They are built here with pnet, in userspace; answers and defences are built by the kernel
//! programs with code of their own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::{Bytes, BytesMut};
use pnet_base::MacAddr;
use pnet_packet::{
    arp::{ArpHardwareTypes, ArpOperation, ArpOperations, MutableArpPacket},
    ethernet::{EtherType, EtherTypes, EthernetPacket, MutableEthernetPacket},
    icmpv6::{
        Icmpv6Packet, Icmpv6Types, checksum,
        ndp::{
            MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NdpOption, NdpOptionTypes,
            NeighborAdvertFlags,
        },
    },
    ip::IpNextHeaderProtocols,
    ipv6::MutableIpv6Packet,
};

use crate::vip::Mac;

/// Bytes of an ARP announcement: the least that Ethernet carries, without the checksum.
pub const ARP_BYTES: usize = 60;
/// Bytes of an announcement by neighbour advertisement: Ethernet 14, IPv6 40, NA 24, option 8.
pub const NA_BYTES: usize = 86;

/// Bytes of a question of [`Form::Probe`] for IPv6: Ethernet 14, IPv6 40, NS 24.
pub const NS_BYTES: usize = 78;
/// Bytes of a question of [`Form::Ask`] for IPv6: with an option of 8.
pub const ASK_BYTES: usize = NS_BYTES + 8;

const ETHERNET_BYTES: usize = EthernetPacket::minimum_packet_size();
const IPV6_BYTES: usize = 40;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Ethernet group of ff02::1 (RFC 2464, section 7).
const ALL_NODES_MAC: MacAddr = MacAddr(0x33, 0x33, 0, 0, 0, 1);

/// What announcements say about the interface that they leave by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its MAC address, which becomes that of the VIPs.
    pub mac: Mac,
    /// An IPv4 address of the node's own on it, for [`Form::RequestFromVip`].
    pub own_ipv4: Option<Ipv4Addr>,
    /// An IPv6 address of the node's own on it, for [`questions`].
    pub own_ipv6: Option<Ipv6Addr>,
    /// IPv6 forwarding is on: the R flag (RFC 4861, 4.4).
    pub router: bool,
}

/// The shapes of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// Broadcast ARP request, sender and target address the VIP (RFC 5227, section 3).
    Request,
    /// Broadcast ARP reply, for receivers that ignore the request.
    Reply,
    /// Broadcast ARP request from the VIP for the node's own address, for receivers and switches
    /// that ignore gratuitous frames.
    RequestFromVip,
    /// Unsolicited neighbour advertisement to all nodes (RFC 4861, 7.2.6).
    Advertisement,
    /// A question that claims nothing: ARP probe (RFC 5227, 1.1), or neighbour solicitation from
    /// the unspecified address (RFC 4862, 5.4.2).
    Probe,
    /// A question from the node's own address, see [`ask_ipv4`] and [`ask_ipv6`]; no announcement.
    Ask,
}

/// What asks whether anybody answers for `vip`, claiming nothing. There are responders that leave
/// a solicitation without a link-layer address alone, and with it every probe (MetalLB's): they are
/// asked from the node's own address, too.
pub fn questions(vip: IpAddr, sender: &Sender) -> Vec<Bytes> {
    let probe = announcement(Form::Probe, vip, sender);
    let ask = match (vip, sender.own_ipv6) {
        (IpAddr::V6(vip), Some(own)) => Some(ask_ipv6(vip, None, own, sender.mac)),
        _ => None,
    };
    probe.into_iter().chain(ask).collect()
}

/// The frame that announces `vip` by `form`; none where the form belongs to the other family,
/// or asks for an own IPv4 address that the interface has not.
pub fn announcement(form: Form, vip: IpAddr, sender: &Sender) -> Option<Bytes> {
    match (form, vip) {
        (Form::Request, IpAddr::V4(vip)) => Some(gratuitous_request(vip, sender.mac)),
        (Form::Reply, IpAddr::V4(vip)) => Some(gratuitous_reply(vip, sender.mac)),
        (Form::RequestFromVip, IpAddr::V4(vip)) => sender
            .own_ipv4
            .map(|own| request_from_vip(vip, own, sender.mac)),
        (Form::Advertisement, IpAddr::V6(vip)) => {
            Some(advertisement(vip, sender.mac, sender.router))
        }
        (Form::Probe, IpAddr::V4(vip)) => Some(probe(vip, sender.mac)),
        (Form::Probe, IpAddr::V6(vip)) => Some(solicitation(vip, sender.mac)),
        _ => None,
    }
}

/// ```text
///  0                 6                12    14
/// +-----------------+-----------------+-----+
/// |ff:ff:ff:ff:ff:ff|       MAC       |0806 |  Ethernet
/// +-----+-----+--+--+-----+-----------+-----+
/// |  1  |0800 | 6| 4|  1  |                    hardware, protocol, lengths, request
/// +-----+-----+--+--+-----+-----+
/// |       MAC       |    VIP    |              sender
/// +-----------------+-----------+
/// |        0        |    VIP    |              target
/// +-----------------+-----------+
/// |  18 bytes of zero           |              60 in all
/// +-----------------------------+
/// ```
pub fn gratuitous_request(vip: Ipv4Addr, mac: Mac) -> Bytes {
    arp(
        ArpOperations::Request,
        (mac, vip),
        (MacAddr::zero().into(), vip),
    )
}

/// As [`gratuitous_request`], with operation 2, and the VIP's MAC address as target too:
///
/// ```text
/// +-----+-----+--+--+-----+
/// |  1  |0800 | 6| 4|  2  |
/// +-----+-----+--+--+-----+-----+
/// |       MAC       |    VIP    |              sender
/// +-----------------+-----------+
/// |       MAC       |    VIP    |              target
/// +-----------------+-----------+
/// ```
pub fn gratuitous_reply(vip: Ipv4Addr, mac: Mac) -> Bytes {
    arp(ArpOperations::Reply, (mac, vip), (mac, vip))
}

/// As [`gratuitous_request`], but it asks for `own`, the node's own address:
///
/// ```text
/// +-----+-----+--+--+-----+
/// |  1  |0800 | 6| 4|  1  |
/// +-----+-----+--+--+-----+-----+
/// |       MAC       |    VIP    |              sender
/// +-----------------+-----------+
/// |        0        |    own    |              target
/// +-----------------+-----------+
/// ```
pub fn request_from_vip(vip: Ipv4Addr, own: Ipv4Addr, mac: Mac) -> Bytes {
    arp(
        ArpOperations::Request,
        (mac, vip),
        (MacAddr::zero().into(), own),
    )
}

/// ```text
///  0                 6                12    14
/// +-----------------+-----------------+-----+
/// |33:33:00:00:00:01|       MAC       |86dd |  Ethernet
/// +--+--------------+-----+--+--+-----+-----+
/// |6 class 0, flow label 0| 32  |58|255|        IPv6: payload length, ICMPv6, hop limit
/// +-----------------------+-----+--+---+
/// |        VIP         |    ff02::1    |        source, destination
/// +---+---+-----+------+---------------+
/// |136| 0 |cksum|R01 0               |         NA: S=0, O=1 (RFC 4861, 4.4)
/// +---+---+-----+--------------------+
/// |        VIP         |                        target
/// +---+---+------------+----+
/// | 2 | 1 |       MAC       |                   Target Link-Layer Address (RFC 4861, 4.6.1)
/// +---+---+-----------------+
/// ```
pub fn advertisement(vip: Ipv6Addr, mac: Mac, router: bool) -> Bytes {
    let mut frame = BytesMut::zeroed(NA_BYTES);
    ethernet(&mut frame, ALL_NODES_MAC, mac, EtherTypes::Ipv6);

    let ip_payload = NA_BYTES - ETHERNET_BYTES - IPV6_BYTES;
    let mut ip = sized(MutableIpv6Packet::new(&mut frame[ETHERNET_BYTES..]));
    ip.set_version(6);
    ip.set_payload_length(ip_payload as u16);
    ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
    ip.set_hop_limit(255);
    ip.set_source(vip);
    ip.set_destination(ALL_NODES);

    let icmp = &mut frame[ETHERNET_BYTES + IPV6_BYTES..];
    let mut na = sized(MutableNeighborAdvertPacket::new(icmp));
    na.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
    let router = if router {
        NeighborAdvertFlags::Router
    } else {
        0
    };
    na.set_flags(NeighborAdvertFlags::Override | router);
    na.set_target_addr(vip);
    na.set_options(&[NdpOption {
        option_type: NdpOptionTypes::TargetLLAddr,
        length: 1,
        data: mac.0.to_vec(),
    }]);
    // Over the whole message, once it is complete (rule 26).
    let sum = checksum(&sized(Icmpv6Packet::new(icmp)), &vip, &ALL_NODES);
    // Both zeros of one's complement are the same sum, and receivers take 0 for none.
    let sum = if sum == 0 { 0xffff } else { sum };
    sized(MutableNeighborAdvertPacket::new(icmp)).set_checksum(sum);
    frame.freeze()
}

/// As [`gratuitous_request`], with nobody as sender, so that no cache learns from it:
///
/// ```text
/// +-----------------+-----------+
/// |       MAC       |  0.0.0.0  |              sender
/// +-----------------+-----------+
/// |        0        |    VIP    |              target
/// +-----------------+-----------+
/// ```
pub fn probe(vip: Ipv4Addr, mac: Mac) -> Bytes {
    arp(
        ArpOperations::Request,
        (mac, Ipv4Addr::UNSPECIFIED),
        (MacAddr::zero().into(), vip),
    )
}

/// Asks whether a host has `vip`, from nobody, so that the answer goes to all nodes:
///
/// ```text
///  0                 6                12    14
/// +-----------------+-----------------+-----+
/// |33:33:ff:VV:VV:VV|       MAC       |86dd |  Ethernet
/// +--+--------------+-----+--+--+-----+-----+
/// |6 class 0, flow label 0| 24  |58|255|        IPv6
/// +-----------------------+-----+--+---+
/// |         ::         |ff02::1:ffVV:VVVV|      source, solicited-node group (RFC 4291, 2.7.1)
/// +---+---+-----+------+-----------------+
/// |135| 0 |cksum|  0   |                        NS without options (RFC 4861, 4.3)
/// +---+---+-----+------+---+
/// |          VIP           |                    target
/// +------------------------+
/// ```
pub fn solicitation(vip: Ipv6Addr, mac: Mac) -> Bytes {
    let (group, group_mac) = solicited_node(vip);
    let destination = (group_mac, group);
    solicit(vip, destination, (mac, Ipv6Addr::UNSPECIFIED), false)
}

/// Asks who has `target`, from the node's own address; of all, or of the station that had it
/// last (`to`), as RFC 826 allows and RFC 1122, 2.3.2.1, calls a unicast poll:
///
/// ```text
///  0                 6                12    14
/// +-----------------+-----------------+-----+
/// |ff:ff:.. or `to` |       MAC       |0806 |  Ethernet
/// +-----+-----+--+--+-----+-----------+-----+
/// |  1  |0800 | 6| 4|  1  |                    request
/// +-----+-----+--+--+-----+-----+
/// |       MAC       |    own    |              sender
/// +-----------------+-----------+
/// |        0        |  target   |              target
/// +-----------------+-----------+
/// ```
pub fn ask_ipv4(target: Ipv4Addr, to: Option<Mac>, own: Ipv4Addr, mac: Mac) -> Bytes {
    let to = to.map_or(MacAddr::broadcast(), MacAddr::from);
    let unknown = (MacAddr::zero().into(), target);
    arp_to(to, ArpOperations::Request, (mac, own), unknown)
}

/// Asks who has `target`, from the node's own address; of its solicited-node group, or of the
/// station that had it last (`to`), as neighbour unreachability detection does (RFC 4861, 7.3):
///
/// ```text
///  0                 6                12    14
/// +-----------------+-----------------+-----+
/// |33:33:ff.. / `to`|       MAC       |86dd |  Ethernet
/// +--+--------------+-----+--+--+-----+-----+
/// |6 class 0, flow label 0| 32  |58|255|        IPv6
/// +-----------------------+-----+--+---+
/// |        own         |group or target|        source, destination
/// +---+---+-----+------+---------------+
/// |135| 0 |cksum|  0   |                        NS (RFC 4861, 4.3)
/// +---+---+-----+------+---+
/// |         target         |                    target
/// +---+---+----------------++
/// | 1 | 1 |       MAC       |                   Source Link-Layer Address (RFC 4861, 4.6.1)
/// +---+---+-----------------+
/// ```
pub fn ask_ipv6(target: Ipv6Addr, to: Option<Mac>, own: Ipv6Addr, mac: Mac) -> Bytes {
    let destination = match to {
        Some(to) => (to.into(), target),
        None => {
            let (group, group_mac) = solicited_node(target);
            (group_mac, group)
        }
    };
    solicit(target, destination, (mac, own), true)
}

/// The solicited-node group of an address (RFC 4291, 2.7.1) and its Ethernet group (RFC 2464, 7).
fn solicited_node(address: Ipv6Addr) -> (Ipv6Addr, MacAddr) {
    let [.., a, b, c] = address.octets();
    let low = u16::from_be_bytes([b, c]);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), low);
    (group, MacAddr::new(0x33, 0x33, 0xff, a, b, c))
}

fn solicit(
    target: Ipv6Addr,
    destination: (MacAddr, Ipv6Addr),
    source: (Mac, Ipv6Addr),
    with_option: bool,
) -> Bytes {
    let length = if with_option { ASK_BYTES } else { NS_BYTES };
    let mut frame = BytesMut::zeroed(length);
    ethernet(&mut frame, destination.0, source.0, EtherTypes::Ipv6);
    let mut ip = sized(MutableIpv6Packet::new(&mut frame[ETHERNET_BYTES..]));
    ip.set_version(6);
    ip.set_payload_length((length - ETHERNET_BYTES - IPV6_BYTES) as u16);
    ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
    ip.set_hop_limit(255);
    ip.set_source(source.1);
    ip.set_destination(destination.1);
    let icmp = &mut frame[ETHERNET_BYTES + IPV6_BYTES..];
    let mut ns = sized(MutableNeighborSolicitPacket::new(icmp));
    ns.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
    ns.set_target_addr(target);
    if with_option {
        ns.set_options(&[NdpOption {
            option_type: NdpOptionTypes::SourceLLAddr,
            length: 1,
            data: source.0.0.to_vec(),
        }]);
    }
    let packet = sized(Icmpv6Packet::new(icmp));
    let sum = checksum(&packet, &source.1, &destination.1);
    let sum = if sum == 0 { 0xffff } else { sum };
    sized(MutableNeighborSolicitPacket::new(icmp)).set_checksum(sum);
    frame.freeze()
}

fn arp(operation: ArpOperation, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Bytes {
    arp_to(MacAddr::broadcast(), operation, sender, target)
}

fn arp_to(
    destination: MacAddr,
    operation: ArpOperation,
    sender: (Mac, Ipv4Addr),
    target: (Mac, Ipv4Addr),
) -> Bytes {
    let mut frame = BytesMut::zeroed(ARP_BYTES);
    ethernet(&mut frame, destination, sender.0, EtherTypes::Arp);
    let mut arp = sized(MutableArpPacket::new(&mut frame[ETHERNET_BYTES..]));
    arp.set_hardware_type(ArpHardwareTypes::Ethernet);
    arp.set_protocol_type(EtherTypes::Ipv4);
    arp.set_hw_addr_len(6);
    arp.set_proto_addr_len(4);
    arp.set_operation(operation);
    arp.set_sender_hw_addr(sender.0.into());
    arp.set_sender_proto_addr(sender.1);
    arp.set_target_hw_addr(target.0.into());
    arp.set_target_proto_addr(target.1);
    frame.freeze()
}

fn ethernet(frame: &mut [u8], destination: MacAddr, source: Mac, ethertype: EtherType) {
    let mut ethernet = sized(MutableEthernetPacket::new(frame));
    ethernet.set_destination(destination);
    ethernet.set_source(source.into());
    ethernet.set_ethertype(ethertype);
}

/// pnet's views are refused for buffers that are too short only; every buffer here has a
/// constant length that its header fits in.
fn sized<P>(view: Option<P>) -> P {
    match view {
        Some(view) => view,
        None => unreachable!("the buffer is longer than the header"),
    }
}

impl From<Mac> for MacAddr {
    fn from(Mac(bytes): Mac) -> Self {
        bytes.into()
    }
}

impl From<MacAddr> for Mac {
    fn from(mac: MacAddr) -> Self {
        Self(mac.octets())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0x02, 0, 0x5e, 0, 0x53, 0x01]);
    const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
    const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);

    /// Bytes from hexadecimal text, white space ignored.
    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .bytes()
            .filter(|byte| !byte.is_ascii_whitespace())
            .map(|byte| (byte as char).to_digit(16).unwrap() as u8)
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    fn padded(text: &str) -> Vec<u8> {
        let mut bytes = hex(text);
        bytes.resize(60, 0);
        bytes
    }

    #[test]
    fn who_leaves_a_probe_alone_is_asked_from_the_nodes_own_address_too() {
        let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let mut sender = Sender {
            mac: MAC,
            own_ipv4: None,
            own_ipv6: Some(own),
            router: false,
        };
        assert_eq!(questions(VIP4.into(), &sender), [probe(VIP4, MAC)]);
        let both = [solicitation(VIP6, MAC), ask_ipv6(VIP6, None, own, MAC)];
        assert_eq!(questions(VIP6.into(), &sender), both);
        sender.own_ipv6 = None;
        assert_eq!(questions(VIP6.into(), &sender), [solicitation(VIP6, MAC)]);
    }

    #[test]
    fn a_gratuitous_request_has_the_vip_twice_and_no_target_mac() {
        let expected = padded(
            "ffffffffffff 02005e005301 0806  0001 0800 06 04 0001
             02005e005301 c0000264  000000000000 c0000264",
        );
        assert_eq!(gratuitous_request(VIP4, MAC), expected);
    }

    #[test]
    fn a_gratuitous_reply_has_the_senders_mac_as_target() {
        let expected = padded(
            "ffffffffffff 02005e005301 0806  0001 0800 06 04 0002
             02005e005301 c0000264  02005e005301 c0000264",
        );
        assert_eq!(gratuitous_reply(VIP4, MAC), expected);
    }

    #[test]
    fn the_third_form_asks_from_the_vip_for_the_nodes_own_address() {
        let expected = padded(
            "ffffffffffff 02005e005301 0806  0001 0800 06 04 0001
             02005e005301 c0000264  000000000000 c0000205",
        );
        let own = Ipv4Addr::new(192, 0, 2, 5);
        assert_eq!(request_from_vip(VIP4, own, MAC), expected);
    }

    /// The checksum was added up by hand: pseudo header 2001 0db8 0100, ff02 0001, length 0020,
    /// next header 003a; message 8800 2000, 2001 0db8 0100, 0201 0200 5e00 5301.
    /// The sum 2001+0db8+0100+ff02+0001+0020+003a = 12e16, with the message 12e16+8800+2000+
    /// 2001+0db8+0100+0201+0200+5e00+5301 = 2b9d1, carry folded b9d3, complement 462c.
    #[test]
    fn an_advertisement_overrides_and_carries_the_target_mac() {
        let head = "333300000001 02005e005301 86dd
             60000000 0020 3a ff
             20010db8000000000000000000000100 ff020000000000000000000000000001";
        let tail = "20010db8000000000000000000000100  0201 02005e005301";
        let host = format!("{head} 8800 462c 20000000 {tail}");
        assert_eq!(advertisement(VIP6, MAC, false), hex(&host));
        let router = format!("{head} 8800 c62b a0000000 {tail}");
        assert_eq!(advertisement(VIP6, MAC, true), hex(&router));
    }

    #[test]
    fn the_checksum_of_any_advertisement_folds_to_all_ones() {
        for last in 0..=u16::MAX {
            let vip = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0xffff, 0, last, !last, last);
            let frame = advertisement(vip, MAC, last % 2 == 0);
            let pseudo = [(NA_BYTES - 54) as u16, 58];
            let words = frame[22..]
                .chunks(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            let mut sum: u32 = words.chain(pseudo).map(u32::from).sum();
            while sum >> 16 != 0 {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            assert_eq!(sum, 0xffff, "{vip}");
        }
    }

    #[test]
    fn a_probe_has_no_sender_address() {
        let expected = padded(
            "ffffffffffff 02005e005301 0806  0001 0800 06 04 0001
             02005e005301 00000000  000000000000 c0000264",
        );
        assert_eq!(probe(VIP4, MAC), expected);
    }

    /// ff02 + 0001 + ff00 + 0100 + 0018 + 003a + 8700 + 2001 + 0db8 + 0100 = 2b50e, folded b510,
    /// complement 4aef.
    #[test]
    fn a_solicitation_asks_the_group_from_nobody() {
        let expected = hex("3333ff000100 02005e005301 86dd
             60000000 0018 3a ff
             00000000000000000000000000000000 ff0200000000000000000001ff000100
             8700 4aef 00000000 20010db8000000000000000000000100");
        assert_eq!(solicitation(VIP6, MAC), expected);
    }

    #[test]
    fn a_question_from_the_own_address_goes_to_all_or_to_one() {
        let own = Ipv4Addr::new(192, 0, 2, 5);
        let body = "02005e005301 0806  0001 0800 06 04 0001
             02005e005301 c0000205  000000000000 c0000264";
        let to_all = padded(&format!("ffffffffffff {body}"));
        assert_eq!(ask_ipv4(VIP4, None, own, MAC), to_all);
        let to_one = padded(&format!("020000000007 {body}"));
        let gateway = Mac([2, 0, 0, 0, 0, 7]);
        assert_eq!(ask_ipv4(VIP4, Some(gateway), own, MAC), to_one);
    }

    /// To the group: fe80 + 0005 + ff02 + 0001 + ff00 + 0100 + 0020 + 003a + 8700 + 2001 + 0db8 +
    /// 0100 + 0101 + 0200 + 5e00 + 5301 = 4679d, folded 67a1, complement 985e. To one, where the
    /// destination adds 2001 + 0db8 + 0100 = 2eb9 in the place of ff02 + 0001 + ff00 + 0100 =
    /// 1ff03: 29753, folded 9755, complement 68aa.
    #[test]
    fn a_solicitation_from_the_own_address_carries_its_mac() {
        let own: Ipv6Addr = "fe80::5".parse().unwrap();
        let source = "02005e005301 86dd 60000000 0020 3a ff fe800000000000000000000000000005";
        let tail = "00000000 20010db8000000000000000000000100 0101 02005e005301";
        let to_all =
            format!("3333ff000100 {source} ff0200000000000000000001ff000100 8700 985e {tail}");
        assert_eq!(ask_ipv6(VIP6, None, own, MAC), hex(&to_all));
        let to_one =
            format!("020000000007 {source} 20010db8000000000000000000000100 8700 68aa {tail}");
        let gateway = Mac([2, 0, 0, 0, 0, 7]);
        assert_eq!(ask_ipv6(VIP6, Some(gateway), own, MAC), hex(&to_one));
    }

    #[test]
    fn a_form_of_the_other_family_or_without_an_own_address_is_no_frame() {
        let sender = Sender {
            mac: MAC,
            own_ipv4: None,
            own_ipv6: None,
            router: false,
        };
        assert_eq!(
            announcement(Form::Advertisement, VIP4.into(), &sender),
            None
        );
        assert_eq!(announcement(Form::Request, VIP6.into(), &sender), None);
        assert_eq!(
            announcement(Form::RequestFromVip, VIP4.into(), &sender),
            None
        );
    }
}
