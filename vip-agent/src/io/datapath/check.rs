//! The check after attach: a real question per family, on a synthetic entry, through each
//! program that answers; and a deadline to move, and one that has passed.

use std::net::{Ipv4Addr, Ipv6Addr};

use aya::programs::{Program, ProgramError, TestRun, TestRunOptions};
use vip_common::{
    abi::{CHECK_IPV4, CHECK_IPV6, FOREVER, LeaseSlot, SLOT_CHECK, VipEntry, VipKey},
    counter::Family,
};

use super::{
    Datapath,
    lease::Slots,
    object::{DatapathError, Kernel},
    tables::Tables,
};

/// A program does not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The question passed or was dropped.
    #[error("{program} does not answer {} questions: it returned {returned} where {expected} was due", family.label())]
    Unanswered {
        /// Name of the program.
        program: &'static str,
        /// Which question.
        family: Family,
        /// What the program returned.
        returned: u32,
        /// What an answer returns.
        expected: u32,
    },
    /// Something was sent that is no answer.
    #[error("{program} gives a wrong answer to {} questions: {frame:02x?}", family.label())]
    WrongAnswer {
        /// Name of the program.
        program: &'static str,
        /// Which question.
        family: Family,
        /// What it would send.
        frame: Vec<u8>,
    },
    /// A deadline was left where it was, or moved although it had passed.
    #[error(
        "xvip_extend does not keep deadlines: the slot is {found:?} where {expected:?} was due"
    )]
    Deadline {
        /// What the slot holds.
        found: LeaseSlot,
        /// What it should.
        expected: LeaseSlot,
    },
    /// The kernel could not run the program.
    #[error("{program} cannot be run on a test frame: {error}")]
    TestRun {
        /// Name of the program.
        program: &'static str,
        /// Why.
        error: ProgramError,
    },
    /// The entry could not be made.
    #[error(transparent)]
    Tables(#[from] DatapathError),
}

/// Where BPF_PROG_TEST_RUN lets frames come in: the loopback interface.
const TEST_RUN_IFINDEX: u32 = 1;
/// Any epoch will do for a slot of its own.
const EPOCH: u64 = 1;
/// Locally administered addresses of a question that never leaves the kernel.
const VIP_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x08];
const ASKER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x09];
const ASKER_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 9);
const ASKER_IPV6: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 9);

impl Datapath {
    /// Asks both ingress programs one question per family. The entries are gone afterwards, and
    /// no counter of users' VIPs moves.
    pub fn check(&self) -> Result<(), CheckError> {
        let mut tables = Tables::open(self.pins())?;
        self.extend_all()?;
        let keys = [CHECK_IPV4.into(), CHECK_IPV6.into()]
            .map(|address| VipKey::new(address, TEST_RUN_IFINDEX));
        let entry = VipEntry {
            mac: VIP_MAC,
            slot: SLOT_CHECK,
            flags: VipEntry::SYNTHETIC,
            epoch: EPOCH,
            ..VipEntry::default()
        };
        tables.vips.upsert_all(&keys.map(|key| (key, entry)))?;
        let asked = self.ask_all();
        for key in keys {
            tables.vips.remove(&key)?;
            tables.vip_state.remove(&key)?;
        }
        asked
    }

    /// Leaves a slot whose deadline never passes.
    fn extend_all(&self) -> Result<(), CheckError> {
        let slots = Slots::open(self.pins())?;
        let extender = self.extender()?;
        let [passed, ahead, lasting] = [1, FOREVER - 1, FOREVER].map(|deadline| LeaseSlot {
            deadline_boot_ns: deadline,
            confirmed_boot_ns: deadline,
            epoch: EPOCH,
        });
        for (before, expected) in [(passed, passed), (ahead, lasting)] {
            slots.set(SLOT_CHECK, before);
            let moved = extender.extend(SLOT_CHECK, FOREVER, FOREVER)?;
            let found = slots.get(SLOT_CHECK);
            if found != expected || moved != (before != expected) {
                return Err(CheckError::Deadline { found, expected });
            }
        }
        Ok(())
    }

    fn ask_all(&self) -> Result<(), CheckError> {
        for program in [Kernel::Ingress, Kernel::TcIn] {
            self.ask(program, Family::Ipv4, &arp_request(), is_arp_reply)?;
            self.ask(
                program,
                Family::Ipv6,
                &neighbour_solicitation(),
                is_advertisement,
            )?;
        }
        Ok(())
    }

    fn ask(
        &self,
        which: Kernel,
        family: Family,
        question: &[u8],
        answers: fn(&[u8]) -> bool,
    ) -> Result<(), CheckError> {
        const XDP_TX: u32 = 3;
        const TC_ACT_REDIRECT: u32 = 7;
        let mut out = [0; 256];
        let options = TestRunOptions {
            data_in: Some(question),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        };
        let name = which.name();
        let (expected, run) = match self.ebpf.program(name) {
            Some(Program::Xdp(program)) => (XDP_TX, program.test_run(options)),
            Some(Program::SchedClassifier(program)) => (TC_ACT_REDIRECT, program.test_run(options)),
            _ => return Err(DatapathError::Incomplete(name).into()),
        };
        let run = run.map_err(|error| CheckError::TestRun {
            program: name,
            error,
        })?;
        if run.return_value != expected {
            return Err(CheckError::Unanswered {
                program: name,
                family,
                returned: run.return_value,
                expected,
            });
        }
        let frame = &out[..out.len().min(run.data_size_out as usize)];
        let addressed = frame.starts_with(&ASKER_MAC) && frame[6..].starts_with(&VIP_MAC);
        if !addressed || !answers(frame) {
            return Err(CheckError::WrongAnswer {
                program: name,
                family,
                frame: frame.to_vec(),
            });
        }
        Ok(())
    }
}

