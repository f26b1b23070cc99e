//! SIGHUP while a client asks without a pause.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{thread, time::Duration};

use tests::{
    agent::{self, Agent, MODES, VIP4, VIP6, config, config_of, link_ids, until},
    lan::{Lan, NODE_MAC, SECOND_MAC},
    observer::{Observer, observe},
};
use vip_common::abi::{VipEntry, VipKey};

fn pause() {
    thread::sleep(Duration::from_millis(400));
}

#[test]
#[ignore = "needs root"]
fn a_reload_adds_and_removes_vips_and_leaves_the_others_untouched() {
    const THIRD: &str = "192.0.2.101";
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let agent = Agent::start(&lan, &config(mode, "")).unwrap();
        let links = link_ids(&lan.node).unwrap();
        let steady = |agent: &Agent| {
            [VIP4, VIP6].map(|vip| {
                let row = agent.vip(vip).unwrap();
                (
                    row["epoch"].clone(),
                    row["since"].clone(),
                    row["state"].clone(),
                )
            })
        };
        // `since` is in whole seconds: a new one would show.
        thread::sleep(Duration::from_millis(1100));
        let before = steady(&agent);
        let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
        agent
            .reload(&config_of(&[THIRD, VIP4, VIP6], mode, ""))
            .unwrap();
        agent.wait_state(THIRD, "answering").unwrap();
        observe(&lan, &[THIRD], Duration::from_millis(300))
            .unwrap()
            .complete(NODE_MAC)
            .unwrap();
        agent.reload(&config(mode, "")).unwrap();
        until(
            "the third to go",
            || Ok(agent.vip(THIRD)?.is_null()),
            || agent.log(),
        )
        .unwrap();
        observe(&lan, &[THIRD], Duration::from_millis(300))
            .unwrap()
            .silent()
            .unwrap();
        observer.finish().unwrap().complete(NODE_MAC).unwrap();
        assert_eq!(steady(&agent), before);
        assert_eq!(link_ids(&lan.node).unwrap(), links);
        let bound = lan.node.run("ip -o addr show dev eth0").unwrap();
        assert!(!bound.contains(THIRD), "{bound}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_reload_of_a_file_with_errors_changes_nothing() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("native", "")).unwrap();
    let (links, before) = (link_ids(&lan.node).unwrap(), agent.vip(VIP4).unwrap());
    let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
    agent
        .reload("interfaces: [eth0]\nprefix: \"140\"\nvips: [{address: 192.0.2.107}]\n")
        .unwrap();
    agent.wait_log("ReloadRefused").unwrap();
    pause();
    observer.finish().unwrap().complete(NODE_MAC).unwrap();
    assert_eq!(agent.vip(VIP4).unwrap()["since"], before["since"]);
    assert_eq!(link_ids(&lan.node).unwrap(), links);
    assert!(agent.vip("192.0.2.107").unwrap().is_null());
}

#[test]
#[ignore = "needs root"]
fn a_reload_moves_the_programs_to_another_mode() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("tc", "")).unwrap();
    let attach = || agent.status().unwrap()["interfaces"][0]["attach"].clone();
    // Past the announcements of 8 s after the start: the next would come after 40 s.
    thread::sleep(Duration::from_millis(8500));
    let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
    pause();
    let announced = || observer.look(|observed| observed.announcements.len());
    for mode in ["native", "tc"] {
        let before = announced();
        agent.reload(&config(mode, "")).unwrap();
        until(mode, || Ok(attach() == mode), || agent.log()).unwrap();
        pause();
        // Attaching makes some drivers reset the link: both VIPs are announced again, IPv4 in
        // two forms.
        assert!(announced() >= before + 3, "{}", agent.log());
    }
    observer.finish().unwrap().complete(NODE_MAC).unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_reload_of_masks_and_binding_changes_the_addresses_and_misses_nothing() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let agent = Agent::start(&lan, &config(mode, "")).unwrap();
        let bound = || lan.node.run("ip -o addr show dev eth0").unwrap();
        let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
        for (more, there) in [
            (
                "prefix: \"24,64\"\n",
                ["192.0.2.100/24", "2001:db8::100/64"],
            ),
            ("bind: none\n", ["", ""]),
            ("", ["192.0.2.100/32", "2001:db8::100/128"]),
        ] {
            agent.reload(&config(mode, more)).unwrap();
            until(
                more,
                || {
                    let bound = bound();
                    let vips = bound.matches("192.0.2.100/").count()
                        + bound.matches("2001:db8::100/").count();
                    let wanted = there.iter().filter(|net| !net.is_empty()).count();
                    Ok(vips == wanted && there.iter().all(|net| bound.contains(net)))
                },
                || format!("{}{}", bound(), agent.log()),
            )
            .unwrap();
            pause();
        }
        observer.finish().unwrap().complete(NODE_MAC).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn an_interface_that_a_reload_adds_gets_the_mode_that_is_asked_for() {
    let mut lan = Lan::new().unwrap();
    lan.plug_node("eth1", SECOND_MAC).unwrap();
    let agent = Agent::start(&lan, &config("native", "")).unwrap();
    let mode = || {
        let rows = agent.status()?["interfaces"].as_array().cloned();
        let eth1 = rows.and_then(|rows| rows.into_iter().find(|row| row["name"] == "eth1"));
        Ok(eth1.unwrap_or_default()["attach"].clone())
    };
    // A bystander needs to be silent, no more.
    assert_eq!(mode().unwrap(), "tc");
    let both = config("native", "").replace("[eth0]", "[eth0, eth1]");
    agent.reload(&both).unwrap();
    until("native", || Ok(mode()? == "native"), || agent.log()).unwrap();
    let observed = observe(&lan, &[VIP4, VIP6], Duration::from_millis(300)).unwrap();
    observed.complete(NODE_MAC).unwrap();
}

