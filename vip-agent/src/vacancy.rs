//! Whether anybody on the LAN has an address that a Service is to get (`wire.md`, rule 12).
//!
//! A machine without clock and I/O: times are arguments, as the time since any fixed moment.
//! [`Vacancy::ask`] takes addresses, [`Vacancy::poll`] gives those to be probed for now,
//! [`Vacancy::heard`] takes claims, and [`Vacancy::answers`] says what is known.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::{
    cluster::{LanAnswer, LanAnswers},
    vip::Mac,
};

/// Probes of one question: the first at once, the next after this time.
const PROBES: u8 = 2;
const PROBE_STEP: Duration = Duration::from_millis(10);
/// Nobody has an address that stays unanswered for so long.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long an address counts as free.
const FREE_FOR: Duration = Duration::from_secs(300);
/// How long an address counts as taken after the latest claim: soon enough that a Service that
/// waits for it gets it soon after it is given up.
const TAKEN_FOR: Duration = Duration::from_secs(10);

/// An address that was ours is not asked for before our nodes have let go of it: every one of them
/// learns by its own watch.
const LETTING_GO: Duration = Duration::from_millis(500);

/// Addresses that were asked for, and what came of it.
#[derive(Debug, Default)]
pub struct Vacancy {
    addresses: BTreeMap<IpAddr, State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Asked { probes: u8, at: Duration },
    Known { answer: LanAnswer, until: Duration },
}

impl Vacancy {
    /// Asks for addresses that nothing is known of; what is being asked goes on.
    pub fn ask(&mut self, addresses: impl IntoIterator<Item = IpAddr>, now: Duration) {
        for address in addresses {
            let state = self.addresses.entry(address);
            let asked = State::Asked { probes: 0, at: now };
            let state = state.or_insert(asked);
            if let State::Known { until, .. } = state
                && *until <= now
            {
                *state = asked;
            }
        }
    }

    /// Addresses were ours until now. What is known of them is what our own nodes said.
    pub fn released(&mut self, addresses: impl IntoIterator<Item = IpAddr>, now: Duration) {
        for address in addresses {
            let at = now + LETTING_GO;
            self.addresses
                .insert(address, State::Asked { probes: 0, at });
        }
    }

    /// An address is ours from now on: what is known of it matters no more, and its age is no news.
    pub fn taken(&mut self, address: IpAddr) {
        self.addresses.remove(&address);
    }

    /// Somebody claims an address; whether that is news.
    pub fn heard(&mut self, claimed: IpAddr, by: Mac, now: Duration) -> bool {
        let Some(state) = self.addresses.get_mut(&claimed) else {
            return false;
        };
        // One of our own, that has not let go yet. Anybody else will claim it again when asked.
        if matches!(state, State::Asked { probes: 0, at } if now < *at) {
            return false;
        }
        let answer = LanAnswer::Answered(by);
        let until = now + TAKEN_FOR;
        let before = std::mem::replace(state, State::Known { answer, until });
        !matches!(before, State::Known { answer: known, until } if known == answer && now < until)
    }

    /// Addresses to be probed for now, and whether something came to be known or unknown.
    pub fn poll(&mut self, now: Duration) -> (Vec<IpAddr>, bool) {
        let mut probes = Vec::new();
        let mut news = false;
        for (address, state) in &mut self.addresses {
            match state {
                State::Asked { at, .. } if now < *at => {}
                // By the time of the last probe, not of the first: a pause of the agent is no
                // silence of the LAN.
                State::Asked { probes: sent, at } if *sent < PROBES => {
                    *sent += 1;
                    *at = now
                        + match *sent {
                            PROBES => PATIENCE.saturating_sub(PROBE_STEP),
                            _ => PROBE_STEP,
                        };
                    probes.push(*address);
                }
                State::Asked { .. } => {
                    let (answer, until) = (LanAnswer::Free, now + FREE_FOR);
                    *state = State::Known { answer, until };
                    news = true;
                }
                State::Known { .. } => {}
            }
        }
        let known = self.addresses.len();
        self.addresses
            .retain(|_, state| !matches!(state, State::Known { until, .. } if *until <= now));
        (probes, news || self.addresses.len() < known)
    }

    /// When to poll next; a time that has passed means now.
    pub fn next_deadline(&self) -> Option<Duration> {
        let times = self.addresses.values().map(|state| match state {
            State::Asked { at, .. } => *at,
            State::Known { until, .. } => *until,
        });
        times.min()
    }

