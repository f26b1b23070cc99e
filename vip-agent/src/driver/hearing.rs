//! What is heard on the LANs: whether they still reply, rivals that answer probes, and addresses
//! that somebody has.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use vip_common::abi::HostMac;

use super::Driver;
use crate::{
    announce::{Announcement, Key},
    event::{Fact, InterfaceFact, NodeFact},
    frame::{self, Form, Sender},
    heard::{Heard, Kind},
    hearing::{Ask, Hearing},
    host::Link,
    io::datapath::boottime_ns,
    metrics::ProbeAnswer,
    patrol::Patrol,
    vacancy::Vacancy,
    vip::IfIndex,
};

/// Peers that are asked whether they hear us; others are heard anyway when they speak.
const PEERS: usize = 8;

/// What the driver knows by listening.
#[derive(Debug, Default)]
pub(super) struct Ears {
    hearing: Hearing,
    /// Which addresses nobody has, for allocation.
    pub(super) vacancy: Vacancy,
    /// Whether VIPs of others are answered.
    patrol: Patrol,
    /// Addresses of the other nodes.
    peers: BTreeSet<IpAddr>,
    /// Interfaces whose deafness was told.
    deaf: BTreeSet<IfIndex>,
    /// The lease machines were told that the node is deaf.
    told_deaf: bool,
}

impl Ears {
    /// When [`Driver::ask_lan`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let hearing = self.hearing.next_deadline();
        hearing
            .into_iter()
            .chain(self.vacancy.next_deadline())
            .chain(self.patrol.next_deadline())
            .min()
    }
}

impl Ears {
    /// Interfaces on which nobody replies.
    pub(super) fn deaf(&self) -> &BTreeSet<IfIndex> {
        &self.deaf
    }

    /// VIPs that others are to answer for.
    pub(super) fn watch(&mut self, others: &BTreeSet<IpAddr>, now: Duration) {
        // This node, and one for each address that the others have at most.
        let nodes = self.peers.len() + 1;
        self.patrol.set_vips(others, nodes, now);
    }
}

impl Driver {
    /// Notes on which interfaces there is whom to hear.
    pub(super) fn listen(&mut self) {
        let now = self.now();
        let served = self.served();
        let serving = self.host.links.values().filter(|link| {
            let serves = served.contains(&link.ifindex) && self.is_guarded(link.ifindex);
            serves && link.up && link.carrier && !link.noarp
        });
        let targets: BTreeMap<IfIndex, Vec<IpAddr>> = serving
            .map(|link| (link.ifindex, self.targets(link)))
            .collect();
        let hearing = &mut self.ears.hearing;
        hearing.retain(|ifindex| targets.contains_key(&ifindex));
        for (ifindex, targets) in targets {
            hearing.set_targets(ifindex, targets, now);
        }
        self.tell_deafness();
    }

    /// Addresses of the other nodes.
    pub(super) fn take_peers(&mut self, peers: BTreeSet<IpAddr>) {
        if self.ears.peers != peers {
            self.ears.peers = peers;
            self.listen();
            self.watch_others();
        }
    }

    /// Gateways, then the peers that follow this node in the order of their addresses.
    fn targets(&self, link: &Link) -> Vec<IpAddr> {
        let routes = self.host.default_routes.iter();
        let gateways: BTreeSet<IpAddr> = routes
            .filter(|route| route.ifindex == link.ifindex)
            .filter_map(|route| route.gateway)
            .filter(|gateway| source_for(link, *gateway).is_some())
            .collect();
        let peers = self.ears.peers.iter().copied();
        let mut peers: Vec<IpAddr> = peers
            .filter(|peer| is_on_link(link, *peer) && !gateways.contains(peer))
            .filter(|peer| !self.is_own(*peer))
            .collect();
        peers.sort_by_key(|peer| (source_for(link, *peer) > Some(*peer), *peer));
        peers.truncate(PEERS);
        gateways.into_iter().chain(peers).collect()
    }

    fn is_own(&self, address: IpAddr) -> bool {
        let links = self.host.links.values();
        let mut own = links.flat_map(|link| &link.addresses);
        own.any(|own| own.net.addr() == address)
    }

