//! VIPs that are not live here while they are still bound: nobody on the node answers for them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use tests::{
    agent::{self, Agent, MODES, VIP4, VIP6, config, config_of, until},
    golden::{self, Direction, world},
    lan::{CLIENT_MAC, Lan, NODE_MAC, SECOND_MAC},
    observer::observe,
    wire::{Kind, Seen, Wire, arp_request, solicitation},
};
use vip_agent::vip::Mac;

fn client_wire(lan: &Lan) -> Wire {
    Wire::open(&lan.client, "lan0", Duration::from_millis(10)).unwrap()
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
        agent::fence(&lan.node).unwrap();
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
        agent::fence(&lan.node).unwrap();
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
            let time = Duration::from_millis(100);
            let heard = wire.heard(vip.parse().unwrap(), CLIENT_MAC, time).unwrap();
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

/// A node on a LAN as the captures have it, with a second interface on the same LAN. The switch
/// learns nothing, so that every frame reaches every host, whoever it says it is from.
fn golden_lan() -> Lan {
    let mut lan = Lan::new().unwrap();
    let (ours, other) = (Mac(world::OURS), Mac(world::OUR_OTHER));
    lan.plug_node("eth1", other).unwrap();
    let (own4, own6) = (world::OWN4, world::OWN6);
    lan.node
        .run(&format!(
            "ip link set eth0 address {ours} && ip addr flush dev eth0 scope global \
             && ip addr add {own4}/24 dev eth0 && ip addr add {own6}/64 dev eth0 nodad"
        ))
        .unwrap();
    for port in ["eth0", "eth1", "client", "rival"] {
        let deaf = format!("bridge link set dev {port} learning off");
        lan.switch.run(&deaf).unwrap();
    }
    lan
}

fn golden_vips() -> Vec<String> {
    let v4 = [world::VIP4, world::LIVE4, world::FENCED4].map(|vip| vip.to_string());
    let v6 = [world::VIP6, world::LIVE6, world::FENCED6].map(|vip| vip.to_string());
    [v4, v6].concat()
}

/// Frames of the captures that come in, but for those that pretend to be from the node itself.
fn golden_frames() -> Vec<(&'static str, Vec<u8>)> {
    let own = [world::OURS, world::OUR_OTHER];
    golden::cases()
        .into_iter()
        .filter(|case| case.direction == Direction::In)
        .filter(|case| own.iter().all(|mac| case.frame[6..12] != *mac))
        .map(|case| (case.name, case.frame))
        .collect()
}

/// The node claims or answers for one of `vips` in this frame.
fn speaks_for(frame: &[u8], vips: &[IpAddr]) -> bool {
    let own = [world::OURS, world::OUR_OTHER];
    Seen::of(frame).is_some_and(|seen| {
        let claimed = [
            Some(seen.source),
            Some(seen.about).filter(|_| seen.kind == Kind::Answer),
        ];
        own.contains(&seen.from.0) && claimed.into_iter().flatten().any(|it| vips.contains(&it))
    })
}

/// Sends each frame from the client; the names of those after which the rival heard the node
/// speak for a VIP within `patience`.
fn answered(
    lan: &Lan,
    frames: &[(&'static str, Vec<u8>)],
    patience: Duration,
) -> Vec<&'static str> {
    let client = client_wire(lan);
    let rival = Wire::open(&lan.rival, "lan0", Duration::from_millis(2)).unwrap();
    let vips: Vec<IpAddr> = golden_vips()
        .iter()
        .map(|vip| vip.parse().unwrap())
        .collect();
    let mut answered = Vec::new();
    for (name, frame) in frames {
        while rival.receive().unwrap().is_some() {}
        client.send(frame).unwrap();
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Some(heard) = rival.receive().unwrap()
                && speaks_for(&heard, &vips)
            {
                answered.push(*name);
                break;
            }
        }
    }
    answered
}

#[test]
#[ignore = "needs root"]
fn every_golden_question_is_answered_as_by_the_kernel_while_live_and_by_nobody_once_fenced() {
    let frames = golden_frames();
    let lan = golden_lan();
    let vips = golden_vips();
    let with_length = |vip: &String| match vip.contains(':') {
        true => format!("{vip}/128"),
        false => format!("{vip}/32"),
    };
    for vip in vips.iter().map(with_length) {
        lan.node
            .run(&format!("ip addr add {vip} dev eth0"))
            .unwrap();
    }
    let by_kernel = answered(&lan, &frames, Duration::from_millis(60));
    assert!(by_kernel.len() > 50, "{} {by_kernel:?}", by_kernel.len());
    for vip in vips.iter().map(with_length) {
        lan.node
            .run(&format!("ip addr del {vip} dev eth0"))
            .unwrap();
    }
    let listed: Vec<&str> = vips.iter().map(String::as_str).collect();
    let questions: Vec<_> = frames
        .iter()
        .filter(|(name, _)| by_kernel.contains(name))
        .cloned()
        .collect();
    for mode in MODES {
        let _agent = Agent::start(&lan, &config_of(&listed, mode, "")).unwrap();
        let live = answered(&lan, &questions, Duration::from_millis(500));
        let missing = |name: &&&str| !live.contains(*name);
        let missing: Vec<_> = by_kernel.iter().filter(missing).collect();
        assert!(
            missing.is_empty(),
            "{mode}: stricter than the kernel in {missing:?}"
        );

        agent::fence(&lan.node).unwrap();
        let bound = lan.node.run("ip -o addr show dev eth0").unwrap();
        assert!(listed.iter().all(|vip| bound.contains(vip)), "{bound}");
        let silent = answered(&lan, &frames, Duration::from_millis(20));
        assert!(silent.is_empty(), "{mode}: answered {silent:?}");
    }
}
