//! What may happen in a state.

use vip_ownership::Readiness;

/// A kind of thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A request, an answer or a watch is late.
    Late,
    /// A request or an answer is lost.
    Lost,
    /// An agent is killed.
    Crash,
    /// An agent is stopped.
    Stop,
    /// An agent is stopped between reading the clock and storing.
    StopInStore,
    /// An agent is asked to go.
    Leave,
    /// The register is out of a node's reach.
    Cut,
    /// A node reboots.
    Reboot,
    /// A node is cordoned.
    Cordon,
    /// The VIP has one candidate.
    Candidate,
    /// Somebody edits the Lease or the claims.
    Edit,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Late,
        Self::Lost,
        Self::Crash,
        Self::Stop,
        Self::StopInStore,
        Self::Leave,
        Self::Cut,
        Self::Reboot,
        Self::Cordon,
        Self::Candidate,
        Self::Edit,
    ];
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// A message arrives.
    Arrives(usize),
    /// It is late.
    IsLate(usize),
    /// It is lost.
    IsLost(usize),
    /// A wake-up that a machine asked for.
    Wakes(usize),
    /// Time goes on.
    Tick,
    /// An agent starts.
    Starts(usize),
    /// kill -9.
    Crashes(usize),
    /// The node loses its kernel's maps, too.
    Reboots(usize),
    /// SIGSTOP.
    Stops(usize),
    /// SIGSTOP between reading the clock and storing.
    StopsInStore(usize),
    /// SIGCONT.
    Resumes(usize),
    /// SIGTERM.
    Leaves(usize),
    /// The register is out of the node's reach.
    IsCut(usize),
    /// And within again.
    IsMended(usize),
    /// The node takes rows only if nobody else does; or like any other.
    Turns(usize, Readiness),
    /// An address row is wanted, with one candidate; or none.
    Wants(Option<usize>),
    /// Somebody empties the Lease that the node renews.
    LeaseIsEmptied(usize),
    /// Somebody replaces the claims object by an empty one.
    ClaimsAreReplaced,
}

impl Move {
    /// What goes wrong by it.
    pub(super) fn fault(self) -> Option<Fault> {
        Some(match self {
            Self::IsLate(_) => Fault::Late,
            Self::IsLost(_) => Fault::Lost,
            Self::Crashes(_) => Fault::Crash,
            Self::Reboots(_) => Fault::Reboot,
            Self::Stops(_) => Fault::Stop,
            Self::StopsInStore(_) => Fault::StopInStore,
            Self::Leaves(_) => Fault::Leave,
            Self::IsCut(_) => Fault::Cut,
            Self::Turns(_, Readiness::LastChoice | Readiness::Never) => Fault::Cordon,
            Self::Wants(Some(_)) => Fault::Candidate,
            Self::LeaseIsEmptied(_) | Self::ClaimsAreReplaced => Fault::Edit,
            Self::Arrives(_)
            | Self::Wakes(_)
            | Self::Tick
            | Self::Starts(_)
            | Self::Resumes(_)
            | Self::IsMended(_)
            | Self::Turns(_, Readiness::Ready)
            | Self::Wants(None) => return None,
        })
    }
}
