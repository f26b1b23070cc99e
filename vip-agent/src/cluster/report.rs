//! What Services and pools are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    Cluster,
    condition::{ALLOCATED, Condition, OVERLAPPING, VALID, WARNING},
    decide::Decision,
    family::FamilyPolicy,
    holding::{Claimant, Slot},
    pool::{Pool, PoolStatus},
    refusal::{Refusal, Warning},
    service::{Service, ServiceKey},
    settings::Settings,
};

/// What there is to say of a Service, for Events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Addresses that are being asked for on the LAN. What was refused before is no less true
    /// while the question is asked again.
    pub waits_for: Vec<IpAddr>,
    /// What it does not get, and why.
    pub refusals: Vec<Refusal>,
    /// What else its users should know.
    pub warnings: Vec<Warning>,
}

/// A status to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// The Service.
    pub service: ServiceKey,
    /// Its life.
    pub uid: String,
    /// All of its addresses, in the order of its families; each with `ipMode: VIP`.
    pub ingress: Vec<IpAddr>,
    /// All of its conditions of ours.
    pub conditions: Vec<Condition>,
}

/// Says which Services need another status.
pub(super) fn services(
    cluster: &Cluster,
    settings: &Settings,
    claimants: Vec<Claimant<'_>>,
    decision: &mut Decision,
) {
    for claimant in claimants {
        let service = claimant.service;
        let conditions = claimant.conditions();
        let ingress = claimant.ingress(cluster);
        let stands = |address: &IpAddr| names(cluster, *address, &service.key);
        let is_shown = match ingress.is_empty() {
            // A host name is somebody else's.
            true => service.ingress.addresses.is_empty(),
            false => service.ingress.is_plain && service.ingress.addresses == ingress,
        };
        // Only addresses that have a `Vip` are written.
        if ingress.iter().all(stands) && !(is_shown && service.conditions == conditions) {
            decision.statuses.push(ServiceStatus {
                service: service.key.clone(),
                uid: service.uid.clone(),
                ingress,
                conditions,
            });
        }
        let report = Report {
            waits_for: claimant.waits_for,
            refusals: claimant.refusals,
            warnings: claimant.warnings,
        };
        if report != Report::default() {
            decision.reports.insert(service.key.clone(), report);
        }
    }
    released(cluster, settings, decision);
}

fn names(cluster: &Cluster, address: IpAddr, service: &ServiceKey) -> bool {
    let vip = cluster.vips.get(&address);
    vip.is_some_and(|vip| vip.assignment.services.contains(service))
}

/// Clears the status of Services that are no more ours and still show what they had from us.
fn released(cluster: &Cluster, settings: &Settings, decision: &mut Decision) {
    let vips = cluster.vips.values();
    let named = vips.flat_map(|vip| {
        let services = vip.assignment.services.iter();
        services.map(|service| (service, vip.assignment.address))
    });
    let shown = named.filter_map(|(key, address)| {
        let service = cluster.services.get(key)?;
        let shows = service.ingress.addresses.contains(&address);
        shows.then_some(service)
    });
    let marked = cluster
        .services
        .values()
        .filter(|s| !s.conditions.is_empty());
    let left: BTreeMap<&ServiceKey, &Service> = shown
        .chain(marked)
        .filter(|service| !service.is_ours(settings))
        .map(|service| (&service.key, service))
        .collect();
    for service in left.into_values() {
        decision.statuses.push(ServiceStatus {
            service: service.key.clone(),
            uid: service.uid.clone(),
            ingress: Vec::new(),
            conditions: Vec::new(),
        });
    }
}

impl Claimant<'_> {
    /// The addresses that its status ought to show by now.
    fn ingress(&self, cluster: &Cluster) -> Vec<IpAddr> {
        let service = self.service;
        let shows = |address: &IpAddr| service.ingress.addresses.contains(address);
        let stands = |address: &IpAddr| names(cluster, *address, &service.key);
        let target = |slot: &Slot| slot.target.filter(|a| stands(a) || shows(a));
        let ready = |slot: &Slot| target(slot).or(slot.meanwhile);
        let comes = |slot: &Slot| slot.target.is_some() && ready(slot).is_none();
        let one_comes = self.slots.iter().any(comes);
        let mut ready: Vec<_> = self.slots.iter().filter_map(ready).collect();
        if service.policy == FamilyPolicy::RequireDualStack && one_comes {
            // Both or none: what it had before it asked for both stays.
            ready.retain(shows);
        }
        ready
    }

    fn conditions(&self) -> Vec<Condition> {
        let join = |sentences: Vec<String>| sentences.join(". ");
        let refusals = self.refusals.iter();
        let refusals = refusals.map(|refusal| format!("{refusal}; {}", refusal.fix()));
        let mut standing = self.service.conditions.iter();
        let standing = standing.find(|condition| condition.kind == ALLOCATED);
        let allocated = match (self.refusals.first(), standing) {
            // The question is being asked again: what was said is not taken back for that.
            (_, Some(standing)) if !self.waits_for.is_empty() => Some(standing.clone()),
            (Some(first), _) => Some(Condition::new(
                ALLOCATED,
                false,
                first.reason(),
                join(refusals.collect()),
            )),
            (None, _) => None,
        };
        let warnings = self.warnings.iter().map(ToString::to_string);
        let warning = self
            .warnings
            .first()
            .map(|first| Condition::new(WARNING, true, first.reason(), join(warnings.collect())));
        allocated.into_iter().chain(warning).collect()
    }
}

/// The pools whose status is another than it ought to be.
pub(super) fn pools(cluster: &Cluster) -> BTreeMap<String, PoolStatus> {
    let pools = cluster.pools.values();
    let statuses = pools.map(|pool| (pool, status(pool, cluster)));
    statuses
        .filter(|(pool, status)| pool.status.as_ref() != Some(status))
        .map(|(pool, status)| (pool.name.clone(), status))
        .collect()
}

fn status(pool: &Pool, cluster: &Cluster) -> PoolStatus {
    let total = pool.addresses.count();
    let vips = cluster.vips.keys();
    let used = vips.filter(|address| pool.contains(**address)).count() as u128;
    let others = cluster
        .pools
        .values()
        .filter(|other| other.name != pool.name);
    let overlaps: BTreeSet<_> = others
        .filter_map(|other| {
            let shared = pool.addresses.overlap(&other.addresses)?;
            Some(format!("VipPool {} has {shared}, too", other.name))
        })
        .collect();
    let overlapping = (!overlaps.is_empty()).then(|| {
        let message = overlaps.into_iter().collect::<Vec<_>>().join(". ");
        Condition::new(OVERLAPPING, true, "OtherPool", message)
    });
    let valid = match pool.problems.first() {
        None => Condition::new(VALID, true, "Valid", String::new()),
        Some(first) => {
            let all: Vec<_> = pool.problems.iter().map(ToString::to_string).collect();
            Condition::new(VALID, false, first.reason(), all.join(". "))
        }
    };
    PoolStatus {
        total,
        used,
        free: total.saturating_sub(used),
        conditions: overlapping.into_iter().chain([valid]).collect(),
    }
}
