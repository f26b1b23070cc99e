//! Moving a deadline, in the kernel (`xvip_extend`): the look at the clock and the store are one
//! step there, which no signal, freezer or debugger of the agent can part.

use crate::abi::LeaseSlot;

/// What is asked, as it lies in the frame that BPF_PROG_TEST_RUN hands to the program:
///
/// ```text
///  0            14                22                 30      34      38
///  +------------+-----------------+------------------+-------+-------+
///  | zeros      | deadline        | confirmed        | slot  | zeros |
///  +------------+-----------------+------------------+-------+-------+
/// ```
///
/// Numbers are in the order of the machine. The kernel takes no frame without an Ethernet header
/// (`bpf_prog_test_run_skb`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Where the slot's deadline is to lie, at least.
    pub deadline_boot_ns: u64,
    /// And its `confirmed`.
    pub confirmed_boot_ns: u64,
    /// Index into `LEASES`.
    pub slot: u32,
    /// Zero.
    pub reserved: u32,
}

impl Extension {
    /// Where it begins in the frame.
    pub const OFFSET: usize = 14;

    /// The frame.
    pub fn to_frame(&self) -> [u8; Self::OFFSET + size_of::<Self>()] {
        let mut frame = [0; Self::OFFSET + size_of::<Self>()];
        frame[14..22].copy_from_slice(&self.deadline_boot_ns.to_ne_bytes());
        frame[22..30].copy_from_slice(&self.confirmed_boot_ns.to_ne_bytes());
        frame[30..34].copy_from_slice(&self.slot.to_ne_bytes());
        frame
    }
}

/// What the program returns: the times were moved.
pub const EXTENDED: u32 = 1;
/// The deadline had passed, or somebody fenced the slot meanwhile: it stays where it was.
pub const PASSED: u32 = 2;
/// There is no such slot, or no such frame.
pub const REFUSED: u32 = 0;

impl LeaseSlot {
    /// The slot with its times moved, neither of them back. A deadline that has passed is never
    /// moved: somebody else may have taken over since.
    #[inline(always)]
    pub fn extended(self, by: &Extension, now: u64) -> Option<Self> {
        if now >= self.deadline_boot_ns {
            return None;
        }
        Some(Self {
            deadline_boot_ns: self.deadline_boot_ns.max(by.deadline_boot_ns),
            confirmed_boot_ns: self.confirmed_boot_ns.max(by.confirmed_boot_ns),
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Extension = Extension {
        deadline_boot_ns: 200,
        confirmed_boot_ns: 150,
        slot: 1,
        reserved: 0,
    };

    #[test]
    fn times_move_on_and_never_back() {
        let slot = LeaseSlot {
            deadline_boot_ns: 100,
            confirmed_boot_ns: 180,
            epoch: 7,
        };
        let moved = LeaseSlot {
            deadline_boot_ns: 200,
            ..slot
        };
        assert_eq!(slot.extended(&ASKED, 99), Some(moved));
    }

    #[test]
    fn a_deadline_is_passed_from_its_first_nanosecond_on() {
        let slot = LeaseSlot {
            deadline_boot_ns: 100,
            ..LeaseSlot::default()
        };
        assert!(slot.extended(&ASKED, 99).is_some());
        assert_eq!(slot.extended(&ASKED, 100), None);
        assert_eq!(LeaseSlot::default().extended(&ASKED, 0), None, "fenced");
    }

    #[test]
    fn the_frame_is_what_the_program_reads() {
        let frame = ASKED.to_frame();
        assert_eq!(frame.len(), 38);
        let number = |at: usize| u64::from_ne_bytes(frame[at..at + 8].try_into().unwrap());
        assert_eq!(core::mem::offset_of!(Extension, deadline_boot_ns), 0);
        assert_eq!(core::mem::offset_of!(Extension, confirmed_boot_ns), 8);
        assert_eq!(core::mem::offset_of!(Extension, slot), 16);
        assert_eq!((number(14), number(22)), (200, 150));
        assert_eq!(frame[30..38], [1u32.to_ne_bytes(), [0; 4]].concat());
    }
}
