//! VIPs that this host cannot take (`wire.md`, rule 9): judged when a VIP is first taken.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{Adopt, Config, Ownership, Problem, VipSpec, address::reserved_in};
use crate::{
    host::{Address, Host, Link},
    vip::host_prefix,
};

/// kube-proxy's dummy interface in IPVS mode: it holds every Service's address.
const KUBE_IPVS: &str = "kube-ipvs0";

/// `IFAPROT_KERNEL_LO`, `_RA` and `_LL` (linux/if_addr.h): addresses that the kernel made.
const KERNEL_PROTOS: std::ops::RangeInclusive<u8> = 1..=3;

/// Why `vip` cannot be taken on this host, if so. To judge many, make one [`Occupied`].
pub fn refuse(vip: &VipSpec, host: &Host, config: &Config) -> Option<Problem> {
    Occupied::of(host, config).refuse(vip)
}

/// The addresses of a host that no VIP can have.
#[derive(Debug)]
pub struct Occupied<'a> {
    config: &'a Config,
    /// Bound by others, with the name of the interface.
    bound: HashMap<IpAddr, (&'a str, IpNet)>,
    gateways: HashSet<IpAddr>,
    subnets: HashSet<IpNet>,
}

impl<'a> Occupied<'a> {
    /// Those of `host`.
    pub fn of(host: &'a Host, config: &'a Config) -> Self {
        let foreign = || {
            host.links
                .values()
                .filter(|link| link.name != KUBE_IPVS)
                .flat_map(|link| link.addresses.iter().map(move |address| (link, address)))
                .filter(|(_, address)| !address.is_ours())
        };
        Self {
            config,
            bound: foreign()
                .filter(|(link, address)| !is_adoptable(link, address, config))
                .map(|(link, address)| (address.net.addr(), (link.name.as_str(), address.net)))
                .collect(),
            gateways: host
                .default_routes
                .iter()
                .filter_map(|route| route.gateway)
                .collect(),
            subnets: foreign()
                .map(|(_, address)| address.net.trunc())
                .filter(|net| net.prefix_len() < net.max_prefix_len())
                .collect(),
        }
    }

    /// Addresses that others have bound, with the interface.
    pub fn bound(&self) -> impl Iterator<Item = (IpAddr, &str)> {
        self.bound
            .iter()
            .map(|(address, (link, _))| (*address, *link))
    }

    /// Gateways of default routes.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        self.gateways.iter().copied()
    }

    /// Connected subnets.
    pub fn subnets(&self) -> impl Iterator<Item = IpNet> {
        self.subnets.iter().copied()
    }

    /// Why `vip` cannot be taken, if so.
    pub fn refuse(&self, vip: &VipSpec) -> Option<Problem> {
        let (message, fix) = self.reason(vip.address)?;
        Some(Problem::new(self.field(vip), vip.address, message, fix))
    }

    fn reason(&self, vip: IpAddr) -> Option<(String, String)> {
        if let Some((link, net)) = self.bound.get(&vip) {
            let message = format!("an address of this node: {link} has {net}, bound by another");
            let adoptable = *net == host_prefix(vip);
            let fix = if adoptable && !self.config.adopt.contains(&Adopt::KubeVip) {
                "choose another address; if kube-vip has bound it, write `adopt: [kube-vip]`"
            } else {
                "choose another address, or remove it from the interface"
            };
            return Some((message, fix.into()));
        }
        if self.gateways.contains(&vip) {
            let message = "the gateway of this node's default route";
            return Some((message.into(), "choose another address".into()));
        }
        self.subnets.iter().find_map(|subnet| {
            let reason = reserved_in(vip, *subnet)?;
            let message = format!("{reason} {subnet}, where this node is");
            Some((message, "choose another address of the subnet".into()))
        })
    }

    fn field(&self, vip: &VipSpec) -> String {
        match &self.config.ownership {
            Ownership::Static => {
                let mut listed = self.config.vips.iter();
                listed
                    .position(|other| other.address == vip.address)
                    .map(|index| format!("vips[{index}].address"))
            }
            Ownership::Kubernetes(cluster) => {
                let plane = cluster.control_plane.as_ref();
                plane
                    .and_then(|plane| plane.addresses.iter().position(|a| *a == vip.address))
                    .map(|index| format!("controlPlane.addresses[{index}]"))
            }
        }
        .unwrap_or_else(|| "vips".into())
    }
}

/// The address may be one that kube-vip bound, and we are asked to take those over: a host
/// prefix (kube-vip's default), that the kernel did not make. `IFA_PROTO` tells no more, since
/// kube-vip sets none.
pub fn is_adoptable(link: &Link, address: &Address, config: &Config) -> bool {
    config.adopt.contains(&Adopt::KubeVip)
        && link.name != KUBE_IPVS
        && !address.is_ours()
        && !KERNEL_PROTOS.contains(&address.proto)
        && address.net == host_prefix(address.net.addr())
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
