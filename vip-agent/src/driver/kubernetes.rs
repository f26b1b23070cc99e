//! Ownership by leases: what the driver knows of the cluster, and what it tells the lease machines.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    io,
    net::IpAddr,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch as watch_channel},
    time::sleep,
};
use vip_common::abi::{ANY_INTERFACE, SLOT_SESSION};

use super::{
    Driver,
    cluster::View,
    entries::SharedEntries,
    lessee::{Duty, Lessee},
    plane::{self, Plane},
    tenure::{Ruling, Shared, Tenure, Told},
};
use crate::{
    cluster::ProxyHealth,
    config,
    event::{Fact, NodeFact},
    io::{
        datapath::{Datapath, DatapathError, Extender, Pins, Slots, Tables, boottime_ns},
        kube::{
            apiserver,
            connector::{Connector, ConnectorError},
            follow, installed, keepalive,
            register::Register,
            version::{self, VersionError},
            watch::{self, News},
            write::{Write, WriteNews},
            writer,
        },
        packet_socket::{PacketSocket, PacketSocketError},
        proxy_health,
    },
    ownership::{
        self, BootTime, Event, Layout, Left, Machine, PlaneEvent, Readiness, Serves, SessionId,
    },
    reconcile::Programmed,
    rights::{Claim, Rights},
};

/// News of the cluster that may wait for the driver; then the watches wait.
const NEWS: usize = 256;

/// Between two questions for the version of the API server.
const VERSION_RETRY: Duration = Duration::from_secs(2);

