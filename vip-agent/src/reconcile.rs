//! What has to change in the kernel: `plan(desired, rights, observed) -> Plan`.
//!
//! Every VIP that an interface can carry is programmed. Gain: map entry, bind, entry live,
//! announce. Loss: fence, unbind; when the VIP is gone, remove the entry.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use vip_common::abi::{ANY_INTERFACE, SLOT_NEVER, VipEntry, VipKey};

use crate::{
    binding::{self, AddressChange, Adopt, BindingPlan, Kind, Place, Refusal, Wanted},
    counter_index::CounterIndices,
    desired::{Home, Placement},
    host::Host,
    rights::{Claim, Rights},
    vip::BoundVip,
};

/// The entries of `VIPS`, as they were last written.
pub type Programmed = HashMap<VipKey, VipEntry>;

/// The changes, in the order in which they are made.
#[derive(Debug, Default)]
pub struct Plan {
    /// Live entries that lose their right: to be pointed at the slot that is never live.
    pub fence: Vec<(VipKey, VipEntry)>,
    /// New entries: not live yet, unless the address is bound already. Such a one is answered by
    /// the kernel's own stack until now, and would be silent in between. Also entries that stay
    /// silent, and whose interface has another MAC address.
    pub program: Vec<(VipKey, VipEntry)>,
    /// Addresses.
    pub binding: BindingPlan,
    /// Entries to complete once their address is bound ([`Plan::place_of`]).
    pub complete: Vec<(VipKey, VipEntry)>,
    /// Entries of VIPs that are gone.
    pub remove: Vec<VipKey>,
    /// Where each VIP with a home is bound.
    places: HashMap<VipKey, Place>,
}

impl Plan {
    /// The address that must be bound before an entry is completed.
    pub fn place_of(&self, key: &VipKey) -> Option<Place> {
        self.places.get(key).copied()
    }

    /// What to bind, some at a time, each with the entries that can be completed after it: of a
    /// thousand VIPs none waits for all. Those that wait for no address come first.
    pub fn in_parts<'a>(&self, wanted: &'a [AddressChange], size: usize) -> Vec<Part<'a>> {
        let nothing = std::iter::once(&[][..]);
        let mut parts: Vec<Part<'a>> = nothing
            .chain(wanted.chunks(size))
            .map(|bind| Part {
                bind,
                complete: Vec::new(),
            })
            .collect();
        let part_of: HashMap<Place, usize> = (wanted.iter().enumerate())
            .map(|(at, change)| (change.place(), 1 + at / size))
            .collect();
        for entry in &self.complete {
            let place = self.places.get(&entry.0);
            let at = place.and_then(|place| part_of.get(place));
            parts[at.copied().unwrap_or(0)].complete.push(*entry);
        }
        parts
    }

    /// Leaves alone what is about other VIPs than these: of a plan that was made before all VIPs
    /// are known.
    pub fn confine(&mut self, vips: &HashSet<IpAddr>) {
        self.fence.retain(|(key, _)| vips.contains(&key.ip()));
        self.remove.retain(|key| vips.contains(&key.ip()));
        // Of a cover it is not known whose it is.
        let is_about = |net: BoundVip| vips.contains(&net.addr());
        self.binding.remove.retain(|change| is_about(change.net));
        (self.binding.refused).retain(|((_, net), _)| is_about(*net) || binding::is_cover(*net));
    }

    /// Nothing is left to do.
    pub fn is_settled(&self) -> bool {
        self.fence.is_empty()
            && self.program.is_empty()
            && self.complete.is_empty()
            && self.remove.is_empty()
            && self.binding.is_settled()
    }
}

/// Some of the addresses that a plan binds.
#[derive(Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The addresses.
    pub bind: &'a [AddressChange],
    /// The entries to complete once they are bound.
    pub complete: Vec<(VipKey, VipEntry)>,
}

