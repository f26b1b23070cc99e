//! Which VIPs are live, and what goes before that (rules 1 and 10).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use super::{Machine, OnApiLoss, action::Action, claims::RowKey, time::BootTime};

/// Claims before a VIP goes live after a revocation, a yield or a passed deadline.
const CLAIMS: u8 = 3;
const CLAIM_STEP: Duration = Duration::from_millis(10);
/// VIPs that are claimed at once.
const BATCH: usize = 50;
/// Probes that end a yield when nobody answers them.
const PROBES: u8 = 3;
const PROBE_STEP: Duration = Duration::from_secs(1);
/// Time between two tries to end a yield.
const RETRY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Entry {
    Live,
    /// Yielded: fenced until `confirmed` moves, or probes stay unanswered.
    Suspended {
        probe_at: BootTime,
        probes: u8,
    },
    Claiming {
        claims: u8,
        claim_at: BootTime,
    },
}

/// VIPs that are live or on the way to it. All others are fenced.
#[derive(Debug, Default)]
pub(super) struct Entries {
    entries: BTreeMap<IpAddr, Entry>,
    probe_at: BootTime,
}

/// What the rows say about a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ours,
    /// Ours, or not known yet: what an earlier process left live stays so, nothing else goes live.
    Unproven,
    NotOurs,
}

impl Entries {
    pub(super) fn inherit(&mut self, live: BTreeSet<IpAddr>) {
        self.entries = live.into_iter().map(|vip| (vip, Entry::Live)).collect();
    }
}

impl Machine {
    pub(super) fn entries_turn(&mut self, now: BootTime) {
        if self.session.id.is_none() {
            return;
        }
        self.follow_rows();
        if self.session.is_confirmed(now) {
            for entry in self.entries.entries.values_mut() {
                if let Entry::Suspended { .. } = entry {
                    *entry = Entry::claiming(now);
                }
            }
            // Past `confirmed` other things are due.
            self.due(self.session.confirmed, now);
        } else if self.config.on_api_loss == OnApiLoss::Hold {
            self.unconfirmed_turn(now);
        }
        self.claim_turn(now);
    }

    fn follow_rows(&mut self) {
        let entries = &self.entries.entries;
        let known = |vip: &IpAddr| self.vips.as_ref().is_none_or(|vips| vips.contains_key(vip));
        let lost = entries
            .keys()
            .filter(|vip| !known(vip) || self.verdict(**vip) == Verdict::NotOurs);
        let lost: Vec<_> = lost.copied().collect();
        let won = self.vips.iter().flat_map(|vips| vips.keys());
        let won =
            won.filter(|vip| !entries.contains_key(vip) && self.verdict(**vip) == Verdict::Ours);
        let won: Vec<_> = won.copied().collect();
        for vip in lost {
            self.fence(vip);
        }
        for vip in won {
            self.go_live(vip, BootTime::default());
        }
    }

    fn go_live(&mut self, address: IpAddr, yields_void_before: BootTime) {
        self.entries.entries.insert(address, Entry::Live);
        self.out.push(Action::Live {
            address,
            epoch: self.session.epoch,
            yields_void_before,
        });
    }

    /// A VIP is not to be answered any more.
    pub(super) fn fence(&mut self, vip: IpAddr) {
        if let Some(Entry::Live | Entry::Claiming { .. }) = self.entries.entries.remove(&vip) {
            self.out.push(Action::Fence(vip));
        }
    }

    pub(super) fn fence_everything(&mut self) {
        self.fence_where(|_, _| true);
    }

    /// Fences VIPs of an object, or the part that a row decides for.
    pub(super) fn fence_object(&mut self, index: u32) {
        let layout = self.config.layout;
        self.fence_where(|_, vip| layout.object(layout.bucket(vip)) == index);
    }

    pub(super) fn fence_row(&mut self, key: RowKey) {
        self.fence_where(|machine, vip| machine.deciding_row(vip) == Some(key));
    }

    fn fence_where(&mut self, chosen: impl Fn(&Self, IpAddr) -> bool) {
        let vips = self.entries.entries.keys().copied();
        let vips: Vec<_> = vips.filter(|vip| chosen(self, *vip)).collect();
        for vip in vips {
            self.fence(vip);
        }
    }

    /// The row was gained from the dead, or from nobody: its VIPs are claimed first.
    pub(super) fn claim_row(&mut self, key: RowKey, now: BootTime) {
        let vips = self.vips.iter().flat_map(|vips| vips.keys().copied());
        let vips: Vec<_> = vips
            .filter(|vip| self.deciding_row(*vip) == Some(key))
            .collect();
        for vip in vips {
            self.entries
                .entries
                .entry(vip)
                .or_insert(Entry::claiming(now));
        }
    }

