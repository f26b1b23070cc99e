//! What one frame leaves behind for the next: intervals, buckets, yields, deadlines.

use std::net::IpAddr;

use tests::{
    golden::{
        Direction,
        frame::{Arp, Nd},
        judge_next,
        outcome::Outcome,
        world::{IFINDEX, State, VIP4, VIP6},
    },
    model::Model,
};
use vip_common::{
    abi::{EventKind, VipEntry, VipKey},
    counter::{Family, Verdict},
    packet::Action,
    work::Work,
};

const NOW: u64 = 600_000_000_000_000;
const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

fn model(state: State) -> Model {
    Model::new(&state.contents(NOW), NOW)
}

fn comes(model: &Model, frame: &[u8]) -> Outcome {
    judge_next(model, &mut Work::new(), Direction::In, frame)
}

fn is_answered(model: &Model, frame: &[u8]) -> bool {
    comes(model, frame).action == Action::Transmit
}

fn leaves(model: &Model, frame: &[u8]) -> Action {
    judge_next(model, &mut Work::new(), Direction::Out, frame).action
}

fn kinds(model: &Model) -> Vec<u8> {
    model
        .events
        .borrow()
        .iter()
        .map(|event| event.kind)
        .collect()
}

/// Question, claim, and the frame in which the kernel would answer, of both families.
fn frames() -> [(IpAddr, [Vec<u8>; 3]); 2] {
    let arp = [
        Arp::ask().bytes(),
        Arp::claim().bytes(),
        Arp::our_reply().bytes(),
    ];
    let nd = [
        Nd::ask().bytes(),
        Nd::claim().bytes(),
        Nd::our_answer().bytes(),
    ];
    [(IpAddr::V4(VIP4), arp), (IpAddr::V6(VIP6), nd)]
}

fn family(vip: IpAddr) -> Family {
    tests::golden::family(vip)
}

/// Changes the entry of a VIP, as the agent does.
fn update(model: &mut Model, vip: IpAddr, change: impl FnOnce(&mut VipEntry)) {
    let entry = model.contents.vips.entry(VipKey::new(vip, IFINDEX));
    entry.and_modify(change);
}

#[test]
fn a_vip_is_defended_once_in_ten_seconds() {
    for (vip, [_, claim, _]) in frames() {
        let model = model(State::Confirmed);
        let mut defended = Vec::new();
        // A forged claim every 10 ms, for 25 s.
        for step in 0..2_500u64 {
            if is_answered(&model, &claim) {
                defended.push(step / 100);
            }
            model.pass(10 * MILLISECOND);
        }
        assert_eq!(defended, [0, 10, 20], "{vip}");
        assert_eq!(
            kinds(&model),
            [EventKind::Defended as u8; 3],
            "one event a defence"
        );
        assert_eq!(model.counted(Verdict::Defended, family(vip)), 3);
        assert_eq!(
            model.vip_counters.borrow()[&1].conflicts,
            2_500,
            "each is counted"
        );
    }
}

#[test]
fn the_interval_ends_after_ten_seconds_and_not_before() {
    for (vip, [_, claim, _]) in frames() {
        let model = model(State::Confirmed);
        assert!(is_answered(&model, &claim));
        model.pass(10 * SECOND - 1);
        assert!(!is_answered(&model, &claim), "{vip}");
        model.pass(1);
        assert!(is_answered(&model, &claim), "{vip}");
    }
}

#[test]
fn a_claim_in_passing_and_a_gratuitous_one_share_the_interval() {
    let in_passing = Arp {
        tpa: [192, 0, 2, 7].into(),
        ..Arp::claim()
    }
    .bytes();
    let model = model(State::Confirmed);
    assert_eq!(comes(&model, &in_passing).action, Action::Pass);
    assert!(!is_answered(&model, &Arp::claim().bytes()));
    assert_eq!(
        kinds(&model),
        [EventKind::Conflict as u8],
        "the agent announces"
    );
    model.pass(10 * SECOND);
    assert!(is_answered(&model, &Arp::claim().bytes()));
    assert_eq!(comes(&model, &in_passing).action, Action::Pass);
    assert_eq!(
        kinds(&model),
        [EventKind::Conflict as u8, EventKind::Defended as u8]
    );
}

