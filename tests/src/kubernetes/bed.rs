//! The light test bed: a control plane, nodes on a LAN, and a client.

use std::{os::fd::OwnedFd, process::Command, sync::Arc};

use super::{Bridge, ControlPlane, NAMESPACE, Node, Seat, User, node::Inside, quiet};
use crate::{
    agent::{self, Agent},
    lan::CLIENT_MAC,
    netns::{BedError, Peer},
};
use vip_agent::vip::Mac;

/// The LAN's gateway, which every node and the client route by.
const GATEWAY: [&str; 2] = ["192.0.2.254/24", "2001:db8::fe/64"];

/// All of it is gone when dropped: agents first, then nodes, then the API.
pub struct Bed {
    /// In order; `nodes[0]` is `node-1`.
    pub nodes: Vec<Node>,
    /// Where observers ask: `lan0`, [`CLIENT_MAC`].
    pub client: Peer,
    /// Between nodes and client.
    pub lan: Bridge,
    /// API server and etcd.
    pub control: ControlPlane,
}

impl Bed {
    /// A control plane, Ready nodes without agents, and a client.
    pub fn new(nodes: usize) -> Result<Self, BedError> {
        Self::with_api_server(nodes, &[])
    }

    /// The same; `more` are further arguments of the API server.
    pub fn with_api_server(nodes: usize, more: &[&str]) -> Result<Self, BedError> {
        let _quiet = quiet();
        let control = ControlPlane::start(more)?;
        let (lan, client) = lan()?;
        let mut bed = Self {
            nodes: Vec::new(),
            client,
            lan,
            control,
        };
        for number in 1..=nodes {
            bed.nodes.push(Node {
                number,
                boot: 0,
                agent: None,
                inside: None,
            });
            bed.power_on(number - 1)?;
        }
        bed.register()?;
        Ok(bed)
    }

    /// Installs what the product ships for a cluster: the agent's own manifests, unchanged.
    pub fn install(&self) -> Result<(), BedError> {
        for kind in ["crds", "rbac"] {
            self.control.apply(&manifest(&[kind])?)?;
        }
        let established = [
            "wait",
            "--for=condition=Established",
            "--timeout=15s",
            "crd",
            "--all",
        ];
        self.control.kubectl(&established, "").map(drop)
    }

    /// The configuration of the agent of `nodes[index]`; `more` are further lines.
    pub fn config(&self, index: usize, more: &str) -> String {
        let node = &self.nodes[index];
        let kubeconfig = self.control.kubeconfig(User::Agent(node.number));
        format!(
            "node: {}\nbootId: {}\ninterfaces: [eth0]\nattach: native\nlog: {{level: debug}}\n\
             ownership: kubernetes\nkubeconfig: {}\nnamespace: {NAMESPACE}\n{more}",
            node.name(),
            node.boot_id(),
            kubeconfig.display()
        )
    }

    /// Starts the agent of `nodes[index]` with a configuration; does not wait.
    pub fn start_agent(&mut self, index: usize, config: &str) -> Result<(), BedError> {
        let node = &mut self.nodes[index];
        node.agent = Some(Agent::spawn_in(node.peer(), config)?);
        Ok(())
    }

    /// Starts the agents of all nodes, and waits until they are ready.
    pub fn start_agents(&mut self, more: &str) -> Result<(), BedError> {
        let _quiet = quiet();
        for index in 0..self.nodes.len() {
            let config = self.config(index, more);
            self.start_agent(index, &config)?;
        }
        self.nodes
            .iter()
            .try_for_each(|node| node.agent().wait_ready())
    }

    /// The node whose `eth0` has a MAC.
    pub fn node_of(&self, mac: Mac) -> Option<usize> {
        self.nodes.iter().position(|node| node.mac() == mac)
    }

    /// `nodes[index]` hears the API no more; nothing is refused, all is lost.
    pub fn cut_api(&self, index: usize) -> Result<(), BedError> {
        self.control.management.cut(&self.nodes[index].port())
    }

    /// Ends it.
    pub fn heal_api(&self, index: usize) -> Result<(), BedError> {
        self.control.management.heal(&self.nodes[index].port())
    }

