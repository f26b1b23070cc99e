//! A network namespace of its own for each test.
//!
//! ```no_run
//! let ns = tests::netns::NetNs::enter()?;         // this thread is inside now
//! ns.run("ip link add eth0 type veth peer name lan0")?;
//! ns.run("ip link set eth0 up")?;
//! let lan = ns.peer()?;                           // a second one, for clients; not entered
//! ns.run(&format!("ip link set lan0 netns {}", lan.pid()))?;
//! lan.run("ip link set lan0 up")?;
//! # Ok::<(), tests::netns::BedError>(())
//! ```
//!
//! A namespace belongs to a thread, not to the process. What the thread opens after
//! [`NetNs::enter`] (sockets, and threads that it starts) lives inside; so use a current-thread
//! runtime. When the guard is dropped the thread is back where it came from, and the kernel removes
//! the namespace with all its links once the last socket in it is closed.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

/// The test bed could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BedError {
    /// A system call failed; most often it lacks root.
    #[error("{call}: {source}")]
    System {
        /// Which one.
        call: &'static str,
        /// Its error.
        source: io::Error,
    },
    /// A command failed.
    #[error("`{command}` failed: {stderr}")]
    Command {
        /// What was run.
        command: String,
        /// What it said.
        stderr: String,
    },
    /// A binary of Kubernetes is not there.
    #[error("no {}; run `cargo xtask envtest` and set KUBEBUILDER_ASSETS as it says", .0.display())]
    Assets(PathBuf),
    /// Something that a cluster's nodes take is not there.
    #[error("no {}; run `cargo xtask cluster` and set XVIP_CLUSTER as it says", .0.display())]
    Parts(PathBuf),
    /// Helm is not there.
    #[error("no Helm at {:?}; run `cargo xtask envtest` and set XVIP_HELM as it says", .0.display())]
    Helm(PathBuf),
    /// The API server refused, or was not reached.
    #[error("the API server: {0}")]
    Api(Box<kube::Error>),
    /// The browser, or its driver, refused.
    #[error("the browser: {0}")]
    Browser(String),
    /// The dashboard was changed.
    #[error("the dashboard has no panel {0:?}")]
    Panel(&'static str),
    /// Something did not come in time.
    #[error("still waiting for {what} after {seconds} s: {state}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// How it was at the end.
        state: String,
    },
}

/// This thread is in a fresh network namespace, its loopback up, until the guard is dropped.
#[derive(Debug)]
pub struct NetNs {
    before: File,
}

impl NetNs {
    /// Makes a namespace and enters it.
    pub fn enter() -> Result<Self, BedError> {
        let before = File::open("/proc/thread-self/ns/net").map_err(system("open ns/net"))?;
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| system("unshare")(errno.into()))?;
        let ns = Self { before };
        ns.run("ip link set lo up")?;
        Ok(ns)
    }

    /// Runs a shell command inside, and returns what it wrote. It is an error when it fails.
    pub fn run(&self, command: &str) -> Result<String, BedError> {
        // A child is born into the namespace of the thread that starts it.
        output(Command::new("sh").args(["-c", command]), command)
    }

    /// A second namespace, for the other end of a veth pair.
    pub fn peer(&self) -> Result<Peer, BedError> {
        Peer::new()
    }

    /// This namespace as an open file, to enter it from another thread with `setns`.
    pub fn file(&self) -> Result<File, BedError> {
        File::open("/proc/thread-self/ns/net").map_err(system("open ns/net"))
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        if let Err(error) = setns(self.before.as_fd(), CloneFlags::CLONE_NEWNET) {
            eprintln!("cannot leave the namespace: {error}");
        }
    }
}

/// A namespace that a sleeping child keeps alive, with its loopback up. Gone when dropped.
#[derive(Debug)]
pub struct Peer {
    keeper: Child,
    own: Own,
}

/// What a [`Peer`] has for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Network,
    /// Also its mounts.
    Mounts,
    /// Also its processes, host name and IPC: the keeper is the first process, and all end with it.
    Machine,
}

impl Peer {
    /// Makes it; the thread stays where it is.
    pub fn new() -> Result<Self, BedError> {
        Self::make(Own::Network, "true")
    }

