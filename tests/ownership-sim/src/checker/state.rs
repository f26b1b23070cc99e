//! Two nodes, one claims object, and what is on its way between them and the register.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use vip_ownership::{
    Action, BootTime, Event, NodeName, Readiness, Reply, Request, RequestId, Serves,
};

use super::{
    Bounds,
    digest::{Digest, VERSIONS},
    node::Node,
};
use crate::{
    kernel::{Effect, Kernel, Times},
    mutation::Mutation,
    register::{Change, Register},
    saboteur::shown_times,
};

/// Wake-ups this close are not rounded up to the grid: claims are ten milliseconds apart.
pub(super) const CLOSE: u64 = 50_000_000;

/// Something on its way.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) node: usize,
    pub(super) what: What,
    /// Ticks for which it has been late; none: it is to arrive before time goes on.
    pub(super) late: Option<u8>,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Request(RequestId, Request),
    Reply(RequestId, Reply),
    Watch(Change),
}

/// What the checker tells apart.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) at: u64,
    pub(super) nodes: [Arc<Node>; 2],
    pub(super) register: Arc<Register>,
    pub(super) wire: Vec<Arc<Message>>,
    pub(super) wanted: Option<usize>,
    pub(super) faults: u8,
    /// Ticks for which nothing has been wrong and yet not one node alone answered.
    pub(super) unhealed: u16,
    digest: u64,
}

impl State {
    /// Two nodes that have been up for a while, and an object that nobody has claimed.
    pub(super) fn new(bounds: &Bounds) -> Self {
        let mut register = Register::default();
        bounds.found(&mut register);
        register.changes.clear();
        Self {
            at: 1000 * bounds.grid,
            nodes: [Arc::new(Node::new("a", 1)), Arc::new(Node::new("b", 2))],
            register: Arc::new(register),
            wire: Vec::new(),
            wanted: None,
            faults: bounds.faults,
            unhealed: 0,
            digest: 0,
        }
    }

