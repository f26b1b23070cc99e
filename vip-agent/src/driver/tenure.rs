//! The turns of a lease machine: a task of its own, since a round waits for netlink and a renewal
//! must not wait for a round.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::pin_mut;
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use vip_common::abi::{LeaseSlot, SessionRecord};

use super::{
    entries::SharedEntries,
    lessee::{Duty, Lessee},
};
use crate::{
    announce::Announcement,
    event::NodeFact,
    io::{
        datapath::{DatapathError, Extender, Slots, Tables, boottime_ns},
        kube::{register::Register, version::VersionError},
        packet_socket::PacketSocket,
    },
    ownership::{Action, BootTime, Exit, SessionId},
    rights::Claim,
};

/// How long the egress program lets a claim of a VIP pass that is not live yet.
const CLAIM_PASSES: Duration = Duration::from_millis(20);
/// What the sending of claims and probes may take of the machine's time.
const SEND: Duration = Duration::from_millis(20);
/// What unbinding may take before the session is released all the same: every VIP is fenced.
const UNBIND: Duration = Duration::from_secs(2);

/// A machine, for those who ask it.
pub(super) struct Shared<M>(Arc<Mutex<M>>);

impl<M> Clone for Shared<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> Shared<M> {
    pub(super) fn new(machine: M) -> Self {
        Self(Arc::new(Mutex::new(machine)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, M> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a machine wants of the driver.
#[derive(Debug)]
pub(super) enum Ruling {
    /// Rights came or went: a round makes it so.
    Changed,
    /// This node holds bucket 0 now, and so allocates; or does no more.
    Allocates(bool),
    /// Every VIP of a machine is to be unbound before its Lease is released.
    Unbind(Duty, oneshot::Sender<()>),
    /// A machine is at its end, and the process ends when all are.
    Exit(Duty, Exit),
    /// Another machine has this node's name.
    Refused(SessionId),
    /// Kubernetes is too old.
    Unsupported(VersionError),
    /// Something happened to the session.
    Fact(NodeFact),
    /// Something could not be done.
    Failed(&'static str, String),
}

/// The task.
pub(super) struct Tenure<M: Lessee> {
    pub(super) machine: Shared<M>,
    pub(super) slots: Slots,
    pub(super) extender: Extender,
    pub(super) tables: Tables,
    pub(super) entries: SharedEntries,
    pub(super) register: Register<M::Event>,
    pub(super) socket: PacketSocket,
    pub(super) events: mpsc::UnboundedReceiver<M::Event>,
    pub(super) rulings: mpsc::UnboundedSender<Ruling>,
    /// Events that came before the machine began.
    pub(super) early: VecDeque<M::Event>,
    /// What was told last.
    pub(super) told: Told,
}

/// What the driver was told last of a machine.
#[derive(Default)]
pub(super) struct Told {
    allocates: bool,
    session: Option<SessionId>,
    /// Sessions that were lost by then.
    losses: u64,
}

impl<M: Lessee> Tenure<M> {
    /// Runs until the machine ends the process. `first`: what it wants done at its start.
    pub(super) async fn run(mut self, first: Vec<Action>) {
        let mut actions = first;
        loop {
            if !self.carry_out(actions).await {
                return;
            }
            self.tell_session();
            self.tell_allocator();
            let wake = self.machine.lock().wake_at();
            let wait = Duration::from_nanos(wake.0.saturating_sub(boottime_ns()));
            let event = match self.early.pop_front() {
                Some(event) => event,
                None => tokio::select! {
                    biased;
                    event = self.events.recv() => match event {
                        Some(event) => event,
                        None => return,
                    },
                    () = sleep(wait) => M::tick(),
                },
            };
            actions = self.step(event);
        }
    }

    /// Keeps what the machine is told until it may begin; false if the process is to end before.
    pub(super) async fn wait_for(&mut self, beginning: impl Future<Output = ()>) -> bool {
        pin_mut!(beginning);
        loop {
            tokio::select! {
                () = &mut beginning => return true,
                event = self.events.recv() => match event {
                    Some(event) if M::is_leave(&event) => {
                        self.rule(Ruling::Exit(M::DUTY, Exit::Released));
                        return false;
                    }
                    Some(event) => self.early.push_back(event),
                    None => return false,
                },
            }
        }
    }

    fn tell_session(&mut self) {
        let (now, losses) = {
            let machine = self.machine.lock();
            (machine.holds().cloned(), machine.losses())
        };
        let released = std::mem::replace(&mut self.told.losses, losses) == losses;
        if now == self.told.session {
            return;
        }
        if let Some(session) = self.told.session.take() {
            self.rule(Ruling::Fact(M::ended(session, released)));
            if released && now.is_none() {
                self.note(|record| M::DUTY.forget(record));
            }
        }
        if let Some(opened) = &now {
            self.rule(Ruling::Fact(M::opened(opened.clone())));
        }
        self.told.session = now;
    }

    fn tell_allocator(&mut self) {
        let allocates = self.machine.lock().allocates();
        if std::mem::replace(&mut self.told.allocates, allocates) != allocates {
            self.rule(Ruling::Allocates(allocates));
        }
    }

    fn step(&self, event: M::Event) -> Vec<Action> {
        self.machine.lock().step(event, BootTime(boottime_ns()))
    }

    /// Carries actions out, in their order, and what follows from refusals; false at the end.
    async fn carry_out(&mut self, actions: Vec<Action>) -> bool {
        let mut actions = actions;
        let mut changed = false;
        self.tell_session();
        while !actions.is_empty() {
            let mut refusals = Vec::new();
            let mut fenced = BTreeSet::new();
            for action in std::mem::take(&mut actions) {
                if let Action::Fence(vip) = action {
                    fenced.insert(vip);
                    continue;
                }
                changed |= self.fence(&mut fenced);
                match action {
                    Action::Fence(_) => {}
                    Action::Extend {
                        deadline,
                        confirmed,
                    } => refusals.extend(self.extend(deadline, confirmed)),
                    Action::Slot {
                        deadline,
                        confirmed,
                        epoch,
                    } => self.slots.set(
                        M::DUTY.slot(),
                        LeaseSlot {
                            deadline_boot_ns: deadline.0,
                            confirmed_boot_ns: confirmed.0,
                            epoch,
                        },
                    ),
                    Action::Remember { id, epoch } => {
                        self.note(|record| M::DUTY.remember(record, &id, epoch));
                    }
                    Action::Live {
                        address,
                        epoch,
                        yields_void_before,
                    } => {
                        let claim = Claim {
                            slot: M::DUTY.slot(),
                            epoch,
                            yields_void_before_ns: yields_void_before.0,
                        };
                        self.entries.lock().grant(address, claim);
                        changed = true;
                    }
                    Action::Claim(vips) => self.claim(vips.into_iter().collect()).await,
                    Action::Probe(vip) => self.probe(vip).await,
                    Action::Ask { id, request, anew } => self.register.ask(id, request, anew),
                    Action::TookOver { silent_since } => {
                        let nanos = boottime_ns().saturating_sub(silent_since.0);
                        let after = Duration::from_nanos(nanos);
                        self.rule(Ruling::Fact(NodeFact::TookOver { after }));
                    }
                    Action::Unbind => self.unbind().await,
                    Action::Exit(exit) => {
                        self.rule(Ruling::Exit(M::DUTY, exit));
                        return false;
                    }
                    Action::Refuse(other) => {
                        self.rule(Ruling::Refused(other));
                        return false;
                    }
                }
            }
            changed |= self.fence(&mut fenced);
            for refusal in refusals {
                actions.extend(self.step(refusal));
            }
        }
        if changed {
            self.rule(Ruling::Changed);
        }
        true
    }

    /// Moves the times of the slot, unless the deadline has passed or a VIP is yielded.
    fn extend(&self, deadline: BootTime, confirmed: BootTime) -> Option<M::Event> {
        let slot = self.slots.get(M::DUTY.slot());
        let mut yielded = BTreeSet::new();
        let now = boottime_ns();
        if confirmed.0 > slot.confirmed_boot_ns && slot.confirmed_boot_ns <= now {
            yielded = self.yielded(&slot);
        }
        if !yielded.is_empty() {
            let passed = boottime_ns() >= slot.deadline_boot_ns;
            return Some(M::not_extended(passed, yielded));
        }
        match self
            .extender
            .extend(M::DUTY.slot(), deadline.0, confirmed.0)
        {
            Ok(true) => None,
            Ok(false) => Some(M::not_extended(true, yielded)),
            Err(error) => {
                // As a stop of the process would be: the next extension comes soon.
                self.failed("extend", &error);
                None
            }
        }
    }

    /// VIPs of the session that the programs yielded for its present `confirmed`.
    fn yielded(&self, slot: &LeaseSlot) -> BTreeSet<IpAddr> {
        let entries = self.entries.lock();
        let live = entries
            .programmed()
            .iter()
            .filter(|(_, entry)| entry.slot == M::DUTY.slot() && entry.epoch == slot.epoch);
        live.filter(|(key, entry)| match self.tables.vip_state.get(key) {
            Ok(Some(state)) => {
                state.yield_at_ns != 0
                    && state.yield_confirmed_ns == slot.confirmed_boot_ns
                    && state.yield_at_ns >= entry.yields_void_before_ns
            }
            Ok(None) => false,
            // Unknown counts as yielded: it is claimed before it goes on.
            Err(_) => true,
        })
        .map(|(key, _)| key.ip())
        .collect()
    }

    /// Fences what is noted; whether there was something.
    fn fence(&self, vips: &mut BTreeSet<IpAddr>) -> bool {
        if vips.is_empty() {
            return false;
        }
        let fenced = self.entries.lock().fence(vips);
        if let Err(error) = fenced {
            // One store silences them all; the machine hears of it by its next extension.
            self.slots.fence(M::DUTY.slot());
            self.failed("fence", &error);
        }
        vips.clear();
        true
    }

    /// Changes the pinned record.
    fn note(&mut self, change: impl FnOnce(SessionRecord) -> SessionRecord) {
        let noted = self.tables.session().map(change);
        if let Err(error) = noted.and_then(|record| self.tables.set_session(record)) {
            self.failed("session", &error);
        }
    }

    async fn claim(&self, vips: BTreeSet<IpAddr>) {
        let until = boottime_ns() + CLAIM_PASSES.as_nanos() as u64;
        let frames = self.entries.lock().claim(&vips, until);
        match frames {
            Ok(frames) => self.send(frames).await,
            Err(error) => self.failed("claim", &error),
        }
    }

    async fn probe(&self, vip: IpAddr) {
        let frames = self.entries.lock().probe(vip);
        self.send(frames).await;
    }

    /// What does not leave in time does not leave: a claim is repeated, a probe too.
    async fn send(&self, frames: Vec<Announcement>) {
        match timeout(SEND, self.socket.send(&frames)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.rule(Ruling::Failed("announce", error.to_string())),
            Err(_) => self.rule(Ruling::Failed("announce", "the socket is full".into())),
        }
    }

    async fn unbind(&self) {
        let (done, unbound) = oneshot::channel();
        self.rule(Ruling::Unbind(M::DUTY, done));
        if timeout(UNBIND, unbound).await.is_err() {
            tracing::warn!("unbinding takes long: the Lease is released before it");
        }
    }

    fn failed(&self, part: &'static str, error: &DatapathError) {
        self.rule(Ruling::Failed(part, error.to_string()));
    }

    fn rule(&self, ruling: Ruling) {
        // Without a driver the process is at its end.
        let _ = self.rulings.send(ruling);
    }
}
