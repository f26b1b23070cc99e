//! Schedules: explicit sequences of events, written down. Between them the weather is calm: a
//! request takes a millisecond, its answer one, a watch one, and clocks are exact. So a schedule
//! does not depend on what a seed makes of chance, and it is run with several dice to show that
//! it does not depend on the machine's either.

use std::{collections::BTreeSet, ops::Range};

use vip_ownership::{Claims, Event, NodeName, Readiness, Request};

use super::{
    agent::Kind,
    check::Violation,
    mutation::Mutation,
    register::Tally,
    world::{Happening, MILLISECOND, World, short},
};

/// Something that happens at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The node's agent starts, if it is not there.
    Start(usize),
    /// kill -9.
    Kill(usize),
    /// The node loses its kernel with all that it answered, and its agent.
    Reboot(usize),
    /// SIGTERM.
    Leave(usize),
    /// Nobody answers the node any more; or they do again.
    Deaf(usize, bool),
    /// How gladly it takes rows.
    Ready(usize, Readiness),
    /// The agent is stopped for so many milliseconds.
    Stop(usize, u64),
    /// The agent is stopped for so many milliseconds between reading the clock and storing.
    StopInStore(usize, u64),
    /// The register is out of the node's reach.
    ApiCut(usize),
    /// And within again.
    ApiBack(usize),
    /// Watches of a node lag by so many milliseconds from now on.
    Lag(usize, u64),
    /// The node's next request of this kind takes so many milliseconds; none: it is lost.
    Hold(usize, Wire, Option<u64>),
    /// The answer to the node's next request of this kind does.
    HoldAnswer(usize, Wire, Option<u64>),
    /// The node is in this segment of the LAN from now on.
    Segment(usize, u64),
    /// An address row is wanted for this VIP, with one candidate.
    Only(usize, usize),
    /// An address row is not wanted any more.
    Anywhere(usize),
    /// The node's times are L = 2 s, renewed every 600 ms, H = 1.6 s; before it starts.
    Short(usize),
    /// Somebody empties the Lease that the node renews.
    EmptyLease(usize),
    /// Somebody deletes it.
    DeleteLease(usize),
    /// Somebody replaces the claims object by an empty one.
    Replace,
    /// The node does what [`Mutation::CarvedByAnother`] says; nothing without it.
    Carve(usize),
    /// The node does what [`Mutation::LivingRowOverwritten`] says; nothing without it.
    Overwrite(usize),
}

/// Kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A read of a Lease.
    ReadLease,
    /// A list of all Leases.
    ListLeases,
    /// A write of a Lease that leaves or puts a session of the writer's into it.
    Renew,
    /// A write of a Lease that empties it.
    Empty,
    /// A read of the claims object.
    ReadClaims,
    /// A write of it.
    PutClaims,
}

impl Wire {
    pub(super) fn of(request: &Request) -> Self {
        match request {
            Request::ReadLease(_) => Self::ReadLease,
            Request::ListLeases => Self::ListLeases,
            Request::PutLease(lease) if lease.holder.is_none() => Self::Empty,
            Request::CreateLease(_) | Request::PutLease(_) => Self::Renew,
            Request::ReadClaims(_) => Self::ReadClaims,
            Request::CreateClaims(_) | Request::PutClaims(_) => Self::PutClaims,
        }
    }
}

/// A schedule that is kept because it shows a mutant.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// What it shows.
    pub shows: Mutation,
    /// What the nodes run.
    pub kind: Kind,
    /// What happens when, in milliseconds, in order. Nodes that are never started never are.
    pub steps: &'static [(u64, Step)],
}

/// Every schedule is run with these, of the world and so of its machines.
pub const DICE: Range<u64> = 1..9;

/// Everything heals so many milliseconds after the last step.
const HEALS_AFTER: u64 = 12_000;

impl Schedule {
    /// Runs the schedule, with or without its mutant.
    pub fn run(&self, breaks: bool, dice: u64, tells: bool) -> Result<Tally, Violation> {
        run_steps(
            self.kind,
            self.steps,
            breaks.then_some(self.shows),
            dice,
            tells,
        )
    }
}

