//! Taking the place of a load balancer that binds its addresses and lets the kernel answer, as
//! kube-vip does, on the light bed: its state is set up by hand, and for the API server's VIP the
//! real one runs, too. `tests/tests/moving` moves a real cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    env,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use serde_json::json;
use tests::{
    agent::{until, until_within},
    kubernetes::{Bed, Daemon, PORT, Stacked, User, load_balancer},
    netns::BedError,
    observer::Observer,
};

const VIPS: [&str; 2] = ["192.0.2.100", "2001:db8::100"];
/// Between two questions. Each has a sender of its own, and a kernel that answers keeps a neighbour
/// for each: a thousand fill its table (`gc_thresh3`).
const PAUSE: Duration = Duration::from_millis(25);
/// The node that kube-vip has made its leader.
const LEADER: usize = 1;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Binds or unbinds the VIPs on a node, as kube-vip does.
fn kube_vip(bed: &Bed, node: usize, verb: &str) {
    for vip in VIPS {
        let net = match vip.contains(':') {
            true => format!("{vip}/128"),
            false => format!("{vip}/32"),
        };
        let nodad = if verb == "add" && vip.contains(':') {
            "nodad"
        } else {
            ""
        };
        let change = format!("ip address {verb} {net} dev eth0 {nodad}");
        bed.nodes[node].peer().run(&change).unwrap();
    }
}

/// A Service whose addresses stand in its status, as another load balancer wrote them.
fn served_by_another(bed: &Bed) {
    let mut service = load_balancer("web", &["IPv4", "IPv6"]);
    if let Some(spec) = &mut service.spec {
        spec.load_balancer_class = None;
    }
    bed.create_service(&service).unwrap();
    let ingress = VIPS.map(|vip| json!({"ip": vip}));
    let status = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
    let patch = [
        "patch",
        "service",
        "web",
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ];
    bed.control.kubectl(&patch, "").unwrap();
}

/// A bed where kube-vip serves both VIPs on [`LEADER`], and no agent runs.
fn bed() -> Bed {
    let bed = Bed::new(3).unwrap();
    bed.install().unwrap();
    kube_vip(&bed, LEADER, "add");
    served_by_another(&bed);
    bed
}

fn start(bed: &mut Bed, node: usize) {
    let config = bed.config(node, "adopt: [kube-vip]\n");
    bed.start_agent(node, &config).unwrap();
    bed.nodes[node].agent().wait_ready().unwrap();
}

fn answers(bed: &Bed, node: usize, vip: &str) -> bool {
    bed.nodes[node].agent().vip(vip).unwrap()["state"] == "answering"
}

