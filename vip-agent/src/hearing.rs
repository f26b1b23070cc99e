//! Whether the LAN of an interface still replies (`ownership.md`, rule 10: deaf).
//!
//! A machine without clock and I/O: times are arguments, as the time since any fixed moment.
//! Interfaces with their targets go in (gateways, peers), and every neighbour that is heard
//! becomes a target too; [`Hearing::poll`] gives the questions that are due.
//!
//! At rest one target is asked, the same for as long as it replies, by unicast once its MAC address
//! is known: a cluster at rest makes no broadcasts.
//!
//! ```text
//! 0 s    1.0 s      1.3 s      1.6 s      2.0 s     2.3 s
//! heard  ask one -> ask all -> ask all -> deaf   -> ask all, every 0.3 s
//!          ^                                 |
//!          +------------ heard --------------+
//! ```
//!
//! Steps count from the last question that was really sent, so that a pause of the agent is no
//! silence of the LAN.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::Duration,
};

use crate::vip::{IfIndex, Mac};

/// Time between two questions at rest.
const REST: Duration = Duration::from_secs(1);
/// A question at rest leaves so much before its time if others leave then: one wake for both.
const EARLY: Duration = Duration::from_millis(250);
/// An unanswered question is asked of all after this time, twice; together with [`LAST`] it makes
/// the second of the rule.
const STEP: Duration = Duration::from_millis(300);
const LAST: Duration = Duration::from_millis(400);
/// Neighbours that are remembered beside the targets.
const NEIGHBOURS: usize = 4;

/// A question to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// By which interface.
    pub ifindex: IfIndex,
    /// Who is asked for.
    pub target: IpAddr,
    /// Its MAC address for a unicast question; none for one to all.
    pub to: Option<Mac>,
}

/// The interfaces that serve, and what is heard on them.
#[derive(Debug, Default)]
pub struct Hearing {
    links: BTreeMap<IfIndex, Link>,
}

#[derive(Debug)]
struct Link {
    targets: Vec<IpAddr>,
    /// Others that were heard, the latest first.
    neighbours: VecDeque<IpAddr>,
    /// Who is asked at rest.
    reliable: Option<(IpAddr, Mac)>,
    phase: Phase,
    /// When the next question is due.
    at: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Rest,
    AskedOne,
    AskedAll,
    AskedAllTwice,
    Deaf,
}

impl Hearing {
    /// No interfaces.
    pub fn new() -> Self {
        Self::default()
    }

    /// An interface serves, and these are to be asked on it: addresses on its link for which it
    /// has a source address. Without targets and neighbours it is not deaf: nothing is known.
    pub fn set_targets(&mut self, ifindex: IfIndex, targets: Vec<IpAddr>, now: Duration) {
        let link = self.links.entry(ifindex).or_insert_with(|| Link::new(now));
        link.neighbours.retain(|known| !targets.contains(known));
        link.targets = targets;
        if link.is_mute() {
            link.rest(now);
        }
    }

    /// Interfaces that do not serve now are forgotten.
    pub fn retain(&mut self, serves: impl Fn(IfIndex) -> bool) {
        self.links.retain(|ifindex, _| serves(*ifindex));
    }

    /// A neighbour on the link of an interface, not a host of the other side of a router, was
    /// heard.
    pub fn heard(&mut self, ifindex: IfIndex, who: IpAddr, mac: Mac, now: Duration) {
        let Some(link) = self.links.get_mut(&ifindex) else {
            return;
        };
        if !link.targets.contains(&who) {
            link.neighbours.retain(|known| *known != who);
            link.neighbours.push_front(who);
            link.neighbours.truncate(NEIGHBOURS);
        }
        if link.is_better(who) {
            link.reliable = Some((who, mac));
        }
        link.rest(now);
    }

    /// The questions that are due, or nearly.
    pub fn poll(&mut self, now: Duration) -> Vec<Ask> {
        let mut asks = Vec::new();
        for (&ifindex, link) in &mut self.links {
            let early = match link.phase {
                Phase::Rest => EARLY,
                _ => Duration::ZERO,
            };
            if now + early < link.at || link.is_mute() {
                continue;
            }
            let (next, after) = match link.phase {
                Phase::Rest => (Phase::AskedOne, STEP),
                Phase::AskedOne => (Phase::AskedAll, STEP),
                Phase::AskedAll => (Phase::AskedAllTwice, LAST),
                // Often: who hears again is to know it before it hears of the API server.
                Phase::AskedAllTwice | Phase::Deaf => (Phase::Deaf, STEP),
            };
            (link.phase, link.at) = (next, now + after);
            let ask = |target, to| Ask {
                ifindex,
                target,
                to,
            };
            match (next, link.asked_at_rest()) {
                (Phase::AskedOne, Some((target, to))) => asks.push(ask(target, to)),
                _ => asks.extend(link.all().map(|target| ask(target, None))),
            }
        }
        asks
    }

