//! Where a [`Mutation`] takes hold: on the way between a machine and its world.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use vip_common::abi::LeaseSlot;
use vip_ownership::{
    Action, BootTime, Claims, Lease, NodeName, Reply, Request, Row, RowKey, SessionId, Timing,
};

use super::{agent::Kind, kernel::Times, mutation::Mutation, world::World};

/// What a Lease of the control plane acknowledges whose session may answer.
const HELD: &str = "control-plane";

/// What the mutation of a run has to remember.
#[derive(Debug, Default)]
pub(super) struct Sabotage {
    /// Sessions that a node takes for revoked.
    pretended: BTreeSet<(usize, SessionId)>,
    /// Who held a Lease when a node saw it last.
    holders: BTreeMap<(usize, String), SessionId>,
    /// Leases as they were when a claims object was asked for.
    earlier: BTreeMap<usize, Vec<Lease>>,
    /// VIPs that a read made live.
    by_reading: BTreeSet<(usize, IpAddr)>,
    /// VIPs that were yielded to a rival and are not live again.
    yielded: BTreeSet<(usize, IpAddr)>,
    /// VIPs whose yield a renewal ended: their claims stay away.
    lifted: BTreeSet<(usize, IpAddr)>,
    /// Fences that are put off.
    put_off: BTreeMap<usize, Vec<IpAddr>>,
}

/// The times as a mutant would have the slot hold them.
pub(super) fn shown_times(
    mutation: Option<Mutation>,
    asked: Times,
    now: BootTime,
    slot: &LeaseSlot,
    timing: &Timing,
) -> Times {
    let renews = asked.confirmed.0 > slot.confirmed_boot_ns;
    match mutation {
        Some(Mutation::AnchoredAtTheAnswer) if renews => {
            let until = now + timing.hold();
            Times {
                deadline: asked.deadline.max(until),
                confirmed: asked.confirmed.max(until),
            }
        }
        Some(Mutation::HoldAboveDuration) if renews => {
            let more = timing.duration();
            Times {
                deadline: asked.deadline + more,
                confirmed: asked.confirmed + more,
            }
        }
        _ => asked,
    }
}

impl World {
    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn session_of(&self, node: usize) -> Option<SessionId> {
        self.nodes[node].agent.as_ref()?.holds().cloned()
    }

    /// A Lease as a node gets to see it.
    pub(super) fn shown_lease(&mut self, node: usize, mut lease: Lease) -> Lease {
        let Some(mutation) = self.mutation else {
            return lease;
        };
        let is_own = match self.kind {
            Kind::Sessions => lease.node == self.nodes[node].name,
            Kind::ControlPlane => self.session_of(node).is_some(),
        };
        let place = (node, lease.node.to_string());
        match mutation {
            Mutation::OwnDuration if !is_own => lease.duration = self.timing_of(node).duration(),
            Mutation::ClaimWithoutRevoking | Mutation::LivingRowOverwritten => {
                if let Some(holder) = &lease.holder
                    && self.sabotage.pretended.contains(&(node, holder.clone()))
                {
                    lease.revoked = lease.holder.take();
                }
            }
            Mutation::SessionKeptOnConflict if is_own => {
                if let Some(session) = self.session_of(node) {
                    lease.holder = Some(session);
                }
            }
            Mutation::EmptiedTakenAsRevoked => match &lease.holder {
                Some(holder) => drop(self.sabotage.holders.insert(place, holder.clone())),
                None => {
                    lease.revoked = self.sabotage.holders.get(&place).cloned().or(lease.revoked);
                    if self.kind == Kind::ControlPlane {
                        lease.claims_read.clear();
                    }
                }
            },
            Mutation::RecreatedTakenAsFree if !is_own => {
                let objects = self.register.claims.values();
                lease
                    .claims_read
                    .extend(objects.map(|claims| claims.uid.clone()));
            }
            _ => {}
        }
        lease
    }

