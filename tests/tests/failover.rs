//! Who answers while nodes die, hang, leave and come back, by a real API server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{thread::sleep, time::Duration};

use nix::sys::signal::Signal;
use tests::{
    agent::{VIP4, VIP6, until},
    kubernetes::{Bed, Times, VIPS, quiet},
    observer::{HAND_OVER, Observer, TAKEOVER},
};
use vip_agent::vip::Mac;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Prints median and worst, and returns the median.
fn print_distribution(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{what}: median {} ms, worst {} ms, of {}",
        median.as_millis(),
        worst.as_millis(),
        times.len()
    );
    median
}

/// By the agents' own account, from the last sign of life that they saw.
fn mean_takeover(bed: &Bed) -> Duration {
    let all = |part: &str| {
        let metric = format!("xvip_takeover_duration_seconds_{part}");
        let agents = bed.nodes.iter().map(tests::kubernetes::Node::agent);
        let values = agents.map(|agent| agent.metric(&metric, &[]).unwrap());
        values.sum::<f64>()
    };
    Duration::from_secs_f64(all("sum") / all("count"))
}

/// Kills the owner of [`VIP4`] again and again; the next time once it is back.
fn kill_again_and_again(times: Times, rounds: usize) {
    let (mut bed, observer) = Bed::serving(3, times.config).unwrap();
    let mut deaths = Vec::new();
    for _ in 0..rounds {
        let victim = bed.owner(&observer, VIP4).unwrap();
        let lost = bed.owned(&observer, victim);
        let killed = observer.now();
        bed.nodes[victim].agent_mut().kill().unwrap();
        bed.wait_moved(&observer, &lost, victim).unwrap();
        sleep(ms(1000));
        let back = observer.now();
        bed.nodes[victim].agent_mut().restart().unwrap();
        sleep(ms(500));
        deaths.push((bed.nodes[victim].mac(), lost, killed, back));
    }
    let takeover = mean_takeover(&bed);
    // A node that has just started saw the victim's last renewal when it read it first, and others
    // revoke it sooner.
    assert!(
        times.duration / 2 <= takeover && takeover < times.duration + TAKEOVER,
        "{takeover:?} by xvip_takeover_duration_seconds"
    );
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    let (mut failovers, mut gaps) = (Vec::new(), Vec::new());
    for (dead, lost, killed, back) in deaths {
        for vip in lost {
            let after = observed.timeline(vip).since(killed).before(back);
            let silent = after.last_by(dead).unwrap_or(killed) - killed;
            assert!(
                silent < times.hold + ms(10),
                "{vip} answered for {silent:?}"
            );
            let mut reigns = after.reigns().into_iter().filter(|reign| reign.by != dead);
            failovers.push(reigns.next().unwrap().from - killed);
            gaps.push(after.longest_gap());
        }
    }
    let duration = times.duration;
    let median = print_distribution(
        &format!("kill -9 to the successor's first answer, L = {duration:?}"),
        failovers.clone(),
    );
    assert!(median < duration + TAKEOVER / 4, "{failovers:?}");
    assert!(
        failovers
            .iter()
            .all(|failover| *failover < duration + TAKEOVER),
        "{failovers:?}"
    );
    print_distribution(&format!("unanswered meanwhile, L = {duration:?}"), gaps);
}

#[test]
#[ignore = "needs root"]
fn a_killed_node_is_replaced_within_five_seconds_and_never_answers_again() {
    kill_again_and_again(Times::FIVE_SECONDS, 5);
}

#[test]
#[ignore = "needs root"]
fn a_killed_node_is_replaced_within_two_seconds_where_these_are_configured() {
    kill_again_and_again(Times::TWO_SECONDS, 10);
}

#[test]
#[ignore = "needs root"]
fn an_agent_that_is_killed_and_back_within_two_seconds_goes_on_as_if_nothing_were() {
    let (mut bed, observer) = Bed::serving(3, "").unwrap();
    // Whoever came first has every row; the others come by theirs.
    bed.wait_rows_at_rest().unwrap();
    let began = observer.now();
    let owner = bed.owner(&observer, VIP4).unwrap();
    let (rows, holder) = (
        bed.rows().unwrap(),
        bed.session(owner).unwrap()["spec"]["holderIdentity"].clone(),
    );
    bed.nodes[owner].agent_mut().kill().unwrap();
    sleep(ms(2000));
    bed.nodes[owner].agent_mut().restart().unwrap();
    // All of them at once, as an upgrade in place does.
    sleep(ms(1000));
    for node in &mut bed.nodes {
        node.agent_mut().kill().unwrap();
    }
    sleep(ms(500));
    for node in &mut bed.nodes {
        node.agent_mut().respawn().unwrap();
    }
    sleep(ms(6000));
    assert_eq!(
        bed.session(owner).unwrap()["spec"]["holderIdentity"],
        holder
    );
    assert_eq!(bed.rows().unwrap(), rows);
    let observed = observer.finish().unwrap();
    observed.undisturbed(began).unwrap();
}

