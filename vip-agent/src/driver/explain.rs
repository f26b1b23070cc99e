//! Why a VIP is answered here or not: what each layer says of it at this moment.

use std::net::IpAddr;

use vip_common::abi::{ANY_INTERFACE, FOREVER, LEASE_SLOTS, LeaseSlot, VipKey};

use super::{Driver, Record, guard::Guard, kubernetes::Kubernetes, lessee::Duty};
use crate::{
    config::Bind,
    explain::{
        Assignment, Bound, Circumstances, Entry, Explanation, Known, Row, RowKind, Session,
        candidates, standing,
    },
    history::Events,
    host::{FOR_EVER, Host},
    io::datapath::boottime_ns,
    manifest::CONTROL_PLANE_LEASE,
    ownership::{Account, BootTime, Stage},
    vip::{IfIndex, Mac},
};

/// Events of one VIP that are told.
const EVENTS: usize = 12;

impl Driver {
    /// What happened last.
    pub(super) fn events(&self) -> Events {
        Events {
            node: self.config.node.clone(),
            events: self.history.borrow().all(),
        }
    }

    /// The document of one VIP.
    pub(super) async fn explain(&self, vip: IpAddr) -> Explanation {
        // Our copy is older than what the latest round bound.
        let bound = match self.netlink.observe().await {
            Ok(host) => bound(&host, vip),
            Err(_) => bound(&self.host, vip),
        };
        let now = boottime_ns();
        let record = self.vips.get(&vip);
        let of_plane = self.of_control_plane(vip);
        let of_rows = self.kubernetes.as_ref().filter(|_| of_plane.is_none());
        let account = of_rows.map(|kubernetes| {
            let machine = kubernetes.machine.lock();
            machine.account(vip, BootTime(now))
        });
        let slot = self.slots.get(self.duty_of(vip).slot());
        let circumstances = Circumstances {
            binds: self.config.bind == Bind::Interface,
            kubernetes: self.kubernetes.is_some(),
            complete: self
                .kubernetes
                .as_ref()
                .is_none_or(|kubernetes| kubernetes.view.cluster.is_complete()),
            stage: account.as_ref().map_or(Stage::Live, |it| it.stage),
            proven: account.as_ref().is_none_or(|it| it.proven),
            deaf: account.as_ref().is_some_and(|it| it.deaf),
            leaving: account.as_ref().is_some_and(|it| it.leaving),
            unguarded: record
                .and_then(|record| record.ifindex)
                .and_then(|ifindex| self.unguarded(ifindex)),
        };
        let explanation = Explanation {
            node: self.config.node.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            address: vip,
            answers: false,
            summary: String::new(),
            findings: Vec::new(),
            vip: record.map(|record| self.known(vip, record)),
            assignment: self.assignment(vip),
            row: of_plane.or(match (&account, record) {
                (Some(account), _) => account.version.map(|_| Row::of(account)),
                (None, Some(_)) => Some(self.configured()),
                (None, None) => None,
            }),
            candidates: self.candidates_of(vip, account.as_ref(), BootTime(now)),
            session: Session {
                id: match self.duty_of(vip) {
                    Duty::Session => account.and_then(|it| Some(it.session?.to_string())),
                    Duty::ControlPlane => self.plane_session(),
                },
                epoch: slot.epoch,
                deadline_in_ms: milliseconds(slot.deadline_boot_ns, now),
                confirmed_in_ms: milliseconds(slot.confirmed_boot_ns, now),
            },
            entries: self.entries_of(vip, now),
            bound,
            events: self.history.borrow().about(vip, EVENTS),
        };
        explanation.conclude(&circumstances)
    }

    fn known(&self, vip: IpAddr, record: &Record) -> Known {
        let status = self.vip_status(vip, record);
        Known {
            state: status.state,
            reason: record.reason.clone(),
            since: status.since,
            interface: status.interface,
            prefix: status.prefix,
            answers: status.answers,
            conflicts: status.conflicts,
        }
    }

    fn assignment(&self, vip: IpAddr) -> Option<Assignment> {
        let Kubernetes { view, .. } = self.kubernetes.as_ref()?;
        view.cluster.vip(vip).map(Assignment::of)
    }

