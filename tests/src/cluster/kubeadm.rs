//! A cluster that kubeadm makes: its control plane are static Pods on its own nodes, and whoever
//! is not on the same node reaches it by VIPs that a static Pod of ours answers for.
//!
//! ```text
//!   node-1                      node-2   ...
//!     etcd, kube-apiserver,       kubelet, kube-proxy
//!     controllers, scheduler,
//!     vip-agent, kubelet          no network but this one:
//!     |                           |
//!     bridge br0 192.0.2.254/24, 2001:db8::fe/64
//!     |
//!    lan0                         the client, and kubectl
//! ```
//!
//! Programs of Kubernetes are not in the images: the static Pods find them on the node.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::{
    agent::{self, VIP4, VIP6, until_within},
    kubernetes::{Seat, binary, kubectl, lan, manifest, quiet},
    netns::{BedError, Peer, output_of, system},
};

use super::{
    bed::PATIENCE,
    machine::Machine,
    node::{Credentials, ProxyMode, RealNode, beside_each_other, route_pods},
    settings::{self, CERTIFICATE_KEY, RUNTIME, TOKEN},
    site::Site,
};

/// Where the kubelet looks for static Pods, with our file's name.
const MANIFEST: &str = "/etc/kubernetes/manifests/xvip.yaml";

/// What a node becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One more etcd, API server, and so on.
    ControlPlane,
    /// None of that.
    Worker,
}

/// Gone when dropped, or when the process ends.
#[derive(Debug)]
pub struct Kubeadm {
    /// In order; `nodes[0]` is `node-1`, the one of `kubeadm init`.
    pub nodes: Vec<RealNode>,
    /// Where observers ask, pages are fetched and kubectl runs: `lan0`.
    pub client: Peer,
    site: Site,
}

impl Kubeadm {
    /// Switches nodes on. Their kubelets wait for kubeadm, and kube-proxies for an administrator's
    /// kubeconfig.
    pub fn boot(nodes: usize) -> Result<Self, BedError> {
        let _quiet = quiet();
        let (lan, client) = lan()?;
        let site = Site::new(lan, &[])?;
        let credentials = Credentials {
            kubelet: vec![
                "--kubeconfig=/etc/kubernetes/kubelet.conf".to_owned(),
                "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf".to_owned(),
                // With it, static Pods do not wait until the API server, one of them, is there.
                "--rotate-certificates".to_owned(),
            ],
            // A service manager would start it in vain before.
            kubelet_after: PathBuf::from("/var/lib/kubelet/config.yaml"),
            proxy: site.directory.join("admin.conf"),
        };
        let nodes = beside_each_other(1..=nodes, |number| {
            let machine = Machine::boot(Seat(number), &site)?;
            RealNode::of(machine, ProxyMode::Nftables, &credentials)
        })?;
        route_pods(&nodes)?;
        let bed = Self {
            nodes,
            client,
            site,
        };
        bed.write_settings()?;
        Ok(bed)
    }

    fn write_settings(&self) -> Result<(), BedError> {
        let patches = self.patches();
        fs::create_dir(&patches).map_err(system("mkdir"))?;
        let programs = binary("kubeadm")?;
        let programs = programs.parent().unwrap_or(&programs);
        for name in settings::CONTROL_PLANE {
            let patch = settings::static_pod(name, programs).to_string();
            let path = patches.join(format!("{name}+strategic.json"));
            fs::write(path, patch).map_err(system("write"))?;
        }
        let version = format!("{} version -o short", binary("kubeadm")?.display());
        let version = self.client.run(&version)?;
        let init = settings::init(self.nodes[0].seat, version.trim(), &patches);
        fs::write(self.init_file(), init).map_err(system("write"))
    }

    fn patches(&self) -> PathBuf {
        self.site.directory.join("patches")
    }

    fn init_file(&self) -> PathBuf {
        self.site.directory.join("init.yaml")
    }

    /// The administrator's kubeconfig, whose server is the VIP.
    pub fn kubeconfig(&self) -> PathBuf {
        self.site.directory.join("admin.conf")
    }

    /// Writes our static Pod to a node's folder, as the documentation does; `more` are further
    /// arguments of `vip-agent manifest static-pod`.
    pub fn write_static_pod(&self, index: usize, more: &[&str]) -> Result<(), BedError> {
        let (agent, more) = (agent::binary(), more.join(" "));
        let write = format!(
            "{} manifest static-pod --addresses {VIP4},{VIP6} {more} > {MANIFEST}",
            agent.display()
        );
        self.nodes[index].peer.run(&write).map(drop)
    }

    /// Takes it away.
    pub fn remove_static_pod(&self, index: usize) -> Result<(), BedError> {
        let remove = format!("rm {MANIFEST}");
        self.nodes[index].peer.run(&remove).map(drop)
    }

    /// `kubeadm init` on the first node.
    pub fn init(&self) -> Result<(), BedError> {
        let _quiet = quiet();
        let config = format!("--config={}", self.init_file().display());
        self.kubeadm(0, &["init", &config, "--upload-certs"])?;
        let admin = self.nodes[0].peer.path("/etc/kubernetes/admin.conf");
        let admin = fs::read(admin).map_err(system("read admin.conf"))?;
        // kube-proxies begin when it is there: it is whole then.
        let partial = self.site.directory.join("admin.conf.partial");
        fs::write(&partial, admin).map_err(system("write"))?;
        fs::rename(partial, self.kubeconfig()).map_err(system("rename"))
    }