/// Kubernetes mode cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// No way to the API server.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The maps cannot be used.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// No packet socket.
    #[error(transparent)]
    PacketSocket(#[from] PacketSocketError),
    /// The kernel's boot id.
    #[error("cannot read /proc/sys/kernel/random/boot_id: {0}")]
    BootId(#[source] io::Error),
}

/// The driver's side of the lease machines.
pub(super) struct Kubernetes {
    pub(super) machine: Shared<Machine>,
    events: mpsc::UnboundedSender<Event>,
    /// Where this node may answer for the API server.
    pub(super) plane: Option<Plane>,
    /// The machines that are not at their end.
    running: Vec<Duty>,
    pub(super) view: View,
    pub(super) writes: mpsc::UnboundedSender<Write>,
    serves: Option<Serves>,
    /// Whether this node gives addresses to Services.
    allocator: watch_channel::Sender<bool>,
    /// The process was asked to end.
    pub(super) leaving: bool,
    /// Every address was unbound, for good.
    pub(super) unbound: bool,
    /// What kube-proxy says of itself.
    pub(super) proxy: watch_channel::Receiver<ProxyHealth>,
}

impl Kubernetes {
    pub(super) fn tell(&self, event: Event) {
        // The machine ends with the process alone.
        let _ = self.events.send(event);
    }

    /// The node that the rows, or the Lease of the control plane, name for a VIP.
    pub(super) fn owner(&self, vip: IpAddr) -> Option<String> {
        let node = |session: &SessionId| session.node.to_string();
        match &self.plane {
            Some(plane) if plane.addresses.contains(&vip) => plane.machine.lock().owner().map(node),
            _ => match self.view.cluster.vip(vip) {
                // Its Lease is not this node's business: what its holder says has to do.
                Some(known) if known.assignment.control_plane => known.holder.clone(),
                _ => self.machine.lock().owner(vip).map(node),
            },
        }
    }

    /// This node gives addresses to Services.
    pub(super) fn allocates(&self) -> bool {
        *self.allocator.borrow()
    }

    /// Rows that this node holds; the Lease of the control plane is one.
    pub(super) fn claims(&self) -> u64 {
        let rows = self.machine.lock().rows().count() as u64;
        let plane = self.plane.as_ref();
        rows + u64::from(plane.is_some_and(|plane| plane.machine.lock().session().is_some()))
    }

    /// Whose VIP it is.
    pub(super) fn duty(&self, vip: IpAddr) -> Duty {
        match &self.plane {
            Some(plane) if plane.addresses.contains(&vip) => Duty::ControlPlane,
            _ => Duty::Session,
        }
    }

    /// The kernel program yielded a VIP to a rival.
    pub(super) fn yielded(&self, vip: IpAddr) {
        match &self.plane {
            Some(plane) if plane.addresses.contains(&vip) => {
                plane.tell(PlaneEvent::Yielded(vip));
            }
            _ => self.tell(Event::Yielded(vip)),
        }
    }

    /// Somebody answered a probe for a VIP, or claimed it.
    pub(super) fn probe_answered(&self, vip: IpAddr) {
        match &self.plane {
            Some(plane) if plane.addresses.contains(&vip) => {
                plane.tell(PlaneEvent::ProbeAnswered(vip));
            }
            _ => self.tell(Event::ProbeAnswered(vip)),
        }
    }

    /// Nobody on the LAN replies to this node, or somebody does again.
    pub(super) fn deaf(&self, is_deaf: bool) {
        self.tell(Event::Deaf(is_deaf));
        if let Some(plane) = &self.plane {
            plane.tell(PlaneEvent::Deaf(is_deaf));
        }
    }
}

/// What an earlier process of this node left in the kernel, as the machines take it.
pub(super) struct Inheritance {
    session: Left,
    pub(super) control_plane: Left,
    pub(super) boot: [u8; 16],
}

impl Inheritance {
    pub(super) fn find(
        config: &config::Config,
        tables: &Tables,
        slots: &Slots,
        programmed: &Programmed,
    ) -> Result<Self, KubernetesError> {
        let boot = boot_id(config)?;
        let record = tables.session()?;
        let left = |duty: Duty| {
            let slot = slots.get(duty.slot());
            let id = duty.pinned(&record, boot, slot);
            let live = programmed.iter().filter(|(key, entry)| {
                id.is_some()
                    && key.ifindex != ANY_INTERFACE
                    && entry.slot == duty.slot()
                    && entry.epoch == slot.epoch
            });
            Left {
                session: id.map(|id| SessionId {
                    node: config.node.as_str().into(),
                    boot,
                    id,
                }),
                epoch: slot.epoch,
                deadline: BootTime(slot.deadline_boot_ns),
                confirmed: BootTime(slot.confirmed_boot_ns),
                live: live.map(|(key, _)| key.ip()).collect(),
            }
        };
        Ok(Self {
            session: left(Duty::Session),
            control_plane: left(Duty::ControlPlane),
            boot,
        })
    }

    /// The rights that go on.
    pub(super) fn rights(&self, programmed: &Programmed) -> Rights {
        let goes_on = |vip: IpAddr, slot: u16| {
            let lefts = [
                (Duty::Session, &self.session),
                (Duty::ControlPlane, &self.control_plane),
            ];
            let mut lefts = lefts.into_iter();
            lefts.any(|(duty, left)| slot == duty.slot() && left.live.contains(&vip))
        };
        let live = programmed
            .iter()
            .filter(|(key, entry)| goes_on(key.ip(), entry.slot));
        let claims = live.map(|(key, entry)| {
            let claim = Claim {
                slot: entry.slot,
                epoch: entry.epoch,
                yields_void_before_ns: entry.yields_void_before_ns,
            };
            (key.ip(), claim)
        });
        Rights::Granted(claims.collect::<HashMap<_, _>>())
    }
}

/// What wakes the driver.
pub(super) struct Wires {
    pub(super) rulings: mpsc::UnboundedReceiver<Ruling>,
    pub(super) news: mpsc::Receiver<News>,
    pub(super) written: mpsc::UnboundedReceiver<WriteNews>,
    pub(super) plane: mpsc::UnboundedReceiver<apiserver::News>,
}

/// Starts the machines and everything around them.
pub(super) async fn start(
    config: &config::Config,
    cluster: &config::Kubernetes,
    inheritance: Inheritance,
    datapath: &Datapath,
    entries: SharedEntries,
) -> Result<(Kubernetes, Wires), KubernetesError> {
    let connector = Connector::new(cluster.kubeconfig.as_deref()).await?;
    let named = connector.server();
    let (rulings, outbox) = mpsc::unbounded_channel();
    let (plane_news, plane_heard) = mpsc::unbounded_channel();
    let process = Process {
        config,
        cluster,
        boot: inheritance.boot,
        pins: datapath.pins(),
        extender: datapath.extender()?,
        entries,
        rulings: rulings.clone(),
    };
    let left = inheritance.control_plane;
    let plane = match &cluster.control_plane {
        Some(_) => Some(plane::start(&process, &connector, left, plane_news)?),
        None => None,
    };
    // What an administrator's kubeconfig may do, the agents' account does where it may (ADR 15).
    let account = match &plane {
        Some(plane) => plane.connector.clone().as_account(&cluster.namespace),
        None => connector,
    };
    tokio::spawn(check_version(account.connect()?, rulings));
    let (health, proxy) = watch_channel::channel(ProxyHealth::Unknown);
    tokio::spawn(proxy_health::follow(health));
    let (writes, commands) = mpsc::unbounded_channel();
    let (write_news, written) = mpsc::unbounded_channel();
    let client = account.connect()?;
    let (allocator, is_allocator) = watch_channel::channel(false);
    tokio::spawn(keepalive::run(client.clone(), is_allocator));
    tokio::spawn(writer::run(
        client,
        config.node.clone(),
        commands,
        write_news,
    ));
    let (watched, news) = mpsc::channel(NEWS);
    // Before anything of ours is installed, there is a control plane at most.
    let waits = plane.is_some() && inheritance.session.session.is_none();
    let (machine, events) = serve(&process, &account, inheritance.session, waits, watched)?;
    let mut running = vec![Duty::Session];
    running.extend(plane.is_some().then_some(Duty::ControlPlane));
    let kubernetes = Kubernetes {
        machine,
        events,
        plane,
        running,
        view: View::new(&cluster.services, named.map(|server| server.ip())),
        writes,
        serves: None,
        allocator,
        leaving: false,
        unbound: false,
        proxy,
    };
    let wires = Wires {
        rulings: outbox,
        news,
        written,
        plane: plane_heard,
    };
    Ok((kubernetes, wires))
}

/// What the tasks of a process are made from.
pub(super) struct Process<'a> {
    pub(super) config: &'a config::Config,
    pub(super) cluster: &'a config::Kubernetes,
    pub(super) boot: [u8; 16],
    pins: &'a Pins,
    extender: Extender,
    entries: SharedEntries,
    rulings: mpsc::UnboundedSender<Ruling>,
}

