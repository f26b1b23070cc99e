//! What the cluster wants, and what is written to it: every agent serves all VIPs, the holder of
//! bucket 0 allocates, and the holder of a VIP says so.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    time::Duration,
};

use super::{Driver, kubernetes::Kubernetes, notices::Told, pace::Pace, under_way::UnderWay};
use crate::{
    api::VipStatus,
    cluster::{
        self, Assignment, Cluster, Concern, Decision, Forbidden, ProxyHealth, Served, Settings,
    },
    config::{self, VipSpec},
    host::Host,
    io::{
        datapath::boottime_ns,
        kube::{
            watch::News,
            write::{LeaseKey, Seen, Target, Write, WriteNews},
        },
    },
    ownership::{BootTime, Event, Gone, NodeName, Readiness},
    status::VipState,
};
use jiff::Timestamp;

/// News of the cluster are taken for so long before they are thought about: what is created
/// together is decided together.
const SETTLE: Duration = Duration::from_millis(1);
/// After so long without a thought they wait for nothing: whoever creates one Service waits for it.
const CALM: Duration = Duration::from_millis(20);

/// What the driver knows of the cluster, and has said to it.
pub(super) struct View {
    pub(super) cluster: Cluster,
    settings: Settings,
    /// Where the agent itself reaches the API server.
    api_server: Option<IpAddr>,
    served: Option<BTreeMap<IpAddr, Served>>,
    /// VIPs that the lease machine was told to ask the LAN for first.
    pub(super) unsettled: BTreeSet<IpAddr>,
    /// When to think about what is new.
    pub(super) think_at: Option<Duration>,
    thought_at: Duration,
    pace: Pace,
    pub(super) told: Told,
    gone: Gone,
    under_way: UnderWay,
    /// Statuses of the VIPs that this node holds, as they were written.
    statuses: HashMap<IpAddr, VipStatus>,
}

impl View {
    pub(super) fn new(services: &config::Services, api_server: Option<IpAddr>) -> Self {
        Self {
            cluster: Cluster::default(),
            settings: Settings {
                classes: services.load_balancer_classes.iter().cloned().collect(),
                default: services.default,
                namespaces: services.namespaces.iter().cloned().collect(),
                ..Settings::default()
            },
            api_server,
            served: None,
            unsettled: BTreeSet::new(),
            think_at: None,
            thought_at: Duration::ZERO,
            pace: Pace::default(),
            told: Told::default(),
            gone: Gone::default(),
            under_way: UnderWay::default(),
            statuses: HashMap::new(),
        }
    }

    /// There is something to think about at `now`.
    pub(super) fn think_soon(&mut self, now: Duration) {
        let settle = match now.saturating_sub(self.thought_at) < CALM {
            true => SETTLE,
            false => Duration::ZERO,
        };
        let at = self.pace.not_before(now + settle);
        self.think_at.get_or_insert(at);
    }

    /// What was waited for has come.
    pub(super) fn think_now(&mut self, now: Duration) {
        self.think_at = Some(self.pace.not_before(now));
    }

    /// Something was thought, or done about it, until `now`.
    pub(super) fn took(&mut self, time: Duration, now: Duration) {
        self.thought_at = now;
        self.pace.took(time, now);
    }

    /// A `Vip` is being created.
    fn promise(&mut self, created: &Assignment, now: Duration) {
        self.under_way.promise(created.address, now);
        self.cluster.promise(created.clone());
    }

    /// Thinks again about what was not seen in time; about all promises `at_once`, since another
    /// node allocates now.
    pub(super) fn review(&mut self, now: Duration, at_once: bool) {
        let mut late = self.under_way.is_late(now);
        for address in self.under_way.broken(now, at_once) {
            late |= self.cluster.withdraw(address);
        }
        if late {
            self.think_soon(now);
        }
    }

    /// The nodes that may answer for a VIP, where an address row is wanted.
    pub(super) fn candidates(&self, vip: IpAddr) -> Option<&BTreeSet<NodeName>> {
        self.served.as_ref()?.get(&vip)?.candidates.as_ref()
    }

    /// How gladly this node takes rows, as far as the cluster says.
    pub(super) fn readiness(&self, node: &str, proxy: ProxyHealth) -> Readiness {
        cluster::readiness(self.cluster.node(&node.into()), proxy)
    }
}

impl Driver {
    /// Takes in what a watch says.
    pub(super) fn hear_of_cluster(&mut self, news: News) {
        let now = self.now();
        let Some(kubernetes) = &mut self.kubernetes else {
            return;
        };
        let allocates = kubernetes.allocates();
        let view = &mut kubernetes.view;
        let cluster = &mut view.cluster;
        let of_vips = matches!(news, News::Vips(_));
        let concern = match news {
            News::Services(change) => cluster.services(change),
            News::EndpointSlices(change) => cluster.endpoint_slices(change),
            News::Nodes(change) => cluster.nodes(change),
            News::Namespaces(change) => cluster.namespaces(change),
            News::Pools(change) => cluster.pools(change),
            News::Vips(change) => cluster.vips(change),
            News::Broken(error) => {
                tracing::warn!(%error, "the cluster is not seen");
                Concern::Nobody
            }
        };
        let is_mine = match concern {
            Concern::Nobody => false,
            Concern::Allocator => allocates,
            Concern::Everybody => true,
        };
        if is_mine {
            view.think_soon(now);
        } else if of_vips {
            // One of ours answers: no thought, but an end of waiting.
            self.tell_unsettled();
        }
    }

