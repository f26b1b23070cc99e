//! Other programs on the node's interfaces: they stay, and ours stay first.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::time::Duration;

use serde_json::Value;
use tests::{
    agent::{Agent, MODES, PINS, VIP4, VIP6, config, until},
    lan::{Lan, NODE_MAC, end_chain, pass_all},
    observer::{Observer, observe},
};
use vip_agent::io::datapath::AttachType;

/// Ids of the XDP programs on the node's `eth0`.
fn xdp(lan: &Lan) -> Vec<u64> {
    let shown = lan.node.run("bpftool -j net show dev eth0").unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let programs = shown[0]["xdp"].as_array().cloned().unwrap_or_default();
    programs
        .iter()
        .filter_map(|program| program["id"].as_u64())
        .collect()
}

fn answered(lan: &Lan) {
    observe(lan, &[VIP4, VIP6], Duration::from_millis(400))
        .unwrap()
        .complete(NODE_MAC)
        .unwrap();
}

#[test]
#[ignore = "needs root"]
fn beside_a_foreign_xdp_program_tc_is_used_and_the_foreign_one_stays() {
    let lan = Lan::new().unwrap();
    let foreign = lan.node.enter(|| pass_all("eth0")).unwrap();
    let before = xdp(&lan);
    assert_eq!(before.len(), 1);
    let mut agent = Agent::start(&lan, &config("auto", "")).unwrap();
    assert_eq!(agent.status().unwrap()["interfaces"][0]["attach"], "tc");
    answered(&lan);
    assert!(agent.frames("answered").unwrap() > 0.0);
    assert_eq!(xdp(&lan), before);
    agent.terminate().unwrap();
    assert_eq!(xdp(&lan), before);
    drop(foreign);
}

#[test]
#[ignore = "needs root"]
fn native_alone_is_refused_beside_a_foreign_xdp_program_and_taken_when_that_has_gone() {
    let lan = Lan::new().unwrap();
    let foreign = lan.node.enter(|| pass_all("eth0")).unwrap();
    let agent = Agent::spawn(&lan, &config("native", "")).unwrap();
    agent.wait_log("AttachFailed").unwrap();
    agent.wait_state(VIP4, "pending").unwrap();
    let answer = agent.get("/readyz").unwrap();
    assert!(answer.starts_with("HTTP/1.0 503"), "{answer}");
    observe(&lan, &[VIP4, VIP6], Duration::from_millis(300))
        .unwrap()
        .silent()
        .unwrap();
    drop(foreign);
    agent.wait_state(VIP4, "answering").unwrap();
    agent.wait_ready().unwrap();
    answered(&lan);
}

#[test]
#[ignore = "needs root"]
fn the_first_place_is_taken_back_from_a_program_that_ends_the_chain() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let agent = Agent::start(&lan, &config(mode, "")).unwrap();
        let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
        let places: &[AttachType] = match mode {
            "tc" => &[AttachType::BPF_TCX_INGRESS, AttachType::BPF_TCX_EGRESS],
            _ => &[AttachType::BPF_TCX_EGRESS],
        };
        let foreign: Vec<_> = places
            .iter()
            .map(|place| lan.node.enter(|| end_chain("eth0", *place)).unwrap())
            .collect();
        agent.wait_log("PositionLost").unwrap();
        agent.wait_log("PositionRestored").unwrap();
        observer.finish().unwrap().complete(NODE_MAC).unwrap();
        // It is ours that answers again, and the foreign one runs behind it.
        let before = agent.frames("answered").unwrap();
        answered(&lan);
        assert!(agent.frames("answered").unwrap() > before);
        let shown = lan.node.run("bpftool -j net show dev eth0").unwrap();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let chains = shown[0]["tc"].as_array().unwrap();
        for kind in ["tcx/ingress", "tcx/egress"] {
            let chain: Vec<_> = chains.iter().filter(|seat| seat["kind"] == kind).collect();
            if !chain.is_empty() {
                assert_eq!(chain.len(), 2, "{shown}");
                let first = chain[0]["name"].as_str().unwrap();
                assert!(first.starts_with("xvip_tc"), "{shown}");
            }
        }
        drop(foreign);
    }
}

#[test]
#[ignore = "needs root"]
fn who_comes_before_us_a_sixth_time_within_a_minute_stays_and_is_an_alarm() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("tc", "")).unwrap();
    let overtaken = || agent.metric("xvip_inconsistent", &["kind=\"overtaken\""]);
    let come_first = || {
        let place = AttachType::BPF_TCX_INGRESS;
        lan.node.enter(|| end_chain("eth0", place)).unwrap()
    };
    let mut foreign = Vec::new();
    for restores in 1..=5 {
        foreign.push(come_first());
        until(
            "the place to be taken back",
            || Ok(agent.log().matches("\"PositionRestored\"").count() == restores),
            || agent.log(),
        )
        .unwrap();
        assert_eq!(overtaken().unwrap(), 0.0);
    }
    let sixth = come_first();
    let wait_alarm = |alarm| {
        until("the alarm", || Ok(overtaken()? == alarm), || agent.log()).unwrap();
    };
    wait_alarm(1.0);
    assert_eq!(agent.log().matches("\"PositionRestored\"").count(), 5);
    drop(sixth);
    wait_alarm(0.0);
    answered(&lan);
}

#[test]
#[ignore = "needs root"]
fn programs_that_somebody_detaches_are_attached_again() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let agent = Agent::start(&lan, &config(mode, "")).unwrap();
        let links = lan.node.run(&format!("ls {PINS}/links")).unwrap();
        for link in links.lines() {
            lan.node
                .run(&format!("bpftool link detach pinned {PINS}/links/{link}"))
                .unwrap();
        }
        let answers = || agent.frames("answered").unwrap_or_default();
        let before = answers();
        agent.wait_log("Detached").unwrap();
        until(
            "the programs to answer again",
            || {
                observe(&lan, &[VIP4, VIP6], Duration::from_millis(100))?;
                Ok(answers() > before)
            },
            || agent.log(),
        )
        .unwrap();
        answered(&lan);
    }
}
