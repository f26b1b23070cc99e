//! What the driver tells those who ask.

use vip_common::abi::{SLOT_NEVER, VipEntry, VipKey};

use super::{Driver, Record, guard::Guard};
use crate::{
    attachment::Mode,
    io::{datapath::DatapathError, http::Question},
    metrics::{KernelCounters, MapFill, Snapshot, VipCount},
    status::{AttachMode, InterfaceStatus, Status, VipState, VipStatus, whole_second},
};

impl Driver {
    /// Answers one question; an asker that has gone is no error.
    pub(super) fn answer(&mut self, question: Question) {
        match question {
            Question::Alive(to) => drop(to.send(())),
            Question::Ready(to) => drop(to.send(self.missing())),
            Question::Status(to) => drop(to.send(self.status())),
            Question::Scrape(to) => match self.snapshot() {
                Ok(snapshot) => drop(to.send(snapshot)),
                Err(error) => tracing::warn!(%error, "the maps cannot be read"),
            },
        }
    }

    /// What keeps the node from serving.
    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.rounds == 0 {
            missing.push("the first reconciliation is not finished".into());
        }
        if let Err(error) = &self.checked {
            missing.push(format!("the check of the programs failed: {error}"));
        }
        for (ifindex, guard) in &self.guards {
            let serves = self
                .vips
                .values()
                .any(|record| record.ifindex == Some(*ifindex));
            if let Guard::Failed(error) = guard
                && serves
            {
                missing.push(format!("{}: {error}", self.name(*ifindex)));
            }
        }
        let waiting = |state| {
            self.vips
                .values()
                .filter(|record| record.state == state)
                .count()
        };
        let (pending, failed) = (waiting(VipState::Pending), waiting(VipState::Error));
        if !self.vips.is_empty() && pending + failed == self.vips.len() {
            missing.push(format!(
                "no VIP is served: {pending} pending, {failed} in error"
            ));
        }
        missing
    }

    fn status(&self) -> Status {
        Status {
            node: self.config.node.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            interfaces: self.interfaces(),
            vips: self
                .vips
                .iter()
                .map(|(vip, record)| self.vip_status(*vip, record))
                .collect(),
        }
    }

    fn interfaces(&self) -> Vec<InterfaceStatus> {
        let guarded = self.guards.iter().filter_map(|(ifindex, guard)| {
            let link = self.host.links.get(ifindex)?;
            let attach = match guard {
                Guard::Attached(mode) => Some(attach_mode(*mode)),
                Guard::Failed(_) | Guard::Refused(_) => None,
            };
            Some(InterfaceStatus {
                name: link.name.clone(),
                ifindex: *ifindex,
                mac: link.mac.map(|mac| mac.to_string()),
                attach,
                ready: attach.is_some() && self.checked.is_ok() && link.up && link.carrier,
            })
        });
        guarded.collect()
    }

    fn vip_status(&self, vip: std::net::IpAddr, record: &Record) -> VipStatus {
        let counters = self
            .tables
            .vip_counters(self.counters.get(vip))
            .unwrap_or_default();
        let answers = matches!(record.state, VipState::Answering | VipState::Conflict);
        VipStatus {
            address: vip,
            prefix: record.prefix,
            interface: record.ifindex.map(|ifindex| self.name(ifindex)),
            state: record.state,
            owner: answers.then(|| self.config.node.clone()),
            since: whole_second(record.since),
            epoch: self.claim.epoch,
            answers: counters.answers,
            conflicts: counters.conflicts,
        }
    }

    fn snapshot(&self) -> Result<Snapshot, DatapathError> {
        let mut kernel = KernelCounters::default();
        for (verdict, family, count) in self.tables.frames()? {
            kernel.frames[verdict as usize][family as usize] = count;
        }
        let live = |entry: &VipEntry| entry.slot != SLOT_NEVER;
        let mut held = Vec::new();
        let mut claimed_not_programmed = 0;
        for (vip, record) in &self.vips {
            let Some(ifindex) = record.ifindex else {
                continue;
            };
            let interface = self.name(ifindex);
            match self.programmed.get(&VipKey::new(*vip, ifindex)) {
                Some(entry) if live(entry) => held.push((*vip, interface.clone())),
                Some(_) => {}
                None => claimed_not_programmed += 1,
            }
            let counters = self.tables.vip_counters(self.counters.get(*vip))?;
            kernel.vips.push(VipCount {
                vip: *vip,
                interface,
                answers: counters.answers,
                conflicts: counters.conflicts,
            });
        }
        let homeless = |key: &VipKey| {
            self.vips
                .get(&key.ip())
                .is_none_or(|record| record.ifindex != Some(key.ifindex))
        };
        let unclaimed = self
            .programmed
            .iter()
            .filter(|(key, entry)| live(entry) && homeless(key));
        let slot = self.slots.get(self.claim.slot);
        let now = crate::io::datapath::boottime_ns();
        Ok(Snapshot {
            claims_held: held.len() as u64,
            held,
            kernel,
            unconfirmed: now >= slot.confirmed_boot_ns && now < slot.deadline_boot_ns,
            session_live: now < slot.deadline_boot_ns,
            maps: self.map_fills(),
            attached: self
                .interfaces()
                .into_iter()
                .filter_map(|interface| Some((interface.name, interface.attach?)))
                .collect(),
            claimed_not_programmed,
            live_not_claimed: unclaimed.count() as u64,
        })
    }

    fn map_fills(&self) -> Vec<MapFill> {
        let fill = |map, entries: usize, capacity: u32| MapFill {
            map,
            entries: entries as u64,
            capacity: u64::from(capacity),
        };
        vec![
            fill("VIPS", self.programmed.len(), self.tables.vips.capacity()),
            fill("LINKS", self.links.len(), self.tables.links.capacity()),
            fill(
                "HOST_MACS",
                self.macs.len(),
                self.tables.host_macs.capacity(),
            ),
        ]
    }
}

const fn attach_mode(mode: Mode) -> AttachMode {
    match mode {
        Mode::Native => AttachMode::Native,
        Mode::Tc => AttachMode::Tc,
        Mode::Generic => AttachMode::Generic,
    }
}
