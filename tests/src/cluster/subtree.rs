//! The part of the machine's cgroups that the nodes live in, and what removes it.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::netns::{BedError, system};

const ROOT: &str = "/sys/fs/cgroup";
/// Where a node's own programs live; the kubelet makes others beside it.
const SYSTEM: &str = "system";

/// A cgroup of our own in every hierarchy.
#[derive(Clone, Debug)]
pub(super) struct Subtree {
    name: String,
    /// Mount points of the hierarchies: one per controller with version 1, one with version 2.
    hierarchies: Vec<PathBuf>,
}

impl Subtree {
    /// Makes it.
    pub(super) fn new(name: &str) -> Result<Self, BedError> {
        let unified = Path::new(ROOT).join("cgroup.controllers").exists();
        let hierarchies = match unified {
            true => vec![PathBuf::from(ROOT)],
            false => hierarchies()?,
        };
        let name = name.to_owned();
        let subtree = Self { name, hierarchies };
        for own in subtree.paths() {
            if unified {
                delegate(Path::new(ROOT))?;
            }
            make(&own)?;
            weigh(&own)?;
        }
        Ok(subtree)
    }

    /// Makes the cgroups of a node.
    pub(super) fn add_node(&self, node: &str) -> Result<(), BedError> {
        for own in self.paths() {
            if own.join("cgroup.controllers").exists() {
                delegate(&own)?;
            }
            make(&own.join(node))?;
            if own.join("cgroup.controllers").exists() {
                delegate(&own.join(node))?;
            }
            make(&own.join(node).join(SYSTEM))?;
        }
        Ok(())
    }

    /// Where the kubelet of a node makes its cgroups, below each hierarchy.
    pub(super) fn root_of(&self, node: &str) -> String {
        format!("/{}/{node}", self.name)
    }

    /// Shell commands by which a process moves itself to the programs of a node.
    pub(super) fn join(&self, node: &str) -> String {
        let procs = self.paths().map(|own| {
            let procs = own.join(node).join(SYSTEM).join("cgroup.procs");
            format!("echo 0 > {}", procs.display())
        });
        procs.collect::<Vec<_>>().join(" && ")
    }

    /// Its directories.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.hierarchies.iter().map(|at| at.join(&self.name))
    }
}

/// Hierarchies of version 1, and that of version 2 beside them.
fn hierarchies() -> Result<Vec<PathBuf>, BedError> {
    let entries = fs::read_dir(ROOT).map_err(system("read /sys/fs/cgroup"))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    // `cpu` may be a link to `cpu,cpuacct`.
    Ok(paths
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect())
}

fn make(path: &Path) -> Result<(), BedError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(system("mkdir")(error));
        }
        _ => {}
    }
    // A set of processors begins empty with version 1, and takes no process then.
    let parent = path.parent().unwrap_or(path);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if path.join("cgroup.clone_children").exists() && path.join(file).exists() {
            let all = fs::read(parent.join(file)).map_err(system("read cpuset"))?;
            fs::write(path.join(file), all).map_err(system("write cpuset"))?;
        }
    }
    Ok(())
}

/// Whole machines stand for more than one of our own processes, which they would share with like
/// equals: the highest weight that there is.
fn weigh(path: &Path) -> Result<(), BedError> {
    for (file, most) in [("cpu.shares", "262144"), ("cpu.weight", "10000")] {
        if path.join(file).exists() {
            fs::write(path.join(file), most).map_err(system("write the weight"))?;
        }
    }
    Ok(())
}

/// Gives the controllers of a cgroup of version 2 to its children.
fn delegate(path: &Path) -> Result<(), BedError> {
    let there = fs::read_to_string(path.join("cgroup.controllers"));
    let there = there.map_err(system("read cgroup.controllers"))?;
    let given = there.split_whitespace().map(|name| format!("+{name} "));
    let given: String = given.collect();
    fs::write(path.join("cgroup.subtree_control"), given)
        .map_err(system("write cgroup.subtree_control"))
}

/// Waits for our end, however it comes, and then removes cgroups, once they are empty, and
/// directories.
#[derive(Debug)]
pub(super) struct Undertaker(Child);

/// Stale cgroups cost the next kubelet seconds; their processes may take a moment to go.
const BURY: &str = r#"
trap '' INT TERM HUP
read forever
for try in $(seq 100); do
    left=
    for cgroup in $CGROUPS; do
        [ -d "$cgroup" ] || continue
        [ -e "$cgroup/cgroup.kill" ] && echo 1 > "$cgroup/cgroup.kill"
        find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null
        [ -d "$cgroup" ] && left=1
    done
    [ -z "$left" ] && break
    sleep 0.1
done
rm -rf -- "$@"
"#;

impl Undertaker {
    pub(super) fn of(subtree: &Subtree, directories: &[&Path]) -> Result<Self, BedError> {
        let cgroups = subtree.paths().map(|path| path.display().to_string());
        // A session of its own: what ends the terminal's programs does not end it.
        let child = Command::new("setsid")
            .args(["sh", "-c", BURY, "undertaker"])
            .args(directories)
            .env("CGROUPS", cgroups.collect::<Vec<_>>().join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Ok(Self(child.map_err(system("spawn the undertaker"))?))
    }
}

impl Drop for Undertaker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It fails only when it is gone already.
        let _ = self.0.wait();
    }
}
