//! What the allocator writes, from what is known.
//!
//! First every Service keeps what it has, then Services get what they lack, the oldest first.
//! Every check is made when an address is first taken, and only said of one that is kept.
//!
//! An address goes through three decisions. One finds it in [`Decision::probe`]: whether the LAN
//! answers for it is unknown, and the Service waits. The next, told that it is free, creates its
//! `Vip`; an address of a pool that is answered is passed over, one that a Service names is
//! refused. When the `Vip` is there, a third writes it into the Service's status. The way back:
//! the status first, then the `Vip`.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use k8s_openapi::jiff::Timestamp;

use super::{
    Cluster,
    allocate::{LanAnswers, Offer, Stock},
    assign::{self, Deletion, Update},
    family::{Family, FamilyPolicy},
    forbidden::{Forbidden, Judge},
    holding::Claimant,
    pool::PoolStatus,
    refusal::Refusal,
    report::{self, Report, ServiceStatus},
    service::{Service, ServiceKey},
    settings::Settings,
    vip::Assignment,
};

/// What there is to write. Applied, and asked for anew with what was written, it comes to rest
/// empty but for `reports`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Addresses to ask the LAN for: first those that a Service waits for.
    pub probe: Vec<IpAddr>,
    /// `Vip`s to create.
    pub create: Vec<Assignment>,
    /// `Vip`s to write anew.
    pub update: Vec<Update>,
    /// `Vip`s to delete.
    pub delete: Vec<Deletion>,
    /// Services whose status is another than it ought to be.
    pub statuses: Vec<ServiceStatus>,
    /// Pools whose status is another than it ought to be.
    pub pools: BTreeMap<String, PoolStatus>,
    /// What there is to say of Services of ours that wait, are refused, or need a warning.
    pub reports: BTreeMap<ServiceKey, Report>,
}

impl Decision {
    /// There is nothing to do.
    pub fn is_settled(&self) -> bool {
        self.probe.is_empty()
            && self.create.is_empty()
            && self.update.is_empty()
            && self.delete.is_empty()
            && self.statuses.is_empty()
            && self.pools.is_empty()
    }
}

/// Decides. Before every kind was listed once: nothing, since what is unknown is not gone.
pub fn decide(
    cluster: &Cluster,
    settings: &Settings,
    forbidden: &Forbidden,
    lan: &LanAnswers,
) -> Decision {
    if !cluster.is_complete() {
        return Decision::default();
    }
    let services = cluster.services.values();
    let mut ours: Vec<&Service> = services
        .filter(|service| service.is_ours(settings))
        .collect();
    ours.sort_by_key(|service| (service.created.unwrap_or(Timestamp::MAX), &service.key));
    let mut named: HashMap<&ServiceKey, Vec<IpAddr>> = HashMap::new();
    let standing = cluster.vips.values().map(|vip| &vip.assignment);
    let assigned = standing.chain(cluster.promised.values());
    for assignment in assigned.filter(|assignment| !assignment.control_plane) {
        for service in &assignment.services {
            named.entry(service).or_default().push(assignment.address);
        }
    }
    let mut stock = Stock::new(cluster, Judge::new(cluster, forbidden), lan);
    let mut claimants: Vec<Claimant<'_>> = ours
        .into_iter()
        .map(|service| {
            let named = named.get(&service.key).map_or(&[][..], Vec::as_slice);
            Claimant::new(service, named, cluster, &mut stock)
        })
        .collect();
    let kept: Vec<Vec<IpAddr>> = claimants.iter().map(Claimant::has).collect();
    for claimant in &mut claimants {
        claimant.settle(&mut stock);
    }
    for (claimant, mut kept) in claimants.iter_mut().zip(kept) {
        let has = claimant.has();
        kept.retain(|address| has.contains(address));
        claimant.check_kept(&kept, &stock);
    }
    stock.probe_ahead(settings.probe_ahead);
    let mut decision = Decision {
        probe: std::mem::take(&mut stock.probe),
        pools: report::pools(cluster),
        ..Decision::default()
    };
    assign::compare(cluster, &stock, &mut decision);
    report::services(cluster, settings, claimants, &mut decision);
    decision
}

impl<'a> Claimant<'a> {
    /// Addresses that it has, for good or meanwhile.
    fn has(&self) -> Vec<IpAddr> {
        let slots = self.slots.iter();
        slots
            .filter_map(|slot| slot.target.or(slot.meanwhile))
            .collect()
    }

    /// Gets the Service what it lacks.
    fn settle(&mut self, stock: &mut Stock<'a>) {
        let service = self.service;
        let Ok(wish) = &service.wish else {
            return;
        };
        let mut offers: Vec<(usize, Offer)> = Vec::new();
        let mut refused: Vec<(Family, Refusal)> = Vec::new();
        for (index, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.wants) {
            let offer = match wish.named(slot.family) {
                Some(address) => stock.explicit(service, wish, address),
                None => stock.any(service, wish, slot.family),
            };
            match offer {
                Ok(offer) => offers.push((index, offer)),
                Err(refusal) => refused.push((slot.family, refusal)),
            }
        }
        let has_any = !offers.is_empty() || !self.has().is_empty();
        if service.policy == FamilyPolicy::PreferDualStack && has_any {
            // The second family is a wish: where no pool has it, one is enough.
            refused.retain(|(_, why)| {
                !matches!(why, Refusal::NoPool { .. } | Refusal::Exhausted { .. })
            });
        }
        if service.policy == FamilyPolicy::RequireDualStack {
            let lacks = |family: &Family| {
                let mut slots = self.slots.iter();
                slots.any(|slot| slot.family == *family && slot.meanwhile.is_none())
            };
            let missing = refused.iter().map(|(family, _)| *family).find(lacks);
            if let Some(missing) = missing {
                for (_, offer) in offers.drain(..) {
                    stock.give_back(&offer);
                }
                refused.push((missing, Refusal::BothOrNone { missing }));
            }
        }
        self.refusals
            .extend(refused.into_iter().map(|(_, refusal)| refusal));
        let one_waits = offers.iter().any(|(_, offer)| offer.unproven);
        for (index, offer) in offers {
            let waits = match service.policy {
                FamilyPolicy::RequireDualStack => one_waits,
                _ => offer.unproven,
            };
            if waits {
                self.waits_for.push(offer.address);
            }
            self.slots[index].target = Some(offer.address);
            stock.accept(offer, service, waits);
        }
    }
}
