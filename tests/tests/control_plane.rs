//! VIPs of the API server itself: agents beside an API server each, before and after anything of
//! ours is in the cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{collections::BTreeMap, thread::sleep, time::Duration};

use nix::sys::signal::Signal;
use tests::{
    agent::{VIP4, VIP6, until},
    fetches::{Fetch, Fetches, longest_outage},
    kubernetes::{Stacked, Times, quiet},
    observer::{HAND_OVER, Observed, Observer, TAKEOVER},
};
use vip_agent::vip::Mac;

/// Of a Service, beside the API server's.
const SERVICES: [&str; 2] = ["192.0.2.101", "2001:db8::101"];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Something was done to the owner, and another answered.
struct Move {
    what: &'static str,
    former: Mac,
    at: Duration,
    /// On the clock of the fetches.
    fetching: Duration,
    /// Until the next was done.
    until: Duration,
}

/// What is measured of the moves of one kind.
#[derive(Default)]
struct Moves {
    successors: Vec<Duration>,
    gaps: Vec<Duration>,
    outages: Vec<Duration>,
}

/// Three nodes, whose VIP moves by all that may happen to its owner.
struct Scene {
    stacked: Stacked,
    observer: Observer,
    fetches: Fetches,
    moves: Vec<Move>,
}

impl Scene {
    fn new(more: &str) -> Self {
        let stacked = Stacked::new(3, more).unwrap();
        let observer = stacked.observe().unwrap();
        let kubeconfig = stacked.bed.control.kubeconfig_for(VIP4).unwrap();
        let fetches = Fetches::start(&stacked.bed.client, &kubeconfig).unwrap();
        Self {
            stacked,
            observer,
            fetches,
            moves: Vec::new(),
        }
    }

    fn owner(&self) -> usize {
        self.stacked.owner(&self.observer).unwrap()
    }

    /// Does something to the owner, waits until another answers, and mends it.
    fn moves(
        &mut self,
        what: &'static str,
        fault: impl FnOnce(&mut Stacked, usize),
        mend: impl FnOnce(&mut Stacked, usize),
    ) {
        let quiet = quiet();
        let owner = self.owner();
        let (at, fetching) = (self.observer.now(), self.fetches.now());
        fault(&mut self.stacked, owner);
        self.stacked.wait_moved(&self.observer, owner).unwrap();
        drop(quiet);
        sleep(ms(700));
        self.moves.push(Move {
            what,
            former: self.stacked.bed.nodes[owner].mac(),
            at,
            fetching,
            until: self.observer.now(),
        });
        mend(&mut self.stacked, owner);
        // It is a candidate again, and the others have seen a renewal.
        sleep(ms(1000));
    }

    /// The nodes live on: their agents tell what they did when the test fails.
    fn finish(self) -> (Stacked, Observed, Vec<Fetch>, Vec<Move>) {
        (
            self.stacked,
            self.observer.finish().unwrap(),
            self.fetches.finish(),
            self.moves,
        )
    }
}

/// Of an even number, the greater of the two in the middle.
fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

/// Prints what was measured, worst and median of each kind of fault.
fn measure(
    observed: &Observed,
    fetched: &[Fetch],
    moves: &[Move],
) -> BTreeMap<&'static str, Moves> {
    let mut kinds: BTreeMap<_, Moves> = BTreeMap::new();
    for it in moves {
        let kind = kinds.entry(it.what).or_default();
        for vip in [VIP4, VIP6] {
            let after = observed.timeline(vip).since(it.at).before(it.until);
            let reigns = after.reigns();
            let next = reigns.iter().find(|reign| reign.by != it.former);
            kind.successors.push(next.unwrap().from - it.at);
            kind.gaps.push(after.longest_gap());
        }
        let until = it.fetching + (it.until - it.at);
        kind.outages
            .push(longest_outage(fetched, it.fetching, until));
    }
    let print = |what: &str, which: &str, times: &[Duration]| {
        println!(
            "{what}: {which}: median {} ms, worst {} ms, of {}",
            median(times).as_millis(),
            times.iter().max().unwrap().as_millis(),
            times.len()
        );
    };
    for (what, kind) in &kinds {
        print(what, "first answer of the successor", &kind.successors);
        print(what, "VIP unanswered", &kind.gaps);
        print(what, "no new TLS connection to /version", &kind.outages);
    }
    kinds
}

