//! What goes into the machine and what comes out of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    claims::Claims,
    lease::{Lease, NodeName, Serves, SessionId},
    register::{Reply, Request, RequestId},
    time::BootTime,
};

/// Something that the machine is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// The time that [`super::Machine::wake_at`] named has come.
    Tick,
    /// A request came to an end; also long after its time-out.
    Reply(RequestId, Reply),
    /// A watch shows a Lease, possibly an old state of it.
    LeaseSeen(Lease),
    /// A watch shows that a Lease is gone.
    LeaseGone(NodeName),
    /// A watch shows a claims object, possibly an old state of it.
    ClaimsSeen(Claims),
    /// A watch shows that a claims object is gone.
    ClaimsGone(u32),
    /// The VIPs of the cluster, completely. An address row is wanted for those with candidates:
    /// the nodes that may answer for it (none at all: it stays where it is).
    Vips(BTreeMap<IpAddr, Option<BTreeSet<NodeName>>>),
    /// The VIPs for which none of our nodes has answered yet, while another load balancer may:
    /// this node asks the LAN before it goes live for one of them. Told before the VIPs.
    Unsettled(BTreeSet<IpAddr>),
    /// What this node can serve.
    Serves(Serves),
    /// An [`Action::Extend`] was not carried out.
    NotExtended {
        /// The deadline had passed.
        passed: bool,
        /// VIPs that are yielded.
        yielded: BTreeSet<IpAddr>,
    },
    /// The kernel program yielded a VIP to a rival.
    Yielded(IpAddr),
    /// Somebody answered a probe for a VIP, or claimed it while this node was about to.
    ProbeAnswered(IpAddr),
    /// Neither gateway nor peers nor known neighbours answer this node; or they do again.
    Deaf(bool),
    /// The process is asked to go.
    Leave,
}

/// Something that the driver does, in the order given, before it waits for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
// An action passes through once, and no crowd of them waits.
#[expect(clippy::large_enum_variant)]
pub enum Action {
    /// Moves the times of the session's slot forward, never back. Refused, with
    /// [`Event::NotExtended`] at once, when by the clock read immediately before the store the
    /// deadline has passed; or when `confirmed` would move, lay behind, and a VIP of the session
    /// is yielded in `VIP_STATE` for it.
    Extend {
        /// The new deadline.
        deadline: BootTime,
        /// The new `confirmed`.
        confirmed: BootTime,
    },
    /// Sets the session's slot as given, whatever it holds.
    Slot {
        /// The deadline.
        deadline: BootTime,
        /// `confirmed`.
        confirmed: BootTime,
        /// Entries of another epoch are dead.
        epoch: u64,
    },
    /// Pins the session that a restarted agent continues.
    Remember {
        /// The session.
        id: SessionId,
        /// Its epoch.
        epoch: u64,
    },
    /// Points a VIP's entry at the session's slot.
    Live {
        /// The VIP.
        address: IpAddr,
        /// The session's epoch.
        epoch: u64,
        /// Yields noted before are over.
        yields_void_before: BootTime,
    },
    /// Points a VIP's entry at the slot that is never live.
    Fence(IpAddr),
    /// Announces VIPs once that are not live yet, by `claim_until`.
    Claim(Vec<IpAddr>),
    /// Asks who answers for a VIP.
    Probe(IpAddr),
    /// Sends a request.
    Ask {
        /// Its name.
        id: RequestId,
        /// The request.
        request: Request,
        /// Over a new connection: the old one timed out.
        anew: bool,
    },
    /// The VIPs that rows of the dead decide for are answered here; for people.
    TookOver {
        /// When the dead were seen to live last.
        silent_since: BootTime,
    },
    /// Unbinds every VIP.
    Unbind,
    /// Ends the process.
    Exit(Exit),
    /// Ends the process with an error: another machine has this node's name.
    Refuse(SessionId),
}

/// Orders what a step does. Requests leave when the kernel is as the step wants it: a process may
/// be paused in between, and a Lease that acknowledges a claims object would be out while an entry
/// still answers by the one before. The process ends last.
pub(super) fn in_order(mut actions: Vec<Action>) -> Vec<Action> {
    actions.sort_by_key(|action| match action {
        Action::Ask { .. } => 1,
        Action::Exit(_) | Action::Refuse(_) => 2,
        _ => 0,
    });
    actions
}

/// In which state a process leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Nothing is held any more.
    Released,
    /// The kernel goes on answering for what nobody else can have.
    Parked,
    /// Rows could not be given away in time: as after a kill, the kernel answers until the slot's
    /// deadline, and a process that is back by then continues.
    OutOfTime,
}
