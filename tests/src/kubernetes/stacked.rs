//! A control plane on the nodes: an API server on each, one etcd, and VIPs for the API servers.

use serde_json::{Value, json};

use super::{Daemon, NAMESPACE, bed::Bed, control_plane::PORT, quiet};
use crate::{
    agent::{VIP4, VIP6, until},
    netns::BedError,
    observer::Observer,
};

/// The label of control-plane Nodes.
pub const ROLE: &str = "node-role.kubernetes.io/control-plane";

/// The bed and the nodes' API servers, which end before it.
pub struct Stacked {
    /// Of `bed.nodes`, in their order.
    pub servers: Vec<Daemon>,
    /// Nodes, client and the API server of the tests themselves.
    pub bed: Bed,
}

impl Stacked {
    /// A cluster as it grows: the first node answers for its API server before the others join.
    /// `more` are further lines of the agents' configuration. Nothing of ours is installed.
    pub fn new(nodes: usize, more: &str) -> Result<Self, BedError> {
        let bed = Bed::new(nodes)?;
        let _quiet = quiet();
        let servers = vec![bed.control.start_server(&bed.nodes[0])?];
        let mut stacked = Self { servers, bed };
        stacked.wait_server(0)?;
        stacked.join(0, more)?;
        for vip in [VIP4, VIP6] {
            stacked.bed.nodes[0].agent().wait_state(vip, "answering")?;
        }
        for index in 1..nodes {
            let server = stacked
                .bed
                .control
                .start_server(&stacked.bed.nodes[index])?;
            stacked.servers.push(server);
        }
        for index in 1..nodes {
            stacked.wait_server(index)?;
            stacked.join(index, more)?;
        }
        Ok(stacked)
    }

    /// A cluster that stands, of control-plane nodes without agents.
    pub fn without_agents(nodes: usize) -> Result<Self, BedError> {
        let bed = Bed::new(nodes)?;
        let _quiet = quiet();
        let servers: Result<_, _> = (bed.nodes.iter())
            .map(|node| bed.control.start_server(node))
            .collect();
        let servers = servers?;
        let stacked = Self { servers, bed };
        for index in 0..nodes {
            stacked.wait_server(index)?;
            stacked.bed.patch_node(index, control_plane())?;
        }
        Ok(stacked)
    }

    /// The configuration of a static pod: an administrator's kubeconfig that names the VIP, as
    /// kubeadm writes it.
    pub fn config(&self, index: usize, more: &str) -> Result<String, BedError> {
        let node = &self.bed.nodes[index];
        let kubeconfig = self.bed.control.kubeconfig_for(VIP4)?;
        Ok(format!(
            "node: {}\nbootId: {}\ninterfaces: [eth0]\nattach: native\nlog: {{level: debug}}\n\
             ownership: kubernetes\nkubeconfig: {}\nnamespace: {NAMESPACE}\n\
             controlPlane: {{addresses: [{VIP4}, \"{VIP6}\"], port: {PORT}}}\n{more}",
            node.name(),
            node.boot_id(),
            kubeconfig.display()
        ))
    }

    /// Makes a node one of the control plane, with an agent that is ready.
    pub fn join(&mut self, index: usize, more: &str) -> Result<(), BedError> {
        self.bed.patch_node(index, control_plane())?;
        let config = self.config(index, more)?;
        self.bed.start_agent(index, &config)?;
        self.bed.nodes[index].agent().wait_ready()
    }

    /// Waits until a node's API server is ready.
    pub fn wait_server(&self, index: usize) -> Result<(), BedError> {
        let node = &self.bed.nodes[index];
        let ask = format!("curl -sk -m 2 https://127.0.0.1:{PORT}/readyz");
        until(
            "the node's API server",
            || Ok(node.peer().run(&ask).is_ok_and(|said| said == "ok")),
            || self.servers[index].last_words(),
        )
    }

    /// Begins to ask for the VIPs, and waits until both are answered.
    pub fn observe(&self) -> Result<Observer, BedError> {
        let observer = Observer::ask(&self.bed.client, &[VIP4, VIP6], crate::observer::PAUSE)?;
        self.wait_answered(&observer)?;
        Ok(observer)
    }

    /// Waits until both VIPs are answered now.
    pub fn wait_answered(&self, observer: &Observer) -> Result<(), BedError> {
        let since = observer.now();
        let answered =
            || [VIP4, VIP6].map(|vip| observer.latest(vip).is_some_and(|answer| answer.at > since));
        let logs = || {
            let agents = self.bed.nodes.iter().filter_map(|node| node.agent.as_ref());
            agents.map(crate::agent::Agent::log).collect::<String>()
        };
        until(
            "the VIPs of the API server to be answered",
            || Ok(answered() == [true; 2]),
            || format!("{:?}\n{}", answered(), logs()),
        )
    }

    /// The node that answers for the VIPs.
    pub fn owner(&self, observer: &Observer) -> Option<usize> {
        self.bed.owner(observer, VIP4)
    }

    /// Waits until others than a node answer for both.
    pub fn wait_moved(&self, observer: &Observer, index: usize) -> Result<(), BedError> {
        self.bed.wait_moved(observer, &[VIP4, VIP6], index)
    }
}

/// What makes a Node one of the control plane.
fn control_plane() -> Value {
    json!({"metadata": {"labels": {ROLE: ""}}})
}

impl Bed {
    /// A `Vip` by its name.
    pub fn vip_object(&self, name: &str) -> Result<Value, BedError> {
        self.json(&["get", "vip", name])
    }

    /// The Lease of the control plane.
    pub fn control_plane_lease(&self) -> Result<Value, BedError> {
        self.json(&["get", "lease", "xvip-control-plane", "-n", "kube-system"])
    }
}
