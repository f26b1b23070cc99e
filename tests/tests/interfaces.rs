//! Interfaces that come, go and change under the agent, and addresses that somebody removes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::{
    agent::{Agent, MODES, VIP4, VIP6, config, until},
    lan::{CLIENT_MAC, Lan, NODE_MAC, SECOND_MAC},
    observer::{Observer, observe},
    wire::{Seen, Wire},
};
use vip_agent::vip::Mac;

const SOME: Duration = Duration::from_millis(400);

fn on(interfaces: &str, attach: &str) -> String {
    config(attach, "").replace("[eth0]", interfaces)
}

fn answered_by(lan: &Lan, mac: Mac) {
    observe(lan, &[VIP4, VIP6], SOME)
        .unwrap()
        .complete(mac)
        .unwrap();
}

fn wait_on(agent: &Agent, interface: &str) {
    for vip in [VIP4, VIP6] {
        let row = || agent.vip(vip).unwrap_or_default();
        until(
            interface,
            || Ok(row()["interface"] == interface && row()["state"] == "answering"),
            || format!("{}\n{}", row(), agent.log()),
        )
        .unwrap();
    }
}

/// The client's neighbour entry of a VIP comes to name `mac`, without a question of its own.
fn client_learns(lan: &Lan, vip: &str, mac: Mac) {
    let entry = || lan.client.run(&format!("ip neigh show {vip} dev lan0"));
    until(
        &format!("the client to know {vip} at {mac}"),
        || Ok(entry()?.contains(&mac.to_string())),
        || entry().unwrap_or_default(),
    )
    .unwrap();
}

/// The client knows both VIPs.
fn client_asks(lan: &Lan) {
    for vip in [VIP4, VIP6] {
        lan.client.run(&format!("ping -c 1 -W 3 {vip}")).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn of_two_interfaces_on_one_lan_one_answers_and_the_other_takes_over_with_the_carrier() {
    for mode in MODES {
        let mut lan = Lan::new().unwrap();
        lan.plug_node("eth1", SECOND_MAC).unwrap();
        let agent = Agent::start(&lan, &on("[eth0, eth1]", mode)).unwrap();
        wait_on(&agent, "eth0");
        answered_by(&lan, NODE_MAC);
        client_asks(&lan);

        lan.switch.run("ip link set eth0 down").unwrap();
        wait_on(&agent, "eth1");
        for vip in [VIP4, VIP6] {
            client_learns(&lan, vip, SECOND_MAC);
        }
        answered_by(&lan, SECOND_MAC);
        let bound = lan.node.run("ip -o addr show dev eth0").unwrap();
        assert!(!bound.contains(VIP4) && !bound.contains(VIP6), "{bound}");

        lan.switch.run("ip link set eth0 up").unwrap();
        wait_on(&agent, "eth0");
        for vip in [VIP4, VIP6] {
            client_learns(&lan, vip, NODE_MAC);
        }
        answered_by(&lan, NODE_MAC);
    }
}

#[test]
#[ignore = "needs root"]
fn an_address_that_somebody_removes_is_bound_again_and_counted() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let agent = Agent::start(&lan, &config(mode, "")).unwrap();
        let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
        lan.node
            .run("ip addr del 192.0.2.100/32 dev eth0 && ip addr del 2001:db8::100/128 dev eth0")
            .unwrap();
        for vip in [VIP4, VIP6] {
            let label = format!("vip=\"{vip}\"");
            until(
                "the address to come back",
                || {
                    let bound = lan.node.run("ip -o addr show dev eth0")?;
                    let flaps = agent.metric("xvip_flaps_total", &[&label])?;
                    Ok(bound.contains(vip) && flaps == 1.0)
                },
                || agent.log(),
            )
            .unwrap();
        }
        agent.wait_log("AddressRestored").unwrap();
        // The programs need no address to answer.
        observer.finish().unwrap().complete(NODE_MAC).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn vips_come_back_with_a_link_that_was_down() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let agent = Agent::start(&lan, &config(mode, "")).unwrap();
        lan.node.run("ip link set eth0 down").unwrap();
        for vip in [VIP4, VIP6] {
            agent.wait_state(vip, "pending").unwrap();
        }
        // The kernel forgets IPv6 addresses with the link, and routes of both families.
        lan.node
            .run("ip link set eth0 up && ip addr replace 2001:db8::1/64 dev eth0 nodad")
            .unwrap();
        wait_on(&agent, "eth0");
        until(
            "the address to come back",
            || Ok(lan.node.run("ip -o addr show dev eth0")?.contains(VIP6)),
            || agent.log(),
        )
        .unwrap();
        answered_by(&lan, NODE_MAC);
        client_asks(&lan);
    }
}

