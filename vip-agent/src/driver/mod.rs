//! The one task that owns the machines and executes their plans.
//!
//! Beside it there are three: the HTTP server, which asks it by [`Question`]s; the reader of the
//! kernel's log lines; and the thread of the netlink connection. Cancelling any of them loses
//! no state: all of it is here, in the maps and in the kernel's address lists. Nothing in the
//! loop waits for the outside without an end, so a turn that does not come is a hang, and
//! `/livez` shows it.

mod exit;
mod guard;
mod news;
mod report;
mod round;
mod start;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};
use vip_common::abi::{Event, HostMac, LinkEntry};

use self::guard::Guard;
pub use self::start::StartError;
use crate::{
    announce::Announcer,
    attachment::RestoreLimit,
    binding::FlapLimit,
    config::{Config, Invalid},
    counter_index::CounterIndices,
    event::{Fact, NodeFact},
    host::Host,
    io::{
        datapath::{Datapath, KernelLog, Records, Slots, Tables},
        http::Question,
        lock::AgentLock,
        netlink::{Hint, HostChanges, Netlink},
        packet_socket::PacketSocket,
    },
    metrics::Metrics,
    reconcile::{Claim, Programmed},
    status::VipState,
    vip::IfIndex,
};

/// A round follows the first hint of a change after this time, so that a burst of changes
/// (a link that comes up, a thousand addresses) costs one.
const SETTLE: Duration = Duration::from_millis(20);
/// Everything is observed and compared at least this often, hints or not.
const RESYNC: Duration = Duration::from_secs(60);
/// After a failure, everything is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// A VIP counts as in conflict for this long after the latest claim of a rival: two intervals of
/// RFC 5227, so that a rival that goes on is one conflict.
const CONFLICT: Duration = Duration::from_secs(20);

/// Reads the configuration again, for SIGHUP.
pub type Reload = Box<dyn Fn() -> Result<Config, Invalid> + Send>;

/// What the driver knows of a VIP.
#[derive(Debug)]
struct Record {
    ifindex: Option<IfIndex>,
    prefix: Option<u8>,
    state: VipState,
    /// Why it is pending or in error.
    reason: Option<String>,
    since: Timestamp,
    conflict_until: Option<Duration>,
}

/// The agent.
pub struct Driver {
    config: Config,
    reload: Reload,
    metrics: Arc<Metrics>,
    started: Instant,
    datapath: Datapath,
    tables: Tables,
    slots: Slots,
    netlink: Netlink,
    socket: PacketSocket,
    announcer: Announcer,
    host: Host,
    links: HashMap<IfIndex, LinkEntry>,
    macs: HashMap<HostMac, IfIndex>,
    guards: BTreeMap<IfIndex, Guard>,
    /// Interfaces whose programs an earlier process left, and which were not attached again yet.
    inherited: HashSet<IfIndex>,
    restores: BTreeMap<IfIndex, RestoreLimit>,
    /// Interfaces on which a foreign program runs before ours.
    behind: HashSet<IfIndex>,
    claim: Claim,
    programmed: Programmed,
    counters: CounterIndices,
    flaps: FlapLimit,
    vips: BTreeMap<IpAddr, Record>,
    checked: Result<(), String>,
    events_dropped: u64,
    rounds: u64,
    round_at: Option<Duration>,
    _lock: AgentLock,
}

