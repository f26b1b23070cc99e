//! `VipClaims`: which session answers for which buckets and addresses (`ownership`).

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One of the claims objects, `xvip-0` to `xvip-3`, in the agent's own namespace.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "xvip.io",
    version = "v1alpha1",
    kind = "VipClaims",
    singular = "vipclaims",
    plural = "vipclaims",
    namespaced,
    derive = "PartialEq",
    doc = "Which session answers for which addresses. Written by the agents alone.",
    printcolumn(name = "Version", type_ = "integer", json_path = ".spec.version"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct VipClaimsSpec {
    /// The hash that leads from an address to its bucket. An agent that does not know it touches
    /// nothing.
    #[schemars(length(min = 1, max = 64))]
    pub hash: String,
    /// Number of buckets of all claims objects together.
    #[schemars(range(min = 1, max = 65536))]
    pub buckets: i32,
    /// Raised by every write, so that each is a change.
    #[schemars(range(min = 1))]
    pub version: i64,
    /// Bucket rows and address rows.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rows: Vec<ClaimRow>,
    /// Fields of another version; they survive a write.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Who answers for the addresses of a bucket, or, as an exception, for one address.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRow {
    /// In a bucket row: the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<i32>,
    /// In an address row: the address, in canonical text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The session's node.
    pub node: String,
    /// The session, as its Lease's `holderIdentity` names it: `node/boot/id`.
    pub session: String,
    /// Since when, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Fields of another version; they survive a write.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}
