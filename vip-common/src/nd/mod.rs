//! Neighbour Discovery (RFC 4861, 4.3 and 4.4; RFC 4862, 5.4; RFC 6980).
//!
//! ```text
//!  IPv6 header (words 0 to 19 of `ip6`)          message (words of `icmp`)
//!  0         4      6    7    8      24     40   0    1    2      4          8      24
//!  +---------+------+----+----+------+------+    +----+----+------+----------+------+---------
//!  | 6 TC FL | plen | 58 | 255| src  | dst  |    |type|code| csum | R S O 0  |target| options
//!  +---------+------+----+----+------+------+    +----+----+------+----------+------+---------
//!  word 0,1    2        3       4..   12..       0           1     2,3         4..    12..
//!
//!  option: | type | length in units of 8 | link-layer address, 6 bytes |
//! ```

mod advertise;
mod options;
mod reading;
mod shape;

pub use self::{
    advertise::{answer_in_place, build_announcement, build_answer, solicited_flags},
    options::{Found, Walk},
    reading::{is_nd, is_options_like, may_lead_to_nd, read},
    shape::{fault, is_solicitation, is_usual_solicitation, shape},
};
use crate::work::{MacWords, Work};

/// Router Solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// Neighbour Solicitation.
pub const SOLICITATION: u8 = 135;
/// Neighbour Advertisement.
pub const ADVERTISEMENT: u8 = 136;

const ICMPV6: u8 = 58;

const OVERRIDE: u16 = 0x2000u16.to_be();

const FF02: u16 = 0xff02u16.to_be();
const ONE: u16 = 1u16.to_be();
const L2_MULTICAST: u16 = 0x3333;

/// Source of the packet.
#[inline(always)]
pub fn source(work: &Work) -> &[u16; 8] {
    window(&work.ip6, 4)
}

/// Destination of the packet.
#[inline(always)]
pub fn destination(work: &Work) -> &[u16; 8] {
    window(&work.ip6, 12)
}

/// Target of the message.
#[inline(always)]
pub fn target(work: &Work) -> &[u16; 8] {
    window(&work.icmp, 4)
}

/// Type of the message.
#[inline(always)]
pub fn icmp_type(work: &Work) -> u8 {
    first(work.icmp[0])
}

#[inline(always)]
fn window<const N: usize>(words: &[u16; N], at: usize) -> &[u16; 8] {
    const NOTHING: [u16; 8] = [0; 8];
    match words.get(at..) {
        Some(rest) => rest.first_chunk().unwrap_or(&NOTHING),
        None => &NOTHING,
    }
}

#[inline(always)]
fn is_unspecified(address: &[u16; 8]) -> bool {
    high_is_zero(address) && (address[5] | address[6] | address[7]) == 0
}

/// A v4-mapped address (RFC 4291, 2.5.5.2). The maps hold IPv4 VIPs in this form, and no IPv6
/// frame asks for one or claims one.
#[inline(always)]
pub fn is_mapped(address: &[u16; 8]) -> bool {
    high_is_zero(address) && address[5] == 0xffff
}

#[inline(always)]
fn high_is_zero(address: &[u16; 8]) -> bool {
    (address[0] | address[1] | address[2] | address[3] | address[4]) == 0
}

/// The solicitation is one of duplicate address detection, answered to all nodes.
#[inline(always)]
pub fn asks_from_nowhere(work: &Work) -> bool {
    is_unspecified(source(work))
}

/// Sender's link-layer address of a claim: the option, else the Ethernet source.
#[inline(always)]
pub fn sender(work: &Work) -> MacWords {
    work.walk.mac
}

/// The claim is an advertisement without the override flag, as proxies send it.
#[inline(always)]
pub fn is_modest(work: &Work) -> bool {
    icmp_type(work) == ADVERTISEMENT && work.icmp[2] & OVERRIDE == 0
}

#[inline(always)]
const fn first(word: u16) -> u8 {
    word.to_ne_bytes()[0]
}

#[inline(always)]
const fn second(word: u16) -> u8 {
    word.to_ne_bytes()[1]
}
