//! Where a [`Mutation`] takes hold: on the way between a machine and its world.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use vip_agent::ownership::{
    Action, BootTime, Claims, Lease, Reply, Request, Row, RowKey, SessionId,
};

use super::{mutation::Mutation, world::World};

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
    /// Fences that are put off.
    put_off: BTreeMap<usize, Vec<IpAddr>>,
}

impl World {
    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn session_of(&self, node: usize) -> Option<SessionId> {
        let machine = self.nodes[node].machine.as_ref()?;
        Some(machine.session()?.0.clone())
    }

    /// A Lease as a node gets to see it.
    pub(super) fn shown_lease(&mut self, node: usize, mut lease: Lease) -> Lease {
        let Some(mutation) = self.mutation else {
            return lease;
        };
        let is_own = lease.node == self.nodes[node].name;
        let place = (node, lease.node.to_string());
        match mutation {
            Mutation::OwnDuration if !is_own => lease.duration = self.own_duration(node),
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
                    lease.revoked = self.sabotage.holders.get(&place).cloned().or(lease.revoked)
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

    /// L of a node where nodes differ in it: only the last one's is long.
    fn own_duration(&self, node: usize) -> Duration {
        self.timing_of(node).duration()
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

    /// A request arrives at the register.
    pub(super) fn serve(&mut self, node: usize, request: Request) -> Reply {
        let name = self.nodes[node].name.clone();
        let reply = match (self.mutation, request) {
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
                if lease.node != name =>
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
            (Some(Mutation::LeasesReadFirst), Request::ListLeases) => {
                match self.sabotage.earlier.remove(&node) {
                    Some(leases) => Reply::Leases(leases),
                    None => self.register.serve(&name, Request::ListLeases),
                }
            }
            (_, request) => self.register.serve(&name, request),
        };
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

    /// A request is about to leave.
    pub(super) fn sent(&mut self, node: usize, request: &Request) {
        if self.is(Mutation::LeasesReadFirst) && matches!(request, Request::ReadClaims(_)) {
            let leases = self.register.leases.values().cloned().collect();
            self.sabotage.earlier.insert(node, leases);
        }
    }

    /// Claims are sent, and announcements not late.
    pub(super) fn claims(&self) -> bool {
        !self.is(Mutation::LiftedWithoutClaim)
    }

    /// A node is about to take an event.
    pub(super) fn before_step(&mut self, node: usize) {
        match self.mutation {
            Some(Mutation::CarvedByAnother) if self.dice.one_in(200) => self.carve(node),
            Some(Mutation::LivingRowOverwritten) if self.dice.one_in(200) => {
                let others = self
                    .register
                    .leases
                    .values()
                    .filter_map(|lease| lease.holder.clone());
                let others: Vec<_> = others
                    .filter(|other| other.node != self.nodes[node].name)
                    .collect();
                self.sabotage
                    .pretended
                    .extend(others.into_iter().map(|session| (node, session)));
            }
            _ => {}
        }
    }

    /// A node that does not own a bucket gives itself an address of it.
    fn carve(&mut self, node: usize) {
        let Some(session) = self.session_of(node) else {
            return;
        };
        let vip = self.all_vips[self.dice.index(self.all_vips.len())];
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
    pub(super) fn shown_times(
        &self,
        deadline: BootTime,
        confirmed: BootTime,
        now: BootTime,
        node: usize,
    ) -> (BootTime, BootTime) {
        let timing = self.timing_of(node);
        let renews = confirmed.0 > self.nodes[node].kernel.slot.confirmed_boot_ns;
        match self.mutation {
            Some(Mutation::AnchoredAtTheAnswer) if renews => {
                let until = now + timing.hold();
                (deadline.max(until), confirmed.max(until))
            }
            Some(Mutation::HoldAboveDuration) if renews => {
                let more = timing.duration();
                (deadline + more, confirmed + more)
            }
            _ => (deadline, confirmed),
        }
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
