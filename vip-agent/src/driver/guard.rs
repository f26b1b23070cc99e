//! The programs on the interfaces: attached to every one that answers ARP, kept in the first
//! place, and taken off what is no longer theirs.

use std::{collections::HashSet, net::Ipv4Addr};

use super::{Driver, RETRY};
use crate::{
    attachment::{Choice, Mode, Refusal, choose},
    config::{self, Interfaces, VipSpec, is_ignored},
    event::{Fact, InterfaceFact},
    host::Link,
    io::offload,
    vip::IfIndex,
};

/// How an interface is guarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// By our programs.
    Attached(Mode),
    /// The kernel refused every mode.
    Failed(String),
    /// We refuse.
    Refused(Refusal),
}

/// Which interfaces a pass attaches to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Those without programs of ours, before their VIPs are bound.
    Fresh,
    /// Those whose programs an earlier process left, once the maps are filled: its programs may
    /// read other maps.
    Inherited,
}

impl Driver {
    /// A program of ours, of this or an earlier process, stands between the LAN and the kernel.
    pub(super) fn is_guarded(&self, ifindex: IfIndex) -> bool {
        matches!(self.guards.get(&ifindex), Some(Guard::Attached(_)))
            || self.inherited.contains(&ifindex)
    }

    /// Attaches where it is due.
    pub(super) fn guard_interfaces(&mut self, pass: Pass) {
        let served = self.served();
        let links: Vec<Link> = self.host.links.values().cloned().collect();
        for link in &links {
            if self.inherited.contains(&link.ifindex) == (pass == Pass::Inherited) {
                self.guard(link, served.contains(&link.ifindex));
            }
        }
        if pass == Pass::Inherited {
            self.inherited.clear();
            self.guards
                .retain(|ifindex, _| links.iter().any(|link| link.ifindex == *ifindex));
            if let Err(error) = self.datapath.sweep() {
                self.failed("sweep", error);
            }
            match self.datapath.retire_other_layouts() {
                Ok(_) => {}
                Err(error) => self.failed("retire", error),
            }
        }
    }

    /// Interfaces that VIPs may live on.
    pub(super) fn served(&self) -> HashSet<IfIndex> {
        let config = &self.config;
        let vips = || self.desired.iter().flatten();
        let own = vips().filter(|vip| vip.interfaces.is_some());
        let first = vips().find(|vip| vip.interfaces.is_none()).cloned();
        // In Kubernetes they are known before any VIP is.
        let any = VipSpec {
            address: Ipv4Addr::UNSPECIFIED.into(),
            interfaces: None,
            prefix: None,
        };
        let first = first.or_else(|| self.kubernetes.is_some().then_some(any));
        own.chain(&first)
            .flat_map(|vip| config.candidates(vip, &self.host))
            .map(|link| link.ifindex)
            .collect()
    }

