//! Who answers while the API or the LAN is away, for one node or for all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{thread::sleep, time::Duration};

use nix::sys::signal::Signal;
use tests::{
    agent::VIP4,
    kubernetes::{Bed, Times},
    observer::{HAND_OVER, TAKEOVER},
};

/// An unconfirmed owner yields within it.
const YIELD: Duration = Duration::from_millis(10);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Cuts the owner of [`VIP4`] from the API until another answers, and heals it; what was
/// unanswered may take `unanswered`.
fn cut_from_the_api(times: Times, more: &str, unanswered: Duration, allowed: Option<Duration>) {
    let (bed, observer) = Bed::serving(3, &format!("{}{more}", times.config)).unwrap();
    let owner = bed.owner(&observer, VIP4).unwrap();
    let lost = bed.owned(&observer, owner);
    let began = observer.now();
    // For less than H nobody notices.
    bed.cut_api(owner).unwrap();
    sleep(times.hold / 2);
    bed.heal_api(owner).unwrap();
    sleep(ms(3000));
    let cut = observer.now();
    bed.cut_api(owner).unwrap();
    bed.wait_moved(&observer, &lost, owner).unwrap();
    sleep(ms(2000));
    let healed = observer.now();
    bed.heal_api(owner).unwrap();
    sleep(ms(5000));
    let observed = observer.finish().unwrap();
    observed.one_answerer(allowed).unwrap();
    for vip in lost {
        let line = observed.timeline(vip).since(began);
        assert_eq!(line.clone().before(cut).gaps(), [], "{vip}");
        let after = line.since(cut);
        let successor = after.reigns()[1].from - cut;
        let overlaps: Vec<_> = after.overlaps().iter().map(|o| o.length()).collect();
        println!(
            "{vip}: by another {successor:.1?} after the cut, unanswered {:.1?}, by two {overlaps:?}",
            after.longest_gap()
        );
        assert!(
            successor < times.duration + TAKEOVER,
            "{vip}: {successor:?}"
        );
        assert!(
            after.longest_gap() <= unanswered,
            "{vip}: {:?}",
            after.gaps()
        );
        let by_it = after.since(healed).last_by(bed.nodes[owner].mac());
        assert_eq!(by_it, None, "{vip}");
    }
}

#[test]
#[ignore = "needs root"]
fn an_owner_cut_from_the_api_answers_until_another_takes_over() {
    cut_from_the_api(Times::FIVE_SECONDS, "", HAND_OVER, Some(YIELD));
}

#[test]
#[ignore = "needs root"]
fn an_owner_that_is_to_fence_is_silent_before_another_takes_over() {
    let times = Times::TWO_SECONDS;
    let most = times.duration + TAKEOVER;
    cut_from_the_api(times, "onApiLoss: fence\n", most, None);
}

