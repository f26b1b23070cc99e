//! What `trace` is told of a frame.

use crate::{
    abi::Traced,
    counter::Family,
    tables::Judged,
    work::{Key, Work},
};

/// A frame and how it was judged.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// The frame as it was read.
    pub work: &'a Work,
    /// The VIP that decided.
    pub key: &'a Key,
    /// How.
    pub judged: Judged,
}

/// Bytes of the Ethernet header, an ARP message, and an IPv6 header with the start of a message.
const ETHERNET: usize = 7;
const ARP: usize = 14;
const IPV6: usize = 20;
const MESSAGE: usize = 12;
const OPTION: usize = 4;

/// Fills a record but for its time, length and interface.
#[inline(always)]
pub fn fill(record: &mut Traced, decision: Decision<'_>) {
    let Decision { work, key, judged } = decision;
    record.key.ifindex = key.ifindex;
    record.key.reserved = 0;
    copy(&mut record.key.address, 0, &key.words);
    record.verdict = judged.verdict as u8;
    record.shape = judged.shape as u8;
    record.reserved = 0;
    copy(&mut record.frame, 0, &work.ethernet);
    let words = match judged.family {
        Family::Ipv4 => {
            record.frame[12] = 0x08;
            record.frame[13] = 0x06;
            copy(&mut record.frame, ETHERNET, &work.arp);
            ETHERNET + ARP
        }
        Family::Ipv6 => {
            record.frame[12] = 0x86;
            record.frame[13] = 0xdd;
            copy(&mut record.frame, ETHERNET, &work.ip6);
            if let Some(message) = work.icmp.first_chunk::<{ MESSAGE + OPTION }>() {
                copy(&mut record.frame, ETHERNET + IPV6, message);
            }
            let option = if work.whole && work.icmp_length == 32 {
                OPTION
            } else {
                0
            };
            ETHERNET + IPV6 + MESSAGE + option
        }
    };
    record.captured = (words * 2) as u16;
}

#[inline(always)]
fn copy<const N: usize, const W: usize>(to: &mut [u8; N], at: usize, from: &[u16; W]) {
    let mut word = 0;
    while word < W {
        let [first, second] = from[word].to_ne_bytes();
        if (at + word) * 2 + 1 < N {
            to[(at + word) * 2] = first;
            to[(at + word) * 2 + 1] = second;
        }
        word += 1;
    }
}
