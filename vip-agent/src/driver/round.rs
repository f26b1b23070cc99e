//! One reconciliation: observe, compare, change.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::Instant,
};

use jiff::Timestamp;
use vip_common::abi::{ANY_INTERFACE, HostMac, LinkEntry, SLOT_NEVER, VipEntry, VipKey};

use super::{Driver, RESYNC, RETRY, Record, guard::Pass, lessee::Duty};
use crate::{
    announce,
    binding::{self, AddressChange, Kind, Operation, Place},
    config::{Adopt, Bind, Ownership, VipSpec},
    desired::{self, Homeless, Placement},
    event::{Fact, InterfaceFact, NodeFact, VipFact},
    frame::Sender,
    host::{FOR_EVER, Host, Link},
    io::datapath::DatapathError,
    reconcile::{self, BindPolicy, Plan},
    status::VipState,
};

/// Seconds after which the kernel removes an address of a node that holds a session, if no agent
/// refreshes it: longer than any restart. Not shorter, since a refresh is dear: for each IPv6 address
/// the kernel reports every multicast group of the interface anew (`ipv6_find_idev`), 85 ms for 500.
const VALID_LFT: u32 = 900;

/// Addresses that are bound before what waits for them is made live.
const PART: usize = 64;

impl Driver {
    /// Makes the kernel what the configuration wants it to be, as far as it goes.
    pub(super) async fn round(&mut self) {
        let began = Instant::now();
        match self.netlink.observe().await {
            Ok(host) => self.notice(host),
            Err(error) => return self.failed("observe", error),
        }
        self.look_at_entries();
        if let Err(error) = self.tell_programs_of_links() {
            self.failed("links", error);
        }
        self.guard_interfaces(Pass::Fresh);
        self.tell_announcer_of_links();
        self.listen();
        let unbound = self.kubernetes.as_ref().is_some_and(|k| k.unbound);
        if let Some(desired) = self.desired().filter(|_| !unbound) {
            if let Err(error) = self.place_vips(&desired).await {
                self.failed("program", error);
            }
            self.guard_interfaces(Pass::Inherited);
        }
        self.watch_others();
        self.tell_serves();
        self.tell_where();
        self.rounds += 1;
        self.metrics.reconciled(began.elapsed());
        let now = self.now();
        if let Some(kubernetes) = &mut self.kubernetes {
            kubernetes.view.took(began.elapsed(), now);
        }
    }

    /// Once in [`RESYNC`], and at SIGHUP, whether the map holds what was written: an entry that
    /// somebody removed leaves its VIP to the kernel's own stack, or silent.
    fn look_at_entries(&mut self) {
        let now = self.now();
        if now < self.look_at {
            return;
        }
        self.look_at = now + RESYNC;
        let looked = self.entries.lock().look();
        let error = match looked {
            Ok(0) => return,
            Ok(count) => format!("{count} entries of VIPS were changed by somebody: made good"),
            Err(error) => error.to_string(),
        };
        let part = "entries";
        self.tell(Fact::Node(NodeFact::ReconcileFailed { part, error }));
    }

    /// The VIPs to be placed. Those of the control plane are known before all others.
    fn desired(&self) -> Option<Vec<VipSpec>> {
        let plane = self.kubernetes.as_ref().and_then(|k| k.plane.as_ref());
        let of_plane = plane.into_iter().flat_map(|plane| plane.specs());
        match &self.desired {
            Some(desired) => Some(desired.iter().cloned().chain(of_plane).collect()),
            None => plane.is_some().then(|| of_plane.collect()),
        }
    }

