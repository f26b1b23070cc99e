//! A record of `TRACED` in words: what was asked or claimed, by whom, and what became of it.

use std::net::IpAddr;

use pnet_packet::{
    Packet,
    arp::{ArpOperations, ArpPacket},
    ethernet::{EtherTypes, EthernetPacket},
    icmpv6::ndp::{NdpOptionTypes, NeighborAdvertPacket, NeighborSolicitPacket},
    ipv6::Ipv6Packet,
};
use schemars::JsonSchema;
use serde::Serialize;
use vip_common::{
    abi::{ANY_INTERFACE, Traced},
    counter::Verdict,
    shape::Shape,
};

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "vip-agent trace")]
pub struct Decision {
    /// Nanoseconds since boot (`CLOCK_BOOTTIME`).
    pub at_ns: u64,
    /// Index of the interface that the frame came in by.
    pub ifindex: u32,
    /// The VIP that decided.
    pub vip: IpAddr,
    /// What became of the frame: the label `verdict` of `xvip_frames_total`.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// The sender's address; null in probes.
    pub client: Option<IpAddr>,
    /// The sender's MAC address: of the message, else of the frame.
    pub client_mac: String,
    /// The frame, as tcpdump would say it.
    pub frame: String,
    /// Its length in bytes.
    pub length: u32,
}

/// Reads a record.
pub fn decode(record: &Traced) -> Decision {
    let captured = usize::from(record.captured).min(record.frame.len());
    let heard = heard(&record.frame[..captured]).unwrap_or_default();
    let verdict = Verdict::ALL
        .into_iter()
        .find(|verdict| *verdict as u8 == record.verdict);
    let shape = Shape::from_code(record.shape);
    Decision {
        at_ns: record.at_ns,
        ifindex: record.ifindex,
        vip: record.key.ip(),
        verdict: verdict.map_or("unknown", Verdict::label).into(),
        reason: reason(record, verdict, shape),
        client: heard.client,
        client_mac: heard.client_mac,
        frame: heard.text,
        length: record.length,
    }
}

fn reason(record: &Traced, verdict: Option<Verdict>, shape: Option<Shape>) -> String {
    match verdict {
        Some(Verdict::Fenced) if record.key.ifindex == ANY_INTERFACE => {
            "the VIP does not live on this interface".into()
        }
        Some(Verdict::Fenced) => "this node does not own the VIP now".into(),
        Some(Verdict::Defended) => "a rival claims the VIP: announced against it".into(),
        Some(Verdict::Yielded) => "a rival claims the VIP, which was unconfirmed".into(),
        Some(Verdict::Left) if shape == Some(Shape::Regular) => {
            "too many multicast answers, or the frame cannot be resized: left to the kernel".into()
        }
        _ => shape.map_or("unknown", Shape::reason).into(),
    }
}

#[derive(Default)]
struct Heard {
    client: Option<IpAddr>,
    client_mac: String,
    text: String,
}

fn heard(frame: &[u8]) -> Option<Heard> {
    let ethernet = EthernetPacket::new(frame)?;
    match ethernet.get_ethertype() {
        EtherTypes::Arp => heard_arp(&ArpPacket::new(ethernet.payload())?),
        EtherTypes::Ipv6 => heard_nd(&ethernet, &Ipv6Packet::new(ethernet.payload())?),
        _ => None,
    }
}

fn heard_arp(arp: &ArpPacket<'_>) -> Option<Heard> {
    let (sender, target) = (arp.get_sender_proto_addr(), arp.get_target_proto_addr());
    let text = match arp.get_operation() {
        ArpOperations::Request => format!("ARP, who-has {target} tell {sender}"),
        ArpOperations::Reply => format!("ARP, {sender} is-at {}", arp.get_sender_hw_addr()),
        other => format!("ARP, operation {} from {sender} for {target}", other.0),
    };
    Some(Heard {
        client: Some(IpAddr::V4(sender)).filter(|sender| !sender.is_unspecified()),
        client_mac: arp.get_sender_hw_addr().to_string(),
        text,
    })
}

