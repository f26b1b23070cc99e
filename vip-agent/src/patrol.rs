//! Asking, as clients do, for VIPs that others hold: is there an answer, and only one?
//!
//! A machine without clock and I/O: times are arguments, as the time since any fixed moment.
//! [`Patrol::set_vips`] takes the VIPs that this node does not answer for, [`Patrol::poll`] gives
//! those to be asked for now and what earlier questions came to, [`Patrol::heard`] takes answers.
//!
//! Every node asks, so questions are spaced by the number of nodes: the LAN sees no more than some
//! fifteen of them a second, however many nodes and VIPs there are. What a node may ask in a second
//! it asks at once: it is woken for a question, for the answer and for the end of waiting.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::vip::Mac;

/// A VIP that was lost, or is new, is asked for after this time: whoever is to answer does by then.
const FIRST: Duration = Duration::from_secs(3);
/// Between two questions for one VIP.
const PERIOD: Duration = Duration::from_secs(10);
/// What is not as it should be is asked for again soon.
const AGAIN: Duration = Duration::from_secs(2);
/// A question that stays unanswered is sent once more: one lost frame is no news.
const SECOND: Duration = Duration::from_millis(300);
/// So long answers to a question are waited for: until the next are due, so that one wake serves
/// both.
const PATIENCE: Duration = TOGETHER;
/// Between two questions, for each node that asks; and at least.
const SPACING: Duration = Duration::from_millis(66);
const LEAST_SPACING: Duration = Duration::from_millis(200);
/// As many as fall into this time are asked together.
const TOGETHER: Duration = Duration::from_secs(1);

/// What a question came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nobody answered.
    None,
    /// One did.
    One(Mac),
    /// Several did; two of them.
    Two(Mac, Mac),
}

/// What there is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patrolled {
    /// VIPs to ask for now.
    pub ask: Vec<IpAddr>,
    /// What questions came to.
    pub answers: Vec<(IpAddr, Answer)>,
}

/// The VIPs that others hold, and the questions for them.
#[derive(Debug, Default)]
pub struct Patrol {
    vips: BTreeSet<IpAddr>,
    /// Those that wait for their next question, and until when.
    due: BTreeSet<(Duration, IpAddr)>,
    asked: BTreeMap<IpAddr, Question>,
    nodes: u32,
    /// No question before.
    not_before: Duration,
}

#[derive(Debug)]
struct Question {
    at: Duration,
    /// It was sent a second time.
    twice: bool,
    by: BTreeSet<Mac>,
}

impl Patrol {
    /// The VIPs that others hold, and the number of nodes that ask.
    pub fn set_vips(&mut self, vips: &BTreeSet<IpAddr>, nodes: usize, now: Duration) {
        self.nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
        if self.vips == *vips {
            return;
        }
        self.due.retain(|(_, vip)| vips.contains(vip));
        self.asked.retain(|vip, _| vips.contains(vip));
        let new = vips.difference(&self.vips);
        self.due.extend(new.map(|vip| (now + FIRST, *vip)));
        self.vips.clone_from(vips);
    }

    /// Somebody answers a question of ours.
    pub fn heard(&mut self, vip: IpAddr, from: Mac) {
        if let Some(question) = self.asked.get_mut(&vip) {
            question.by.insert(from);
        }
    }

    /// What is due.
    pub fn poll(&mut self, now: Duration) -> Patrolled {
        let mut patrolled = Patrolled::default();
        for (vip, question) in &mut self.asked {
            if now >= question.at + PATIENCE {
                patrolled.answers.push((*vip, question.answer()));
            } else if now >= question.at + SECOND && question.is_open() {
                question.twice = true;
                patrolled.ask.push(*vip);
            }
        }
        for (vip, answer) in &patrolled.answers {
            let wait = match answer {
                Answer::One(_) => PERIOD,
                Answer::None | Answer::Two(..) => AGAIN,
            };
            self.asked.remove(vip);
            self.due.insert((now + wait, *vip));
        }
        if now >= self.not_before {
            self.ask_together(now, &mut patrolled.ask);
        }
        patrolled
    }

