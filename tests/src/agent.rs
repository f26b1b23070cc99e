//! The real agent, as a service manager would run it: with exactly CAP_BPF, CAP_NET_ADMIN and
//! CAP_NET_RAW, in the node's namespaces.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use vip_agent::io::datapath::{DatapathError, Pins, Slots, Tables};
use vip_common::abi::{LAYOUT, SLOT_NEVER};

use crate::{
    lan::Lan,
    netns::{BedError, Peer, system},
    process, scratch,
};

/// What most tests serve.
pub const VIP4: &str = "192.0.2.100";
/// What most tests serve.
pub const VIP6: &str = "2001:db8::100";
/// The modes that veth has.
pub const MODES: [&str; 2] = ["native", "tc"];

/// A configuration that serves [`VIP4`] and [`VIP6`] on `eth0`; `more` are further lines.
pub fn config(attach: &str, more: &str) -> String {
    config_of(&[VIP4, VIP6], attach, more)
}

/// A configuration that serves `vips` on `eth0`.
pub fn config_of(vips: &[&str], attach: &str, more: &str) -> String {
    let vips: String = vips
        .iter()
        .map(|vip| format!("  - address: \"{vip}\"\n"))
        .collect();
    format!("interfaces: [eth0]\nattach: {attach}\nlog: {{level: debug}}\nvips:\n{vips}{more}")
}

/// Where the agent pins, in the node's mounts.
pub const PINS: &str = "/sys/fs/bpf/xvip";
/// Address of its HTTP server, in the node's namespace.
const HTTP: &str = "127.0.0.1:9470";
/// Ample on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running agent with its configuration. Killed when dropped; what it pinned stays.
pub struct Agent {
    node: Arc<Peer>,
    process: Child,
    files: Files,
}

/// Configuration and log of one agent, in a directory that goes with them.
struct Files(PathBuf);

impl Files {
    fn new() -> Result<Self, BedError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory =
            scratch::directory().join(format!("xvip-bed-{}-{number}", std::process::id()));
        fs::create_dir(&directory).map_err(system("mkdir"))?;
        Ok(Self(directory))
    }

    fn config(&self) -> PathBuf {
        self.0.join("xvip.yaml")
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Nothing can be done about a file that stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary under test.
pub fn binary() -> PathBuf {
    env::var_os("XVIP_AGENT").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../target/debug/vip-agent"
            ))
        },
        PathBuf::from,
    )
}

/// The capabilities that the agent is run with, as setpriv(1) names them.
pub const CAPABILITIES: [&str; 3] = ["bpf", "net_admin", "net_raw"];

/// A command inside the node, with the three capabilities and no other.
fn confined(node: &Peer, arguments: &[&str]) -> Command {
    confined_to(node, &CAPABILITIES, arguments)
}

fn confined_to(node: &Peer, capabilities: &[&str], arguments: &[&str]) -> Command {
    let bounds: String = capabilities.iter().map(|one| format!(",+{one}")).collect();
    let mut command = Command::new("env");
    // They are the test bed's, and the agent takes every name that begins so for a setting.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("XVIP_") {
            command.arg("-u").arg(name);
        }
    }
    let setpriv = node.command("setpriv");
    command.arg(setpriv.get_program()).args(setpriv.get_args());
    command
        .arg(format!("--bounding-set=-all{bounds}"))
        .args([
            "--inh-caps=-all",
            // Nothing stays when a test or the demo is killed.
            "--pdeathsig=KILL",
        ])
        .arg(binary())
        .args(arguments);
    command
}

/// Runs another subcommand inside the node, confined like the agent; ends it after 20 s.
pub fn subcommand(node: &Peer, arguments: &[&str]) -> Result<Output, BedError> {
    subcommand_with(node, &CAPABILITIES, arguments)
}

/// Runs a subcommand inside the node with these capabilities and no other; ends it after 20 s.
pub fn subcommand_with(
    node: &Peer,
    capabilities: &[&str],
    arguments: &[&str],
) -> Result<Output, BedError> {
    let confined = confined_to(node, capabilities, arguments);
    let mut bounded = Command::new("timeout");
    bounded.arg("20").arg(confined.get_program());
    bounded.args(confined.get_args());
    bounded.output().map_err(system("spawn"))
}