#[test]
#[ignore = "needs root"]
fn an_agent_that_is_stopped_is_silent_at_its_deadline_and_stays_so_when_it_goes_on() {
    let (bed, observer) = Bed::serving(3, "").unwrap();
    let owner = bed.owner(&observer, VIP4).unwrap();
    observer.finish().unwrap();
    let mac = bed.nodes[owner].mac();
    let quiet = quiet();
    // So many questions tell the deadline to a fraction of a millisecond.
    let observer = Observer::ask(&bed.client, &[VIP4], Duration::from_micros(250)).unwrap();
    // Its deadline is then before anybody else may take over.
    bed.wait_renewed(owner).unwrap();
    let stopped = observer.now();
    bed.nodes[owner].agent().signal(Signal::SIGSTOP).unwrap();
    sleep(ms(50));
    let deadline = bed.deadline(&observer, owner);
    bed.wait_moved(&observer, &[VIP4], owner).unwrap();
    drop(quiet);
    sleep(ms(500));
    let continued = observer.now();
    bed.nodes[owner].agent().signal(Signal::SIGCONT).unwrap();
    sleep(ms(4000));
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    let line = observed.timeline(VIP4);
    let last = line.last_by(mac).unwrap();
    let mut gaps = line.gaps().into_iter().filter(|gap| gap.from > last);
    let first = gaps.next().unwrap().from;
    let successor = line.reigns()[1].from - stopped;
    println!(
        "the deadline was {:?} after the stop; asked {:?} before it: answered; {:?} after it: not; \
         {successor:?} after the stop: by another",
        deadline - stopped,
        deadline.saturating_sub(last),
        first.saturating_sub(deadline),
    );
    assert!(last < deadline + ms(1), "{last:?} after {deadline:?}");
    assert!(first + ms(2) > deadline, "{first:?} before {deadline:?}");
    assert!(successor < Times::FIVE_SECONDS.duration + TAKEOVER);
    assert_eq!(line.since(continued).gaps(), []);
}