fn heard_nd(ethernet: &EthernetPacket<'_>, packet: &Ipv6Packet<'_>) -> Option<Heard> {
    // Not by the payload length: the record holds no more than the start of the message.
    let message = ethernet.payload().get(40..)?;
    let source = packet.get_source();
    let (kind, target) = match message.first()? {
        135 => {
            let target = NeighborSolicitPacket::new(message)?.get_target_addr();
            ("neighbor solicitation, who has", target)
        }
        136 => {
            let target = NeighborAdvertPacket::new(message)?.get_target_addr();
            ("neighbor advertisement, tgt is", target)
        }
        _ => return None,
    };
    let own = [
        NdpOptionTypes::SourceLLAddr.0,
        NdpOptionTypes::TargetLLAddr.0,
    ];
    let mac = match message.get(24..32) {
        Some([kind, 1, mac @ ..]) if own.contains(kind) => {
            let bytes: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
            bytes.join(":")
        }
        _ => ethernet.get_source().to_string(),
    };
    Some(Heard {
        client: Some(IpAddr::V6(source)).filter(|source| !source.is_unspecified()),
        client_mac: mac,
        text: format!(
            "IP6 {source} > {}: {kind} {target}",
            packet.get_destination()
        ),
    })
}

#[cfg(test)]
mod tests {
    use vip_common::abi::VipKey;

    use super::*;
    use crate::{frame, vip::Mac};

    fn traced(frame: &[u8], verdict: Verdict, shape: Shape, ifindex: u32) -> Traced {
        let mut record = Traced {
            key: VipKey::new("192.0.2.100".parse().unwrap(), ifindex),
            verdict: verdict as u8,
            shape: shape as u8,
            captured: frame.len().min(86) as u16,
            ..Traced::default()
        };
        let length = frame.len().min(86);
        record.frame[..length].copy_from_slice(&frame[..length]);
        record
    }

    #[test]
    fn a_question_names_its_client() {
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        let asked = frame::request_from_vip(
            "192.0.2.7".parse().unwrap(),
            "192.0.2.100".parse().unwrap(),
            mac,
        );
        let decision = decode(&traced(&asked, Verdict::Answered, Shape::Regular, 2));
        assert_eq!(decision.client, Some("192.0.2.7".parse().unwrap()));
        assert_eq!(decision.client_mac, "02:00:00:00:00:09");
        assert_eq!(decision.frame, "ARP, who-has 192.0.2.100 tell 192.0.2.7");
        assert_eq!(
            (decision.verdict.as_str(), decision.reason.as_str()),
            ("answered", "regular")
        );
    }

    #[test]
    fn an_advertisement_names_its_target_and_the_mac_of_its_option() {
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        let claim = frame::advertisement("2001:db8::100".parse().unwrap(), mac, false);
        let decision = decode(&traced(&claim, Verdict::Defended, Shape::Regular, 2));
        assert_eq!(decision.client, Some("2001:db8::100".parse().unwrap()));
        assert!(
            decision.frame.ends_with("tgt is 2001:db8::100"),
            "{}",
            decision.frame
        );
        assert_eq!(decision.client_mac, "02:00:00:00:00:09");
    }

    #[test]
    fn a_silent_vip_says_whether_it_lives_elsewhere_on_the_node() {
        let reason =
            |ifindex| decode(&traced(&[0; 14], Verdict::Fenced, Shape::Regular, ifindex)).reason;
        assert_ne!(reason(ANY_INTERFACE), reason(2));
    }

    #[test]
    fn no_record_panics() {
        for captured in [0, 13, 14, 41, 54, 77, 200, u16::MAX] {
            for kind in [[8, 6], [0x86, 0xdd], [9, 9]] {
                let mut record = traced(&[], Verdict::Left, Shape::Checksum, 2);
                record.captured = captured;
                record.frame[12..14].copy_from_slice(&kind);
                record.frame[54] = 135;
                decode(&record);
            }
        }
    }
}
