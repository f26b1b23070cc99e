//! Counters of frames: one enum gives the map index, the metric's label and its help.

/// Address family of a frame.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// ARP (RFC 826).
    Ipv4 = 0,
    /// Neighbour Discovery (RFC 4861).
    Ipv6 = 1,
}

impl Family {
    /// Both families.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// Value of the label `family`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// What became of a frame because of xvip. A frame may have two: an answer to its question and
/// a conflict over its sender.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A question for a live VIP, answered by the programs.
    Answered = 0,
    /// A question for a live VIP of an unusual shape, left to the kernel.
    Left = 1,
    /// A malformed question for a live VIP, left to the kernel, which drops it.
    Malformed = 2,
    /// A question for a VIP that is not live, dropped.
    Fenced = 3,
    /// A rival's claim of a live VIP, replaced by a defending announcement.
    Defended = 4,
    /// A rival's claim of an unconfirmed VIP, to which the VIP was yielded.
    Yielded = 5,
    /// An ARP or ND frame of this host for a VIP that is not live, dropped on its way out.
    EgressDropped = 6,
    /// An ARP or ND frame of this host whose sender was such a VIP, given the node's own address.
    EgressRewritten = 7,
}

impl Verdict {
    /// All verdicts, in the order of their indices.
    pub const ALL: [Self; 8] = [
        Self::Answered,
        Self::Left,
        Self::Malformed,
        Self::Fenced,
        Self::Defended,
        Self::Yielded,
        Self::EgressDropped,
        Self::EgressRewritten,
    ];

    /// Value of the label `verdict`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Left => "left",
            Self::Malformed => "malformed",
            Self::Fenced => "fenced",
            Self::Defended => "defended",
            Self::Yielded => "yielded",
            Self::EgressDropped => "egress_dropped",
            Self::EgressRewritten => "egress_rewritten",
        }
    }
}

/// Index of the events that found the ring buffer `EVENTS` full: behind all verdicts.
pub const EVENTS_DROPPED: u32 = (Verdict::ALL.len() * Family::ALL.len()) as u32;
/// Number of entries of `COUNTERS`.
pub const COUNTERS: u32 = EVENTS_DROPPED + 1;

/// Index into `COUNTERS`.
pub const fn index(verdict: Verdict, family: Family) -> u32 {
    (verdict as u32) * 2 + family as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_an_index_of_its_own() {
        let mut seen = [false; EVENTS_DROPPED as usize];
        for verdict in Verdict::ALL {
            for family in Family::ALL {
                let slot = &mut seen[index(verdict, family) as usize];
                assert!(!*slot, "{verdict:?}/{family:?} shares its index");
                *slot = true;
            }
        }
        assert!(seen.iter().all(|used| *used));
    }
}
