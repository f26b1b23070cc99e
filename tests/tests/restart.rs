//! kill -9, SIGTERM and upgrades while a client asks without a pause.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{fs, thread, time::Duration};

use tests::{
    agent::{self, Agent, MODES, PINS, VIP4, VIP6, config, config_of, link_ids, names, until},
    lan::{Lan, NODE_MAC},
    observer::{Observer, observe},
};
use vip_agent::{
    attachment::Mode,
    io::datapath::{Datapath, Pins, Slots, Tables},
};
use vip_common::abi::{FOREVER, LAYOUT, LeaseSlot, SLOT_SESSION};

fn pause() {
    thread::sleep(Duration::from_millis(400));
}

#[test]
#[ignore = "needs root"]
fn nothing_is_missed_while_the_agent_is_killed_away_and_back() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let mut agent = Agent::start(&lan, &config(mode, "bind: none\n")).unwrap();
        let (links, before) = (link_ids(&lan.node).unwrap(), agent.vip(VIP4).unwrap());
        let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
        pause();
        for _ in 0..3 {
            agent.kill().unwrap();
            pause();
            agent.restart().unwrap();
            pause();
        }
        observer.finish().unwrap().complete(NODE_MAC).unwrap();
        assert_eq!(link_ids(&lan.node).unwrap(), links, "the links went on");
        let after = agent.vip(VIP4).unwrap();
        assert_eq!(after["epoch"], before["epoch"]);
        assert_eq!(after["state"], "answering");
        assert!(after["answers"].as_u64() > before["answers"].as_u64());
        let missed = agent.metric("xvip_inconsistent", &[]).unwrap();
        assert_eq!(missed, 0.0);
    }
}

#[test]
#[ignore = "needs root"]
fn nothing_is_missed_when_starts_are_killed_at_any_moment() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        // What is not bound, the stack cannot answer in our place.
        let mut agent = Agent::start(&lan, &config(mode, "bind: none\n")).unwrap();
        let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
        for delay in (5..150).step_by(12) {
            agent.kill().unwrap();
            agent.respawn().unwrap();
            thread::sleep(Duration::from_millis(delay));
        }
        agent.wait_ready().unwrap();
        pause();
        observer.finish().unwrap().complete(NODE_MAC).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn the_solicited_node_group_stays_joined_after_kill() {
    for more in ["", "bind: none\n"] {
        let lan = Lan::new().unwrap();
        let groups = || lan.node.run("ip maddr show dev eth0").unwrap();
        assert!(!groups().contains("ff02::1:ff00:100"));
        let mut agent = Agent::start(&lan, &config("native", more)).unwrap();
        agent.kill().unwrap();
        assert!(groups().contains("ff02::1:ff00:100"), "{}", groups());
        agent.restart().unwrap();
        agent.terminate().unwrap();
        assert!(!groups().contains("ff02::1:ff00:100"), "{}", groups());
    }
}

#[test]
#[ignore = "needs root"]
fn nothing_is_missed_while_the_agent_is_stopped() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("native", "")).unwrap();
    agent.signal(nix::sys::signal::Signal::SIGSTOP).unwrap();
    let observed = observe(&lan, &[VIP4, VIP6], Duration::from_secs(1)).unwrap();
    observed.complete(NODE_MAC).unwrap();
}

