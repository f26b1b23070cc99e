//! The schedule, driven by a clock of the test's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
};

use proptest::prelude::*;

use super::*;
use crate::vip::Mac;

const SENDER: Sender = Sender {
    mac: Mac([2, 0, 0, 0, 0, 1]),
    own_ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)),
    own_ipv6: None,
    router: false,
};
const OTHER_MAC: Sender = Sender {
    mac: Mac([2, 0, 0, 0, 0, 2]),
    ..SENDER
};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn v4(number: u16, ifindex: IfIndex) -> Key {
    let vip = Ipv4Addr::from_bits(0x0a00_0000 | u32::from(number)).into();
    Key { vip, ifindex }
}

fn v6(number: u16, ifindex: IfIndex) -> Key {
    let vip = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number).into();
    Key { vip, ifindex }
}

fn announcer(rate: u32) -> Announcer {
    let mut announcer = Announcer::new(NonZeroU32::new(rate), 7);
    announcer.set_link(1, Some(SENDER));
    announcer
}

/// Polls at every deadline until `end`, as the driver does with timers of a millisecond.
fn run(
    announcer: &mut Announcer,
    now: &mut Duration,
    end: Duration,
) -> Vec<(Duration, Announcement)> {
    let mut sent = Vec::new();
    while let Some(deadline) = announcer.next_deadline().filter(|at| *at <= end) {
        let millis = deadline.as_nanos().div_ceil(1_000_000) as u64;
        *now = (*now).max(Duration::from_millis(millis));
        let before = sent.len();
        sent.extend(announcer.poll(*now).into_iter().map(|frame| (*now, frame)));
        if sent.len() == before {
            // A deadline that gives nothing twice would spin.
            *now += Duration::from_millis(1);
        }
    }
    *now = (*now).max(end);
    sent
}

fn times(sent: &[(Duration, Announcement)], form: Form) -> Vec<u64> {
    sent.iter()
        .filter(|(_, frame)| frame.form == form)
        .map(|(at, _)| at.as_secs())
        .collect()
}

#[test]
fn a_burst_goes_at_once_and_after_1_2_4_and_8_seconds() {
    let mut announcer = announcer(5000);
    announcer.start(v4(1, 1));
    announcer.start(v6(1, 1));
    let sent = run(&mut announcer, &mut s(0), s(30));
    assert_eq!(times(&sent, Form::Request), [0, 1, 2, 4, 8]);
    assert_eq!(times(&sent, Form::Reply), [0, 1, 2, 4, 8]);
    assert_eq!(times(&sent, Form::Advertisement), [0, 1, 2, 4, 8]);
    assert_eq!(times(&sent, Form::RequestFromVip), [1]);
}

#[test]
fn without_an_own_ipv4_address_there_is_no_third_form() {
    let mut announcer = announcer(5000);
    let sender = Sender {
        own_ipv4: None,
        ..SENDER
    };
    announcer.set_link(1, Some(sender));
    announcer.start(v4(1, 1));
    let sent = run(&mut announcer, &mut s(0), s(30));
    assert!(times(&sent, Form::RequestFromVip).is_empty());
    assert_eq!(times(&sent, Form::Request), [0, 1, 2, 4, 8]);
}

#[test]
fn a_link_that_cannot_send_is_silent_and_begins_anew_when_it_can() {
    let mut announcer = announcer(5000);
    let mut now = s(0);
    announcer.start(v6(1, 1));
    assert_eq!(run(&mut announcer, &mut now, s(20)).len(), 5);
    announcer.set_link(1, None);
    assert_eq!(announcer.next_deadline(), None);
    assert_eq!(announcer.poll(s(2000)), []);
    announcer.set_link(1, Some(SENDER));
    now = s(2000);
    let sent = run(&mut announcer, &mut now, s(2030));
    assert_eq!(
        times(&sent, Form::Advertisement),
        [2000, 2001, 2002, 2004, 2008]
    );
}