#[test]
fn an_empty_bucket_leaves_the_dad_question_and_a_defence_is_only_counted() {
    let dad = Nd::dad().bytes();
    let model = model(State::Confirmed);
    let answers = (0..1_000).filter(|_| is_answered(&model, &dad)).count();
    assert_eq!(answers, 200, "the burst");
    assert_eq!(model.counted(Verdict::Left, Family::Ipv6), 800);
    for (vip, [ask, claim, _]) in frames() {
        assert_eq!(comes(&model, &claim).action, Action::Pass);
        assert_eq!(model.counted(Verdict::Defended, family(vip)), 0);
        assert!(is_answered(&model, &ask), "unicast answers need no token");
    }
    assert_eq!(model.vip_counters.borrow()[&1].conflicts, 2);
    assert!(
        model.events.borrow().iter().all(|event| event.flags == 0),
        "no order to announce"
    );
    model.pass(SECOND);
    let answers = (0..1_000).filter(|_| is_answered(&model, &dad)).count();
    assert_eq!(answers, 100, "a hundred a second");
}

#[test]
fn a_yield_lasts_until_confirmed_moves() {
    for (vip, [ask, claim, reply]) in frames() {
        let model = model(State::Unconfirmed);
        assert!(is_answered(&model, &ask));
        assert_eq!(leaves(&model, &reply), Action::Pass);
        assert_eq!(comes(&model, &claim).action, Action::Pass);
        assert_eq!(kinds(&model), [EventKind::Yielded as u8]);
        assert_eq!(comes(&model, &ask).action, Action::Drop, "{vip}");
        assert_eq!(leaves(&model, &reply), Action::Drop, "{vip}");
        for _ in 0..100 {
            model.pass(SECOND);
            assert_eq!(comes(&model, &claim).action, Action::Pass);
            assert_eq!(comes(&model, &ask).action, Action::Drop);
        }
        assert_eq!(kinds(&model).len(), 1, "a fenced VIP is not yielded again");
        assert_eq!(model.counted(Verdict::Yielded, family(vip)), 1);
        // `deadline` moves on, as it does while the API is away: the yield stays.
        model.leases.borrow_mut()[1].deadline_boot_ns += SECOND;
        assert_eq!(comes(&model, &ask).action, Action::Drop);
        // A renewal.
        model.leases.borrow_mut()[1].confirmed_boot_ns = model.clock.get() + 4 * SECOND;
        assert!(is_answered(&model, &ask), "{vip}");
        assert!(is_answered(&model, &claim), "confirmed: defended");
        // And unconfirmed again: the old yield was for another `confirmed`.
        model.pass(5 * SECOND);
        assert!(is_answered(&model, &ask), "{vip}");
    }
}

#[test]
fn a_yield_ends_when_the_agent_declares_it_void() {
    for (vip, [ask, claim, _]) in frames() {
        let mut model = model(State::Unconfirmed);
        comes(&model, &claim);
        assert_eq!(comes(&model, &ask).action, Action::Drop);
        model.pass(10 * SECOND);
        let at = model.clock.get();
        update(&mut model, vip, |entry| entry.yields_void_before_ns = at);
        assert!(is_answered(&model, &ask), "{vip}");
        // A new claim is a new yield, and the agent is told, since it has to probe again.
        model.pass(SECOND);
        comes(&model, &claim);
        assert_eq!(kinds(&model), [EventKind::Yielded as u8; 2], "{vip}");
        assert_eq!(comes(&model, &ask).action, Action::Drop, "{vip}");
        comes(&model, &claim);
        assert_eq!(kinds(&model).len(), 2, "{vip}");
    }
}

#[test]
fn a_claim_or_question_past_the_deadline_keeps_the_vip_fenced_when_the_deadline_moves() {
    for (vip, [ask, claim, _]) in frames() {
        for seen in [&ask, &claim] {
            let model = model(State::Passed);
            comes(&model, seen);
            assert!(kinds(&model).is_empty(), "the agent sees it in VIP_STATE");
            // A hold that moves a passed deadline is a mistake: the VIP stays fenced all the same.
            model.leases.borrow_mut()[1].deadline_boot_ns = NOW + 3_600 * SECOND;
            assert_eq!(comes(&model, &ask).action, Action::Drop, "{vip}");
            model.leases.borrow_mut()[1].confirmed_boot_ns = NOW + 3_600 * SECOND;
            assert!(is_answered(&model, &ask), "{vip}");
        }
    }
}

#[test]
fn what_is_yielded_is_not_answered_even_where_the_yield_finds_no_room() {
    let both = Nd {
        from: [2, 0xee, 0, 0, 0, 1],
        source: VIP6,
        options: vec![],
        ..Nd::refresh()
    };
    let model = model(State::Unconfirmed);
    model.states_full.set(true);
    let got = comes(&model, &both.bytes());
    assert_eq!(got.action, Action::Drop);
    assert_eq!(got.counted.len(), 2, "yielded and fenced");
    // A flood that finds no room raises no flood of events.
    assert!(kinds(&model).is_empty());
}

