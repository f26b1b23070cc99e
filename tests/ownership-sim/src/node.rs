//! A node: a clock, a kernel, and an agent that comes and goes.

use std::{collections::VecDeque, net::IpAddr};

use vip_ownership::{Action, BootTime, Event, Left, NodeName, Serves, SessionId, Timing};

use super::{
    agent::Agent,
    kernel::{Kernel, Times},
    schedule::Wire,
};

#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) boot: [u8; 16],
    /// True time at which the clock showed zero.
    booted: u64,
    /// Error of the clock's rate, in millionths.
    pub(super) ppm: i64,
    /// Its L, renewal interval and H, where they are not those of the others.
    pub(super) timing: Option<Timing>,
    pub(super) kernel: Kernel,
    pub(super) pinned: Option<SessionId>,
    pub(super) agent: Option<Agent>,
    /// Counts processes: what is on its way to an earlier one is lost.
    pub(super) process: u64,
    pub(super) paused: bool,
    /// True time since which it has run without a stop.
    pub(super) ran_since: u64,
    /// Actions after which the process is stopped in mid-batch, and for how long.
    pub(super) stop_after: Option<(usize, u64)>,
    /// The process is stopped between its look for yields and the kernel's next store, for so long.
    pub(super) stop_in_store: Option<u64>,
    /// That store.
    pub(super) stopped_store: Option<Times>,
    /// Next requests of a kind and what becomes of them (schedules).
    pub(super) held: Vec<(Wire, Option<u64>)>,
    /// Next answers to them.
    pub(super) held_answers: Vec<(Wire, Option<u64>)>,
    pub(super) inbox: VecDeque<Event>,
    pub(super) actions: VecDeque<Action>,
    pub(super) wake: Option<(u64, u64)>,
    pub(super) api_cut: bool,
    /// The watch broke: it lists again once the API is back.
    pub(super) stale: bool,
    pub(super) watched_until: u64,
    pub(super) segment: u64,
    pub(super) serves: Serves,
    pub(super) deaf: bool,
}

impl Node {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            boot: [0; 16],
            booted: 0,
            ppm: 0,
            timing: None,
            kernel: Kernel::default(),
            pinned: None,
            agent: None,
            process: 0,
            paused: false,
            ran_since: 0,
            stop_after: None,
            stop_in_store: None,
            stopped_store: None,
            held: Vec::new(),
            held_answers: Vec::new(),
            inbox: VecDeque::new(),
            actions: VecDeque::new(),
            wake: None,
            api_cut: false,
            stale: false,
            watched_until: 0,
            segment: 0,
            serves: Serves::default(),
            deaf: false,
        }
    }

    /// This node's clock at a true time.
    pub(super) fn clock(&self, at: u64) -> BootTime {
        let span = i128::from(at - self.booted);
        BootTime((span + span * i128::from(self.ppm) / 1_000_000) as u64 + 1)
    }

    /// The first true time at which the clock shows `at`.
    pub(super) fn true_time(&self, at: BootTime) -> u64 {
        let span = i128::from(at.0) * 1_000_000 / i128::from(1_000_000 + self.ppm);
        self.booted + span as u64 + 1
    }

    pub(super) fn boot(&mut self, boot: u128, at: u64) {
        self.boot = boot.to_be_bytes();
        // Clocks that began long ago, and at different times.
        self.booted = at;
        self.kernel = Kernel::default();
        self.pinned = None;
    }

    pub(super) fn left(&self) -> Left {
        Left {
            session: self.pinned.clone(),
            epoch: self.kernel.slot.epoch,
            deadline: BootTime(self.kernel.slot.deadline_boot_ns),
            confirmed: BootTime(self.kernel.slot.confirmed_boot_ns),
            live: self.kernel.of_session().collect(),
        }
    }

    pub(super) fn start(&mut self, (agent, actions): (Agent, Vec<Action>), at: u64) {
        self.process += 1;
        self.ran_since = at;
        self.agent = Some(agent);
        self.actions = actions.into();
        self.paused = false;
    }

    /// The process is gone; the kernel goes on.
    pub(super) fn kill(&mut self) {
        self.agent = None;
        self.process += 1;
        self.paused = false;
        self.stop_after = None;
        self.stop_in_store = None;
        self.stopped_store = None;
        self.inbox.clear();
        self.actions.clear();
        self.wake = None;
    }

    pub(super) fn is_running(&self) -> bool {
        self.agent.is_some() && !self.paused
    }

    pub(super) fn answers(&self, vip: IpAddr, at: u64) -> Option<bool> {
        use vip_common::standing::Standing;
        match self.kernel.standing(vip, self.clock(at)) {
            Standing::Confirmed => Some(true),
            Standing::Unconfirmed(_) => Some(false),
            Standing::Passed(_) | Standing::Fenced => None,
        }
    }
}