impl Process<'_> {
    /// The task of a machine; it is to be run.
    pub(super) fn tenure<M: Lessee>(
        &self,
        machine: Shared<M>,
        connector: Connector,
        namespace: &str,
        (sender, events): (
            &mpsc::UnboundedSender<M::Event>,
            mpsc::UnboundedReceiver<M::Event>,
        ),
    ) -> Result<Tenure<M>, KubernetesError> {
        let namespace = namespace.to_owned();
        Ok(Tenure {
            machine,
            slots: Slots::open(self.pins)?,
            extender: self.extender.clone(),
            tables: Tables::open(self.pins)?,
            entries: self.entries.clone(),
            register: Register::new(connector, namespace, sender.clone(), M::replied)?,
            socket: PacketSocket::open()?,
            events,
            rulings: self.rulings.clone(),
            early: VecDeque::new(),
            told: Told::default(),
        })
    }
}

/// Starts the session's machine and the watches; if it `waits`, when what they need is installed.
fn serve(
    process: &Process<'_>,
    account: &Connector,
    left: Left,
    waits: bool,
    watched: mpsc::Sender<News>,
) -> Result<(Shared<Machine>, mpsc::UnboundedSender<Event>), KubernetesError> {
    let Process {
        config, cluster, ..
    } = process;
    let namespace = cluster.namespace.clone();
    let of_session = ownership::Config {
        node: config.node.as_str().into(),
        boot: process.boot,
        timing: cluster.timing,
        on_api_loss: cluster.on_api_loss,
        max_announcers: cluster.max_announcers.get(),
        part: ownership::PART,
        layout: Layout::default(),
        seed: seed(),
    };
    let begin = move || Machine::start(of_session.clone(), left.clone(), now());
    let (events, inbox) = mpsc::unbounded_channel();
    let (machine, first) = begin();
    let machine = Shared::new(machine);
    let shared = machine.clone();
    let mut tenure = process.tenure(
        machine.clone(),
        account.clone(),
        &namespace,
        (&events, inbox),
    )?;
    if waits {
        // Nothing goes on: whatever static ownership left is silent from now on.
        tenure.slots.fence(SLOT_SESSION);
    }
    let (gate, follower, watcher) = (account.connect()?, account.connect()?, account.connect()?);
    let to_machine = events.clone();
    tokio::spawn(async move {
        let mut first = first;
        if waits {
            if !tenure.wait_for(installed::wait(&gate, &namespace)).await {
                return;
            }
            (*shared.lock(), first) = begin();
        }
        tokio::spawn(follow::follow(follower, namespace, to_machine));
        tokio::spawn(watch::cluster(watcher, watched));
        tenure.run(first).await;
    });
    Ok((machine, events))
}

/// A node that leaves looks at what it gave away after this time: the kernel knows already.
const LEAVING: Duration = Duration::from_millis(200);

impl Driver {
    /// What the node can serve now, where it is another than the machines know.
    pub(super) fn tell_serves(&mut self) {
        let serves = self.serves();
        let is_observed = self.rounds > 0;
        let carries =
            !serves.interfaces.is_empty() && self.checked.is_ok() && !self.is_plane_occupied();
        let Some(kubernetes) = &mut self.kubernetes else {
            return;
        };
        if let Some(plane) = kubernetes.plane.as_mut().filter(|_| is_observed) {
            plane.tell_ready(carries);
        }
        if kubernetes.serves.as_ref() != Some(&serves) {
            kubernetes.serves = Some(serves.clone());
            kubernetes.tell(Event::Serves(serves));
        }
    }

