//! VIPs of others: asked for as clients do, and what comes back.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Driver, hearing::source_for};
use crate::{
    announce::Announcement,
    event::{Fact, VipFact},
    hearing::Ask,
    metrics::ProbeAnswer,
    patrol::Answer,
    vip::IfIndex,
};

impl Driver {
    /// Notes which VIPs others are to answer for, where the LAN is heard at all.
    pub(super) fn watch_others(&mut self) {
        let deaf = self.ears.deaf();
        let links = self.host.links.values().filter(|link| {
            let carries = link.up && link.carrier && !link.noarp && link.mac.is_some();
            carries && !deaf.contains(&link.ifindex)
        });
        // Once for a link and a family, whose addresses may be thousands; not for every VIP.
        let can_ask: BTreeSet<(IfIndex, bool)> = links
            .flat_map(|link| {
                let any = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
                let with_source = any
                    .into_iter()
                    .filter(|any| source_for(link, *any).is_some());
                with_source.map(|any| (link.ifindex, any.is_ipv6()))
            })
            .collect();
        let entries = self.entries.lock();
        let others = self.vips.iter().filter(|(vip, record)| {
            entries.rights().to(**vip).is_none()
                && !self.incumbents.is_spared(**vip)
                && (record.ifindex).is_some_and(|home| can_ask.contains(&(home, vip.is_ipv6())))
        });
        let others: BTreeSet<IpAddr> = others.map(|(vip, _)| *vip).collect();
        drop(entries);
        let now = self.now();
        self.ears.watch(&others, now);
    }

    /// A question for a VIP from the node's own address.
    pub(super) fn as_client(&self, vip: IpAddr) -> Option<Announcement> {
        let ifindex = self.vips.get(&vip)?.ifindex?;
        self.question(&Ask {
            ifindex,
            target: vip,
            to: None,
        })
    }

    pub(super) fn tell_answer(&self, vip: IpAddr, answer: Answer) {
        let (result, what) = match answer {
            Answer::One(_) => (ProbeAnswer::One, None),
            Answer::None => (ProbeAnswer::None, Some(VipFact::Unanswered)),
            Answer::Two(by, and) => (ProbeAnswer::Two, Some(VipFact::AnsweredTwice { by, and })),
        };
        self.metrics.probe_answered(vip, result);
        let home = self.vips.get(&vip).and_then(|record| record.ifindex);
        if let (Some(what), Some(home)) = (what, home) {
            self.tell(Fact::vip(vip, self.name(home), what));
        }
    }
}
