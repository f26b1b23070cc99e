//! Nodes: their addresses, and how gladly they take VIPs.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::core::v1::Node as Object;

use super::selector::Labels;
use crate::ownership::{NodeName, Readiness};

/// KEP-1143: with this label, whatever its value, a node carries no load balancer's traffic.
const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// A Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Addresses in its status.
    pub addresses: BTreeSet<IpAddr>,
    /// Its labels.
    pub labels: Labels,
    /// `spec.unschedulable`.
    pub is_cordoned: bool,
    /// Its condition `Ready` is `True`.
    pub is_ready: bool,
}

/// What kube-proxy's health port on this node says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHealth {
    /// Nobody asked, or there is no kube-proxy to ask.
    #[default]
    Unknown,
    /// 200.
    Healthy,
    /// Another answer, or none where there was one.
    Failing,
}

impl Node {
    /// Reads an object; none for one that no API server wrote.
    pub(crate) fn read(object: &Object) -> Option<Self> {
        let status = object.status.as_ref();
        let addresses = status.and_then(|status| status.addresses.as_ref());
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let spec = object.spec.as_ref();
        Some(Self {
            name: object.metadata.name.as_deref()?.into(),
            addresses: addresses
                .into_iter()
                .flatten()
                .filter_map(|address| address.address.parse().ok())
                .collect(),
            labels: object.metadata.labels.clone().unwrap_or_default(),
            is_cordoned: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
            is_ready: conditions
                .into_iter()
                .flatten()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        })
    }

    /// It is never to answer for a VIP.
    pub fn is_excluded(&self) -> bool {
        self.labels.contains_key(EXCLUDE)
    }

    /// It runs an API server.
    pub fn is_control_plane(&self) -> bool {
        self.labels.contains_key(CONTROL_PLANE)
    }
}

/// How gladly a node takes VIPs; `node` is none where its object is not there (any more).
pub fn readiness(node: Option<&Node>, proxy: ProxyHealth) -> Readiness {
    match node {
        Some(node) if node.is_excluded() => Readiness::Never,
        Some(node) if node.is_ready && !node.is_cordoned && proxy != ProxyHealth::Failing => {
            Readiness::Ready
        }
        _ => Readiness::LastChoice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fixture;

    fn node() -> Node {
        Node::read(&fixture::node(
            "a",
            &["192.0.2.11", "2001:db8::11", "a.example"],
        ))
        .unwrap()
    }

    #[test]
    fn addresses_of_a_node_are_those_of_its_status() {
        let expected = ["192.0.2.11", "2001:db8::11"].map(|a| a.parse().unwrap());
        assert_eq!(node().addresses, expected.into());
    }

    #[test]
    fn the_exclude_label_means_never_whatever_its_value() {
        let mut node = node();
        node.labels.insert(EXCLUDE.into(), "false".into());
        assert_eq!(
            readiness(Some(&node), ProxyHealth::Healthy),
            Readiness::Never
        );
    }

    #[test]
    fn a_node_that_is_cordoned_not_ready_or_without_kube_proxy_is_the_last_choice() {
        let with = |change: fn(&mut Node), proxy| {
            let mut node = node();
            change(&mut node);
            readiness(Some(&node), proxy)
        };
        use ProxyHealth::{Failing, Healthy, Unknown};
        assert_eq!(with(|_| (), Healthy), Readiness::Ready);
        assert_eq!(with(|_| (), Unknown), Readiness::Ready);
        assert_eq!(with(|_| (), Failing), Readiness::LastChoice);
        assert_eq!(
            with(|node| node.is_cordoned = true, Healthy),
            Readiness::LastChoice
        );
        assert_eq!(
            with(|node| node.is_ready = false, Healthy),
            Readiness::LastChoice
        );
        assert_eq!(readiness(None, Healthy), Readiness::LastChoice);
    }
}
