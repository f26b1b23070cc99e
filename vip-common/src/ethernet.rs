//! Ethernet and VLAN headers.
//!
//! ```text
//!  0      6      12    14                    16     18
//!  +------+------+-----+   with a tag:  +----+------+-----+
//!  | dst  | src  | type|                |8100| TCI  | type|
//!  +------+------+-----+                +----+------+-----+
//! ```

use crate::{packet::Packet, work::Work};

/// EtherType of ARP.
pub const ARP: u16 = 0x0806u16.to_be();
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86ddu16.to_be();
/// EtherType of a customer VLAN tag (IEEE 802.1Q).
pub const VLAN: u16 = 0x8100u16.to_be();
/// EtherType of a service VLAN tag (IEEE 802.1ad).
pub const SERVICE_VLAN: u16 = 0x88a8u16.to_be();
const VID_MASK: u16 = 0x0fffu16.to_be();

/// Tags that are looked through. Linux strips priority tags without end; what lies deeper is
/// caught on egress.
const TAGS_MAX: u32 = 2;

/// Whether the type announces a VLAN tag.
#[inline(always)]
pub const fn is_tag(ether_type: u16) -> bool {
    ether_type == VLAN || ether_type == SERVICE_VLAN
}

/// Reads the Ethernet header and priority tags, leaves the offset of what follows in
/// `work.l3_at`, and returns its type. None when the frame is too short or belongs to a VLAN:
/// that is judged on the VLAN's own device, where the tag is gone.
#[inline(always)]
pub fn read<P: Packet>(packet: P, work: &mut Work) -> Option<u16> {
    if !packet.load(0, &mut work.ethernet) {
        return None;
    }
    let mut ether_type = work.ethernet[6];
    // The count is a local: what is read back from a map has no bound for the verifier.
    let mut tags = 0;
    while is_tag(ether_type) && tags < TAGS_MAX {
        if !packet.load(14 + 4 * tags, &mut work.tag) || work.tag[0] & VID_MASK != 0 {
            return None;
        }
        ether_type = work.tag[1];
        tags += 1;
    }
    work.tags = (tags + packet.tags_beside()) as u8;
    work.l3_at = 14 + 4 * tags;
    Some(ether_type)
}
