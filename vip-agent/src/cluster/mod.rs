//! The cluster as an agent knows it, and what follows from it. No clock and no I/O.
//!
//! [`Cluster`] takes objects as a watch shows them and keeps of each what matters here.
//! [`decide`] says what the allocator (the holder of bucket 0; `ownership.md`, rule 13) writes:
//! `Vip`s, and the status of Services and pools. [`served`] says what every agent programs and
//! where address rows are wanted.
//!
//! | file | says |
//! |---|---|
//! | `service.rs`, `annotation.rs`, `family.rs` | what a Service asks for |
//! | `pool.rs`, `range.rs`, `selector.rs` | what there is to give, and to whom |
//! | `vip.rs`, `holding.rs` | what is given |
//! | `node.rs`, `endpoints.rs` | where it can be answered |
//! | `forbidden.rs`, `sharing.rs`, `refusal.rs` | who cannot have what, and why |
//! | `change.rs` | whose business news are |
//! | `decide.rs`, `allocate.rs` | who gets what |
//! | `assign.rs`, `report.rs` | what is written of it |
//! | `candidates.rs` | which node may answer |

mod allocate;
mod annotation;
mod assign;
mod candidates;
mod change;
pub mod condition;
mod decide;
mod endpoints;
mod family;
mod forbidden;
mod holding;
mod node;
mod pool;
mod range;
mod refusal;
mod report;
mod selector;
mod service;
mod settings;
mod sharing;
mod vip;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::{core::v1 as core, discovery::v1::EndpointSlice};

use self::change::take;
pub use self::{
    allocate::{LanAnswer, LanAnswers},
    annotation::Wish,
    assign::{Deletion, Update},
    candidates::{Served, served},
    change::{Change, Concern},
    condition::Condition,
    decide::{Decision, decide},
    endpoints::Endpoints,
    family::{Family, FamilyPolicy},
    forbidden::Forbidden,
    node::{Node, ProxyHealth, readiness},
    pool::{Pool, PoolProblem, PoolStatus},
    range::{Addresses, RangeError},
    refusal::{Clash, Refusal, ValueError, Warning},
    report::{Report, ServiceStatus},
    selector::{Labels, NoOperator, Selector},
    service::{Ingress, Port, Service, ServiceKey},
    settings::Settings,
    vip::{Assignment, Vip},
};
use crate::{api, ownership::NodeName};

/// The kinds that have been listed once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Listed {
    services: bool,
    endpoints: bool,
    nodes: bool,
    namespaces: bool,
    pools: bool,
    vips: bool,
}

/// What is known of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    services: BTreeMap<ServiceKey, Service>,
    endpoints: Endpoints,
    nodes: BTreeMap<NodeName, Node>,
    namespaces: BTreeMap<String, Labels>,
    pools: BTreeMap<String, Pool>,
    vips: BTreeMap<IpAddr, Vip>,
    /// `Vip`s that are being created, and were not seen yet.
    promised: BTreeMap<IpAddr, Assignment>,
    listed: Listed,
}

/// Every method says whose business the change is.
impl Cluster {
    /// Takes what a watch says of Services.
    pub fn services(&mut self, change: Change<core::Service>) -> Concern {
        let read = |object: &_| Service::read(object).map(|service| (service.key.clone(), service));
        let listed = &mut self.listed.services;
        take(&mut self.services, listed, change, read, Service::concern)
    }

    /// Takes what a watch says of EndpointSlices.
    pub fn endpoint_slices(&mut self, change: Change<EndpointSlice>) -> Concern {
        let services = match change {
            Change::Listed(all) => {
                let mut endpoints = Endpoints::default();
                for slice in &all {
                    endpoints.apply(slice);
                }
                let first = !std::mem::replace(&mut self.listed.endpoints, true);
                let changed = self.endpoints != endpoints;
                self.endpoints = endpoints;
                return match first || changed {
                    true => Concern::Everybody,
                    false => Concern::Nobody,
                };
            }
            Change::Applied(slice) => self.endpoints.apply(&slice),
            Change::Deleted(slice) => self.endpoints.delete(&slice),
        };
        let concerns = services
            .iter()
            .map(|service| self.endpoints_concern(service));
        concerns.max().unwrap_or(Concern::Nobody)
    }

