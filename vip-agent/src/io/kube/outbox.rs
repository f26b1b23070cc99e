//! Writes that wait: the latest of each object alone, some at a time, and again after a failure.
//! No clock and no I/O.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

/// Wait after a first failure; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(20);
/// No write is paid for by a longer rest.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// What may wait for its turn while something newer for the same object comes.
pub(super) trait Supersede {
    /// What remains to be written when `self` comes while `earlier` still waits.
    fn after(self, earlier: Self) -> Self;
}

/// How fast a lane is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Under way at once.
    pub in_flight: usize,
    /// That may begin at once after a pause.
    pub burst: u32,
    /// Between two of them in the long run; zero for no limit.
    pub interval: Duration,
    /// One is paid for by so many times its own length, where that is longer than the interval:
    /// who is slow to answer has others to serve.
    pub price: u32,
    /// Waiting; more are dropped and counted.
    pub waiting: usize,
}

#[derive(Debug)]
struct Waiting<V> {
    value: V,
    failures: u32,
}

#[derive(Debug)]
struct InFlight {
    began: Instant,
    /// In a row, before this time.
    failures: u32,
}

/// One lane.
#[derive(Debug)]
pub(super) struct Outbox<K, V> {
    limits: Limits,
    /// By object; in `ready`, in `delayed`, or behind one that is in flight.
    waiting: BTreeMap<K, Waiting<V>>,
    ready: VecDeque<K>,
    delayed: BTreeSet<(Instant, K)>,
    in_flight: BTreeMap<K, InFlight>,
    /// When the next one would be on schedule (the generic cell rate algorithm).
    scheduled: Option<Instant>,
    dropped: u64,
}

