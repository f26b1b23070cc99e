//! From a configuration to a running driver.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use aya_log::Level;
use tokio::{net::TcpListener, signal::unix::SignalKind};
use vip_common::abi::{self, FOREVER, LeaseSlot, SLOT_SESSION};

use super::{Driver, Inputs, Reload, on};
use crate::{
    announce::Announcer,
    config::{Config, LogLevel},
    counter_index::CounterIndices,
    event::{Fact, NodeFact},
    host::Host,
    io::{
        datapath::{Datapath, DatapathError, Records, Slots, Tables, embedded, prerequisites},
        http,
        lock::{AgentLock, LockError},
        netlink::{Netlink, NetlinkError},
        packet_socket::{PacketSocket, PacketSocketError},
    },
    metrics::Metrics,
    reconcile::{Claim, Programmed},
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
    /// The HTTP address is taken, or not one of this host.
    #[error("cannot listen at http: {address}: {source}; choose another `http`")]
    Http {
        /// `http`.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
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
        let address = config.http;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| StartError::Http { address, source })?;
        let level = (config.log.level >= LogLevel::Debug).then_some(Level::Debug);
        let mut datapath = Datapath::open(&config.pin_dir, abi::LAYOUT, embedded(), level)?;
        let tables = Tables::open(datapath.pins())?;
        let slots = Slots::open(datapath.pins())?;
        let (netlink, changes) = Netlink::connect()?;
        let events = Records::events(datapath.pins())?;
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
        let (door, questions) = http::Driver::new(Arc::clone(&metrics));
        tokio::spawn(http::serve(listener, door));

        let programmed: Programmed = tables.vips.all()?.into_iter().collect();
        let claim = claim_for_ever(&slots);
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
        let driver = Self {
            announcer: Announcer::new(Some(config.announce_rate), seed),
            counters: CounterIndices::continuing(&programmed),
            config,
            reload,
            metrics,
            started: Instant::now(),
            datapath,
            tables,
            slots,
            netlink,
            socket: PacketSocket::open()?,
            host: Host::default(),
            links: HashMap::new(),
            macs: HashMap::new(),
            guards: BTreeMap::new(),
            inherited,
            restores: BTreeMap::new(),
            behind: HashSet::new(),
            claim,
            programmed,
            flaps: Default::default(),
            vips: BTreeMap::new(),
            checked,
            events_dropped,
            rounds: 0,
            round_at: None,
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
            kernel_log,
            questions,
            hangup: on(SignalKind::hangup())?,
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        };
        Ok((driver, inputs))
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
    }
}
