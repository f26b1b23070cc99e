//! What the agent hears of its LAN: whether it still replies, and who claims what.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    thread,
    time::{Duration, Instant},
};

use tests::{
    agent::{self, Agent, MODES, VIP4, VIP6, config, until},
    kubernetes::{Bed, load_balancer},
    lan::{Lan, NODE_MAC, RIVAL_MAC},
    wire::{Kind, Seen, Wire, arp_request, unsolicited_advertisement},
};
use vip_agent::{
    frame,
    heard::{Heard, Kind as Claim},
    io::listener::Listener,
    vip::{IfIndex, Mac},
};
use vip_common::abi::SLOT_NEVER;

/// The rival is the gateway too: nothing else of the LAN is asked.
const GATEWAYS: [&str; 2] = ["192.0.2.3", "2001:db8::3"];

fn deaf(agent: &Agent) -> f64 {
    agent.metric("xvip_deaf", &["interface=\"eth0\""]).unwrap()
}

fn is_shown(agent: &Agent) -> bool {
    agent.get("/metrics").unwrap().contains("xvip_deaf{")
}

/// Waits until the interface is deaf, or hears; how long it took.
fn wait_deaf(agent: &Agent, state: f64) -> Duration {
    let began = Instant::now();
    until(
        &format!("xvip_deaf to be {state}"),
        || Ok(is_shown(agent) && deaf(agent) == state),
        || agent.log(),
    )
    .unwrap();
    began.elapsed()
}

#[test]
#[ignore = "needs root"]
fn a_gateway_that_falls_silent_makes_the_interface_deaf_until_it_is_back() {
    for gateway in GATEWAYS {
        let lan = Lan::new().unwrap();
        lan.node
            .run(&format!("ip route add default via {gateway} dev eth0"))
            .unwrap();
        let agent = Agent::start(&lan, &config("tc", "")).unwrap();
        wait_deaf(&agent, 0.0);
        // Others on the LAN that speak are neighbours, and known from then on.
        lan.switch.run("ip link set client down").unwrap();
        thread::sleep(Duration::from_secs(3));
        assert_eq!(deaf(&agent), 0.0, "the gateway replies");

        lan.switch.run("ip link set rival down").unwrap();
        let took = wait_deaf(&agent, 1.0);
        assert!(took < Duration::from_secs(5), "{took:?}");
        agent.wait_log("reason=\"Deaf\"").unwrap();

        lan.switch.run("ip link set rival up").unwrap();
        let took = wait_deaf(&agent, 0.0);
        assert!(took < Duration::from_secs(5), "{took:?}");
        agent.wait_log("reason=\"Hears\"").unwrap();
        let lines = agent.log().matches("reason=\"Deaf\"").count();
        assert_eq!(lines, 1, "said once");
    }
}

#[test]
#[ignore = "needs root"]
fn at_rest_one_question_a_second_goes_to_the_gateway_alone() {
    for gateway in GATEWAYS {
        let lan = Lan::new().unwrap();
        lan.node
            .run(&format!("ip route add default via {gateway} dev eth0"))
            .unwrap();
        let _agent = Agent::start(&lan, &config("native", "")).unwrap();
        thread::sleep(Duration::from_secs(1));
        let wire = Wire::open(&lan.rival, "lan0", Duration::from_millis(10)).unwrap();
        let gateway: IpAddr = gateway.parse().unwrap();
        let began = Instant::now();
        let mut asked = Vec::new();
        while began.elapsed() < Duration::from_secs(5) {
            let frame = wire.receive().unwrap();
            if let Some(seen) = frame.as_deref().and_then(Seen::of)
                && seen.kind == Kind::Question
                && seen.about == gateway
                && seen.from == NODE_MAC
            {
                asked.push(seen);
            }
        }
        // What else is heard puts a question off.
        assert!((3..=6).contains(&asked.len()), "{asked:?}");
        assert!(asked.iter().all(|seen| seen.to == RIVAL_MAC), "{asked:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn without_gateway_and_peers_nothing_is_deaf() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("tc", "")).unwrap();
    thread::sleep(Duration::from_secs(3));
    assert!(is_shown(&agent));
    assert_eq!(deaf(&agent), 0.0);
}

/// What a listener in the node's namespace hears while `rival` acts.
fn listen(lan: &Lan, act: impl FnOnce()) -> Vec<(IfIndex, Heard)> {
    let node = &lan.node;
    let (ready, is_ready) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let hearing = scope.spawn(|| {
            node.enter(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                let heard = runtime.block_on(async {
                    let mut listener = Listener::open().unwrap();
                    ready.send(()).unwrap();
                    let mut all = Vec::new();
                    let time = Duration::from_secs(1);
                    let listening = async {
                        loop {
                            all.extend(listener.next().await);
                        }
                    };
                    let ended: Result<(), _> = tokio::time::timeout(time, listening).await;
                    assert!(ended.is_err() && listener.dropped() == 0);
                    all
                });
                Ok(heard)
            })
        });
        is_ready.recv().unwrap();
        act();
        hearing.join().unwrap().unwrap()
    })
}

