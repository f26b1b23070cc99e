//! The schedules that show the mutants, one or more for each.
//!
//! Unless something else is said A has all rows: it starts first, 200 ms before B. It renews every
//! 1.5 s from then on; L is 5 s, H 4 s, a request times out after a second.

use vip_ownership::Readiness;

use super::{
    agent::Kind::{ControlPlane, Sessions},
    mutation::Mutation,
    schedule::{Schedule, Step::*, Wire},
};

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

/// All of them.
pub const KEPT: &[Schedule] = &[
    // The answer to A's renewal of 1.5 s comes at 4.91 s, and nothing after it: good until 5.5 s,
    // and by its arrival until 8.9 s. B takes over at 6.5 s.
    Schedule {
        shows: Mutation::AnchoredAtTheAnswer,
        kind: Sessions,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (1_400, HoldAnswer(A, Wire::Renew, Some(3_400))),
            (1_600, ApiCut(A)),
            (4_908, ApiBack(A)),
            (4_915, ApiCut(A)),
        ],
    },
    Schedule {
        shows: Mutation::AnchoredAtTheAnswer,
        kind: ControlPlane,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (1_400, HoldAnswer(A, Wire::Renew, Some(3_408))),
            (1_600, ApiCut(A)),
            (4_908, ApiBack(A)),
            (4_915, ApiCut(A)),
        ],
    },
    Schedule {
        shows: Mutation::HoldAboveDuration,
        kind: Sessions,
        steps: KILLED,
    },
    Schedule {
        shows: Mutation::HoldAboveDuration,
        kind: ControlPlane,
        steps: KILLED,
    },
    // B's own L is 2 s, A's 5 s. A renewal of A's is lost, the next follows a second later.
    Schedule {
        shows: Mutation::OwnDuration,
        kind: Sessions,
        steps: LOST_RENEWAL,
    },
    Schedule {
        shows: Mutation::OwnDuration,
        kind: ControlPlane,
        steps: LOST_RENEWAL,
    },
    Schedule {
        shows: Mutation::RowsWithoutSession,
        kind: Sessions,
        steps: NEW_SESSION,
    },
    // A's renewal of 1.5 s arrives at 5.36 s, when B has taken A for dead. Nothing was written that
    // it could lose to.
    Schedule {
        shows: Mutation::ClaimWithoutRevoking,
        kind: Sessions,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (1_400, Hold(A, Wire::Renew, Some(3_850))),
            (1_600, ApiCut(A)),
            (5_000, Lag(A, 3_000)),
            (5_340, ApiBack(A)),
        ],
    },
    // A is back just when B's revocation is under way, and renews first.
    Schedule {
        shows: Mutation::RetriedRevocation,
        kind: Sessions,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (1_600, Stop(A, 4_950)),
            (6_000, Lag(A, 3_000)),
            (6_000, Hold(B, Wire::Empty, Some(300))),
        ],
    },
    // B saw A's last renewal at 1.7 s.
    Schedule {
        shows: Mutation::RetriedRevocation,
        kind: ControlPlane,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (1_600, Stop(A, 5_150)),
            (6_000, Lag(A, 3_000)),
            (6_000, Hold(B, Wire::Renew, Some(300))),
        ],
    },
    Schedule {
        shows: Mutation::SessionKeptOnConflict,
        kind: Sessions,
        steps: BACK_TOO_LATE,
    },
    Schedule {
        shows: Mutation::SessionKeptOnConflict,
        kind: ControlPlane,
        steps: BACK_TOO_LATE,
    },
    Schedule {
        shows: Mutation::LivingRowOverwritten,
        kind: Sessions,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (1_900, Lag(A, 3_000)),
            (2_000, Overwrite(B)),
        ],
    },
    // A's hand-over times out, and lands at 3.5 s. At 3 s a read shows the row as A's, who is to
    // have it again; its write comes after the hand-over.
    Schedule {
        shows: Mutation::LiveOnARead,
        kind: Sessions,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (2_000, Hold(A, Wire::PutClaims, Some(1_500))),
            (2_000, HoldAnswer(A, Wire::PutClaims, None)),
            (2_001, Ready(A, Readiness::LastChoice)),
            (2_100, Lag(A, 3_000)),
            (2_500, Ready(A, Readiness::Ready)),
            (2_500, Hold(A, Wire::PutClaims, Some(900))),
        ],
    },
    // A hands its rows to B; it is killed before the write lands, and back just before.
    Schedule {
        shows: Mutation::LiveAfterRestart,
        kind: Sessions,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (2_000, Hold(A, Wire::PutClaims, Some(500))),
            (2_001, Ready(A, Readiness::LastChoice)),
            (2_050, Kill(A)),
            (2_450, Lag(A, 2_000)),
            (2_450, Hold(A, Wire::ReadClaims, Some(300))),
            (2_450, Start(A)),
        ],
    },
    // A's hand-over times out, and lands at 4 s, after A wrote its own row once more.
    Schedule {
        shows: Mutation::WriteWithoutChange,
        kind: Sessions,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (2_000, Hold(A, Wire::PutClaims, Some(2_000))),
            (2_001, Ready(A, Readiness::LastChoice)),
            (2_500, Ready(A, Readiness::Ready)),
            (2_600, Lag(A, 3_000)),
        ],
    },
    Schedule {
        shows: Mutation::EntriesRevived,
        kind: Sessions,
        steps: NEW_SESSION,
    },
    // A gives the Lease to B. Somebody deletes it, of which B does not hear. A creates it, and is
    // silent until B must be.
    Schedule {
        shows: Mutation::EntriesRevived,
        kind: ControlPlane,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (2_000, Ready(A, Readiness::Never)),
            (4_000, Ready(A, Readiness::Ready)),
            (5_000, Lag(B, 3_000)),
            (5_001, DeleteLease(A)),
        ],
    },
    Schedule {
        shows: Mutation::EmptiedTakenAsRevoked,
        kind: Sessions,
        steps: EMPTIED,
    },
    Schedule {
        shows: Mutation::EmptiedTakenAsRevoked,
        kind: ControlPlane,
        steps: EMPTIED,
    },
    Schedule {
        shows: Mutation::RecreatedTakenAsFree,
        kind: Sessions,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (1_900, Lag(A, 3_000)),
            (2_000, Replace),
        ],
    },
    // B is released and C revoked, which the row still names. A reads the object late. B comes
    // back meanwhile and claims C's row; then the object is replaced by an empty one, of which B
    // does not hear. By Leases of before that, nobody can know the old object.
    Schedule {
        shows: Mutation::AcknowledgementsReadFirst,
        kind: Sessions,
        steps: &[
            (0, Start(C)),
            (200, Deaf(A, true)),
            (200, Start(A)),
            (500, Start(B)),
            (1_000, Kill(C)),
            (4_000, Hold(B, Wire::PutClaims, None)),
            (6_000, Leave(B)),
            (14_000, Lag(A, 3_000)),
            (14_000, Lag(B, 3_000)),
            (14_000, Hold(A, Wire::ReadClaims, Some(200))),
            (14_001, Deaf(A, false)),
            (14_005, Start(B)),
            (14_120, Replace),
        ],
    },
    // The same without the last step: A finds B's new session in the row. By a Lease of before
    // that, the row names nobody who lives.
    Schedule {
        shows: Mutation::LeaseReadFirst,
        kind: Sessions,
        steps: &[
            (0, Start(C)),
            (200, Deaf(A, true)),
            (200, Start(A)),
            (500, Start(B)),
            (1_000, Kill(C)),
            (4_000, Hold(B, Wire::PutClaims, None)),
            (6_000, Leave(B)),
            (14_000, Lag(A, 3_000)),
            (14_000, Lag(B, 3_000)),
            (14_000, Hold(A, Wire::ReadClaims, Some(200))),
            (14_001, Deaf(A, false)),
            (14_005, Start(B)),
        ],
    },
    Schedule {
        shows: Mutation::CarvedByAnother,
        kind: Sessions,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (1_900, Lag(A, 3_000)),
            (1_900, Only(0, B)),
            (2_000, Carve(B)),
        ],
    },
    // An address row is carved out of A's bucket for B; A hears late that it was.
    Schedule {
        shows: Mutation::FencedAfterGiving,
        kind: Sessions,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (2_000, HoldAnswer(A, Wire::PutClaims, Some(500))),
            (2_000, Only(0, B)),
            (2_003, Lag(A, 3_000)),
        ],
    },
    // A whole row is given.
    Schedule {
        shows: Mutation::FencedAfterGiving,
        kind: Sessions,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (2_000, Lag(A, 3_000)),
            (2_000, HoldAnswer(A, Wire::PutClaims, Some(500))),
            (2_000, HoldAnswer(A, Wire::Renew, Some(500))),
            (2_001, Ready(A, Readiness::LastChoice)),
        ],
    },
    // A does not hear how B takes over, since the LAN is cut then (C keeps it from being
    // deaf). At 13 s it goes on, and is
    // stopped once more before it probes.
    Schedule {
        shows: Mutation::PassedDeadlineMoved,
        kind: Sessions,
        steps: STOPPED_TWICE,
    },
    Schedule {
        shows: Mutation::PassedDeadlineMoved,
        kind: ControlPlane,
        steps: STOPPED_TWICE,
    },
    // The store of 6 s happens at 9.75 s, after the deadline that it moves. The LAN was cut while B
    // took over.
    Schedule {
        shows: Mutation::LookedAtByTheAgent,
        kind: Sessions,
        steps: LATE_STORE,
    },
    Schedule {
        shows: Mutation::LookedAtByTheAgent,
        kind: ControlPlane,
        steps: LATE_STORE,
    },
    // A is cut from the API at 4.6 s and holds on by itself. The store of 7 s happens at 9.75 s,
    // after the deadline that it moves, and after B took over and claimed.
    Schedule {
        shows: Mutation::PassedDeadlineNotesNothing,
        kind: Sessions,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (4_600, ApiCut(A)),
            (5_900, StopInStore(A, 3_750)),
        ],
    },
    // B saw A's last renewal at 4.7 s.
    Schedule {
        shows: Mutation::PassedDeadlineNotesNothing,
        kind: ControlPlane,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (4_600, ApiCut(A)),
            (5_900, StopInStore(A, 3_850)),
        ],
    },
    // B takes over from A, who is cut off. The LAN is cut between them (C keeps A from being
    // deaf), so A finds nobody and answers again, unconfirmed. B is stopped just after it sent a
    // renewal, until its deadline has passed and that renewal is still good. By then the LAN is
    // healed.
    Schedule {
        shows: Mutation::LiftedWithoutClaim,
        kind: Sessions,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (300, Ready(C, Readiness::Never)),
            (400, Start(C)),
            (4_600, ApiCut(A)),
            (18_000, Segment(A, 1)),
            (18_000, Segment(C, 1)),
            (27_600, Ready(B, Readiness::LastChoice)),
            (27_601, Stop(B, 3_800)),
            (31_300, Segment(A, 0)),
            (31_300, Segment(C, 0)),
        ],
    },
    // B renews later than it holds by a quarter of a second, after a lost renewal and a late read.
    Schedule {
        shows: Mutation::LiftedWithoutClaim,
        kind: ControlPlane,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (300, Ready(C, Readiness::Never)),
            (400, Start(C)),
            (4_600, ApiCut(A)),
            (18_000, Segment(A, 1)),
            (18_000, Segment(C, 1)),
            (27_950, Hold(B, Wire::Renew, None)),
            (27_950, HoldAnswer(B, Wire::ReadLease, Some(250))),
            (29_312, Stop(B, 3_888)),
            (33_350, Segment(A, 0)),
            (33_350, Segment(C, 0)),
        ],
    },
    // B takes over from A, and is cut off, too. The LAN is cut and A answers again, as above. The
    // LAN heals, B's probe finds A, and B yields. Then A is stopped, and B can renew.
    Schedule {
        shows: Mutation::YieldEndedWithoutClaim,
        kind: Sessions,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (300, Ready(C, Readiness::Never)),
            (400, Start(C)),
            (4_600, ApiCut(A)),
            (12_000, ApiCut(B)),
            (18_000, Segment(A, 1)),
            (18_000, Segment(C, 1)),
            (29_600, Segment(A, 0)),
            (29_600, Segment(C, 0)),
            (30_600, Stop(A, 3_000)),
            (30_600, ApiBack(B)),
        ],
    },
    Schedule {
        shows: Mutation::YieldEndedWithoutClaim,
        kind: ControlPlane,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (300, Ready(C, Readiness::Never)),
            (400, Start(C)),
            (4_600, ApiCut(A)),
            (12_000, ApiCut(B)),
            (18_000, Segment(A, 1)),
            (18_000, Segment(C, 1)),
            (29_800, Segment(A, 0)),
            (29_800, Segment(C, 0)),
            (30_950, Stop(A, 3_000)),
            (30_950, ApiBack(B)),
        ],
    },
    Schedule {
        shows: Mutation::LiveWithoutClaim,
        kind: Sessions,
        steps: CUT_OFF,
    },
    Schedule {
        shows: Mutation::LiveWithoutClaim,
        kind: ControlPlane,
        steps: CUT_OFF,
    },
    Schedule {
        shows: Mutation::DeletedTakenAsFree,
        kind: ControlPlane,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (1_900, Lag(A, 3_000)),
            (2_000, DeleteLease(A)),
        ],
    },
    // B creates the Lease that somebody deleted under A, and gives it away before A must be
    // silent. C has to wait as B would have.
    Schedule {
        shows: Mutation::WaitForgotten,
        kind: ControlPlane,
        steps: &[
            (0, Start(A)),
            (200, Start(B)),
            (400, Start(C)),
            (1_900, Lag(A, 3_000)),
            (1_900, Lag(C, 60)),
            (2_000, DeleteLease(A)),
            (2_030, Ready(B, Readiness::Never)),
        ],
    },
];

