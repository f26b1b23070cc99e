//! What is broken on purpose, around the machine and never in it, to see that the checks see it.

use super::agent::Kind;

/// The mutants of `ownership.md`, "Proof obligations", and those that rules 10 and 12 add. Each
/// changes what the world makes of the machine's actions, or what it tells the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// A renewal sets both times to the arrival of its answer + H.
    AnchoredAtTheAnswer,
    /// H lies above L.
    HoldAboveDuration,
    /// A Lease is judged by the observer's own L, and nodes differ in theirs.
    OwnDuration,
    /// A row counts for every session of its node.
    RowsWithoutSession,
    /// A silent session is taken for revoked without a write.
    ClaimWithoutRevoking,
    /// A revocation that lost to a renewal is sent again at once, over whatever is there now.
    RetriedRevocation,
    /// A conflict over one's own Lease is answered by writing one's session into it again.
    SessionKeptOnConflict,
    /// A row of a living session is overwritten.
    LivingRowOverwritten,
    /// A read that shows rows as ours counts like a write that timed out.
    LiveOnARead,
    /// A restarted process goes live by what it reads.
    LiveAfterRestart,
    /// A write of claims does not raise their version.
    WriteWithoutChange,
    /// A new session has the epoch of the old one, whose entries are left as they are.
    EntriesRevived,
    /// A Lease that a human emptied is taken for revoked.
    EmptiedTakenAsRevoked,
    /// Free rows are claimed whoever has read the object.
    RecreatedTakenAsFree,
    /// Who has read a claims object is judged by Leases that were read before it.
    AcknowledgementsReadFirst,
    /// A row's session is judged by a Lease that was read before the row.
    LeaseReadFirst,
    /// An address row is created by another than the bucket's owner.
    CarvedByAnother,
    /// Rows are given away, or carved, first and fenced when that is done.
    FencedAfterGiving,
    /// A hold moves a deadline that has passed.
    PassedDeadlineMoved,
    /// The clock is looked at by the agent, which may be stopped before it stores.
    LookedAtByTheAgent,
    /// The same, and a claim that meets a passed deadline leaves no note: behind the kernel's look
    /// that note is a second wall.
    PassedDeadlineNotesNothing,
    /// A renewal lifts a passed deadline without a claim.
    LiftedWithoutClaim,
    /// A renewal ends a yield without a claim.
    YieldEndedWithoutClaim,
    /// Whoever goes live after a revocation sends no claim first; its announcements are late.
    LiveWithoutClaim,
    /// A Lease of the control plane that was deleted is taken for one that nobody held.
    DeletedTakenAsFree,
    /// A session that waits for an unknown one to be silent does not pass the wait on when it ends.
    WaitForgotten,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::AnchoredAtTheAnswer,
        Self::HoldAboveDuration,
        Self::OwnDuration,
        Self::RowsWithoutSession,
        Self::ClaimWithoutRevoking,
        Self::RetriedRevocation,
        Self::SessionKeptOnConflict,
        Self::LivingRowOverwritten,
        Self::LiveOnARead,
        Self::LiveAfterRestart,
        Self::WriteWithoutChange,
        Self::EntriesRevived,
        Self::EmptiedTakenAsRevoked,
        Self::RecreatedTakenAsFree,
        Self::AcknowledgementsReadFirst,
        Self::LeaseReadFirst,
        Self::CarvedByAnother,
        Self::FencedAfterGiving,
        Self::PassedDeadlineMoved,
        Self::LookedAtByTheAgent,
        Self::PassedDeadlineNotesNothing,
        Self::LiftedWithoutClaim,
        Self::YieldEndedWithoutClaim,
        Self::LiveWithoutClaim,
        Self::DeletedTakenAsFree,
        Self::WaitForgotten,
    ];

    /// A store that is late by a stop of the process moves a deadline that has passed.
    pub(super) fn stores_late(self) -> bool {
        matches!(
            self,
            Self::LookedAtByTheAgent | Self::PassedDeadlineMoved | Self::PassedDeadlineNotesNothing
        )
    }

    /// The machines that it is a mutant of: claims are the session's alone, and only in the
    /// control plane a Lease says that its session waits.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Self::RowsWithoutSession
            | Self::ClaimWithoutRevoking
            | Self::LivingRowOverwritten
            | Self::LiveOnARead
            | Self::LiveAfterRestart
            | Self::WriteWithoutChange
            | Self::RecreatedTakenAsFree
            | Self::AcknowledgementsReadFirst
            | Self::LeaseReadFirst
            | Self::CarvedByAnother
            | Self::FencedAfterGiving => &[Kind::Sessions],
            Self::DeletedTakenAsFree | Self::WaitForgotten => &[Kind::ControlPlane],
            Self::AnchoredAtTheAnswer
            | Self::HoldAboveDuration
            | Self::OwnDuration
            | Self::RetriedRevocation
            | Self::SessionKeptOnConflict
            | Self::EntriesRevived
            | Self::EmptiedTakenAsRevoked
            | Self::PassedDeadlineMoved
            | Self::LookedAtByTheAgent
            | Self::PassedDeadlineNotesNothing
            | Self::LiftedWithoutClaim
            | Self::YieldEndedWithoutClaim
            | Self::LiveWithoutClaim => &[Kind::Sessions, Kind::ControlPlane],
        }
    }
}
