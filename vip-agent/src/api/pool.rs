//! `VipPool`: addresses that Services may have.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Addresses that Services may have, and which Services those are.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "xvip.io",
    version = "v1alpha1",
    kind = "VipPool",
    plural = "vippools",
    status = "VipPoolStatus",
    derive = "PartialEq",
    category = "xvip",
    doc = "Addresses that Services of type LoadBalancer may have.",
    printcolumn(name = "Addresses", type_ = "string", json_path = ".spec.addresses"),
    printcolumn(name = "Auto", type_ = "boolean", json_path = ".spec.autoAssign"),
    printcolumn(name = "Total", type_ = "string", json_path = ".status.total"),
    printcolumn(name = "Used", type_ = "string", json_path = ".status.used"),
    printcolumn(name = "Free", type_ = "string", json_path = ".status.free"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct VipPoolSpec {
    /// CIDRs and ranges of either family: `192.0.2.0/28`, `2001:db8::100-2001:db8::1ff`. Every
    /// address of them is given out, the first and last of a CIDR too.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 79)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(a, a.contains('-') ? a.split('-').size() == 2 && a.split('-').all(e, isIP(e) && ip.isCanonical(e)) : isCIDR(a))")
            .message("an address is a CIDR (192.0.2.0/28) or a range (2001:db8::100-2001:db8::1ff) of canonical addresses without spaces; one address alone is a /32 or a /128"),
        validation = Rule::new("self.all(a, !isCIDR(a) || cidr(a) == cidr(a).masked())")
            .message("a CIDR has no bits set behind its prefix: write 192.0.2.0/24, or a range"),
        validation = Rule::new("self.all(a, a.split('-').size() != 2 || !a.split('-').all(e, isIP(e)) || ip(a.split('-')[0]).family() == ip(a.split('-')[1]).family())")
            .message("a range has both ends in one family"),
        validation = Rule::new("self.all(a, !a.matches('^[0-9.]+-[0-9.]+$') || !a.split('-').all(e, isIP(e)) || a.split('-').map(e, e.split('.')).map(o, int(o[0]) * 16777216 + int(o[1]) * 65536 + int(o[2]) * 256 + int(o[3])).isSorted())")
            .message("a range goes from its lower to its higher address")
    )]
    pub addresses: Vec<String>,
    /// Namespaces whose Services may use it; with neither these nor a selector: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub namespaces: Vec<String>,
    /// Further namespaces, by their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Services of those namespaces that may use it, by their labels; without: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_selector: Option<LabelSelector>,
    /// Nodes that may answer for its addresses, by their labels; without: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// Interfaces, by name or glob, that may carry its addresses; without: the agent's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub interfaces: Vec<String>,
    /// Prefix lengths that its addresses are bound with, as the configuration's key takes them:
    /// `32,128`, `24`, `auto`; without: the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = super::vip::prefix_rule())]
    pub prefix: Option<String>,
    /// Its addresses are given to Services that ask for none in particular.
    #[serde(default = "yes")]
    pub auto_assign: bool,
}

fn yes() -> bool {
    true
}

/// How much of a pool is in use.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VipPoolStatus {
    /// Number of addresses, in decimal text: an IPv6 /64 holds more than any JSON number is good
    /// for. Saturates at 2^128 - 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// Number of addresses that a `Vip` has, in decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// `total` less `used`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<String>,
    /// What is wrong with it, as far as the API server could not refuse it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