    /// To be called when a state is as it is to be.
    pub(super) fn sealed(mut self, bounds: &Bounds) -> Self {
        let version = self
            .register
            .claims
            .get(&0)
            .map_or(0, |claims| claims.version);
        let mut digest = Digest::new(self.at, bounds.grid, version);
        digest.add(&(
            self.faults,
            self.unhealed,
            self.wanted,
            (self.at % bounds.grid).div_ceil(10_000_000),
        ));
        digest.add(&self.register.leases);
        digest.add(&self.register.claims);
        for lease in self.register.leases.values() {
            if let Some(holder) = &lease.holder {
                let is_of_boot = |node: &Arc<Node>| node.boot == holder.boot;
                digest.add(&self.nodes.iter().any(is_of_boot));
            }
        }
        for (place, node) in self.nodes.iter().enumerate() {
            digest.add_of(place, node);
        }
        for message in &self.wire {
            digest.add_of(message.node, message);
        }
        self.digest = digest.finish();
        self
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// Nothing is to arrive, and no wake-up is due, before time goes on.
    pub(super) fn is_quiet(&self) -> bool {
        self.wire.iter().all(|message| message.late.is_some())
            && (0..self.nodes.len()).all(|node| !self.is_due(node))
    }

    pub(super) fn is_due(&self, node: usize) -> bool {
        self.nodes[node]
            .wake_at()
            .is_some_and(|wake| wake <= self.at)
    }

    /// Messages that are not late arrive in the order in which they were sent, each way.
    pub(super) fn may_arrive(&self, place: usize) -> bool {
        let message = &self.wire[place];
        let to_register = |message: &Message| matches!(message.what, What::Request(..));
        let before = |other: &Arc<Message>| {
            other.late.is_none()
                && other.node == message.node
                && to_register(other) == to_register(message)
        };
        message.late.is_some() || !self.wire[..place].iter().any(before)
    }

    /// A message to a node that is to arrive before time goes on.
    pub(super) fn told_next(&self) -> Option<usize> {
        (self.wire.iter()).position(|message| {
            message.late.is_none() && !matches!(message.what, What::Request(..))
        })
    }

    /// Something is on its way from or to the node that is to arrive before time goes on.
    pub(super) fn is_spoken_to(&self, node: usize) -> bool {
        let mut wire = self.wire.iter();
        wire.any(|message| message.node == node && message.late.is_none())
    }

    fn now(&self) -> BootTime {
        BootTime(self.at)
    }

    fn node(&mut self, node: usize) -> &mut Node {
        Arc::make_mut(&mut self.nodes[node])
    }

    pub(super) fn starts(&mut self, bounds: &Bounds, node: usize) {
        let now = self.now();
        let place = &self.nodes[node];
        let (name, boot) = (place.name.clone(), place.boot);
        // Ids that are used once, and print as eight digits.
        let seed = 0x8000_0000 + (u128::from(self.at / 1_000_000) << 3 | node as u128) * 16;
        let (agent, actions) = bounds.agent(name, boot, seed, place.left(), now);
        let place = self.node(node);
        place.leaves = false;
        place.agent = Some(agent);
        place.actions = actions.into();
        let serves = Serves {
            readiness: place.readiness,
            ..Serves::default()
        };
        if bounds.mutation == Some(Mutation::LiveAfterRestart) {
            self.goes_live_by_reading(bounds, node);
        }
        self.works(bounds, node);
        self.tell(bounds, node, Event::Serves(serves));
        self.tell(bounds, node, Event::Vips(self.vips(bounds)));
        self.relists(node);
    }

    pub(super) fn vips(&self, bounds: &Bounds) -> BTreeMap<IpAddr, Option<BTreeSet<NodeName>>> {
        let wanted = self
            .wanted
            .map(|node| [self.nodes[node].name.clone()].into());
        [(bounds.vip, wanted)].into()
    }

    fn relists(&mut self, node: usize) {
        let leases = self.register.leases.values().cloned().map(Change::Lease);
        let claims = self.register.claims.values().cloned().map(Change::Claims);
        let changes: Vec<_> = leases.chain(claims).collect();
        for change in changes {
            self.sends(node, What::Watch(change));
        }
    }

    fn sends(&mut self, node: usize, what: What) {
        self.wire.push(Arc::new(Message {
            node,
            what,
            late: None,
        }));
    }

    /// The process is gone, and with it all that was on its way to it.
    pub(super) fn crashes(&mut self, node: usize) {
        let place = self.node(node);
        place.agent = None;
        place.paused = false;
        place.stops_in_store = false;
        place.stopped_store = None;
        place.inbox.clear();
        place.actions.clear();
        self.wire
            .retain(|message| message.node != node || matches!(message.what, What::Request(..)));
    }

    /// The kernel is gone, too.
    pub(super) fn reboots(&mut self, node: usize) {
        self.crashes(node);
        let boot = u128::from_be_bytes(self.nodes[node].boot) + 2;
        let place = self.node(node);
        place.boot = boot.to_be_bytes();
        place.kernel = Kernel::default();
        place.pinned = None;
    }

    pub(super) fn resumes(&mut self, bounds: &Bounds, node: usize) {
        let now = self.now();
        let place = self.node(node);
        place.paused = false;
        match place.stopped_store.take() {
            Some(asked) if bounds.mutation.is_some_and(Mutation::stores_late) => {
                place.kernel.lift(asked);
            }
            Some(asked) => place.stores(asked, now),
            None => {}
        }
        self.works(bounds, node);
        if self.nodes[node].wake_at().is_some_and(|wake| wake <= now.0) {
            self.tell(bounds, node, Event::Tick);
        }
    }

    pub(super) fn mends(&mut self, node: usize) {
        self.node(node).cut = false;
        self.relists(node);
    }

    pub(super) fn cuts(&mut self, node: usize) {
        self.node(node).cut = true;
        self.wire
            .retain(|message| message.node != node || message.late.is_some());
    }

    pub(super) fn turns(&mut self, bounds: &Bounds, node: usize, readiness: Readiness) {
        self.node(node).readiness = readiness;
        let serves = Serves {
            readiness,
            ..Serves::default()
        };
        self.tell(bounds, node, Event::Serves(serves));
    }

    pub(super) fn arrives(&mut self, bounds: &Bounds, place: usize) {
        let message = self.wire.remove(place);
        let node = message.node;
        match message.what.clone() {
            What::Request(id, request) => {
                let name = self.nodes[node].name.clone();
                let register = Arc::make_mut(&mut self.register);
                let reply = bounds.serve(register, &name, request);
                let changes = std::mem::take(&mut register.changes);
                let is_there = self.nodes[node].agent.is_some() && !self.nodes[node].cut;
                if is_there {
                    self.sends(node, What::Reply(id, reply));
                }
                for change in changes {
                    for node in 0..self.nodes.len() {
                        if self.nodes[node].agent.is_some() && !self.nodes[node].cut {
                            self.sends(node, What::Watch(change.clone()));
                        }
                    }
                }
            }
            What::Reply(id, reply) => {
                if bounds.mutation == Some(Mutation::LiveOnARead)
                    && matches!(reply, Reply::Claims(Some(_)))
                {
                    self.goes_live_by_reading(bounds, node);
                }
                self.tell(bounds, node, Event::Reply(id, reply));
            }
            What::Watch(change) => {
                let event = match change {
                    Change::Lease(lease) => Event::LeaseSeen(lease),
                    Change::LeaseGone(node) => Event::LeaseGone(node),
                    Change::Claims(claims) => Event::ClaimsSeen(claims),
                    Change::ClaimsGone(index) => Event::ClaimsGone(index),
                };
                self.tell(bounds, node, event);
            }
        }
    }

    /// An object changed by hand.
    pub(super) fn edits(&mut self, edit: impl FnOnce(&mut Register)) {
        let register = Arc::make_mut(&mut self.register);
        edit(register);
        let changes = std::mem::take(&mut register.changes);
        for change in changes {
            for node in 0..self.nodes.len() {
                if self.nodes[node].agent.is_some() && !self.nodes[node].cut {
                    self.sends(node, What::Watch(change.clone()));
                }
            }
        }
    }

    /// Time goes on: to a close wake-up, or by a step of the grid.
    pub(super) fn advances(&mut self, bounds: &Bounds) {
        let next = (self.at / bounds.grid + 1) * bounds.grid;
        let wakes = self.nodes.iter().filter_map(|node| node.wake_at());
        let close = wakes.filter(|wake| *wake <= self.at + CLOSE).min();
        self.at = close.unwrap_or(next).clamp(self.at + 1, next);
        if self.at < next {
            return;
        }
        let mut wire = std::mem::take(&mut self.wire);
        for message in &mut wire {
            let message = Arc::make_mut(message);
            // A watch loses nothing.
            message.late = match (message.late, &message.what) {
                (Some(late), What::Watch(_)) if late == bounds.late => None,
                (late, _) => late.map(|late| late + 1),
            };
        }
        wire.retain(|message| message.late.is_none_or(|late| late <= bounds.late));
        self.wire = wire;
        let is_well = self.wire.is_empty() && self.nodes.iter().all(|node| node.is_well());
        let answers = (0..2).filter(|node| self.answers(bounds, *node) == Some(true));
        self.unhealed = match is_well && answers.count() != 1 {
            true => self.unhealed + 1,
            false => 0,
        };
    }

    /// Whether a node answers, and is confirmed.
    pub(super) fn answers(&self, bounds: &Bounds, node: usize) -> Option<bool> {
        use vip_common::standing::Standing;
        match self.nodes[node].kernel.standing(bounds.vip, self.now()) {
            Standing::Confirmed => Some(true),
            Standing::Unconfirmed(_) => Some(false),
            Standing::Passed(_) | Standing::Fenced => None,
        }
    }

    pub(super) fn tell(&mut self, bounds: &Bounds, node: usize, event: Event) {
        if self.nodes[node].agent.is_some() {
            self.node(node).hears(event);
            self.works(bounds, node);
        }
    }

    fn works(&mut self, bounds: &Bounds, node: usize) {
        let now = self.now();
        while self.nodes[node].is_running() {
            let place = self.node(node);
            if let Some(action) = place.actions.pop_front() {
                self.carries_out(bounds, node, action);
            } else if let Some(event) = place.inbox.pop_front() {
                if let Some(agent) = &mut place.agent {
                    place.actions = agent.step(event, now).into();
                }
            } else {
                return;
            }
        }
    }

    fn carries_out(&mut self, bounds: &Bounds, node: usize, action: Action) {
        let now = self.now();
        match action {
            Action::Extend {
                deadline,
                confirmed,
            } => {
                let asked = Times {
                    deadline,
                    confirmed,
                };
                self.extends(bounds, node, asked);
            }
            Action::Slot {
                deadline,
                confirmed,
                epoch,
            } => {
                let slot = &mut self.node(node).kernel.slot;
                slot.deadline_boot_ns = deadline.0;
                slot.confirmed_boot_ns = confirmed.0;
                slot.epoch = bounds.shown_epoch(epoch);
                if bounds.mutation == Some(Mutation::RowsWithoutSession) && deadline > now {
                    self.goes_live_by_reading(bounds, node);
                }
            }
            Action::Remember { id, .. } => self.node(node).pinned = Some(id),
            Action::Live {
                address,
                epoch,
                yields_void_before,
            } => {
                let epoch = bounds.shown_epoch(epoch);
                self.node(node)
                    .kernel
                    .live(address, epoch, yields_void_before);
                if bounds.mutation != Some(Mutation::LiveWithoutClaim) {
                    self.claims(bounds, node, address, true);
                }
            }
            Action::Fence(vip) => {
                let revives = bounds.mutation == Some(Mutation::EntriesRevived)
                    && self.nodes[node].kernel.slot.deadline_boot_ns == 0;
                if !revives {
                    self.node(node).kernel.fence(vip);
                }
            }
            Action::Claim(vips) => {
                if bounds.mutation != Some(Mutation::LiveWithoutClaim) {
                    for vip in vips {
                        self.claims(bounds, node, vip, true);
                    }
                }
            }
            Action::Probe(vip) => self.claims(bounds, node, vip, false),
            Action::Ask { id, request, .. } => {
                if !self.nodes[node].cut {
                    self.sends(node, What::Request(id, request));
                }
            }
            Action::Unbind | Action::TookOver { .. } => {}
            Action::Exit(_) | Action::Refuse(_) => self.crashes(node),
        }
    }

    fn extends(&mut self, bounds: &Bounds, node: usize, asked: Times) {
        let now = self.now();
        let slot = &self.nodes[node].kernel.slot;
        let asked = shown_times(bounds.mutation, asked, now, slot, &bounds.timing);
        let place = self.node(node);
        let moves = asked.confirmed.0 > place.kernel.slot.confirmed_boot_ns;
        let passed = place.kernel.is_passed(now);
        let yielded: BTreeSet<_> = match moves {
            true => place.kernel.yielded(now).into_iter().collect(),
            false => BTreeSet::new(),
        };
        let lifts = match bounds.mutation {
            // A hold leaves it as it is, and says nothing.
            Some(Mutation::LiftedWithoutClaim) if passed && !moves => return,
            Some(Mutation::LiftedWithoutClaim) => passed,
            Some(Mutation::PassedDeadlineMoved) => !moves,
            _ => false,
        };
        if !yielded.is_empty() && !lifts {
            let refused = Event::NotExtended { passed, yielded };
            place.inbox.push_front(refused);
        } else if std::mem::take(&mut place.stops_in_store) {
            place.stopped_store = Some(asked);
            place.paused = true;
        } else if lifts {
            place.kernel.lift(asked);
        } else {
            place.stores(asked, now);
        }
    }

    /// A claim, or an ask, is heard at once.
    fn claims(&mut self, bounds: &Bounds, from: usize, vip: IpAddr, is_claim: bool) {
        let now = self.now();
        let to = 1 - from;
        let notes = bounds.mutation != Some(Mutation::PassedDeadlineNotesNothing);
        let effect = self.node(to).kernel.receive(vip, is_claim, notes, now);
        let told = match effect {
            Effect::Answered => Some((from, Event::ProbeAnswered(vip))),
            Effect::Defended => {
                // Whoever claims does not answer yet, or yields, or is as confirmed.
                let effect = self.node(from).kernel.receive(vip, true, notes, now);
                match effect {
                    Effect::Passed => Some((from, Event::ProbeAnswered(vip))),
                    Effect::Yielded => Some((from, Event::Yielded(vip))),
                    _ => None,
                }
            }
            Effect::Yielded => Some((to, Event::Yielded(vip))),
            Effect::Passed if is_claim => Some((to, Event::ProbeAnswered(vip))),
            Effect::Passed | Effect::Nothing => None,
        };
        if let Some((node, event)) = told
            && self.nodes[node].agent.is_some()
        {
            self.node(node).hears(event);
            if node != from {
                self.works(bounds, node);
            }
        }
    }

    /// What the rows in the register give to the node is live.
    fn goes_live_by_reading(&mut self, bounds: &Bounds, node: usize) {
        let by_name = bounds.mutation == Some(Mutation::RowsWithoutSession);
        let (name, pinned) = (
            self.nodes[node].name.clone(),
            self.nodes[node].pinned.clone(),
        );
        let row = self.register.claims.get(&0);
        let row = row.and_then(|claims| claims.deciding(bounds.vip, 0));
        let ours = row.is_some_and(|(_, row)| match by_name {
            true => row.session.node == name,
            false => Some(&row.session) == pinned.as_ref(),
        });
        if ours {
            let place = self.node(node);
            let epoch = place.kernel.slot.epoch;
            place.kernel.live(bounds.vip, epoch, BootTime::default());
        }
    }

    /// Somebody replaces the claims object by an empty one.
    pub(super) fn replaces(&mut self, bounds: &Bounds) {
        self.edits(|register| {
            register.delete_claims(0);
            let mut empty = bounds.empty_claims();
            empty.version = VERSIONS;
            register.store_claims(empty, true);
        });
    }
}