    fn guard(&mut self, link: &Link, serves: bool) {
        let ignored = !serves
            && is_ignored(&link.name, &self.config.ignore_interfaces)
            && !names(&self.config.interfaces, &link.name);
        let wanted = match (serves, self.config.attach) {
            (true, wanted) => wanted,
            (false, config::Attach::Tc) => config::Attach::Tc,
            (false, _) => config::Attach::Auto,
        };
        let ifindex = link.ifindex;
        let mut uppers = self
            .host
            .links
            .values()
            .filter(|upper| upper.lower == Some(ifindex));
        let rxvlan = match uppers.any(|upper| upper.vlan_id.is_some()) {
            true => offload::rxvlan(&link.name),
            false => Some(false),
        };
        let guard = match choose(link, &self.host, wanted, ignored, rxvlan) {
            Choice::Skip(_) => {
                self.unguard(ifindex);
                return;
            }
            Choice::Refuse(refusal) => {
                self.unguard(ifindex);
                Guard::Refused(refusal)
            }
            // Another ladder than before: VIPs are to live here now, or a VLAN was made on it.
            Choice::Attach(ladder)
                if matches!(self.guards.get(&ifindex),
                Some(Guard::Attached(mode)) if ladder.contains(mode)) =>
            {
                return;
            }
            Choice::Attach(ladder) => match self.datapath.attach(ifindex, ladder) {
                Ok(attached) => {
                    for (mode, error) in &attached.passed_over {
                        tracing::info!(interface = link.name, %mode, %error, "mode not taken");
                    }
                    let mode = attached.mode.label();
                    let what = if attached.adopted {
                        InterfaceFact::Continued { mode }
                    } else {
                        // Attaching makes some drivers reset the link.
                        self.announcer.link_up(ifindex);
                        InterfaceFact::Attached { mode }
                    };
                    self.tell(Fact::interface(&link.name, what));
                    Guard::Attached(attached.mode)
                }
                Err(error) => {
                    self.round_within(RETRY * 5);
                    Guard::Failed(error.to_string())
                }
            },
        };
        if self.guards.get(&ifindex) != Some(&guard) {
            let trouble = match &guard {
                Guard::Attached(_) => None,
                Guard::Failed(error) => Some(error.clone()),
                Guard::Refused(refusal) => serves.then(|| refusal.to_string()),
            };
            if let Some(trouble) = trouble {
                self.tell(Fact::interface(
                    &link.name,
                    InterfaceFact::AttachFailed(trouble),
                ));
            }
            self.guards.insert(ifindex, guard);
        }
    }

    fn unguard(&mut self, ifindex: IfIndex) {
        let was = self.guards.remove(&ifindex);
        if !matches!(was, Some(Guard::Attached(_))) && !self.inherited.contains(&ifindex) {
            return;
        }
        match self.datapath.detach(ifindex) {
            Ok(_) => self.tell(Fact::interface(self.name(ifindex), InterfaceFact::Detached)),
            Err(error) => self.failed("detach", error),
        }
    }

    /// Has every interface attached anew, in the mode that is now wanted.
    pub(super) fn reattach_all(&mut self) {
        let attached = self
            .guards
            .iter()
            .filter(|(_, guard)| matches!(guard, Guard::Attached(_)));
        self.inherited.extend(attached.map(|(ifindex, _)| *ifindex));
        self.guards.clear();
    }

    /// Takes the first place back where another program came to stand before ours.
    pub(super) fn keep_first(&mut self) {
        let now = self.now();
        let guarded: Vec<IfIndex> = self.datapath.attached().keys().copied().collect();
        self.restores.retain(|ifindex, _| guarded.contains(ifindex));
        self.behind.retain(|ifindex| guarded.contains(ifindex));
        for ifindex in guarded {
            let limit = self.restores.entry(ifindex).or_default();
            let standing = match self.datapath.ensure_first(ifindex, limit, now) {
                Ok(standing) => standing,
                // The interface is gone, or going: the next round sees to it.
                Err(error) => {
                    tracing::debug!(ifindex, %error, "position unknown");
                    self.round_within(RETRY);
                    continue;
                }
            };
            if !standing.restored.is_empty() {
                let name = self.name(ifindex);
                self.tell(Fact::interface(&name, InterfaceFact::PositionLost));
                self.tell(Fact::interface(&name, InterfaceFact::PositionRestored));
            }
            if standing.behind.is_empty() {
                self.behind.remove(&ifindex);
            } else if self.behind.insert(ifindex) {
                self.tell(Fact::interface(
                    self.name(ifindex),
                    InterfaceFact::PositionLost,
                ));
            }
            if !standing.gone.is_empty() {
                self.tell(Fact::interface(self.name(ifindex), InterfaceFact::Detached));
                self.guards.remove(&ifindex);
                self.round_within(std::time::Duration::ZERO);
            }
        }
    }
}

/// The interface is listed by its name.
fn names(interfaces: &Interfaces, name: &str) -> bool {
    matches!(interfaces, Interfaces::Listed(globs)
        if globs.iter().any(|glob| glob.is_literal() && glob.matches(name)))
}
