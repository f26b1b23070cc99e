//! One bed for the tests of a binary, one after the other: it takes seconds to make.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

use super::Bed;
use crate::netns::BedError;

/// Nodes of the bed that is shared.
const NODES: usize = 3;

static BED: Mutex<Option<Bed>> = Mutex::new(None);

/// The bed, for one test. What the test wrote is removed after it; after a failed test the whole
/// bed goes, and the next test makes another.
pub struct SharedBed(MutexGuard<'static, Option<Bed>>);

impl SharedBed {
    /// Waits for its turn; the bed has three nodes with agents that hold all rows.
    pub fn take() -> Result<Self, BedError> {
        static AT_EXIT: Once = Once::new();
        let mut bed = BED.lock().unwrap_or_else(PoisonError::into_inner);
        if bed.is_none() {
            let mut fresh = Bed::new(NODES)?;
            fresh.install()?;
            fresh.start_agents("")?;
            fresh.wait_rows_at_rest()?;
            *bed = Some(fresh);
            AT_EXIT.call_once(|| {
                // SAFETY: the function is `extern "C"`, takes nothing, and does not unwind: what
                // it drops ends processes and removes files, and ignores errors.
                let _ = unsafe { libc::atexit(leave) };
            });
        }
        Ok(Self(bed))
    }
}

/// Statics are not dropped at the end of a process, and the bed has files.
extern "C" fn leave() {
    if let Ok(mut bed) = BED.try_lock() {
        *bed = None;
    }
}

impl Deref for SharedBed {
    type Target = Bed;

    fn deref(&self) -> &Bed {
        self.0.as_ref().expect("made when it was taken")
    }
}

impl DerefMut for SharedBed {
    fn deref_mut(&mut self) -> &mut Bed {
        self.0.as_mut().expect("made when it was taken")
    }
}

impl Drop for SharedBed {
    fn drop(&mut self) {
        // The agents' logs are printed when they are dropped in a panic.
        if std::thread::panicking() || self.clear().is_err() {
            *self.0 = None;
        }
    }
}
