//! A frame as the decision sees it.

use crate::{checksum, nd::Walk, work::Work};

/// Longest ICMPv6 message that is inspected whole; a longer solicitation is irregular.
pub const ICMP_MAX: u32 = 256;
/// Length of every ARP frame that we send: the minimum of Ethernet without its checksum.
pub const ARP_FRAME: u32 = 60;
/// Length of every neighbour advertisement that we send: 14 + 40 + 24 + 8.
pub const NA_FRAME: u32 = 86;

/// Longest frame that is made an answer. A longer one may lie in fragments, and to cut those off
/// leaks their pages in veth (seen on Linux 6.12 and 7.3): it is left to the kernel.
pub const QUESTION_MAX: u32 = 2_048;

/// What becomes of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Goes on unmodified.
    Pass,
    /// Ends here.
    Drop,
    /// Has become an answer or a defence, and leaves by the interface that it came from.
    Transmit,
}

/// A frame, from its Ethernet header on.
///
/// Copied freely: in the kernel it is the pointer to the program's context.
pub trait Packet: Copy {
    /// Index of the interface that the frame came in by, or leaves by.
    fn ifindex(self) -> u32;

    /// Length of the whole frame in bytes, also of its parts that are not linear.
    fn length(self) -> u32;

    /// VLAN tags that the frame carries beside its bytes.
    #[inline(always)]
    fn tags_beside(self) -> u32 {
        0
    }

    /// Copies `W` words from byte `at` on; false when the frame ends before.
    fn load<const W: usize>(self, at: u32, to: &mut [u16; W]) -> bool;

    /// Copies the ICMPv6 message of `length` bytes, a multiple of 8 from 24 to [`ICMP_MAX`],
    /// into `work.icmp`.
    fn load_icmp(self, at: u32, length: u32, work: &mut Work) -> bool;

    /// Sum over the addresses of `work.ip6` and the first `length` bytes of `work.icmp`, folded
    /// to 16 bits. `length` is as for [`Packet::load_icmp`].
    fn sum_icmp(self, length: u32, work: &Work) -> u16 {
        let words = (length / 2) as usize;
        let addresses = checksum::sum(&work.ip6[4..]);
        let message = checksum::sum(work.icmp.get(..words).unwrap_or_default());
        checksum::fold(u64::from(addresses) + u64::from(message))
    }

    /// Walks the options of the message at `work.icmp_at` by [`Walk::step`].
    fn walk_options(self, work: &mut Work);

    /// Makes the first `length` bytes of `work.reply` the whole frame, without any tag that the
    /// frame carried beside its bytes; false when it cannot be grown or shrunk, and then it is
    /// unchanged.
    fn become_reply(self, length: u32, work: &Work) -> bool;

    /// Shows the first `W` words in place; none where they cannot be had so.
    #[inline(always)]
    fn head<const W: usize, R>(self, _edit: impl FnOnce(&mut [u16; W]) -> R) -> Option<R> {
        None
    }

    /// Sum over the addresses and the message of a solicitation of [`NA_FRAME`] bytes without tag
    /// and its pseudo-header, folded to 16 bits; none where [`Packet::head`] has none.
    #[inline(always)]
    fn sum_solicitation(self) -> Option<u16> {
        self.head(|frame: &mut [u16; NA_FRAME as usize / 2]| {
            let sum = checksum::sum(&frame[11..]);
            checksum::fold(u64::from(sum) + checksum::icmpv6_rest(32))
        })
    }

    /// Gives the frame this length; false when it cannot be grown or shrunk, and then it is
    /// unchanged.
    #[inline(always)]
    fn resize(self, _length: u32) -> bool {
        false
    }

    /// Overwrites `W` words from byte `at` on (egress only).
    fn store<const W: usize>(self, at: u32, from: &[u16; W]) -> bool;
}

/// Largest number of options in a message of [`ICMP_MAX`] bytes.
pub const OPTIONS_MAX: u32 = (ICMP_MAX - 24) / 8;

impl Walk {
    /// Whether there is an option to look at.
    pub fn goes_on(&self) -> bool {
        self.at < self.end && !self.malformed
    }
}
