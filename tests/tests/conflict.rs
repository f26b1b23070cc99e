//! Rivals that claim a VIP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    thread,
    time::Duration,
};

use tests::{
    agent::{Agent, MODES, VIP4, VIP6, config},
    lan::{CLIENT_MAC, Lan, NODE_MAC, RIVAL_MAC},
    wire::{Wire, arp_request, unsolicited_advertisement},
};
use vip_agent::vip::Mac;

/// When, and from whom, the client heard something of `about` within `time`, claims and all.
fn heard(wire: &Wire, about: IpAddr, time: Duration) -> Vec<(Duration, Mac)> {
    wire.heard(about, CLIENT_MAC, time).unwrap()
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
