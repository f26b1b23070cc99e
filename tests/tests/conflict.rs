//! Rivals that claim a VIP, and VIPs that are fenced while they are still bound.
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
    lan::{CLIENT_MAC, Lan, NODE_MAC, RIVAL_MAC, SECOND_MAC},
    observer::observe,
    wire::{Kind, Seen, Wire, arp_request, solicitation, unsolicited_advertisement},
};
use vip_agent::vip::Mac;
use vip_common::abi::SLOT_NEVER;

/// When, and from whom, the client heard something of `about` within `time`, claims and all.
fn heard(wire: &Wire, about: IpAddr, time: Duration) -> Vec<(Duration, Mac)> {
    let began = Instant::now();
    let mut heard = Vec::new();
    while began.elapsed() < time {
        if let Some(frame) = wire.receive().unwrap()
            && let Some(seen) = Seen::of(&frame)
            && seen.source == about
            && seen.from != CLIENT_MAC
        {
            heard.push((began.elapsed(), seen.from));
        }
    }
    heard
}

fn client_wire(lan: &Lan) -> Wire {
    Wire::open(&lan.client, "lan0", Duration::from_millis(10)).unwrap()
}

fn rival_wire(lan: &Lan) -> Wire {
    Wire::open(&lan.rival, "lan0", Duration::from_millis(10)).unwrap()
}

fn claims() -> [(IpAddr, Vec<u8>); 2] {
    let (v4, v6): (Ipv4Addr, Ipv6Addr) = (VIP4.parse().unwrap(), VIP6.parse().unwrap());
    [
        (v4.into(), arp_request(RIVAL_MAC, v4, v4)),
        (v6.into(), unsolicited_advertisement(RIVAL_MAC, v6)),
    ]
}

#[test]
#[ignore = "needs root"]
fn a_rival_is_answered_once_in_ten_seconds_and_reported_and_the_client_keeps_our_mac() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let agent = Agent::start(&lan, &config(mode, "")).unwrap();
        for vip in [VIP4, VIP6] {
            lan.client.run(&format!("ping -c 1 -W 3 {vip}")).unwrap();
        }
        // Between the announcements of 4 and 8 s after the start: who speaks then, defends.
        thread::sleep(Duration::from_millis(4700));
        let (client, rival) = (client_wire(&lan), rival_wire(&lan));
        for (vip, claim) in claims() {
            rival.send(&claim).unwrap();
            let macs: Vec<Mac> = heard(&client, vip, Duration::from_millis(300))
                .into_iter()
                .map(|(_, mac)| mac)
                .collect();
            assert_eq!(macs, [RIVAL_MAC, NODE_MAC], "the claim, then the defence");
            // The second within the interval is counted, and nothing else.
            rival.send(&claim).unwrap();
            let macs: Vec<Mac> = heard(&client, vip, Duration::from_millis(300))
                .into_iter()
                .map(|(_, mac)| mac)
                .collect();
            assert_eq!(macs, [RIVAL_MAC]);
        }
        assert_eq!(agent.frames("defended").unwrap(), 2.0);
        for (vip, claim) in claims() {
            let row = agent.wait_state(&vip.to_string(), "conflict").unwrap();
            assert_eq!(row["conflicts"], 2, "{row}");
            let label = format!("vip=\"{vip}\"");
            let counted = agent.metric("xvip_conflicts_total", &[&label]).unwrap();
            assert_eq!(counted, 2.0);
            let told = format!("{RIVAL_MAC} claims the VIP too: defended vip={vip}");
            agent.wait_log(&told).unwrap();
            drop(claim);
        }
        // 10 s after the first it is defended again: the client's table is right for good.
        thread::sleep(Duration::from_secs(10));
        for (vip, claim) in claims() {
            rival.send(&claim).unwrap();
            thread::sleep(Duration::from_millis(100));
            let entry = lan.client.run(&format!("ip neigh show {vip} dev lan0"));
            let entry = entry.unwrap();
            assert!(entry.contains(&NODE_MAC.to_string()), "{entry}");
            lan.client.run(&format!("ping -c 1 -W 3 {vip}")).unwrap();
        }
        assert_eq!(agent.frames("defended").unwrap(), 4.0);
    }
}

