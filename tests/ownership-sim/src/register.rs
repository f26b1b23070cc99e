//! A register with the semantics of an API server, in one place and without delay: what happens
//! to a request before it arrives and to its reply is the world's affair.

use std::collections::BTreeMap;

use vip_ownership::{
    Claims, ControlPlane, Lease, NodeName, Reply, Request, ResourceVersion, RowKey, SessionId, Uid,
};

/// An object changed; watchers are told.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Lease(Lease),
    LeaseGone(NodeName),
    Claims(Claims),
    ClaimsGone(u32),
}

/// What a seed's run brought about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sessions revoked by another node.
    pub revocations: u64,
    /// Rows that a living session wrote over to another.
    pub hand_overs: u64,
    /// Rows that were claimed from a dead session of another node.
    pub failovers: u64,
    /// Address rows created.
    pub carved: u64,
    /// VIPs that were answered unconfirmed.
    pub unconfirmed: u64,
    /// Yields in the kernel.
    pub yields: u64,
    /// Processes that left with nothing live.
    pub released: u64,
    /// Sessions left parked.
    pub parked: u64,
    /// Processes that left before they had given everything away.
    pub out_of_time: u64,
    /// Sessions continued by a restarted process.
    pub continued: u64,
    /// Events that were simulated.
    pub events: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.revocations += other.revocations;
        self.hand_overs += other.hand_overs;
        self.failovers += other.failovers;
        self.carved += other.carved;
        self.unconfirmed += other.unconfirmed;
        self.yields += other.yields;
        self.released += other.released;
        self.parked += other.parked;
        self.out_of_time += other.out_of_time;
        self.continued += other.continued;
        self.events += other.events;
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Register {
    pub(super) leases: BTreeMap<NodeName, Lease>,
    pub(super) claims: BTreeMap<u32, Claims>,
    revision: u64,
    pub(super) changes: Vec<Change>,
    pub(super) tally: Tally,
}

impl Register {
    fn revision(&mut self) -> String {
        self.revision += 1;
        format!("r{}", self.revision)
    }

    pub(super) fn store_lease(&mut self, mut lease: Lease, recreate: bool) -> Lease {
        let revision = self.revision();
        if recreate {
            lease.uid = Uid::from(revision.as_str());
        }
        lease.resource_version = ResourceVersion::from(revision.as_str());
        self.leases.insert(lease.node.clone(), lease.clone());
        self.changes.push(Change::Lease(lease.clone()));
        lease
    }

    pub(super) fn store_claims(&mut self, mut claims: Claims, recreate: bool) -> Claims {
        let revision = self.revision();
        if recreate {
            claims.uid = Uid::from(revision.as_str());
        }
        claims.resource_version = ResourceVersion::from(revision.as_str());
        self.claims.insert(claims.index, claims.clone());
        self.changes.push(Change::Claims(claims.clone()));
        claims
    }

    pub(super) fn delete_lease(&mut self, node: &NodeName) {
        if self.leases.remove(node).is_some() {
            self.changes.push(Change::LeaseGone(node.clone()));
        }
    }

    pub(super) fn delete_claims(&mut self, index: u32) {
        if self.claims.remove(&index).is_some() {
            self.changes.push(Change::ClaimsGone(index));
        }
    }

    fn holds(&self, session: &SessionId) -> bool {
        self.leases
            .get(&session.node)
            .is_some_and(|lease| lease.holder.as_ref() == Some(session))
    }

    fn count_rows(&mut self, old: &Claims, new: &Claims, by: &NodeName) {
        for (key, row) in &new.rows {
            let Some(before) = old.rows.get(key) else {
                self.tally.carved += u64::from(matches!(key, RowKey::Address(_)));
                continue;
            };
            if before.session != row.session {
                if before.session.node == *by && self.holds(&before.session) {
                    self.tally.hand_overs += 1;
                } else if before.session.node != *by {
                    self.tally.failovers += 1;
                }
            }
        }
    }

    /// A request arrives and is carried out.
    pub(super) fn serve(&mut self, by: &NodeName, request: Request) -> Reply {
        match request {
            Request::ReadLease(node) => Reply::Lease(self.leases.get(&node).cloned()),
            Request::ListLeases => Reply::Leases(self.leases.values().cloned().collect()),
            Request::ReadClaims(index) => Reply::Claims(self.claims.get(&index).cloned()),
            Request::CreateLease(lease) if self.leases.contains_key(&lease.node) => Reply::Conflict,
            Request::CreateLease(lease) => Reply::Lease(Some(self.store_lease(lease, true))),
            Request::PutLease(lease) => match self.leases.get(&lease.node) {
                Some(old) if lease.is_unchanged(old) => {
                    let of_another = |holder: &SessionId| holder.node != *by;
                    let ends = lease.holder != old.holder;
                    let revokes = ends && old.holder.as_ref().is_some_and(of_another);
                    self.tally.revocations += u64::from(revokes);
                    if lease.node.as_str() == ControlPlane::LEASE && lease.holder.is_some() {
                        self.tally.failovers += u64::from(revokes);
                        self.tally.hand_overs += u64::from(old.holder.is_none());
                    }
                    Reply::Lease(Some(self.store_lease(lease, false)))
                }
                _ => Reply::Conflict,
            },
            Request::CreateClaims(claims) if self.claims.contains_key(&claims.index) => {
                Reply::Conflict
            }
            Request::CreateClaims(claims) => Reply::Claims(Some(self.store_claims(claims, true))),
            Request::PutClaims(claims) => match self.claims.get(&claims.index).cloned() {
                Some(old)
                    if old.uid == claims.uid && old.resource_version == claims.resource_version =>
                {
                    // What did not change is not written, and keeps its resourceVersion.
                    if old == claims {
                        return Reply::Claims(Some(old));
                    }
                    self.count_rows(&old, &claims, by);
                    Reply::Claims(Some(self.store_claims(claims, false)))
                }
                _ => Reply::Conflict,
            },
        }
    }
}
