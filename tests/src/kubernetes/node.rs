//! A node: a namespace with a cable to the LAN and one to the API, and an agent.

use std::{net::Ipv4Addr, net::Ipv6Addr, os::fd::OwnedFd, sync::Arc};

use vip_agent::vip::Mac;

use crate::{agent::Agent, netns::Peer};

/// Who a node is, on the LAN and for the API, by its number: 1 for the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat(pub usize);

impl Seat {
    /// `node-1` for the first.
    pub fn name(self) -> String {
        format!("node-{}", self.0)
    }

    /// Of `eth0`.
    pub fn mac(self) -> Mac {
        Mac([2, 0, 0, 0, 1, self.0 as u8])
    }

    /// Of `eth0`, and the Node's InternalIP.
    pub fn ipv4(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, 10 + self.0 as u8)
    }

    /// Of `eth0`, and the Node's InternalIP.
    pub fn ipv6(self) -> Ipv6Addr {
        // 11 for the first, read like the IPv4 address.
        let last = 0x10 + self.0 as u16;
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
    }

    /// Of `mgmt0`, where it reaches the API.
    pub fn management(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, 10 + self.0 as u8)
    }

    /// Its port of both bridges.
    pub fn port(self) -> String {
        format!("n{}", self.0)
    }
}

/// One of a [`Bed`](super::Bed).
pub struct Node {
    /// 1 for the first.
    pub number: usize,
    /// How often it was switched on.
    pub boot: u32,
    /// None when no agent was started since the last boot. It may have been killed.
    pub agent: Option<Agent>,
    pub(super) inside: Option<Inside>,
}

/// What is there while it is switched on.
pub(super) struct Inside {
    pub(super) peer: Arc<Peer>,
    /// Kept for as long as the cable is.
    pub(super) _cable: OwnedFd,
}

impl Node {
    /// Who it is.
    pub fn seat(&self) -> Seat {
        Seat(self.number)
    }

    /// `node-1` for the first.
    pub fn name(&self) -> String {
        self.seat().name()
    }

    /// Of `eth0`.
    pub fn mac(&self) -> Mac {
        self.seat().mac()
    }

    /// Of `eth0`, and the Node's InternalIP.
    pub fn ipv4(&self) -> Ipv4Addr {
        self.seat().ipv4()
    }

    /// Of `eth0`, and the Node's InternalIP.
    pub fn ipv6(&self) -> Ipv6Addr {
        self.seat().ipv6()
    }

    /// `bootId` of its agent.
    pub fn boot_id(&self) -> String {
        format!("{}-boot-{}", self.name(), self.boot)
    }

    /// Its port of both bridges.
    pub fn port(&self) -> String {
        self.seat().port()
    }

    /// Its namespace.
    ///
    /// # Panics
    /// When it is off.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.inside.as_ref().expect("the node is on").peer
    }

    /// Its agent.
    ///
    /// # Panics
    /// When none was started.
    pub fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("its agent was started")
    }

    /// Its agent.
    ///
    /// # Panics
    /// When none was started.
    pub fn agent_mut(&mut self) -> &mut Agent {
        self.agent.as_mut().expect("its agent was started")
    }
}