const SERVER_KILLED: &str = "API server killed";
const SERVER_FAILS: &str = "/readyz fails";
const LEAVES: &str = "agent leaves";
const DIES: &str = "agent killed and dead";

#[test]
#[ignore = "needs root"]
fn the_vip_goes_to_a_node_whose_api_server_is_ready_and_two_never_answer() {
    let times = Times::TWO_SECONDS;
    let mut scene = Scene::new(times.config);
    // An agent that is back in time goes on as if nothing were.
    let began = scene.observer.now();
    let owner = scene.owner();
    let agent = scene.stacked.bed.nodes[owner].agent_mut();
    agent.kill().unwrap();
    sleep(ms(500));
    agent.restart().unwrap();
    sleep(ms(1500));
    let undisturbed = scene.observer.now();
    for _ in 0..2 {
        scene.moves(
            SERVER_KILLED,
            |stacked, owner| stacked.servers[owner].kill().unwrap(),
            |stacked, owner| {
                stacked.servers[owner].run().unwrap();
                stacked.wait_server(owner).unwrap();
            },
        );
    }
    // It loses its etcd.
    for _ in 0..3 {
        scene.moves(
            SERVER_FAILS,
            |stacked, owner| stacked.bed.cut_api(owner).unwrap(),
            |stacked, owner| stacked.bed.heal_api(owner).unwrap(),
        );
    }
    for _ in 0..3 {
        scene.moves(
            LEAVES,
            |stacked, owner| stacked.bed.nodes[owner].agent_mut().terminate().unwrap(),
            |stacked, owner| stacked.bed.nodes[owner].agent_mut().restart().unwrap(),
        );
    }
    for _ in 0..3 {
        scene.moves(
            DIES,
            |stacked, owner| stacked.bed.nodes[owner].agent_mut().kill().unwrap(),
            |stacked, owner| stacked.bed.nodes[owner].agent_mut().restart().unwrap(),
        );
    }
    let (_nodes, observed, fetched, moves) = scene.finish();
    let kinds = measure(&observed, &fetched, &moves);
    observed.one_answerer(None).unwrap();
    for vip in [VIP4, VIP6] {
        let first = observed.timeline(vip).since(began).before(undisturbed);
        assert_eq!((first.gaps(), first.reigns().len()), (vec![], 1), "{vip}");
    }
    let all = |what: &str, most: Duration| {
        let kind = &kinds[what];
        assert!(kind.successors.iter().all(|it| *it <= most), "{what}");
    };
    all(DIES, times.duration + TAKEOVER);
    // Three answers of a second at most, and a register that is cut off, too.
    all(SERVER_FAILS, ms(5000) + TAKEOVER);
    // Sooner than a lease that nobody gives back.
    for what in [SERVER_KILLED, LEAVES] {
        all(what, times.duration);
        let successors = &kinds[what].successors;
        assert!(
            median(successors) <= times.duration / 2,
            "{what}: {successors:?}"
        );
    }
    for what in [SERVER_KILLED, SERVER_FAILS, LEAVES] {
        let gaps = &kinds[what].gaps;
        assert!(median(gaps) <= HAND_OVER, "{what}: {gaps:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn the_only_node_answers_before_anything_is_installed_and_restarts_without_a_gap() {
    let mut stacked = Stacked::new(1, "").unwrap();
    let observer = stacked.observe().unwrap();
    let kubeconfig = stacked.bed.control.kubeconfig_for(VIP4).unwrap();
    let fetches = Fetches::start(&stacked.bed.client, &kubeconfig).unwrap();
    let began = observer.now();
    for vip in [VIP4, VIP6] {
        let row = stacked.bed.nodes[0].agent().wait_state(vip, "answering");
        let row = row.unwrap();
        assert_eq!(row["owner"], "node-1", "{row}");
    }
    let by_ipv6 = format!(
        "curl -s -m 2 --cacert {} --connect-to kubernetes:6443:[{VIP6}]:6443 \
         https://kubernetes:6443/readyz",
        stacked.bed.control.authority().display()
    );
    assert_eq!(stacked.bed.client.run(&by_ipv6).unwrap(), "ok");
    let lease = stacked.bed.control_plane_lease().unwrap();
    let holder = lease["spec"]["holderIdentity"].clone();
    let agent = stacked.bed.nodes[0].agent_mut();
    agent.kill().unwrap();
    sleep(ms(2000));
    agent.restart().unwrap();
    sleep(ms(1000));
    // An upgrade.
    agent.terminate().unwrap();
    let duration = |stacked: &Stacked| {
        stacked.bed.control_plane_lease().unwrap()["spec"]["leaseDurationSeconds"].as_u64()
    };
    assert_eq!(duration(&stacked), Some(60));
    sleep(ms(6000));
    stacked.bed.nodes[0].agent_mut().restart().unwrap();
    let usual = || Ok(duration(&stacked) == Some(5));
    until("the usual L", usual, String::new).unwrap();
    let lease = stacked.bed.control_plane_lease().unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], holder);
    sleep(ms(1000));
    observer.finish().unwrap().undisturbed(began).unwrap();
    let fetched = fetches.finish();
    let failed: Vec<_> = fetched
        .iter()
        .filter(|fetch| fetch.error.is_some())
        .collect();
    println!("{} fetches through the VIP", fetched.len());
    assert!(failed.is_empty() && fetched.len() > 20, "{failed:?}");
    assert_eq!(longest_outage(&fetched, ms(0), Duration::MAX), ms(0));
    // What is not there is looked for, and not asked for on and on.
    let calls = stacked.bed.control.calls_at(&stacked.bed.nodes[0]).unwrap();
    let refused = calls.iter().filter(|call| [403, 404].contains(&call.code));
    let of_agent = calls.iter().filter(|call| call.by == "admin");
    let (refused, of_agent) = (refused.count(), of_agent.count());
    println!("{of_agent} calls to the node's API server by its agents, {refused} refused");
    // In some 13 seconds, by three processes; a watch and the client's own calls are among them.
    assert!((3..=15).contains(&refused), "{refused} calls were refused");
}

