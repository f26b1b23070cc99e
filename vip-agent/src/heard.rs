//! What a frame of the LAN says about who has an address: answers to questions of ours, and
//! claims of rivals (`wire.md`, rule 13).
//!
//! Frames are read by the code that judges them in the kernel, so that both mean the same by a
//! claim.

use std::net::IpAddr;

use vip_common::{
    arp, ethernet, nd,
    slice::Frame,
    work::{Claim, Work, mac_bytes},
};

use crate::vip::Mac;

/// Somebody has an address, or says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The address: ARP's sender, an advertisement's target, a solicitation's source.
    pub claimed: IpAddr,
    /// Who: SHA, TLLAO or SLLAO, else the Ethernet source.
    pub by: Mac,
    /// Whether it is meant.
    pub kind: Kind,
    /// The station that the frame was sent to: an answer goes to who asked, an announcement to a
    /// group.
    pub to: Mac,
}

/// How much a claim says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The sender has the address.
    Claim,
    /// An advertisement without the override flag, as proxies send it for others (RFC 4861,
    /// 7.2.8): it proves that the sender is there, and is never yielded to.
    Modest,
}

impl Heard {
    /// Reads a frame from its Ethernet header on; none where it claims nothing, belongs to a VLAN
    /// (which has an interface of its own), or is malformed: another ARP than for IPv4, an ND
    /// message with a hop limit below 255, a wrong checksum or a wrong option.
    pub fn of(frame: &mut [u8]) -> Option<Self> {
        let length = frame.len();
        let to = Mac(*frame.first_chunk()?);
        let packet = &Frame::new(0, frame, length);
        let mut work = Work::new();
        let (by, kind) = match ethernet::read(packet, &mut work)? {
            ethernet::ARP if arp::read(packet, &mut work) => {
                claims(&work)?;
                (arp::sender(&work), Kind::Claim)
            }
            ethernet::IPV6 if nd::read(packet, &mut work) => {
                claims(&work)?;
                if nd::fault(packet, &mut work).is_some() {
                    return None;
                }
                let kind = match nd::is_modest(&work) {
                    true => Kind::Modest,
                    false => Kind::Claim,
                };
                (nd::sender(&work), kind)
            }
            _ => return None,
        };
        Some(Self {
            claimed: work.claim.vip_key().ip(),
            by: Mac(mac_bytes(&by)),
            kind,
            to,
        })
    }
}

fn claims(work: &Work) -> Option<()> {
    (work.claims != Claim::None).then_some(())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::frame;

    const MAC: Mac = Mac([0x02, 0, 0x5e, 0, 0x53, 0x01]);
    const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
    const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
    /// Offset of an advertisement's flags, and of its checksum.
    const FLAGS: usize = 58;
    const CHECKSUM: usize = 56;

    fn of(frame: &[u8]) -> Option<Heard> {
        Heard::of(&mut frame.to_vec())
    }

    fn claim(claimed: impl Into<IpAddr>, to: [u8; 6]) -> Option<Heard> {
        Some(Heard {
            claimed: claimed.into(),
            by: MAC,
            kind: Kind::Claim,
            to: Mac(to),
        })
    }

    /// An advertisement without the override flag, its checksum corrected.
    fn modest() -> Vec<u8> {
        let mut frame = frame::advertisement(VIP6, MAC, false).to_vec();
        frame[FLAGS] = 0;
        let sum = u16::from_be_bytes([frame[CHECKSUM], frame[CHECKSUM + 1]]) + 0x2000;
        frame[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    #[test]
    fn an_announcement_and_an_answer_claim_their_sender() {
        let (all, nodes) = ([0xff; 6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(of(&frame::gratuitous_request(VIP4, MAC)), claim(VIP4, all));
        assert_eq!(of(&frame::gratuitous_reply(VIP4, MAC)), claim(VIP4, all));
        let advertised = frame::advertisement(VIP6, MAC, true);
        assert_eq!(of(&advertised), claim(VIP6, nodes));
    }

    #[test]
    fn a_question_claims_its_sender_and_a_probe_claims_nothing() {
        let own = Ipv4Addr::new(192, 0, 2, 5);
        let asked = frame::request_from_vip(VIP4, own, MAC);
        assert_eq!(of(&asked), claim(VIP4, [0xff; 6]));
        assert_eq!(of(&frame::probe(VIP4, MAC)), None);
        assert_eq!(of(&frame::solicitation(VIP6, MAC)), None);
    }

    #[test]
    fn an_advertisement_without_override_is_modest() {
        let heard = of(&modest()).unwrap();
        assert_eq!((heard.kind, heard.claimed), (Kind::Modest, VIP6.into()));
    }

    #[test]
    fn an_advertisement_without_option_is_by_the_frames_source() {
        let mut frame = modest();
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        assert_eq!(of(&frame).unwrap().by, MAC, "the option goes first");
        // Padding (an unknown option) in the place of the address: 02 becomes 63.
        frame[78] = 0x63;
        let sum = u16::from_be_bytes([frame[CHECKSUM], frame[CHECKSUM + 1]]) - 0x6100;
        frame[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(of(&frame).unwrap().by, Mac([2, 0, 0, 0, 0, 9]));
    }

    #[test]
    fn a_malformed_advertisement_is_not_heard() {
        let good = frame::advertisement(VIP6, MAC, false).to_vec();
        // Version, payload length, next header, hop limit, type, code, checksum, option's length.
        for at in [14, 18, 20, 21, 54, 55, 56, 57, 79] {
            let mut frame = good.clone();
            frame[at] ^= 0x81;
            assert_eq!(of(&frame), None, "byte {at}");
        }
        assert_eq!(of(&good[..85]), None, "cut short");
    }

    #[test]
    fn an_arp_message_of_another_kind_is_not_heard() {
        let good = frame::gratuitous_reply(VIP4, MAC).to_vec();
        for at in [14, 16, 18, 19] {
            let mut frame = good.clone();
            frame[at] ^= 0x40;
            assert_eq!(of(&frame), None, "byte {at}");
        }
        assert_eq!(of(&good[..41]), None, "cut short");
    }

    #[test]
    fn a_frame_of_a_vlan_is_not_heard_and_a_priority_tag_is_none() {
        let mut frame = frame::gratuitous_reply(VIP4, MAC).to_vec();
        frame.splice(12..12, [0x81, 0, 0, 0]);
        assert_eq!(of(&frame), claim(VIP4, [0xff; 6]));
        frame[15] = 7;
        assert_eq!(of(&frame), None);
    }

    proptest! {
        #[test]
        fn no_frame_panics(mut frame in prop::collection::vec(any::<u8>(), 0..300)) {
            Heard::of(&mut frame);
        }

        #[test]
        fn no_frame_that_is_nearly_good_panics(
            at in 0usize..86,
            byte in any::<u8>(),
            length in 0usize..=86,
        ) {
            for good in [frame::advertisement(VIP6, MAC, false), frame::gratuitous_reply(VIP4, MAC)] {
                let mut frame = good.to_vec();
                frame.truncate(length);
                if let Some(place) = frame.get_mut(at) {
                    *place = byte;
                }
                Heard::of(&mut frame);
            }
        }
    }
}