#[test]
#[ignore = "needs root"]
fn entries_that_somebody_removes_or_writes_are_an_alarm_and_made_good() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("native", "")).unwrap();
    let index = lan.ifindex("eth0").unwrap();
    let mut tables = agent::tables(&lan.node).unwrap();
    let before = tables.vips.all().unwrap();
    let missing = || agent.metric("xvip_inconsistent", &["kind=\"claimed_not_programmed\""]);
    assert_eq!(missing().unwrap(), 0.0);

    let removed = VipKey::new(VIP4.parse().unwrap(), index);
    let entry = tables.vips.get(&removed).unwrap().unwrap();
    tables.vips.remove(&removed).unwrap();
    let foreign = VipKey::new("192.0.2.200".parse().unwrap(), index);
    tables.vips.upsert(foreign, entry).unwrap();
    let changed = VipKey::new(VIP6.parse().unwrap(), index);
    let mut other = tables.vips.get(&changed).unwrap().unwrap();
    other.mac = [2, 0, 0, 0, 0, 0x99];
    tables.vips.upsert(changed, other).unwrap();
    assert_eq!(missing().unwrap(), 1.0);

    // SIGHUP looks at once, else it is done every minute.
    agent.reload(&config("native", "")).unwrap();
    agent
        .wait_log("3 entries of VIPS were changed by somebody")
        .unwrap();
    let sorted = |mut entries: Vec<(VipKey, VipEntry)>| {
        entries.sort_by_key(|(key, _)| (key.address, key.ifindex));
        entries
    };
    until(
        "the entries to be as before",
        || Ok(sorted(tables.vips.all().unwrap()) == sorted(before.clone())),
        || format!("{:?}\n{}", tables.vips.all(), agent.log()),
    )
    .unwrap();
    assert_eq!(missing().unwrap(), 0.0);
    let errors = agent.metric("xvip_reconcile_errors_total", &["reason=\"entries\""]);
    assert_eq!(errors.unwrap(), 1.0);
    observe(&lan, &[VIP4, VIP6], Duration::from_millis(200))
        .unwrap()
        .complete(NODE_MAC)
        .unwrap();
}
