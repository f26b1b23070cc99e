//! Which addresses to bind, to take over, and to take away: desired against observed.
//!
//! The kernel's address table is the only memory: what carries our mark ([`crate::host::IFA_PROTO_XVIP`]) is
//! ours, whichever process bound it. Nothing here depends on the last write, so a plan is always
//! made anew from what is observed, and a refusal is tried again by itself.

mod flap;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
};

use ipnet::IpNet;

use crate::{
    host::{
        Address, FOR_EVER, Host, IFA_F_DADFAILED, IFA_F_NODAD, IFA_F_NOPREFIXROUTE,
        IFA_F_SECONDARY, IPV6_MIN_MTU, Link,
    },
    vip::{BoundVip, IfIndex, Mac, host_prefix},
};

pub use flap::{FlapLimit, Flaps};

/// What a VIP needs from an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The VIP itself is bound. For IPv6 the kernel joins its solicited-node group with it.
    Bind,
    /// Only the solicited-node group of an IPv6 VIP is joined, by its [`cover`]. IPv4 needs nothing.
    Group,
}

/// A VIP that an interface must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The address and its prefix length.
    pub vip: BoundVip,
    /// The interface.
    pub ifindex: IfIndex,
    /// What it needs there.
    pub kind: Kind,
    /// After how many seconds the kernel removes it if nobody refreshes it; [`FOR_EVER`] for never.
    pub valid_lft: u32,
}

/// Whose addresses may be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopt {
    /// Host prefixes that kube-vip bound. It leaves no mark, so any unmarked address that equals
    /// a VIP of ours counts.
    KubeVip,
}

/// An address on an interface: what a change, a refusal and a flap are about.
pub type Place = (IfIndex, BoundVip);

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Binds an address that is not there; fails when it is.
    Add,
    /// Gives an address that is there our mark and lifetimes, in place: it is never absent.
    Replace,
    /// Takes an address away.
    Remove,
}

/// One request to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressChange {
    /// What it does.
    pub operation: Operation,
    /// The interface.
    pub ifindex: IfIndex,
    /// The address and its prefix length.
    pub net: BoundVip,
    /// Valid lifetime in seconds; [`FOR_EVER`] for no end.
    pub valid_lft: u32,
}

impl AddressChange {
    /// Where it takes place.
    pub fn place(&self) -> Place {
        (self.ifindex, self.net)
    }
}

/// Why a wanted address is not bound, or an unwanted one not removed, for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such interface, or no longer.
    #[error("the interface does not exist")]
    NoLink,
    /// IPv6 needs 1280.
    #[error("the MTU is {0}: below {IPV6_MIN_MTU} the kernel takes IPv6 off the interface")]
    MtuTooSmall(u32),
    /// `disable_ipv6`.
    #[error("IPv6 is disabled on the interface (net.ipv6.conf.*.disable_ipv6)")]
    Ipv6Disabled,
    /// Somebody else bound the address.
    #[error("somebody else has bound the address as {0}")]
    Foreign(BoundVip),
    /// It was removed by somebody else too often ([`FlapLimit`]).
    #[error("somebody else keeps removing the address")]
    Flapping,
    /// Removing a primary IPv4 address would take others of its subnet away.
    #[error(
        "the kernel would take {0} away with it: set net.ipv4.conf.*.promote_secondaries, or remove that address first"
    )]
    TakesAlong(BoundVip),
}

/// What to do, and what not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingPlan {
    /// Addresses to bind.
    pub add: Vec<AddressChange>,
    /// Addresses to mark as ours, or to refresh, in place.
    pub replace: Vec<AddressChange>,
    /// Addresses of ours that nobody wants.
    pub remove: Vec<AddressChange>,
    /// Addresses of ours that are as they should be.
    pub adopted: Vec<Place>,
    /// What cannot be done now.
    pub refused: Vec<(Place, Refusal)>,
}

impl BindingPlan {
    /// Nothing is left to do.
    pub fn is_settled(&self) -> bool {
        self.add.is_empty() && self.replace.is_empty() && self.remove.is_empty()
    }

