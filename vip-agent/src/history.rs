//! What happened last, for those who ask: as many facts as fit, repetitions folded into one.

use std::{collections::VecDeque, net::IpAddr};

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Fact, Severity};

/// Facts that are kept: a start with a thousand VIPs, and what follows.
const CAPACITY: usize = 4_096;
/// A fact that is among so many latest ones already is counted there.
const FOLDED: usize = 32;

/// What happened on this node, the latest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "xvip events")]
pub struct Events {
    /// Name of the node.
    pub node: String,
    /// The events.
    pub events: Vec<Happened>,
}

/// A fact, and when it was so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Happened {
    /// When it happened first.
    pub at: Timestamp,
    /// When it happened last.
    pub latest: Timestamp,
    /// How often.
    pub count: u64,
    /// The VIP that it is about.
    pub vip: Option<IpAddr>,
    /// The interface that it is about.
    pub interface: Option<String>,
    /// One word, as in the log's field `reason`.
    pub reason: String,
    /// How much it matters.
    pub severity: Severity,
    /// What happened.
    pub message: String,
}

/// The facts of this process.
#[derive(Debug, Default)]
pub struct History {
    happened: VecDeque<Happened>,
}

impl History {
    /// Notes a fact, unless it is a step on the way.
    pub fn note(&mut self, fact: &Fact, at: Timestamp) {
        if fact.severity() == Severity::Debug {
            return;
        }
        let at = whole_millisecond(at);
        let new = Happened {
            at,
            latest: at,
            count: 1,
            vip: fact.about_vip(),
            interface: fact.about_interface().map(str::to_owned),
            reason: fact.reason().to_owned(),
            severity: fact.severity(),
            message: fact.to_string(),
        };
        let mut recent = self.happened.iter_mut().rev().take(FOLDED);
        if let Some(known) = recent.find(|known| known.is_like(&new)) {
            known.latest = at;
            known.count += 1;
            return;
        }
        if self.happened.len() == CAPACITY {
            self.happened.pop_front();
        }
        self.happened.push_back(new);
    }

    /// All facts, the latest first.
    pub fn all(&self) -> Vec<Happened> {
        self.happened.iter().rev().cloned().collect()
    }

    /// The latest `limit` facts about a VIP or the session that it hangs on, the latest first.
    pub fn about(&self, vip: IpAddr, limit: usize) -> Vec<Happened> {
        let concerns = |it: &&Happened| it.vip == Some(vip) || it.reason.starts_with("Session");
        let latest = self.happened.iter().rev().filter(concerns);
        latest.take(limit).cloned().collect()
    }
}

impl Happened {
    fn is_like(&self, other: &Self) -> bool {
        self.vip == other.vip
            && self.reason == other.reason
            && self.interface == other.interface
            && self.message == other.message
    }
}

fn whole_millisecond(time: Timestamp) -> Timestamp {
    let round = TimestampRound::new()
        .smallest(Unit::Millisecond)
        .mode(RoundMode::Trunc);
    time.round(round).unwrap_or(time)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        event::{NodeFact, VipFact},
        vip::Mac,
    };

    pub(crate) fn happened() -> Events {
        let mut history = History::default();
        history.note(&live("192.0.2.100"), at(1_700_000_000));
        history.note(&conflict("192.0.2.100", 9), at(1_700_000_060));
        Events {
            node: "node-a".to_owned(),
            events: history.all(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn conflict(vip: &str, rival: u8) -> Fact {
        let what = VipFact::Conflict {
            rival: Mac([2, 0, 0, 0, 0, rival]),
            defended: true,
        };
        Fact::vip(vip.parse().unwrap(), "eth0", what)
    }

    fn live(vip: &str) -> Fact {
        Fact::vip(vip.parse().unwrap(), "eth0", VipFact::Live { epoch: 3 })
    }

    #[test]
    fn a_rival_that_goes_on_is_one_event_and_another_rival_is_another() {
        let mut history = History::default();
        for second in 1..=5 {
            history.note(&conflict("192.0.2.1", 9), at(second));
            history.note(&conflict("192.0.2.2", 9), at(second));
        }
        history.note(&conflict("192.0.2.1", 8), at(6));
        let about = history.about("192.0.2.1".parse().unwrap(), 8);
        let counts: Vec<u64> = about.iter().map(|it| it.count).collect();
        assert_eq!(counts, [1, 5]);
        assert_eq!((about[1].at, about[1].latest), (at(1), at(5)));
        assert_eq!(about[1].severity, Severity::Warning);
        assert_eq!(history.all().len(), 3);
    }

    #[test]
    fn what_concerns_the_session_concerns_every_vip_and_steps_on_the_way_nobody() {
        let mut history = History::default();
        history.note(&live("192.0.2.1"), at(1));
        let step = VipFact::Programmed;
        history.note(
            &Fact::vip("192.0.2.1".parse().unwrap(), "eth0", step),
            at(2),
        );
        let session = "node-a/00000000000000000000000000000001/00000000000000000000000000000002"
            .parse()
            .unwrap();
        let ended = NodeFact::SessionEnded {
            session,
            released: false,
        };
        history.note(&Fact::Node(ended), at(3));
        history.note(&Fact::Node(NodeFact::Reloaded), at(4));
        let reasons = |vip: &str, limit| -> Vec<String> {
            let about = history.about(vip.parse().unwrap(), limit);
            about.into_iter().map(|it| it.reason).collect()
        };
        assert_eq!(reasons("192.0.2.1", 8), ["SessionLost", "Live"]);
        assert_eq!(reasons("192.0.2.1", 1), ["SessionLost"]);
        assert_eq!(reasons("192.0.2.2", 8), ["SessionLost"]);
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut history = History::default();
        for number in 0..CAPACITY as u32 + 2 {
            let vip = std::net::Ipv4Addr::from(0xc000_0200 + number).to_string();
            history.note(&live(&vip), at(i64::from(number)));
        }
        let all = history.all();
        assert_eq!(all.len(), CAPACITY);
        assert_eq!(all.last().unwrap().at, at(2));
        assert_eq!(all[0].at, at(CAPACITY as i64 + 1));
    }

    #[test]
    fn times_are_cut_to_the_millisecond() {
        let mut history = History::default();
        let time = "2026-01-02T03:04:05.678999Z".parse().unwrap();
        history.note(&live("192.0.2.1"), time);
        assert_eq!(history.all()[0].at.to_string(), "2026-01-02T03:04:05.678Z");
    }
}