    /// Takes in what was observed.
    fn notice(&mut self, host: Host) {
        let before = std::mem::replace(&mut self.host, host);
        if let Some(plane) = self.kubernetes.as_ref().and_then(|k| k.plane.as_ref()) {
            let own = self.host.links.values().flat_map(|link| &link.addresses);
            let own = own.filter(|address| !address.is_ours());
            plane.set_addresses(own.map(|address| address.net.addr()));
        }
        if self.rounds == 0 {
            return;
        }
        for link in self.host.links.values() {
            let Some(was) = before.links.get(&link.ifindex) else {
                continue;
            };
            let (carries, carried) = (link.up && link.carrier, was.up && was.carrier);
            if carries != carried {
                let what = if carries {
                    InterfaceFact::Up
                } else {
                    InterfaceFact::Down
                };
                self.tell(Fact::interface(&link.name, what));
            } else if carries && link.carrier_ups != was.carrier_ups {
                // What was sent in between is lost, and the switch may have forgotten us.
                self.tell(Fact::interface(&link.name, InterfaceFact::Bounced));
                self.announcer.link_up(link.ifindex);
            }
            if let Some(mac) = link.mac.filter(|_| link.mac != was.mac) {
                self.tell(Fact::interface(&link.name, InterfaceFact::MacChanged(mac)));
            }
        }
    }

    /// `LINKS` and `HOST_MACS`.
    fn tell_programs_of_links(&mut self) -> Result<(), DatapathError> {
        let (mut links, mut macs) = (HashMap::new(), HashMap::new());
        for link in self.host.links.values() {
            if let Some(mac) = link.mac {
                links.insert(link.ifindex, self.link_entry(link));
                macs.insert(
                    HostMac {
                        mac: mac.0,
                        reserved: 0,
                    },
                    link.ifindex,
                );
            }
        }
        for (ifindex, entry) in &links {
            if self.links.get(ifindex) != Some(entry) {
                self.tables.links.upsert(*ifindex, *entry)?;
            }
        }
        for (mac, ifindex) in &macs {
            if self.macs.get(mac) != Some(ifindex) {
                self.tables.host_macs.upsert(*mac, *ifindex)?;
            }
        }
        if self.rounds == 0 {
            // What an earlier process left is not in our copy.
            for (ifindex, _) in self.tables.links.all()? {
                self.links.entry(ifindex).or_default();
            }
            for (mac, ifindex) in self.tables.host_macs.all()? {
                self.macs.entry(mac).or_insert(ifindex);
            }
        }
        for ifindex in self
            .links
            .keys()
            .filter(|ifindex| !links.contains_key(ifindex))
        {
            self.tables.links.remove(ifindex)?;
            self.tables.link_state.remove(ifindex)?;
        }
        for mac in self.macs.keys().filter(|mac| !macs.contains_key(mac)) {
            self.tables.host_macs.remove(mac)?;
        }
        (self.links, self.macs) = (links, macs);
        Ok(())
    }

    fn link_entry(&self, link: &Link) -> LinkEntry {
        let mut flags = 0;
        if link.ipv6_forwarding {
            flags |= LinkEntry::FORWARDING;
        }
        if self.config.bind == Bind::Interface {
            flags |= LinkEntry::BIND;
        }
        LinkEntry {
            ipv4: link.own_ipv4().map_or([0; 4], |own| own.octets()),
            flags,
            ipv6: link.own_ipv6().map_or([0; 16], |own| own.octets()),
            link_local: link.link_local().map_or([0; 16], |own| own.octets()),
        }
    }

    fn tell_announcer_of_links(&mut self) {
        let homes: HashSet<_> = self
            .entries
            .lock()
            .programmed()
            .keys()
            .map(|key| key.ifindex)
            .collect();
        for link in self.host.links.values() {
            let sender = link
                .mac
                .filter(|_| link.up && link.carrier)
                .map(|mac| Sender {
                    mac,
                    own_ipv4: link.own_ipv4(),
                    own_ipv6: link.link_local(),
                    router: link.ipv6_forwarding,
                });
            self.entries.lock().set_sender(link.ifindex, sender);
            if self.is_guarded(link.ifindex) || homes.contains(&link.ifindex) {
                self.announcer.set_link(link.ifindex, sender);
            }
        }
        for ifindex in homes
            .into_iter()
            .filter(|ifindex| *ifindex != ANY_INTERFACE)
        {
            if !self.host.links.contains_key(&ifindex) {
                self.announcer.set_link(ifindex, None);
            }
        }
    }