#[test]
#[ignore = "needs root"]
fn a_new_mac_address_is_announced_and_answered_with() {
    const NEW: Mac = Mac([2, 0, 0, 0, 0, 0x77]);
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let agent = Agent::start(&lan, &config(mode, "")).unwrap();
        client_asks(&lan);
        // A client takes a new MAC only a second after the last change (locktime).
        thread::sleep(Duration::from_millis(1100));
        lan.node
            .run(&format!("ip link set eth0 address {NEW}"))
            .unwrap();
        for vip in [VIP4, VIP6] {
            client_learns(&lan, vip, NEW);
        }
        answered_by(&lan, NEW);
        agent.wait_log("MacChanged").unwrap();
        let entry = agent.status().unwrap()["interfaces"][0]["mac"].clone();
        assert_eq!(entry, NEW.to_string());
    }
}

#[test]
#[ignore = "needs root"]
fn an_interface_that_is_created_later_is_served() {
    for mode in MODES {
        let mut lan = Lan::new().unwrap();
        let switch = lan.switch.pid();
        let agent = {
            let agent = Agent::spawn(&lan, &on("[eth1]", mode)).unwrap();
            agent.wait_state(VIP4, "pending").unwrap();
            let answer = agent.get("/readyz").unwrap();
            assert!(answer.starts_with("HTTP/1.0 503"), "{answer}");
            assert!(answer.contains("pending"), "{answer}");
            agent
        };
        // As the bed would: the agent has borrowed it.
        assert_ne!(switch, 0);
        let pid = lan.node.pid();
        lan.switch
            .run(&format!(
                "ip link add eth1 type veth peer name eth1 address {SECOND_MAC} netns {pid} \
                 && ip link set eth1 master br0 up"
            ))
            .unwrap();
        lan.node.run("ip link set eth1 up").unwrap();
        let passing = lan.switch.enter(|| tests::lan::pass_all("eth1")).unwrap();
        wait_on(&agent, "eth1");
        answered_by(&lan, SECOND_MAC);
        drop((agent, passing));
        lan.switch.run("ip link del eth1").unwrap();
        lan.plug_node("eth1", SECOND_MAC).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn an_interface_that_is_deleted_and_created_again_is_served_again() {
    for mode in MODES {
        let mut lan = Lan::new().unwrap();
        lan.plug_node("eth1", SECOND_MAC).unwrap();
        let agent = Agent::start(&lan, &on("[eth1]", mode)).unwrap();
        wait_on(&agent, "eth1");
        lan.switch.run("ip link del eth1").unwrap();
        agent.wait_state(VIP4, "pending").unwrap();
        let row = agent.vip(VIP6).unwrap();
        assert_eq!(
            (&row["interface"], &row["owner"]),
            (&Value::Null, &Value::Null)
        );
        observe(&lan, &[VIP4, VIP6], SOME)
            .unwrap()
            .silent()
            .unwrap();
        // It is gone once, not every second.
        thread::sleep(Duration::from_millis(2200));
        let told = agent.log().matches("reason=\"Detached\"").count();
        assert!(told <= 1, "{}", agent.log());
        let pid = lan.node.pid();
        lan.switch
            .run(&format!(
                "ip link add eth1 type veth peer name eth1 address {SECOND_MAC} netns {pid} \
                 && ip link set eth1 master br0 up"
            ))
            .unwrap();
        lan.node.run("ip link set eth1 up").unwrap();
        let _passing = lan.switch.enter(|| tests::lan::pass_all("eth1")).unwrap();
        wait_on(&agent, "eth1");
        answered_by(&lan, SECOND_MAC);
        // What was noted of the former is gone.
        assert_eq!(
            agent.metric("xvip_map_entries", &["map=\"VIPS\""]).unwrap(),
            4.0
        );
    }
}

#[test]
#[ignore = "needs root"]
fn a_rename_within_the_pattern_changes_nothing_but_the_name() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let agent = Agent::start(&lan, &on("[\"e*\"]", mode)).unwrap();
        let epoch = agent.vip(VIP4).unwrap()["epoch"].clone();
        let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
        lan.node.run("ip link set eth0 name enp1s0").unwrap();
        wait_on(&agent, "enp1s0");
        thread::sleep(SOME);
        observer.finish().unwrap().complete(NODE_MAC).unwrap();
        assert_eq!(agent.vip(VIP4).unwrap()["epoch"], epoch);
    }
}

