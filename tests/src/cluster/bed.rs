//! Control plane, nodes and client together.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use vip_agent::vip::Mac;

use crate::{
    agent::until_within,
    kubernetes::{ControlPlane, Daemon, Seat, User, binary, lan, line, quiet},
    netns::{BedError, Peer, system},
};

use super::{
    NODES,
    machine::Machine,
    node::{Credentials, ProxyMode, RealNode, beside_each_other, route_pods},
    site::Site,
};

/// For what takes seconds on an idle machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// Gone when dropped, or when the process ends.
#[derive(Debug)]
pub struct Cluster {
    /// In order; `nodes[0]` is `node-1`.
    pub nodes: Vec<RealNode>,
    /// Where observers ask and pages are fetched: `lan0`.
    pub client: Peer,
    /// How long it took until all nodes were Ready.
    pub took: Duration,
    _controllers: [Daemon; 2],
    /// API server and etcd.
    pub control: ControlPlane,
    _site: Site,
}

impl Cluster {
    /// Starts it and waits until all nodes are Ready.
    pub fn start() -> Result<Self, BedError> {
        let _quiet = quiet();
        let began = Instant::now();
        let control = ControlPlane::start_for_cluster()?;
        let (lan, client) = lan()?;
        let site = Site::new(lan, &[control.directory()])?;
        let controllers = controllers(&control, &site.directory)?;
        let boot = |number| {
            let mode = match number {
                2 => ProxyMode::Iptables,
                _ => ProxyMode::Nftables,
            };
            let machine = Machine::boot(Seat(number), &site)?;
            control.plug(machine.seat, &machine.peer)?;
            let credentials = Credentials::of(&control, machine.seat);
            RealNode::of(machine, mode, &credentials)
        };
        let mut cluster = Self {
            nodes: beside_each_other(1..=NODES, boot)?,
            client,
            took: Duration::ZERO,
            _controllers: controllers,
            control,
            _site: site,
        };
        cluster.add_routes()?;
        let ready = cluster.wait_nodes();
        ready.inspect_err(|_| cluster.print_last_words())?;
        cluster.took = began.elapsed();
        Ok(cluster)
    }

    /// The cluster of this test process, for one test at a time; the first one starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn shared() -> MutexGuard<'static, Self> {
        static CLUSTER: OnceLock<Mutex<Cluster>> = OnceLock::new();
        let cluster = CLUSTER.get_or_init(|| {
            let (give, take) = mpsc::channel();
            // Daemons go with the thread that started them: it stays when the first test ends.
            thread::spawn(move || {
                // Nobody takes it when the process ends meanwhile.
                let _ = give.send(Self::start());
                loop {
                    thread::park();
                }
            });
            let started = take.recv().expect("the thread starts it");
            Mutex::new(started.unwrap_or_else(|error| panic!("{error}")))
        });
        cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nodes know each other's pods, the API server its kubelets.
    fn add_routes(&self) -> Result<(), BedError> {
        for node in &self.nodes {
            let kubelet = format!(
                "ip route add {} via {}",
                node.seat.ipv4(),
                node.seat.management()
            );
            self.control.host.run(&kubelet)?;
        }
        route_pods(&self.nodes)
    }

    fn wait_nodes(&self) -> Result<(), BedError> {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        for node in &self.nodes {
            let name = format!("node/{}", node.seat.name());
            // Conditions of what is not there yet cannot be waited for.
            self.control
                .kubectl(&["wait", "--for=create", &name, &timeout], "")?;
            self.control
                .kubectl(&["wait", "--for=condition=Ready", &name, &timeout], "")?;
        }
        Ok(())
    }

    /// What a failed start leaves to look at.
    pub fn print_last_words(&self) {
        for node in &self.nodes {
            eprintln!("{}", node.last_words());
        }
    }

    /// An object, or a list, as kubectl gives it.
    pub fn json(&self, get: &[&str]) -> Result<Value, BedError> {
        let arguments = [&["get", "-o", "json"], get].concat();
        let text = self.control.kubectl(&arguments, "")?;
        serde_json::from_str(&text).map_err(|error| system("kubectl")(error.into()))
    }

    /// The node whose `eth0` has a MAC.
    pub fn node_of(&self, mac: Mac) -> Option<usize> {
        self.nodes.iter().position(|node| node.seat.mac() == mac)
    }

    /// Waits for what takes its time in a cluster.
    pub fn wait(
        &self,
        what: &str,
        is_so: impl FnMut() -> Result<bool, BedError>,
        state: impl Fn() -> String,
    ) -> Result<(), BedError> {
        until_within(PATIENCE, what, is_so, state)
    }
}

fn controllers(control: &ControlPlane, directory: &Path) -> Result<[Daemon; 2], BedError> {
    let at = |name: &str| control.directory().join(name).display().to_string();
    let own = |name: &str| directory.join(name).display().to_string();
    let start = |name: &str, user: User, more: &[&str]| {
        let kubeconfig = format!("--kubeconfig={}", control.kubeconfig(user).display());
        let certificates = format!("--cert-dir={}", own(name));
        let common = [
            &*kubeconfig,
            &*certificates,
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ];
        let arguments = line(&[&common, more].concat());
        let log = directory.join(format!("{name}.log"));
        Daemon::start(&control.host, &binary(name)?, arguments, log)
    };
    let controllers = start(
        "kube-controller-manager",
        User::Controllers,
        &[
            "--use-service-account-credentials",
            &format!("--service-account-private-key-file={}", at("sa.key")),
            &format!("--root-ca-file={}", at("apiserver.crt")),
            // A dead node is seen in six seconds instead of 48.
            "--node-monitor-period=1s",
            "--node-monitor-grace-period=6s",
        ],
    )?;
    Ok([controllers, start("kube-scheduler", User::Scheduler, &[])?])
}
