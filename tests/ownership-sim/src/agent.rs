//! The machine that a node's process runs: a session with its claims, or a candidate of the
//! control plane.

use vip_ownership::{
    Action, BootTime, Config, ControlPlane, Event, Left, Machine, PlaneConfig, PlaneEvent,
    Readiness, SessionId,
};

/// What all nodes of a seed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sessions, buckets and address rows.
    Sessions,
    /// One Lease is session and row in one (`ownership.md`, rule 12).
    ControlPlane,
}

#[derive(Clone, Debug)]
pub(super) enum Agent {
    Session(Box<Machine>),
    ControlPlane(Box<ControlPlane>),
}

impl Agent {
    pub(super) fn session(config: Config, left: Left, now: BootTime) -> (Self, Vec<Action>) {
        let (machine, actions) = Machine::start(config, left, now);
        (Self::Session(Box::new(machine)), actions)
    }

    pub(super) fn control_plane(
        config: PlaneConfig,
        left: Left,
        alone: bool,
        now: BootTime,
    ) -> (Self, Vec<Action>) {
        let (mut plane, mut actions) = ControlPlane::start(config, left, now);
        actions.extend(plane.step(PlaneEvent::Alone(alone), now));
        (Self::ControlPlane(Box::new(plane)), actions)
    }

    pub(super) fn step(&mut self, event: Event, now: BootTime) -> Vec<Action> {
        match self {
            Self::Session(machine) => machine.step(event, now),
            Self::ControlPlane(plane) => {
                told(event).map_or_else(Vec::new, |event| plane.step(event, now))
            }
        }
    }

    pub(super) fn wake_at(&self) -> BootTime {
        match self {
            Self::Session(machine) => machine.wake_at(),
            Self::ControlPlane(plane) => plane.wake_at(),
        }
    }

    pub(super) fn holds(&self) -> Option<&SessionId> {
        let session = match self {
            Self::Session(machine) => machine.session(),
            Self::ControlPlane(plane) => plane.session(),
        };
        session.map(|(id, _)| id)
    }
}

/// The same in the words of a candidate; none: it is not told.
fn told(event: Event) -> Option<PlaneEvent> {
    Some(match event {
        Event::Tick => PlaneEvent::Tick,
        Event::Reply(id, reply) => PlaneEvent::Reply(id, reply),
        Event::LeaseSeen(lease) => PlaneEvent::Seen(Some(lease)),
        Event::LeaseGone(_) => PlaneEvent::Seen(None),
        Event::Serves(serves) => PlaneEvent::Ready(serves.readiness != Readiness::Never),
        Event::NotExtended { passed, yielded } => PlaneEvent::NotExtended { passed, yielded },
        Event::Yielded(vip) => PlaneEvent::Yielded(vip),
        Event::ProbeAnswered(vip) => PlaneEvent::ProbeAnswered(vip),
        Event::Deaf(deaf) => PlaneEvent::Deaf(deaf),
        Event::Leave => PlaneEvent::Leave,
        Event::ClaimsSeen(_) | Event::ClaimsGone(_) | Event::Vips(_) | Event::Unsettled(_) => {
            return None;
        }
    })
}
