//! Where a [`Mutation`] takes hold: on the way between a machine and its world.

use std::net::IpAddr;

use vip_agent::ownership::{BootTime, Claims, Event, Lease, NodeName, Reply, Request};

use super::world::World;

impl World {
    /// A Lease as a node gets to see it.
    pub(super) fn shown_lease(&mut self, node: usize, lease: Lease) -> Lease {
        let _ = node;
        lease
    }

    /// A claims object as a node gets to see it.
    pub(super) fn shown_claims(&mut self, node: usize, claims: Claims) -> Claims {
        let _ = node;
        claims
    }

    /// A request arrives at the register.
    pub(super) fn serve(&mut self, node: usize, name: &NodeName, request: Request) -> Reply {
        let _ = node;
        self.register.serve(name, request)
    }

    /// A request leaves.
    pub(super) fn sent(&mut self, node: usize, request: &Request) {
        let _ = (node, request);
    }

    /// A node takes an event.
    pub(super) fn before_step(&mut self, node: usize, event: &Event, now: BootTime) {
        let _ = (node, event, now);
    }

    /// The times that a node stores.
    pub(super) fn shown_times(
        &mut self,
        node: usize,
        deadline: BootTime,
        confirmed: BootTime,
        now: BootTime,
    ) -> (BootTime, BootTime) {
        let _ = (node, now);
        (deadline, confirmed)
    }

    pub(super) fn fence(&mut self, node: usize, vip: IpAddr) {
        self.nodes[node].kernel.fence(vip);
    }
}
