//! `CLOCK_BOOTTIME` as a number: the only clock that anything here is compared by.

use std::{ops::Add, time::Duration};

/// Nanoseconds of this node's `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(pub u64);

impl BootTime {
    /// Never.
    pub const NEVER: Self = Self(u64::MAX);
}

impl Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(span))
    }
}