    /// In Kubernetes a bound address goes by itself if no agent comes back.
    fn valid_lft(&self) -> u32 {
        match self.config.ownership {
            Ownership::Static => FOR_EVER,
            Ownership::Kubernetes(_) => VALID_LFT,
        }
    }

    async fn place_vips(&mut self, desired: &[VipSpec]) -> Result<(), DatapathError> {
        // In Kubernetes the allocator has judged: what some other tool left bound here has to be
        // programmed above all, so that it is silent.
        let mut taken: HashSet<IpAddr> = (self.entries.lock().programmed().keys())
            .map(VipKey::ip)
            .collect();
        if self.kubernetes.is_some() {
            let judged = desired.iter().map(|spec| spec.address);
            taken.extend(judged.filter(|vip| self.duty_of(*vip) == Duty::Session));
        }
        let placed = desired::place(
            &self.config,
            desired,
            &self.host,
            |ifindex| self.is_guarded(ifindex),
            &taken,
        );
        self.observe_incumbents(&placed);
        let adopt: Vec<binding::Adopt> = self
            .config
            .adopt
            .iter()
            .filter_map(|adopt| match adopt {
                Adopt::KubeVip => Some(binding::Adopt::KubeVip),
                Adopt::MetalLb => None,
            })
            .collect();
        let policy = BindPolicy {
            held: if self.config.bind == Bind::Interface {
                Kind::Bind
            } else {
                Kind::Group
            },
            valid_lft: self.valid_lft(),
            adopt: &adopt,
        };
        let mut plan = {
            let entries = self.entries.lock();
            reconcile::plan(
                &self.incumbents.without_spared(&placed),
                entries.rights(),
                policy,
                entries.programmed(),
                &self.host,
                &mut self.counters,
            )
        };
        if self.desired.is_none() {
            // Nothing is fenced, unbound or removed before all VIPs are known.
            plan.confine(&desired.iter().map(|spec| spec.address).collect());
        }
        if self.kubernetes.as_ref().is_some_and(|it| it.leaving) {
            let gone: HashSet<IpAddr> = plan.remove.iter().map(VipKey::ip).collect();
            plan.binding.put_off(|vip| gone.contains(&vip));
        }
        let flaps = self.flaps.admit(&mut plan.binding, self.now());
        for (ifindex, net) in flaps.restored {
            self.tell(Fact::vip(net.addr(), self.name(ifindex), VipFact::Restored));
        }
        for (ifindex, net) in flaps.held_back {
            self.tell(Fact::vip(
                net.addr(),
                self.name(ifindex),
                VipFact::FlapLimited,
            ));
        }
        if let Some(at) = flaps.retry_at {
            self.round_within(at.saturating_sub(self.now()));
        }
        self.silence(&plan)?;
        for index in self.counters.fresh() {
            self.tables.clear_vip_counters(index)?;
        }
        self.entries.lock().write(&plan.program)?;
        let (wanted, unwanted) = plan.binding.in_two();
        let (mut unbound, mut begun) = (HashMap::new(), Vec::new());
        for part in plan.in_parts(&wanted, PART) {
            unbound.extend(self.change_addresses(part.bind).await);
            begun.extend(self.complete(&plan, part.complete, &unbound).await?);
        }
        self.announce_again_at_start();
        self.announce_what_is_due().await;
        for (key, entry) in begun {
            let what = VipFact::Live { epoch: entry.epoch };
            self.tell(Fact::vip(key.ip(), self.name(key.ifindex), what));
        }
        unbound.extend(self.change_addresses(&unwanted).await);
        self.forget(&plan, &unbound)?;
        self.record(&placed, &plan, &unbound);
        Ok(())
    }

