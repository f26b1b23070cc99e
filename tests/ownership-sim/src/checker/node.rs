//! A node: its kernel, and its agent while there is one.

use std::collections::{BTreeSet, VecDeque};

use vip_ownership::{Action, BootTime, Event, Left, NodeName, Readiness, SessionId};

use crate::{
    agent::Agent,
    kernel::{Kernel, Times},
};

/// A node: its kernel, and its agent while there is one.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) boot: [u8; 16],
    pub(super) kernel: Kernel,
    pub(super) pinned: Option<SessionId>,
    pub(super) agent: Option<Agent>,
    pub(super) paused: bool,
    /// The process stops between its look for yields and the kernel's next store.
    pub(super) stops_in_store: bool,
    pub(super) stopped_store: Option<Times>,
    pub(super) leaves: bool,
    pub(super) cut: bool,
    pub(super) readiness: Readiness,
    pub(super) inbox: VecDeque<Event>,
    pub(super) actions: VecDeque<Action>,
}

impl Node {
    pub(super) fn new(name: &str, boot: u128) -> Self {
        Self {
            name: name.into(),
            boot: boot.to_be_bytes(),
            kernel: Kernel::default(),
            pinned: None,
            agent: None,
            paused: false,
            stops_in_store: false,
            stopped_store: None,
            leaves: false,
            cut: false,
            readiness: Readiness::Ready,
            inbox: VecDeque::new(),
            actions: VecDeque::new(),
        }
    }

    /// The kernel moves the times, or says that the deadline has passed.
    pub(super) fn stores(&mut self, asked: Times, now: BootTime) {
        if !self.kernel.extend(asked, now) {
            self.inbox.push_front(Event::NotExtended {
                passed: true,
                yielded: BTreeSet::new(),
            });
        }
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

    /// A stopped agent finds the latest of what it heard more than once.
    pub(super) fn hears(&mut self, event: Event) {
        if self.paused {
            self.inbox.retain(|earlier| match (earlier, &event) {
                (Event::LeaseSeen(earlier), Event::LeaseSeen(lease)) => earlier.node != lease.node,
                (Event::ClaimsSeen(_), Event::ClaimsSeen(_))
                | (Event::ProbeAnswered(_), Event::ProbeAnswered(_))
                | (Event::Yielded(_), Event::Yielded(_)) => false,
                _ => true,
            });
        }
        self.inbox.push_back(event);
    }

    pub(super) fn is_running(&self) -> bool {
        self.agent.is_some() && !self.paused
    }

    /// Nothing is wrong with it.
    pub(super) fn is_well(&self) -> bool {
        self.is_running() && !self.cut && !self.leaves && self.readiness == Readiness::Ready
    }

    pub(super) fn is_ready(&self) -> bool {
        self.readiness == Readiness::Ready
    }

    pub(super) fn wake_at(&self) -> Option<u64> {
        let wake = self.agent.as_ref().filter(|_| !self.paused)?.wake_at();
        (wake != BootTime::NEVER).then_some(wake.0)
    }
}