type Steps = &'static [(u64, super::schedule::Step)];

const KILLED: Steps = &[(0, Start(A)), (200, Start(B)), (2_000, Kill(A))];

const LOST_RENEWAL: Steps = &[
    (0, Start(A)),
    (0, Short(B)),
    (200, Start(B)),
    (1_400, Lag(A, 3_000)),
    (1_400, Hold(A, Wire::Renew, None)),
];

/// A hears late that its Lease was emptied, and opens another session, which names the former one
/// as released. Before A has read the rows B claims them.
const NEW_SESSION: Steps = &[
    (0, Start(A)),
    (200, Start(B)),
    (2_000, Lag(A, 3_000)),
    (2_000, Hold(A, Wire::ReadClaims, None)),
    (2_001, EmptyLease(A)),
];

/// B takes over, and A hears of it late.
const BACK_TOO_LATE: Steps = &[
    (0, Start(A)),
    (200, Start(B)),
    (1_600, Stop(A, 5_900)),
    (6_000, Lag(A, 3_000)),
];

const EMPTIED: Steps = &[
    (0, Start(A)),
    (200, Start(B)),
    (1_900, Lag(A, 3_000)),
    (2_000, EmptyLease(A)),
];

const LATE_STORE: Steps = &[
    (0, Start(A)),
    (200, Start(B)),
    (4_600, ApiCut(A)),
    (5_900, StopInStore(A, 3_850)),
    (7_000, Segment(A, 1)),
    (9_800, Segment(A, 0)),
];

const STOPPED_TWICE: Steps = &[
    (0, Start(A)),
    (200, Start(B)),
    (300, Ready(C, Readiness::Never)),
    (400, Start(C)),
    (4_600, ApiCut(A)),
    (5_000, Stop(A, 8_000)),
    (8_900, Segment(A, 1)),
    (8_900, Segment(C, 1)),
    (12_500, Segment(A, 0)),
    (12_500, Segment(C, 0)),
    (12_900, StopInStore(A, 10)),
];

const CUT_OFF: Steps = &[(0, Start(A)), (200, Start(B)), (4_600, ApiCut(A))];
