//! The scratch area of one decision: in the kernel the value of a per-CPU array, so that every
//! access has a constant offset, which the verifier asks for without CAP_PERFMON.

use crate::{abi::VipKey, nd::Walk};

/// [`VipKey`] with its address as words. Same layout.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// The address, IPv4 in mapped form.
    pub words: [u16; 8],
    /// Index of the interface.
    pub ifindex: u32,
    /// Zero.
    pub reserved: u32,
}

impl Key {
    /// The key as the maps have it.
    pub fn vip_key(&self) -> VipKey {
        VipKey {
            address: bytes(&self.words),
            ifindex: self.ifindex,
            reserved: 0,
        }
    }

    /// Sets the address to that of an IPv4 field.
    #[inline(always)]
    pub fn set_ipv4(&mut self, high: u16, low: u16) {
        self.words = [0, 0, 0, 0, 0, 0xffff, high, low];
    }
}

impl From<VipKey> for Key {
    fn from(key: VipKey) -> Self {
        Self {
            words: words(&key.address),
            ifindex: key.ifindex,
            reserved: 0,
        }
    }
}

/// [`VipKey`] as three stores of 8 bytes: a hash of what was stored by words would wait for them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuickKey([u64; 3]);

impl QuickKey {
    /// Makes it the key of an IPv4 address.
    #[inline(always)]
    pub fn set_ipv4(&mut self, address: [u16; 2], ifindex: u32) {
        let [high, low] = address;
        self.set_ipv6([0, 0, 0, 0, 0, 0xffff, high, low], ifindex);
    }

    /// Makes it the key of an IPv6 address.
    #[inline(always)]
    pub fn set_ipv6(&mut self, address: [u16; 8], ifindex: u32) {
        let [a, b, c, d, e, f, g, h] = address;
        self.0 = [
            quad([a, b, c, d]),
            quad([e, f, g, h]),
            u64::from(ifindex).to_le(),
        ];
    }

    /// The interface, and zero: what `LINKS` has as its key in the first 4 bytes.
    #[inline(always)]
    pub const fn link(&self) -> &u64 {
        &self.0[2]
    }

    /// The key as the maps have it.
    pub fn vip_key(&self) -> VipKey {
        let mut address = [0; 16];
        for (part, quad) in address.chunks_exact_mut(8).zip(&self.0) {
            part.copy_from_slice(&quad.to_ne_bytes());
        }
        VipKey {
            address,
            ifindex: u64::from_le(self.0[2]) as u32,
            reserved: 0,
        }
    }
}

/// Four words as they lie in memory.
#[inline(always)]
const fn quad(words: [u16; 4]) -> u64 {
    let [a, b, c, d] = words;
    let (a, b, c, d) = (a.to_le(), b.to_le(), c.to_le(), d.to_le());
    (a as u64 | (b as u64) << 16 | (c as u64) << 32 | (d as u64) << 48).to_le()
}

/// The bytes behind eight words.
pub fn bytes(words: &[u16; 8]) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (pair, word) in bytes.chunks_exact_mut(2).zip(words) {
        pair.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// The words behind 16 bytes.
#[inline(always)]
pub fn words(bytes: &[u8; 16]) -> [u16; 8] {
    let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    [
        word(0),
        word(2),
        word(4),
        word(6),
        word(8),
        word(10),
        word(12),
        word(14),
    ]
}

/// A MAC address as words.
pub type MacWords = [u16; 3];

/// The words behind the bytes of a MAC address.
#[inline(always)]
pub const fn mac_words(mac: &[u8; 6]) -> MacWords {
    [
        u16::from_ne_bytes([mac[0], mac[1]]),
        u16::from_ne_bytes([mac[2], mac[3]]),
        u16::from_ne_bytes([mac[4], mac[5]]),
    ]
}

/// The bytes behind the words of a MAC address.
#[inline(always)]
pub const fn mac_bytes(mac: &MacWords) -> [u8; 6] {
    let [a, b] = mac[0].to_ne_bytes();
    let [c, d] = mac[1].to_ne_bytes();
    let [e, f] = mac[2].to_ne_bytes();
    [a, b, c, d, e, f]
}

/// Broadcast, as words.
pub const BROADCAST: MacWords = [0xffff; 3];

/// The I/G bit is set: broadcast or multicast (IEEE 802).
#[inline(always)]
pub const fn is_group(mac: &MacWords) -> bool {
    mac[0] & const { u16::from_ne_bytes([1, 0]) } != 0
}

/// May stand as somebody's own address: unicast and not zero.
#[inline(always)]
pub const fn is_station(mac: &MacWords) -> bool {
    !is_group(mac) && (mac[0] | mac[1] | mac[2]) != 0
}

/// What a frame may claim, by its form.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Claim {
    /// It claims nothing.
    #[default]
    None,
    /// A gratuitous ARP or an unsolicited advertisement: it serves nothing but the claim.
    Gratuitous,
    /// A frame with another purpose whose sender is the claimed address.
    InPassing,
}