    /// Addresses of ours that nobody wants, and that cannot be removed now.
    pub fn stuck(&self) -> impl Iterator<Item = (Place, Refusal)> + '_ {
        let is_stuck = |refusal: &Refusal| matches!(refusal, Refusal::TakesAlong(_));
        (self.refused.iter().copied()).filter(move |(_, refusal)| is_stuck(refusal))
    }

    /// The changes in the order to make them: binding before removing, so that nothing is absent
    /// in between, but for an IPv6 address whose prefix length changes. The kernel holds an IPv6
    /// address once, whatever its prefix length (`ipv6_get_ifaddr`), and a replacement keeps it.
    pub fn changes(&self) -> Vec<AddressChange> {
        let (first, last) = self.in_two();
        [first, last].concat()
    }

    /// The same in two parts: what VIPs wait for to be live, and removals that nothing waits for.
    pub fn in_two(&self) -> (Vec<AddressChange>, Vec<AddressChange>) {
        let added: BTreeSet<(IfIndex, IpAddr)> = self
            .add
            .iter()
            .filter(|change| change.net.addr().is_ipv6())
            .map(|change| (change.ifindex, change.net.addr()))
            .collect();
        let (first, last): (Vec<_>, Vec<_>) = self
            .remove
            .iter()
            .copied()
            .partition(|change| added.contains(&(change.ifindex, change.net.addr())));
        ([&first[..], &self.replace, &self.add].concat(), last)
    }

    /// Leaves addresses bound that are not wanted, and joins no groups: of a node that is about to
    /// unbind all, and has others wait for what it gives them. A VIP that is `gone` is unbound all
    /// the same: nothing keeps its address silent. So is one that comes back with another prefix.
    pub fn put_off(&mut self, gone: impl Fn(IpAddr) -> bool) {
        self.add.retain(|change| !is_cover(change.net));
        let add = &self.add;
        self.remove.retain(|change| {
            let vip = change.net.addr();
            gone(vip) || add.iter().any(|added| added.net.addr() == vip)
        });
    }
}

/// The address that joins the solicited-node group of `vip` without binding `vip`:
///
/// ```text
/// fe80:7876:6970:MMMM:MMMM:MMMM:00VV:VVVV    "xvip", the link's MAC, the VIP's low 24 bits
/// ```
///
/// The kernel joins the group of every address it holds (RFC 4862, 5.4.2; `addrconf_join_solict`),
/// and a membership by an address outlives the process. A multicast address with `autojoin` does
/// not serve: when the link goes down, or its MTU falls below 1280, the kernel forgets the address
/// but not the join of its own socket (`mc_autojoin_sk`), which can then neither be removed nor
/// made again (EADDRINUSE), and that socket holds no more than `optmem_max` allows (2,338 groups
/// on 6.18). The MAC makes the address one of this link only; it is never chosen as a source.
pub fn cover(vip: Ipv6Addr, mac: Mac) -> BoundVip {
    let mut octets = [0; 16];
    octets[..6].copy_from_slice(&[0xfe, 0x80, b'x', b'v', b'i', b'p']);
    octets[6..12].copy_from_slice(&mac.0);
    octets[13..].copy_from_slice(&vip.octets()[13..]);
    host_prefix(Ipv6Addr::from(octets).into())
}

/// Whether it is a [`cover`].
pub fn is_cover(net: BoundVip) -> bool {
    matches!(net.addr(), IpAddr::V6(v6) if v6.octets().starts_with(&[0xfe, 0x80, b'x', b'v', b'i', b'p']))
}

/// Whether `net` is a [`cover`] of `vip`, on whichever link.
pub fn covers(net: BoundVip, vip: IpAddr) -> bool {
    let (IpAddr::V6(net_address), IpAddr::V6(vip)) = (net.addr(), vip) else {
        return false;
    };
    is_cover(net) && net_address.octets()[13..] == vip.octets()[13..]
}