    fn serves(&self) -> Serves {
        let candidates = self.served();
        let links = self.host.links.values().filter(|link| {
            candidates.contains(&link.ifindex)
                && self.is_guarded(link.ifindex)
                && link.up
                && link.carrier
        });
        let mut interfaces = std::collections::BTreeSet::new();
        for link in links {
            let own = link.addresses.iter().filter(|address| !address.is_ours());
            let prefixes = own.map(|address| address.net.trunc());
            let routed = prefixes.filter(|net| net.prefix_len() < net.max_prefix_len());
            interfaces.extend(routed.map(|net| format!("{} {net}", link.name).into()));
        }
        let of_cluster = self.kubernetes.as_ref();
        let of_cluster = of_cluster.map(|kubernetes| {
            let proxy = *kubernetes.proxy.borrow();
            kubernetes.view.readiness(&self.config.node, proxy)
        });
        let readiness = match interfaces.is_empty() || self.checked.is_err() {
            true => Readiness::Never,
            false => of_cluster.unwrap_or_default(),
        };
        Serves {
            readiness,
            interfaces,
            incumbent: self.incumbents.told(),
        }
    }

    /// The machine said something.
    pub(super) async fn obey(&mut self, ruling: Ruling) -> Option<End> {
        match ruling {
            Ruling::Changed => self.round_within(match &self.kubernetes {
                // Who is given its VIPs has need of the time, and it binds nothing any more.
                Some(kubernetes) if kubernetes.leaving => LEAVING,
                _ => Duration::ZERO,
            }),
            Ruling::Unbind(duty, done) => {
                self.unbind(|vip| self.duty_of(vip) == duty).await;
                // The process is at its end: no round binds anything again.
                if let Some(kubernetes) = &mut self.kubernetes {
                    kubernetes.unbound = true;
                }
                // Whoever waited has gone on without it.
                let _ = done.send(());
            }
            Ruling::Exit(duty, exit) => {
                tracing::info!(?duty, ?exit, "nothing more to hand over");
                let kubernetes = self.kubernetes.as_mut()?;
                kubernetes.running.retain(|running| *running != duty);
                return kubernetes.running.is_empty().then_some(End::Left);
            }
            Ruling::Allocates(allocates) => {
                let now = self.now();
                if let Some(kubernetes) = &mut self.kubernetes {
                    kubernetes.allocator.send_replace(allocates);
                    kubernetes.view.review(now, true);
                }
                if allocates {
                    self.think();
                }
            }
            Ruling::Fact(fact) => {
                if let NodeFact::ControlPlaneTaken(_) = &fact {
                    self.declare();
                }
                self.tell(Fact::Node(fact));
            }
            Ruling::Refused(other) => return Some(End::Refused(other)),
            Ruling::Unsupported(error) => return Some(End::Unsupported(error)),
            Ruling::Failed(part, error) => self.failed(part, error),
        }
        None
    }

    /// SIGTERM: what is held is handed over before the process ends.
    pub(super) fn leave(&mut self) {
        if let Some(kubernetes) = &mut self.kubernetes {
            kubernetes.leaving = true;
            kubernetes.tell(Event::Leave);
            if let Some(plane) = &kubernetes.plane {
                plane.tell(PlaneEvent::Leave);
            }
            self.tell(Fact::Node(NodeFact::Leaving));
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub(super) enum End {
    /// By a signal, under static ownership.
    Stopped,
    /// The session was given back, or left for the next process.
    Left,
    /// Another machine has this node's name.
    Refused(SessionId),
    /// Kubernetes is too old.
    Unsupported(VersionError),
}

/// Asks for the version until there is an answer; one that is too old ends the agent.
async fn check_version(client: kube::Client, rulings: mpsc::UnboundedSender<Ruling>) {
    loop {
        match version::check(&client).await {
            Ok(version) => return tracing::info!(%version, "Kubernetes"),
            Err(VersionError::Unanswered(error)) => {
                tracing::debug!(%error, "the API server does not say its version");
                sleep(VERSION_RETRY).await;
            }
            Err(error) => {
                let _ = rulings.send(Ruling::Unsupported(error));
                return;
            }
        }
    }
}

/// The boot id: the kernel's, or in tests any text.
fn boot_id(config: &config::Config) -> Result<[u8; 16], KubernetesError> {
    let text = match &config.boot_id {
        Some(text) => text.clone(),
        None => std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_err(KubernetesError::BootId)?,
    };
    let hex: String = text.trim().chars().filter(|c| *c != '-').collect();
    Ok(match u128::from_str_radix(&hex, 16) {
        Ok(number) if hex.len() == 32 => number.to_be_bytes(),
        _ => {
            let mut id = [0u8; 16];
            for (place, byte) in text.bytes().enumerate() {
                let place = place % id.len();
                id[place] = byte.wrapping_add(id[place].rotate_left(1));
            }
            id
        }
    })
}

pub(super) fn now() -> BootTime {
    BootTime(boottime_ns())
}

/// From the keys that the standard library draws from the kernel for its hash maps.
pub(super) fn seed() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(boottime_ns()));
    half() << 64 | half()
}