    /// VIPs of the row are being claimed, and not live yet.
    pub(super) fn is_claiming(&self, key: RowKey) -> bool {
        let claiming = self
            .entries
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry, Entry::Claiming { .. }));
        claiming
            .map(|(vip, _)| *vip)
            .any(|vip| self.deciding_row(vip) == Some(key))
    }

    fn claim_turn(&mut self, now: BootTime) {
        let (mut claimed, mut live, mut next) = (Vec::new(), Vec::new(), BootTime::NEVER);
        let claiming = self
            .entries
            .entries
            .iter_mut()
            .filter_map(|(vip, entry)| match entry {
                Entry::Claiming { claims, claim_at } => Some((vip, claims, claim_at)),
                Entry::Live | Entry::Suspended { .. } => None,
            });
        for (vip, claims, claim_at) in claiming.take(BATCH) {
            if now >= *claim_at {
                claimed.push(*vip);
                *claims += 1;
                *claim_at = now + CLAIM_STEP;
                if *claims == CLAIMS {
                    live.push(*vip);
                    continue;
                }
            }
            next = next.min(*claim_at);
        }
        if live.len() == BATCH {
            next = now + CLAIM_STEP;
        }
        if !claimed.is_empty() {
            self.out.push(Action::Claim(claimed));
        }
        for vip in live {
            self.go_live(vip, now);
        }
        self.due(next, now);
    }

    /// Deaf, or probing, past `confirmed`.
    fn unconfirmed_turn(&mut self, now: BootTime) {
        if self.deaf {
            let all = self.entries.entries.keys().copied().collect();
            self.suspend_until(all, now + PROBE_STEP);
        }
        let mut probed = Vec::new();
        if self.due(self.entries.probe_at, now) {
            self.entries.probe_at = now + PROBE_STEP;
            self.due(self.entries.probe_at, now);
            let live = self
                .entries
                .entries
                .iter()
                .filter(|(_, entry)| **entry == Entry::Live);
            let of_rows: BTreeMap<_, _> = live
                .map(|(vip, _)| (self.deciding_row(*vip), *vip))
                .collect();
            probed.extend(of_rows.into_values());
        }
        let mut next = BootTime::NEVER;
        for (vip, entry) in &mut self.entries.entries {
            let Entry::Suspended { probe_at, probes } = entry else {
                continue;
            };
            if now >= *probe_at {
                if self.deaf {
                    *probes = 0;
                    *probe_at = now + PROBE_STEP;
                } else if *probes == PROBES {
                    *entry = Entry::claiming(now);
                    continue;
                } else {
                    *probes += 1;
                    *probe_at = now + self.dice.between(1000, 2000);
                    probed.push(*vip);
                }
            }
            next = next.min(*probe_at);
        }
        self.due(next, now);
        self.out.extend(probed.into_iter().map(Action::Probe));
    }

    /// Yields VIPs that are live or about to be.
    pub(super) fn suspend(&mut self, vips: BTreeSet<IpAddr>, now: BootTime) {
        self.suspend_until(vips, now + RETRY);
    }

    fn suspend_until(&mut self, vips: BTreeSet<IpAddr>, probe_at: BootTime) {
        for vip in vips {
            if let Some(entry @ (Entry::Live | Entry::Claiming { .. })) =
                self.entries.entries.get_mut(&vip)
            {
                *entry = Entry::Suspended {
                    probe_at,
                    probes: 0,
                };
                self.out.push(Action::Fence(vip));
            }
        }
    }

    pub(super) fn probe_answered(&mut self, vip: IpAddr, now: BootTime) {
        if self.session.is_confirmed(now) {
            return;
        }
        match self.entries.entries.get_mut(&vip) {
            // One VIP is asked for its whole row.
            Some(Entry::Live) => {
                let row = self.deciding_row(vip);
                let vips = self.entries.entries.keys().copied();
                let of_row = vips.filter(|vip| self.deciding_row(*vip) == row).collect();
                self.suspend(of_row, now);
            }
            Some(Entry::Suspended { probe_at, probes }) => {
                *probes = 0;
                *probe_at = now + RETRY;
            }
            Some(Entry::Claiming { .. }) => self.suspend([vip].into(), now),
            None => {}
        }
    }

    /// The slot kept its times: nothing goes on as if there had been no silence.
    pub(super) fn not_extended(&mut self, passed: bool, yielded: BTreeSet<IpAddr>, now: BootTime) {
        if self.session.id.is_none() {
            return;
        }
        if !passed {
            self.suspend(yielded, now);
            self.out.push(Action::Extend {
                deadline: self.session.confirmed,
                confirmed: self.session.confirmed,
            });
            return;
        }
        let all = self.entries.entries.keys().copied().collect();
        let first_probe = now + self.dice.between(0, 1000);
        self.suspend_until(all, first_probe);
        let deadline = match self.config.on_api_loss {
            OnApiLoss::Hold => self.session.confirmed.max(now + self.config.timing.hold()),
            OnApiLoss::Fence => self.session.confirmed,
        };
        // Every entry is fenced, so none goes live by this.
        if deadline > now {
            self.set_slot(deadline);
        }
    }

    /// The row that decides for a VIP, as far as rows are known.
    fn deciding_row(&self, vip: IpAddr) -> Option<RowKey> {
        let bucket = self.config.layout.bucket(vip);
        let object = self
            .objects
            .get(self.config.layout.object(bucket) as usize)?;
        object.seen()?.deciding(vip, bucket).map(|(key, _)| key)
    }

    fn verdict(&self, vip: IpAddr) -> Verdict {
        let bucket = self.config.layout.bucket(vip);
        let object = self.objects.get(self.config.layout.object(bucket) as usize);
        match (object, &self.session.id) {
            (Some(object), Some(session)) => {
                object.verdict(vip, bucket, session, self.config.layout)
            }
            _ => Verdict::NotOurs,
        }
    }
}

impl Entry {
    fn claiming(now: BootTime) -> Self {
        Self::Claiming {
            claims: 0,
            claim_at: now,
        }
    }
}
