//! The document of `vip-agent explain VIP` and `/v1/explain`: why this node answers for a VIP, or
//! does not.
//!
//! From what the cluster says down to what the kernel does: who may answer (candidates), who does
//! (the deciding row and its session), what the kernel was told (entry and slot), what is bound,
//! and what happened last. Each layer is observed by itself; where two of them contradict each
//! other, a finding says so, and what to do.

mod candidates;
mod findings;
mod layers;
mod standing;
mod table;
#[cfg(test)]
pub(crate) mod tests;

use std::net::IpAddr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    candidates::candidates,
    findings::Circumstances,
    standing::{Standing, standing},
    table::candidate_table,
};
use crate::{history::Happened, status::VipState};

/// Why a node answers for a VIP, or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "xvip explain")]
pub struct Explanation {
    /// Name of the node that was asked.
    pub node: String,
    /// Version of its agent.
    pub version: String,
    /// The VIP.
    pub address: IpAddr,
    /// This node's kernel answers for it now.
    pub answers: bool,
    /// The reason in one sentence.
    pub summary: String,
    /// Where what is known contradicts itself, or keeps the VIP from being answered.
    pub findings: Vec<Finding>,
    /// The VIP as `vip-agent status` shows it; null where this node does not know it.
    pub vip: Option<Known>,
    /// The `Vip` object; null without Kubernetes, or where there is none.
    pub assignment: Option<Assignment>,
    /// What decides who answers; null where nothing does yet.
    pub row: Option<Row>,
    /// The nodes that could answer.
    pub candidates: Vec<Candidate>,
    /// This node's right, as its kernel has it.
    pub session: Session,
    /// Entries in the maps.
    pub entries: Vec<Entry>,
    /// Where the address is bound on this node.
    pub bound: Vec<Bound>,
    /// What happened last, the latest first.
    pub events: Vec<Happened>,
}

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What was found.
    pub message: String,
    /// What to do.
    pub fix: String,
}

/// A VIP of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Known {
    /// What happens to questions for it.
    pub state: VipState,
    /// Why it is pending or in error.
    pub reason: Option<String>,
    /// When it came into this state.
    pub since: Timestamp,
    /// The interface that serves it; null when none does.
    pub interface: Option<String>,
    /// Its prefix length; null while it is not known.
    pub prefix: Option<u8>,
    /// Questions answered by the kernel programs.
    pub answers: u64,
    /// Claims of a rival's MAC address while it was live.
    pub conflicts: u64,
}

/// What the `Vip` object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The pool that it was taken from.
    pub pool: Option<String>,
    /// The Services that have it, as `namespace/name`.
    pub services: Vec<String>,
    /// It is an address of the API server.
    pub control_plane: bool,
    /// The node that its status names.
    pub published: Option<String>,
}

/// What decides who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// What it is.
    pub kind: RowKind,
    /// In words: `bucket 21 of VipClaims xvip-1`.
    pub name: String,
    /// The node that it names; null where it is free.
    pub node: Option<String>,
    /// The session that it names, as its Lease's `holderIdentity`.
    pub session: Option<String>,
    /// Since when it names it.
    pub since: Option<Timestamp>,
    /// It names this node's present session.
    pub here: bool,
    /// The session that it names lives: its Lease names it and is renewed.
    pub lives: bool,
}

/// What decides who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RowKind {
    /// The configuration of this node: static ownership.
    Configuration,
    /// A bucket row of `VipClaims`: it covers every address of the bucket without a row of its
    /// own.
    Bucket,
    /// An address row of `VipClaims`.
    Address,
    /// The Lease of the control plane.
    ControlPlane,
}

/// A node that could answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Its name.
    pub node: String,
    /// It would get the VIP if whoever has it now were gone.
    pub eligible: bool,
    /// Why not, or how gladly.
    pub why: String,
    /// The session that its Lease names.
    pub session: Option<String>,
    /// Milliseconds after which this node takes it for dead unless it renews; negative when they
    /// have passed.
    pub silent_in_ms: Option<i64>,
    /// Interfaces and the prefixes that they reach.
    pub interfaces: Vec<String>,
}

/// This node's right, as its kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Its Lease's `holderIdentity`; null with static ownership, and without a session.
    pub id: Option<String>,
    /// The epoch of the slot that entries name.
    pub epoch: u64,
    /// Milliseconds until the kernel falls silent unless the session is renewed; negative when
    /// they have passed, null for never.
    pub deadline_in_ms: Option<i64>,
    /// Milliseconds until VIPs yield to whoever claims them unless the session is renewed;
    /// negative when they have passed, null for never.
    pub confirmed_in_ms: Option<i64>,
}

/// An entry of the map `VIPS`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// The interface; null for the entry that fences the VIP on all others.
    pub interface: Option<String>,
    /// The MAC address that is answered.
    pub mac: String,
    /// The slot of `LEASES` that it hangs on: 0 is never live.
    pub slot: u16,
    /// The epoch that the slot must have.
    pub epoch: u64,
    /// What the kernel makes of it now.
    pub standing: Standing,
}

/// An address that is bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bound {
    /// The interface.
    pub interface: String,
    /// Its prefix length.
    pub prefix: u8,
    /// xvip bound it.
    pub ours: bool,
    /// Seconds after which the kernel removes it if nobody refreshes it; null for never.
    pub seconds: Option<u32>,
}
