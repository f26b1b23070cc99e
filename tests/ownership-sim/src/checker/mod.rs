//! Every state of the production machines within small bounds: two nodes and one VIP, of which a
//! few things go wrong, at every step of a coarse clock and in every order of requests and wake-ups
//! within a step (`docs/proofs.md`).
//!
//! A state is two machines, their kernels' maps, the register and what is on its way. Clocks of
//! nodes agree here: errors of clock rates are the simulation's part, and so are three nodes, LANs
//! in parts, and more than one VIP.

mod digest;
mod explore;
mod moves;
mod node;
mod state;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use vip_ownership::{
    BootTime, Claims, Config, ControlPlane, Event, Layout, Lease, Left, NodeName, OnApiLoss, PART,
    PlaneConfig, Readiness, Reply, Request, Serves, SessionId, Timing,
};

use self::{
    digest::VERSIONS,
    state::{State, What},
};
pub use self::{
    explore::Explored,
    moves::{Fault, Move},
};
use crate::{
    agent::{Agent, Kind},
    mutation::Mutation,
    register::Register,
};

/// What is explored.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// What the nodes run.
    pub kind: Kind,
    /// What happens past `confirmed`.
    pub on_api_loss: OnApiLoss,
    /// Things that go wrong in one run.
    pub faults: u8,
    /// Which.
    pub among: Vec<Fault>,
    /// Steps of the clock by which something may be late.
    pub late: u8,
    /// What is broken on purpose.
    pub mutation: Option<Mutation>,
    /// Step of the clock, in nanoseconds.
    grid: u64,
    timing: Timing,
    vip: IpAddr,
}

/// Steps within which a healed system comes back to one answerer. A Lease that was parked, or a
/// session that nobody knows, is waited for for a minute.
const HEALS_WITHIN: u16 = 70;

/// Breaks what is always to hold.
pub const TWO: &str = "two nodes answer";
/// Breaks what is to hold in the end.
pub const STUCK: &str = "a healed system does not come back to one answerer";
/// What is to happen sometimes.
pub const SOMETIMES: [&str; 3] = ["fail-over", "hand-over", "revocation"];

impl Bounds {
    /// L = 4 s, renewed every second, H = 3 s, in steps of a second.
    pub fn new(kind: Kind, faults: u8) -> Self {
        let seconds = Duration::from_secs;
        let timing = Timing::new(seconds(4), seconds(1), seconds(3));
        Self {
            kind,
            on_api_loss: OnApiLoss::Hold,
            faults,
            among: Fault::ALL.into(),
            late: 6,
            mutation: None,
            grid: 1_000_000_000,
            timing: timing.unwrap_or_default(),
            vip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        }
    }

    /// Visits all states, or as many as there is time for; ends at the first that breaks what is
    /// always to hold.
    pub fn explore(&self, threads: usize, limit: Duration) -> Explored {
        explore::explore(self, threads, limit)
    }

    fn layout(&self) -> Layout {
        Layout {
            objects: 1,
            buckets_each: 1,
        }
    }

    fn empty_claims(&self) -> Claims {
        Claims {
            version: VERSIONS,
            ..Claims::empty(0, self.layout())
        }
    }

    /// What is in the register before anybody starts.
    fn found(&self, register: &mut Register) {
        match self.kind {
            Kind::Sessions => drop(register.store_claims(self.empty_claims(), true)),
            Kind::ControlPlane => {
                let last = SessionId {
                    node: "z".into(),
                    boot: [0; 16],
                    id: u128::from(u32::MAX).to_be_bytes(),
                };
                let lease = Lease {
                    node: ControlPlane::LEASE.into(),
                    uid: "".into(),
                    resource_version: "".into(),
                    holder: None,
                    revoked: Some(last),
                    claims_read: Default::default(),
                    serves: Serves::default(),
                    duration: self.timing.duration(),
                };
                register.store_lease(lease, true);
            }
        }
    }

    fn agent(
        &self,
        node: NodeName,
        boot: [u8; 16],
        seed: u128,
        left: Left,
        now: BootTime,
    ) -> (Agent, Vec<vip_ownership::Action>) {
        match self.kind {
            Kind::Sessions => {
                let config = Config {
                    node,
                    boot,
                    timing: self.timing,
                    on_api_loss: self.on_api_loss,
                    max_announcers: 8,
                    part: PART,
                    layout: self.layout(),
                    seed,
                };
                Agent::session(config, left, now)
            }
            Kind::ControlPlane => {
                let config = PlaneConfig {
                    node,
                    boot,
                    timing: self.timing,
                    on_api_loss: self.on_api_loss,
                    addresses: [self.vip].into(),
                    seed,
                };
                Agent::control_plane(config, left, false, now)
            }
        }
    }

