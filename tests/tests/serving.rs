//! The agent serves VIPs of both families: what clients, the node's stack and bpftool see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::time::Duration;

use tests::{
    agent::Agent,
    lan::{Lan, NODE_MAC},
    observer::observe,
};

const VIP4: &str = "192.0.2.100";
const VIP6: &str = "2001:db8::100";
const MODES: [&str; 2] = ["native", "tc"];

fn config(attach: &str, more: &str) -> String {
    format!(
        "interfaces: [eth0]\nprefix: \"128\"\nattach: {attach}\nlog: {{level: debug}}\n\
         vips: [{{address: {VIP4}}}, {{address: \"{VIP6}\"}}]\n{more}"
    )
}

#[test]
#[ignore = "needs root"]
fn vips_of_both_families_are_answered_by_the_programs_and_not_by_the_stack() {
    for mode in MODES {
        // With `bind: none` the stack knows no address that it could answer for.
        for more in ["", "bind: none\n"] {
            let lan = Lan::new().unwrap();
            let agent = Agent::start(&lan, &config(mode, more)).unwrap();
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
fn real_clients_reach_the_vips_and_a_prefix_for_ipv6_alone_never_touches_ipv4() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let _agent = Agent::start(&lan, &config(mode, "")).unwrap();
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
