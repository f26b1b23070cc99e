//! How a question is formed.

/// The form of a question for a live VIP: `wire.md` calls it regular (answered in the fast path),
/// irregular (left to the kernel) or malformed (left, and the kernel drops it).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Answered.
    Regular = 0,
    /// Unicast to another MAC address: nobody asks this host.
    Elsewhere = 1,

    /// Sent to an unusual group address.
    GroupDestination = 32,
    /// ARP over IEEE 802 (hardware type 6).
    Ieee802 = 33,
    /// The sender's MAC address is not the frame's source, no station's, or ours.
    SenderMac = 34,
    /// More than one VLAN tag.
    NestedTags = 35,
    /// Multicast solicitation without source link-layer address option.
    NoSourceOption = 36,
    /// Extension headers before the solicitation.
    Extensions = 37,
    /// A solicitation of more than 256 bytes.
    TooLong = 38,
    /// The source is a v4-mapped address.
    MappedSource = 39,
    /// Sent to a unicast address that is not the target.
    OtherDestination = 40,

    /// Other hardware or protocol type, or other address lengths (RFC 826).
    ArpFormat = 64,
    /// Not IP version 6.
    Version = 65,
    /// Hop limit below 255 (RFC 4861, 7.1.1).
    HopLimit = 66,
    /// ICMPv6 code not 0.
    Code = 67,
    /// Message shorter than 24 bytes, longer than the frame, or not whole options.
    Length = 68,
    /// Wrong or zero checksum.
    Checksum = 69,
    /// An option of length 0 or beyond the message.
    Option = 70,
    /// Fragmented (RFC 6980).
    Fragment = 71,
    /// Duplicate address detection with a source link-layer address option.
    DadOption = 72,
    /// Duplicate address detection that is not sent to a solicited-node group.
    DadDestination = 73,
    /// Multicast or loopback source.
    Source = 74,
}

impl Shape {
    /// Left to the kernel as one that it may answer.
    #[inline(always)]
    pub const fn is_irregular(self) -> bool {
        self as u8 >= 32 && (self as u8) < 64
    }

    /// Left to the kernel as one that it drops.
    #[inline(always)]
    pub const fn is_malformed(self) -> bool {
        self as u8 >= 64
    }

    /// All shapes.
    pub const ALL: [Self; 22] = [
        Self::Regular,
        Self::Elsewhere,
        Self::GroupDestination,
        Self::Ieee802,
        Self::SenderMac,
        Self::NestedTags,
        Self::NoSourceOption,
        Self::Extensions,
        Self::TooLong,
        Self::MappedSource,
        Self::OtherDestination,
        Self::ArpFormat,
        Self::Version,
        Self::HopLimit,
        Self::Code,
        Self::Length,
        Self::Checksum,
        Self::Option,
        Self::Fragment,
        Self::DadOption,
        Self::DadDestination,
        Self::Source,
    ];

    /// The shape behind a number of the `TRACED` records.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| *shape as u8 == code)
    }

    /// In words, for `trace`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Elsewhere => "sent to another MAC address",
            Self::GroupDestination => "sent to an unusual group address",
            Self::Ieee802 => "hardware type 6 (IEEE 802)",
            Self::SenderMac => "sender's MAC address is not the frame's source",
            Self::NestedTags => "nested VLAN tags",
            Self::NoSourceOption => "multicast without source link-layer address option",
            Self::Extensions => "extension headers",
            Self::TooLong => "longer than 256 bytes",
            Self::MappedSource => "v4-mapped source",
            Self::OtherDestination => "sent to another address than its target",
            Self::ArpFormat => "not Ethernet and IPv4",
            Self::Version => "not IP version 6",
            Self::HopLimit => "hop limit is not 255",
            Self::Code => "ICMPv6 code is not 0",
            Self::Length => "wrong length",
            Self::Checksum => "wrong checksum",
            Self::Option => "option of wrong length",
            Self::Fragment => "fragmented",
            Self::DadOption => "duplicate address detection with a source link-layer address",
            Self::DadDestination => "duplicate address detection outside a solicited-node group",
            Self::Source => "multicast or loopback source",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_leads_back_to_its_shape() {
        for shape in Shape::ALL {
            assert_eq!(Shape::from_code(shape as u8), Some(shape));
            assert!(!(shape.is_irregular() && shape.is_malformed()));
        }
        assert_eq!(Shape::from_code(200), None);
    }
}