    /// Takes in what came.
    pub(super) fn hear_lan(&mut self, claims: Vec<(IfIndex, Heard)>) {
        let now = self.now();
        let mut answered = false;
        for (ifindex, heard) in claims {
            let by = HostMac {
                mac: heard.by.0,
                reserved: 0,
            };
            if self.macs.contains_key(&by) {
                continue;
            }
            if self.vips.contains_key(&heard.claimed) {
                if self.is_unsettled(heard.claimed) {
                    answered |= self.ears.vacancy.heard(heard.claimed, heard.by, now);
                }
                let to = HostMac {
                    mac: heard.to.0,
                    reserved: 0,
                };
                if self.macs.contains_key(&to) {
                    self.ears.patrol.heard(heard.claimed, heard.by);
                }
                // Of its owner's announcements it is not to be learned that it is taken.
                self.hear_rival(ifindex, heard);
                continue;
            }
            if let Some(link) = self.host.links.get(&ifindex)
                && is_neighbour(link, heard.claimed)
            {
                let hearing = &mut self.ears.hearing;
                hearing.heard(ifindex, heard.claimed, heard.by, now);
            }
            answered |= self.ears.vacancy.heard(heard.claimed, heard.by, now);
        }
        if answered {
            self.learned_vacancy();
        }
        self.tell_deafness();
    }

    /// Somebody else claims a VIP that the cluster has. Past `confirmed` that matters, and where
    /// another load balancer may answer; else it is its owner's announcement, or a conflict that
    /// the kernel programs report.
    fn hear_rival(&mut self, ifindex: IfIndex, heard: Heard) {
        let vip = heard.claimed;
        let home = self.vips.get(&vip).and_then(|record| record.ifindex);
        let Some(kubernetes) = &self.kubernetes else {
            return;
        };
        let confirmed = self
            .slots
            .get(kubernetes.duty(vip).slot())
            .confirmed_boot_ns;
        let matters = boottime_ns() >= confirmed || self.is_unsettled(vip);
        if !matters || home.is_some_and(|home| home != ifindex) {
            return;
        }
        let result = match heard.kind {
            Kind::Claim => {
                kubernetes.probe_answered(vip);
                ProbeAnswer::Claimed
            }
            // Whoever answers at all is waited for where another may answer.
            Kind::Modest if self.is_unsettled(vip) => {
                kubernetes.probe_answered(vip);
                ProbeAnswer::Modest
            }
            Kind::Modest => ProbeAnswer::Modest,
        };
        self.metrics.probe_answered(vip, result);
    }

    /// Frames that nobody looked at.
    pub(super) fn count_unheard(&self, count: u64) {
        if count > 0 {
            self.tell(Fact::Node(NodeFact::EventsDropped(count)));
        }
    }

    /// Asks what is due: who is there, and who has addresses that are to be given out.
    pub(super) async fn ask_lan(&mut self) {
        let now = self.now();
        let asks = self.ears.hearing.poll(now);
        let (probes, learned) = self.ears.vacancy.poll(now);
        let patrolled = self.ears.patrol.poll(now);
        let asks = asks.iter().filter_map(|ask| self.question(ask));
        let probes = probes.iter().flat_map(|address| self.probes(*address));
        let others = patrolled.ask.iter().filter_map(|vip| self.as_client(*vip));
        let frames: Vec<Announcement> = asks.chain(probes).chain(others).collect();
        // What cannot be sent is as good as unanswered.
        if let Err(error) = self.socket.send(&frames).await {
            self.failed("announce", error);
        }
        for (vip, answer) in patrolled.answers {
            self.tell_answer(vip, answer);
        }
        if learned {
            self.learned_vacancy();
        }
        self.tell_deafness();
    }

    pub(super) fn question(&self, ask: &Ask) -> Option<Announcement> {
        let link = self.host.links.get(&ask.ifindex)?;
        let frame = match (ask.target, source_for(link, ask.target)?) {
            (IpAddr::V4(target), IpAddr::V4(own)) => {
                frame::ask_ipv4(target, ask.to, own, link.mac?)
            }
            (IpAddr::V6(target), IpAddr::V6(own)) => {
                frame::ask_ipv6(target, ask.to, own, link.mac?)
            }
            _ => return None,
        };
        let (vip, ifindex) = (ask.target, ask.ifindex);
        Some(Announcement {
            key: Key { vip, ifindex },
            form: Form::Ask,
            frame,
        })
    }