#[test]
#[ignore = "needs root"]
fn a_rivals_request_for_another_is_answered_to_by_an_announcement_of_the_agent() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("native", "")).unwrap();
    thread::sleep(Duration::from_millis(4700));
    let (client, rival) = (client_wire(&lan), rival_wire(&lan));
    let vip: Ipv4Addr = VIP4.parse().unwrap();
    rival
        .send(&arp_request(RIVAL_MAC, vip, [192, 0, 2, 2].into()))
        .unwrap();
    let heard = heard(&client, vip.into(), Duration::from_millis(800));
    assert!(heard.iter().any(|(_, mac)| *mac == NODE_MAC), "{heard:?}");
    agent.wait_state(VIP4, "conflict").unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_conflict_ends_in_the_status_when_the_rival_is_quiet() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("tc", "")).unwrap();
    for (_, claim) in claims() {
        rival_wire(&lan).send(&claim).unwrap();
    }
    agent.wait_state(VIP4, "conflict").unwrap();
    thread::sleep(Duration::from_secs(10));
    agent.wait_state(VIP4, "answering").unwrap();
    agent.wait_state(VIP6, "answering").unwrap();
}

/// Takes the right to answer from every VIP; the addresses stay bound.
fn fence(lan: &Lan) {
    let mut tables = agent::tables(&lan.node).unwrap();
    for (key, mut entry) in tables.vips.all().unwrap() {
        entry.slot = SLOT_NEVER;
        tables.vips.upsert(key, entry).unwrap();
    }
}

/// Asks for both VIPs with one to four priority tags, and counts what the client hears of them.
fn answers_to_tagged(lan: &Lan) -> usize {
    let wire = client_wire(lan);
    let questions = [
        arp_request(CLIENT_MAC, [192, 0, 2, 2].into(), VIP4.parse().unwrap()),
        solicitation(
            CLIENT_MAC,
            "2001:db8::2".parse().unwrap(),
            VIP6.parse().unwrap(),
        ),
    ];
    for mut frame in questions {
        for _tags in 1..=4 {
            frame.splice(12..12, [0x81, 0x00, 0x00, 0x00]);
            wire.send(&frame).unwrap();
        }
    }
    let vips = [VIP4, VIP6].map(|vip| vip.parse().unwrap());
    let until = Instant::now() + Duration::from_millis(300);
    let mut answers = 0;
    while Instant::now() < until {
        if let Some(frame) = wire.receive().unwrap()
            && let Some(seen) = Seen::of(&frame)
            && seen.kind == Kind::Answer
            && seen.to == CLIENT_MAC
            && vips.contains(&seen.about)
        {
            answers += 1;
        }
    }
    answers
}

#[test]
#[ignore = "needs root"]
fn a_vip_that_is_fenced_and_still_bound_is_answered_on_no_interface_of_the_node() {
    for mode in MODES {
        let mut lan = Lan::new().unwrap();
        lan.plug_node("eth1", SECOND_MAC).unwrap();
        let agent = Agent::start(&lan, &config(mode, "")).unwrap();
        observe(&lan, &[VIP4, VIP6], Duration::from_millis(300))
            .unwrap()
            .complete(NODE_MAC)
            .unwrap();
        assert!(answers_to_tagged(&lan) >= 2, "priority tags are no tags");
        fence(&lan);
        let bound = lan.node.run("ip -o addr show dev eth0").unwrap();
        assert!(bound.contains(VIP4) && bound.contains(VIP6), "still bound");
        let fenced = agent.frames("fenced").unwrap();
        let observed = observe(&lan, &[VIP4, VIP6], Duration::from_secs(1)).unwrap();
        observed.silent().unwrap();
        // Every question reaches both interfaces of the node.
        let fenced = agent.frames("fenced").unwrap() - fenced;
        assert_eq!(fenced, 2.0 * observed.questions.len() as f64);

        assert_eq!(answers_to_tagged(&lan), 0);
    }
}

#[test]
#[ignore = "needs root"]
fn the_nodes_own_traffic_is_unharmed_by_a_fenced_vip_and_carries_its_own_address() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let agent = Agent::start(&lan, &config(mode, "")).unwrap();
        fence(&lan);
        let wire = client_wire(&lan);
        for (client, vip) in [("192.0.2.2", VIP4), ("2001:db8::2", VIP6)] {
            lan.node.run("ip neigh flush dev eth0").unwrap();
            lan.node.run(&format!("ping -c 1 -W 3 {client}")).unwrap();
            // With the VIP as source, the question for the client would carry it. The client
            // answers the node's own address; where its echo goes is not our affair.
            lan.node.run("ip neigh flush dev eth0").unwrap();
            let command = format!("ping -c 1 -W 1 -I {vip} {client} || true");
            lan.node.run(&command).unwrap();
            let entry = format!("ip neigh show {client} dev eth0");
            let entry = lan.node.run(&entry).unwrap();
            assert!(entry.contains(&CLIENT_MAC.to_string()), "{entry}");
            let heard = heard(&wire, vip.parse().unwrap(), Duration::from_millis(100));
            assert_eq!(heard, [], "{vip} as sender");
        }
        until(
            "rewritten senders",
            || Ok(agent.frames("egress_rewritten")? >= 2.0),
            || agent.get("/metrics").unwrap_or_default(),
        )
        .unwrap();
    }
}
