//! Writes of the allocator that were sent and not seen yet
//! (`docs/adr/0029-what-is-under-way-counts.md`). Times are those since any fixed moment.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::cluster::{ServiceKey, ServiceStatus};

/// A `Vip` that is being created is taken for created for so long: else each thought before it is
/// seen would create it again, or give its address to another Service.
const PROMISE: Duration = Duration::from_secs(10);
/// A status that was sent is not sent again for so long while it is not seen.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// `Vip`s and statuses that are under way, and until when.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    promised: BTreeMap<IpAddr, Duration>,
    sent: BTreeMap<ServiceKey, (ServiceStatus, Duration)>,
}

impl UnderWay {
    /// A `Vip` is being created.
    pub(super) fn promise(&mut self, address: IpAddr, now: Duration) {
        self.promised.insert(address, now + PROMISE);
    }

    /// Promises that were not kept in time; all of them `at_once`.
    pub(super) fn broken(&mut self, now: Duration, at_once: bool) -> Vec<IpAddr> {
        let over = |until: &Duration| at_once || *until <= now;
        let promised = self.promised.iter();
        let broken = promised.filter(|(_, until)| over(until));
        let broken: Vec<IpAddr> = broken.map(|(address, _)| *address).collect();
        self.promised.retain(|_, until| !over(until));
        broken
    }

    /// A status was not seen in time.
    pub(super) fn is_late(&self, now: Duration) -> bool {
        self.sent.values().any(|(_, until)| *until <= now)
    }

    /// Of the statuses that are due now, those that are not on their way.
    pub(super) fn unsent(
        &mut self,
        statuses: Vec<ServiceStatus>,
        now: Duration,
    ) -> Vec<ServiceStatus> {
        let mut before = std::mem::take(&mut self.sent);
        let mut unsent = Vec::new();
        for status in statuses {
            let sent = before.remove(&status.service);
            let until = match sent.filter(|(sent, until)| *sent == status && now < *until) {
                Some((_, until)) => until,
                None => {
                    unsent.push(status.clone());
                    now + ON_ITS_WAY
                }
            };
            let key = status.service.clone();
            self.sent.insert(key, (status, until));
        }
        unsent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn status(ingress: &[&str]) -> Vec<ServiceStatus> {
        let ingress = ingress.iter().filter_map(|ip| ip.parse().ok());
        vec![ServiceStatus {
            service: ServiceKey::new("web", "a"),
            uid: "u".into(),
            ingress: ingress.collect(),
            conditions: Vec::new(),
        }]
    }

    #[test]
    fn a_status_that_is_on_its_way_is_not_sent_again_but_after_a_while() {
        let mut under_way = UnderWay::default();
        let one = || status(&["192.0.2.1"]);
        assert_eq!(under_way.unsent(one(), ms(0)), one());
        assert_eq!(under_way.unsent(one(), ms(500)), []);
        let another = status(&[]);
        assert_eq!(under_way.unsent(another.clone(), ms(600)), another);
        assert_eq!(under_way.unsent(one(), ms(700)), one());
        assert_eq!(under_way.unsent(Vec::new(), ms(800)), [], "it was seen");
        assert_eq!(under_way.unsent(one(), ms(900)), one(), "and wiped");
        let late = ms(900) + ON_ITS_WAY;
        assert!(!under_way.is_late(late - ms(1)) && under_way.is_late(late));
        assert_eq!(under_way.unsent(one(), late), one());
    }

    #[test]
    fn a_promise_is_broken_by_time_or_all_at_once() {
        let mut under_way = UnderWay::default();
        let (one, two) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        under_way.promise(one, ms(0));
        under_way.promise(two, ms(5));
        assert_eq!(under_way.broken(PROMISE, false), [one]);
        assert!(under_way.broken(PROMISE, false).is_empty());
        assert_eq!(under_way.broken(PROMISE, true), [two]);
    }
}
