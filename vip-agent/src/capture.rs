//! Decisions as a capture that Wireshark and tcpdump open: pcapng (draft-ietf-opsawg-pcapng), so
//! that every frame carries its verdict and reason as a comment.
//!
//! ```text
//!  Section Header      Interface Description ...      Enhanced Packet ...
//! ```
//! All blocks are padded to 32 bits and say their length first and last. Numbers are in the byte
//! order of the section's magic, here little-endian.

use std::collections::BTreeMap;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const MAGIC: u32 = 0x1a2b_3c4d;
const ETHERNET: u16 = 1;

const OPT_COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
/// Ten to the minus ninth.
const NANOSECONDS: u8 = 9;

/// A frame, and what is told with it.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Index of the interface that it came in by.
    pub ifindex: u32,
    /// Name of that interface.
    pub interface: &'a str,
    /// Nanoseconds since 1970.
    pub at_ns: u64,
    /// What was kept of it, from the Ethernet header on.
    pub bytes: &'a [u8],
    /// Its length on the wire.
    pub length: u32,
    /// The comment.
    pub comment: &'a str,
}

/// Writes blocks one after the other; interfaces are described when they come up first.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    interfaces: BTreeMap<u32, u32>,
}

impl Capture {
    /// What every capture begins with.
    pub fn header() -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(MAGIC.to_le_bytes());
        body.extend([1, 0, 0, 0]);
        // The section's length: not known.
        body.extend(u64::MAX.to_le_bytes());
        block(SECTION, &body)
    }

    /// The blocks of a frame.
    pub fn frame(&mut self, frame: &Frame<'_>) -> Vec<u8> {
        let mut blocks = Vec::new();
        let next = self.interfaces.len() as u32;
        let interface = *self.interfaces.entry(frame.ifindex).or_insert_with(|| {
            blocks = described(frame.interface);
            next
        });
        let mut body = Vec::new();
        body.extend(interface.to_le_bytes());
        body.extend(((frame.at_ns >> 32) as u32).to_le_bytes());
        body.extend((frame.at_ns as u32).to_le_bytes());
        body.extend((frame.bytes.len() as u32).to_le_bytes());
        body.extend(frame.length.to_le_bytes());
        body.extend(frame.bytes);
        pad(&mut body);
        option(&mut body, OPT_COMMENT, frame.comment.as_bytes());
        option(&mut body, 0, &[]);
        blocks.extend(block(PACKET, &body));
        blocks
    }
}

fn described(name: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(ETHERNET.to_le_bytes());
    body.extend([0, 0]);
    // No limit.
    body.extend(0_u32.to_le_bytes());
    option(&mut body, IF_NAME, name.as_bytes());
    option(&mut body, IF_TSRESOL, &[NANOSECONDS]);
    option(&mut body, 0, &[]);
    block(INTERFACE, &body)
}

fn option(to: &mut Vec<u8>, code: u16, value: &[u8]) {
    // Names and comments are far below 64 KiB.
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    to.extend(code.to_le_bytes());
    to.extend((value.len() as u16).to_le_bytes());
    to.extend(value);
    pad(to);
}

fn pad(to: &mut Vec<u8>) {
    to.resize(to.len().next_multiple_of(4), 0);
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 12).to_le_bytes();
    let mut block = Vec::with_capacity(body.len() + 12);
    block.extend(kind.to_le_bytes());
    block.extend(length);
    block.extend(body);
    block.extend(length);
    block
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pcap_file::{
        DataLink,
        pcapng::{Block, PcapNgReader, blocks::enhanced_packet::EnhancedPacketOption},
    };

    use super::*;

    #[test]
    fn another_reader_finds_frames_times_interfaces_and_comments() {
        let mut capture = Capture::default();
        let mut file = Capture::header();
        // Lengths with every padding; a 32-bit half of the time that is not zero.
        let frames: Vec<Frame<'_>> = (0..6)
            .map(|number| Frame {
                ifindex: 2 + number % 2,
                interface: ["eth0", "eth0.100"][number as usize % 2],
                at_ns: 1_767_323_045_000_000_001 + u64::from(number),
                bytes: &[7; 88][..60 + number as usize],
                length: 1_000 + number,
                comment: &"192.0.2.100 fenced"[..18 - number as usize],
            })
            .collect();
        for frame in &frames {
            file.extend(capture.frame(frame));
        }
        let mut reader = PcapNgReader::new(file.as_slice()).unwrap();
        let mut read = Vec::new();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block.unwrap().into_owned() {
                read.push(packet);
            }
        }
        assert_eq!(read.len(), frames.len());
        let names: Vec<String> = (reader.interfaces().iter())
            .map(|it| format!("{:?} {:?}", it.linktype, it.options))
            .collect();
        assert_eq!(names.len(), 2);
        assert!(names[1].contains("eth0.100"), "{names:?}");
        assert!(names[0].starts_with(&format!("{:?}", DataLink::ETHERNET)));
        for (number, (packet, frame)) in read.iter().zip(&frames).enumerate() {
            assert_eq!(packet.interface_id, number as u32 % 2);
            assert_eq!(packet.timestamp, Duration::from_nanos(frame.at_ns));
            assert_eq!(packet.data.as_ref(), frame.bytes);
            assert_eq!(packet.original_len, frame.length);
            let comment = EnhancedPacketOption::Comment(frame.comment.into());
            assert_eq!(packet.options, [comment]);
        }
    }
}
