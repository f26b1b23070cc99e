//! The agent serves VIPs of both families: what clients, the node's stack and bpftool see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{thread, time::Duration};

use tests::{
    agent::{self, Agent, MODES, PINS, VIP4, VIP6, config, config_of, until},
    lan::{CLIENT_MAC, Lan, NODE_MAC, RIVAL_MAC},
    observer::{Observer, observe},
    wire::{Wire, arp_request, solicitation, unsolicited_advertisement},
};

/// What crashed kube-vip: a prefix for IPv6 alone, and an IPv4 address.
fn prefixed(more: &str) -> String {
    format!("prefix: \"128\"\n{more}")
}

#[test]
#[ignore = "needs root"]
fn vips_of_both_families_are_answered_by_the_programs_and_not_by_the_stack() {
    for mode in MODES {
        // With `bind: none` the stack knows no address that it could answer for.
        for more in ["", "bind: none\n"] {
            let lan = Lan::new().unwrap();
            let agent = Agent::start(&lan, &config(mode, &prefixed(more))).unwrap();
            assert_eq!(agent.status().unwrap()["interfaces"][0]["attach"], mode);
            let before = agent.frames("answered").unwrap();
            let observed = observe(&lan, &[VIP4, VIP6], Duration::from_millis(500)).unwrap();
            observed.complete(NODE_MAC).unwrap();
            let answered = agent.frames("answered").unwrap() - before;
            assert_eq!(answered, observed.questions.len() as f64);
            assert_eq!(agent.frames("left").unwrap(), 0.0);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn generic_mode_answers_defends_survives_kill_and_fences_like_the_others() {
    let lan = Lan::new().unwrap();
    let mut agent = Agent::start(&lan, &config("generic", "")).unwrap();
    assert_eq!(
        agent.status().unwrap()["interfaces"][0]["attach"],
        "generic"
    );
    let mode = ["interface=\"eth0\"", "mode=\"generic\""];
    assert_eq!(agent.metric("xvip_attach_mode", &mode).unwrap(), 1.0);
    let shown = lan.node.run("ip -d link show dev eth0").unwrap();
    assert!(shown.contains("xdpgeneric"), "{shown}");
    for vip in [VIP4, VIP6] {
        lan.client.run(&format!("ping -c 1 -W 3 {vip}")).unwrap();
    }

    let before = agent.frames("answered").unwrap();
    let observed = observe(&lan, &[VIP4, VIP6], Duration::from_millis(400)).unwrap();
    observed.complete(NODE_MAC).unwrap();
    let answered = agent.frames("answered").unwrap() - before;
    assert_eq!(answered, observed.questions.len() as f64);

    let rival = Wire::open(&lan.rival, "lan0", Duration::from_millis(10)).unwrap();
    for claim in [
        arp_request(RIVAL_MAC, VIP4.parse().unwrap(), VIP4.parse().unwrap()),
        unsolicited_advertisement(RIVAL_MAC, VIP6.parse().unwrap()),
    ] {
        rival.send(&claim).unwrap();
    }
    until(
        "both to be defended",
        || Ok(agent.frames("defended")? == 2.0),
        || agent.log(),
    )
    .unwrap();

    let links = agent::link_ids(&lan.node).unwrap();
    let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
    agent.kill().unwrap();
    thread::sleep(Duration::from_millis(300));
    agent.restart().unwrap();
    observer.finish().unwrap().complete(NODE_MAC).unwrap();
    assert_eq!(agent::link_ids(&lan.node).unwrap(), links);

    agent::fence(&lan.node).unwrap();
    let bound = lan.node.run("ip -o addr show dev eth0").unwrap();
    assert!(bound.contains(VIP4) && bound.contains(VIP6), "still bound");
    observe(&lan, &[VIP4, VIP6], Duration::from_millis(400))
        .unwrap()
        .silent()
        .unwrap();
    agent.terminate().unwrap();
    let shown = lan.node.run("ip -d link show dev eth0").unwrap();
    assert!(!shown.contains("xdp"), "{shown}");
}

#[test]
#[ignore = "needs root"]
fn real_clients_reach_the_vips_and_a_prefix_for_ipv6_alone_never_touches_ipv4() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let _agent = Agent::start(&lan, &config(mode, &prefixed(""))).unwrap();
        let bound = lan.node.run("ip -o addr show dev eth0").unwrap();
        assert!(bound.contains("192.0.2.100/32"), "{bound}");
        assert!(bound.contains("2001:db8::100/128"), "{bound}");
        let client = |command: &str| lan.client.run(command).unwrap();
        let arping = client("arping -c 2 -w 3 -I lan0 192.0.2.100");
        assert!(arping.contains(&NODE_MAC.to_string()), "{arping}");
        let ndisc6 = client("ndisc6 -1 2001:db8::100 lan0");
        assert!(
            ndisc6.to_lowercase().contains(&NODE_MAC.to_string()),
            "{ndisc6}"
        );
        for vip in [VIP4, VIP6] {
            client(&format!("ping -c 1 -W 3 {vip}"));
            let entry = client(&format!("ip neigh show {vip} dev lan0"));
            assert!(entry.contains(&NODE_MAC.to_string()), "{entry}");
            assert!(entry.contains("REACHABLE"), "{entry}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn real_bpftool_prints_every_pinned_map_with_fields_by_name() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("native", "")).unwrap();
    lan.client.run("ping -c 1 -W 3 192.0.2.100").unwrap();
    let maps = agent::pins(&lan.node).maps();
    let mut paths: Vec<String> = std::fs::read_dir(maps)
        .unwrap()
        .map(|map| format!("v1/{}", map.unwrap().file_name().to_str().unwrap()))
        .collect();
    paths.push("SESSION".into());
    assert!(paths.len() >= 11, "{paths:?}");
    let mut fields = std::collections::BTreeMap::new();
    for path in paths {
        let shown = lan
            .node
            .run(&format!("bpftool -j map show pinned {PINS}/{path}"))
            .unwrap();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        // A ring buffer holds records, not entries: there is nothing to dump.
        if shown["type"] == "ringbuf" {
            continue;
        }
        assert!(shown["btf_id"].is_u64(), "{path}: {shown}");
        let dumped = lan
            .node
            .run(&format!("bpftool -j map dump pinned {PINS}/{path}"))
            .unwrap();
        let entries: serde_json::Value = serde_json::from_str(&dumped).unwrap();
        for entry in entries.as_array().unwrap() {
            let entry = &entry["formatted"];
            assert!(entry.is_object(), "{path}: {entry}");
            fields.insert(path.clone(), entry.to_string());
        }
    }
    let named = |map: &str, names: &[&str]| {
        let entry = &fields[map];
        for name in names {
            assert!(entry.contains(&format!("\"{name}\":")), "{map}: {entry}");
        }
    };
    named(
        "v1/VIPS",
        &[
            "address",
            "ifindex",
            "mac",
            "slot",
            "epoch",
            "claim_until_ns",
        ],
    );
    named(
        "v1/LEASES",
        &["deadline_boot_ns", "confirmed_boot_ns", "epoch"],
    );
    named("v1/LINKS", &["ipv4", "ipv6", "link_local", "flags"]);
    named("v1/HOST_MACS", &["mac"]);
    named("v1/VIP_COUNTERS", &["answers", "conflicts"]);
    named("SESSION", &["id", "boot_id", "epoch"]);
    drop(agent);
}

#[test]
#[ignore = "needs root"]
fn an_address_that_somebody_binds_later_is_said_and_goes_on_being_answered() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("tc", "")).unwrap();
    agent.wait_state(VIP4, "answering").unwrap();
    // In one step, so that the agent finds another's address in the place of its own.
    lan.node
        .run("printf 'addr del 192.0.2.100/32 dev eth0\\naddr add 192.0.2.100/24 dev eth0\\n' | ip -batch -")
        .unwrap();
    agent
        .wait_log("somebody else has bound the address")
        .unwrap();
    let row = agent.vip(VIP4).unwrap();
    assert_eq!(row["state"], "answering", "{row}");
    let answered = observe(&lan, &[VIP4], Duration::from_millis(300)).unwrap();
    answered.complete(NODE_MAC).unwrap();
}

#[test]
#[ignore = "needs root"]
fn addresses_that_kube_vip_has_bound_are_taken_over_in_place_when_asked() {
    let lan = Lan::new().unwrap();
    lan.node
        .run("ip addr add 192.0.2.100/32 dev eth0 && ip addr add 2001:db8::100/128 dev eth0 nodad")
        .unwrap();
    let agent = Agent::spawn(&lan, &config("tc", "")).unwrap();
    for vip in [VIP4, VIP6] {
        let row = agent.wait_state(vip, "error").unwrap();
        assert_eq!(row["interface"], serde_json::Value::Null, "{row}");
    }
    agent.wait_log("adopt: [kube-vip]").unwrap();
    assert!(agent.get("/readyz").unwrap().starts_with("HTTP/1.0 503"));
    // The node goes on to answer for what is its own.
    assert!(
        observe(&lan, &[VIP4, VIP6], Duration::from_millis(300))
            .unwrap()
            .missed()
            .is_empty()
    );

    let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
    agent.reload(&config("tc", "adopt: [kube-vip]\n")).unwrap();
    for vip in [VIP4, VIP6] {
        agent.wait_state(vip, "answering").unwrap();
    }
    thread::sleep(Duration::from_millis(300));
    observer.finish().unwrap().complete(NODE_MAC).unwrap();
    let bound = lan.node.run("ip -o addr show dev eth0").unwrap();
    assert!(
        bound.contains("192.0.2.100/32") && bound.contains("2001:db8::100/128"),
        "{bound}"
    );
    // They carry our mark now: cleanup takes them away.
    drop(agent);
    agent::subcommand(&lan.node, &["cleanup"]).unwrap();
    let bound = lan.node.run("ip -o addr show dev eth0").unwrap();
    assert!(!bound.contains(VIP4) && !bound.contains(VIP6), "{bound}");
}

#[test]
#[ignore = "needs root"]
fn an_address_of_the_node_and_its_gateway_are_refused_and_left_alone() {
    const OWN4: &str = "192.0.2.1";
    const OWN6: &str = "2001:db8::1";
    const GATEWAY: &str = "192.0.2.2";
    for mode in MODES {
        let lan = Lan::new().unwrap();
        lan.node.run("ip route add default via 192.0.2.2").unwrap();
        let vips = [OWN4, OWN6, GATEWAY, VIP4];
        let agent = Agent::start(&lan, &config_of(&vips, mode, "")).unwrap();
        for refused in [OWN4, OWN6, GATEWAY] {
            agent.wait_state(refused, "error").unwrap();
        }
        agent.wait_state(VIP4, "answering").unwrap();
        agent.wait_log("an address of this node").unwrap();
        agent
            .wait_log("the gateway of this node's default route")
            .unwrap();
        let before = agent.frames("answered").unwrap();
        let own = observe(&lan, &[OWN4, OWN6], Duration::from_millis(500)).unwrap();
        own.complete(NODE_MAC).unwrap();
        assert_eq!(agent.frames("answered").unwrap(), before, "the stack's");
        observe(&lan, &[GATEWAY], Duration::from_millis(300))
            .unwrap()
            .silent()
            .unwrap();
        let bound = lan.node.run("ip -o addr show dev eth0").unwrap();
        assert!(
            bound.contains("192.0.2.1/24") && !bound.contains(GATEWAY),
            "{bound}"
        );
    }
}

#[test]
#[ignore = "needs root"]
fn a_second_agent_is_refused_and_says_why() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("native", "")).unwrap();
    let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
    let refused = agent::subcommand(
        &lan.node,
        &[
            "run",
            "--vips",
            VIP4,
            "--interfaces",
            "eth0",
            "--http",
            "127.0.0.1:9471",
        ],
    )
    .unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("another vip-agent runs"), "{said}");
    thread::sleep(Duration::from_millis(300));
    observer.finish().unwrap().complete(NODE_MAC).unwrap();
    assert_eq!(agent.vip(VIP4).unwrap()["state"], "answering");
}