    /// Asks for those that have waited longest, and puts the next off by as much as these take.
    fn ask_together(&mut self, now: Duration, ask: &mut Vec<IpAddr>) {
        let spacing = self.spacing();
        let most = (TOGETHER.as_millis() / spacing.as_millis()).max(1);
        let mut taken = Duration::ZERO;
        for _ in 0..most {
            let Some((at, vip)) = self.due.first().copied().filter(|(at, _)| *at <= now) else {
                break;
            };
            self.due.remove(&(at, vip));
            let question = Question {
                at: now,
                twice: false,
                by: BTreeSet::new(),
            };
            self.asked.insert(vip, question);
            ask.push(vip);
            taken += spacing;
        }
        self.not_before = now + taken;
    }

    fn spacing(&self) -> Duration {
        SPACING.saturating_mul(self.nodes).max(LEAST_SPACING)
    }

    /// When to poll next; a time that has passed means now.
    pub fn next_deadline(&self) -> Option<Duration> {
        let due = self.due.first().map(|(at, _)| (*at).max(self.not_before));
        let asked = self.asked.values().map(|question| {
            let wait = match question.is_open() {
                true => SECOND,
                false => PATIENCE,
            };
            question.at + wait
        });
        asked.chain(due).min()
    }
}

impl Question {
    /// It may have to be sent again.
    fn is_open(&self) -> bool {
        self.by.is_empty() && !self.twice
    }

