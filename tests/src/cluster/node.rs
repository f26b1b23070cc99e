//! A node: a machine with kubelet and kube-proxy.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use crate::{
    kubernetes::{ControlPlane, Daemon, Seat, User, binary},
    netns::{BedError, Peer},
};

use super::{machine::Machine, settings};

/// How kube-proxy forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMode {
    /// By rules of nftables.
    Nftables,
    /// By rules of iptables.
    Iptables,
}

impl ProxyMode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        }
    }
}

/// A node of a [`Cluster`](super::Cluster). All that runs on it is killed when it is dropped.
#[derive(Debug)]
pub struct RealNode {
    /// Its names and addresses, as in the light bed.
    pub seat: Seat,
    /// How its kube-proxy forwards.
    pub proxy_mode: ProxyMode,
    /// Stopped and started by tests.
    pub kubelet: Daemon,
    /// Stopped and started by tests.
    pub proxy: Daemon,
    /// Its namespaces.
    pub peer: Arc<Peer>,
    machine: Machine,
}

/// How a node's programs reach the API. They start once the files are there.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    /// Arguments of the kubelet.
    pub(super) kubelet: Vec<String>,
    /// What the kubelet starts after.
    pub(super) kubelet_after: PathBuf,
    /// Kubeconfig of kube-proxy.
    pub(super) proxy: PathBuf,
}

impl Credentials {
    /// From the beds' own control plane.
    pub(super) fn of(control: &ControlPlane, seat: Seat) -> Self {
        let kubelet = control.kubeconfig(User::Kubelet(seat.0));
        Self {
            kubelet: vec![format!("--kubeconfig={}", kubelet.display())],
            kubelet_after: kubelet,
            proxy: control.kubeconfig(User::Proxy),
        }
    }
}

/// Of both families, as `--node-ip` takes them.
fn own_addresses(seat: Seat) -> String {
    format!("{},{}", seat.ipv4(), seat.ipv6())
}

impl RealNode {
    /// Makes a machine a node: its kubelet registers it with the API.
    pub(super) fn of(
        machine: Machine,
        proxy_mode: ProxyMode,
        credentials: &Credentials,
    ) -> Result<Self, BedError> {
        let seat = machine.seat;
        let config = machine.write("kubelet.yaml", &settings::kubelet(&machine.cgroup()))?;
        let own = [
            format!("--config={config}"),
            format!("--hostname-override={}", seat.name()),
            format!("--node-ip={}", own_addresses(seat)),
            "--v=2".to_owned(),
        ];
        let arguments: Vec<&str> = own
            .iter()
            .chain(&credentials.kubelet)
            .map(String::as_str)
            .collect();
        let start = |name: &str, arguments: &[&str], needs: &Path| {
            machine.start(name, &binary(name)?, arguments, needs)
        };
        let kubelet = start("kubelet", &arguments, &credentials.kubelet_after)?;
        let config = settings::proxy(seat, proxy_mode, &credentials.proxy);
        let config = format!("--config={}", machine.write("proxy.yaml", &config)?);
        let proxy = start("kube-proxy", &[&config, "--v=2"], &credentials.proxy)?;
        Ok(Self {
            seat,
            proxy_mode,
            kubelet,
            proxy,
            peer: Arc::clone(&machine.peer),
            machine,
        })
    }

    /// Starts the kubelet anew, with another `--node-ip`. None is that of the bed: the node's own
    /// addresses.
    pub fn restart_kubelet(&mut self, node_ip: Option<&str>) -> Result<(), BedError> {
        const FLAG: &str = "--node-ip=";
        let own = own_addresses(self.seat);
        self.kubelet.kill()?;
        let arguments = self.kubelet.arguments();
        let is_flag = |argument: &String| argument.starts_with(FLAG);
        let flag = format!("{FLAG}{}", node_ip.unwrap_or(&own));
        match arguments.iter_mut().find(|argument| is_flag(argument)) {
            Some(argument) => *argument = flag,
            None => arguments.push(flag),
        }
        self.kubelet.run()
    }

    /// Loads an image that few tests need; false when it could not be built here.
    pub fn load_image(&self, archive: &str) -> Result<bool, BedError> {
        self.machine.load_image(archive)
    }

    /// Gives an image another name in the node's store.
    pub fn tag_image(&self, image: &str, other: &str) -> Result<(), BedError> {
        self.machine
            .ctr(&format!("images tag --force {image} {other}"))
    }

    /// `/proc/PID/status` of the agent's process.
    pub fn agent_status(&self) -> Result<String, BedError> {
        self.peer.run(
            "for process in /proc/[0-9]*; do \
             [ \"$(cat $process/comm)\" = vip-agent ] && cat $process/status; done; true",
        )
    }

    /// The last lines of what runs on it.
    pub fn last_words(&self) -> String {
        format!(
            "--- kubelet of {name}\n{}\n--- kube-proxy of {name}\n{}",
            self.kubelet.last_words(),
            self.proxy.last_words(),
            name = self.seat.name()
        )
    }
}

/// Nodes know each other's pods.
pub(super) fn route_pods(nodes: &[RealNode]) -> Result<(), BedError> {
    for node in nodes {
        for other in nodes.iter().filter(|other| other.seat != node.seat) {
            let [ipv4, ipv6] = settings::pod_networks(other.seat);
            let (by4, by6) = (other.seat.ipv4(), other.seat.ipv6());
            node.peer.run(&format!(
                "ip route add {ipv4} via {by4} && ip route add {ipv6} via {by6}"
            ))?;
        }
    }
    Ok(())
}

/// Makes several at once.
pub(super) fn beside_each_other(
    numbers: RangeInclusive<usize>,
    make: impl Fn(usize) -> Result<RealNode, BedError> + Sync,
) -> Result<Vec<RealNode>, BedError> {
    let make = &make;
    thread::scope(|scope| {
        let making: Vec<_> = numbers
            .map(|number| scope.spawn(move || make(number)))
            .collect();
        let made = making.into_iter().map(|node| match node.join() {
            Ok(node) => node,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        made.collect()
    })
}