    fn silence(&mut self, plan: &Plan) -> Result<(), DatapathError> {
        self.entries.lock().write(&plan.fence)?;
        for (key, _) in &plan.fence {
            let (vip, ifindex) = (key.ip(), key.ifindex);
            self.announcer.stop(announce::Key { vip, ifindex });
            let what = VipFact::Withdrawn("it is not this interface's any more".into());
            self.tell(Fact::vip(vip, self.name(ifindex), what));
        }
        // Those that the lease machine fenced: when they come back, the burst begins anew.
        let fenced = |entry: &VipEntry| entry.slot == SLOT_NEVER;
        let fenced: Vec<VipKey> = (self.entries.lock().programmed().iter())
            .filter(|(_, entry)| fenced(entry))
            .map(|(key, _)| *key)
            .collect();
        for key in fenced {
            let (vip, ifindex) = (key.ip(), key.ifindex);
            if self.announcer.stop(announce::Key { vip, ifindex }) {
                let what = VipFact::Withdrawn("this node does not own it now".into());
                self.tell(Fact::vip(vip, self.name(ifindex), what));
            }
        }
        Ok(())
    }

    /// Binds and unbinds; returns what is not bound though it ought to be, with the reason.
    async fn change_addresses(&mut self, changes: &[AddressChange]) -> HashMap<Place, String> {
        let results = self.netlink.bind(changes).await;
        let mut unbound = HashMap::new();
        for (change, result) in changes.iter().zip(results) {
            let (vip, name) = (change.net.addr(), self.name(change.ifindex));
            if result.is_ok() && binding::is_cover(change.net) {
                let (operation, cover) = (change.operation, change.net);
                tracing::debug!(?operation, %cover, interface = name, "solicited-node group");
                continue;
            }
            let what = match (result, change.operation) {
                (Ok(()), Operation::Add) => VipFact::Bound(change.net),
                (Ok(()), Operation::Replace) => VipFact::Adopted,
                (Ok(()), Operation::Remove) => VipFact::Unbound,
                (Err(error), operation) => {
                    if operation == Operation::Add {
                        self.flaps.failed(change.place());
                    }
                    unbound.insert(change.place(), error.to_string());
                    VipFact::BindFailed(error.to_string())
                }
            };
            self.tell(Fact::vip(vip, name, what));
        }
        if !unbound.is_empty() {
            self.round_within(RETRY);
        }
        unbound
    }

    /// Makes live what is bound, a batch of frames at a time, each announced at once: what else a
    /// round does, to say it of ten thousand VIPs for one, comes after their first frames. Returns
    /// what was not announced before.
    async fn complete(
        &mut self,
        plan: &Plan,
        mut entries: Vec<(VipKey, VipEntry)>,
        unbound: &HashMap<Place, String>,
    ) -> Result<Vec<(VipKey, VipEntry)>, DatapathError> {
        entries.retain(|(key, _)| {
            let place = plan.place_of(key);
            place.is_none_or(|place| !unbound.contains_key(&place))
        });
        let mut begun = Vec::new();
        for some in entries.chunks(announce::BATCH) {
            let written = self.entries.lock().write(some)?;
            begun.extend(written.into_iter().filter(|(key, entry)| {
                let (vip, ifindex) = (key.ip(), key.ifindex);
                entry.slot != SLOT_NEVER && self.announcer.start(announce::Key { vip, ifindex })
            }));
            // First frames go first.
            self.announce().await;
        }
        Ok(begun)
    }

    /// What the kernel went on answering is announced again all the same: the LAN may have heard
    /// others meanwhile.
    fn announce_again_at_start(&mut self) {
        if self.rounds > 0 {
            return;
        }
        for (key, entry) in self.entries.lock().programmed() {
            if entry.slot != SLOT_NEVER && key.ifindex != ANY_INTERFACE {
                let (vip, ifindex) = (key.ip(), key.ifindex);
                self.announcer.start(announce::Key { vip, ifindex });
            }
        }
    }

