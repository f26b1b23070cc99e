//! The Nodes of the control plane and their API servers, as far as they can be read.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use k8s_openapi::api::{core::v1::Node as NodeObject, discovery::v1::EndpointSlice};

use crate::{cluster::Node, ownership::NodeName};

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// Nodes with the role of the control plane.
    pub control_plane: Vec<NodeObject>,
    /// There is a Node other than this one, of whatever role.
    pub has_others: bool,
    /// EndpointSlices of `default/kubernetes`.
    pub slices: Vec<EndpointSlice>,
}

/// What follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// No other Node is one of the control plane.
    pub alone: bool,
    /// API servers of other nodes.
    pub servers: Vec<SocketAddr>,
    /// Addresses of other nodes of the control plane.
    pub peers: BTreeSet<IpAddr>,
}

impl Census {
    /// Before anything could be read: others are assumed.
    pub fn unread() -> Self {
        Self::default()
    }

    /// Draws the conclusions for a node. `port` is where API servers listen on their nodes.
    pub fn of(own: &NodeName, port: u16, count: &Count) -> Self {
        let nodes = count.control_plane.iter().filter_map(Node::read);
        let (own_node, others): (Vec<Node>, Vec<Node>) = nodes.partition(|node| node.name == *own);
        let own_addresses: BTreeSet<IpAddr> = own_node
            .iter()
            .flat_map(|node| node.addresses.iter().copied())
            .collect();
        let peers: BTreeSet<IpAddr> = others
            .iter()
            .flat_map(|node| node.addresses.iter().copied())
            .collect();
        let registered: BTreeSet<SocketAddr> = count.slices.iter().flat_map(endpoints).collect();
        let registered = registered
            .into_iter()
            .filter(|server| !own_addresses.contains(&server.ip()));
        let mut servers: Vec<SocketAddr> = registered.collect();
        // A node that just joined has its role last, and its API server is registered before.
        let alone = others.is_empty()
            && match own_node.is_empty() {
                true => !count.has_others,
                false => servers.is_empty(),
            };
        for peer in &peers {
            if !servers.iter().any(|server| server.ip() == *peer) {
                servers.push(SocketAddr::new(*peer, port));
            }
        }
        Self {
            alone,
            servers,
            peers,
        }
    }
}

fn endpoints(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let ports = slice.ports.iter().flatten().filter_map(|port| port.port);
    let port = ports.filter_map(|port| u16::try_from(port).ok()).next();
    let addresses = slice
        .endpoints
        .iter()
        .flat_map(|endpoint| &endpoint.addresses);
    let addresses = addresses.filter_map(|address| address.parse().ok());
    addresses
        .filter_map(|address| Some(SocketAddr::new(address, port?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, address: &str) -> NodeObject {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"node-role.kubernetes.io/control-plane": ""}},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        }))
        .unwrap()
    }

    fn slice(addresses: Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"name": "kubernetes"}, "addressType": "IPv4",
            "endpoints": [{"addresses": addresses}], "ports": [{"port": 6443}],
        }))
        .unwrap()
    }

    fn census(count: &Count) -> Census {
        Census::of(&"a".into(), 7443, count)
    }

    #[test]
    fn a_node_is_alone_when_no_other_has_the_role_nor_an_api_server() {
        let mut count = Count {
            control_plane: vec![node("a", "192.0.2.11")],
            has_others: true,
            slices: vec![slice(json!(["192.0.2.11"]))],
        };
        assert!(census(&count).alone, "workers do not count");
        count.slices = vec![slice(json!(["192.0.2.11", "192.0.2.12"]))];
        assert!(!census(&count).alone, "another joins");
        count.slices.clear();
        count.control_plane.push(node("b", "192.0.2.12"));
        assert!(!census(&count).alone);
    }

    #[test]
    fn before_it_has_the_role_a_node_is_alone_when_there_is_no_other_at_all() {
        // `kubeadm init` gives the role when it has reached the VIP.
        let mut count = Count {
            slices: vec![slice(json!(["192.0.2.11"]))],
            ..Count::default()
        };
        assert!(census(&count).alone);
        count.has_others = true;
        assert!(!census(&count).alone);
        assert!(!Census::unread().alone);
    }

    #[test]
    fn api_servers_are_those_that_registered_and_those_of_the_nodes() {
        let count = Count {
            control_plane: vec![
                node("a", "192.0.2.11"),
                node("b", "192.0.2.12"),
                node("c", "2001:db8::13"),
            ],
            has_others: true,
            slices: vec![slice(json!(["192.0.2.11", "192.0.2.12"]))],
        };
        let census = census(&count);
        let expected = ["192.0.2.12:6443", "[2001:db8::13]:7443"];
        assert_eq!(census.servers, expected.map(|text| text.parse().unwrap()));
        let peers = ["192.0.2.12", "2001:db8::13"].map(|text| text.parse().unwrap());
        assert_eq!(census.peers, peers.into());
    }
}