    /// Makes one with mounts of its own, and there a BPF file system of its own: what is pinned
    /// outlives every process but the keeper.
    pub fn with_bpffs() -> Result<Self, BedError> {
        Self::make(Own::Mounts, "mount -t bpf bpf /sys/fs/bpf")
    }

    /// Makes one that is like a machine of its own, once the shell command `boot` is through inside.
    pub fn machine(boot: &str) -> Result<Self, BedError> {
        Self::make(Own::Machine, boot)
    }

    fn make(own: Own, boot: &str) -> Result<Self, BedError> {
        let unshared: &[&str] = match own {
            Own::Network => &["--net"],
            Own::Mounts => &["--net", "--mount"],
            Own::Machine => &[
                "--net",
                "--mount",
                "--uts",
                "--ipc",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ],
        };
        // It says when it is inside, and ends at the end of its input, whatever becomes of us.
        let inside = format!("{boot} && ip link set lo up && echo inside && read forever");
        let mut keeper = Command::new("unshare")
            .args(unshared)
            .args(["sh", "-c", &inside])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(system("spawn unshare"))?;
        let mut word = [0; 6];
        if let Some(said) = keeper.stdout.as_mut() {
            said.read_exact(&mut word).map_err(system("unshare"))?;
        }
        Ok(Self { keeper, own })
    }

    /// A process inside, for `ip link set DEV netns PID`.
    pub fn pid(&self) -> u32 {
        self.keeper.id()
    }

    /// Runs a shell command inside, and returns what it wrote. It is an error when it fails.
    pub fn run(&self, command: &str) -> Result<String, BedError> {
        output(self.command("sh").args(["-c", command]), command)
    }

    /// A command inside, to be started by the caller.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let entered: &[&str] = match self.own {
            Own::Network => &["net"],
            Own::Mounts => &["net", "mnt"],
            Own::Machine => &["net", "mnt", "uts", "ipc", "pid_for_children"],
        };
        for namespace in entered {
            let option = match *namespace {
                "mnt" => "mount",
                "pid_for_children" => "pid",
                same => same,
            };
            let pid = self.pid();
            command.arg(format!("--{option}=/proc/{pid}/ns/{namespace}"));
        }
        command.args(["--", program]);
        command
    }

    /// A path inside its mounts, as seen from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid()))
    }

    /// Its network namespace, for other threads.
    pub fn namespace(&self) -> Result<Namespace, BedError> {
        let path = format!("/proc/{}/ns/net", self.pid());
        File::open(path)
            .map(Namespace)
            .map_err(system("open ns/net"))
    }

    /// Runs `work` in a thread inside the network namespace. Sockets that it opens stay inside.
    pub fn enter<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, BedError> + Send,
    ) -> Result<T, BedError> {
        let namespace = self.namespace()?;
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                namespace.enter()?;
                work()
            });
            match inside.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

/// A network namespace as an open file.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// This thread is inside from now on, for good.
    pub fn enter(&self) -> Result<(), BedError> {
        setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET)
            .map_err(|errno| system("setns")(errno.into()))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Either fails only when it is gone already.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn output(command: &mut Command, text: &str) -> Result<String, BedError> {
    let output = command.output().map_err(system("spawn"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(BedError::Command {
        command: text.to_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a command to its end, whatever that is, and returns what it wrote.
pub fn output_of(command: &mut Command) -> Result<String, BedError> {
    let output = command.output().map_err(system("spawn"))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// For `map_err` of API calls.
pub fn api(error: kube::Error) -> BedError {
    BedError::Api(Box::new(error))
}

/// For `map_err` of system calls.
pub fn system(call: &'static str) -> impl Fn(io::Error) -> BedError {
    move |source| BedError::System { call, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "needs root"]
    fn a_namespace_is_fresh_and_left_again() {
        let before = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let ns = NetNs::enter().unwrap();
        assert_ne!(
            std::fs::read_link("/proc/thread-self/ns/net").unwrap(),
            before
        );
        ns.run("ip link add eth0 type veth peer name lan0").unwrap();
        let lan = ns.peer().unwrap();
        ns.run(&format!("ip link set lan0 netns {}", lan.pid()))
            .unwrap();
        lan.run("ip link set lan0 up").unwrap();
        assert!(ns.run("ip link show lan0").is_err());
        drop(ns);
        assert_eq!(
            std::fs::read_link("/proc/thread-self/ns/net").unwrap(),
            before
        );
    }
}
