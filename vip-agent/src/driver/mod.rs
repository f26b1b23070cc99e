//! The one task that owns the machines and executes their plans.
//!
//! Beside it there are three: the HTTP server, which asks it by [`Question`]s; the reader of the
//! kernel's log lines; and the thread of the netlink connection. Cancelling any of them loses
//! no state: all of it is here, in the maps and in the kernel's address lists. Nothing in the
//! loop waits for the outside without an end, so a turn that does not come is a hang, and
//! `/livez` shows it.

mod cluster;
mod entries;
mod exit;
mod explain;
mod guard;
mod hearing;
mod incumbents;
mod kubernetes;
mod lessee;
mod news;
mod notices;
mod pace;
mod patrol;
mod plane;
mod report;
mod round;
mod start;
mod tenure;
mod under_way;

use std::{
    cell::RefCell,
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

pub use self::kubernetes::KubernetesError;
pub use self::start::StartError;
use self::{
    entries::SharedEntries,
    guard::Guard,
    hearing::Ears,
    kubernetes::{End, Kubernetes, Wires},
    tenure::Ruling,
};
use crate::{
    announce::Announcer,
    attachment::RestoreLimit,
    binding::FlapLimit,
    config::{Config, Invalid, VipSpec},
    counter_index::CounterIndices,
    event::{Fact, NodeFact},
    history::History,
    host::Host,
    incumbent::Incumbents,
    io::{
        datapath::{Datapath, KernelLog, Records, Slots, Tables},
        http::Question,
        kube::{apiserver, version::VersionError, watch::News, write::WriteNews},
        listener::Listener,
        lock::AgentLock,
        memory,
        netlink::{Hint, HostChanges, Netlink},
        packet_socket::PacketSocket,
    },
    metrics::Metrics,
    ownership::SessionId,
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
    /// Borrowed for single steps, never across an `await`.
    history: RefCell<History>,
    started: Instant,
    datapath: Datapath,
    tables: Tables,
    slots: Slots,
    netlink: Netlink,
    socket: PacketSocket,
    announcer: Announcer,
    ears: Ears,
    incumbents: Incumbents,
    host: Host,
    links: HashMap<IfIndex, LinkEntry>,
    macs: HashMap<HostMac, IfIndex>,
    guards: BTreeMap<IfIndex, Guard>,
    /// Interfaces whose programs an earlier process left, and which were not attached again yet.
    inherited: HashSet<IfIndex>,
    restores: BTreeMap<IfIndex, RestoreLimit>,
    /// Interfaces on which a foreign program runs before ours.
    behind: HashSet<IfIndex>,
    entries: SharedEntries,
    /// The VIPs that there are, but for the control plane's; none before they are known completely.
    desired: Option<Vec<VipSpec>>,
    kubernetes: Option<Kubernetes>,
    counters: CounterIndices,
    flaps: FlapLimit,
    vips: BTreeMap<IpAddr, Record>,
    /// The first of the conflicts ends not before; none: there are none.
    conflicts_until: Option<Duration>,
    checked: Result<(), String>,
    events_dropped: u64,
    rounds: u64,
    /// Rounds whose memory was given back.
    tidied: u64,
    round_at: Option<Duration>,
    /// When the entries in the kernel are next compared with ours.
    look_at: Duration,
    _lock: AgentLock,
}

/// The cluster is none to run in.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another machine has this node's name, and renews its session (`ownership.md`, rule 11).
    #[error(
        "another machine with this node's name renews the session {0}: give each machine a name of its \
         own (`node`)"
    )]
    NameTaken(SessionId),
    /// Kubernetes is too old.
    #[error(transparent)]
    Unsupported(#[from] VersionError),
}

