//! The rate of announcements of one interface.

use std::{num::NonZeroU32, time::Duration};

const SECOND: u64 = 1_000_000_000;

/// A token bucket, kept as the time at which the next frame would be exactly on schedule (the
/// generic cell rate algorithm): no second, wherever it begins, sees more frames than the rate.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// Nanoseconds between frames on schedule; zero when there is no limit.
    interval: u64,
    /// Frames that may go at once after a pause.
    depth: u64,
    /// When the next frame is on schedule, in nanoseconds.
    scheduled: u64,
}

impl Bucket {
    /// A bucket for `rate` frames a second, or without a limit.
    ///
    /// It holds 20 ms of frames, so that a timer of milliseconds reaches the rate, and refills
    /// by so much less that a full bucket and a second of refill make `rate`.
    pub(super) fn new(rate: Option<NonZeroU32>) -> Self {
        let rate = rate.map_or(0, |rate| u64::from(rate.get()));
        let depth = (rate / 50).max(1);
        let refill = rate.saturating_sub(depth - 1);
        Self {
            interval: if refill == 0 {
                0
            } else {
                SECOND.div_ceil(refill)
            },
            depth,
            scheduled: 0,
        }
    }

    /// Takes the token of one frame, if there is one.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        if now < self.ready_at(1) {
            return false;
        }
        self.scheduled = self.scheduled.max(nanos(now)) + self.interval;
        true
    }

    /// When `frames` frames may go at once; more than half the depth is not waited for, so
    /// that the bucket never runs full while frames wait.
    pub(super) fn ready_at(&self, frames: usize) -> Duration {
        let frames = (frames as u64).clamp(1, self.depth.div_ceil(2));
        let early = (self.depth - frames) * self.interval;
        Duration::from_nanos(self.scheduled.saturating_sub(early))
    }
}

/// 584 years of nanoseconds fit.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - SECOND)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_second_sees_more_frames_than_the_rate(
            rate in 1u32..2_000,
            idle in 0u64..5_000_000_000,
        ) {
            let mut bucket = Bucket::new(NonZeroU32::new(rate));
            let mut now = Duration::from_nanos(idle);
            let mut sent = Vec::new();
            // The worst sender: from a full bucket on, every frame at its first possible time.
            while sent.len() < 3 * rate as usize + 1 {
                now = now.max(bucket.ready_at(1));
                prop_assert!(bucket.take(now));
                sent.push(now);
            }
            for window in sent.windows(rate as usize + 1) {
                prop_assert!(*window.last().unwrap() - window[0] >= Duration::from_secs(1));
            }
        }

        #[test]
        fn a_greedy_sender_reaches_nearly_the_rate(rate in 1u32..20_000) {
            let mut bucket = Bucket::new(NonZeroU32::new(rate));
            let mut sent = 0;
            for millisecond in 0..10_000 {
                while bucket.take(Duration::from_millis(millisecond)) {
                    sent += 1;
                }
            }
            prop_assert!(sent * 100 >= rate * 10 * 90, "{sent} of {}", rate * 10);
        }
    }

    #[test]
    fn without_a_limit_every_frame_may_go() {
        let mut bucket = Bucket::new(None);
        assert!((0..100_000).all(|_| bucket.take(Duration::ZERO)));
        assert_eq!(bucket.ready_at(5), Duration::ZERO);
    }
}
