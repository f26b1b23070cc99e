//! In which order writes leave, and how fast. Pure: it neither waits nor writes.
//!
//! Vips go first: an agent answers for an address once its `Vip` is seen. Statuses and Events wait
//! for that, at a rate of their own, so that a thousand moves delay no answer.

use std::time::{Duration, Instant};

use super::{
    notice::Notebook,
    outbox::{Limits, Outbox},
    write::{End, Target, Write, WriteError, WriteNews},
};

/// A failure that stays is told again after so long.
const TELL_AGAIN: Duration = Duration::from_secs(60);

const VIPS: Limits = Limits {
    in_flight: 16,
    burst: 1,
    interval: Duration::ZERO,
    price: 0,
    waiting: usize::MAX,
};
/// A hundred at once are no crowd; of a thousand, those that wait leave the API server to creations,
/// the more of it the slower it is.
const STATUSES: Limits = Limits {
    in_flight: 8,
    burst: 100,
    interval: Duration::from_millis(20),
    price: 5,
    waiting: usize::MAX,
};
const NOTICES: Limits = Limits {
    in_flight: 2,
    burst: 50,
    interval: Duration::from_millis(100),
    price: 20,
    waiting: 2000,
};

/// All lanes.
pub(super) struct Desk {
    vips: Outbox<Target, Write>,
    statuses: Outbox<Target, Write>,
    notices: Outbox<Target, Write>,
    pub(super) notebook: Notebook,
    told: Option<Instant>,
}

impl Desk {
    pub(super) fn new(node: String) -> Self {
        Self {
            vips: Outbox::new(VIPS),
            statuses: Outbox::new(STATUSES),
            notices: Outbox::new(NOTICES),
            notebook: Notebook::new(node),
            told: None,
        }
    }

    fn lane(&mut self, target: &Target) -> &mut Outbox<Target, Write> {
        match target {
            Target::Vip(_) => &mut self.vips,
            Target::VipStatus(_) | Target::Service(_) | Target::Pool(_) | Target::Lease(_) => {
                &mut self.statuses
            }
            Target::Notice(..) => &mut self.notices,
        }
    }

    pub(super) fn put(&mut self, write: Write) {
        let target = write.target();
        self.lane(&target).put(target, write);
    }

    /// A lane begins nothing while one before it could.
    pub(super) fn next(&mut self, now: Instant) -> Option<Write> {
        for lane in [&mut self.vips, &mut self.statuses, &mut self.notices] {
            if let Some((_, write)) = lane.next(now) {
                return Some(write);
            }
            if lane.is_busy() {
                return None;
            }
        }
        None
    }