#[test]
#[ignore = "needs root"]
fn a_frozen_and_a_restarted_api_server_leave_nothing_unanswered_and_move_nothing() {
    let (mut bed, observer) = Bed::serving(3, "").unwrap();
    bed.wait_rows_at_rest().unwrap();
    let (began, rows) = (observer.now(), bed.rows().unwrap());
    bed.control.apiserver.signal(Signal::SIGSTOP).unwrap();
    sleep(ms(40_000));
    bed.control.apiserver.signal(Signal::SIGCONT).unwrap();
    // Longer than L: everybody looked silent.
    sleep(ms(7000));
    assert_eq!(bed.rows().unwrap(), rows);
    bed.control.restart().unwrap();
    sleep(ms(7000));
    assert_eq!(bed.rows().unwrap(), rows);
    observer.finish().unwrap().undisturbed(began).unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_cut_of_all_nodes_and_a_frozen_etcd_leave_nothing_unanswered_and_move_nothing() {
    let (bed, observer) = Bed::serving(3, "").unwrap();
    bed.wait_rows_at_rest().unwrap();
    let (began, rows) = (observer.now(), bed.rows().unwrap());
    for index in 0..3 {
        bed.cut_api(index).unwrap();
    }
    sleep(ms(15_000));
    // One hears the API before the others: nobody may be taken for dead by it.
    for index in 0..3 {
        bed.heal_api(index).unwrap();
        sleep(ms(700));
    }
    sleep(ms(7000));
    assert_eq!(bed.rows().unwrap(), rows);
    bed.control.etcd.signal(Signal::SIGSTOP).unwrap();
    sleep(ms(8000));
    bed.control.etcd.signal(Signal::SIGCONT).unwrap();
    sleep(ms(7000));
    assert_eq!(bed.rows().unwrap(), rows);
    observer.finish().unwrap().undisturbed(began).unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_node_whose_cable_is_pulled_hands_over_at_once() {
    let (bed, observer) = Bed::serving(3, "").unwrap();
    sleep(ms(1000));
    let owner = bed.owner(&observer, VIP4).unwrap();
    let lost = bed.owned(&observer, owner);
    let pulled = observer.now();
    bed.pull_lan(owner).unwrap();
    bed.wait_moved(&observer, &lost, owner).unwrap();
    sleep(ms(1000));
    bed.plug_lan(owner).unwrap();
    sleep(ms(3000));
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    for vip in lost {
        let after = observed.timeline(vip).since(pulled);
        println!(
            "{vip}: unanswered {:.1?} after the cable was pulled",
            after.longest_gap()
        );
        assert!(after.longest_gap() < ms(1000), "{vip}: {:?}", after.gaps());
        assert!(after.reigns().len() <= 2, "{vip}: {:?}", after.reigns());
    }
}

#[test]
#[ignore = "needs root"]
fn a_node_that_hears_nobody_on_the_lan_hands_over_and_stays_silent_when_it_hears_again() {
    let (bed, observer) = Bed::serving(3, "").unwrap();
    bed.wait_rows_at_rest().unwrap();
    let owner = bed.owner(&observer, VIP4).unwrap();
    let lost = bed.owned(&observer, owner);
    let cut = observer.now();
    bed.cut_lan(owner).unwrap();
    bed.wait_moved(&observer, &lost, owner).unwrap();
    sleep(ms(2000));
    bed.heal_lan(owner).unwrap();
    sleep(ms(5000));
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    for vip in lost {
        let after = observed.timeline(vip).since(cut + ms(50));
        println!(
            "{vip}: unanswered {:.1?} after the LAN was cut",
            after.longest_gap()
        );
        assert!(after.longest_gap() < ms(5000), "{vip}: {:?}", after.gaps());
        assert_eq!(after.last_by(bed.nodes[owner].mac()), None, "{vip}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_node_cut_from_lan_and_api_is_replaced_within_its_lease_and_never_two_answer_after() {
    let times = Times::FIVE_SECONDS;
    let (bed, observer) = Bed::serving(3, times.config).unwrap();
    bed.wait_rows_at_rest().unwrap();
    for lan_first in [true, false] {
        let owner = bed.owner(&observer, VIP4).unwrap();
        let lost = bed.owned(&observer, owner);
        let cut = observer.now();
        bed.cut_api(owner).unwrap();
        bed.cut_lan(owner).unwrap();
        bed.wait_moved(&observer, &lost, owner).unwrap();
        sleep(ms(1500));
        let healed = observer.now();
        if lan_first {
            bed.heal_lan(owner).unwrap();
            // It hears again, and cannot know that it was replaced but by asking.
            sleep(ms(6000));
            bed.heal_api(owner).unwrap();
        } else {
            bed.heal_api(owner).unwrap();
            sleep(ms(3000));
            bed.heal_lan(owner).unwrap();
        }
        sleep(ms(4000));
        let mac = bed.nodes[owner].mac();
        for vip in lost {
            let after = observer.look(|observed| observed.timeline(vip).since(cut + ms(100)));
            let successor = after.reigns()[0];
            let took = successor.from - cut;
            println!("{vip}: by another {took:.1?} after both were cut, healed at {healed:.1?}");
            assert_ne!(successor.by, mac);
            assert!(took < times.duration + TAKEOVER, "{vip}: {took:?}");
        }
    }
    observer
        .finish()
        .unwrap()
        .one_answerer(Some(YIELD))
        .unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_short_cut_of_lan_and_api_moves_nothing() {
    let (bed, observer) = Bed::serving(3, "").unwrap();
    bed.wait_rows_at_rest().unwrap();
    let owner = bed.owner(&observer, VIP4).unwrap();
    let lost = bed.owned(&observer, owner);
    bed.cut_api(owner).unwrap();
    bed.cut_lan(owner).unwrap();
    // Deafness takes a second, and the commands that cut and heal take their part of it.
    sleep(ms(600));
    bed.heal_lan(owner).unwrap();
    bed.heal_api(owner).unwrap();
    let healed = observer.now();
    sleep(ms(6000));
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    for vip in lost {
        let line = observed.timeline(vip);
        assert_eq!(line.reigns().len(), 1, "{vip}: {:?}", line.reigns());
        println!("{vip}: unanswered {:.0?}", line.clone().longest_gap());
        let after = line.since(healed + ms(1500));
        assert_eq!(after.gaps(), [], "{vip}");
    }
}
