//! What the two lease machines have in common for those who drive them: that of the session, and
//! that of the control plane. Each has a slot, a pinned session, a register and a task of its own.

use std::{collections::BTreeSet, net::IpAddr};

use vip_common::abi::{LeaseSlot, SLOT_CONTROL_PLANE, SLOT_SESSION, SessionRecord};

use crate::{
    event::NodeFact,
    ownership::{
        Action, BootTime, ControlPlane, Event, Machine, PlaneEvent, Reply, RequestId, RowKey,
        SessionId,
    },
};

/// Which machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// VIPs of Services.
    Session,
    /// VIPs of the API server.
    ControlPlane,
}

impl Duty {
    /// Its slot of `LEASES`.
    pub(super) const fn slot(self) -> u16 {
        match self {
            Self::Session => SLOT_SESSION,
            Self::ControlPlane => SLOT_CONTROL_PLANE,
        }
    }

    /// The session of this boot that is pinned, if its slot tells of one.
    pub(super) fn pinned(
        self,
        record: &SessionRecord,
        boot: [u8; 16],
        slot: LeaseSlot,
    ) -> Option<[u8; 16]> {
        let id = match self {
            Self::Session => record.id,
            Self::ControlPlane => record.control_plane_id,
        };
        // Static ownership and another boot leave nothing to go on with.
        let is_one = id != [0; 16] && slot.deadline_boot_ns != vip_common::abi::FOREVER;
        (is_one && record.boot_id == boot).then_some(id)
    }

    /// The record with this machine's session; the other's goes with its boot.
    pub(super) fn remember(
        self,
        record: SessionRecord,
        id: &SessionId,
        epoch: u64,
    ) -> SessionRecord {
        let record = match record.boot_id == id.boot {
            true => record,
            false => SessionRecord {
                boot_id: id.boot,
                ..SessionRecord::default()
            },
        };
        match self {
            Self::Session => SessionRecord {
                id: id.id,
                epoch,
                ..record
            },
            Self::ControlPlane => SessionRecord {
                control_plane_id: id.id,
                control_plane_epoch: epoch,
                ..record
            },
        }
    }

    /// The record without this machine's session, which was given back: the next process opens a
    /// new one, and has lost none.
    pub(super) fn forget(self, record: SessionRecord) -> SessionRecord {
        match self {
            Self::Session => SessionRecord {
                id: [0; 16],
                ..record
            },
            Self::ControlPlane => SessionRecord {
                control_plane_id: [0; 16],
                ..record
            },
        }
    }
}

/// A lease machine.
pub(super) trait Lessee: Send + 'static {
    /// What it is told.
    type Event: Send + 'static;
    /// What it is for.
    const DUTY: Duty;

    /// Takes an event.
    fn step(&mut self, event: Self::Event, now: BootTime) -> Vec<Action>;
    /// When it wants a [`Lessee::tick`].
    fn wake_at(&self) -> BootTime;
    /// The session that this node has.
    fn holds(&self) -> Option<&SessionId>;
    /// How many sessions were lost, and not given back.
    fn losses(&self) -> u64;
    /// This node gives addresses to Services.
    fn allocates(&self) -> bool;

    /// The process is asked to go.
    fn is_leave(event: &Self::Event) -> bool;
    /// The time has come.
    fn tick() -> Self::Event;
    /// A request came to an end.
    fn replied(id: RequestId, reply: Reply) -> Self::Event;
    /// An [`Action::Extend`] was not carried out.
    fn not_extended(passed: bool, yielded: BTreeSet<IpAddr>) -> Self::Event;

    /// What there is to tell of a new session.
    fn opened(session: SessionId) -> NodeFact;
    /// And of one that ended.
    fn ended(session: SessionId, released: bool) -> NodeFact;
}

impl Lessee for Machine {
    type Event = Event;
    const DUTY: Duty = Duty::Session;

