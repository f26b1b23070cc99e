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
        if !self.unbind_all().await {
            // Without entries and programs, the kernel's own stack would answer for it.
            tracing::warn!("the programs stay and keep the addresses silent that stay bound");
            return;
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

    /// Removes every address of ours; whether none is left.
    async fn unbind_all(&self) -> bool {
        let host = match self.netlink.observe().await {
            Ok(host) => host,
            Err(error) => {
                tracing::warn!(%error, "the addresses cannot be seen");
                return false;
            }
        };
        let plan = binding::plan(&[], &host, &[]);
        let mut all = true;
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
