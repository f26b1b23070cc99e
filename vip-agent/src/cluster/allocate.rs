//! Where an address may come from: pools, and what the LAN says of their addresses.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use super::{
    Cluster, annotation::Wish, family::Family, forbidden::Judge, pool::Pool, refusal::Refusal,
    service::Service, sharing::Tenants,
};
use crate::vip::Mac;

/// What probes for an address found (`wire.md`, rule 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanAnswer {
    /// Nobody answers.
    Free,
    /// This MAC answers.
    Answered(Mac),
}

/// What probes found lately. An address that is missing is unknown: nobody has asked, or the
/// answer is too old to count.
pub type LanAnswers = BTreeMap<IpAddr, LanAnswer>;

/// An address that a Service can have.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) address: IpAddr,
    /// The pool that it lies in.
    pub(super) pool: Option<String>,
    /// Nobody knows yet whether the LAN answers for it.
    pub(super) unproven: bool,
}

/// The addresses of one pool and family that were not looked at yet.
struct Walk {
    /// Those that are known to be free.
    free: std::vec::IntoIter<IpAddr>,
    all: Box<dyn Iterator<Item = IpAddr>>,
}

/// Gives out addresses, one Service after the other.
pub(super) struct Stock<'a> {
    cluster: &'a Cluster,
    pub(super) judge: Judge<'a>,
    lan: &'a LanAnswers,
    /// Who has what, those that wait included.
    pub(super) tenants: HashMap<IpAddr, Tenants<'a>>,
    /// Addresses of Services with a share key.
    shared: HashMap<(&'a str, Family), BTreeSet<IpAddr>>,
    /// Pools in the order in which Services are served from them.
    pools: Vec<&'a Pool>,
    walks: HashMap<(&'a str, Family), Walk>,
    /// Offers that nobody took.
    returned: BTreeSet<IpAddr>,
    /// The pool of each address that was offered.
    pub(super) origins: HashMap<IpAddr, String>,
    /// Addresses that are to be probed, those that a Service waits for first.
    pub(super) probe: Vec<IpAddr>,
    /// The same, to be looked up.
    asked: HashSet<IpAddr>,
}

impl<'a> Stock<'a> {
    pub(super) fn new(cluster: &'a Cluster, judge: Judge<'a>, lan: &'a LanAnswers) -> Self {
        let mut pools: Vec<_> = cluster.pools.values().collect();
        pools.sort_by_key(|pool| !pool.is_dedicated());
        Self {
            cluster,
            judge,
            lan,
            tenants: HashMap::new(),
            shared: HashMap::new(),
            pools,
            walks: HashMap::new(),
            returned: BTreeSet::new(),
            origins: HashMap::new(),
            probe: Vec::new(),
            asked: HashSet::new(),
        }
    }

    /// Lets a Service have an address, or wait for it.
    pub(super) fn join(&mut self, address: IpAddr, service: &'a Service, waits: bool) {
        self.tenants
            .entry(address)
            .or_default()
            .join(service, waits);
        if let Some(key) = service.share_key() {
            let of_key = (key, Family::of(address));
            self.shared.entry(of_key).or_default().insert(address);
        }
    }

    /// Lets a Service have what it was offered.
    pub(super) fn accept(&mut self, offer: Offer, service: &'a Service, waits: bool) {
        if offer.unproven {
            self.ask(offer.address);
        }
        if let Some(pool) = offer.pool {
            self.origins.entry(offer.address).or_insert(pool);
        }
        self.join(offer.address, service, waits);
    }

    fn ask(&mut self, address: IpAddr) {
        if self.asked.insert(address) {
            self.probe.push(address);
        }
    }

    /// Takes an offer back that cannot be accepted.
    pub(super) fn give_back(&mut self, offer: &Offer) {
        self.returned.insert(offer.address);
    }

    /// Pools say whether a Service may have an address that it names: the pool that it lies in,
    /// none where there is no pool at all.
    pub(super) fn pool_for(
        &self,
        service: &Service,
        wish: &Wish,
        address: IpAddr,
    ) -> Result<Option<&'a Pool>, Refusal> {
        if let Some(name) = &wish.pool {
            let pool = self.named(service, name)?;
            return match pool.contains(address) {
                true => Ok(Some(pool)),
                false => Err(Refusal::OutsidePool {
                    address,
                    pool: name.clone(),
                }),
            };
        }
        if self.pools.is_empty() {
            return Ok(None);
        }
        let mut refusal = Refusal::OutsidePools { address };
        for pool in self.pools.iter().filter(|pool| pool.contains(address)) {
            match pool.admits(service, self.labels_of_namespace(service)) {
                Ok(()) => return Ok(Some(pool)),
                Err(not_admitted) => refusal = not_admitted,
            }
        }
        Err(refusal)
    }

    fn labels_of_namespace(&self, service: &Service) -> Option<&'a super::Labels> {
        self.cluster.namespaces.get(&*service.key.namespace)
    }

    fn named(&self, service: &Service, name: &str) -> Result<&'a Pool, Refusal> {
        let Some(pool) = self.cluster.pools.get(name) else {
            return Err(Refusal::NoSuchPool { pool: name.into() });
        };
        pool.admits(service, self.labels_of_namespace(service))?;
        Ok(pool)
    }

    /// The address that a Service names.
    pub(super) fn explicit(
        &self,
        service: &Service,
        wish: &Wish,
        address: IpAddr,
    ) -> Result<Offer, Refusal> {
        if let Some(refusal) = self.judge.forbids(address) {
            return Err(refusal);
        }
        let pool = self.pool_for(service, wish, address)?;
        let tenants = self.tenants.get(&address);
        let admitted = tenants.map_or(Ok(()), |tenants| tenants.admit(service));
        admitted.map_err(|(holder, clash)| Refusal::Taken {
            address,
            holder,
            clash,
        })?;
        // Our own agents answer for it, or whoever it is taken over from.
        let is_given = self.cluster.vips.contains_key(&address)
            || tenants.is_some_and(|tenants| tenants.settled().next().is_some());
        let unproven = match self.lan.get(&address) {
            _ if is_given => false,
            Some(LanAnswer::Free) => false,
            Some(LanAnswer::Answered(mac)) => return Err(Refusal::Answered { address, mac: *mac }),
            None => true,
        };
        Ok(Offer {
            address,
            pool: pool.map(|pool| pool.name.clone()),
            unproven,
        })
    }

    /// An address of a pool.
    pub(super) fn any(
        &mut self,
        service: &'a Service,
        wish: &'a Wish,
        family: Family,
    ) -> Result<Offer, Refusal> {
        let pools = match &wish.pool {
            Some(name) => vec![self.named(service, name)?],
            None => {
                let labels = self.labels_of_namespace(service);
                let pools = self.pools.iter().copied();
                pools
                    .filter(|pool| pool.auto_assign && pool.admits(service, labels).is_ok())
                    .collect()
            }
        };
        let pools: Vec<&Pool> = pools
            .into_iter()
            .filter(|pool| pool.addresses.has(family))
            .collect();
        if pools.is_empty() {
            return Err(Refusal::NoPool { family });
        }
        if let Some(offer) = self.beside_others(service, wish, family, &pools) {
            return Ok(offer);
        }
        pools
            .iter()
            .find_map(|pool| self.next_of(pool, family))
            .ok_or_else(|| Refusal::Exhausted {
                family,
                pools: pools.iter().map(|pool| pool.name.clone()).collect(),
            })
    }

    /// An address that Services of the same key have already.
    fn beside_others(
        &self,
        service: &Service,
        wish: &'a Wish,
        family: Family,
        pools: &[&Pool],
    ) -> Option<Offer> {
        let key = wish.share_key.as_deref()?;
        let addresses = self.shared.get(&(key, family))?;
        addresses.iter().find_map(|address| {
            let pool = pools.iter().find(|pool| pool.contains(*address))?;
            let tenants = self.tenants.get(address)?;
            tenants.admit(service).ok()?;
            Some(Offer {
                address: *address,
                pool: Some(pool.name.clone()),
                unproven: self.asked.contains(address),
            })
        })
    }

    fn is_available(&self, address: IpAddr) -> bool {
        !self.cluster.vips.contains_key(&address)
            && self.tenants.get(&address).is_none_or(Tenants::is_empty)
            && self.judge.forbids(address).is_none()
    }

    /// The next address of a pool that nobody has: one that is known to be free before one that
    /// nobody asked for yet.
    fn next_of(&mut self, pool: &'a Pool, family: Family) -> Option<Offer> {
        let offer = |address, unproven| {
            Some(Offer {
                address,
                pool: Some(pool.name.clone()),
                unproven,
            })
        };
        let returned = self.returned.iter().copied();
        let mut of_pool = returned.filter(|a| Family::of(*a) == family && pool.contains(*a));
        if let Some(address) = of_pool.find(|address| self.is_available(*address)) {
            self.returned.remove(&address);
            return offer(address, !self.lan.contains_key(&address));
        }
        let lan = self.lan;
        let mut walk = self
            .walks
            .remove(&(pool.name.as_str(), family))
            .unwrap_or_else(|| Walk::new(pool, family, lan));
        let free = walk.free.find(|address| self.is_available(*address));
        let found = match free {
            Some(address) => offer(address, false),
            None => walk
                .all
                .find(|address| !lan.contains_key(address) && self.is_available(*address))
                .and_then(|address| offer(address, true)),
        };
        self.walks.insert((pool.name.as_str(), family), walk);
        found
    }

    /// Asks for addresses that Services may want next.
    pub(super) fn probe_ahead(&mut self, count: usize) {
        let pools: Vec<_> = self
            .pools
            .iter()
            .copied()
            .filter(|p| p.auto_assign)
            .collect();
        for pool in pools {
            for family in [Family::Ipv4, Family::Ipv6] {
                for _ in 0..count {
                    match self.next_of(pool, family) {
                        // Of two pools that overlap, one has asked.
                        Some(offer) if offer.unproven => self.ask(offer.address),
                        Some(_) => {}
                        None => break,
                    }
                }
            }
        }
    }
}

impl Walk {
    fn new(pool: &Pool, family: Family, lan: &LanAnswers) -> Self {
        let free = lan
            .iter()
            .filter(|(address, answer)| {
                **answer == LanAnswer::Free
                    && Family::of(**address) == family
                    && pool.contains(**address)
            })
            .map(|(address, _)| *address);
        Self {
            free: free.collect::<Vec<_>>().into_iter(),
            all: Box::new(pool.addresses.of(family)),
        }
    }
}