    /// What is known now. An answer that is too old is none.
    pub fn answers(&self, now: Duration) -> LanAnswers {
        let known = self.addresses.iter().filter_map(|(address, state)| {
            let State::Known { answer, until } = state else {
                return None;
            };
            (now < *until).then_some((*address, *answer))
        });
        known.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIVAL: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn one(address: &str) -> (IpAddr, Vacancy) {
        let mut vacancy = Vacancy::default();
        vacancy.ask([ip(address)], ms(0));
        (ip(address), vacancy)
    }

    #[test]
    fn an_address_that_two_probes_leave_unanswered_is_free_after_20_ms() {
        let (address, mut vacancy) = one("192.0.2.8");
        assert_eq!(vacancy.poll(ms(0)), (vec![address], false));
        assert_eq!(vacancy.next_deadline(), Some(ms(10)));
        assert_eq!(vacancy.poll(ms(9)), (vec![], false));
        assert_eq!(vacancy.poll(ms(10)), (vec![address], false));
        assert_eq!(vacancy.poll(ms(19)), (vec![], false));
        assert!(vacancy.answers(ms(19)).is_empty());
        assert_eq!(vacancy.poll(ms(20)), (vec![], true));
        assert_eq!(vacancy.answers(ms(20))[&address], LanAnswer::Free);
    }

    #[test]
    fn a_claim_is_an_answer_at_once_and_only_news_once() {
        let (address, mut vacancy) = one("2001:db8::8");
        vacancy.poll(ms(0));
        assert!(vacancy.heard(address, RIVAL, ms(3)));
        assert!(!vacancy.heard(address, RIVAL, ms(4)));
        assert!(!vacancy.heard(ip("2001:db8::9"), RIVAL, ms(4)));
        assert_eq!(vacancy.answers(ms(4))[&address], LanAnswer::Answered(RIVAL));
        assert_eq!(vacancy.poll(ms(30)), (vec![], false), "no verdict after it");
    }

    #[test]
    fn a_free_address_that_somebody_claims_is_free_no_more() {
        let (address, mut vacancy) = one("192.0.2.8");
        for now in [0, 10, 20] {
            vacancy.poll(ms(now));
        }
        assert!(vacancy.heard(address, RIVAL, ms(1000)));
        assert_eq!(
            vacancy.answers(ms(1000))[&address],
            LanAnswer::Answered(RIVAL)
        );
    }

    #[test]
    fn answers_grow_old_and_are_asked_for_again() {
        let (address, mut vacancy) = one("192.0.2.8");
        vacancy.heard(address, RIVAL, ms(0));
        vacancy.ask([address], ms(9_999));
        assert_eq!(vacancy.next_deadline(), Some(ms(10_000)));
        assert!(vacancy.answers(ms(10_000)).is_empty());
        assert_eq!(vacancy.poll(ms(10_000)), (vec![], true), "unknown is news");
        vacancy.ask([address], ms(10_000));
        for (now, probes) in [(10_000, 1), (10_010, 1), (10_020, 0)] {
            assert_eq!(vacancy.poll(ms(now)).0.len(), probes);
        }
        assert!(vacancy.answers(ms(310_019)).contains_key(&address));
        assert!(!vacancy.answers(ms(310_020)).contains_key(&address));
        vacancy.ask([address], ms(310_020));
        assert_eq!(vacancy.poll(ms(310_020)), (vec![address], false));
    }

    #[test]
    fn an_address_that_is_given_away_leaves_nothing_to_do() {
        let (address, mut vacancy) = one("192.0.2.8");
        for now in [0, 10, 20] {
            vacancy.poll(ms(now));
        }
        vacancy.taken(address);
        assert_eq!(vacancy.next_deadline(), None);
        assert!(!vacancy.heard(address, RIVAL, ms(30)), "the new owner");
        vacancy.ask([address], ms(40));
        assert_eq!(vacancy.poll(ms(40)), (vec![address], false));
    }

    #[test]
    fn an_address_that_was_ours_is_asked_for_once_our_nodes_have_let_go() {
        let (address, mut vacancy) = one("192.0.2.8");
        vacancy.heard(address, RIVAL, ms(100));
        vacancy.released([address], ms(200));
        assert!(vacancy.answers(ms(200)).is_empty());
        assert!(!vacancy.heard(address, RIVAL, ms(300)), "its last words");
        assert_eq!(vacancy.poll(ms(699)), (vec![], false));
        assert_eq!(vacancy.next_deadline(), Some(ms(700)));
        assert_eq!(vacancy.poll(ms(700)), (vec![address], false));
        assert!(vacancy.heard(address, RIVAL, ms(701)), "an answer");
        assert_eq!(
            vacancy.answers(ms(701))[&address],
            LanAnswer::Answered(RIVAL)
        );
    }

    #[test]
    fn what_is_being_asked_is_not_asked_from_the_start_again() {
        let (address, mut vacancy) = one("192.0.2.8");
        vacancy.poll(ms(0));
        vacancy.ask([address], ms(5));
        assert_eq!(vacancy.poll(ms(5)), (vec![], false));
        vacancy.poll(ms(10));
        assert_eq!(vacancy.poll(ms(20)), (vec![], true));
    }

    #[test]
    fn a_pause_of_the_agent_is_no_silence_of_the_lan() {
        let (address, mut vacancy) = one("192.0.2.8");
        vacancy.poll(ms(0));
        assert_eq!(vacancy.poll(ms(5000)), (vec![address], false));
        assert!(vacancy.answers(ms(5000)).is_empty());
        assert_eq!(vacancy.poll(ms(5010)), (vec![], true));
    }
}