#[test]
#[ignore = "needs root"]
fn a_flood_of_random_frames_leaves_the_programs_and_other_traffic_alone() {
    use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let agent = Agent::start(&lan, &config(mode, "")).unwrap();
        // Some of the frames claim these addresses too; that is between the two stacks.
        for (host, interface, mac, number) in [
            (&lan.client, "lan0", NODE_MAC, 1),
            (&lan.node, "eth0", CLIENT_MAC, 2),
        ] {
            for address in [format!("192.0.2.{number}"), format!("2001:db8::{number}")] {
                host.run(&format!(
                    "ip neigh replace {address} lladdr {mac} dev {interface} nud permanent"
                ))
                .unwrap();
            }
        }
        let wire = Wire::open(&lan.rival, "lan0", Duration::from_millis(1)).unwrap();
        let mac = RIVAL_MAC;
        let seeds = [
            arp_request(mac, [192, 0, 2, 3].into(), VIP4.parse().unwrap()),
            arp_request(mac, VIP4.parse().unwrap(), VIP4.parse().unwrap()),
            solicitation(mac, "2001:db8::3".parse().unwrap(), VIP6.parse().unwrap()),
            unsolicited_advertisement(mac, VIP6.parse().unwrap()),
        ];
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
        let frames = (0..seeds.len(), changes, 14_usize..200);
        let mut runner = TestRunner::deterministic();
        let before = agent.get("/metrics").unwrap();
        for round in 0..5_000 {
            let (seed, changes, length) = frames.new_tree(&mut runner).unwrap().current();
            let mut frame = seeds[seed].clone();
            for (at, byte) in changes {
                // The addresses of the Ethernet header bring it to the node.
                let at = 12 + at.index(frame.len() - 12);
                frame[at] = byte;
            }
            if round % 2 == 0 {
                frame.resize(length, 0xa5);
            }
            // Some are too short or too long for the socket.
            let _ = wire.send(&frame);
            if round % 500 == 0 {
                lan.client.run("ping -c 1 -W 3 192.0.2.1").unwrap();
            }
        }
        assert_ne!(
            agent.get("/metrics").unwrap(),
            before,
            "the programs saw it"
        );
        let attached = &agent.status().unwrap()["interfaces"][0];
        assert_eq!(attached["attach"], mode);
        assert_eq!(attached["ready"], true);
        let observed = observe(&lan, &[VIP4, VIP6], Duration::from_millis(300)).unwrap();
        observed.complete(NODE_MAC).unwrap();
        lan.client.run("ping -c 1 -W 3 2001:db8::1").unwrap();
        until(
            "no conflict to be lost",
            || Ok(agent.frames("defended")? > 0.0),
            || agent.log(),
        )
        .unwrap();
    }
}