    /// When [`Self::next`] is to be asked again: lanes behind one that is busy wait for it.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let lanes = [&self.vips, &self.statuses, &self.notices];
        let busy = lanes.iter().position(|lane| lane.is_busy());
        let heard = &lanes[..busy.map_or(lanes.len(), |place| place + 1)];
        heard.iter().filter_map(|lane| lane.wake_at()).min()
    }

    pub(super) fn is_idle(&self) -> bool {
        let lanes = [&self.vips, &self.statuses, &self.notices];
        lanes.into_iter().all(Outbox::is_empty)
    }

    pub(super) fn take_dropped(&mut self) -> Option<WriteNews> {
        match self.notices.take_dropped() {
            0 => None,
            dropped => Some(WriteNews::NoticesDropped(dropped)),
        }
    }

    pub(super) fn ended(
        &mut self,
        write: Write,
        result: Result<(), WriteError>,
        now: Instant,
    ) -> Option<WriteNews> {
        let target = write.target();
        if let (Write::Notice(notice), Err(_)) = (&write, &result) {
            self.notebook.forget(notice);
        }
        match result.err().map_or(End::Done, |error| write.judge(error)) {
            End::Done => {
                self.lane(&target).done(target, now);
                None
            }
            End::Tell(news) => {
                self.lane(&target).done(target, now);
                Some(news)
            }
            End::Again(error) => {
                self.lane(&target).again(target.clone(), write, now);
                let tell = self.told.is_none_or(|told| now - told >= TELL_AGAIN);
                tell.then(|| {
                    self.told = Some(now);
                    WriteNews::Failing(target, error)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::write::tests::{assignment, refused, status},
        *,
    };
    use crate::{
        api::VipStatus,
        io::kube::notice::{About, Notice, Reason},
    };

    #[test]
    fn vips_go_before_statuses_and_these_before_events() {
        let now = Instant::now();
        let mut desk = Desk::new("node-a".into());
        let notice = Notice {
            about: About::Vip {
                address: assignment(1).address,
                uid: "u".into(),
            },
            reason: Reason::Moved,
            note: String::new(),
        };
        desk.put(Write::Notice(notice));
        desk.put(status());
        for last in 1..=20 {
            desk.put(Write::CreateVip(assignment(last)));
        }
        let begun: Vec<_> = std::iter::from_fn(|| desk.next(now)).collect();
        assert_eq!(begun.len(), VIPS.in_flight, "{begun:?}");
        for write in begun {
            desk.ended(write, Ok(()), now);
        }
        let rest: Vec<_> = std::iter::from_fn(|| desk.next(now)).collect();
        assert_eq!(rest.len(), 6);
        assert_eq!(rest[4], status());
        assert!(matches!(rest[5], Write::Notice(_)));
    }

    #[test]
    fn a_hundred_statuses_leave_at_once_and_of_a_crowd_50_a_second() {
        let start = Instant::now();
        let mut desk = Desk::new("node-a".into());
        for last in 0..1000_u16 {
            let [high, low] = last.to_be_bytes();
            let vip = [198, 51, high, low].into();
            desk.put(Write::VipStatus(vip, VipStatus::default()));
        }
        let mut begun = |now| {
            let writes = std::iter::from_fn(|| {
                let write = desk.next(now)?;
                desk.ended(write, Ok(()), now);
                Some(())
            });
            writes.count()
        };
        assert_eq!(begun(start), 100);
        let within_a_second: usize = (1..=1000)
            .map(|ms| begun(start + Duration::from_millis(ms)))
            .sum();
        assert_eq!(within_a_second, 50);
    }

    #[test]
    fn what_waits_behind_a_busy_lane_waits_without_an_alarm() {
        let now = Instant::now();
        let mut desk = Desk::new("node-a".into());
        // An earlier status leaves a schedule, which has passed by now.
        desk.put(status());
        let earlier = desk.next(now).unwrap();
        desk.ended(earlier, Ok(()), now);
        let now = now + Duration::from_secs(1);
        for last in 1..=20 {
            desk.put(Write::CreateVip(assignment(last)));
        }
        desk.put(status());
        while desk.next(now).is_some() {}
        assert_eq!(
            desk.wake_at(),
            None,
            "an alarm would go off at once, again and again"
        );
    }

    #[test]
    fn what_waits_after_a_failure_holds_nobody_up() {
        let now = Instant::now();
        let mut desk = Desk::new("node-a".into());
        desk.put(Write::CreateVip(assignment(1)));
        desk.put(status());
        let create = desk.next(now).unwrap();
        assert_eq!(desk.next(now), Some(status()));
        let news = desk.ended(create, Err(refused(503)), now);
        assert!(matches!(news, Some(WriteNews::Failing(..))), "{news:?}");
        desk.ended(status(), Ok(()), now);
        assert_eq!(desk.next(now), None);
        assert!(!desk.is_idle() && desk.wake_at().is_some());
    }

    #[test]
    fn failures_are_told_once_a_minute() {
        let mut now = Instant::now();
        let mut desk = Desk::new("node-a".into());
        let mut told = 0;
        for _ in 0..13 {
            desk.put(status());
            while let Some(write) = desk.next(now) {
                told += u32::from(desk.ended(write, Err(WriteError::TimedOut), now).is_some());
            }
            now += Duration::from_secs(10);
        }
        assert_eq!(told, 3);
    }
}