/// The scratch area. `ip6` and `icmp` adjoin, so that one sum covers the addresses and the message.
#[repr(C, align(8))]
#[derive(Clone, Debug)]
pub struct Work {
    /// The address that is asked for, valid while `asks`.
    pub ask: Key,
    /// The address that is claimed, valid unless `claims` is [`Claim::None`].
    pub claim: Key,
    /// The address that [`crate::shortcut`] looks up.
    pub quick: QuickKey,
    /// Walk over the options of an ND message.
    pub walk: Walk,
    /// Byte offset of the ICMPv6 message.
    pub icmp_at: u32,
    /// Its length by the IPv6 header.
    pub icmp_length: u32,
    /// Byte offset of the ARP or IPv6 header.
    pub l3_at: u32,
    /// The frame asks for `ask`.
    pub asks: bool,
    /// The frame claims `claim`.
    pub claims: Claim,
    /// VLAN tags in the frame.
    pub tags: u8,
    /// IPv6 extension headers before the message.
    pub extensions: u8,
    /// One of them is a fragment header.
    pub fragment: bool,
    /// The ICMPv6 message lies whole in `icmp`.
    pub whole: bool,
    /// Ethernet header.
    pub ethernet: [u16; 7],
    /// VLAN tag and the type behind it.
    pub tag: [u16; 2],
    /// IPv6 extension header, its first 8 bytes.
    pub extension: [u16; 4],
    /// ND option, its first 8 bytes.
    pub option: [u16; 4],
    /// ARP message.
    pub arp: [u16; 14],
    /// Fixed IPv6 header.
    pub ip6: [u16; 20],
    /// ICMPv6 message.
    pub icmp: [u16; 128],
    /// The frame to send.
    pub reply: [u16; 43],
}

impl Work {
    /// A fresh area, for userspace: the kernel's is zero when its map is made.
    pub const fn new() -> Self {
        const KEY: Key = Key {
            words: [0; 8],
            ifindex: 0,
            reserved: 0,
        };
        Self {
            ask: KEY,
            claim: KEY,
            quick: QuickKey([0; 3]),
            walk: Walk::new(),
            icmp_at: 0,
            icmp_length: 0,
            l3_at: 0,
            asks: false,
            claims: Claim::None,
            tags: 0,
            extensions: 0,
            fragment: false,
            whole: false,
            ethernet: [0; 7],
            tag: [0; 2],
            extension: [0; 4],
            option: [0; 4],
            arp: [0; 14],
            ip6: [0; 20],
            icmp: [0; 128],
            reply: [0; 43],
        }
    }

    /// Ethernet destination.
    #[inline(always)]
    pub fn destination(&self) -> MacWords {
        [self.ethernet[0], self.ethernet[1], self.ethernet[2]]
    }

    /// Ethernet source.
    #[inline(always)]
    pub fn source(&self) -> MacWords {
        [self.ethernet[3], self.ethernet[4], self.ethernet[5]]
    }
}

impl Default for Work {
    fn default() -> Self {
        Self::new()
    }
}