/// EtherType ARP, operation reply, sender address the VIP (RFC 826).
fn is_arp_reply(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x08, 0x06])
        && frame.get(20..22) == Some(&[0, 2])
        && frame.get(28..32) == Some(&CHECK_IPV4.octets())
}

/// EtherType IPv6, ICMPv6 type 136, target the VIP (RFC 4861, 4.4).
fn is_advertisement(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x86, 0xdd])
        && frame.get(54) == Some(&136)
        && frame.get(62..78) == Some(&CHECK_IPV6.octets())
}

/// A broadcast request: Ethernet, then hardware type 1, protocol 0x0800, lengths 6 and 4,
/// operation 1, sender, target (RFC 826).
fn arp_request() -> Vec<u8> {
    [
        &[0xff; 6][..],
        &ASKER_MAC,
        &[0x08, 0x06],
        &[0, 1, 0x08, 0, 6, 4, 0, 1],
        &ASKER_MAC,
        &ASKER_IPV4.octets(),
        &[0; 6],
        &CHECK_IPV4.octets(),
    ]
    .concat()
}

/// A multicast solicitation with source link-layer address: Ethernet, IPv6 with hop limit 255,
/// ICMPv6 type 135, target, option (RFC 4861, 4.3).
fn neighbour_solicitation() -> Vec<u8> {
    let target = CHECK_IPV6.octets();
    // RFC 4291, 2.7.1: the solicited-node address; RFC 2464, 7: its MAC address.
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&target[13..]);
    let mut icmp = [
        &[135, 0, 0, 0, 0, 0, 0, 0][..],
        &target,
        &[1, 1],
        &ASKER_MAC,
    ]
    .concat();
    let sum = icmpv6_checksum(&ASKER_IPV6.octets(), &group, &icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    [
        &[0x33, 0x33][..],
        &group[12..],
        &ASKER_MAC,
        &[0x86, 0xdd],
        &[0x60, 0, 0, 0, 0, icmp.len() as u8, 58, 255],
        &ASKER_IPV6.octets(),
        &group,
        &icmp,
    ]
    .concat()
}

/// RFC 8200, 8.1, over a message of even length whose checksum field is zero.
fn icmpv6_checksum(source: &[u8; 16], destination: &[u8; 16], icmp: &[u8]) -> u16 {
    let words = [source, destination, icmp].concat();
    let mut sum = icmp.len() as u32 + 58;
    for word in words.chunks_exact(2) {
        sum += u32::from(u16::from_be_bytes([word[0], word[1]]));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use pnet_packet::{
        Packet,
        arp::{ArpOperations, ArpPacket},
        ethernet::EthernetPacket,
        icmpv6::{self, Icmpv6Packet, ndp::NeighborSolicitPacket},
        ipv6::Ipv6Packet,
    };

    use super::*;

    #[test]
    fn the_ipv4_question_is_an_arp_request_for_the_reserved_address() {
        let frame = arp_request();
        assert_eq!(frame.len(), 42);
        let ethernet = EthernetPacket::new(&frame).unwrap();
        let arp = ArpPacket::new(ethernet.payload()).unwrap();
        assert_eq!(arp.get_operation(), ArpOperations::Request);
        assert_eq!(arp.get_target_proto_addr(), CHECK_IPV4);
        assert_eq!(arp.get_sender_hw_addr(), ethernet.get_source());
    }

    #[test]
    fn the_ipv6_question_is_a_solicitation_with_the_right_checksum() {
        let frame = neighbour_solicitation();
        assert_eq!(frame.len(), 86);
        let ethernet = EthernetPacket::new(&frame).unwrap();
        let ip = Ipv6Packet::new(ethernet.payload()).unwrap();
        let (source, destination) = (ip.get_source(), ip.get_destination());
        assert_eq!(ip.get_hop_limit(), 255);
        assert_eq!(destination.to_string(), "ff02::1:ff00:8");
        assert_eq!(ethernet.get_destination().to_string(), "33:33:ff:00:00:08");
        let icmp = Icmpv6Packet::new(ip.payload()).unwrap();
        let checksum = icmpv6::checksum(&icmp, &source, &destination);
        assert_eq!(icmp.get_checksum(), checksum);
        let solicitation = NeighborSolicitPacket::new(ip.payload()).unwrap();
        assert_eq!(solicitation.get_target_addr(), CHECK_IPV6);
    }

    #[test]
    fn a_question_is_no_answer() {
        assert!(!is_arp_reply(&arp_request()));
        assert!(!is_advertisement(&neighbour_solicitation()));
    }
}