    /// What a node fences because a rival answers or claims.
    pub(super) fn note_yields(&mut self, node: usize) {
        let fenced = self.nodes[node]
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::Fence(vip) => Some((node, *vip)),
                _ => None,
            });
        self.sabotage.yielded.extend(fenced);
    }

    /// A renewal succeeded: what was yielded is live, without a claim.
    pub(super) fn end_yields(&mut self, node: usize) {
        let yielded = std::mem::take(&mut self.sabotage.yielded);
        let (here, elsewhere) = yielded.into_iter().partition(|(of, _)| *of == node);
        self.sabotage.yielded = elsewhere;
        if self.is(Mutation::YieldEndedWithoutClaim) {
            let here: BTreeSet<(usize, IpAddr)> = here;
            let now = self.nodes[node].clock(self.at);
            let kernel = &mut self.nodes[node].kernel;
            for (_, vip) in &here {
                kernel.live(*vip, kernel.slot.epoch, now);
            }
            self.sabotage.lifted.extend(here);
        }
    }

    /// A claims object as a node gets to see it.
    pub(super) fn shown_claims(&mut self, node: usize, claims: Claims) -> Claims {
        let session = self.session_of(node);
        for vip in self.vips_of(&claims) {
            let row = claims.deciding(vip, self.layout.bucket(vip));
            let ours = row.is_some_and(|(_, row)| Some(&row.session) == session.as_ref());
            if !ours && self.sabotage.by_reading.remove(&(node, vip)) {
                self.nodes[node].kernel.fence(vip);
            }
        }
        claims
    }

    fn vips_of(&self, claims: &Claims) -> Vec<IpAddr> {
        let layout = self.layout;
        let vips = self.all_vips.into_iter();
        vips.filter(|vip| layout.object(layout.bucket(*vip)) == claims.index)
            .collect()
    }

    /// A row that a read shows as ours is live, whatever happened to the write before.
    fn live_by_reading(&mut self, node: usize, claims: &Claims) {
        let Some(session) = self
            .session_of(node)
            .filter(|_| self.is(Mutation::LiveOnARead))
        else {
            return;
        };
        self.live_where(node, claims, |of| *of == session);
    }

    fn live_where(&mut self, node: usize, claims: &Claims, ours: impl Fn(&SessionId) -> bool) {
        let epoch = self.nodes[node].kernel.slot.epoch;
        for vip in self.vips_of(claims) {
            let row = claims.deciding(vip, self.layout.bucket(vip));
            if row.is_some_and(|(_, row)| ours(&row.session)) {
                self.stirred = true;
                self.sabotage.by_reading.insert((node, vip));
                self.nodes[node]
                    .kernel
                    .live(vip, epoch, BootTime::default());
            }
        }
    }

    /// A new session has the rows of the old one.
    pub(super) fn inherit_rows(&mut self, node: usize) {
        if self.is(Mutation::RowsWithoutSession) {
            let name = self.nodes[node].name.clone();
            for claims in self.register.claims.clone().into_values() {
                self.live_where(node, &claims, |of| of.node == name);
            }
        }
    }

    /// What the register has is a session of another node than `name`.
    fn is_of_another(&self, lease: &Lease, name: &NodeName) -> bool {
        let old = self.register.leases.get(&lease.node);
        let holder = old.and_then(|old| old.holder.as_ref());
        match self.kind {
            Kind::Sessions => lease.node != *name,
            Kind::ControlPlane => holder.is_some_and(|holder| holder.node != *name),
        }
    }

    /// A request arrives at the register.
    pub(super) fn serve(&mut self, node: usize, request: Request) -> Reply {
        let name = self.nodes[node].name.clone();
        match (self.mutation, request) {
            (Some(Mutation::ClaimWithoutRevoking), Request::PutLease(lease))
                if lease.node != name =>
            {
                let revoked = lease.revoked.iter();
                self.sabotage
                    .pretended
                    .extend(revoked.map(|session| (node, session.clone())));
                Reply::Lease(Some(lease))
            }
            (Some(Mutation::RetriedRevocation), Request::PutLease(mut lease))
                if self.is_of_another(&lease, &name) =>
            {
                if let Some(current) = self.register.leases.get(&lease.node) {
                    lease.resource_version = current.resource_version.clone();
                }
                self.register.serve(&name, Request::PutLease(lease))
            }
            (Some(Mutation::WriteWithoutChange), Request::PutClaims(mut claims)) => {
                claims.version = 1;
                let old = self.register.claims.get(&claims.index);
                let uid = old.map(|old| old.uid.clone());
                if let Some(uid) = uid.filter(|uid| *uid == claims.uid) {
                    claims.uid = uid;
                }
                self.register.serve(&name, Request::PutClaims(claims))
            }
            (Some(Mutation::AcknowledgementsReadFirst), Request::ListLeases) => {
                match self.sabotage.earlier.remove(&node) {
                    Some(leases) => Reply::Leases(leases),
                    None => self.register.serve(&name, Request::ListLeases),
                }
            }
            (Some(Mutation::LeaseReadFirst), Request::ListLeases) => {
                Reply::Leases(self.judged_by_earlier(node))
            }
            (Some(Mutation::DeletedTakenAsFree), Request::CreateLease(mut lease)) => {
                lease.claims_read = [HELD.into()].into();
                self.register.serve(&name, Request::CreateLease(lease))
            }
            (Some(Mutation::DeletedTakenAsFree), Request::PutLease(mut lease))
                if lease.holder.is_some() =>
            {
                lease.claims_read = [HELD.into()].into();
                self.register.serve(&name, Request::PutLease(lease))
            }
            (Some(Mutation::WaitForgotten), Request::PutLease(mut lease))
                if lease.holder.is_none() =>
            {
                lease.claims_read.clear();
                self.register.serve(&name, Request::PutLease(lease))
            }
            (_, request) => self.register.serve(&name, request),
        }
    }

    /// An answer as a node gets to see it.
    pub(super) fn shown(&mut self, node: usize, reply: Reply) -> Reply {
        match reply {
            Reply::Lease(Some(lease)) => Reply::Lease(Some(self.shown_lease(node, lease))),
            Reply::Leases(leases) => Reply::Leases(
                leases
                    .into_iter()
                    .map(|lease| self.shown_lease(node, lease))
                    .collect(),
            ),
            Reply::Claims(Some(claims)) => {
                self.live_by_reading(node, &claims);
                Reply::Claims(Some(self.shown_claims(node, claims)))
            }
            reply => reply,
        }
    }

    /// All Leases, where a session of a row that they did not name when the row was asked for
    /// looks as dead as one that they have not named for L.
    fn judged_by_earlier(&mut self, node: usize) -> Vec<Lease> {
        let earlier = self.sabotage.earlier.remove(&node).unwrap_or_default();
        let mut leases: Vec<_> = self.register.leases.values().cloned().collect();
        let rows = self
            .register
            .claims
            .values()
            .flat_map(|claims| claims.rows.values());
        for session in rows.map(|row| &row.session) {
            let unnamed = earlier
                .iter()
                .any(|lease| lease.node == session.node && lease.holder.as_ref() != Some(session));
            let now = leases.iter_mut().find(|lease| lease.node == session.node);
            if let Some(lease) = now.filter(|_| unnamed) {
                lease.holder = None;
                lease.revoked = Some(session.clone());
            }
        }
        leases
    }

    /// A request is about to leave.
    pub(super) fn sent(&mut self, node: usize, request: &Request) {
        let judges = matches!(
            self.mutation,
            Some(Mutation::AcknowledgementsReadFirst | Mutation::LeaseReadFirst)
        );
        if judges && matches!(request, Request::ReadClaims(_)) {
            let leases = self.register.leases.values().cloned().collect();
            self.sabotage.earlier.insert(node, leases);
        }
    }

    /// A VIP's claims are sent, and its announcement is not late.
    pub(super) fn claims(&self, node: usize, vip: IpAddr) -> bool {
        !self.is(Mutation::LiveWithoutClaim) && !self.sabotage.lifted.contains(&(node, vip))
    }

    /// A node takes the sessions of all others for revoked.
    pub(super) fn overwrite(&mut self, node: usize) {
        let holders = self.register.leases.values();
        let holders = holders.filter_map(|lease| lease.holder.clone());
        let others = holders.filter(|holder| holder.node != self.nodes[node].name);
        self.sabotage
            .pretended
            .extend(others.map(|session| (node, session)));
    }

    /// A node that does not own a bucket gives itself an address of it.
    pub(super) fn carve(&mut self, node: usize, vip: IpAddr) {
        let Some(session) = self.session_of(node) else {
            return;
        };
        let index = self.layout.object(self.layout.bucket(vip));
        if let Some(mut claims) = self.register.claims.get(&index).cloned()
            && !claims.rows.contains_key(&RowKey::Address(vip))
        {
            claims.version += 1;
            claims.rows.insert(RowKey::Address(vip), Row::of(session));
            self.register.store_claims(claims, false);
        }
    }

    /// The times that a node stores.
    pub(super) fn shown_times(&self, asked: Times, now: BootTime, node: usize) -> Times {
        let timing = self.timing_of(node);
        let slot = &self.nodes[node].kernel.slot;
        shown_times(self.mutation, asked, now, slot, &timing)
    }

    pub(super) fn fence(&mut self, node: usize, vip: IpAddr) {
        let writes = |action: &Action| {
            matches!(
                action,
                Action::Ask {
                    request: Request::PutClaims(_),
                    ..
                }
            )
        };
        if self.is(Mutation::FencedAfterGiving) && self.nodes[node].actions.iter().any(writes) {
            self.sabotage.put_off.entry(node).or_default().push(vip);
        } else if !self.revives(node) {
            self.nodes[node].kernel.fence(vip);
        }
    }

    /// The put-off fences happen when the next batch of actions is done.
    pub(super) fn after_reply(&mut self, node: usize) {
        for vip in self.sabotage.put_off.remove(&node).unwrap_or_default() {
            self.nodes[node].kernel.fence(vip);
        }
    }

    /// Entries of a session that is lost are left to its epoch.
    fn revives(&self, node: usize) -> bool {
        self.is(Mutation::EntriesRevived) && self.nodes[node].kernel.slot.deadline_boot_ns == 0
    }

    /// The epoch that a node stores.
    pub(super) fn shown_epoch(&self, epoch: u64) -> u64 {
        match self.mutation {
            Some(Mutation::EntriesRevived) => 1,
            _ => epoch,
        }
    }

    /// What a restarted process makes live at once.
    pub(super) fn revive_rows(&mut self, node: usize) {
        let Some(session) = self.nodes[node].pinned.clone() else {
            return;
        };
        if !self.is(Mutation::LiveAfterRestart) {
            return;
        }
        for claims in self.register.claims.clone().into_values() {
            self.live_where(node, &claims, |of| *of == session);
        }
    }
}