    /// When to poll next; a time that has passed means now.
    pub fn next_deadline(&self) -> Option<Duration> {
        let links = self.links.values().filter(|link| !link.is_mute());
        links.map(|link| link.at).min()
    }

    /// Nobody on the interface's LAN replies.
    pub fn is_deaf(&self, ifindex: IfIndex) -> bool {
        self.links
            .get(&ifindex)
            .is_some_and(|link| link.phase == Phase::Deaf)
    }

    /// No interface that serves hears anything; not so where none serves.
    pub fn is_all_deaf(&self) -> bool {
        !self.links.is_empty() && self.links.values().all(|link| link.phase == Phase::Deaf)
    }

    /// The interfaces that serve.
    pub fn interfaces(&self) -> impl Iterator<Item = IfIndex> + '_ {
        self.links.keys().copied()
    }
}

impl Link {
    fn new(now: Duration) -> Self {
        Self {
            targets: Vec::new(),
            neighbours: VecDeque::new(),
            reliable: None,
            phase: Phase::Rest,
            at: now,
        }
    }

    fn rest(&mut self, now: Duration) {
        (self.phase, self.at) = (Phase::Rest, now + REST);
    }

    fn all(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.targets.iter().chain(&self.neighbours).copied()
    }

    /// There is nobody to ask.
    fn is_mute(&self) -> bool {
        self.all().next().is_none()
    }

    /// Whether somebody who was heard is asked from now on.
    fn is_better(&self, who: IpAddr) -> bool {
        let known = self.reliable.map(|(target, _)| target);
        let known = known.filter(|target| self.all().any(|it| it == *target));
        match (self.phase, known) {
            // One of many speaks; that the one who is asked is silent, is not known yet.
            (Phase::Rest | Phase::AskedOne, Some(known)) => known == who,
            (Phase::Rest | Phase::AskedOne, None) => {
                self.targets.is_empty() || self.targets.contains(&who)
            }
            _ => true,
        }
    }