/// A minute after their adoption the VIPs are like any other: their rows are the buckets'.
fn handed_back(bed: &Bed) {
    let observer = Observer::ask(&bed.client, &VIPS, PAUSE).unwrap();
    let own_rows = || -> Result<usize, BedError> {
        let rows = bed.rows()?;
        let of_vips = rows
            .iter()
            .filter(|(about, _)| VIPS.iter().any(|vip| about.contains(vip)));
        Ok(of_vips.count())
    };
    assert_eq!(
        own_rows().unwrap(),
        VIPS.len(),
        "adopted by rows of their own"
    );
    let minute = Duration::from_secs(70);
    let shown = || format!("{:?}", bed.rows());
    until_within(
        minute,
        "the rows to go back",
        || Ok(own_rows()? == 0),
        shown,
    )
    .unwrap();
    sleep(ms(1000));
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    for vip in VIPS {
        let gap = observed.timeline(vip).longest_gap();
        println!("{vip}: unanswered for {gap:.1?} when its row went back");
        assert!(gap < ms(500), "{vip}: {gap:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_vip_that_another_load_balancer_answers_for_is_adopted_in_place_without_a_gap_or_a_second_answer()
 {
    let mut bed = bed();
    let observer = Observer::ask(&bed.client, &VIPS, PAUSE).unwrap();
    sleep(ms(300));
    // The first agents have no part in it: they hold every bucket, ask, and hear the leader.
    start(&mut bed, 0);
    start(&mut bed, 2);
    sleep(ms(3000));
    for vip in VIPS {
        assert!(!answers(&bed, 0, vip) && !answers(&bed, 2, vip), "{vip}");
    }
    let adopts = observer.now();
    start(&mut bed, LEADER);
    for vip in VIPS {
        bed.nodes[LEADER]
            .agent()
            .wait_state(vip, "answering")
            .unwrap();
    }
    let adopted = observer.now();
    println!("its agent started at {adopts:.3?}, adopted at {adopted:.3?}");
    // The page about the move waits for the names of the nodes; others learn by their own watches.
    for vip in VIPS {
        let named = || {
            let object = bed.vip_object(&vip.replace(':', "-"))?;
            Ok(object["status"]["node"] == *bed.nodes[LEADER].name())
        };
        until("the node's name", named, || format!("{:?}", bed.vips())).unwrap();
    }
    sleep(ms(500));
    // kube-vip ends everywhere; before that another of its processes becomes the leader.
    kube_vip(&bed, LEADER, "del");
    kube_vip(&bed, 0, "add");
    sleep(ms(2000));
    kube_vip(&bed, 0, "del");
    sleep(ms(1000));
    let observed = observer.finish().unwrap();
    observed.undisturbed(ms(200)).unwrap();
    let mac = bed.nodes[LEADER].mac();
    for vip in VIPS {
        assert_eq!(observed.timeline(vip).answerers(), [mac].into(), "{vip}");
    }
    // kube-vip's own address is ours now, and came back when it was removed.
    let bound = bed.nodes[LEADER]
        .peer()
        .run("ip -d -o address show dev eth0")
        .unwrap();
    for vip in VIPS {
        let line = bound
            .lines()
            .find(|line| line.contains(vip))
            .unwrap_or_default();
        assert!(line.contains("dynamic noprefixroute"), "{vip}: {bound}");
    }
    handed_back(&bed);
}

#[test]
#[ignore = "needs root"]
fn when_the_node_that_answers_has_no_agent_its_vips_are_taken_once_it_is_silent() {
    let mut bed = bed();
    start(&mut bed, 0);
    start(&mut bed, 2);
    let observer = Observer::ask(&bed.client, &VIPS, PAUSE).unwrap();
    sleep(ms(3000));
    let ended = observer.now();
    kube_vip(&bed, LEADER, "del");
    let taken = |vip: &str| answers(&bed, 0, vip) || answers(&bed, 2, vip);
    let all = || Ok(VIPS.iter().all(|vip| taken(vip)));
    let shown = || format!("{:?}", bed.nodes[0].agent().status());
    until("a node of ours to answer", all, shown).unwrap();
    sleep(ms(500));
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    for vip in VIPS {
        let line = observed.timeline(vip);
        assert_eq!(line.clone().before(ended).gaps(), [], "{vip}");
        let gap = line.longest_gap();
        println!("{vip}: unanswered for {gap:.1?} after kube-vip ended");
        assert!(gap < ms(2500), "{vip}: {gap:?}");
    }
}

/// Where the real kube-vip is, as `cargo xtask test` says it.
fn real_kube_vip() -> Option<PathBuf> {
    let program = env::var_os("XVIP_KUBE_VIP").map(PathBuf::from)?;
    program.is_file().then_some(program)
}

/// The real kube-vip as the VIPs' static pod on a control-plane node.
fn start_kube_vip(bed: &Bed, program: &Path, node: usize) -> Daemon {
    let address = VIPS.join(",");
    let kubeconfig = bed.control.kubeconfig(User::Admin).display().to_string();
    let (port, name) = (PORT.to_string(), bed.nodes[node].name());
    let environment = [
        ("address", &*address),
        ("port", &*port),
        ("vip_nodename", &*name),
        ("k8s_config_file", &*kubeconfig),
        ("vip_interface", "eth0"),
        ("vip_subnet", "32,128"),
        ("vip_arp", "true"),
        ("cp_enable", "true"),
        ("cp_namespace", "kube-system"),
        ("svc_enable", "false"),
        ("vip_leaderelection", "true"),
        ("vip_leasename", "plndr-cp-lock"),
        ("vip_leaseduration", "5"),
        ("vip_renewdeadline", "3"),
        ("vip_retryperiod", "1"),
    ];
    let mut arguments: Vec<String> = environment
        .iter()
        .map(|(variable, value)| format!("{variable}={value}"))
        .collect();
    arguments.extend([program.display().to_string(), "manager".to_owned()]);
    let log = bed.control.directory().join(format!("kube-vip-{name}.log"));
    let peer = bed.nodes[node].peer();
    Daemon::start(peer, Path::new("/usr/bin/env"), arguments, log).unwrap()
}

/// Who answers for the API server's VIP before us, on [`LEADER`] first.
enum Former {
    /// The real kube-vip, on two nodes: its leader and a follower.
    Real(PathBuf, Vec<Daemon>),
    /// Its state, set up by hand.
    ByHand,
}

impl Former {
    fn find() -> Self {
        match real_kube_vip() {
            Some(program) => Self::Real(program, Vec::new()),
            None => {
                println!("kube-vip could not be built here: its state is set up by hand");
                Self::ByHand
            }
        }
    }

    fn start(&mut self, bed: &Bed, node: usize) {
        match self {
            Self::Real(program, running) => running.push(start_kube_vip(bed, program, node)),
            Self::ByHand if node == LEADER => kube_vip(bed, node, "add"),
            Self::ByHand => {}
        }
    }

    /// The leader ends; the other takes over what it has left, and binds beside us.
    fn end(&mut self, bed: &Bed) {
        match self {
            Self::Real(_, running) => running[0].terminate().unwrap(),
            Self::ByHand => {
                kube_vip(bed, LEADER, "del");
                kube_vip(bed, 0, "add");
            }
        }
        let bound = || {
            let said = bed.nodes[0].peer().run("ip -o address show dev eth0")?;
            Ok(said.contains(VIPS[0]))
        };
        let former = &*self;
        let last_words = || match former {
            Self::Real(_, running) => running[1].last_words(),
            Self::ByHand => String::new(),
        };
        until("the other kube-vip to bind", bound, last_words).unwrap();
        sleep(ms(2000));
        match self {
            Self::Real(_, running) => running[1].terminate().unwrap(),
            Self::ByHand => kube_vip(bed, 0, "del"),
        }
    }
}

#[test]
#[ignore = "needs root"]
fn the_api_servers_vip_is_adopted_where_kube_vip_answers_for_it_and_nobody_notices() {
    let mut stacked = Stacked::without_agents(3).unwrap();
    let mut former = Former::find();
    former.start(&stacked.bed, LEADER);
    let observer = Observer::ask(&stacked.bed.client, &VIPS, PAUSE * 4).unwrap();
    stacked.wait_answered(&observer).unwrap();
    former.start(&stacked.bed, 0);
    let began = observer.now();
    // The others are candidates first, and leave the Lease alone.
    for node in [0, 2, LEADER] {
        stacked.join(node, "adopt: [kube-vip]\n").unwrap();
        sleep(ms(3000));
    }
    let lease = stacked.bed.control_plane_lease().unwrap();
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap();
    assert!(
        holder.starts_with(&stacked.bed.nodes[LEADER].name()),
        "{holder}"
    );
    // Who might hold an earlier Lease is not known: the first answer comes after a minute.
    for vip in VIPS {
        let answering = || Ok(stacked.bed.nodes[LEADER].agent().vip(vip)?["state"] == "answering");
        let shown = || format!("{:?}", stacked.bed.nodes[LEADER].agent().status());
        until_within(Duration::from_secs(70), "the adoption", answering, shown).unwrap();
    }
    former.end(&stacked.bed);
    sleep(ms(1000));
    let observed = observer.finish().unwrap();
    observed.undisturbed(began).unwrap();
    let mac = stacked.bed.nodes[LEADER].mac();
    for vip in VIPS {
        assert_eq!(observed.timeline(vip).answerers(), [mac].into(), "{vip}");
    }
}