    /// What became of writes.
    pub(super) fn hear_of_writes(&mut self, news: WriteNews) {
        match news {
            WriteNews::Taken(address) | WriteNews::Outdated(address) => {
                let now = self.now();
                if let Some(kubernetes) = &mut self.kubernetes {
                    kubernetes.view.cluster.withdraw(address);
                    kubernetes.view.think_soon(now);
                }
            }
            WriteNews::Refused(target, error) => {
                tracing::error!(?target, %error, "the API server refuses a write");
                if let (Target::Vip(address), Some(kubernetes)) = (target, &mut self.kubernetes) {
                    kubernetes.view.cluster.withdraw(address);
                }
            }
            WriteNews::Failing(target, error) => {
                tracing::warn!(?target, %error, "a write fails, and is tried again");
            }
            WriteNews::NoticesDropped(count) => {
                tracing::info!(count, "Kubernetes Events were dropped in a crowd");
            }
        }
    }

    /// Draws the conclusions from what is known of the cluster.
    pub(super) fn think(&mut self) {
        let began = self.now();
        self.conclude();
        let now = self.now();
        if let Some(kubernetes) = &mut self.kubernetes {
            kubernetes.view.took(now - began, now);
        }
    }

    fn conclude(&mut self) {
        let Some(Kubernetes { view, plane, .. }) = &mut self.kubernetes else {
            return;
        };
        view.think_at = None;
        if !view.cluster.is_complete() {
            return;
        }
        let own = self.config.node.as_str().into();
        let peers = view.cluster.peers(&own).collect();
        let mut served = cluster::served(&view.cluster);
        // The configuration is nearer than a Service that had the address before.
        if let Some(plane) = plane {
            served.retain(|address, _| !plane.addresses.contains(address));
        }
        let changed = view.served.as_ref() != Some(&served);
        self.tell_unsettled();
        if changed {
            self.serve(&served);
        }
        self.take_peers(peers);
        self.tell_serves();
        self.allocate();
        self.declare();
        self.tell_where();
    }

    /// Programs the VIPs that there are now.
    fn serve(&mut self, served: &BTreeMap<IpAddr, Served>) {
        let specs = served.iter().map(|(address, served)| VipSpec {
            address: *address,
            interfaces: (!served.interfaces.is_empty()).then(|| served.interfaces.clone()),
            prefix: served.prefix,
        });
        self.desired = Some(specs.collect());
        self.round_within(Duration::ZERO);
        let now = self.now();
        if let Some(kubernetes) = &mut self.kubernetes {
            let of_services = served.iter().filter(|(_, served)| !served.control_plane);
            let candidates =
                of_services.map(|(address, served)| (*address, served.candidates.clone()));
            kubernetes.tell(Event::Vips(candidates.collect()));
            let before = kubernetes.view.served.replace(served.clone());
            let gone = before.into_iter().flat_map(BTreeMap::into_keys);
            let gone = gone.filter(|address| !served.contains_key(address));
            if kubernetes.allocates() {
                self.ears.vacancy.released(gone, now);
            }
        }
    }

    /// Gives addresses to Services, if that is this node's part (`ownership.md`, rule 13).
    fn allocate(&mut self) {
        let mut forbidden = forbidden(&self.host, &self.config);
        let Some(kubernetes) = &mut self.kubernetes else {
            return;
        };
        forbidden.api_servers.extend(kubernetes.view.api_server);
        if !kubernetes.allocates() {
            return;
        }
        let Kubernetes { view, writes, .. } = kubernetes;
        let (vacancy, now) = (&mut self.ears.vacancy, self.started.elapsed());
        let lan = vacancy.answers(now);
        let mut decision = cluster::decide(&view.cluster, &view.settings, &forbidden, &lan);
        decision.statuses = view.under_way.unsent(decision.statuses, now);
        // Their answers are thought about again.
        vacancy.ask(decision.probe.iter().copied(), now);
        for notice in view.notices(&decision) {
            // The writer ends with the process alone.
            let _ = writes.send(Write::Notice(notice));
        }
        for created in &decision.create {
            view.promise(created, now);
            vacancy.taken(created.address);
        }
        for write in writes_of(decision) {
            let _ = writes.send(write);
        }
    }

    /// Once a second.
    pub(super) fn review_what_is_under_way(&mut self) {
        let now = self.now();
        if let Some(kubernetes) = &mut self.kubernetes {
            kubernetes.view.review(now, false);
        }
    }