impl Agent {
    /// Starts it, and waits until it is ready.
    pub fn start(lan: &Lan, config: &str) -> Result<Self, BedError> {
        let agent = Self::spawn(lan, config)?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// Starts it.
    pub fn spawn(lan: &Lan, config: &str) -> Result<Self, BedError> {
        Self::spawn_in(&lan.node, config)
    }

    /// Starts it on a node, which was made [`Peer::with_bpffs`].
    pub fn spawn_in(node: &Arc<Peer>, config: &str) -> Result<Self, BedError> {
        let files = Files::new()?;
        fs::write(files.config(), config).map_err(system("write"))?;
        let process = Self::process(node, &files)?;
        Ok(Self {
            node: Arc::clone(node),
            process,
            files,
        })
    }

    fn process(node: &Peer, files: &Files) -> Result<Child, BedError> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(files.log())
            .map_err(system("open the log"))?;
        let config = files.config();
        let mut command = confined(node, &["run", "--config", &config.to_string_lossy()]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        process::spawn(command).map_err(system("spawn the agent"))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends it as OOM and `kill -9` do.
    pub fn kill(&mut self) -> Result<(), BedError> {
        self.process.kill().map_err(system("kill"))?;
        self.process.wait().map_err(system("wait"))?;
        Ok(())
    }

    /// SIGTERM, and waits for its end.
    pub fn terminate(&mut self) -> Result<(), BedError> {
        self.signal(Signal::SIGTERM)?;
        let process = &mut self.process;
        until(
            "the agent's end",
            || Ok(process.try_wait().map_err(system("wait"))?.is_some()),
            String::new,
        )
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), BedError> {
        kill(Pid::from_raw(self.pid() as i32), signal).map_err(|errno| system("kill")(errno.into()))
    }

    /// Starts another process where one has ended, with the same configuration, and waits until
    /// it is ready.
    pub fn restart(&mut self) -> Result<(), BedError> {
        self.respawn()?;
        self.wait_ready()
    }

    /// Starts another process where one has ended.
    pub fn respawn(&mut self) -> Result<(), BedError> {
        self.process = Self::process(&self.node, &self.files)?;
        Ok(())
    }

    /// Writes the configuration anew; nothing is told to the agent.
    pub fn configure(&self, config: &str) -> Result<(), BedError> {
        fs::write(self.files.config(), config).map_err(system("write"))
    }

    /// Writes the configuration anew, sends SIGHUP, and waits until the log speaks of it.
    pub fn reload(&self, config: &str) -> Result<(), BedError> {
        let spoken = |log: &str| {
            log.matches("reason=\"Reloaded\"").count()
                + log.matches("reason=\"ReloadRefused\"").count()
        };
        let before = spoken(&self.log());
        self.configure(config)?;
        self.signal(Signal::SIGHUP)?;
        until(
            "the reload",
            || Ok(spoken(&self.log()) > before),
            || self.log(),
        )
    }

    /// Everything that it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.files.log()).unwrap_or_default()
    }

    /// Waits until its log holds a text.
    pub fn wait_log(&self, text: &str) -> Result<(), BedError> {
        until(text, || Ok(self.log().contains(text)), || self.log())
    }

    /// Waits until `/readyz` says yes.
    pub fn wait_ready(&self) -> Result<(), BedError> {
        let ready = || self.get("/readyz").unwrap_or_default();
        until(
            "/readyz",
            || Ok(ready().starts_with("HTTP/1.0 200")),
            || format!("{}\n{}", ready(), self.log()),
        )
    }

    /// Head and body of an answer of its HTTP server.
    pub fn get(&self, path: &str) -> Result<String, BedError> {
        self.node.enter(|| {
            let mut stream = TcpStream::connect(HTTP).map_err(system("connect"))?;
            write!(stream, "GET {path} HTTP/1.0\r\nHost: {HTTP}\r\n\r\n")
                .map_err(system("send"))?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map_err(system("recv"))?;
            Ok(answer)
        })
    }

    /// `/v1/status`.
    pub fn status(&self) -> Result<Value, BedError> {
        let answer = self.get("/v1/status")?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).map_err(|error| system("status")(error.into()))
    }

