//! What another load balancer answers for, while it is being replaced (`adopt`).

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use vip_common::abi::VipKey;

use super::{Driver, kubernetes::Kubernetes, lessee::Duty};
use crate::{
    cluster::LanAnswer,
    config::refusal::is_adoptable,
    desired::{Home, Placement},
    ownership::Event,
};

impl Driver {
    /// Notes which VIPs another load balancer may answer for, and which of them on this node.
    pub(super) fn observe_incumbents(&mut self, placed: &[Placement]) {
        let adopts = !self.config.adopt.is_empty();
        let Some(kubernetes) =
            (self.kubernetes.as_ref()).filter(|_| adopts || !self.incumbents.is_empty())
        else {
            return;
        };
        let unsettled = placed.iter().map(|placement| placement.vip);
        let unsettled = unsettled.filter(|vip| self.is_unsettled(*vip)).collect();
        let mut entries = self.entries.lock();
        let stands = |vip: IpAddr, home: &Home| {
            let is_programmed = |key| entries.programmed().contains_key(&key);
            let link = self.host.links.get(&home.ifindex);
            let bound = link.into_iter().flat_map(|link| {
                let addresses = link.addresses.iter();
                addresses.filter(|address| is_adoptable(link, address, &self.config))
            });
            !is_programmed(VipKey::new(vip, home.ifindex))
                && bound.into_iter().any(|address| address.net == home.net)
        };
        // Where one of ours answers, another answerer is a rival.
        let is_free = |vip| {
            let answerer = kubernetes.answerer(vip);
            answerer.is_none_or(|node| node == self.config.node)
        };
        let homes = placed.iter();
        let homes = homes.filter_map(|placed| Some((placed.vip, placed.home.as_ref().ok()?)));
        let found = homes
            .clone()
            .filter(|(vip, home)| stands(*vip, home) && is_free(*vip));
        let found = found.map(|(vip, _)| vip).collect();
        let held = |vip| entries.rights().to(vip).is_some();
        let now = self.started.elapsed();
        self.incumbents.observe(&unsettled, &found, held, now);
        let spared = homes.filter(|(vip, _)| self.incumbents.is_spared(*vip));
        entries.set_spared(spared.map(|(vip, home)| (vip, home.ifindex)).collect());
        drop(entries);
        if let Some(at) = self.incumbents.next_deadline() {
            self.round_within(at.saturating_sub(now));
        }
    }

    /// Tells the lease machine for which VIPs it has to ask the LAN first: those that none of our
    /// nodes has answered for.
    pub(super) fn tell_unsettled(&mut self) {
        let adopts = !self.config.adopt.is_empty();
        let Some(Kubernetes { view, .. }) = &mut self.kubernetes else {
            return;
        };
        let unsettled: BTreeSet<IpAddr> = match adopts {
            true => (view.cluster.all_vips())
                .filter(|vip| vip.holder.is_none())
                .map(|vip| vip.assignment.address)
                .collect(),
            false => BTreeSet::new(),
        };
        if view.unsettled == unsettled {
            return;
        }
        view.unsettled.clone_from(&unsettled);
        if let Some(kubernetes) = &self.kubernetes {
            kubernetes.tell(Event::Unsettled(unsettled));
        }
        // What is settled is programmed everywhere.
        self.round_within(Duration::ZERO);
    }

    /// What one of ours answers for by now is programmed: of the control plane's Lease no watch of
    /// the driver's tells.
    pub(super) fn program_settled(&mut self) {
        let settled = |vip| !self.is_unsettled(vip) && !self.incumbents.is_bound_here(vip);
        if self.incumbents.spared().any(settled) {
            self.round_within(Duration::ZERO);
        }
    }

    /// Whether another load balancer may answer for a VIP.
    pub(super) fn is_unsettled(&self, vip: IpAddr) -> bool {
        let Some(kubernetes) = &self.kubernetes else {
            return false;
        };
        match kubernetes.duty(vip) {
            Duty::Session => kubernetes.view.unsettled.contains(&vip),
            Duty::ControlPlane => {
                !self.config.adopt.is_empty() && kubernetes.answerer(vip).is_none()
            }
        }
    }

    /// Another load balancer answers for the API server, on another node, or may: the Lease is that
    /// node's to take.
    pub(super) fn is_plane_occupied(&mut self) -> bool {
        let plane = self.kubernetes.as_ref().and_then(|k| k.plane.as_ref());
        let vips: Vec<IpAddr> = (plane.into_iter().flat_map(|plane| &plane.addresses))
            .copied()
            .filter(|vip| self.is_unsettled(*vip) && !self.incumbents.is_bound_here(*vip))
            .collect();
        if vips.is_empty() {
            return false;
        }
        let now = self.now();
        self.ears.vacancy.ask(vips.iter().copied(), now);
        let known = self.ears.vacancy.answers(now);
        !vips
            .iter()
            .all(|vip| known.get(vip) == Some(&LanAnswer::Free))
    }
}

impl Kubernetes {
    /// The node of ours that answers for a VIP, or did last, as far as it was said.
    fn answerer(&self, vip: IpAddr) -> Option<String> {
        match &self.plane {
            Some(plane) if plane.addresses.contains(&vip) => {
                let machine = plane.machine.lock();
                Some(machine.owner()?.node.to_string())
            }
            _ => self.view.cluster.vip(vip)?.holder.clone(),
        }
    }
}