#[test]
fn a_new_mac_address_starts_the_burst_again_and_a_new_own_address_does_not() {
    let mut announcer = announcer(5000);
    let mut now = s(0);
    announcer.start(v6(1, 1));
    run(&mut announcer, &mut now, s(20));
    let own_ipv4 = Some(Ipv4Addr::new(192, 0, 2, 9));
    announcer.set_link(1, Some(Sender { own_ipv4, ..SENDER }));
    assert_eq!(run(&mut announcer, &mut now, s(30)), []);
    announcer.set_link(1, Some(OTHER_MAC));
    let sent = run(&mut announcer, &mut now, s(60));
    assert_eq!(times(&sent, Form::Advertisement), [30, 31, 32, 34, 38]);
    let (_, first) = &sent[0];
    assert_eq!(first.frame[6..12], OTHER_MAC.mac.0);
}

#[test]
fn a_carrier_that_came_back_and_the_end_of_a_conflict_start_the_burst_again() {
    let mut announcer = announcer(5000);
    let mut now = s(0);
    announcer.start(v6(1, 1));
    announcer.start(v6(2, 1));
    run(&mut announcer, &mut now, s(20));
    announcer.link_up(1);
    assert_eq!(run(&mut announcer, &mut now, s(30)).len(), 10);
    assert!(announcer.restart(v6(2, 1)));
    let sent = run(&mut announcer, &mut now, s(40));
    assert_eq!(sent.len(), 5);
    assert!(sent.iter().all(|(_, frame)| frame.key == v6(2, 1)));
    assert!(!announcer.restart(v6(3, 1)));
}

#[test]
fn starting_twice_changes_nothing() {
    let mut announcer = announcer(5000);
    let mut now = s(0);
    assert!(announcer.start(v6(1, 1)));
    run(&mut announcer, &mut now, s(20));
    assert!(!announcer.start(v6(1, 1)));
    assert_eq!(run(&mut announcer, &mut now, s(30)), []);
    assert_eq!(announcer.len(), 1);
}

#[test]
fn a_defence_is_one_frame_at_once_and_the_schedule_goes_on() {
    let mut announcer = announcer(5000);
    let mut now = s(0);
    announcer.start(v4(1, 1));
    run(&mut announcer, &mut now, s(3));
    assert!(announcer.defend(v4(1, 1)));
    assert!(announcer.defend(v4(1, 1)));
    let sent = run(&mut announcer, &mut now, s(20));
    assert_eq!(times(&sent, Form::Request), [3, 4, 8]);
    assert!(!announcer.defend(v4(2, 1)));
}

#[test]
fn a_defence_goes_after_first_frames_and_before_second_ones() {
    let mut announcer = announcer(1);
    announcer.start(v4(1, 1));
    assert_eq!(announcer.poll(s(0)).len(), 1);
    announcer.defend(v4(1, 1));
    announcer.start(v4(2, 1));
    let order: Vec<(Key, Form)> = (1..4)
        .flat_map(|at| announcer.poll(s(at)))
        .map(|frame| (frame.key, frame.form))
        .collect();
    let expected = [
        (v4(2, 1), Form::Request),
        (v4(1, 1), Form::Request),
        (v4(1, 1), Form::Reply),
    ];
    assert_eq!(order, expected);
}

#[test]
fn twenty_thousand_vips_at_full_rate_send_all_first_frames_first() {
    let mut announcer = announcer(0);
    for number in 0..10_000 {
        announcer.start(v4(number, 1));
        announcer.start(v6(number, 1));
    }
    let firsts: Vec<Announcement> = (0..20_000_usize.div_ceil(BATCH))
        .flat_map(|_| announcer.poll(s(0)))
        .take(20_000)
        .collect();
    let keys: BTreeSet<Key> = firsts.iter().map(|frame| frame.key).collect();
    assert_eq!(keys.len(), 20_000);
}