#[test]
fn the_note_of_a_defence_is_no_yield() {
    for (vip, [ask, claim, _]) in frames() {
        let model = model(State::Confirmed);
        comes(&model, &claim);
        // A hold by a session that was never confirmed.
        model.leases.borrow_mut()[1].confirmed_boot_ns = 0;
        assert!(is_answered(&model, &ask), "{vip}");
    }
}

#[test]
fn a_proxys_advertisement_is_never_yielded_to() {
    let modest = Nd {
        flags: 0,
        ..Nd::claim()
    }
    .bytes();
    let model = model(State::Unconfirmed);
    assert_eq!(comes(&model, &modest).action, Action::Pass);
    assert!(is_answered(&model, &Nd::ask().bytes()));
    assert_eq!(model.vip_counters.borrow()[&1].conflicts, 1);
}

#[test]
fn a_passing_deadline_silences_at_that_nanosecond() {
    for (vip, [ask, _, reply]) in frames() {
        let model = model(State::Confirmed);
        let deadline = NOW + 4 * SECOND;
        model.leases.borrow_mut()[1].deadline_boot_ns = deadline;
        model.clock.set(deadline - 1);
        assert!(is_answered(&model, &ask), "{vip}");
        assert_eq!(leaves(&model, &reply), Action::Pass, "{vip}");
        model.clock.set(deadline);
        assert_eq!(comes(&model, &ask).action, Action::Drop, "{vip}");
        assert_eq!(leaves(&model, &reply), Action::Drop, "{vip}");
    }
}

#[test]
fn losing_the_session_is_one_store_for_all_vips() {
    let model = model(State::Confirmed);
    model.leases.borrow_mut()[1].deadline_boot_ns = 0;
    for (vip, [ask, ..]) in frames() {
        assert_eq!(comes(&model, &ask).action, Action::Drop, "{vip}");
    }
}

#[test]
fn entries_of_an_earlier_epoch_stay_dead() {
    for (vip, [ask, claim, reply]) in frames() {
        let model = model(State::Confirmed);
        model.leases.borrow_mut()[1].epoch += 1;
        assert_eq!(comes(&model, &ask).action, Action::Drop, "{vip}");
        assert_eq!(comes(&model, &claim).action, Action::Pass, "{vip}");
        assert_eq!(leaves(&model, &reply), Action::Drop, "{vip}");
        assert!(kinds(&model).is_empty());
    }
}

#[test]
fn a_successors_claims_leave_until_their_time_is_over() {
    let announcement = Arp {
        from: [2, 0xaa, 0, 0, 0, 1],
        sha: [2, 0xaa, 0, 0, 0, 1],
        ..Arp::claim()
    };
    let advertisement = Nd {
        from: [2, 0xaa, 0, 0, 0, 1],
        ..Nd::claim()
    };
    for (vip, frame) in [
        (IpAddr::V4(VIP4), announcement.bytes()),
        (IpAddr::V6(VIP6), advertisement.bytes()),
    ] {
        let mut model = model(State::Fenced);
        update(&mut model, vip, |entry| {
            entry.claim_until_ns = NOW + 100 * MILLISECOND
        });
        model.clock.set(NOW + 100 * MILLISECOND - 1);
        assert_eq!(leaves(&model, &frame), Action::Pass, "{vip}");
        model.pass(1);
        assert_eq!(leaves(&model, &frame), Action::Drop, "{vip}");
    }
}

#[test]
fn the_check_after_attach_moves_no_counter() {
    for (vip, [ask, ..]) in frames() {
        let mut model = model(State::Confirmed);
        update(&mut model, vip, |entry| entry.flags = VipEntry::SYNTHETIC);
        assert!(is_answered(&model, &ask));
        model.leases.borrow_mut()[1].deadline_boot_ns = 0;
        assert_eq!(comes(&model, &ask).action, Action::Drop);
        for verdict in Verdict::ALL {
            assert_eq!(model.counted(verdict, family(vip)), 0, "{vip}: {verdict:?}");
        }
        // Nor does it show up in the counters of the users' VIPs.
        let answers: u64 = model
            .vip_counters
            .borrow()
            .values()
            .map(|one| one.answers)
            .sum();
        assert_eq!((answers, model.traced.borrow().len()), (0, 0), "{vip}");
    }
}
