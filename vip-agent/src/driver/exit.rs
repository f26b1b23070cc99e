//! SIGTERM.

use std::net::IpAddr;

use vip_common::abi::SLOT_SESSION;

use super::Driver;
use crate::{
    binding,
    config::OnExit,
    event::{Fact, InterfaceFact, VipFact},
};

impl Driver {
    /// Does what `onExit` says. Withdrawing is: fence (one store), unbind, remove, detach.
    pub(super) async fn exit(mut self) {
        if self.config.on_exit == OnExit::Keep {
            tracing::info!("leaving the VIPs to the kernel: onExit is keep");
            return;
        }
        self.slots.fence(SLOT_SESSION);
        for (vip, record) in &self.vips {
            if let Some(ifindex) = record.ifindex {
                let what = VipFact::Withdrawn("the agent is stopped".into());
                self.tell(Fact::vip(*vip, self.name(ifindex), what));
            }
        }
        if !self.unbind(|_| true).await {
            // Without entries and programs, the kernel's own stack would answer for it.
            tracing::warn!("the programs stay and keep the addresses silent that stay bound");
            return;
        }
        let keys: Vec<_> = self.entries.lock().programmed().keys().copied().collect();
        for key in &keys {
            let removed = self
                .entries
                .lock()
                .remove(key)
                .and_then(|()| self.tables.vip_state.remove(key));
            if let Err(error) = removed {
                tracing::warn!(%error, vip = %key.ip(), "an entry stays");
            }
        }
        let attached: Vec<_> = self.datapath.attached().keys().copied().collect();
        for ifindex in attached {
            match self.datapath.detach(ifindex) {
                Ok(_) => self.tell(Fact::interface(self.name(ifindex), InterfaceFact::Detached)),
                Err(error) => tracing::warn!(%error, ifindex, "a program stays"),
            }
        }
    }

    /// Removes the addresses of the VIPs that are `chosen`, and those that hold their groups;
    /// whether none of ours is left.
    pub(super) async fn unbind(&self, chosen: impl Fn(IpAddr) -> bool) -> bool {
        let host = match self.netlink.observe().await {
            Ok(host) => host,
            Err(error) => {
                tracing::warn!(%error, "the addresses cannot be seen");
                return false;
            }
        };
        let mut plan = binding::plan(&[], &host, &[]);
        let mut all = true;
        // Several VIPs may share a group: it goes with the last.
        let stay: Vec<IpAddr> = (self.vips.keys().copied())
            .filter(|vip| !chosen(*vip))
            .collect();
        plan.remove.retain(|change| {
            let goes = match binding::is_cover(change.net) {
                true => !stay.iter().any(|vip| binding::covers(change.net, *vip)),
                false => chosen(change.net.addr()),
            };
            all &= goes;
            goes
        });
        for ((_, net), refusal) in plan.stuck() {
            tracing::warn!(vip = %net.addr(), reason = %refusal, "an address stays");
            all = false;
        }
        for result in self.netlink.bind(&plan.changes()).await {
            if let Err(error) = result {
                tracing::warn!(%error, "an address stays");
                all = false;
            }
        }
        all
    }
}