/// Runs steps, in the order of their times.
pub fn run_steps(
    kind: Kind,
    steps: &[(u64, Step)],
    mutation: Option<Mutation>,
    dice: u64,
    tells: bool,
) -> Result<Tally, Violation> {
    let mut world = World::new(kind, dice, mutation, tells);
    for node in 0..world.nodes.len() {
        world.nodes[node].boot(node as u128 + 1, 0);
    }
    if kind == Kind::ControlPlane {
        world.leave_released();
    }
    for (at, step) in steps {
        world.happens_in(at * MILLISECOND, Happening::Step(*step));
    }
    let ends = steps.iter().map(|(at, step)| match step {
        Step::Stop(_, pause) | Step::StopInStore(_, pause) => at + pause,
        _ => *at,
    });
    let last = ends.max().unwrap_or(0);
    world.happens_in((last + HEALS_AFTER) * MILLISECOND, Happening::Heals);
    world.run_queue()
}

impl World {
    pub(super) fn step(&mut self, step: Step) {
        self.say(|| format!("{step:?}"));
        match step {
            Step::Start(node) if self.nodes[node].agent.is_none() => {
                self.start_in(0, node, false);
            }
            Step::Start(_) => {}
            Step::Kill(node) => self.nodes[node].kill(),
            Step::Reboot(node) => {
                self.nodes[node].kill();
                let (boot, at) = (u128::from(self.dice.next()), self.at);
                self.nodes[node].boot(boot, at);
                self.stirred = true;
            }
            Step::Leave(node) => self.tell_in(0, node, Event::Leave),
            Step::Deaf(node, deaf) => {
                self.nodes[node].deaf = deaf;
                self.tell_in(0, node, Event::Deaf(deaf));
            }
            Step::Ready(node, readiness) => {
                self.nodes[node].serves.readiness = readiness;
                self.tell_in(0, node, Event::Serves(self.nodes[node].serves.clone()));
            }
            Step::Stop(node, pause) if self.nodes[node].is_running() => {
                self.pause(node, pause * MILLISECOND);
            }
            Step::Stop(..) => {}
            Step::StopInStore(node, pause) => {
                self.nodes[node].stop_in_store = Some(pause * MILLISECOND);
            }
            Step::ApiCut(node) => self.nodes[node].api_cut = true,
            Step::ApiBack(node) => self.api_back(Some(node)),
            Step::Lag(node, lag) => self.chaos.watch_lag[node] = lag * MILLISECOND,
            Step::Hold(node, wire, delay) => {
                let delay = delay.map(|delay| delay * MILLISECOND);
                self.nodes[node].held.push((wire, delay));
            }
            Step::HoldAnswer(node, wire, delay) => {
                let delay = delay.map(|delay| delay * MILLISECOND);
                self.nodes[node].held_answers.push((wire, delay));
            }
            Step::Segment(node, segment) => {
                self.nodes[node].segment = segment;
                self.lan_moved();
            }
            Step::Only(vip, node) => self.wants(vip, Some([self.nodes[node].name.clone()].into())),
            Step::Anywhere(vip) => self.wants(vip, None),
            Step::Short(node) => self.nodes[node].timing = Some(short()),
            Step::EmptyLease(node) => {
                let name = self.lease_of(node);
                if let Some(mut lease) = self.register.leases.get(&name).cloned() {
                    lease.holder = None;
                    self.register.store_lease(lease, false);
                }
            }
            Step::DeleteLease(node) => {
                let name = self.lease_of(node);
                self.register.delete_lease(&name);
            }
            Step::Replace => {
                self.register.delete_claims(0);
                let empty = Claims::empty(0, self.layout);
                self.register.store_claims(empty, true);
            }
            Step::Carve(node) => {
                if self.mutation == Some(Mutation::CarvedByAnother) {
                    self.carve(node, self.all_vips[0]);
                }
            }
            Step::Overwrite(node) => {
                if self.mutation == Some(Mutation::LivingRowOverwritten) {
                    self.overwrite(node);
                }
            }
        }
    }

    fn wants(&mut self, vip: usize, candidates: Option<BTreeSet<NodeName>>) {
        let vip = self.all_vips[vip % self.all_vips.len()];
        self.vips.insert(vip, candidates);
        for node in 0..self.nodes.len() {
            let delay = self.chaos.watch_lag[node] + MILLISECOND;
            self.tell_in(delay, node, Event::Vips(self.vips.clone()));
        }
    }
}