/// Compares what is desired with what is observed.
pub fn plan(desired: &[Wanted], observed: &Host, adopt: &[Adopt]) -> BindingPlan {
    let mut plan = BindingPlan::default();
    let mut wanted = BTreeMap::new();
    for want in desired {
        if let Some(net) = address_for(want, observed) {
            wanted.insert((want.ifindex, net), want.valid_lft);
        }
    }
    let mut held: HashMap<(IfIndex, IpAddr), Vec<&Address>> = HashMap::new();
    for link in observed.links.values() {
        for address in &link.addresses {
            let place = (link.ifindex, address.net.addr());
            held.entry(place).or_default().push(address);
        }
    }
    for (&(ifindex, net), &valid_lft) in &wanted {
        let place = (ifindex, net);
        let change = |operation| AddressChange {
            operation,
            ifindex,
            net,
            valid_lft,
        };
        let Some(link) = observed.links.get(&ifindex) else {
            plan.refused.push((place, Refusal::NoLink));
            continue;
        };
        if let Some(refusal) = no_ipv6(link).filter(|_| net.addr().is_ipv6()) {
            plan.refused.push((place, refusal));
            continue;
        }
        let there = held.get(&(ifindex, net.addr())).map_or(&[][..], |v| v);
        let equal = there.iter().find(|address| address.net == net);
        let foreign = there.iter().find(|address| !address.is_ours());
        match (equal, foreign) {
            (Some(address), _) if address.is_ours() => {
                if is_current(address, valid_lft) {
                    plan.adopted.push(place);
                } else {
                    plan.replace.push(change(Operation::Replace));
                }
            }
            (Some(address), _) if may_adopt(address, adopt) => {
                plan.replace.push(change(Operation::Replace));
            }
            (_, Some(address)) => plan.refused.push((place, Refusal::Foreign(address.net))),
            _ => plan.add.push(change(Operation::Add)),
        }
    }
    for link in observed.links.values() {
        for address in link.addresses.iter().filter(|address| address.is_ours()) {
            let place = (link.ifindex, address.net);
            if wanted.contains_key(&place) {
                continue;
            }
            match taken_along(link, address, &wanted) {
                Some(other) => plan.refused.push((place, Refusal::TakesAlong(other))),
                None => plan.remove.push(AddressChange {
                    operation: Operation::Remove,
                    ifindex: link.ifindex,
                    net: address.net,
                    valid_lft: FOR_EVER,
                }),
            }
        }
    }
    plan
}

/// The address that serves `want`, if it needs one.
fn address_for(want: &Wanted, observed: &Host) -> Option<BoundVip> {
    match (want.kind, want.vip.addr()) {
        (Kind::Bind, _) => Some(want.vip),
        (Kind::Group, IpAddr::V4(_)) => None,
        (Kind::Group, IpAddr::V6(vip)) => {
            let mac = observed.links.get(&want.ifindex).and_then(|link| link.mac);
            Some(cover(vip, mac.unwrap_or_default()))
        }
    }
}

fn no_ipv6(link: &Link) -> Option<Refusal> {
    if link.mtu < IPV6_MIN_MTU {
        Some(Refusal::MtuTooSmall(link.mtu))
    } else if link.ipv6_disabled {
        Some(Refusal::Ipv6Disabled)
    } else {
        None
    }
}

/// Our address has the flags and lifetimes that it ought to have. A lifetime that ends is
/// refreshed when half of it has passed.
fn is_current(address: &Address, valid_lft: u32) -> bool {
    let lifetime = match valid_lft {
        FOR_EVER => address.valid_lft == FOR_EVER,
        seconds => address.valid_lft <= seconds && address.valid_lft > seconds / 2,
    };
    let flags = IFA_F_NODAD | IFA_F_NOPREFIXROUTE;
    lifetime
        && (address.net.addr().is_ipv4()
            || (address.preferred_lft == 0 && address.flags & (flags | IFA_F_DADFAILED) == flags))
}

/// A foreign address that may become ours. Only a host prefix: any other is likely the node's own,
/// and a replacement would not change its prefix route (IPv4) or prefix length (IPv6). An address
/// that the kernel or a routing daemon marked is theirs.
fn may_adopt(address: &Address, adopt: &[Adopt]) -> bool {
    let unmarked = address.proto == 0;
    adopt.contains(&Adopt::KubeVip) && unmarked && address.net == host_prefix(address.net.addr())
}

/// An address that stays, and that the kernel would remove together with `address`: a secondary of
/// the same IPv4 subnet (`__inet_del_ifa`).
fn taken_along(link: &Link, address: &Address, wanted: &BTreeMap<Place, u32>) -> Option<BoundVip> {
    let IpNet::V4(net) = address.net else {
        return None;
    };
    if link.promote_secondaries || net.prefix_len() == 32 || address.flags & IFA_F_SECONDARY != 0 {
        return None;
    }
    link.addresses
        .iter()
        .filter(|other| {
            other.flags & IFA_F_SECONDARY != 0 && other.net.trunc() == net.trunc().into()
        })
        .find(|other| !other.is_ours() || wanted.contains_key(&(link.ifindex, other.net)))
        .map(|other| other.net)
}

#[cfg(test)]
mod tests;
