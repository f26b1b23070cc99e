//! `Vip`: one assigned address, and which node holds it.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema, core::Rule};
use serde::{Deserialize, Serialize};

/// One assigned address. Named by [`vip_name`], so that it can be created once.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "xvip.io",
    version = "v1alpha1",
    kind = "Vip",
    plural = "vips",
    status = "VipStatus",
    derive = "PartialEq",
    category = "xvip",
    doc = "An assigned virtual IP, and the node that holds it.",
    validation = Rule::new("self.metadata.name == (self.spec.address.startsWith(':') ? '0' : '') + self.spec.address.replace(':', '-') + (self.spec.address.endsWith(':') ? '0' : '')")
        .message("a Vip is named after its address, with : as -, and with a 0 where that would begin or end with -"),
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.address"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "Interface", type_ = "string", json_path = ".status.interface"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Service", type_ = "string", json_path = ".spec.services[*].name"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.services[*].namespace", priority = 1),
    printcolumn(name = "Pool", type_ = "string", json_path = ".spec.pool", priority = 1),
    printcolumn(name = "Since", type_ = "date", json_path = ".status.since", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.services) && size(self.services) > 0) != (has(self.controlPlane) && self.controlPlane)")
        .message("a Vip belongs to Services or to the control plane")
)]
pub struct VipSpec {
    /// The address, in canonical text (RFC 5952).
    #[schemars(length(min = 2, max = 39))]
    #[x_kube(
        validation = Rule::new("isIP(self) && ip.isCanonical(self)")
            .message("an IPv4 or IPv6 address in its canonical form, without prefix and zone"),
        validation = Rule::new("self == oldSelf").message("the address of a Vip does not change")
    )]
    pub address: String,
    /// The pool that it was taken from; none: it lay in no pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub pool: Option<String>,
    /// The Services that have it, several where they share it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into(), "name".into()]))]
    pub services: Vec<ServiceRef>,
    /// It is an address of the API server.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub control_plane: bool,
    /// The key by which its Services share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub share_key: Option<String>,
    /// Interfaces, by name or glob, that may carry it; without: the pool's, then the agent's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub interfaces: Vec<String>,
    /// Prefix lengths that it is bound with, as the configuration's key takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = prefix_rule())]
    pub prefix: Option<String>,
}

/// A Service.
#[derive(
    KubeSchema, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRef {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// Where a VIP is. Written by the node that holds it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VipStatus {
    /// The node that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The interface of that node which carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// One of `answering unconfirmed fenced pending conflict error`, as in `vip-agent status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The epoch of the session that holds it: another for each session of a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Since when this node holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// The forms of `config`'s prefix key, as far as a regular expression tells them.
pub(super) fn prefix_rule() -> Rule {
    Rule::new(
        "self.matches('^ */?(auto|3[0-2]|[12][0-9]|[1-9]) *, */?(auto|12[0-8]|1[01][0-9]|[1-9][0-9]|[1-9]) *$|^ */?(auto|12[0-8]|1[01][0-9]|[1-9][0-9]|[1-9]) *$')",
    )
    .message("32,128, 24, 64 or auto: the length for IPv4 comes first, each lies within its family")
}

/// The name of the `Vip` of an address: its canonical text with `:` as `-`, and a `0` where that
/// would begin or end with `-`, which no name may: `2001-db8--100`, `fd00--0` for `fd00::`.
///
/// No two addresses share a name: canonical text (RFC 5952, 4.2) has no zero group beside `::`,
/// so a zero there is always one that was put in.
pub fn vip_name(address: IpAddr) -> String {
    let mut name = address.to_string().replace(':', "-");
    if name.starts_with('-') {
        name.insert(0, '0');
    }
    if name.ends_with('-') {
        name.push('0');
    }
    name
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    /// The address that a name came from, by the way back.
    fn address(name: &str) -> IpAddr {
        name.replace('-', ":").parse().unwrap()
    }

    /// Addresses with many zero groups, where names could meet.
    fn addresses() -> impl Strategy<Value = IpAddr> {
        let group = prop_oneof![3 => Just(0), 1 => 1..3_u16, 1 => any::<u16>()];
        prop_oneof![
            any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).into()),
            prop::array::uniform8(group).prop_map(|groups| Ipv6Addr::from(groups).into()),
            any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).to_ipv6_mapped().into()),
        ]
    }

    #[test]
    fn names_show_the_address() {
        for (address, name) in [
            ("192.0.2.100", "192.0.2.100"),
            ("2001:db8::100", "2001-db8--100"),
            ("fd00::", "fd00--0"),
            ("::1", "0--1"),
            ("::", "0--0"),
            ("::ffff:192.0.2.1", "0--ffff-192.0.2.1"),
        ] {
            assert_eq!(vip_name(address.parse().unwrap()), name);
        }
    }

    proptest! {
        #[test]
        fn no_two_addresses_share_a_name(one in addresses(), other in addresses()) {
            prop_assert_eq!(address(&vip_name(one)), one);
            prop_assert_eq!(vip_name(one) == vip_name(other), one == other);
        }

        #[test]
        fn names_are_dns_subdomains(any in addresses()) {
            let name = vip_name(any);
            for label in name.split('.') {
                let inner = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
                prop_assert!(label.bytes().all(|byte| inner(byte) || byte == b'-'));
                prop_assert!(label.bytes().next().is_some_and(inner));
                prop_assert!(label.bytes().last().is_some_and(inner));
            }
        }
    }
}
