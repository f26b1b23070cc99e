//! Frames that are almost right: the same ones for the same seed.

use std::net::Ipv6Addr;

use pnet_packet::{ip::IpNextHeaderProtocol, util::ipv6_checksum};

use super::{
    frame::{EVERYONE, group, group_mac},
    world::{
        CLIENT, FENCED4, FENCED6, LIVE4, LIVE6, OUR_OTHER, OURS, OWN4, OWN6, RIVAL, VIP4, VIP6,
    },
};

/// Numbers from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that always fall the same way.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// A number below the limit; 0 for the limit 0.
    pub fn below(&mut self, limit: usize) -> usize {
        if limit == 0 {
            0
        } else {
            self.number() as usize % limit
        }
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.number() as u8).collect()
    }
}

const WORDS: [u16; 24] = [
    0, 1, 2, 3, 6, 8, 0x0604, 0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8, 0xffff, 0x8000, 0x6000,
    0x0101, 0x0201, 0x3aff, 0x2cff, 0x00ff, 0x3cff, 24, 32, 40,
];

/// Makes one to four changes to one of the frames.
pub fn mutate(dice: &mut Dice, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = dice.pick(frames).clone();
    for _ in 0..=dice.below(3) {
        change(dice, &mut frame, frames);
    }
    if dice.below(2) == 0 {
        fit_length(&mut frame);
    }
    if dice.below(4) != 0 {
        fix_checksum(&mut frame);
    }
    // Nothing that Ethernet or TEST_RUN would not take.
    frame.resize(frame.len().clamp(14, 1_514), 0);
    frame
}

fn change(dice: &mut Dice, frame: &mut Vec<u8>, frames: &[Vec<u8>]) {
    let length = frame.len().min(100);
    match dice.below(9) {
        0 => {
            let at = dice.below(length);
            frame[at] ^= 1 << dice.below(8);
        }
        1 => {
            let at = dice.below(length);
            frame[at] = dice.number() as u8;
        }
        2 => {
            let at = dice.below(length / 2) * 2;
            let word = *dice.pick(&WORDS);
            put(frame, at, &word.to_be_bytes());
        }
        3 => {
            let at = dice.below(frame.len()).max(14);
            frame.truncate(at);
        }
        4 => {
            let more = if dice.below(8) == 0 {
                dice.below(1_400)
            } else {
                dice.below(64)
            };
            let more = dice.bytes(more);
            frame.extend(more);
        }
        5 => {
            let other = dice.pick(frames);
            let at = dice.below(other.len().min(100) / 2) * 2;
            let size = *dice.pick(&[2, 4, 6, 8, 16, 24]);
            let end = (at + size).min(other.len());
            put(frame, at, &other[at..end]);
        }
        6 => {
            let mac = *dice.pick(&[
                OURS,
                OUR_OTHER,
                CLIENT,
                RIVAL,
                EVERYONE,
                group_mac(group(VIP6)),
            ]);
            let at = *dice.pick(&[0, 6, 22, 32, 80]);
            put(frame, at, &mac);
        }
        7 => {
            let tag = *dice.pick(&[0x8100_0000u32, 0x88a8_0000, 0x8100_e000, 0x8100_0064]);
            if frame.len() > 14 {
                frame.splice(12..12, tag.to_be_bytes());
            }
        }
        _ => address(dice, frame),
    }
}

fn address(dice: &mut Dice, frame: &mut [u8]) {
    if frame.get(12..14) == Some(&[0x86, 0xdd]) {
        let (unspecified, mapped) = (Ipv6Addr::UNSPECIFIED, VIP4.to_ipv6_mapped());
        let address = *dice.pick(&[
            VIP6,
            VIP6,
            LIVE6,
            FENCED6,
            OWN6,
            group(VIP6),
            unspecified,
            mapped,
        ]);
        let at = *dice.pick(&[22, 38, 62]);
        put(frame, at, &address.octets());
    } else {
        let address = *dice.pick(&[VIP4, VIP4, LIVE4, FENCED4, OWN4]);
        let at = *dice.pick(&[28, 38]);
        put(frame, at, &address.octets());
    }
}

fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = frame.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

/// Where the IPv6 header begins, behind any tags.
fn ipv6(frame: &[u8]) -> Option<usize> {
    let mut at = 12;
    while matches!(frame.get(at..at + 2)?, [0x81, 0] | [0x88, 0xa8]) {
        at += 4;
    }
    (frame.get(at..at + 2)? == [0x86, 0xdd] && frame.len() >= at + 42).then_some(at + 2)
}

/// Makes the payload length that of the frame.
pub fn fit_length(frame: &mut [u8]) {
    if let Some(at) = ipv6(frame) {
        let length = (frame.len() - at - 40) as u16;
        put(frame, at + 4, &length.to_be_bytes());
    }
}

/// Where the ICMPv6 message lies, as far as its IPv6 header and extensions are whole.
pub fn message(frame: &[u8]) -> Option<std::ops::Range<usize>> {
    let start = ipv6(frame)?;
    let payload = usize::from(u16::from_be_bytes([frame[start + 4], frame[start + 5]]));
    let end = start + 40 + payload;
    let mut next = frame[start + 6];
    let mut at = start + 40;
    while next != 58 {
        let header = frame.get(at..at + 2)?;
        let size = match next {
            44 => 8,
            51 => (usize::from(header[1]) + 2) * 4,
            0 | 43 | 60 | 135 | 139 | 140 => (usize::from(header[1]) + 1) * 8,
            _ => return None,
        };
        (next, at) = (header[0], at + size);
    }
    (at + 4 <= end && end <= frame.len()).then_some(at..end)
}

/// The checksum that the message ought to have.
pub fn right_checksum(frame: &[u8]) -> Option<u16> {
    let start = ipv6(frame)?;
    let address = |at: usize| {
        let octets: [u8; 16] = frame[at..at + 16].try_into().ok()?;
        Some(Ipv6Addr::from(octets))
    };
    let (source, destination) = (address(start + 8)?, address(start + 24)?);
    let icmpv6 = IpNextHeaderProtocol(58);
    Some(ipv6_checksum(
        &frame[message(frame)?],
        1,
        &[],
        &source,
        &destination,
        icmpv6,
    ))
}

fn fix_checksum(frame: &mut [u8]) {
    if let (Some(message), Some(sum)) = (message(frame), right_checksum(frame)) {
        put(frame, message.start + 2, &sum.to_be_bytes());
    }
}
