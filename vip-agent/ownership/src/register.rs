//! What the machine asks of whoever keeps Leases and claims: an API server, a simulated one, or
//! one day a quorum of agents.

use super::{
    claims::Claims,
    lease::{Lease, NodeName},
};

/// Names a request in its reply. Never used twice by a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request. Reads are quorum reads: no answer is older than its request. A write names the uid
/// and resourceVersion that it replaces and fails when they are no longer there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The Lease of a node.
    ReadLease(NodeName),
    /// All agents' Leases.
    ListLeases,
    /// A Lease that must not exist.
    CreateLease(Lease),
    /// A Lease instead of its earlier state.
    PutLease(Lease),
    /// A claims object.
    ReadClaims(u32),
    /// A claims object that must not exist.
    CreateClaims(Claims),
    /// A claims object instead of its earlier state.
    PutClaims(Claims),
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The Lease read, or as it was written; none: there is none.
    Lease(Option<Lease>),
    /// All agents' Leases.
    Leases(Vec<Lease>),
    /// The object read, or as it was written; none: there is none.
    Claims(Option<Claims>),
    /// The object was not what the write named, is gone, or exists already.
    Conflict,
    /// Nobody knows: a time-out, a broken connection, an error of the server.
    Unknown,
}