    /// Probes for an address on the link that it belongs to, else on all that serve.
    fn probes(&self, address: IpAddr) -> Vec<Announcement> {
        let serving = self.ears.hearing.interfaces();
        let serving: Vec<&Link> = serving
            .filter_map(|ifindex| self.host.links.get(&ifindex))
            .collect();
        let home = serving.iter().find(|link| is_on_link(link, address));
        let links = home.map_or(serving.as_slice(), std::slice::from_ref);
        let probes = links.iter().filter_map(|link| {
            let sender = Sender {
                mac: link.mac?,
                own_ipv4: None,
                own_ipv6: link.link_local(),
                router: false,
            };
            let (vip, ifindex) = (address, link.ifindex);
            let frames = frame::questions(vip, &sender).into_iter();
            Some(frames.map(move |frame| Announcement {
                key: Key { vip, ifindex },
                form: Form::Probe,
                frame,
            }))
        });
        probes.flatten().collect()
    }

    /// Addresses turned out to be free or taken, or are unknown again.
    fn learned_vacancy(&mut self) {
        let now = self.now();
        if let Some(kubernetes) = &mut self.kubernetes {
            kubernetes.view.think_now(now);
        }
        self.tell_serves();
    }

    /// Says what changed, to operators and to the lease machines.
    fn tell_deafness(&mut self) {
        let hearing = &self.ears.hearing;
        let interfaces = hearing.interfaces();
        let deaf: BTreeSet<IfIndex> = interfaces
            .filter(|ifindex| hearing.is_deaf(*ifindex))
            .collect();
        let all = hearing.is_all_deaf();
        let before = std::mem::replace(&mut self.ears.deaf, deaf.clone());
        if before != deaf {
            self.watch_others();
        }
        for (ifindex, what) in (deaf.difference(&before).map(|it| (it, InterfaceFact::Deaf))).chain(
            before
                .difference(&deaf)
                .map(|it| (it, InterfaceFact::Hears)),
        ) {
            self.tell(Fact::interface(self.name(*ifindex), what));
        }
        if std::mem::replace(&mut self.ears.told_deaf, all) != all
            && let Some(kubernetes) = &self.kubernetes
        {
            kubernetes.deaf(all);
        }
    }

    /// For `xvip_deaf`: the interfaces that serve, and whether nobody replies there.
    pub(super) fn deafness(&self) -> Vec<(String, bool)> {
        let hearing = &self.ears.hearing;
        let interfaces = hearing.interfaces();
        interfaces
            .map(|ifindex| (self.name(ifindex), hearing.is_deaf(ifindex)))
            .collect()
    }

    /// Why a node that hears nobody is not ready. Static ownership has nobody to give VIPs to.
    pub(super) fn missing_lan(&self) -> Option<String> {
        let is_cut_off = self.kubernetes.is_some() && self.ears.hearing.is_all_deaf();
        is_cut_off.then(|| "deaf: neither gateway nor peers reply on the LAN".into())
    }
}

/// The source address of a question on a link: of the target's prefix if there is one.
pub(super) fn source_for(link: &Link, target: IpAddr) -> Option<IpAddr> {
    let own = link.addresses.iter().filter(|address| !address.is_ours());
    let near = own
        .map(|address| address.net)
        .find(|net| net.contains(&target));
    near.map(|net| net.addr()).or_else(|| match target {
        IpAddr::V4(_) => link.own_ipv4().map(IpAddr::V4),
        IpAddr::V6(_) => link.link_local().or(link.own_ipv6()).map(IpAddr::V6),
    })
}

/// The address belongs to a subnet of the link.
fn is_on_link(link: &Link, address: IpAddr) -> bool {
    let own = link.addresses.iter().filter(|own| !own.is_ours());
    let nets = own.map(|own| own.net);
    nets.filter(|net| net.prefix_len() < net.max_prefix_len())
        .any(|net| net.contains(&address))
}

/// Somebody on the link that a question can be sent to.
fn is_neighbour(link: &Link, address: IpAddr) -> bool {
    let is_link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    is_link_local || is_on_link(link, address)
}