#[test]
#[ignore = "needs root"]
fn a_rename_out_of_the_list_withdraws_and_back_serves_again() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("native", "")).unwrap();
    observe(&lan, &[VIP4], SOME).unwrap();
    lan.node.run("ip link set eth0 name other0").unwrap();
    agent.wait_state(VIP4, "pending").unwrap();
    let bound = lan.node.run("ip -o addr show dev other0").unwrap();
    assert!(!bound.contains(VIP4) && !bound.contains(VIP6), "{bound}");
    lan.node.run("ip link set other0 name eth0").unwrap();
    wait_on(&agent, "eth0");
    answered_by(&lan, NODE_MAC);
}

#[test]
#[ignore = "needs root"]
fn where_the_kernel_takes_ipv6_away_ipv4_goes_on_and_ipv6_comes_back_with_it() {
    let sysctl = "/proc/sys/net/ipv6/conf/eth0/disable_ipv6";
    for (off, back, reason) in [
        (
            "ip link set eth0 mtu 1000".to_owned(),
            "ip link set eth0 mtu 1500".to_owned(),
            "MTU",
        ),
        (
            format!("echo 1 > {sysctl}"),
            format!("echo 0 > {sysctl}"),
            "disable",
        ),
    ] {
        let lan = Lan::new().unwrap();
        let agent = Agent::start(&lan, &config("native", "")).unwrap();
        observe(&lan, &[VIP4], SOME).unwrap();
        let observer = Observer::start(&lan, &[VIP4]).unwrap();
        lan.node.run(&off).unwrap();
        agent.wait_state(VIP6, "error").unwrap();
        agent.wait_log(reason).unwrap();
        observe(&lan, &[VIP6], SOME).unwrap().silent().unwrap();
        lan.node.run(&back).unwrap();
        agent.wait_state(VIP6, "answering").unwrap();
        observer.finish().unwrap().complete(NODE_MAC).unwrap();
        observe(&lan, &[VIP6], SOME)
            .unwrap()
            .complete(NODE_MAC)
            .unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn a_carrier_that_goes_and_comes_between_two_looks_is_announced_again() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("tc", "")).unwrap();
    // Past the announcements of 8 s after the start: the next would come after 40 s.
    thread::sleep(Duration::from_millis(8500));
    let wire = Wire::open(&lan.client, "lan0", Duration::from_millis(10)).unwrap();
    for vip in [VIP4, VIP6] {
        let quiet = wire
            .heard(vip.parse().unwrap(), CLIENT_MAC, Duration::from_millis(300))
            .unwrap();
        assert_eq!(quiet, [], "else this shows nothing");
    }
    lan.switch
        .run("printf 'link set eth0 down\\nlink set eth0 up\\n' | ip -batch -")
        .unwrap();
    let began = Instant::now();
    let mut missing: Vec<IpAddr> = [VIP4, VIP6].map(|vip| vip.parse().unwrap()).into();
    while !missing.is_empty() {
        if let Some(seen) = wire.receive().unwrap().and_then(|frame| Seen::of(&frame))
            && seen.is_announcement()
            && seen.from == NODE_MAC
        {
            missing.retain(|vip| *vip != seen.source);
        }
        let late = began.elapsed() > Duration::from_secs(5);
        assert!(!late, "{missing:?} was not announced\n{}", agent.log());
    }
    let log = agent.log();
    assert!(
        log.contains("LinkBounced") || log.contains("LinkUp"),
        "{log}"
    );
}

#[test]
#[ignore = "needs root"]
fn what_netlink_lost_while_the_agent_did_not_read_is_made_good_and_counted() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("native", "")).unwrap();
    agent.signal(Signal::SIGSTOP).unwrap();
    let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
    // More events than its socket holds (of an address and of its route, each time), and those
    // that matter among the lost.
    lan.node
        .run(
            "for i in $(seq 15000); do echo addr add 10.0.0.1/32 dev lo; \
             echo addr del 10.0.0.1/32 dev lo; done | ip -batch -",
        )
        .unwrap();
    lan.node
        .run("ip addr del 192.0.2.100/32 dev eth0 && ip addr del 2001:db8::100/128 dev eth0")
        .unwrap();
    agent.signal(Signal::SIGCONT).unwrap();
    until(
        "the overrun to be counted",
        || Ok(agent.metric("xvip_netlink_overruns_total", &[])? >= 1.0),
        || agent.log(),
    )
    .unwrap();
    agent.wait_log("NetlinkOverrun").unwrap();
    until(
        "both addresses to come back",
        || {
            let bound = lan.node.run("ip -o addr show dev eth0")?;
            Ok(bound.contains(VIP4) && bound.contains(VIP6))
        },
        || agent.log(),
    )
    .unwrap();
    // The programs need neither the agent nor the addresses to answer.
    observer.finish().unwrap().complete(NODE_MAC).unwrap();
}
