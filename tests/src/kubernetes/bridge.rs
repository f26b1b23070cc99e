//! A bridge in a namespace, with cables to others.

use std::{os::fd::OwnedFd, sync::Arc};

use vip_agent::vip::Mac;

use crate::{
    lan::pass_all,
    netns::{BedError, Peer},
};

/// Of every `br0`. A bridge without a MAC of its own changes it as ports come and go, and whoever has
/// just heard the former goes on to use it.
const BRIDGE_MAC: Mac = Mac([2, 0, 0, 0, 0xff, 1]);

/// `br0`, up.
#[derive(Debug)]
pub struct Bridge(Arc<Peer>);

impl Bridge {
    /// In a namespace of its own.
    pub fn new() -> Result<Self, BedError> {
        Self::within(&Arc::new(Peer::new()?))
    }

    /// In a namespace.
    pub fn within(peer: &Arc<Peer>) -> Result<Self, BedError> {
        no_dad(peer)?;
        // A port that is cut off is an interface like any other: it answers not for the bridge.
        peer.run("echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore")?;
        peer.run(&format!(
            "ip link add br0 address {BRIDGE_MAC} type bridge && ip link set br0 up"
        ))?;
        Ok(Self(Arc::clone(peer)))
    }

    /// The bridge's own addresses.
    pub fn add_addresses(&self, addresses: &[&str]) -> Result<(), BedError> {
        add_addresses(&self.0, "br0", addresses)
    }

    /// A cable between a port and a new interface of `host`, both up. What a host sends by XDP_TX
    /// arrives: the port's end runs an XDP program for as long as what is returned lives.
    pub fn plug(
        &self,
        port: &str,
        host: &Peer,
        (interface, mac): (&str, Mac),
        addresses: &[&str],
    ) -> Result<OwnedFd, BedError> {
        let pid = host.pid();
        self.0.run(&format!(
            "ip link add {port} type veth peer name {interface} address {mac} netns {pid} \
             && ip link set {port} master br0 up"
        ))?;
        no_dad(host)?;
        host.run(&format!("ip link set {interface} up"))?;
        add_addresses(host, interface, addresses)?;
        self.0.enter(|| pass_all(port))
    }

    /// Takes a cable away, at both ends.
    pub fn unplug(&self, port: &str) -> Result<(), BedError> {
        self.0.run(&format!("ip link del {port}")).map(drop)
    }

    /// Nothing that a port sends or receives passes any more; the carrier stays.
    pub fn cut(&self, port: &str) -> Result<(), BedError> {
        self.0
            .run(&format!("ip link set {port} nomaster"))
            .map(drop)
    }

    /// Ends a cut or a split.
    pub fn heal(&self, port: &str) -> Result<(), BedError> {
        self.0
            .run(&format!("ip link set {port} master br0"))
            .map(drop)
    }

    /// Takes the carrier from the other end of a port's cable, or gives it back.
    pub fn set_carrier(&self, port: &str, carrier: bool) -> Result<(), BedError> {
        let state = if carrier { "up" } else { "down" };
        self.0.run(&format!("ip link set {port} {state}")).map(drop)
    }

    /// These ports hear all others, and not each other.
    pub fn isolate(&self, ports: &[&str]) -> Result<(), BedError> {
        for port in ports {
            self.0
                .run(&format!("bridge link set dev {port} isolated on"))?;
        }
        Ok(())
    }

    /// Moves ports to another bridge: they hear each other, and no other.
    pub fn split(&self, ports: &[String]) -> Result<(), BedError> {
        self.0.run(
            "ip link show br1 >/dev/null 2>&1 || ip link add br1 type bridge; ip link set br1 up",
        )?;
        for port in ports {
            self.0.run(&format!("ip link set {port} master br1"))?;
        }
        Ok(())
    }
}

/// Addresses are usable at once, and nobody probes: what is on the wire is ours.
fn no_dad(host: &Peer) -> Result<(), BedError> {
    host.run("for conf in default all; do echo 0 > /proc/sys/net/ipv6/conf/$conf/accept_dad; done")
        .map(drop)
}

fn add_addresses(host: &Peer, interface: &str, addresses: &[&str]) -> Result<(), BedError> {
    for address in addresses {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        host.run(&format!("ip addr add {address} dev {interface} {nodad}"))?;
    }
    Ok(())
}