/// How VIPs are bound, and whose addresses are taken over.
#[derive(Clone, Copy, Debug)]
pub struct BindPolicy<'a> {
    /// The VIPs that this node holds: themselves, or their multicast groups alone. Of the others
    /// it is always the groups, so that a successor hears questions from its first instant on.
    pub held: Kind,
    /// After how many seconds the kernel removes an address that nobody refreshes.
    pub valid_lft: u32,
    /// See [`binding::plan`].
    pub adopt: &'a [Adopt],
}

/// Compares what is desired with what is programmed and bound.
pub fn plan(
    desired: &[Placement],
    rights: &Rights,
    policy: BindPolicy<'_>,
    programmed: &Programmed,
    host: &Host,
    counters: &mut CounterIndices,
) -> Plan {
    let homes = || {
        desired
            .iter()
            .filter_map(|placed| Some((placed.vip, placed.home.as_ref().ok()?)))
    };
    let wanted: Vec<Wanted> = homes()
        .map(|(vip, home)| Wanted {
            vip: home.net,
            ifindex: home.ifindex,
            kind: rights.to(vip).map_or(Kind::Group, |_| policy.held),
            valid_lft: policy.valid_lft,
        })
        .collect();
    let binding = binding::plan(&wanted, host, policy.adopt);
    let hopeless: HashSet<Place> = binding
        .refused
        .iter()
        .filter(|(_, refusal)| cannot_be_served(refusal))
        .map(|(place, _)| *place)
        .collect();

    // Without its entries, an address that stays would be answered by the kernel's own stack.
    let stuck: HashSet<IpAddr> = binding.stuck().map(|((_, net), _)| net.addr()).collect();
    let bound: HashSet<Place> = (binding.adopted.iter().copied())
        .chain(binding.replace.iter().map(AddressChange::place))
        .collect();

    let mut plan = Plan {
        binding,
        ..Plan::default()
    };
    let mut target = Programmed::with_capacity(desired.len() * 2);
    for (vip, home) in homes() {
        let place = (home.ifindex, home.net);
        let claim = rights.to(vip).filter(|_| !hopeless.contains(&place));
        let key = VipKey::new(vip, home.ifindex);
        target.insert(key, entry(home, host, claim, counters.take(vip)));
        target.insert(VipKey::new(vip, ANY_INTERFACE), VipEntry::default());
        plan.places.insert(key, place);
    }
    for (key, entry) in programmed {
        match target.get(key) {
            Some(goal) if goal.slot == entry.slot => {}
            _ if entry.slot == SLOT_NEVER => {}
            _ => plan.fence.push((
                *key,
                VipEntry {
                    slot: SLOT_NEVER,
                    ..*entry
                },
            )),
        }
        if !target.contains_key(key) && !stuck.contains(&key.ip()) {
            plan.remove.push(*key);
        }
    }
    for (key, goal) in target {
        let there = programmed.get(&key);
        if there.is_none() {
            let is_bound = plan.places.get(&key).is_some_and(|at| bound.contains(at));
            let slot = if is_bound { goal.slot } else { SLOT_NEVER };
            plan.program.push((key, VipEntry { slot, ..goal }));
        }
        if goal.slot != SLOT_NEVER && there != Some(&goal) {
            plan.complete.push((key, goal));
        } else if there.is_some_and(|there| there.mac != goal.mac) {
            plan.program.push((key, goal));
        }
    }
    // An interface without an entry of its own falls back to this one, which is never live.
    plan.program
        .sort_by_key(|(key, _)| key.ifindex == ANY_INTERFACE);
    plan
}

/// The interface cannot carry the address now. Where somebody else stands in its way, the VIP is
/// answered all the same.
fn cannot_be_served(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::NoLink | Refusal::MtuTooSmall(_) | Refusal::Ipv6Disabled
    )
}

fn entry(home: &Home, host: &Host, claim: Option<Claim>, counter: u32) -> VipEntry {
    let mac = host.links.get(&home.ifindex).and_then(|link| link.mac);
    let claim = claim.filter(|_| mac.is_some()).unwrap_or_default();
    VipEntry {
        mac: mac.unwrap_or_default().0,
        slot: claim.slot,
        counter,
        epoch: claim.epoch,
        yields_void_before_ns: claim.yields_void_before_ns,
        ..VipEntry::default()
    }
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
