//! What a Service has, and what it keeps of it.
//!
//! It has what a `Vip` gives it, and, where there is no `Vip`, what its status shows: after the
//! loss of `Vip`s, or when it comes from another load balancer. What it has it keeps, unless it
//! asks for something else itself; and then until that stands.

use std::net::IpAddr;

use super::{
    Cluster,
    allocate::Stock,
    annotation::Wish,
    family::Family,
    refusal::{Refusal, Warning},
    service::Service,
};

/// What becomes of one family of a Service.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) family: Family,
    /// What it keeps, or gets.
    pub(super) target: Option<IpAddr>,
    /// What it has until `target` stands.
    pub(super) meanwhile: Option<IpAddr>,
    /// It is to get something.
    pub(super) wants: bool,
}

/// A Service of ours and what becomes of it.
#[derive(Debug)]
pub(super) struct Claimant<'a> {
    pub(super) service: &'a Service,
    /// In the order of families.
    pub(super) slots: Vec<Slot>,
    pub(super) waits_for: Vec<IpAddr>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) warnings: Vec<Warning>,
}

impl<'a> Claimant<'a> {
    /// Settles what the Service keeps. `named`: addresses whose `Vip` names it.
    pub(super) fn new(
        service: &'a Service,
        named: &[IpAddr],
        cluster: &'a Cluster,
        stock: &mut Stock<'a>,
    ) -> Self {
        let mut claimant = Self {
            service,
            slots: Vec::new(),
            waits_for: Vec::new(),
            refusals: service.wish.as_ref().err().cloned().unwrap_or_default(),
            warnings: Vec::new(),
        };
        let mut held = named.to_vec();
        held.extend(claimant.adopted(cluster, stock));
        let wish = service.wish.as_ref().ok();
        let wish = wish.filter(|wish| claimant.wants_possible(wish));
        for family in service.wanted_families() {
            let slot = claimant.slot(*family, &held, wish, cluster);
            for kept in [slot.target, slot.meanwhile].into_iter().flatten() {
                stock.join(kept, service, false);
            }
            claimant.slots.push(slot);
        }
        // An address that it has no more stays its own until its status says so.
        for leaving in named {
            let is_kept = |slot: &Slot| [slot.target, slot.meanwhile].contains(&Some(*leaving));
            if !claimant.slots.iter().any(is_kept) && service.ingress.addresses.contains(leaving) {
                stock.join(*leaving, service, false);
            }
        }
        claimant
    }

    /// Addresses of its status that have no `Vip`.
    fn adopted(&mut self, cluster: &Cluster, stock: &Stock<'_>) -> Vec<IpAddr> {
        let mut adopted = Vec::new();
        for address in &self.service.ingress.addresses {
            let wanted = self.service.wanted_families();
            if cluster.vips.contains_key(address) || !wanted.contains(&Family::of(*address)) {
                continue;
            }
            let clash = stock.tenants.get(address).map(|tenants| {
                let admitted = tenants.admit_without_key(self.service);
                admitted.map_err(|(holder, clash)| Refusal::Taken {
                    address: *address,
                    holder,
                    clash,
                })
            });
            let refusal = stock.judge.forbids_everywhere(*address);
            match refusal.or_else(|| clash.and_then(Result::err)) {
                Some(why) => self.warnings.push(Warning::NotAdopted {
                    address: *address,
                    why,
                }),
                None => adopted.push(*address),
            }
        }
        adopted
    }

    /// Whether any address that it names is of a family that it has.
    fn wants_possible(&mut self, wish: &Wish) -> bool {
        let families = self.service.wanted_families();
        let (usable, other): (Vec<_>, Vec<_>) = wish
            .addresses
            .iter()
            .copied()
            .partition(|address| families.contains(&Family::of(*address)));
        if usable.is_empty() && !other.is_empty() {
            let refused = other
                .into_iter()
                .map(|address| Refusal::OtherFamily { address });
            self.refusals.extend(refused);
            return false;
        }
        let ignored = other
            .into_iter()
            .map(|address| Warning::Ignored { address });
        self.warnings.extend(ignored);
        true
    }

    fn slot(
        &self,
        family: Family,
        held: &[IpAddr],
        wish: Option<&Wish>,
        cluster: &Cluster,
    ) -> Slot {
        let pool = wish.and_then(|wish| cluster.pools.get(wish.pool.as_ref()?));
        let taken_from = |address: &IpAddr| {
            let vip = cluster.vips.get(address)?;
            vip.assignment.pool.as_deref()
        };
        // Its own annotation names another pool than the one that the address was taken from. A
        // pool that has lost an address since is no reason.
        let misplaced = |address: &IpAddr| {
            pool.is_some_and(|pool| {
                !pool.contains(*address) && taken_from(address) != Some(&*pool.name)
            })
        };
        let best = held
            .iter()
            .filter(|address| Family::of(**address) == family)
            .min_by_key(|address| {
                let is_shown = self.service.ingress.addresses.contains(address);
                let has_vip = cluster.vips.contains_key(address);
                (misplaced(address), !has_vip, !is_shown, **address)
            })
            .copied();
        let named = wish.and_then(|wish| wish.named(family));
        let keeps = match (named, best) {
            (Some(named), _) => held.contains(&named).then_some(named),
            // It names no address, or what it names means nothing.
            (None, best) => best.filter(|best| wish.is_none() || !misplaced(best)),
        };
        Slot {
            family,
            target: keeps,
            meanwhile: best.filter(|_| keeps.is_none()),
            wants: wish.is_some() && keeps.is_none(),
        }
    }

    /// Says what it keeps and would not get today.
    pub(super) fn check_kept(&mut self, kept: &[IpAddr], stock: &Stock<'_>) {
        let Ok(wish) = &self.service.wish else {
            return;
        };
        for address in kept.iter().copied() {
            let forbidden = stock.judge.forbids_everywhere(address);
            let outside = || stock.pool_for(self.service, wish, address).err();
            let clash = || {
                let (holder, clash) = stock.tenants.get(&address)?.admit(self.service).err()?;
                Some(Refusal::Taken {
                    address,
                    holder,
                    clash,
                })
            };
            if let Some(why) = forbidden.or_else(outside).or_else(clash) {
                self.warnings.push(Warning::Kept { address, why });
            }
        }
    }
}