    /// A request is carried out, as the mutant has it.
    fn serve(&self, register: &mut Register, by: &NodeName, request: Request) -> Reply {
        let request = match (self.mutation, request) {
            (Some(Mutation::RetriedRevocation), Request::PutLease(mut lease)) => {
                let old = register.leases.get(&lease.node);
                let holder = old.and_then(|old| old.holder.as_ref());
                if let Some(old) = old
                    && holder.is_some_and(|holder| holder.node != *by)
                {
                    lease.resource_version = old.resource_version.clone();
                }
                Request::PutLease(lease)
            }
            (_, request) => request,
        };
        let reply = register.serve(by, request);
        match (self.mutation, reply) {
            (Some(Mutation::RecreatedTakenAsFree), Reply::Leases(mut leases)) => {
                let uids: Vec<_> = register.claims.values().map(|c| c.uid.clone()).collect();
                for lease in leases.iter_mut().filter(|lease| lease.node != *by) {
                    lease.claims_read.extend(uids.iter().cloned());
                }
                Reply::Leases(leases)
            }
            (_, reply) => reply,
        }
    }

    fn shown_epoch(&self, epoch: u64) -> u64 {
        match self.mutation {
            Some(Mutation::EntriesRevived) => 1,
            _ => epoch,
        }
    }

    /// Two nodes that started, after so many quiet steps.
    fn settled(&self) -> State {
        let mut state = State::new(self);
        for node in 0..2 {
            state.starts(self, node);
        }
        while state.at < 1010 * self.grid {
            if let Some(place) = (0..state.wire.len()).find(|place| state.may_arrive(*place)) {
                state.arrives(self, place);
            } else if let Some(node) = (0..2).find(|node| state.is_due(*node)) {
                state.tell(self, node, Event::Tick);
            } else {
                state.advances(self);
            }
        }
        state
    }

    fn faults(&self, state: &State) -> Vec<Move> {
        let mut moves = Vec::new();
        for place in 0..state.wire.len() {
            let message = &state.wire[place];
            if message.late.is_none() && state.may_arrive(place) {
                moves.push(Move::IsLate(place));
                if !matches!(message.what, What::Watch(_)) {
                    moves.push(Move::IsLost(place));
                }
            }
        }
        for (node, place) in state.nodes.iter().enumerate() {
            if state.is_quiet() || state.is_spoken_to(node) {
                if place.agent.is_some() {
                    moves.push(Move::Crashes(node));
                }
                if place.is_running() {
                    moves.push(Move::Stops(node));
                }
            }
            if !state.is_quiet() {
                continue;
            }
            moves.extend([Move::Reboots(node), Move::LeaseIsEmptied(node)]);
            if place.is_running() {
                if !place.stops_in_store {
                    moves.push(Move::StopsInStore(node));
                }
                if !place.leaves {
                    moves.push(Move::Leaves(node));
                }
                if !place.cut {
                    moves.push(Move::IsCut(node));
                }
                if place.is_ready() {
                    moves.push(Move::Turns(node, Readiness::LastChoice));
                }
            }
            if self.kind == Kind::Sessions && state.wanted.is_none() {
                moves.push(Move::Wants(Some(node)));
            }
        }
        if self.kind == Kind::Sessions && state.is_quiet() {
            moves.push(Move::ClaimsAreReplaced);
        }
        moves.retain(|by| by.fault().is_some_and(|fault| self.among.contains(&fault)));
        moves
    }

    fn lease_of(&self, state: &State, node: usize) -> NodeName {
        match self.kind {
            Kind::Sessions => state.nodes[node].name.clone(),
            Kind::ControlPlane => ControlPlane::LEASE.into(),
        }
    }

    /// The states to begin with: two nodes at rest, and where little goes wrong also two that
    /// have just started.
    fn first(&self) -> Vec<State> {
        let mut first = vec![self.settled().sealed(self)];
        if self.faults < 2 {
            let mut fresh = State::new(self);
            for node in 0..2 {
                fresh.starts(self, node);
            }
            first.push(fresh.sealed(self));
        }
        first
    }