    fn answer(&self) -> Answer {
        let mut macs = self.by.iter().copied();
        match (macs.next(), macs.next()) {
            (None, _) => Answer::None,
            (Some(one), None) => Answer::One(one),
            (Some(one), Some(other)) => Answer::Two(one, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLDER: Mac = Mac([2, 0, 0, 0, 1, 1]);
    const RIVAL: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn vips(number: u8) -> BTreeSet<IpAddr> {
        let address = |last| IpAddr::from([192, 0, 2, last]);
        (1..=number).map(address).collect()
    }

    fn one() -> (IpAddr, Patrol) {
        let mut patrol = Patrol::default();
        patrol.set_vips(&vips(1), 3, ms(0));
        (IpAddr::from([192, 0, 2, 1]), patrol)
    }

    fn asks(vip: IpAddr) -> Patrolled {
        Patrolled {
            ask: vec![vip],
            answers: Vec::new(),
        }
    }

    fn found(vip: IpAddr, answer: Answer) -> Patrolled {
        Patrolled {
            ask: Vec::new(),
            answers: vec![(vip, answer)],
        }
    }

    #[test]
    fn a_vip_of_another_is_asked_for_and_one_answer_is_as_it_should_be() {
        let (vip, mut patrol) = one();
        assert_eq!(patrol.poll(ms(2_999)), Patrolled::default());
        assert_eq!(patrol.next_deadline(), Some(ms(3_000)));
        assert_eq!(patrol.poll(ms(3_000)), asks(vip));
        patrol.heard(vip, HOLDER);
        patrol.heard(vip, HOLDER);
        assert_eq!(patrol.next_deadline(), Some(ms(4_000)));
        assert_eq!(patrol.poll(ms(3_300)), Patrolled::default(), "not again");
        assert_eq!(patrol.poll(ms(4_000)), found(vip, Answer::One(HOLDER)));
        assert_eq!(patrol.next_deadline(), Some(ms(14_000)));
        assert_eq!(patrol.poll(ms(14_000)), asks(vip));
    }

    #[test]
    fn one_lost_frame_is_no_news_and_two_are() {
        let (vip, mut patrol) = one();
        patrol.poll(ms(3_000));
        assert_eq!(patrol.next_deadline(), Some(ms(3_300)));
        assert_eq!(patrol.poll(ms(3_300)), asks(vip));
        assert_eq!(patrol.poll(ms(3_500)), Patrolled::default(), "twice is all");
        assert_eq!(patrol.poll(ms(4_000)), found(vip, Answer::None));
        assert_eq!(patrol.next_deadline(), Some(ms(6_000)), "again soon");
        patrol.poll(ms(6_000));
        patrol.poll(ms(6_000));
        patrol.heard(vip, HOLDER);
        assert_eq!(patrol.poll(ms(7_000)), found(vip, Answer::One(HOLDER)));
    }

    #[test]
    fn two_that_answer_are_both_named() {
        let (vip, mut patrol) = one();
        patrol.poll(ms(3_000));
        patrol.heard(vip, HOLDER);
        patrol.heard(vip, RIVAL);
        let two = Answer::Two(RIVAL, HOLDER);
        assert_eq!(patrol.poll(ms(4_000)), found(vip, two));
    }

    #[test]
    fn what_is_heard_between_questions_answers_none() {
        let (vip, mut patrol) = one();
        patrol.heard(vip, RIVAL);
        patrol.poll(ms(3_000));
        patrol.heard(vip, HOLDER);
        assert_eq!(patrol.poll(ms(4_000)), found(vip, Answer::One(HOLDER)));
    }

    #[test]
    fn a_vip_that_becomes_ours_is_asked_for_no_more() {
        let (_, mut patrol) = one();
        patrol.poll(ms(3_000));
        patrol.set_vips(&BTreeSet::new(), 3, ms(3_100));
        assert_eq!(patrol.next_deadline(), None);
        assert_eq!(patrol.poll(ms(9_000)), Patrolled::default());
    }

    #[test]
    fn what_a_node_may_ask_in_a_second_it_asks_at_once() {
        for (nodes, together, next) in [(1, 5, 4_000), (3, 5, 4_000), (100, 1, 9_600)] {
            let mut patrol = Patrol::default();
            patrol.set_vips(&vips(20), nodes, ms(0));
            let asked = patrol.poll(ms(3_000)).ask;
            assert_eq!(asked.len(), together, "{nodes}");
            asked.iter().for_each(|vip| patrol.heard(*vip, HOLDER));
            assert_eq!(patrol.next_deadline(), Some(ms(4_000)), "{nodes}");
            let then = patrol.poll(ms(4_000));
            assert_eq!(then.answers.len(), together);
            let (mut ask, mut at) = (then.ask, 4_000);
            while ask.is_empty() {
                at += 100;
                ask = patrol.poll(ms(at)).ask;
            }
            assert_eq!(at, next, "{nodes}");
        }
    }

    /// Questions in a minute of an agent that polls whenever it wants to.
    fn asked_in_a_minute(number: u8, nodes: usize) -> BTreeMap<IpAddr, usize> {
        let mut patrol = Patrol::default();
        patrol.set_vips(&vips(number), nodes, ms(0));
        let mut asked = BTreeMap::new();
        let mut now = ms(0);
        while now < ms(60_000) {
            for vip in patrol.poll(now).ask {
                patrol.heard(vip, HOLDER);
                *asked.entry(vip).or_default() += 1;
            }
            now = patrol.next_deadline().unwrap().max(now + ms(1));
        }
        asked
    }

    #[test]
    fn all_nodes_together_ask_fifteen_times_a_second_at_most_and_leave_no_vip_out() {
        let few = asked_in_a_minute(4, 3);
        assert!(few.values().all(|count| (5..=6).contains(count)), "{few:?}");
        for nodes in [3, 100] {
            let many = asked_in_a_minute(200, nodes);
            let all: usize = many.values().sum();
            assert!(all * nodes <= 60 * 16, "{nodes}: {all}");
            let most = many.values().max().unwrap();
            let left_out = 200 - many.len();
            assert!(
                *most <= 2 && (left_out == 0 || *most == 1),
                "{nodes}: {most}"
            );
        }
    }
}
