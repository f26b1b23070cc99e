//! Addresses that no Service can have, whatever pools say (`wire.md`, rule 9).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{Cluster, refusal::Refusal};
use crate::{
    config::address::{reason, reserved_in},
    ownership::NodeName,
};

/// What the allocator's own host and configuration know of addresses that are in use. Node
/// addresses and the endpoints of the API server are known from the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forbidden {
    /// Where the API server is reached: kubeconfig, `controlPlane.addresses`.
    pub api_servers: BTreeSet<IpAddr>,
    /// Gateways of default routes.
    pub gateways: BTreeSet<IpAddr>,
    /// What others have bound on this host, and on which interface.
    pub bound: BTreeMap<IpAddr, String>,
    /// Connected subnets of the nodes' interfaces.
    pub subnets: BTreeSet<IpNet>,
}

/// Judges one address after the other.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    known: &'a Forbidden,
    nodes: HashMap<IpAddr, &'a NodeName>,
    api_servers: BTreeSet<IpAddr>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(cluster: &'a Cluster, known: &'a Forbidden) -> Self {
        let nodes = cluster.nodes.values();
        let addresses =
            nodes.flat_map(|node| node.addresses.iter().map(|address| (*address, &node.name)));
        let of_endpoints = cluster.endpoints.api_servers();
        let control_plane = cluster.vips.values().map(|vip| &vip.assignment);
        let control_plane = control_plane.filter(|assignment| assignment.control_plane);
        Self {
            nodes: addresses.collect(),
            api_servers: of_endpoints
                .chain(known.api_servers.iter().copied())
                .chain(control_plane.map(|assignment| assignment.address))
                .collect(),
            known,
        }
    }

    /// Why nobody may have the address, if so.
    pub(super) fn forbids(&self, address: IpAddr) -> Option<Refusal> {
        self.forbids_everywhere(address).or_else(|| {
            let interface = self.known.bound.get(&address)?;
            let why = format!("bound to {interface} of the allocating node by another");
            Some(Refusal::Reserved { address, why })
        })
    }

    /// The same, but for what others have bound on this host: an address that is taken over from
    /// another load balancer is bound there.
    pub(super) fn forbids_everywhere(&self, address: IpAddr) -> Option<Refusal> {
        if let Some(why) = reason(address) {
            let why = why.to_owned();
            return Some(Refusal::Reserved { address, why });
        }
        // A control plane may have a Node's address: say what is closer to the cause.
        if self.api_servers.contains(&address) {
            return Some(Refusal::ApiServer { address });
        }
        if let Some(node) = self.nodes.get(&address) {
            let node = (*node).clone();
            return Some(Refusal::NodeAddress { address, node });
        }
        if self.known.gateways.contains(&address) {
            let why = "the gateway of a default route".to_owned();
            return Some(Refusal::Reserved { address, why });
        }
        self.known.subnets.iter().find_map(|subnet| {
            let why = format!("{} {subnet}", reserved_in(address, *subnet)?);
            Some(Refusal::Reserved { address, why })
        })
    }
}