/// What wakes the driver.
pub struct Inputs {
    changes: HostChanges,
    events: Records<Event>,
    listener: Listener,
    kernel_log: Option<KernelLog>,
    questions: mpsc::Receiver<Question>,
    cluster: Option<Wires>,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Driver {
    /// Runs until SIGTERM or SIGINT; then static ownership does what `onExit` says, and a session
    /// is handed over.
    pub async fn run(mut self, mut inputs: Inputs) -> Result<(), RunError> {
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.round_at = Some(Duration::ZERO);
        let end = loop {
            let round = wake(self.round_at, self.now());
            let think_at = self.kubernetes.as_ref().and_then(|it| it.view.think_at);
            let thought = wake(think_at, self.now());
            let announcement = wake(self.announcer.next_deadline(), self.now());
            let ask = wake(self.ears.next_deadline(), self.now());
            tokio::select! {
                // Losing an address matters most.
                biased;
                _ = inputs.terminate.recv() => match self.kubernetes {
                    None => break End::Stopped,
                    Some(_) => self.leave(),
                },
                _ = inputs.interrupt.recv() => match self.kubernetes {
                    None => break End::Stopped,
                    Some(_) => self.leave(),
                },
                message = next(&mut inputs.cluster) => match message {
                    Message::Ruling(ruling) => if let Some(end) = self.obey(ruling).await {
                        break end;
                    },
                    Message::News(news) => self.hear_of_cluster(news),
                    Message::Written(news) => self.hear_of_writes(news),
                    Message::ApiServers(news) => self.hear_of_api_servers(news),
                },
                () = thought => self.think(),
                () = round => {
                    self.round_at = None;
                    self.round().await;
                }
                hint = inputs.changes.next() => match hint {
                    Some(hint) => self.host_changed(hint),
                    None => {
                        let error = "the netlink connection is closed".into();
                        self.tell(Fact::Node(NodeFact::ReconcileFailed { part: "netlink", error }));
                        break End::Stopped;
                    }
                },
                event = inputs.events.next() => match event {
                    Ok(event) => self.hear(event),
                    Err(error) => self.failed("events", error),
                },
                heard = inputs.listener.next() => self.hear_lan(heard),
                () = ask => self.ask_lan().await,
                () = announcement => self.announce().await,
                Some(question) = inputs.questions.recv() => self.answer(question).await,
                _ = tick.tick() => {
                    self.count_unheard(inputs.listener.dropped());
                    self.tick();
                }
                _ = inputs.hangup.recv() => self.reload(),
                () = log_lines(&mut inputs.kernel_log) => {}
            }
        };
        match end {
            End::Stopped => self.exit().await,
            // Entries and programs stay: what is bound here by others stays silent.
            End::Left => {}
            End::Refused(other) => return Err(RunError::NameTaken(other)),
            End::Unsupported(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn tell(&self, fact: Fact) {
        fact.log();
        self.metrics.observe(&fact);
        self.history.borrow_mut().note(&fact, Timestamp::now());
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

    /// Sends all that may leave now, which a low rate ends soon.
    async fn announce_what_is_due(&mut self) {
        let due = |at: Option<Duration>, now| at.is_some_and(|at| at <= now);
        while due(self.announcer.next_deadline(), self.now()) {
            self.announce().await;
        }
    }

    /// Once a second.
    fn tick(&mut self) {
        self.keep_first();
        self.end_conflicts();
        self.tell_serves();
        self.program_settled();
        self.remove_gone_leases();
        self.review_what_is_under_way();
        self.count_lost_events();
        if self.round_at.is_none() {
            self.round_within(RESYNC);
        }
        if std::mem::replace(&mut self.tidied, self.rounds) != self.rounds {
            memory::give_back();
        }
    }

    fn reload(&mut self) {
        match (self.reload)() {
            Ok(config) => {
                self.take_config(config);
                self.look_at = Duration::ZERO;
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
            ("metrics", config.metrics != self.config.metrics),
            ("pinDir", config.pin_dir != self.config.pin_dir),
            ("bootId", config.boot_id != self.config.boot_id),
            (
                "announceRate",
                config.announce_rate != self.config.announce_rate,
            ),
            ("log", config.log != self.config.log),
            ("ownership", config.ownership != self.config.ownership),
        ];
        for (field, _) in fixed.iter().filter(|(_, changed)| *changed) {
            tracing::warn!(
                field,
                "changed in the configuration: takes effect at the next start"
            );
        }
        config.node.clone_from(&self.config.node);
        config.http = self.config.http;
        config.metrics = self.config.metrics;
        config.pin_dir.clone_from(&self.config.pin_dir);
        config.boot_id.clone_from(&self.config.boot_id);
        config.announce_rate = self.config.announce_rate;
        config.log = self.config.log;
        config.ownership.clone_from(&self.config.ownership);
        if config.attach != self.config.attach {
            self.reattach_all();
        }
        if self.kubernetes.is_none() {
            self.desired = Some(config.vips.clone());
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

/// Sleeps until `at`; for ever where there is none. A time that has passed waits for nothing: a
/// timer, even one of no time, fires a millisecond later.
async fn wake(at: Option<Duration>, now: Duration) {
    match at {
        Some(at) if at <= now => {}
        Some(at) => sleep(at - now).await,
        None => future::pending().await,
    }
}

/// What comes from the lease machines and the API server.
// A message passes through once, and no crowd of them waits.
#[expect(clippy::large_enum_variant)]
enum Message {
    Ruling(Ruling),
    News(News),
    Written(WriteNews),
    ApiServers(apiserver::News),
}

/// The next message, rulings first; waits for ever without Kubernetes.
async fn next(wires: &mut Option<Wires>) -> Message {
    let Some(wires) = wires else {
        return future::pending().await;
    };
    tokio::select! {
        biased;
        Some(ruling) = wires.rulings.recv() => Message::Ruling(ruling),
        Some(news) = wires.plane.recv() => Message::ApiServers(news),
        Some(news) = wires.news.recv() => Message::News(news),
        Some(news) = wires.written.recv() => Message::Written(news),
        else => future::pending().await,
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_is_due_waits_for_nothing() {
        let now = Duration::from_millis(5);
        assert!(wake(Some(now), now).now_or_never().is_some());
        assert!(wake(Some(Duration::ZERO), now).now_or_never().is_some());
        let later = now + Duration::from_millis(1);
        assert!(wake(Some(later), now).now_or_never().is_none());
        assert!(wake(None, now).now_or_never().is_none());
    }
}