    /// Removes Leases of Nodes that are gone for an hour, if it is this node that allocates.
    pub(super) fn remove_gone_leases(&mut self) {
        let config::Ownership::Kubernetes(config) = &self.config.ownership else {
            return;
        };
        let Some(kubernetes) = &mut self.kubernetes else {
            return;
        };
        if !kubernetes.allocates() || !kubernetes.view.cluster.is_complete() {
            return;
        }
        let View { cluster, gone, .. } = &mut kubernetes.view;
        let nodes = cluster.all_nodes().map(|node| node.name.clone()).collect();
        let machine = kubernetes.machine.lock();
        for lease in gone.expired(machine.leases(), &nodes, BootTime(boottime_ns())) {
            let key = LeaseKey {
                namespace: config.namespace.clone(),
                node: lease.node.clone(),
            };
            let seen = Seen {
                uid: lease.uid.to_string(),
                resource_version: lease.resource_version.to_string(),
            };
            let _ = kubernetes.writes.send(Write::DeleteLease(key, seen));
        }
    }

    /// Says on every `Vip` that this node holds where it is; once for each change.
    pub(super) fn tell_where(&mut self) {
        let Some(kubernetes) = &mut self.kubernetes else {
            return;
        };
        let Kubernetes {
            view,
            writes,
            plane,
            ..
        } = kubernetes;
        let entries = self.entries.lock();
        // The control plane's are held before there are `Vip`s.
        let is_known = |vip: &IpAddr| {
            let is_plane = plane.as_ref().is_some_and(|it| it.addresses.contains(vip));
            !is_plane || view.cluster.vip(*vip).is_some()
        };
        let held: BTreeMap<IpAddr, u64> = (self.vips.keys())
            .filter(|vip| is_known(vip))
            .filter_map(|vip| Some((*vip, entries.rights().to(*vip)?.epoch)))
            .collect();
        view.statuses.retain(|vip, _| held.contains_key(vip));
        for (vip, epoch) in held {
            let Some(record) = self.vips.get(&vip) else {
                continue;
            };
            if record.state == VipState::Pending {
                continue;
            }
            let link = record.ifindex.and_then(|index| self.host.links.get(&index));
            let before = view.statuses.get(&vip);
            let status = VipStatus {
                node: Some(self.config.node.clone()),
                interface: link.map(|link| link.name.clone()),
                state: Some(record.state.label().to_owned()),
                epoch: i64::try_from(epoch).ok(),
                since: before
                    .and_then(|before| before.since)
                    .or_else(|| Some(Timestamp::now())),
                conditions: Vec::new(),
            };
            if before == Some(&status) {
                continue;
            }
            if before.is_none()
                && let Some(notices) = view.announced(vip, &self.config.node)
            {
                for notice in notices {
                    let _ = writes.send(Write::Notice(notice));
                }
            }
            let _ = writes.send(Write::VipStatus(vip, status.clone()));
            view.statuses.insert(vip, status);
        }
    }
}

fn writes_of(decision: Decision) -> Vec<Write> {
    let mut writes = Vec::new();
    writes.extend(decision.create.into_iter().map(Write::CreateVip));
    writes.extend(decision.update.into_iter().map(|update| {
        let seen = Seen {
            uid: update.uid,
            resource_version: update.resource_version,
        };
        Write::ChangeVip(update.assignment, seen)
    }));
    writes.extend(decision.delete.into_iter().map(|deletion| {
        let seen = Seen {
            uid: deletion.uid,
            resource_version: deletion.resource_version,
        };
        Write::DeleteVip(deletion.address, seen)
    }));
    writes.extend(
        decision
            .statuses
            .into_iter()
            .map(|status| Write::Service(status.service, status.ingress, status.conditions)),
    );
    writes.extend(
        decision
            .pools
            .into_iter()
            .map(|(name, status)| Write::Pool(name, status)),
    );
    writes
}

/// Addresses that this host knows to be in use.
fn forbidden(host: &Host, config: &config::Config) -> Forbidden {
    let occupied = config::refusal::Occupied::of(host, config);
    let plane = match &config.ownership {
        config::Ownership::Kubernetes(cluster) => cluster.control_plane.as_ref(),
        config::Ownership::Static => None,
    };
    Forbidden {
        api_servers: plane
            .into_iter()
            .flat_map(|plane| plane.addresses.iter().copied())
            .collect(),
        gateways: occupied.gateways().collect(),
        bound: occupied
            .bound()
            .map(|(address, link)| (address, link.to_owned()))
            .collect(),
        subnets: occupied.subnets().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn news_are_thought_about_together_and_after_dear_thoughts_later() {
        let mut view = View::new(&config::Services::default(), None);
        view.took(ms(30), ms(100));
        view.think_soon(ms(101));
        assert_eq!(view.think_at, Some(ms(101) + SETTLE));
        view.think_soon(ms(102));
        assert_eq!(
            view.think_at,
            Some(ms(101) + SETTLE),
            "the first news set it"
        );
        view.think_at = None;
        view.think_soon(ms(100) + CALM);
        assert_eq!(view.think_at, Some(ms(100) + CALM), "the first in a while");
        view.think_at = None;
        view.took(ms(1000), ms(2000));
        view.think_soon(ms(2001));
        assert_eq!(view.think_at, Some(ms(2400)));
    }
}