fn claim(claimed: impl Into<IpAddr>, to: Mac) -> Heard {
    Heard {
        claimed: claimed.into(),
        by: RIVAL_MAC,
        kind: Claim::Claim,
        to,
    }
}

#[test]
#[ignore = "needs root"]
fn a_listener_hears_claims_and_answers_and_nothing_else() {
    let lan = Lan::new().unwrap();
    let (v4, v6): (Ipv4Addr, Ipv6Addr) = (VIP4.parse().unwrap(), VIP6.parse().unwrap());
    let ifindex = lan.ifindex("eth0").unwrap();
    let heard = listen(&lan, || {
        let rival = Wire::open(&lan.rival, "lan0", Duration::from_millis(10)).unwrap();
        rival.send(&arp_request(RIVAL_MAC, v4, v4)).unwrap();
        rival
            .send(&unsolicited_advertisement(RIVAL_MAC, v6))
            .unwrap();
        // A question for another, a wrong checksum, what the node itself says, and data.
        let other = Ipv4Addr::new(192, 0, 2, 77);
        rival.send(&arp_request(RIVAL_MAC, v4, other)).unwrap();
        let mut wrong = unsolicited_advertisement(RIVAL_MAC, v6);
        wrong[56] ^= 1;
        rival.send(&wrong).unwrap();
        let node = Wire::open(&lan.node, "eth0", Duration::from_millis(10)).unwrap();
        node.send(&arp_request(NODE_MAC, other, other)).unwrap();
    });
    let (all, nodes) = (Mac([0xff; 6]), Mac([0x33, 0x33, 0, 0, 0, 1]));
    assert_eq!(
        heard,
        [(ifindex, claim(v4, all)), (ifindex, claim(v6, nodes))]
    );

    let heard = listen(&lan, || {
        lan.node.run("ip neigh flush dev eth0").unwrap();
        for rival in GATEWAYS {
            lan.node.run(&format!("ping -c 1 -W 3 {rival}")).unwrap();
        }
    });
    for rival in GATEWAYS {
        let answer = (ifindex, claim(rival.parse::<IpAddr>().unwrap(), NODE_MAC));
        assert!(heard.contains(&answer), "{heard:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_flood_of_claims_is_dropped_and_counted_and_the_agent_goes_on() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("tc", "")).unwrap();
    let other = Ipv4Addr::new(192, 0, 2, 77);
    let claim = arp_request(RIVAL_MAC, other, other);
    let rival = Wire::open(&lan.rival, "lan0", Duration::from_millis(10)).unwrap();
    agent.signal(nix::sys::signal::Signal::SIGSTOP).unwrap();
    for _ in 0..20_000 {
        rival.send(&claim).unwrap();
    }
    agent.signal(nix::sys::signal::Signal::SIGCONT).unwrap();
    until(
        "drops",
        || Ok(agent.metric("xvip_events_dropped_total", &[])? > 0.0),
        || agent.log(),
    )
    .unwrap();
    agent.wait_state(VIP4, "answering").unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_rival_that_answers_a_probe_is_heard_past_the_programs_of_every_mode() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let _agent = Agent::start(&lan, &config(mode, "")).unwrap();
        let mut tables = agent::tables(&lan.node).unwrap();
        for (key, mut entry) in tables.vips.all().unwrap() {
            entry.slot = SLOT_NEVER;
            tables.vips.upsert(key, entry).unwrap();
        }
        for (vip, length) in [(VIP4, 32), (VIP6, 128)] {
            lan.rival
                .run(&format!("ip addr add {vip}/{length} dev lan0"))
                .unwrap();
        }
        let (v4, v6): (Ipv4Addr, Ipv6Addr) = (VIP4.parse().unwrap(), VIP6.parse().unwrap());
        let heard = listen(&lan, || {
            let node = Wire::open(&lan.node, "eth0", Duration::from_millis(10)).unwrap();
            node.send(&frame::probe(v4, NODE_MAC)).unwrap();
            node.send(&frame::solicitation(v6, NODE_MAC)).unwrap();
        });
        let ifindex = lan.ifindex("eth0").unwrap();
        // A probe for IPv6 has no source: the answer goes to all nodes (RFC 4861, 7.2.4).
        let nodes = Mac([0x33, 0x33, 0, 0, 0, 1]);
        for answer in [claim(v4, NODE_MAC), claim(v6, nodes)] {
            assert!(heard.contains(&(ifindex, answer)), "{mode}: {heard:?}");
        }
    }
}

/// A Service that asks for [`VIP4`] and [`VIP6`].
fn web() -> k8s_openapi::api::core::v1::Service {
    let mut service = load_balancer("web", &["IPv4", "IPv6"]);
    let addresses = ("xvip.io/addresses".to_owned(), format!("{VIP4},{VIP6}"));
    service.metadata.annotations = Some([addresses].into());
    service
}

fn wait_ingress(bed: &Bed, expected: &[&str]) {
    until(
        &format!("web to have {expected:?}"),
        || Ok(bed.ingress("web")? == expected),
        || {
            let service = bed
                .control
                .kubectl(&["get", "svc", "web", "-o", "yaml"], "");
            let logs: Vec<_> = bed.nodes.iter().map(|node| node.agent().log()).collect();
            format!("{service:?} {}", logs.join("\n---\n"))
        },
    )
    .unwrap();
}

#[test]
#[ignore = "needs root"]
fn an_address_that_somebody_on_the_lan_has_is_given_to_no_service_until_it_is_free() {
    let mut bed = Bed::new(1).unwrap();
    bed.install().unwrap();
    for (vip, length) in [(VIP4, 32), (VIP6, 128)] {
        let bind = format!("ip addr add {vip}/{length} dev lan0");
        bed.client.run(&bind).unwrap();
    }
    bed.start_agents("").unwrap();
    bed.create_service(&web()).unwrap();
    thread::sleep(Duration::from_secs(12));
    assert_eq!(bed.ingress("web").unwrap(), [""; 0]);
    let vips = bed.control.kubectl(&["get", "vips"], "").unwrap();
    assert!(!vips.contains(VIP4), "{vips}");
    for (vip, length) in [(VIP4, 32), (VIP6, 128)] {
        let unbind = format!("ip addr del {vip}/{length} dev lan0");
        bed.client.run(&unbind).unwrap();
    }
    wait_ingress(&bed, &[VIP4, VIP6]);
}

/// The node that answers for a VIP by its own account.
fn answerer(bed: &Bed, vip: &str) -> Option<usize> {
    let answers = |index: &usize| {
        let row = bed.nodes[*index].agent().vip(vip).unwrap_or_default();
        row["state"] == "answering" || row["state"] == "unconfirmed"
    };
    (0..bed.nodes.len()).find(answers)
}

#[test]
#[ignore = "needs root"]
fn a_node_that_hears_nobody_hands_over_while_it_reaches_the_api_server() {
    let mut bed = Bed::new(3).unwrap();
    bed.install().unwrap();
    bed.start_agents("").unwrap();
    bed.create_service(&web()).unwrap();
    wait_ingress(&bed, &[VIP4, VIP6]);
    let agreed = || Ok(answerer(&bed, VIP4).is_some());
    until("an owner", agreed, String::new).unwrap();
    let owner = answerer(&bed, VIP4).unwrap();
    let began = Instant::now();
    bed.cut_lan(owner).unwrap();
    let log = || bed.nodes[owner].agent().log();
    until(
        "another owner",
        || Ok(answerer(&bed, VIP4).is_some_and(|node| node != owner)),
        log,
    )
    .unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(deaf(bed.nodes[owner].agent()), 1.0);
    let ready = || bed.nodes[owner].agent().get("/readyz").unwrap();
    assert!(ready().contains("deaf"), "{}", ready());
    for index in (0..bed.nodes.len()).filter(|index| *index != owner) {
        assert_eq!(deaf(bed.nodes[index].agent()), 0.0, "peers hear each other");
    }
    bed.heal_lan(owner).unwrap();
    until("readiness", || Ok(ready().contains(" 200 ")), log).unwrap();
    assert_eq!(deaf(bed.nodes[owner].agent()), 0.0);
}

#[test]
#[ignore = "needs root"]
fn a_rival_that_answers_a_probe_without_the_api_server_is_yielded_to_and_counted() {
    let mut bed = Bed::new(1).unwrap();
    bed.install().unwrap();
    bed.start_agents("").unwrap();
    bed.create_service(&web()).unwrap();
    wait_ingress(&bed, &[VIP4, VIP6]);
    let agent = || bed.nodes[0].agent();
    agent().wait_state(VIP4, "answering").unwrap();
    bed.cut_api(0).unwrap();
    agent().wait_state(VIP4, "unconfirmed").unwrap();
    // A host that says nothing unless it is asked.
    bed.client
        .run(&format!("ip addr add {VIP4}/32 dev lan0"))
        .unwrap();
    let counted = |result: &str| {
        let labels = [format!("vip=\"{VIP4}\""), format!("result=\"{result}\"")];
        agent().metric("xvip_probe_answers_total", &[&labels[0], &labels[1]])
    };
    until(
        "an answer",
        || Ok(counted("claimed")? > 0.0),
        || agent().log(),
    )
    .unwrap();
    agent().wait_state(VIP4, "fenced").unwrap();
    assert_eq!(counted("modest").unwrap(), 0.0);
    assert_eq!(agent().vip(VIP6).unwrap()["state"], "unconfirmed");
    bed.client
        .run(&format!("ip addr del {VIP4}/32 dev lan0"))
        .unwrap();
    bed.heal_api(0).unwrap();
    // For 20 s after the claim.
    agent().wait_state(VIP4, "conflict").unwrap();
    let again = || Ok(agent().log().matches("the kernel answers").count() >= 3);
    until("a second beginning", again, || agent().log()).unwrap();
}