#[test]
#[ignore = "needs root"]
fn sigterm_withdraws_the_vips_and_leaves_nothing_behind() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let mut agent = Agent::start(&lan, &config(mode, "")).unwrap();
        let observers = [VIP4, VIP6].map(|vip| Observer::start(&lan, &[vip]).unwrap());
        pause();
        agent.terminate().unwrap();
        for observer in observers {
            observer.finish().unwrap().ended().unwrap();
        }
        let observed = observe(&lan, &[VIP4, VIP6], Duration::from_millis(500)).unwrap();
        observed.silent().unwrap();
        let bound = lan.node.run("ip -o addr show dev eth0").unwrap();
        assert!(!bound.contains(VIP4) && !bound.contains(VIP6), "{bound}");
        assert_eq!(names(&lan.node, "links"), [""; 0]);
        lan.client.run("ping -c 1 -W 3 192.0.2.1").unwrap();

        agent.restart().unwrap();
        let observed = observe(&lan, &[VIP4, VIP6], Duration::from_millis(500)).unwrap();
        observed.complete(NODE_MAC).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn with_keep_the_kernel_goes_on_answering_after_sigterm_and_into_the_next_start() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let mut agent = Agent::start(&lan, &config(mode, "onExit: keep\n")).unwrap();
        let epoch = agent.vip(VIP4).unwrap()["epoch"].clone();
        let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
        pause();
        agent.terminate().unwrap();
        pause();
        agent.restart().unwrap();
        pause();
        observer.finish().unwrap().complete(NODE_MAC).unwrap();
        assert_eq!(agent.vip(VIP4).unwrap()["epoch"], epoch);
    }
}

#[test]
#[ignore = "needs root"]
fn a_vip_that_was_dropped_while_the_agent_was_away_is_silent_after_its_start() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let mut agent = Agent::start(&lan, &config(mode, "")).unwrap();
        agent.kill().unwrap();
        agent.configure(&config_of(&[VIP4], mode, "")).unwrap();
        let observer = Observer::start(&lan, &[VIP4]).unwrap();
        agent.restart().unwrap();
        observe(&lan, &[VIP6], Duration::from_millis(500))
            .unwrap()
            .silent()
            .unwrap();
        observer.finish().unwrap().complete(NODE_MAC).unwrap();
        let bound = lan.node.run("ip -o addr show dev eth0").unwrap();
        assert!(!bound.contains(VIP6), "{bound}");
        let keys = agent::tables(&lan.node).unwrap().vips.all().unwrap();
        assert!(keys.iter().all(|(key, _)| key.ip().to_string() == VIP4));
    }
}

#[test]
#[ignore = "needs root"]
fn an_address_that_cannot_be_removed_stays_silent() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let more = "prefix: \"24,64\"\n";
        let mut agent = Agent::start(&lan, &config(mode, more)).unwrap();
        // The node loses its address and gets it again: now the VIP comes first in the subnet,
        // and the kernel would take the node's own address away together with it.
        lan.node.run("ip addr del 192.0.2.1/24 dev eth0").unwrap();
        agent.wait_log("AddressRestored").unwrap();
        let bound = || lan.node.run("ip -o addr show dev eth0").unwrap();
        until("the VIP", || Ok(bound().contains(VIP4)), || agent.log()).unwrap();
        lan.node.run("ip addr add 192.0.2.1/24 dev eth0").unwrap();
        assert!(
            bound().contains("192.0.2.1/24 scope global secondary"),
            "{}",
            bound()
        );
        observe(&lan, &[VIP4, VIP6], Duration::from_millis(300))
            .unwrap()
            .complete(NODE_MAC)
            .unwrap();

        let silent = || {
            observe(&lan, &[VIP4], Duration::from_millis(500))
                .unwrap()
                .silent()
                .unwrap();
            assert!(bound().contains(VIP4), "else this shows nothing");
        };
        agent.terminate().unwrap();
        silent();
        agent.restart().unwrap();
        agent.wait_state(VIP4, "answering").unwrap();
        agent.reload(&config_of(&[VIP6], mode, more)).unwrap();
        until(
            "the VIP to go",
            || Ok(agent.vip(VIP4)?.is_null()),
            || agent.log(),
        )
        .unwrap();
        silent();
        agent.terminate().unwrap();
        silent();
        agent.restart().unwrap();
        silent();
        // Without the other, it can go.
        lan.node.run("ip addr del 192.0.2.1/24 dev eth0").unwrap();
        until("its end", || Ok(!bound().contains(VIP4)), || agent.log()).unwrap();
        agent.terminate().unwrap();
        assert_eq!(names(&lan.node, "links"), [""; 0]);
    }
}

