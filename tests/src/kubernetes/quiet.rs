//! Tests of beds run beside each other, since they mostly wait. What keeps a core busy for seconds,
//! and what counts milliseconds, does so one at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// No other test of this process starts a bed, or counts milliseconds, while the guard lives. Not
/// to be held while a bed is made or agents are started.
pub fn quiet() -> MutexGuard<'static, ()> {
    static QUIET: Mutex<()> = Mutex::new(());
    // A test that failed left nothing behind that matters here.
    QUIET.lock().unwrap_or_else(PoisonError::into_inner)
}
