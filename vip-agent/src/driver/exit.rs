//! SIGTERM.

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
        self.slots.fence(self.claim.slot);
        for (vip, record) in &self.vips {
            if let Some(ifindex) = record.ifindex {
                let what = VipFact::Withdrawn("the agent is stopped".into());
                self.tell(Fact::vip(*vip, self.name(ifindex), what));
            }
        }
        if let Ok(host) = self.netlink.observe().await {
            let unbind = binding::plan(&[], &host, &[]).changes();
            for failed in self
                .netlink
                .bind(&unbind)
                .await
                .into_iter()
                .filter_map(Result::err)
            {
                tracing::warn!(error = %failed, "an address stays");
            }
        }
        for key in self.programmed.keys() {
            let removed = self
                .tables
                .vips
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
}