    /// The row of a VIP in `/v1/status`; null where there is none.
    pub fn vip(&self, vip: &str) -> Result<Value, BedError> {
        let status = self.status()?;
        let rows = status["vips"].as_array().cloned().unwrap_or_default();
        Ok(rows
            .into_iter()
            .find(|row| row["address"] == vip)
            .unwrap_or_default())
    }

    /// Waits until a VIP has a state; returns its row.
    pub fn wait_state(&self, vip: &str, state: &str) -> Result<Value, BedError> {
        let row = || self.vip(vip).unwrap_or_default();
        until(
            &format!("{vip} to be {state}"),
            || Ok(row()["state"] == state),
            || format!("{}\n{}", row(), self.log()),
        )?;
        self.vip(vip)
    }

    /// The sum of a metric's series that have all of `labels` (`name="value"`).
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<f64, BedError> {
        let answer = self.get("/metrics")?;
        let of_it = answer.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (metric, given) = series.split_once('{').unwrap_or((series, ""));
            let fits = metric == name && labels.iter().all(|label| given.contains(label));
            fits.then(|| value.parse::<f64>().ok()).flatten()
        });
        Ok(of_it.sum())
    }

    /// Frames that the programs judged so, of both families.
    pub fn frames(&self, verdict: &str) -> Result<f64, BedError> {
        self.metric("xvip_frames_total", &[&format!("verdict=\"{verdict}\"")])
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Either fails only when it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("--- log of the agent\n{}", self.log());
        }
    }
}

/// Where the maps of the node's agent are pinned, seen from outside.
pub fn pins(node: &Peer) -> Pins {
    Pins::new(node.path(PINS), LAYOUT)
}

/// The maps of the node's agent.
pub fn tables(node: &Peer) -> Result<Tables, DatapathError> {
    Tables::open(&pins(node))
}

/// Takes the right to answer from every VIP behind the agent's back; the addresses stay bound.
pub fn fence(node: &Peer) -> Result<(), DatapathError> {
    let mut tables = tables(node)?;
    for (key, mut entry) in tables.vips.all()? {
        entry.slot = SLOT_NEVER;
        tables.vips.upsert(key, entry)?;
    }
    Ok(())
}

/// The lease slots of the node's agent.
pub fn slots(node: &Peer) -> Result<Slots, DatapathError> {
    Slots::open(&pins(node))
}

/// Ids of the links that the agent has pinned, by their names.
pub fn link_ids(node: &Peer) -> Result<Vec<(String, Value)>, BedError> {
    let links = names(node, "links").into_iter();
    links
        .filter(|name| !name.ends_with("-qdisc"))
        .map(|name| {
            let shown = node.run(&format!("bpftool -j link show pinned {PINS}/links/{name}"))?;
            let shown: Value =
                serde_json::from_str(&shown).map_err(|error| system("bpftool")(error.into()))?;
            Ok((name, shown["id"].clone()))
        })
        .collect()
}

/// What is in a directory of the agent's pins, sorted; nothing where there is none.
pub fn names(node: &Peer, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(node.path(PINS).join(directory));
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Waits until `is_so`; the error tells `state`.
pub fn until(
    what: &str,
    is_so: impl FnMut() -> Result<bool, BedError>,
    state: impl Fn() -> String,
) -> Result<(), BedError> {
    until_within(PATIENCE, what, is_so, state)
}

/// Waits until `is_so`, at most for `patience`; the error tells `state`.
pub fn until_within(
    patience: Duration,
    what: &str,
    mut is_so: impl FnMut() -> Result<bool, BedError>,
    state: impl Fn() -> String,
) -> Result<(), BedError> {
    let started = Instant::now();
    while !is_so()? {
        if started.elapsed() > patience {
            return Err(BedError::Late {
                what: what.to_owned(),
                seconds: patience.as_secs(),
                state: state(),
            });
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
