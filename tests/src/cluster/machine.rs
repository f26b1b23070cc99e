//! What a node runs on: namespaces, a place on the LAN, and a container runtime.

use std::{
    env, fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    agent::until_within,
    kubernetes::{Daemon, Seat, line, plug},
    netns::{BedError, Peer, system},
};

use super::{settings, site::Site, subtree::Subtree};

/// containerd starts within a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A machine with the bed's images. All that runs on it is killed when it is dropped.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) seat: Seat,
    directory: PathBuf,
    subtree: Subtree,
    containerd: Option<Daemon>,
    /// Its namespaces.
    pub(super) peer: Arc<Peer>,
    _cable: OwnedFd,
}

/// What `cargo xtask cluster` prepares: a path below its folder.
pub(super) fn part(path: &str) -> Result<PathBuf, BedError> {
    let parts = PathBuf::from(env::var_os("XVIP_CLUSTER").unwrap_or_default());
    let part = parts.join(path);
    match part.exists() {
        true => Ok(part),
        false => Err(BedError::Parts(part)),
    }
}

/// Mounts that are the node's own, and the cgroups that it lives in. What the kubelet and the
/// runtime write lies in memory; the machine's `/etc` and `/var/lib` can be read as before.
fn booting(seat: Seat, subtree: &Subtree, directory: &Path) -> String {
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
for own in etc var/lib
do
    mkdir -p /run/over/$own/upper /run/over/$own/work
    mount -t overlay overlay \
        -o lowerdir=/$own,upperdir=/run/over/$own/upper,workdir=/run/over/$own/work /$own
done
mkdir -p /run/containerd /etc/kubernetes/manifests
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

impl Machine {
    /// Switches it on.
    pub(super) fn boot(seat: Seat, site: &Site) -> Result<Self, BedError> {
        let Site {
            subtree,
            directory,
            lan,
            ..
        } = site;
        let name = seat.name();
        let directory = directory.join(&name);
        fs::create_dir_all(directory.join("cni")).map_err(system("mkdir"))?;
        subtree.add_node(&name)?;
        let peer = Arc::new(Peer::machine(&booting(seat, subtree, &directory))?);
        let cable = plug(seat, &peer, lan)?;
        let mut machine = Self {
            seat,
            directory,
            subtree: subtree.clone(),
            containerd: None,
            peer,
            _cable: cable,
        };
        machine.start_runtime()?;
        Ok(machine)
    }

    fn start_runtime(&mut self) -> Result<(), BedError> {
        self.write("cni/10-pods.conflist", &settings::pod_network(self.seat))?;
        let config = settings::containerd(&self.directory, &part("cni")?);
        let config = self.write("containerd.toml", &config)?;
        let program = part("bin/containerd")?;
        let containerd = self.start("containerd", &program, &["--config", &config], &program)?;
        until_within(
            PATIENCE,
            "containerd",
            || Ok(self.ctr("version").is_ok()),
            || containerd.last_words(),
        )?;
        self.containerd = Some(containerd);
        for image in fs::read_dir(part("images")?).map_err(system("read images"))? {
            let image = image.map_err(system("read images"))?.path();
            if image
                .extension()
                .is_some_and(|extension| extension == "tar")
            {
                self.ctr(&format!("images import {}", image.display()))?;
            }
        }
        Ok(())
    }

    /// Loads an image beside those that all have; false when it could not be built here.
    pub(super) fn load_image(&self, archive: &str) -> Result<bool, BedError> {
        let Ok(archive) = part(archive) else {
            return Ok(false);
        };
        let import = format!("images import {}", archive.display());
        self.ctr(&import).map(|()| true)
    }

    /// A command of containerd's client, in the kubelet's part of the store.
    pub(super) fn ctr(&self, command: &str) -> Result<(), BedError> {
        let ctr = part("bin/ctr")?;
        let line = format!("{} --namespace k8s.io {command}", ctr.display());
        self.peer.run(&line).map(drop)
    }

    /// Writes a file for its programs.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<String, BedError> {
        let path = self.directory.join(name);
        fs::write(&path, text).map_err(system("write"))?;
        Ok(path.display().to_string())
    }

    /// Starts a program in the machine's cgroups, once a file that it needs is there.
    pub(super) fn start(
        &self,
        name: &str,
        program: &Path,
        arguments: &[&str],
        needs: &Path,
    ) -> Result<Daemon, BedError> {
        let join = self.subtree.join(&self.seat.name());
        let path = env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", part("bin")?.display());
        let script = format!(
            "{join} && export PATH={path} && until [ -e {} ]; do sleep 0.1; done && \
             exec \"$0\" \"$@\"",
            needs.display()
        );
        let program = program.to_string_lossy();
        let arguments = [&["-c", &script, &program], arguments].concat();
        let log = self.directory.join(format!("{name}.log"));
        Daemon::start(&self.peer, Path::new("sh"), line(&arguments), log)
    }

    /// Where its kubelet makes cgroups.
    pub(super) fn cgroup(&self) -> String {
        self.subtree.root_of(&self.seat.name())
    }
}
