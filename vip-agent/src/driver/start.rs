//! From a configuration to a running driver.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use aya_log::Level;
use tokio::{net::TcpListener, signal::unix::SignalKind};
use vip_common::abi::{self, FOREVER, LeaseSlot, SLOT_CONTROL_PLANE, SLOT_SESSION};

use super::{
    Driver, Inputs, Reload,
    entries::{Entries, SharedEntries},
    kubernetes::{self, Inheritance, KubernetesError},
    on,
};
use crate::{
    announce::Announcer,
    config::{Config, Key, LogLevel, Ownership},
    counter_index::CounterIndices,
    event::{Fact, NodeFact},
    host::Host,
    io::{
        datapath::{Datapath, DatapathError, Records, Slots, Tables, embedded, prerequisites},
        http,
        listener::{Listener, ListenerError},
        lock::{AgentLock, LockError},
        netlink::{Netlink, NetlinkError},
        packet_socket::{PacketSocket, PacketSocketError},
    },
    metrics::Metrics,
    reconcile::Programmed,
    rights::{Claim, Rights},
};

/// The agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What the kernel or the container lacks, all at once.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Prerequisites(Vec<DatapathError>),
    /// Another agent runs on this node.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The programs or maps cannot be used.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// No netlink.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// No packet socket.
    #[error(transparent)]
    PacketSocket(#[from] PacketSocketError),
    /// The LAN cannot be heard.
    #[error(transparent)]
    Listener(#[from] ListenerError),
    /// The HTTP address is taken, or not one of this host.
    #[error("cannot listen at {key}: {address}: {source}; choose another `{key}`")]
    Http {
        /// `http` or `metrics`.
        key: Key,
        /// Its value.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Ownership by sessions cannot begin.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// No signal handlers.
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
}

impl Driver {
    /// Opens everything; nothing on the wire changes yet.
    pub async fn start(config: Config, reload: Reload) -> Result<(Self, Inputs), StartError> {
        let lacking = prerequisites();
        if !lacking.is_empty() {
            return Err(StartError::Prerequisites(lacking));
        }
        let lock = AgentLock::take()?;
        let unbound = |key, address| {
            move |source| StartError::Http {
                key,
                address,
                source,
            }
        };
        let listener = TcpListener::bind(config.http).await;
        let listener = listener.map_err(unbound(Key::Http, config.http))?;
        let for_others = config
            .metrics
            .map(|address| http::listen_early(address).map_err(unbound(Key::Metrics, address)));
        let for_others = for_others.transpose()?;
        let level = (config.log.level >= LogLevel::Debug).then_some(Level::Debug);
        let mut datapath = Datapath::open(&config.pin_dir, abi::LAYOUT, embedded(), level)?;
        let tables = Tables::open(datapath.pins())?;
        let slots = Slots::open(datapath.pins())?;
        let (netlink, changes) = Netlink::connect()?;
        let events = Records::events(datapath.pins())?;
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
        let (door, questions) = http::Driver::new(Arc::clone(&metrics));
        if let Some(listener) = for_others {
            tokio::spawn(http::serve_metrics(listener, door.clone()));
        }
        tokio::spawn(http::serve(listener, door));

        let programmed: Programmed = tables.vips.all()?.into_iter().collect();
        // The rounds keep the other tables; entries have one of their own.
        let vips = Tables::open(datapath.pins())?.vips;
        let counters = CounterIndices::continuing(&programmed);
        let entries = |rights| SharedEntries::new(Entries::new(vips, programmed.clone(), rights));
        if !has_control_plane(&config) {
            // Nobody drives it any more.
            slots.fence(SLOT_CONTROL_PLANE);
        }
        let (entries, kubernetes) = match &config.ownership {
            Ownership::Static => (entries(Rights::Everything(claim_for_ever(&slots))), None),
            Ownership::Kubernetes(cluster) => {
                let left = Inheritance::find(&config, &tables, &slots, &programmed)?;
                let entries = entries(left.rights(&programmed));
                let started = kubernetes::start(&config, cluster, left, &datapath, entries.clone());
                (entries, Some(started.await?))
            }
        };
        let (kubernetes, cluster) = kubernetes.unzip();
        let events_dropped = tables.events_dropped()?;
        let inherited: HashSet<_> = datapath
            .present()
            .unwrap_or_default()
            .into_iter()
            .map(|(ifindex, _)| ifindex)
            .collect();
        let checked = datapath.check().map_err(|error| error.to_string());
        let kernel_log = level.and_then(|_| datapath.kernel_log());
        let seed = u64::from(std::process::id());
        let desired = kubernetes.is_none().then(|| config.vips.clone());
        let driver = Self {
            announcer: Announcer::new(Some(config.announce_rate), seed),
            counters,
            config,
            reload,
            metrics,
            history: RefCell::default(),
            started: Instant::now(),
            datapath,
            tables,
            slots,
            netlink,
            socket: PacketSocket::open()?,
            ears: Default::default(),
            incumbents: Default::default(),
            host: Host::default(),
            links: HashMap::new(),
            macs: HashMap::new(),
            guards: BTreeMap::new(),
            inherited,
            restores: BTreeMap::new(),
            behind: HashSet::new(),
            entries,
            desired,
            kubernetes,
            flaps: Default::default(),
            vips: BTreeMap::new(),
            conflicts_until: None,
            checked,
            events_dropped,
            rounds: 0,
            tidied: 0,
            round_at: None,
            look_at: super::RESYNC,
            _lock: lock,
        };
        if let Err(error) = &driver.checked {
            let error = error.clone();
            driver.tell(Fact::Node(NodeFact::ReconcileFailed {
                part: "check",
                error,
            }));
        }
        let inputs = Inputs {
            changes,
            events,
            listener: Listener::open()?,
            kernel_log,
            questions,
            cluster,
            hangup: on(SignalKind::hangup())?,
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        };
        Ok((driver, inputs))
    }
}

fn has_control_plane(config: &Config) -> bool {
    match &config.ownership {
        Ownership::Static => false,
        Ownership::Kubernetes(cluster) => cluster.control_plane.is_some(),
    }
}

/// Static ownership: the slot never expires. A slot that an earlier process left so goes on
/// under its epoch, with everything that the kernel answers by it.
fn claim_for_ever(slots: &Slots) -> Claim {
    let left = slots.get(SLOT_SESSION);
    let epoch = if left.deadline_boot_ns == FOREVER {
        left.epoch
    } else {
        left.epoch + 1
    };
    let slot = LeaseSlot {
        deadline_boot_ns: FOREVER,
        confirmed_boot_ns: FOREVER,
        epoch,
    };
    if left != slot {
        slots.set(SLOT_SESSION, slot);
    }
    Claim {
        slot: SLOT_SESSION,
        epoch,
        ..Claim::default()
    }
}
