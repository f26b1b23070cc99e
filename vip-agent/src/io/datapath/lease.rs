//! `LEASES`, mapped into memory: fencing is a store, whatever number of VIPs hangs on a slot, and
//! no call can fail between the decision and its effect. Moving a deadline is the kernel's act
//! (docs/adr/0027-the-kernel-moves-deadlines.md).

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release, SeqCst},
        },
    },
};

use aya::programs::Program;
use vip_common::{
    abi::{LEASE_SLOTS, LeaseSlot},
    extension::{EXTENDED, Extension, PASSED},
};

use super::{
    Datapath, bpf,
    object::{DatapathError, Kernel, LEASES, Pins},
};

/// The time that deadlines are compared with: nanoseconds of `CLOCK_BOOTTIME`.
pub fn boottime_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is writable. The call cannot fail: the clock exists since Linux 2.6.39.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// One slot as atomics, in the layout of [`LeaseSlot`].
#[repr(C)]
struct AtomicSlot {
    deadline: AtomicU64,
    confirmed: AtomicU64,
    epoch: AtomicU64,
}

// An array map lays its values out at their size rounded up to 8 bytes (`array_map_alloc`).
const _: () = assert!(size_of::<AtomicSlot>() == size_of::<LeaseSlot>().next_multiple_of(8));

/// The lease slots of one layout. Clones of the mapping are not needed: all methods take `&self`.
#[derive(Debug)]
pub struct Slots {
    memory: NonNull<AtomicSlot>,
}

// SAFETY: the memory is shared with the kernel and other processes anyway, and touched by atomic
// operations alone.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}

impl Slots {
    const BYTES: usize = LEASE_SLOTS as usize * size_of::<AtomicSlot>();

    /// Maps the pinned `LEASES` of a layout, whose sizes are checked.
    pub fn open(pins: &Pins) -> Result<Self, DatapathError> {
        let path = pins.map(LEASES.name);
        LEASES.check_pin(&path)?;
        let kernel = |error| DatapathError::Kernel {
            what: "mapping LEASES into memory",
            error,
        };
        let map = bpf::get_pinned(&path).map_err(kernel)?;
        // SAFETY: a fresh mapping at an address that the kernel picks; it may outlive the
        // descriptor.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(kernel(io::Error::last_os_error()));
        }
        let memory = NonNull::new(memory.cast())
            .ok_or_else(|| kernel(io::Error::from(io::ErrorKind::InvalidData)))?;
        Ok(Self { memory })
    }

    /// # Panics
    /// For a slot that `LEASES` does not have: slots are constants of `vip_common::abi`.
    fn slot(&self, slot: u16) -> &AtomicSlot {
        assert!(u32::from(slot) < LEASE_SLOTS, "slot {slot}");
        // SAFETY: within the mapping, by the assertion, and aligned since the mapping begins at
        // a page; atomics may be shared with whoever else has the map.
        unsafe { self.memory.add(usize::from(slot)).as_ref() }
    }

    /// What a slot holds.
    pub fn get(&self, slot: u16) -> LeaseSlot {
        let slot = self.slot(slot);
        LeaseSlot {
            deadline_boot_ns: slot.deadline.load(Acquire),
            confirmed_boot_ns: slot.confirmed.load(Acquire),
            epoch: slot.epoch.load(Acquire),
        }
    }

    /// Sets a slot. The programs read its fields one by one, at any instant in between, so the
    /// order decides what they can see:
    /// - of another epoch: dead first, then epoch and `confirmed`, the deadline last: no entry of
    ///   the old epoch meets the new deadline;
    /// - a deadline that comes nearer is stored first: nothing lives longer than it may;
    /// - else `confirmed` goes first: a live VIP is not unconfirmed in between.
    pub fn set(&self, slot: u16, to: LeaseSlot) {
        let slot = self.slot(slot);
        if slot.epoch.load(Acquire) != to.epoch {
            slot.deadline.store(0, SeqCst);
            slot.epoch.store(to.epoch, SeqCst);
        } else if to.deadline_boot_ns < slot.deadline.load(Acquire) {
            slot.deadline.store(to.deadline_boot_ns, SeqCst);
        }
        slot.confirmed.store(to.confirmed_boot_ns, SeqCst);
        slot.deadline.store(to.deadline_boot_ns, SeqCst);
    }

    /// Silences every VIP of a slot, from the next frame on.
    pub fn fence(&self, slot: u16) {
        self.slot(slot).deadline.store(0, Release);
        // The store is out before anything that the caller does next, such as giving a row away.
        std::sync::atomic::fence(SeqCst);
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: mapped by `open` with this length, and no reference outlives `self`.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), Self::BYTES) };
    }
}

/// Moves deadlines that have not passed.
#[derive(Clone, Debug)]
pub struct Extender {
    program: Arc<OwnedFd>,
}

impl Extender {
    /// Moves both times of a slot on, neither of them back; false, and nothing moved, when its
    /// deadline has passed at the instant of the store.
    pub fn extend(
        &self,
        slot: u16,
        deadline_boot_ns: u64,
        confirmed_boot_ns: u64,
    ) -> Result<bool, DatapathError> {
        let asked = Extension {
            deadline_boot_ns,
            confirmed_boot_ns,
            slot: slot.into(),
            reserved: 0,
        };
        match bpf::test_run(self.program.as_fd(), &asked.to_frame()) {
            Ok(EXTENDED) => Ok(true),
            Ok(PASSED) => Ok(false),
            Ok(_) => Err(io::ErrorKind::InvalidData.into()),
            Err(error) => Err(error),
        }
        .map_err(|error| DatapathError::Kernel {
            what: "moving a deadline by xvip_extend",
            error,
        })
    }
}

impl Datapath {
    /// What moves deadlines.
    pub fn extender(&self) -> Result<Extender, DatapathError> {
        let name = Kernel::Extend.name();
        let Some(Program::SchedClassifier(program)) = self.ebpf.program(name) else {
            return Err(DatapathError::Incomplete(name));
        };
        let held = program.fd().map_err(|error| DatapathError::Program {
            program: name,
            error: Box::new(error),
        })?;
        let program = held.as_fd().try_clone_to_owned();
        let program = program.map_err(|error| DatapathError::Kernel {
            what: "holding xvip_extend",
            error,
        })?;
        Ok(Extender {
            program: Arc::new(program),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_one_of_the_deadlines() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let read = boottime_ns() as f64 / 1e9;
        assert!((read - uptime).abs() < 5.0, "{read} beside {uptime}");
        assert!(boottime_ns() <= boottime_ns());
    }
}