    /// `kubeadm join` by the VIP on another node.
    pub fn join(&self, index: usize, role: Role) -> Result<(), BedError> {
        let endpoint = format!("{VIP4}:6443");
        let socket = format!("--cri-socket={RUNTIME}");
        let mut arguments = vec![
            "join",
            &endpoint,
            "--token",
            TOKEN,
            "--discovery-token-unsafe-skip-ca-verification",
            "--skip-phases=preflight",
            &socket,
        ];
        let patches = format!("--patches={}", self.patches().display());
        if role == Role::ControlPlane {
            let key = [
                "--control-plane",
                "--certificate-key",
                CERTIFICATE_KEY,
                &patches,
            ];
            arguments.extend(key);
        }
        self.kubeadm(index, &arguments)
    }

    fn kubeadm(&self, index: usize, arguments: &[&str]) -> Result<(), BedError> {
        let node = &self.nodes[index];
        // Without programs to find: the machine's service manager is none of the node's.
        let mut command = node.peer.command("env");
        command.arg("PATH=").arg(binary("kubeadm")?).args(arguments);
        let output = command.output().map_err(system("spawn kubeadm"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        Err(BedError::Command {
            command: format!("kubeadm {}", arguments.join(" ")),
            stderr: format!("{said}\n{}", self.last_words(index)),
        })
    }

    /// Waits until a node is Ready.
    pub fn wait_node(&self, index: usize) -> Result<(), BedError> {
        let name = self.nodes[index].seat.name();
        let is_ready = || {
            // Not registered yet.
            let Ok(node) = self.json(&["node", &name]) else {
                return Ok(false);
            };
            let conditions = node["status"]["conditions"].as_array().cloned();
            let mut conditions = conditions.into_iter().flatten();
            Ok(conditions.any(|it| it["type"] == "Ready" && it["status"] == "True"))
        };
        let shown = || self.last_words(index);
        self.wait(&format!("{name} to be Ready"), is_ready, shown)
    }

    /// Runs kubectl as the administrator, by the VIP.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, BedError> {
        let cache = self.site.directory.join("kubectl");
        kubectl(&self.client, &self.kubeconfig(), &cache, arguments, input)
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) -> Result<String, BedError> {
        self.kubectl(&["apply", "-f", "-"], manifests)
    }

    /// Applies what `vip-agent manifest` prints with these arguments.
    pub fn install(&self, manifests: &[&str]) -> Result<(), BedError> {
        self.apply(&manifest(manifests)?).map(drop)
    }

    /// An object, or a list, as kubectl gives it.
    pub fn json(&self, get: &[&str]) -> Result<Value, BedError> {
        let text = self.kubectl(&[&["get", "-o", "json"], get].concat(), "")?;
        serde_json::from_str(&text).map_err(|error| system("kubectl")(error.into()))
    }

    /// What the API server behind a VIP says at a path, without credentials; its certificate has to
    /// name the VIP.
    pub fn ask(&self, vip: &str, path: &str) -> Result<String, BedError> {
        let authority = self.nodes[0].peer.path("/etc/kubernetes/pki/ca.crt");
        let host = if vip.contains(':') {
            format!("[{vip}]")
        } else {
            vip.to_owned()
        };
        self.client.run(&format!(
            "curl -sS -m 2 --cacert {} 'https://{host}:6443{path}'",
            authority.display()
        ))
    }

    /// The process of the agent on a node, once it is ready and another than `former`. Asked for on
    /// the node: the API shows a static Pod late, when its kubelet was not registered at first.
    pub fn wait_agent(&self, index: usize, former: Option<u32>) -> Result<u32, BedError> {
        let node = &self.nodes[index];
        let pid = || {
            let status = node.agent_status().ok()?;
            let pid = status.lines().find_map(|line| line.strip_prefix("Pid:"))?;
            pid.trim()
                .parse::<u32>()
                .ok()
                .filter(|pid| Some(*pid) != former)
        };
        let is_ready = || node.peer.run("curl -sf -m 2 127.0.0.1:9470/readyz").is_ok();
        let mut found = None;
        let is_there = || {
            found = pid();
            Ok(found.is_some() && is_ready())
        };
        let what = format!("the agent of {}", node.seat.name());
        self.wait(&what, is_there, || self.last_words(index))?;
        Ok(found.unwrap_or_default())
    }

    /// What the agent in our static Pod on a node has written.
    pub fn agent_log(&self, index: usize) -> Result<String, BedError> {
        let logs = "cat /var/log/pods/kube-system_xvip-agent-*/*/*.log";
        self.nodes[index].peer.run(logs)
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

    /// The last lines of what runs on a node, its static Pods among it.
    pub fn last_words(&self, index: usize) -> String {
        let node = &self.nodes[index];
        let mut tail = node.peer.command("sh");
        let logs = "tail -n 15 /var/log/pods/kube-system_*/*/*.log";
        let pods = output_of(tail.args(["-c", logs])).unwrap_or_default();
        format!("{}\n{pods}", node.last_words())
    }
}
