//! What another load balancer answers for, while it is being replaced (`adopt`).

use std::{collections::BTreeSet, net::IpAddr};

use vip_common::abi::VipKey;

use super::{Driver, kubernetes::Kubernetes, lessee::Duty};
use crate::{
    cluster::LanAnswer, config::refusal::is_adoptable, desired::Placement, ownership::Event,
};

impl Driver {
    /// Notes which VIPs stand on this node as another load balancer bound them.
    pub(super) fn observe_incumbents(&mut self, placed: &[Placement]) {
        let adopts = !self.config.adopt.is_empty();
        let Some(kubernetes) =
            (self.kubernetes.as_ref()).filter(|_| adopts || !self.incumbents.is_empty())
        else {
            return;
        };
        let entries = self.entries.lock();
        let stands = |placement: &&Placement| {
            let vip = placement.vip;
            placement.home.as_ref().is_ok_and(|home| {
                let key = VipKey::new(vip, home.ifindex);
                let link = self.host.links.get(&home.ifindex);
                !entries.programmed().contains_key(&key)
                    && link.is_some_and(|link| {
                        let mut bound = link.addresses.iter();
                        bound.any(|address| {
                            address.net == home.net && is_adoptable(link, address, &self.config)
                        })
                    })
            })
        };
        // Where one of ours answers, another answerer is a rival.
        let own = &self.config.node;
        let found: BTreeSet<IpAddr> = (placed.iter().filter(stands))
            .map(|placement| placement.vip)
            .filter(|vip| kubernetes.answerer(*vip).is_none_or(|node| node == *own))
            .collect();
        let held = |vip| entries.rights().to(vip).is_some();
        let now = self.started.elapsed();
        self.incumbents.observe(&found, held, now);
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
        if view.unsettled != unsettled {
            view.unsettled.clone_from(&unsettled);
            if let Some(kubernetes) = &self.kubernetes {
                kubernetes.tell(Event::Unsettled(unsettled));
            }
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
            .filter(|vip| self.is_unsettled(*vip) && !self.incumbents.is_spared(*vip))
            .collect();
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