    /// `nodes[index]` hears the LAN no more; its carrier stays.
    pub fn cut_lan(&self, index: usize) -> Result<(), BedError> {
        self.lan.cut(&self.nodes[index].port())
    }

    /// Ends it.
    pub fn heal_lan(&self, index: usize) -> Result<(), BedError> {
        self.lan.heal(&self.nodes[index].port())
    }

    /// Its LAN's carrier goes: the cable is pulled.
    pub fn pull_lan(&self, index: usize) -> Result<(), BedError> {
        self.lan.set_carrier(&self.nodes[index].port(), false)
    }

    /// Ends it.
    pub fn plug_lan(&self, index: usize) -> Result<(), BedError> {
        self.lan.set_carrier(&self.nodes[index].port(), true)
    }

    /// Those of `nodes` hear each other and nobody else, until healed one by one.
    pub fn split_lan(&self, indices: &[usize]) -> Result<(), BedError> {
        let ports: Vec<_> = indices
            .iter()
            .map(|index| self.nodes[*index].port())
            .collect();
        self.lan.split(&ports)
    }

    /// The node is gone at once: agent, kernel state, pins, cables.
    pub fn power_off(&mut self, index: usize) -> Result<(), BedError> {
        let node = &mut self.nodes[index];
        if node.inside.is_none() {
            return Ok(());
        }
        // Silence comes first, as when the power goes; a dying namespace takes its time. The API
        // goes before the LAN, whose end the agent would tell.
        for bridge in [&self.control.management, &self.lan] {
            bridge.unplug(&node.port())?;
        }
        node.agent = None;
        node.inside = None;
        Ok(())
    }

    /// A node that was off boots: a new namespace, nothing in it, a new boot id, no agent.
    pub fn power_on(&mut self, index: usize) -> Result<(), BedError> {
        let node = &mut self.nodes[index];
        node.boot += 1;
        let peer = Arc::new(Peer::with_bpffs()?);
        let cable = plug(node.seat(), &peer, &self.lan)?;
        self.control.plug(node.seat(), &peer)?;
        node.inside = Some(Inside {
            peer,
            _cable: cable,
        });
        Ok(())
    }

    /// Off and on, with the agent's configuration given anew (its boot id is another).
    pub fn reboot(&mut self, index: usize, more: &str) -> Result<(), BedError> {
        self.power_off(index)?;
        self.power_on(index)?;
        let config = self.config(index, more);
        self.start_agent(index, &config)
    }
}

/// The LAN and a client on it, no node yet.
pub(crate) fn lan() -> Result<(Bridge, Peer), BedError> {
    let lan = Bridge::new()?;
    lan.add_addresses(&GATEWAY)?;
    let client = Peer::new()?;
    let addresses = ["192.0.2.2/24", "2001:db8::2/64"];
    // The client answers nothing in XDP: its cable's program may go.
    lan.plug("client", &client, ("lan0", CLIENT_MAC), &addresses)?;
    Ok((lan, client))
}

/// Connects a node with the LAN and its gateway. What is returned is kept for as long as the cable
/// is.
pub(crate) fn plug(seat: Seat, peer: &Peer, lan: &Bridge) -> Result<OwnedFd, BedError> {
    let addresses = [format!("{}/24", seat.ipv4()), format!("{}/64", seat.ipv6())];
    let addresses = [&*addresses[0], &*addresses[1]];
    let cable = lan.plug(&seat.port(), peer, ("eth0", seat.mac()), &addresses)?;
    for gateway in GATEWAY {
        let gateway = gateway.split('/').next().unwrap_or_default();
        peer.run(&format!("ip route add default via {gateway} dev eth0"))?;
    }
    Ok(cable)
}

/// What `vip-agent manifest` prints with these arguments.
pub(crate) fn manifest(arguments: &[&str]) -> Result<String, BedError> {
    let mut command = Command::new(agent::binary());
    command.arg("manifest").args(arguments);
    let output = command.output().map_err(crate::netns::system("spawn"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(BedError::Command {
        command: format!("vip-agent manifest {}", arguments.join(" ")),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