    fn asked_at_rest(&self) -> Option<(IpAddr, Option<Mac>)> {
        let reliable = self.reliable.map(|(target, mac)| (target, Some(mac)));
        reliable
            .filter(|(target, _)| self.all().any(|known| known == *target))
            .or_else(|| Some((self.all().next()?, None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAN: IfIndex = 2;
    const GATEWAY_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn gateway() -> IpAddr {
        ip("192.0.2.254")
    }

    fn peer() -> IpAddr {
        ip("2001:db8::2")
    }

    fn with(targets: &[IpAddr]) -> Hearing {
        let mut hearing = Hearing::new();
        hearing.set_targets(LAN, targets.to_vec(), ms(0));
        hearing
    }

    fn ask(target: IpAddr, to: Option<Mac>) -> Ask {
        Ask {
            ifindex: LAN,
            target,
            to,
        }
    }

    /// Polls whenever it is due, until `until`.
    fn run(hearing: &mut Hearing, until: Duration) -> Vec<(Duration, Ask)> {
        let mut asked = Vec::new();
        while let Some(at) = hearing.next_deadline().filter(|at| *at <= until) {
            asked.extend(hearing.poll(at).into_iter().map(|ask| (at, ask)));
        }
        asked
    }

    #[test]
    fn silence_is_deafness_one_second_after_the_first_question_and_all_were_asked_twice() {
        let mut hearing = with(&[gateway(), peer()]);
        hearing.heard(LAN, gateway(), GATEWAY_MAC, ms(0));
        let asked = run(&mut hearing, ms(1999));
        let expected = [
            (ms(1000), ask(gateway(), Some(GATEWAY_MAC))),
            (ms(1300), ask(gateway(), None)),
            (ms(1300), ask(peer(), None)),
            (ms(1600), ask(gateway(), None)),
            (ms(1600), ask(peer(), None)),
        ];
        assert_eq!(asked, expected);
        assert!(!hearing.is_deaf(LAN));
        run(&mut hearing, ms(2000));
        assert!(hearing.is_deaf(LAN) && hearing.is_all_deaf());
        let again = run(&mut hearing, ms(2600));
        assert_eq!(again.last().unwrap().0, ms(2600), "it goes on asking");
    }

    #[test]
    fn a_question_at_rest_leaves_with_others_and_no_later_one_before_its_time() {
        let mut hearing = with(&[gateway()]);
        hearing.heard(LAN, gateway(), GATEWAY_MAC, ms(0));
        assert_eq!(hearing.poll(ms(749)), []);
        assert_eq!(
            hearing.poll(ms(750)),
            [ask(gateway(), Some(GATEWAY_MAC))],
            "it need not be woken for at 1 s"
        );
        assert_eq!(hearing.next_deadline(), Some(ms(1050)));
        assert_eq!(hearing.poll(ms(1049)), []);
        assert_eq!(hearing.poll(ms(1050)), [ask(gateway(), None)]);
    }

    #[test]
    fn any_target_that_replies_is_enough_and_is_asked_from_then_on() {
        let mut hearing = with(&[gateway(), peer()]);
        run(&mut hearing, ms(900));
        hearing.heard(LAN, peer(), PEER_MAC, ms(950));
        assert!(!hearing.is_deaf(LAN), "the gateway is silent");
        let asked = run(&mut hearing, ms(1950));
        assert_eq!(asked, [(ms(1950), ask(peer(), Some(PEER_MAC)))]);
        hearing.heard(LAN, peer(), PEER_MAC, ms(1960));
        assert!(run(&mut hearing, ms(2900)).is_empty());
    }

    #[test]
    fn deafness_ends_with_the_first_frame() {
        let mut hearing = with(&[gateway()]);
        run(&mut hearing, ms(60_000));
        assert!(hearing.is_deaf(LAN));
        hearing.heard(LAN, gateway(), GATEWAY_MAC, ms(60_010));
        assert!(!hearing.is_deaf(LAN) && !hearing.is_all_deaf());
        assert_eq!(hearing.next_deadline(), Some(ms(61_010)));
    }

    #[test]
    fn without_anybody_to_ask_nothing_is_known_and_nothing_deaf() {
        let mut hearing = with(&[]);
        assert!(run(&mut hearing, ms(60_000)).is_empty());
        assert!(!hearing.is_deaf(LAN) && !hearing.is_all_deaf());
        assert!(!Hearing::new().is_all_deaf());
        hearing.set_targets(LAN, vec![gateway()], ms(60_000));
        run(&mut hearing, ms(70_000));
        hearing.set_targets(LAN, vec![], ms(70_000));
        assert!(!hearing.is_deaf(LAN));
    }

    #[test]
    fn a_neighbour_that_was_heard_stands_in_for_a_silent_gateway() {
        let mut hearing = with(&[gateway()]);
        let client = ip("192.0.2.7");
        hearing.heard(LAN, client, PEER_MAC, ms(100));
        let asked = run(&mut hearing, ms(1400));
        let both = [gateway(), client].map(|it| (ms(1400), ask(it, None)));
        assert_eq!(asked[0], (ms(1100), ask(gateway(), None)));
        assert_eq!(asked[1..], both, "when the gateway is silent");
        hearing.heard(LAN, client, PEER_MAC, ms(1410));
        let asked = run(&mut hearing, ms(2410));
        assert_eq!(asked, [(ms(2410), ask(client, Some(PEER_MAC)))]);
        for number in 11..=19 {
            let other = ip(&format!("192.0.2.{number}"));
            hearing.heard(LAN, other, PEER_MAC, ms(2500));
        }
        let asked = run(&mut hearing, ms(3900));
        assert_eq!(asked.len(), 1 + 1 + NEIGHBOURS, "the latest few: {asked:?}");
    }

    #[test]
    fn who_replies_is_asked_again_whoever_else_speaks() {
        let mut hearing = with(&[gateway(), peer()]);
        hearing.heard(LAN, ip("192.0.2.7"), PEER_MAC, ms(10));
        hearing.heard(LAN, gateway(), GATEWAY_MAC, ms(20));
        hearing.heard(LAN, peer(), PEER_MAC, ms(30));
        let asked = run(&mut hearing, ms(1030));
        assert_eq!(asked, [(ms(1030), ask(gateway(), Some(GATEWAY_MAC)))]);
    }

    #[test]
    fn one_interface_that_hears_is_enough_for_the_node() {
        let mut hearing = with(&[gateway()]);
        hearing.set_targets(3, vec![peer()], ms(0));
        run(&mut hearing, ms(900));
        hearing.heard(3, peer(), PEER_MAC, ms(900));
        run(&mut hearing, ms(1500));
        assert!(hearing.is_deaf(LAN) && !hearing.is_deaf(3) && !hearing.is_all_deaf());
        hearing.retain(|ifindex| ifindex == LAN);
        assert!(hearing.is_all_deaf());
        assert_eq!(hearing.interfaces().collect::<Vec<_>>(), [LAN]);
        hearing.heard(3, peer(), PEER_MAC, ms(1600));
        assert!(!hearing.is_deaf(3), "it does not serve any more");
    }

    #[test]
    fn a_pause_of_the_agent_is_no_silence_of_the_lan() {
        let mut hearing = with(&[gateway()]);
        hearing.poll(ms(0));
        for now in [10_000, 20_000] {
            hearing.poll(ms(now));
            assert!(!hearing.is_deaf(LAN), "{now}");
        }
        hearing.poll(ms(20_400));
        assert!(hearing.is_deaf(LAN));
    }

    #[test]
    fn a_target_that_is_gone_is_not_asked() {
        let mut hearing = with(&[gateway(), peer()]);
        hearing.heard(LAN, peer(), PEER_MAC, ms(0));
        hearing.set_targets(LAN, vec![gateway()], ms(500));
        let asked = run(&mut hearing, ms(1000));
        assert_eq!(asked, [(ms(1000), ask(gateway(), None))]);
    }
}