    /// Removes the entries of what is gone. An address that could not be removed keeps them, and
    /// so its silence.
    fn forget(
        &mut self,
        plan: &Plan,
        unbound: &HashMap<Place, String>,
    ) -> Result<(), DatapathError> {
        for ((_, net), refusal) in plan.binding.stuck() {
            tracing::warn!(vip = %net.addr(), reason = %refusal, "stays bound, and silent");
        }
        let stays = |vip| unbound.keys().any(|(_, net)| net.addr() == vip);
        let remove: Vec<VipKey> = (plan.remove.iter().copied())
            .filter(|key| !stays(key.ip()))
            .collect();
        for key in &remove {
            self.entries.lock().remove(key)?;
            self.tables.vip_state.remove(key)?;
        }
        for key in &remove {
            if !self.entries.lock().programmed().contains_key(&VipKey {
                ifindex: ANY_INTERFACE,
                ..*key
            }) {
                self.counters.give_back(key.ip());
            }
        }
        Ok(())
    }

    /// Notes the state that every VIP came to.
    fn record(&mut self, placed: &[Placement], plan: &Plan, unbound: &HashMap<Place, String>) {
        let refused: HashMap<Place, String> = plan
            .binding
            .refused
            .iter()
            .map(|(place, refusal)| (*place, refusal.to_string()))
            .collect();
        let now = self.now();
        for placement in placed {
            let (state, reason) = self.state_of(placement, &refused, unbound);
            let record = self.vips.entry(placement.vip).or_insert_with(Record::new);
            let in_conflict = record.conflict_until.is_some_and(|until| until > now);
            let state = match state {
                VipState::Answering if in_conflict => VipState::Conflict,
                other => other,
            };
            let ifindex = placement.ifindex();
            if record.ifindex != ifindex {
                record.ifindex = ifindex;
                record.since = Timestamp::now();
            }
            record.prefix = placement
                .home
                .as_ref()
                .ok()
                .map(|home| home.net.prefix_len());
            if record.set(state, reason)
                && let Some(reason) = &record.reason
            {
                tracing::warn!(vip = %placement.vip, state = state.label(), reason, "VIP needs a look");
            }
        }
        if self.vips.len() > placed.len() {
            let known: HashSet<IpAddr> = placed.iter().map(|placement| placement.vip).collect();
            self.vips.retain(|vip, _| known.contains(vip));
        }
    }

    fn state_of(
        &self,
        placement: &Placement,
        refused: &HashMap<Place, String>,
        unbound: &HashMap<Place, String>,
    ) -> (VipState, Option<String>) {
        let home = match &placement.home {
            Ok(home) => home,
            Err(homeless @ Homeless::Refused(_)) => {
                return (VipState::Error, Some(homeless.to_string()));
            }
            Err(homeless) => return (VipState::Pending, Some(homeless.to_string())),
        };
        if self.incumbents.is_spared(placement.vip) {
            let reason = "another load balancer may answer for it: adopted here, or taken when nobody answers";
            return (VipState::Pending, Some(reason.into()));
        }
        let place = (home.ifindex, home.net);
        let key = VipKey::new(placement.vip, home.ifindex);
        let entries = self.entries.lock();
        let live = entries
            .programmed()
            .get(&key)
            .is_some_and(|entry| entry.slot != SLOT_NEVER);
        let held = entries.rights().to(placement.vip).is_some();
        match refused.get(&place).or_else(|| unbound.get(&place)) {
            // What came to stand in the way later darkens nothing, and is said.
            Some(reason) if live && home.carrier => (VipState::Answering, Some(reason.clone())),
            Some(reason) => (VipState::Error, Some(reason.clone())),
            None if !held => (VipState::Fenced, None),
            None if !home.carrier => (
                VipState::Pending,
                Some("its interface has no carrier".into()),
            ),
            None if live => (VipState::Answering, None),
            None => (VipState::Pending, None),
        }
    }
}

impl Record {
    fn new() -> Self {
        Self {
            ifindex: None,
            prefix: None,
            state: VipState::Pending,
            reason: None,
            since: Timestamp::now(),
            conflict_until: None,
        }
    }

    /// Notes a state; whether it is another one.
    pub(super) fn set(&mut self, state: VipState, reason: Option<String>) -> bool {
        let changed = self.state != state || self.reason != reason;
        if self.state != state {
            self.since = Timestamp::now();
        }
        self.state = state;
        self.reason = reason;
        changed
    }
}
