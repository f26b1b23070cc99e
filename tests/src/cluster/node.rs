//! A node: a machine of its own with containerd, kubelet and kube-proxy.

use std::{
    env, fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    agent::until_within,
    kubernetes::{Bridge, ControlPlane, Daemon, Seat, User, binary, line, plug},
    netns::{BedError, Peer, system},
};

use super::{settings, subtree::Subtree};

/// containerd starts within a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

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
    _containerd: Daemon,
    /// Its namespaces.
    pub peer: Arc<Peer>,
    _cable: OwnedFd,
}

/// What `cargo xtask cluster` prepares: a path below its folder.
fn part(path: &str) -> Result<PathBuf, BedError> {
    let parts = PathBuf::from(env::var_os("XVIP_CLUSTER").unwrap_or_default());
    let part = parts.join(path);
    match part.exists() {
        true => Ok(part),
        false => Err(BedError::Parts(part)),
    }
}

/// Mounts that are the node's own, and the cgroups that it lives in. What the kubelet and the
/// runtime write lies in memory; the machine's `/var/lib` can be read as before.
fn boot(seat: Seat, subtree: &Subtree, directory: &Path) -> String {
    let (name, join, at) = (seat.name(), subtree.join(&seat.name()), directory.display());
    format!(
        r#"set -e
hostname {name}
{join}
mkdir {at}/cgroup
mount --rbind /sys/fs/cgroup {at}/cgroup
mount -t sysfs sysfs /sys
mount --move {at}/cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
# The kubelet writes settings of the whole machine: it gets files in their place.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000
do
    file={at}/$(echo "${{setting%=*}}" | tr / _)
    echo "${{setting#*=}}" > "$file"
    mount --bind "$file" "/proc/sys/${{setting%=*}}"
done
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir -p /run/var-lib/upper /run/var-lib/work /run/containerd /run/kubernetes/manifests
mount -t overlay overlay \
    -o lowerdir=/var/lib,upperdir=/run/var-lib/upper,workdir=/run/var-lib/work /var/lib
for own in kubelet containerd
do
    mkdir -p /var/lib/$own
    mount -t tmpfs tmpfs /var/lib/$own
done
# The machine's name servers are not to be reached from here: nobody shall wait for them.
[ ! -e /etc/resolv.conf ] || mount --bind /dev/null /etc/resolv.conf
# Pods ask for mounts that come later.
mount --make-rshared /
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
true"#
    )
}

/// Of both families, as `--node-ip` takes them.
fn own_addresses(seat: Seat) -> String {
    format!("{},{}", seat.ipv4(), seat.ipv6())
}

impl RealNode {
    /// Switches it on: its kubelet registers it with the API.
    pub(super) fn boot(
        seat: Seat,
        proxy_mode: ProxyMode,
        subtree: &Subtree,
        directory: &Path,
        lan: &Bridge,
        control: &ControlPlane,
    ) -> Result<Self, BedError> {
        let name = seat.name();
        let directory = directory.join(&name);
        fs::create_dir_all(directory.join("cni")).map_err(system("mkdir"))?;
        subtree.add_node(&name)?;
        let peer = Arc::new(Peer::machine(&boot(seat, subtree, &directory))?);
        let cable = plug(seat, &peer, lan, control)?;
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).map_err(system("write"))?;
            Ok::<_, BedError>(path.display().to_string())
        };
        write("cni/10-pods.conflist", &settings::pod_network(seat))?;
        let start = |name: &str, program: &Path, arguments: &[&str]| {
            let join = subtree.join(&seat.name());
            let path = env::var("PATH").unwrap_or_default();
            let path = format!("{}:{path}", part("bin")?.display());
            let script = format!("{join} && export PATH={path} && exec \"$0\" \"$@\"");
            let program = program.to_string_lossy();
            let arguments = [&["-c", &script, &program], arguments].concat();
            let log = directory.join(format!("{name}.log"));
            Daemon::start(&peer, Path::new("sh"), line(&arguments), log)
        };

        let config = settings::containerd(&directory, &part("cni")?);
        let config = write("containerd.toml", &config)?;
        let containerd = start(
            "containerd",
            &part("bin/containerd")?,
            &["--config", &config],
        )?;
        let ctr = part("bin/ctr")?;
        let ctr = format!("{} --namespace k8s.io", ctr.display());
        until_within(
            PATIENCE,
            "containerd",
            || Ok(peer.run(&format!("{ctr} version")).is_ok()),
            || containerd.last_words(),
        )?;
        for image in fs::read_dir(part("images")?).map_err(system("read images"))? {
            let image = image.map_err(system("read images"))?.path();
            if image
                .extension()
                .is_some_and(|extension| extension == "tar")
            {
                peer.run(&format!("{ctr} images import {}", image.display()))?;
            }
        }

        let config = write("kubelet.yaml", &settings::kubelet(&subtree.root_of(&name)))?;
        let kubeconfig = control.kubeconfig(User::Kubelet(seat.0));
        let kubelet = start(
            "kubelet",
            &binary("kubelet")?,
            &[
                &format!("--config={config}"),
                &format!("--kubeconfig={}", kubeconfig.display()),
                &format!("--hostname-override={name}"),
                &format!("--node-ip={}", own_addresses(seat)),
                "--v=2",
            ],
        )?;
        let config = settings::proxy(seat, proxy_mode, &control.kubeconfig(User::Proxy));
        let config = format!("--config={}", write("proxy.yaml", &config)?);
        let proxy = start("kube-proxy", &binary("kube-proxy")?, &[&config, "--v=2"])?;
        Ok(Self {
            seat,
            proxy_mode,
            kubelet,
            proxy,
            _containerd: containerd,
            peer,
            _cable: cable,
        })
    }

    /// Starts the kubelet anew, with another `--node-ip`. None is that of the bed: the node's own
    /// addresses.
    pub fn restart_kubelet(&mut self, node_ip: Option<&str>) -> Result<(), BedError> {
        const FLAG: &str = "--node-ip=";
        let own = own_addresses(self.seat);
        self.kubelet.kill()?;
        let arguments = self.kubelet.arguments();
        arguments.retain(|argument| !argument.starts_with(FLAG));
        arguments.push(format!("{FLAG}{}", node_ip.unwrap_or(&own)));
        self.kubelet.run()
    }

    /// Gives an image another name in the node's store.
    pub fn tag_image(&self, image: &str, other: &str) -> Result<(), BedError> {
        let ctr = part("bin/ctr")?;
        let tag = format!(
            "{} --namespace k8s.io images tag --force {image} {other}",
            ctr.display()
        );
        self.peer.run(&tag).map(drop)
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