/// What wakes the driver.
pub struct Inputs {
    changes: HostChanges,
    events: Records<Event>,
    kernel_log: Option<KernelLog>,
    questions: mpsc::Receiver<Question>,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Driver {
    /// Runs until SIGTERM or SIGINT, then does what `onExit` says.
    pub async fn run(mut self, mut inputs: Inputs) {
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.round_at = Some(Duration::ZERO);
        loop {
            let round = wake(self.round_at, self.now());
            let announcement = wake(self.announcer.next_deadline(), self.now());
            tokio::select! {
                // Renewals will come first; of what there is, losing an address matters most.
                biased;
                _ = inputs.terminate.recv() => break,
                _ = inputs.interrupt.recv() => break,
                () = round => {
                    self.round_at = None;
                    self.round().await;
                }
                hint = inputs.changes.next() => match hint {
                    Some(hint) => self.host_changed(hint),
                    None => {
                        let error = "the netlink connection is closed".into();
                        self.tell(Fact::Node(NodeFact::ReconcileFailed { part: "netlink", error }));
                        break;
                    }
                },
                event = inputs.events.next() => match event {
                    Ok(event) => self.hear(event),
                    Err(error) => self.failed("events", error),
                },
                () = announcement => self.announce().await,
                Some(question) = inputs.questions.recv() => self.answer(question),
                _ = tick.tick() => self.tick(),
                _ = inputs.hangup.recv() => self.reload(),
                () = log_lines(&mut inputs.kernel_log) => {}
            }
        }
        self.exit().await;
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn tell(&self, fact: Fact) {
        fact.log();
        self.metrics.observe(&fact);
    }

    /// Something did not work: it is said, and all is tried again.
    fn failed(&mut self, part: &'static str, error: impl ToString) {
        let error = error.to_string();
        self.tell(Fact::Node(NodeFact::ReconcileFailed { part, error }));
        self.round_within(RETRY);
    }

    fn round_within(&mut self, time: Duration) {
        let at = self.now() + time;
        self.round_at = Some(self.round_at.map_or(at, |planned| planned.min(at)));
    }

    fn host_changed(&mut self, hint: Hint) {
        if hint == Hint::Overrun {
            self.tell(Fact::Node(NodeFact::NetlinkOverrun));
        }
        self.round_within(SETTLE);
    }

    /// Sends what is due.
    async fn announce(&mut self) {
        let frames = self.announcer.poll(self.now());
        match self.socket.send(&frames).await {
            Ok(outcome) => {
                self.metrics.announced(outcome.sent);
                if let Some((count, errno)) = outcome.failed {
                    tracing::warn!(count, %errno, "announcements were not sent");
                }
            }
            Err(error) => self.failed("announce", error),
        }
    }

    /// Once a second.
    fn tick(&mut self) {
        self.keep_first();
        self.end_conflicts();
        self.count_lost_events();
        if self.round_at.is_none() {
            self.round_within(RESYNC);
        }
    }

    fn reload(&mut self) {
        match (self.reload)() {
            Ok(config) => {
                self.take_config(config);
                self.tell(Fact::Node(NodeFact::Reloaded));
                self.round_within(Duration::ZERO);
            }
            Err(invalid) => self.tell(Fact::Node(NodeFact::ReloadRefused(invalid.to_string()))),
        }
    }

    /// Takes over what can change while the agent runs; the rest is said to wait.
    fn take_config(&mut self, mut config: Config) {
        let fixed = [
            ("node", config.node != self.config.node),
            ("http", config.http != self.config.http),
            ("pinDir", config.pin_dir != self.config.pin_dir),
            ("bootId", config.boot_id != self.config.boot_id),
            (
                "announceRate",
                config.announce_rate != self.config.announce_rate,
            ),
            ("log", config.log != self.config.log),
        ];
        for (field, _) in fixed.iter().filter(|(_, changed)| *changed) {
            tracing::warn!(
                field,
                "changed in the configuration: takes effect at the next start"
            );
        }
        config.node.clone_from(&self.config.node);
        config.http = self.config.http;
        config.pin_dir.clone_from(&self.config.pin_dir);
        config.boot_id.clone_from(&self.config.boot_id);
        config.announce_rate = self.config.announce_rate;
        config.log = self.config.log;
        if config.attach != self.config.attach {
            self.reattach_all();
        }
        self.config = config;
    }

    fn name(&self, ifindex: IfIndex) -> String {
        match self.host.links.get(&ifindex) {
            Some(link) => link.name.clone(),
            None => format!("interface {ifindex}"),
        }
    }
}

/// Sleeps until `at`; for ever where there is none.
async fn wake(at: Option<Duration>, now: Duration) {
    match at {
        Some(at) => sleep(at.saturating_sub(now)).await,
        None => future::pending().await,
    }
}

async fn log_lines(log: &mut Option<KernelLog>) {
    let ended = match log {
        Some(lines) => lines.run().await,
        None => future::pending().await,
    };
    if let Err(error) = ended {
        tracing::warn!(%error, "the kernel's log lines cannot be read any more");
    }
    *log = None;
}

fn on(kind: SignalKind) -> Result<Signal, StartError> {
    signal(kind).map_err(StartError::Signals)
}