    /// The Lease that decides over a VIP of the API server; none for the others.
    fn of_control_plane(&self, vip: IpAddr) -> Option<Row> {
        let kubernetes = self.kubernetes.as_ref()?;
        let named = kubernetes.view.cluster.vip(vip);
        let is_one = named.is_some_and(|named| named.assignment.control_plane);
        if !is_one && kubernetes.duty(vip) != Duty::ControlPlane {
            return None;
        }
        let node = kubernetes.owner(vip);
        let here = node.as_ref() == Some(&self.config.node) && self.plane_session().is_some();
        Some(Row {
            kind: RowKind::ControlPlane,
            name: format!("the Lease {CONTROL_PLANE_LEASE}"),
            lives: node.is_some(),
            node,
            session: None,
            since: None,
            here,
        })
    }

    /// This node's session of the control plane.
    fn plane_session(&self) -> Option<String> {
        let plane = self.kubernetes.as_ref()?.plane.as_ref()?;
        let machine = plane.machine.lock();
        machine.session().map(|(id, _)| id.to_string())
    }

    fn configured(&self) -> Row {
        Row {
            kind: RowKind::Configuration,
            name: "the configuration".into(),
            node: Some(self.config.node.clone()),
            session: None,
            since: None,
            here: true,
            lives: true,
        }
    }

    fn candidates_of(
        &self,
        vip: IpAddr,
        account: Option<&Account>,
        now: BootTime,
    ) -> Vec<crate::explain::Candidate> {
        let (Some(kubernetes), Some(account)) = (&self.kubernetes, account) else {
            return Vec::new();
        };
        let wanted = kubernetes.view.candidates(vip);
        candidates(account, kubernetes.view.cluster.all_nodes(), wanted, now)
    }

    /// From the maps, not from our copy of them.
    fn entries_of(&self, vip: IpAddr, now: u64) -> Vec<Entry> {
        let links = self.host.links.keys().copied().chain([ANY_INTERFACE]);
        let entries = links.filter_map(|ifindex| {
            let key = VipKey::new(vip, ifindex);
            let entry = self.tables.vips.get(&key).ok()??;
            let state = self.tables.vip_state.get(&key).ok().flatten();
            let slot = match u32::from(entry.slot) < LEASE_SLOTS {
                true => self.slots.get(entry.slot),
                false => LeaseSlot::default(),
            };
            Some(Entry {
                interface: (ifindex != ANY_INTERFACE).then(|| self.name(ifindex)),
                mac: Mac(entry.mac).to_string(),
                slot: entry.slot,
                epoch: entry.epoch,
                standing: standing(&key, &entry, &slot, state, now),
            })
        });
        entries.collect()
    }

    fn unguarded(&self, ifindex: IfIndex) -> Option<String> {
        match self.guards.get(&ifindex) {
            Some(Guard::Attached(_)) if self.behind.contains(&ifindex) => {
                Some("another program runs before ours".into())
            }
            Some(Guard::Attached(_)) => None,
            Some(Guard::Failed(error)) => Some(error.clone()),
            Some(Guard::Refused(refusal)) => Some(refusal.to_string()),
            None => (!self.inherited.contains(&ifindex)).then(|| "no programs are attached".into()),
        }
    }
}

fn bound(host: &Host, vip: IpAddr) -> Vec<Bound> {
    let links = host.links.values();
    let bound = links.flat_map(|link| {
        let addresses = link.addresses.iter();
        let equal = addresses.filter(move |address| address.net.addr() == vip);
        equal.map(|address| Bound {
            interface: link.name.clone(),
            prefix: address.net.prefix_len(),
            ours: address.is_ours(),
            seconds: (address.valid_lft != FOR_EVER).then_some(address.valid_lft),
        })
    });
    bound.collect()
}

/// Until a time of `CLOCK_BOOTTIME`; none for never.
fn milliseconds(at: u64, now: u64) -> Option<i64> {
    // Boot times are far below 2^63 nanoseconds.
    (at != FOREVER).then(|| (at as i64 - now as i64) / 1_000_000)
}