#[test]
fn each_vip_is_refreshed_within_1200_s_and_no_interface_is_silent_for_60() {
    for (vips, rate) in [(1, 5000), (40, 15), (3000, 5000)] {
        let mut announcer = announcer(rate);
        for number in 0..vips {
            announcer.start(v6(number, 1));
        }
        let sent = run(&mut announcer, &mut s(0), s(7200));
        let mut last: BTreeMap<Key, Duration> = BTreeMap::new();
        let mut silent_since = s(0);
        for (at, frame) in &sent {
            let before = last.insert(frame.key, *at).unwrap_or_default();
            assert!(
                *at - before < s(1200),
                "{vips} VIPs: {:?} after {before:?}",
                at
            );
            assert!(
                *at - silent_since < s(60),
                "{vips} VIPs: silent from {silent_since:?}"
            );
            silent_since = *at;
        }
        assert!(last.values().all(|at| s(7200) - *at < s(1200)));
        assert_eq!(last.len(), usize::from(vips));
        // 60 s of one VIP are 180 frames at most, and many VIPs refresh no faster than they must.
        let limit = 7200 / 40 + usize::from(vips) * (5 + 7200 / 600);
        assert!(sent.len() <= limit, "{vips} VIPs: {} frames", sent.len());
    }
}

/// What may happen to an announcer.
#[derive(Clone, Debug)]
enum Op {
    Start(u16),
    Stop(u16),
    Restart(u16),
    Defend(u16),
    LinkUp,
    Pass(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Few VIPs, so that operations meet on the same one.
    let number = 0u16..6;
    let op = prop_oneof![
        6 => number.clone().prop_map(Op::Start),
        3 => number.clone().prop_map(Op::Stop),
        1 => number.clone().prop_map(Op::Restart),
        2 => number.prop_map(Op::Defend),
        1 => Just(Op::LinkUp),
        8 => (0u64..3000).prop_map(Op::Pass),
    ];
    prop::collection::vec(op, 1..150)
}

proptest! {
    #[test]
    fn any_history_keeps_the_rate_the_order_and_the_silence_of_stopped_vips(
        rate in prop_oneof![1u32..40, 100u32..400],
        ops in ops(),
    ) {
        let mut announcer = announcer(rate);
        let mut now = s(0);
        let mut sent_at = Vec::new();
        // VIPs whose first frame is owed, in the order of their turn, and all that are started.
        let (mut owed, mut started) = (Vec::new(), BTreeSet::new());
        for op in ops {
            let key = |number: u16| if number.is_multiple_of(2) { v4(number, 1) } else { v6(number, 1) };
            match op {
                Op::Start(number) => {
                    if announcer.start(key(number)) {
                        owed.push(key(number));
                        started.insert(key(number));
                    }
                }
                Op::Stop(number) => {
                    prop_assert_eq!(announcer.stop(key(number)), started.remove(&key(number)));
                    owed.retain(|other| *other != key(number));
                }
                Op::Restart(number) => {
                    if announcer.restart(key(number)) && !owed.contains(&key(number)) {
                        owed.push(key(number));
                    }
                }
                Op::Defend(number) => {
                    prop_assert_eq!(announcer.defend(key(number)), started.contains(&key(number)));
                }
                Op::LinkUp => {
                    announcer.link_up(1);
                    owed.extend(started.iter().filter(|key| !owed.contains(key)).copied().collect::<Vec<_>>());
                }
                Op::Pass(millis) => {
                    let end = now + Duration::from_millis(millis);
                    for (at, frame) in run(&mut announcer, &mut now, end) {
                        prop_assert!(started.contains(&frame.key), "{:?} was stopped", frame.key);
                        if !owed.is_empty() {
                            prop_assert_eq!(frame.key, owed.remove(0), "at {:?}", at);
                        }
                        sent_at.push(at);
                    }
                }
            }
            prop_assert_eq!(announcer.len(), started.len());
        }
        for window in sent_at.windows(rate as usize + 1) {
            prop_assert!(*window.last().unwrap() - window[0] >= s(1));
        }
    }

    #[test]
    fn the_third_form_never_goes_within_a_second_of_the_first(
        rate in 1u32..50, vips in 1u16..30,
    ) {
        let mut announcer = announcer(rate);
        for number in 0..vips {
            announcer.start(v4(number, 1));
        }
        let mut first = BTreeMap::new();
        let mut third = 0;
        for (at, frame) in run(&mut announcer, &mut s(0), s(600)) {
            let first = *first.entry(frame.key).or_insert(at);
            if frame.form == Form::RequestFromVip {
                third += 1;
                prop_assert!(at - first >= s(1));
            }
        }
        prop_assert_eq!(third, vips);
    }
}