    fn step(&mut self, event: Event, now: BootTime) -> Vec<Action> {
        self.step(event, now)
    }

    fn wake_at(&self) -> BootTime {
        self.wake_at()
    }

    fn holds(&self) -> Option<&SessionId> {
        self.session().map(|(id, _)| id)
    }

    fn losses(&self) -> u64 {
        self.losses()
    }

    fn allocates(&self) -> bool {
        self.rows().any(|row| row == RowKey::Bucket(0))
    }

    fn is_leave(event: &Event) -> bool {
        matches!(event, Event::Leave)
    }

    fn tick() -> Event {
        Event::Tick
    }

    fn replied(id: RequestId, reply: Reply) -> Event {
        Event::Reply(id, reply)
    }

    fn not_extended(passed: bool, yielded: BTreeSet<IpAddr>) -> Event {
        Event::NotExtended { passed, yielded }
    }

    fn opened(session: SessionId) -> NodeFact {
        NodeFact::SessionOpened(session)
    }

    fn ended(session: SessionId, released: bool) -> NodeFact {
        NodeFact::SessionEnded { session, released }
    }
}

impl Lessee for ControlPlane {
    type Event = PlaneEvent;
    const DUTY: Duty = Duty::ControlPlane;

    fn step(&mut self, event: PlaneEvent, now: BootTime) -> Vec<Action> {
        self.step(event, now)
    }

    fn wake_at(&self) -> BootTime {
        self.wake_at()
    }

    fn holds(&self) -> Option<&SessionId> {
        self.session().map(|(id, _)| id)
    }

    fn losses(&self) -> u64 {
        self.losses()
    }

    fn allocates(&self) -> bool {
        false
    }

    fn is_leave(event: &PlaneEvent) -> bool {
        matches!(event, PlaneEvent::Leave)
    }

    fn tick() -> PlaneEvent {
        PlaneEvent::Tick
    }

    fn replied(id: RequestId, reply: Reply) -> PlaneEvent {
        PlaneEvent::Reply(id, reply)
    }

    fn not_extended(passed: bool, yielded: BTreeSet<IpAddr>) -> PlaneEvent {
        PlaneEvent::NotExtended { passed, yielded }
    }

    fn opened(session: SessionId) -> NodeFact {
        NodeFact::ControlPlaneTaken(session)
    }

    fn ended(session: SessionId, released: bool) -> NodeFact {
        NodeFact::ControlPlaneEnded { session, released }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: u8, boot: u8) -> SessionId {
        SessionId {
            node: "node-a".into(),
            boot: [boot; 16],
            id: [id; 16],
        }
    }

    #[test]
    fn both_sessions_of_a_boot_are_remembered_in_one_record() {
        let slot = LeaseSlot::default();
        let record = Duty::Session.remember(SessionRecord::default(), &session(1, 7), 3);
        assert_eq!(Duty::ControlPlane.pinned(&record, [7; 16], slot), None);
        let record = Duty::ControlPlane.remember(record, &session(2, 7), 4);
        let record = Duty::Session.remember(record, &session(5, 7), 9);
        assert_eq!(Duty::Session.pinned(&record, [7; 16], slot), Some([5; 16]));
        let plane = Duty::ControlPlane.pinned(&record, [7; 16], slot);
        assert_eq!(plane, Some([2; 16]));
        assert_eq!((record.epoch, record.control_plane_epoch), (9, 4));
    }

    #[test]
    fn what_another_boot_left_goes_with_it() {
        let slot = LeaseSlot::default();
        let record = Duty::Session.remember(SessionRecord::default(), &session(1, 7), 3);
        let record = Duty::ControlPlane.remember(record, &session(2, 8), 1);
        assert_eq!(Duty::Session.pinned(&record, [8; 16], slot), None);
        assert_eq!(Duty::Session.pinned(&record, [7; 16], slot), None);
        assert!(Duty::ControlPlane.pinned(&record, [8; 16], slot).is_some());
    }
}
