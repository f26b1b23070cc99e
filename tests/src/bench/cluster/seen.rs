//! Which of many VIPs are answered, since when, and by whom.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    thread::sleep,
    time::{Duration, Instant},
};

use vip_agent::vip::Mac;

use super::super::error::Error;
use crate::{
    kubernetes::Bed,
    observer::{Observed, Observer},
};

/// Asks for all of them, on and on.
pub(super) struct Seen(Observer);

impl Seen {
    pub(super) fn ask(bed: &Bed, vips: &[String], pause: Duration) -> Result<Self, Error> {
        let vips: Vec<&str> = vips.iter().map(String::as_str).collect();
        Ok(Self(Observer::ask(&bed.client, &vips, pause)?))
    }

    pub(super) fn now(&self) -> Duration {
        self.0.now()
    }

    /// The first answer for each VIP after `since` that `counts`.
    fn first(&self, since: Duration, counts: impl Fn(Mac) -> bool) -> HashMap<IpAddr, Duration> {
        self.0.look(|observed| {
            let mut first = HashMap::new();
            for answer in observed.answers.iter().rev() {
                if answer.at < since {
                    break;
                }
                if let Some(asked) = observed.questions.get(&answer.question)
                    && counts(answer.by)
                {
                    first.insert(asked.vip, answer.at);
                }
            }
            first
        })
    }

    /// Whether each VIP was answered after `since`, and by this one alone.
    pub(super) fn all_by(&self, vips: &[String], mac: Mac, since: Duration) -> bool {
        self.first(since, |by| by == mac).len() == vips.len()
            && self.first(since, |by| by != mac).is_empty()
    }

    /// Waits until each VIP was answered after `since`; how long after it each was for the first
    /// time.
    pub(super) fn wait_answered(
        &self,
        vips: &[String],
        since: Duration,
        patience: Duration,
    ) -> Result<Vec<Duration>, Error> {
        self.wait(vips, since, patience, |_| true)
    }

    /// The same, by others than `mac`.
    pub(super) fn wait_answered_by_others(
        &self,
        vips: &[String],
        mac: Mac,
        since: Duration,
        patience: Duration,
    ) -> Result<Vec<Duration>, Error> {
        self.wait(vips, since, patience, |by| by != mac)
    }

    fn wait(
        &self,
        vips: &[String],
        since: Duration,
        patience: Duration,
        counts: impl Fn(Mac) -> bool,
    ) -> Result<Vec<Duration>, Error> {
        let began = Instant::now();
        loop {
            let first = self.first(since, &counts);
            if first.len() == vips.len() {
                return Ok(first.into_values().map(|at| at - since).collect());
            }
            if began.elapsed() > patience {
                eprintln!("{} of {} VIPs are answered", first.len(), vips.len());
                return Err(Error::Silent("some VIP"));
            }
            sleep(Duration::from_millis(250));
        }
    }
}

/// The longest time after `since` in which each of the VIPs was not answered, the shortest first.
pub(super) fn silences(observed: &Observed, since: Duration) -> Vec<Duration> {
    let vips: BTreeSet<IpAddr> = observed.questions.values().map(|asked| asked.vip).collect();
    let gaps = vips.into_iter().map(|vip| {
        let line = observed.timeline(&vip.to_string()).since(since);
        line.longest_gap()
    });
    let mut gaps: Vec<Duration> = gaps.collect();
    gaps.sort();
    gaps
}
