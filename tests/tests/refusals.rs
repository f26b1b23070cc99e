//! What keeps the agent, or an interface, from serving: each is told in a sentence with its fix.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{os::fd::OwnedFd, time::Duration};

use tests::{
    agent::{self, Agent, CAPABILITIES, VIP4, VIP6, config, names},
    lan::{Lan, NODE_MAC, end_chain, pass_all},
    netns::Peer,
    observer::observe,
};
use vip_agent::io::datapath::AttachType;

const RUN: [&str; 5] = ["run", "--vips", VIP4, "--interfaces", "lo"];

/// What an agent says that does not start.
fn refused(node: &Peer, capabilities: &[&str], more: &[&str]) -> String {
    let arguments = [&RUN[..], more].concat();
    let output = agent::subcommand_with(node, capabilities, &arguments).unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
#[ignore = "needs root"]
fn what_the_host_lacks_is_told_at_start_all_at_once_and_by_doctor_with_the_fix() {
    let node = Peer::with_bpffs().unwrap();
    for missing in CAPABILITIES {
        let left: Vec<&str> = CAPABILITIES
            .into_iter()
            .filter(|one| *one != missing)
            .collect();
        let said = refused(&node, &left, &[]);
        let name = format!("CAP_{}", missing.to_uppercase());
        assert!(
            said.contains(&format!("{name} is missing: add it to")),
            "{said}"
        );
        let others = left.iter().map(|one| format!("CAP_{}", one.to_uppercase()));
        assert!(
            others
                .into_iter()
                .all(|other| !said.contains(&format!("{other} is missing")))
        );
    }

    node.run("mount -t tmpfs none /sys/kernel/btf").unwrap();
    let said = refused(&node, &["net_admin", "net_raw"], &[]);
    let btf = "the kernel has no BTF (/sys/kernel/btf/vmlinux is missing): use a kernel with";
    assert!(
        said.contains(btf) && said.contains("CAP_BPF is missing"),
        "{said}"
    );
    let doctor = agent::subcommand_with(&node, &["net_admin", "net_raw"], &["doctor"]).unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    let found = String::from_utf8(doctor.stdout).unwrap();
    for finding in [
        "error: kernel: the kernel has no BTF (/sys/kernel/btf/vmlinux is missing)\n  fix: use a kernel",
        "error: capabilities: CAP_BPF is missing\n  fix: add it to",
    ] {
        assert!(found.contains(finding), "{found}");
    }
    node.run("umount /sys/kernel/btf").unwrap();

    let said = refused(&node, &CAPABILITIES, &["--pin-dir", "/tmp/xvip"]);
    let bpffs = "/tmp/xvip is on no BPF file system: run `mount -t bpf bpf /sys/fs/bpf`";
    assert!(said.contains(bpffs), "{said}");
    let arguments = ["doctor", "--pin-dir", "/tmp/xvip"];
    let doctor = agent::subcommand(&node, &arguments).unwrap();
    let found = String::from_utf8(doctor.stdout).unwrap();
    assert!(
        found.contains("  fix: run `mount -t bpf bpf /sys/fs/bpf`"),
        "{found}"
    );
}

/// It is said in the log and in `/readyz`, nothing is attached, and nobody answers.
fn keeps_from_serving(lan: &Lan, agent: &Agent, reason: &str) {
    agent.wait_log(reason).unwrap();
    agent.wait_state(VIP4, "pending").unwrap();
    let answer = agent.get("/readyz").unwrap();
    assert!(
        answer.starts_with("HTTP/1.0 503") && answer.contains("eth0"),
        "{answer}"
    );
    let index = format!("{}-", lan.ifindex("eth0").unwrap());
    let links = names(&lan.node, "links");
    assert!(
        !links.iter().any(|link| link.starts_with(&index)),
        "{links:?}"
    );
    observe(lan, &[VIP4, VIP6], Duration::from_millis(200))
        .unwrap()
        .silent()
        .unwrap();
}

fn serves(lan: &Lan, agent: &Agent) {
    agent.wait_ready().unwrap();
    observe(lan, &[VIP4, VIP6], Duration::from_millis(200))
        .unwrap()
        .complete(NODE_MAC)
        .unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_device_that_others_live_on_is_refused_until_they_are_gone() {
    let lan = Lan::new().unwrap();
    let agent = Agent::start(&lan, &config("native", "")).unwrap();
    serves(&lan, &agent);
    lan.node
        .run("ip link add guest0 link eth0 type macvlan mode bridge")
        .unwrap();
    keeps_from_serving(&lan, &agent, "carries macvlan guests");
    let bound = lan.node.run("ip -o addr show dev eth0").unwrap();
    assert!(!bound.contains(VIP4) && !bound.contains(VIP6), "{bound}");
    lan.node.run("ip link del guest0").unwrap();
    serves(&lan, &agent);

    lan.node
        .run("ip link add br0 type bridge && ip link set eth0 master br0")
        .unwrap();
    keeps_from_serving(
        &lan,
        &agent,
        "it is a port of a bridge: list the bridge itself",
    );
    lan.node.run("ip link set eth0 nomaster").unwrap();
    serves(&lan, &agent);
}

/// As many tc programs as the chain takes (`bpf_mprog_max`).
fn full_chain(interface: &str) -> Vec<OwnedFd> {
    let place = AttachType::BPF_TCX_INGRESS;
    let chain = (0..1_000).map_while(|_| end_chain(interface, place).ok());
    chain.collect()
}

#[test]
#[ignore = "needs root"]
fn with_neither_xdp_nor_tc_to_be_had_the_reason_of_each_is_told() {
    let lan = Lan::new().unwrap();
    let foreign = lan
        .node
        .enter(|| Ok((full_chain("eth0"), pass_all("eth0")?)))
        .unwrap();
    let agent = Agent::spawn(&lan, &config("auto", "")).unwrap();
    keeps_from_serving(&lan, &agent, "tc: as many tc programs as the kernel takes");
    agent.reload(&config("native", "")).unwrap();
    keeps_from_serving(
        &lan,
        &agent,
        "native: another XDP program is attached: leave `attach`",
    );
    let doctor = agent::subcommand(
        &lan.node,
        &[
            "doctor",
            "--interfaces",
            "eth0",
            "--vips",
            VIP4,
            "--attach",
            "native",
        ],
    )
    .unwrap();
    let found = String::from_utf8(doctor.stdout).unwrap();
    let finding = "error: eth0: another XDP program is attached, and `attach` takes nothing else\n  \
                   fix: set `attach: auto`, or remove that program (`ip link set dev eth0 xdp off`)";
    assert!(found.contains(finding), "{found}");
    drop(foreign);
    agent.wait_state(VIP4, "answering").unwrap();
    serves(&lan, &agent);
}