impl<K: Ord + Clone, V: Supersede> Outbox<K, V> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: BTreeMap::new(),
            ready: VecDeque::new(),
            delayed: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            scheduled: None,
            dropped: 0,
        }
    }

    /// Something to write. What waits for the same object is superseded and keeps its place.
    pub(super) fn put(&mut self, key: K, value: V) {
        if let Some(Waiting {
            value: earlier,
            failures,
        }) = self.waiting.remove(&key)
        {
            let value = value.after(earlier);
            self.waiting.insert(key, Waiting { value, failures });
            return;
        }
        if self.waiting.len() >= self.limits.waiting {
            self.dropped += 1;
            return;
        }
        if !self.in_flight.contains_key(&key) {
            self.ready.push_back(key.clone());
        }
        self.waiting.insert(key, Waiting { value, failures: 0 });
    }

    /// The next that may begin now.
    pub(super) fn next(&mut self, now: Instant) -> Option<(K, V)> {
        while let Some((at, _)) = self.delayed.first()
            && *at <= now
            && let Some((_, key)) = self.delayed.pop_first()
        {
            self.ready.push_back(key);
        }
        if self.in_flight.len() >= self.limits.in_flight || self.on_schedule_at() > Some(now) {
            return None;
        }
        let key = self.ready.pop_front()?;
        let waiting = self.waiting.remove(&key)?;
        let scheduled = self.scheduled.map_or(now, |at| at.max(now));
        self.scheduled = Some(scheduled + self.limits.interval);
        let under_way = InFlight {
            began: now,
            failures: waiting.failures,
        };
        self.in_flight.insert(key.clone(), under_way);
        Some((key, waiting.value))
    }

    fn on_schedule_at(&self) -> Option<Instant> {
        let early = self.limits.interval * self.limits.burst.saturating_sub(1);
        self.scheduled?.checked_sub(early)
    }

    /// What was under way has come back; its failures before this time.
    fn land(&mut self, key: &K, now: Instant) -> u32 {
        let Some(InFlight { began, failures }) = self.in_flight.remove(key) else {
            return 0;
        };
        let rest = LONGEST_REST.min((now - began) * self.limits.price);
        if let Some(scheduled) = &mut self.scheduled {
            *scheduled += rest.saturating_sub(self.limits.interval);
        }
        failures
    }

    /// What was under way is through, for good or bad.
    pub(super) fn done(&mut self, key: K, now: Instant) {
        self.land(&key, now);
        if self.waiting.contains_key(&key) {
            self.ready.push_back(key);
        }
    }

    /// What was under way failed, and is tried again unless something newer supersedes it; the
    /// number of failures in a row.
    pub(super) fn again(&mut self, key: K, value: V, now: Instant) -> u32 {
        let failures = self.land(&key, now) + 1;
        let value = match self.waiting.remove(&key) {
            Some(newer) => newer.value.after(value),
            None => value,
        };
        let wait = FIRST_RETRY * 2_u32.saturating_pow((failures - 1).min(10));
        self.delayed
            .insert((now + wait.min(LAST_RETRY), key.clone()));
        self.waiting.insert(key, Waiting { value, failures });
        failures
    }

    /// When [`Self::next`] is to be asked again, if nothing is put and nothing comes back before.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let delayed = self.delayed.first().map(|(at, _)| *at);
        let ready = match self.ready.is_empty() {
            true => None,
            false => self.on_schedule_at(),
        };
        match self.in_flight.len() < self.limits.in_flight {
            true => delayed.into_iter().chain(ready).min(),
            false => None,
        }
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Something waits for nothing but its turn.
    pub(super) fn is_busy(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many were dropped since it was asked last.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Supersede for &'static str {
        fn after(self, _: Self) -> Self {
            self
        }
    }

    const UNLIMITED: Limits = Limits {
        in_flight: 2,
        burst: 1,
        interval: Duration::ZERO,
        price: 0,
        waiting: 3,
    };

    #[test]
    fn the_latest_for_an_object_is_written_in_the_place_of_the_first() {
        let now = Instant::now();
        let mut outbox = Outbox::new(UNLIMITED);
        outbox.put(1, "a");
        outbox.put(2, "b");
        outbox.put(1, "c");
        assert_eq!(outbox.next(now), Some((1, "c")));
        assert_eq!(outbox.next(now), Some((2, "b")));
        assert_eq!(outbox.next(now), None);
    }

    #[test]
    fn no_two_writes_of_an_object_are_under_way() {
        let now = Instant::now();
        let mut outbox = Outbox::new(UNLIMITED);
        outbox.put(1, "a");
        assert_eq!(outbox.next(now), Some((1, "a")));
        outbox.put(1, "b");
        assert_eq!(outbox.next(now), None);
        outbox.done(1, now);
        assert_eq!(outbox.next(now), Some((1, "b")));
    }

    #[test]
    fn some_are_under_way_at_once() {
        let now = Instant::now();
        let mut outbox = Outbox::new(UNLIMITED);
        for key in 1..=3 {
            outbox.put(key, "a");
        }
        assert!(outbox.next(now).is_some() && outbox.next(now).is_some());
        assert_eq!((outbox.next(now), outbox.wake_at()), (None, None));
        outbox.done(1, now);
        assert_eq!(outbox.next(now), Some((3, "a")));
    }

    #[test]
    fn a_failure_is_tried_again_later_and_later_and_stands_back_for_newer_ones() {
        let now = Instant::now();
        let mut outbox = Outbox::new(UNLIMITED);
        outbox.put(1, "a");
        assert_eq!(outbox.next(now), Some((1, "a")));
        assert_eq!(outbox.again(1, "a", now), 1);
        assert_eq!(outbox.next(now), None);
        let later = now + FIRST_RETRY;
        assert_eq!(outbox.wake_at(), Some(later));
        outbox.put(1, "b");
        assert_eq!(outbox.next(later), Some((1, "b")));
        assert_eq!(outbox.again(1, "b", later), 2);
        assert_eq!(outbox.wake_at(), Some(later + 2 * FIRST_RETRY));
        for _ in 0..40 {
            let at = outbox.wake_at().unwrap();
            let (key, value) = outbox.next(at).unwrap();
            outbox.again(key, value, at);
            assert!(outbox.wake_at() <= Some(at + LAST_RETRY));
        }
    }

    #[test]
    fn a_newer_one_under_way_behind_a_failure_is_what_is_tried() {
        let now = Instant::now();
        let mut outbox = Outbox::new(UNLIMITED);
        outbox.put(1, "a");
        outbox.next(now);
        outbox.put(1, "b");
        outbox.again(1, "a", now);
        assert_eq!(outbox.next(now + FIRST_RETRY), Some((1, "b")));
        outbox.done(1, now);
        assert_eq!(outbox.next(now + LAST_RETRY), None);
    }

    #[test]
    fn the_rate_holds_after_a_burst() {
        let start = Instant::now();
        let interval = Duration::from_millis(100);
        let mut outbox = Outbox::new(Limits {
            in_flight: 100,
            burst: 3,
            interval,
            price: 0,
            waiting: 100,
        });
        for key in 0..20 {
            outbox.put(key, "a");
        }
        let begun = |outbox: &mut Outbox<_, _>, at| std::iter::from_fn(|| outbox.next(at)).count();
        assert_eq!(begun(&mut outbox, start), 3);
        assert_eq!(outbox.wake_at(), Some(start + interval));
        assert_eq!(begun(&mut outbox, start + interval), 1);
        assert_eq!(begun(&mut outbox, start + 3 * interval), 2);
        assert_eq!(begun(&mut outbox, start + 60 * interval), 3);
    }

    #[test]
    fn a_slow_write_is_paid_for_by_a_multiple_of_its_length_up_to_a_second() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut outbox = Outbox::new(Limits {
            in_flight: 1,
            burst: 1,
            interval: ms(100),
            price: 10,
            waiting: 100,
        });
        let (mut now, mut key) = (start, 0);
        for (took, until_the_next) in [(1, 100), (10, 100), (30, 300), (2000, 2000)] {
            key += 1;
            outbox.put(key, "a");
            assert!(outbox.next(now).is_some());
            outbox.put(0, "b");
            outbox.done(key, now + ms(took));
            let next = outbox.wake_at().map(|at| at.max(now + ms(took)));
            assert_eq!(next, Some(now + ms(until_the_next)), "{took} ms");
            now += ms(until_the_next);
            assert!(outbox.next(now).is_some());
            outbox.done(0, now);
            now += ms(100);
        }
    }

    #[test]
    fn a_full_lane_drops_and_counts() {
        let mut outbox = Outbox::new(UNLIMITED);
        for key in 0..5 {
            outbox.put(key, "a");
        }
        assert_eq!(outbox.take_dropped(), 2);
        assert_eq!(outbox.take_dropped(), 0);
    }
}
