//! A LAN: a switch with a node, a client and a rival on it, each in a network namespace.
//!
//! ```text
//! node: eth0 (and eth1)        client: lan0           rival: lan0
//!  192.0.2.1, 2001:db8::1      192.0.2.2, ::2         192.0.2.3, ::3
//!        \\                       |                    /
//!         +------------- switch: a bridge ------------+
//! ```
//!
//! The node's cables run XDP_PASS at the switch's end: without, what the node sends by XDP_TX is
//! lost (a property of veth).

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use nix::net::if_::if_nametoindex;
use vip_agent::{
    io::datapath::{AttachType, ProgramType, create_link, load_constant_program},
    vip::Mac,
};

use crate::netns::{BedError, Peer, system};

/// The node's, of `eth0`.
pub const NODE_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x10]);
/// The node's, of `eth1`.
pub const SECOND_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x11]);
/// The client's.
pub const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x20]);
/// The rival's.
pub const RIVAL_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x66]);

/// Namespaces and cables; all gone when dropped.
pub struct Lan {
    /// Where the agent runs.
    pub node: Arc<Peer>,
    /// Who asks.
    pub client: Peer,
    /// Who claims what is not its own.
    pub rival: Peer,
    /// The bridge `br0` with ports `eth0`, `eth1`, `client`, `rival`.
    pub switch: Peer,
    passing: Vec<OwnedFd>,
}

impl Lan {
    /// With one cable between node and switch.
    pub fn new() -> Result<Self, BedError> {
        let lan = Self {
            node: Arc::new(Peer::with_bpffs()?),
            client: Peer::new()?,
            rival: Peer::new()?,
            switch: Peer::new()?,
            passing: Vec::new(),
        };
        // Addresses are usable at once, and nobody probes: what is on the wire is ours.
        let no_dad = "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad";
        for host in [&lan.node, &lan.client, &lan.rival, &lan.switch] {
            host.run(no_dad)?;
        }
        lan.switch
            .run("ip link add br0 type bridge && ip link set br0 up")?;
        let mut lan = lan;
        lan.plug_node("eth0", NODE_MAC)?;
        lan.node.run(
            "ip addr add 192.0.2.1/24 dev eth0 && ip addr add 2001:db8::1/64 dev eth0 nodad",
        )?;
        for (host, port, mac, number) in [
            (&lan.client, "client", CLIENT_MAC, 2),
            (&lan.rival, "rival", RIVAL_MAC, 3),
        ] {
            let pid = host.pid();
            lan.switch.run(&format!(
                "ip link add {port} type veth peer name lan0 address {mac} netns {pid} \
                 && ip link set {port} master br0 up"
            ))?;
            host.run(&format!(
                "ip link set lan0 up && ip addr add 192.0.2.{number}/24 dev lan0 \
                 && ip addr add 2001:db8::{number}/64 dev lan0 nodad"
            ))?;
        }
        lan.client.run("ping -c 1 -W 5 192.0.2.1")?;
        lan.client.run("ping -c 1 -W 5 2001:db8::1")?;
        Ok(lan)
    }

    /// Another cable between node and switch, without addresses. It is up.
    pub fn plug_node(&mut self, name: &str, mac: Mac) -> Result<(), BedError> {
        let pid = self.node.pid();
        self.switch.run(&format!(
            "ip link add {name} type veth peer name {name} address {mac} netns {pid} \
             && ip link set {name} master br0 up"
        ))?;
        self.node.run(&format!("ip link set {name} up"))?;
        let passing = self.switch.enter(|| pass_all(name))?;
        self.passing.push(passing);
        Ok(())
    }

    /// Index of one of the node's interfaces.
    pub fn ifindex(&self, name: &str) -> Result<u32, BedError> {
        self.node
            .enter(|| if_nametoindex(name).map_err(|errno| system("if_nametoindex")(errno.into())))
    }
}

/// A native XDP program that passes everything; gone when dropped.
pub fn pass_all(interface: &str) -> Result<OwnedFd, BedError> {
    const XDP_PASS: i32 = 2;
    const XDP_FLAGS_DRV_MODE: u32 = 4;
    let ifindex =
        if_nametoindex(interface).map_err(|errno| system("if_nametoindex")(errno.into()))?;
    let program = load_constant_program(ProgramType::BPF_PROG_TYPE_XDP, XDP_PASS)
        .map_err(system("BPF_PROG_LOAD"))?;
    create_link(
        program.as_fd(),
        ifindex,
        AttachType::BPF_XDP,
        XDP_FLAGS_DRV_MODE,
    )
    .map_err(system("BPF_LINK_CREATE"))
}

/// A tc program that ends the chain, in the first place; gone when dropped.
pub fn end_chain(interface: &str, place: AttachType) -> Result<OwnedFd, BedError> {
    const TC_ACT_OK: i32 = 0;
    let ifindex =
        if_nametoindex(interface).map_err(|errno| system("if_nametoindex")(errno.into()))?;
    let program = load_constant_program(ProgramType::BPF_PROG_TYPE_SCHED_CLS, TC_ACT_OK)
        .map_err(system("BPF_PROG_LOAD"))?;
    create_link(
        program.as_fd(),
        ifindex,
        place,
        vip_agent::io::datapath::FIRST,
    )
    .map_err(system("BPF_LINK_CREATE"))
}