#[test]
#[ignore = "needs root"]
fn frozen_api_servers_move_nothing_and_what_is_installed_later_is_served_by_the_same_agents() {
    let times = Times::TWO_SECONDS;
    let mut stacked = Stacked::new(3, times.config).unwrap();
    let bed = &stacked.bed;
    let observer = stacked.observe().unwrap();
    let began = observer.now();
    let pids = || bed.nodes.iter().map(|node| node.agent().pid());
    let before: Vec<_> = pids().collect();
    for server in &stacked.servers {
        server.signal(Signal::SIGSTOP).unwrap();
    }
    // Longer than L, and than `/readyz` may stay without an answer.
    sleep(ms(6000));
    for server in &stacked.servers {
        server.signal(Signal::SIGCONT).unwrap();
    }
    // Longer than L again.
    sleep(ms(3000));

    bed.install().unwrap();
    bed.create_services().unwrap();
    let of_services = Observer::ask(&bed.client, &SERVICES, ms(5)).unwrap();
    let answered = || SERVICES.map(|vip| of_services.latest(vip).is_some());
    until(
        "the Services' VIPs to be answered",
        || Ok(answered() == [true; 2]),
        || format!("{:?} {}", answered(), bed.nodes[0].agent().log()),
    )
    .unwrap();
    assert_eq!(pids().collect::<Vec<_>>(), before);

    // The API server's have objects too, and the Service that asks for them does not get them.
    let owner = stacked.owner(&observer).unwrap();
    let name = bed.nodes[owner].name();
    for vip in ["192.0.2.100", "2001-db8--100"] {
        let shown = || bed.vip_object(vip).unwrap_or_default();
        until(
            "the Vip of the control plane",
            || Ok(shown()["status"]["node"] == *name && shown()["spec"]["controlPlane"] == true),
            || shown().to_string(),
        )
        .unwrap();
    }
    let refused = || {
        let told = [
            "get",
            "events",
            "-n",
            "default",
            "-o",
            "jsonpath={..note}{..message}",
        ];
        bed.control.kubectl(&told, "").unwrap()
    };
    until(
        "the refusal",
        || Ok(refused().contains("API server")),
        refused,
    )
    .unwrap();
    assert_eq!(bed.ingress("web-0").unwrap(), [""; 0]);
    // Also when they begin anew: before all is known, nothing of what was is taken away.
    let quiet = quiet();
    let restarted = of_services.now();
    for node in &mut stacked.bed.nodes {
        node.agent_mut().kill().unwrap();
        node.agent_mut().respawn().unwrap();
    }
    sleep(ms(3000));
    drop(quiet);
    let observed = observer.finish().unwrap();
    observed.undisturbed(began).unwrap();
    let observed = of_services.finish().unwrap();
    observed.undisturbed(restarted).unwrap();
}