    /// Whose business the endpoints of a Service are. Of one that is not seen yet, nobody's: when
    /// it is, all is looked at.
    fn endpoints_concern(&self, service: &ServiceKey) -> Concern {
        if endpoints::is_api_server(service) {
            return Concern::Allocator;
        }
        match self.services.get(service) {
            Some(service) if service.is_load_balancer && service.is_local => Concern::Everybody,
            _ => Concern::Nobody,
        }
    }

    /// Takes what a watch says of Nodes.
    pub fn nodes(&mut self, change: Change<core::Node>) -> Concern {
        let read = |object: &_| Node::read(object).map(|node| (node.name.clone(), node));
        let (listed, concern) = (&mut self.listed.nodes, Concern::of(Concern::Everybody));
        take(&mut self.nodes, listed, change, read, concern)
    }

    /// Takes what a watch says of Namespaces.
    pub fn namespaces(&mut self, change: Change<core::Namespace>) -> Concern {
        let read = |object: &core::Namespace| {
            let labels = object.metadata.labels.clone().unwrap_or_default();
            Some((object.metadata.name.clone()?, labels))
        };
        let listed = &mut self.listed.namespaces;
        let concern = Concern::of(Concern::Allocator);
        take(&mut self.namespaces, listed, change, read, concern)
    }

    /// Takes what a watch says of pools.
    pub fn pools(&mut self, change: Change<api::VipPool>) -> Concern {
        let read = |object: &_| Pool::read(object).map(|pool| (pool.name.clone(), pool));
        let listed = &mut self.listed.pools;
        take(&mut self.pools, listed, change, read, Pool::concern)
    }

    /// Takes what a watch says of Vips. What a write of our own returned may be fed in, too.
    pub fn vips(&mut self, change: Change<api::Vip>) -> Concern {
        let read = |object: &_| Vip::read(object).map(|vip| (vip.assignment.address, vip));
        let listed = &mut self.listed.vips;
        let concern = take(&mut self.vips, listed, change, read, Vip::concern);
        self.promised
            .retain(|address, _| !self.vips.contains_key(address));
        concern
    }

    /// A `Vip` is being created: its Services have the address, as far as decisions go. Until it
    /// is seen, nothing shows it.
    pub fn promise(&mut self, assignment: Assignment) {
        self.promised.insert(assignment.address, assignment);
    }

    /// It was not created, or nobody knows: whether one was promised.
    pub fn withdraw(&mut self, address: IpAddr) -> bool {
        self.promised.remove(&address).is_some()
    }

    /// Every kind has been listed once: what is not known does not exist.
    pub fn is_complete(&self) -> bool {
        let all = Listed {
            services: true,
            endpoints: true,
            nodes: true,
            namespaces: true,
            pools: true,
            vips: true,
        };
        self.listed == all
    }

    /// A Service.
    pub fn service(&self, key: &ServiceKey) -> Option<&Service> {
        self.services.get(key)
    }

    /// A Node.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// Addresses of all Nodes but this one.
    pub fn peers(&self, own: &NodeName) -> impl Iterator<Item = IpAddr> {
        let others = self.nodes.values().filter(move |node| node.name != *own);
        others.flat_map(|node| node.addresses.iter().copied())
    }

    /// A pool.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.get(name)
    }

    /// The `Vip` of an address.
    pub fn vip(&self, address: IpAddr) -> Option<&Vip> {
        self.vips.get(&address)
    }

    /// All Nodes.
    pub fn all_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// All Vips, by address.
    pub fn all_vips(&self) -> impl Iterator<Item = &Vip> {
        self.vips.values()
    }
}