#[test]
#[ignore = "needs root"]
fn pauses_of_about_a_lease_end_with_one_answerer() {
    let times = Times::TWO_SECONDS;
    let (bed, observer) = Bed::serving(3, times.config).unwrap();
    for pause in [1500, 1700, 1900, 2000, 2050, 2100, 2200] {
        let owner = bed.owner(&observer, VIP6).unwrap();
        bed.nodes[owner].agent().signal(Signal::SIGSTOP).unwrap();
        sleep(ms(pause));
        bed.nodes[owner].agent().signal(Signal::SIGCONT).unwrap();
        sleep(ms(2500));
        bed.wait_owned(&observer).unwrap();
    }
    observer.finish().unwrap().one_answerer(None).unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_rolling_upgrade_hands_every_vip_over() {
    let (mut bed, observer) = Bed::serving(3, "").unwrap();
    sleep(ms(1000));
    let began = observer.now();
    for index in 0..bed.nodes.len() {
        {
            let _quiet = quiet();
            bed.nodes[index].agent_mut().terminate().unwrap();
            bed.wait_moved(&observer, &VIPS, index).unwrap();
        }
        bed.nodes[index].agent_mut().restart().unwrap();
        // As a DaemonSet waits for the pod to be ready.
        sleep(ms(1500));
    }
    for node in &bed.nodes {
        let lost = node.agent().metric("xvip_session_lost_total", &[]).unwrap();
        assert_eq!(lost, 0.0, "what {} gave back it did not lose", node.name());
    }
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    let mut gaps = Vec::new();
    for vip in VIPS {
        let line = observed.timeline(vip).since(began);
        println!("{vip}: {} reigns", line.reigns().len());
        gaps.extend(line.gaps().iter().map(|gap| gap.length()));
    }
    print_distribution("unanswered at a hand-over", gaps.clone());
    assert!(gaps.iter().all(|gap| *gap <= HAND_OVER), "{gaps:?}");
}

#[test]
#[ignore = "needs root"]
fn a_cordoned_and_an_excluded_node_hand_over_and_get_nothing_back() {
    let (bed, observer) = Bed::serving(3, "").unwrap();
    bed.wait_rows_at_rest().unwrap();
    let quiet = quiet();
    let began = observer.now();
    let cordoned = bed.owner(&observer, VIP4).unwrap();
    bed.cordon(cordoned, true).unwrap();
    bed.wait_moved(&observer, &VIPS, cordoned).unwrap();
    let excluded = bed.owner(&observer, VIP4).unwrap();
    bed.exclude(excluded, true).unwrap();
    bed.wait_moved(&observer, &VIPS, excluded).unwrap();
    drop(quiet);
    let last = bed.owner(&observer, VIP4).unwrap();
    assert!(last != cordoned && last != excluded);
    sleep(ms(1000));
    let moved = observer.now();
    bed.cordon(cordoned, false).unwrap();
    bed.exclude(excluded, false).unwrap();
    sleep(ms(4000));
    let observed = observer.finish().unwrap();
    observed.undisturbed(moved).unwrap();
    let lines = observed.timelines().into_values();
    let gaps: Vec<_> = lines.map(|line| line.since(began).longest_gap()).collect();
    print_distribution("unanswered at a cordon and an exclusion", gaps.clone());
    assert!(gaps.iter().all(|gap| *gap <= HAND_OVER), "{gaps:?}");
}

#[test]
#[ignore = "needs root"]
fn a_node_without_peers_leaves_and_returns_without_a_gap() {
    let (mut bed, observer) = Bed::serving(1, "").unwrap();
    sleep(ms(500));
    let began = observer.now();
    let duration = |bed: &Bed| bed.session(0).unwrap()["spec"]["leaseDurationSeconds"].as_u64();
    for pause in [0, 6000] {
        bed.nodes[0].agent_mut().terminate().unwrap();
        assert_eq!(duration(&bed), Some(60));
        sleep(ms(pause));
        bed.nodes[0].agent_mut().restart().unwrap();
        until("the usual L", || Ok(duration(&bed) == Some(5)), String::new).unwrap();
        sleep(ms(2000));
    }
    observer.finish().unwrap().undisturbed(began).unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_node_that_loses_its_power_is_replaced_and_comes_back_without_a_claim() {
    let times = Times::TWO_SECONDS;
    let (mut bed, observer) = Bed::serving(3, times.config).unwrap();
    let mut returns = Vec::new();
    // The second is on again before anybody has missed it.
    for pause in [3000, 0] {
        let victim = bed.owner(&observer, VIP6).unwrap();
        let lost = bed.owned(&observer, victim);
        let off = observer.now();
        bed.power_off(victim).unwrap();
        sleep(ms(pause));
        bed.reboot(victim, times.config).unwrap();
        let on = observer.now();
        bed.nodes[victim].agent().wait_ready().unwrap();
        sleep(ms(3000));
        bed.wait_owned(&observer).unwrap();
        returns.push((bed.nodes[victim].mac(), lost, off, on));
    }
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    for (mac, lost, off, on) in returns {
        for vip in lost {
            let line = observed.timeline(vip).since(off);
            // What is switched off may answer for some more milliseconds.
            let other = line.reigns().into_iter().find(|reign| reign.by != mac);
            let again = line.since(on).reigns().first().copied();
            let next = other.or(again).unwrap();
            println!("{vip}: off at {off:?}, on at {on:?}, then {next:?}, before it {mac}");
            assert!(
                next.from - off < times.duration + TAKEOVER + (on - off).min(ms(1000)),
                "{vip}"
            );
        }
    }
}

#[test]
#[ignore = "needs root"]
fn a_second_machine_with_the_nodes_name_refuses_to_start() {
    let mut bed = Bed::new(2).unwrap();
    bed.install().unwrap();
    let config = bed.config(0, "");
    bed.start_agent(0, &config).unwrap();
    bed.nodes[0].agent().wait_ready().unwrap();
    bed.create_services().unwrap();
    let observer = Observer::ask(&bed.client, &VIPS, ms(5)).unwrap();
    bed.wait_owned(&observer).unwrap();
    let began = observer.now();
    let config = bed.config(1, "").replace("node: node-2", "node: node-1");
    bed.start_agent(1, &config).unwrap();
    bed.nodes[1]
        .agent()
        .wait_log("another machine with this node's name")
        .unwrap();
    sleep(ms(1000));
    let owner: Mac = bed.nodes[0].mac();
    let observed = observer.finish().unwrap();
    observed.undisturbed(began).unwrap();
    assert_eq!(observed.timeline(VIP4).answerers(), [owner].into());
}
