//! What the driver tells those who ask.

use vip_common::abi::{LeaseSlot, SLOT_CONTROL_PLANE, SLOT_NEVER, SLOT_SESSION, VipEntry, VipKey};

use super::{Driver, Record, entries::Entries, guard::Guard};
use crate::{
    attachment::Mode,
    io::{
        datapath::{DatapathError, boottime_ns},
        http::Question,
    },
    metrics::{KernelCounters, MapFill, Snapshot, VipCount},
    status::{AttachMode, InterfaceStatus, Status, VipState, VipStatus, whole_second},
    vip::IfIndex,
};

impl Driver {
    /// Answers one question; an asker that has gone is no error.
    pub(super) async fn answer(&mut self, question: Question) {
        match question {
            Question::Alive(to) => drop(to.send(())),
            Question::Ready(to) => drop(to.send(self.missing())),
            Question::Status(to) => drop(to.send(self.status())),
            Question::Explain(vip, to) => drop(to.send(self.explain(vip).await)),
            Question::Events(to) => drop(to.send(self.events())),
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
        missing.extend(self.missing_lan());
        // What another load balancer answers for is as it ought to be.
        let waiting = |state| {
            let of_it = (self.vips.iter()).filter(|(_, record)| record.state == state);
            of_it
                .filter(|(vip, _)| !self.incumbents.is_spared(**vip))
                .count()
        };
        let (pending, failed) = (waiting(VipState::Pending), waiting(VipState::Error));
        if !self.vips.is_empty() && pending + failed == self.vips.len() {
            missing.push(format!(
                "no VIP is served: {pending} pending, {failed} in error"
            ));
            let served = self.served();
            let serving = |(ifindex, _): &(&IfIndex, &Guard)| served.contains(ifindex);
            for (ifindex, guard) in self.guards.iter().filter(serving) {
                let why = match guard {
                    Guard::Attached(_) => continue,
                    Guard::Failed(error) => error.clone(),
                    Guard::Refused(refusal) => refusal.to_string(),
                };
                missing.push(format!("{}: {why}", self.name(*ifindex)));
            }
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

    pub(super) fn vip_status(&self, vip: std::net::IpAddr, record: &Record) -> VipStatus {
        let counters = self
            .tables
            .vip_counters(self.counters.get(vip))
            .unwrap_or_default();
        let slot = self.slots.get(self.duty_of(vip).slot());
        let unconfirmed = boottime_ns() >= slot.confirmed_boot_ns;
        let state = match record.state {
            VipState::Answering if unconfirmed => VipState::Unconfirmed,
            other => other,
        };
        let answers = matches!(record.state, VipState::Answering | VipState::Conflict);
        let owner = match &self.kubernetes {
            None => answers.then(|| self.config.node.clone()),
            Some(kubernetes) => kubernetes.owner(vip),
        };
        VipStatus {
            address: vip,
            prefix: record.prefix,
            interface: record.ifindex.map(|ifindex| self.name(ifindex)),
            state,
            owner,
            since: whole_second(record.since),
            epoch: slot.epoch,
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
        let entries = self.entries.lock();
        let mut held = Vec::new();
        let mut claimed_not_programmed = 0;
        for (vip, record) in &self.vips {
            let Some(ifindex) = record.ifindex else {
                continue;
            };
            let interface = self.name(ifindex);
            // What the kernel has, and not what was written once.
            match self.tables.vips.get(&VipKey::new(*vip, ifindex))? {
                Some(entry) if live(&entry) => held.push((*vip, interface.clone())),
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
        let unclaimed = entries
            .programmed()
            .iter()
            .filter(|(key, entry)| live(entry) && homeless(key));
        let unclaimed = unclaimed.count() as u64;
        let slot = self.slots.get(SLOT_SESSION);
        let now = boottime_ns();
        let is_unconfirmed =
            |slot: LeaseSlot| now >= slot.confirmed_boot_ns && now < slot.deadline_boot_ns;
        let of_plane = self.slots.get(SLOT_CONTROL_PLANE);
        Ok(Snapshot {
            claims_held: match &self.kubernetes {
                None => held.len() as u64,
                Some(kubernetes) => kubernetes.claims(),
            },
            held,
            kernel,
            unconfirmed: is_unconfirmed(slot) || is_unconfirmed(of_plane),
            session_live: now < slot.deadline_boot_ns,
            session_remaining: self.kubernetes.is_some().then(|| {
                let left = slot.deadline_boot_ns.saturating_sub(now);
                std::time::Duration::from_nanos(left)
            }),
            maps: self.map_fills(&entries),
            attached: self
                .interfaces()
                .into_iter()
                .filter_map(|interface| Some((interface.name, interface.attach?)))
                .collect(),
            deaf: self.deafness(),
            claimed_not_programmed,
            live_not_claimed: unclaimed,
            unguarded: (self.guards.values())
                .filter(|guard| matches!(guard, Guard::Failed(_)))
                .count() as u64,
            overtaken: self.behind.len() as u64,
        })
    }

    fn map_fills(&self, vips: &Entries) -> Vec<MapFill> {
        let fill = |map, entries: usize, capacity: u32| MapFill {
            map,
            entries: entries as u64,
            capacity: u64::from(capacity),
        };
        vec![
            fill("VIPS", vips.programmed().len(), vips.capacity()),
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
