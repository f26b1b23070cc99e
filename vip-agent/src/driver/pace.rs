//! How often an agent thinks. With a thousand Services a thought, and the round that follows from
//! it, take tens of milliseconds, and while a thousand are created each of them is news: without a
//! pace every agent would take a core for itself, which the API server has to do without.

use std::time::Duration;

/// A thought is paid for by so many times its own length.
const PRICE: u32 = 12;
/// What may be owed: a few dear thoughts in a row, as one new Service takes, wait for nothing.
const CREDIT: Duration = Duration::from_millis(1200);
const LONGEST_REST: Duration = Duration::from_millis(400);

/// When the next thought may begin. Times are those since any fixed moment.
#[derive(Debug, Default)]
pub(super) struct Pace {
    paid_at: Duration,
}

impl Pace {
    /// Something was thought, or done about it, for a time that ended `now`.
    pub(super) fn took(&mut self, time: Duration, now: Duration) {
        let paid_at = self.paid_at.max(now) + time * PRICE;
        self.paid_at = paid_at.min(now + CREDIT + LONGEST_REST);
    }

    /// A time, or when the next thought may begin if that is later.
    pub(super) fn not_before(&self, at: Duration) -> Duration {
        at.max(self.paid_at.saturating_sub(CREDIT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Thinks whenever it may, from `start` for a second; how long in all.
    fn think(pace: &mut Pace, each: Duration, start: Duration) -> Duration {
        let (mut now, mut thought) = (start, Duration::ZERO);
        loop {
            now = pace.not_before(now);
            if now >= start + ms(1000) {
                return thought;
            }
            now += each;
            thought += each;
            pace.took(each, now);
        }
    }

    #[test]
    fn a_few_thoughts_in_a_row_wait_for_nothing() {
        let (mut pace, mut now) = (Pace::default(), ms(5000));
        for _ in 0..3 {
            now += ms(30);
            pace.took(ms(30), now);
            assert_eq!(pace.not_before(now), now);
        }
    }

    #[test]
    fn in_a_crowd_a_twelfth_of_the_time_is_thought_however_dear_a_thought_is() {
        for each in [1, 5, 30] {
            let mut pace = Pace::default();
            think(&mut pace, ms(each), ms(0));
            let later = think(&mut pace, ms(each), ms(1000));
            assert!((ms(60)..=ms(110)).contains(&later), "{each} ms: {later:?}");
        }
    }

    #[test]
    fn nothing_waits_longer_than_the_longest_rest() {
        let mut pace = Pace::default();
        for second in 1..20 {
            pace.took(ms(900), ms(second * 1000));
            let at = pace.not_before(ms(second * 1000));
            assert!(at <= ms(second * 1000) + LONGEST_REST, "{at:?}");
        }
    }

    #[test]
    fn what_was_owed_is_paid_by_a_pause() {
        let mut pace = Pace::default();
        think(&mut pace, ms(30), ms(0));
        let now = ms(3000);
        pace.took(ms(30), now);
        assert_eq!(pace.not_before(now), now);
    }
}