/// Leaves what an agent of another layout would have left: its maps filled, its links running.
fn predecessor(lan: &Lan, layout: &str, mode: Mode) {
    let object = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/xvip.o"))
        .expect("`cargo xtask build-ebpf` comes first");
    let ifindex = lan.ifindex("eth0").unwrap();
    let root = lan.node.path(PINS);
    let old = agent::tables(&lan.node).unwrap();
    lan.node
        .enter(|| {
            let mut datapath = Datapath::open(&root, layout, &object, None).unwrap();
            let pins = Pins::new(&root, layout);
            let mut tables = Tables::open(&pins).unwrap();
            tables.vips.upsert_all(&old.vips.all().unwrap()).unwrap();
            tables.links.upsert_all(&old.links.all().unwrap()).unwrap();
            tables
                .host_macs
                .upsert_all(&old.host_macs.all().unwrap())
                .unwrap();
            let left = agent::slots(&lan.node).unwrap().get(SLOT_SESSION);
            let slot = LeaseSlot {
                deadline_boot_ns: FOREVER,
                confirmed_boot_ns: FOREVER,
                epoch: left.epoch,
            };
            Slots::open(&pins).unwrap().set(SLOT_SESSION, slot);
            datapath.attach(ifindex, &[mode]).unwrap();
            datapath.retire_other_layouts().unwrap();
            Ok(())
        })
        .unwrap();
}

#[test]
#[ignore = "needs root"]
fn an_upgrade_from_another_layout_and_the_way_back_miss_nothing() {
    for (attach, mode) in [("native", Mode::Native), ("tc", Mode::Tc)] {
        let lan = Lan::new().unwrap();
        // What is not bound, the stack cannot answer in our place.
        let mut agent = Agent::start(&lan, &config(attach, "bind: none\n")).unwrap();
        let links = link_ids(&lan.node).unwrap();
        let observer = Observer::start(&lan, &[VIP4, VIP6]).unwrap();
        for _ in 0..2 {
            pause();
            agent.kill().unwrap();
            predecessor(&lan, "v0", mode);
            assert_eq!(names(&lan.node, ""), ["SESSION", "links", "v0"]);
            pause();
            agent.restart().unwrap();
            pause();
            assert_eq!(names(&lan.node, ""), ["SESSION", "links", LAYOUT]);
        }
        observer.finish().unwrap().complete(NODE_MAC).unwrap();
        assert_eq!(link_ids(&lan.node).unwrap(), links, "the links went on");
    }
}

#[test]
#[ignore = "needs root"]
fn cleanup_after_kill_removes_all_of_ours_and_nothing_else() {
    for mode in MODES {
        let lan = Lan::new().unwrap();
        let mut agent = Agent::start(&lan, &config(mode, "")).unwrap();
        let refused = agent::subcommand(&lan.node, &["cleanup"]).unwrap();
        assert!(!refused.status.success(), "an agent runs");
        agent.kill().unwrap();
        lan.node
            .run("ip addr add 192.0.2.200/32 dev eth0 && mkdir /sys/fs/bpf/foreign")
            .unwrap();
        let done = agent::subcommand(&lan.node, &["cleanup"]).unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{said}{done:?}");
        assert!(said.contains(VIP4) && said.contains(VIP6), "{said}");
        let bound = lan.node.run("ip -o addr show dev eth0").unwrap();
        assert!(!bound.contains(VIP4) && !bound.contains(VIP6), "{bound}");
        for stays in ["192.0.2.1/24", "192.0.2.200/32", "2001:db8::1/64"] {
            assert!(bound.contains(stays), "{bound}");
        }
        let left = lan.node.run("ls /sys/fs/bpf").unwrap();
        assert!(!left.contains("xvip") && left.contains("foreign"), "{left}");
        let programs = lan.node.run("bpftool net show dev eth0").unwrap();
        assert!(!programs.contains("xvip"), "{programs}");
        let observed = observe(&lan, &[VIP4, VIP6], Duration::from_millis(300)).unwrap();
        observed.silent().unwrap();
    }
}