    fn moves(&self, state: &State) -> Vec<Move> {
        let mut moves = Vec::new();
        if let Some(place) = state.told_next() {
            // Whatever a node is told changes that node alone: one order stands for all.
            moves.push(Move::Arrives(place));
        } else {
            let arrivals = (0..state.wire.len()).filter(|place| state.may_arrive(*place));
            moves.extend(arrivals.map(Move::Arrives));
            moves.extend((0..2).filter(|node| state.is_due(*node)).map(Move::Wakes));
        }
        if state.is_quiet() {
            moves.push(Move::Tick);
            // What went wrong is over after any number of steps.
            for (node, place) in state.nodes.iter().enumerate() {
                if place.agent.is_none() {
                    moves.push(Move::Starts(node));
                }
                if place.paused {
                    moves.push(Move::Resumes(node));
                }
                if place.cut {
                    moves.push(Move::IsMended(node));
                }
                if !place.is_ready() && place.is_running() {
                    moves.push(Move::Turns(node, Readiness::Ready));
                }
            }
            if state.wanted.is_some() {
                moves.push(Move::Wants(None));
            }
        }
        if state.faults > 0 {
            moves.extend(self.faults(state));
        }
        moves
    }

    /// The state after a move, and after all that can only happen in one way before time goes on;
    /// none: the move changes nothing. And what is broken on the way there.
    fn next(&self, last: &State, by: Move) -> Option<(State, Option<&'static str>)> {
        let mut state = self.after(last.clone(), by)?;
        loop {
            let broken = self.broken(&state);
            match self.moves(&state)[..] {
                [by @ (Move::Arrives(_) | Move::Wakes(_))] if broken.is_none() => {
                    state = self.after(state, by)?;
                }
                _ => return Some((state.sealed(self), broken)),
            }
        }
    }

    fn after(&self, mut state: State, action: Move) -> Option<State> {
        state.faults -= u8::from(action.fault().is_some());
        match action {
            Move::Arrives(place) => state.arrives(self, place),
            Move::IsLate(place) => {
                let message = Arc::make_mut(&mut state.wire[place]);
                message.late = Some(0);
            }
            Move::IsLost(place) => drop(state.wire.remove(place)),
            Move::Wakes(node) => state.tell(self, node, Event::Tick),
            Move::Tick => state.advances(self),
            Move::Starts(node) => state.starts(self, node),
            Move::Crashes(node) => state.crashes(node),
            Move::Reboots(node) => state.reboots(node),
            Move::Stops(node) => Arc::make_mut(&mut state.nodes[node]).paused = true,
            Move::StopsInStore(node) => {
                Arc::make_mut(&mut state.nodes[node]).stops_in_store = true;
            }
            Move::Resumes(node) => state.resumes(self, node),
            Move::Leaves(node) => {
                Arc::make_mut(&mut state.nodes[node]).leaves = true;
                state.tell(self, node, Event::Leave);
            }
            Move::IsCut(node) => state.cuts(node),
            Move::IsMended(node) => state.mends(node),
            Move::Turns(node, readiness) => state.turns(self, node, readiness),
            Move::Wants(node) => {
                state.wanted = node;
                let vips = state.vips(self);
                for node in 0..2 {
                    state.tell(self, node, Event::Vips(vips.clone()));
                }
            }
            Move::LeaseIsEmptied(node) => {
                let name = self.lease_of(&state, node);
                let lease = state.register.leases.get(&name)?.clone();
                lease.holder.as_ref()?;
                state.edits(|register| {
                    let emptied = Lease {
                        holder: None,
                        ..lease
                    };
                    register.store_lease(emptied, false);
                });
            }
            Move::ClaimsAreReplaced => state.replaces(self),
        }
        Some(state)
    }

    /// What is always to hold and does not.
    fn broken(&self, state: &State) -> Option<&'static str> {
        if (0..2).all(|node| state.answers(self, node).is_some()) {
            Some(TWO)
        } else if state.unhealed >= HEALS_WITHIN {
            Some(STUCK)
        } else {
            None
        }
    }

    /// What is to happen sometimes and has.
    fn happened(&self, state: &State) -> impl Iterator<Item = &'static str> {
        let tally = &state.register.tally;
        let happened = [tally.failovers, tally.hand_overs, tally.revocations];
        SOMETIMES
            .into_iter()
            .zip(happened)
            .filter(|(_, times)| *times > 0)
            .map(|(what, _)| what)
    }
}
