//! What is broken on purpose, around the machine and never in it, to see that the checks see it.

/// The mutants of `ownership.md`, "Proof obligations". Each changes what the world makes of the
/// machine's actions, or what it tells the machine.
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
    /// A revocation that lost to a renewal is sent again at once.
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
    /// Leases are read before the claims object that they judge.
    LeasesReadFirst,
    /// An address row is created by another than the bucket's owner.
    CarvedByAnother,
    /// Rows are given away first and fenced when that is done.
    FencedAfterGiving,
    /// A hold moves a deadline that has passed.
    PassedDeadlineMoved,
    /// A claim that meets a passed deadline leaves no note.
    PassedDeadlineNotesNothing,
    /// A renewal lifts a passed deadline, or ends a yield, without a claim; announcements are late.
    LiftedWithoutClaim,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 20] = [
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
        Self::LeasesReadFirst,
        Self::CarvedByAnother,
        Self::FencedAfterGiving,
        Self::PassedDeadlineMoved,
        Self::PassedDeadlineNotesNothing,
        Self::LiftedWithoutClaim,
    ];
}
