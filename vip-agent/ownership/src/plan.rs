//! Which rows this node may claim, and which of its own it gives away.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    Machine,
    claims::{Claims, Row, RowKey},
    lease::{Lease, NodeName, Readiness, SessionId},
    object::Object,
    peers::Life,
    time::BootTime,
};

/// A write that changes rows of this session, or proves them.
pub(super) struct Given {
    pub(super) object: Claims,
    /// Rows that are fenced first.
    pub(super) rows: BTreeSet<RowKey>,
    /// VIPs of a bucket row that get a row of their own, and are fenced first.
    pub(super) carved: Vec<IpAddr>,
    /// Somebody waits for it: an address is in it. What else there is, waits until nobody writes
    /// the object, and stands in nobody's way.
    pub(super) urgent: bool,
    /// As many VIPs are fenced as may be at a time: there may be more to hand over.
    pub(super) full: bool,
}

impl Given {
    /// VIPs are fenced for it.
    pub(super) fn hands_over(&self) -> bool {
        !self.rows.is_empty() || !self.carved.is_empty()
    }
}

/// Rows by session, counted when somebody asks for them first: where all is well nobody does.
struct Holdings<'a> {
    machine: &'a Machine,
    rows: Option<BTreeMap<SessionId, usize>>,
}

impl<'a> Holdings<'a> {
    fn of(machine: &'a Machine) -> Self {
        Self {
            machine,
            rows: None,
        }
    }

    fn counted(&mut self) -> &mut BTreeMap<SessionId, usize> {
        let machine = self.machine;
        self.rows.get_or_insert_with(|| machine.holdings())
    }
}

impl Machine {
    /// This node is one that bucket rows may go to.
    pub(super) fn takes_buckets(&self, now: BootTime) -> bool {
        !self.leaving
            && !self.deaf
            && match self.serves.readiness {
                Readiness::Ready => true,
                Readiness::LastChoice => !self.peers.any_ready(&self.config.node, now),
                Readiness::Never => false,
            }
    }

    /// Who answers for VIPs by addresses that another load balancer bound.
    pub(super) fn find_incumbents(&self, now: BootTime) -> BTreeMap<IpAddr, BTreeSet<NodeName>> {
        let own = (&self.config.node, &self.serves);
        let others = self
            .peers
            .living()
            .filter(|(lease, _, until)| lease.node != self.config.node && now < *until);
        let all = others.map(|(lease, ..)| (&lease.node, &lease.serves));
        let mut incumbents = BTreeMap::<IpAddr, BTreeSet<NodeName>>::new();
        for (node, serves) in all.chain([own]) {
            for vip in &serves.incumbent {
                incumbents.entry(*vip).or_default().insert(node.clone());
            }
        }
        incumbents
    }

    /// An address row is wanted for a VIP.
    fn wants_row(&self, vip: IpAddr) -> bool {
        let vips = self.vips.iter().filter_map(|vips| vips.get(&vip));
        self.incumbents.contains_key(&vip) || vips.flatten().next().is_some()
    }

    /// The nodes that an address row may go to; none: any. While another load balancer is being
    /// replaced, those where it answers: a VIP is adopted in place, and moves later if it has to.
    fn candidates(&self, vip: IpAddr) -> Option<&BTreeSet<NodeName>> {
        if let Some(incumbents) = self.incumbents.get(&vip) {
            return Some(incumbents);
        }
        let nodes = self.vips.as_ref()?.get(&vip)?.as_ref()?;
        (!nodes.is_empty()).then_some(nodes)
    }

    fn takes(&self, key: RowKey, now: BootTime) -> bool {
        let named = match key {
            RowKey::Bucket(_) => None,
            RowKey::Address(_) if self.vips.is_none() => return false,
            RowKey::Address(vip) => self.candidates(vip),
        };
        self.takes_buckets(now) && named.is_none_or(|nodes| nodes.contains(&self.config.node))
    }

    pub(super) fn has_free_row(&self, claims: &Claims) -> bool {
        let mut buckets = self.config.layout.buckets_of(claims.index);
        buckets.any(|bucket| !claims.rows.contains_key(&RowKey::Bucket(bucket)))
    }

    /// Rows of an object that can be claimed: by what is known of the Leases when `judged` they
    /// were read after the object, else rows for which it is worth reading them.
    pub(super) fn claimable(
        &mut self,
        index: usize,
        judged: bool,
        now: BootTime,
    ) -> BTreeSet<RowKey> {
        let (Some(claims), Some(own)) = (self.objects[index].seen(), &self.session.id) else {
            return BTreeSet::new();
        };
        if !claims.is_understood(self.config.layout) {
            return BTreeSet::new();
        }
        let since = self.session.confirmed_since;
        let free_at = self.free_at(claims, since, if judged { BootTime::NEVER } else { now });
        let buckets = self
            .config
            .layout
            .buckets_of(claims.index)
            .map(RowKey::Bucket);
        let rows = claims.rows.iter().map(|(key, row)| (*key, Some(row)));
        let free = buckets
            .filter(|key| !claims.rows.contains_key(key))
            .map(|key| (key, None));
        let mut at: BTreeMap<RowKey, BootTime> = BTreeMap::new();
        for (key, row) in rows.chain(free) {
            let from = match row {
                None => free_at,
                Some(row) if row.session == *own => continue,
                Some(row) => match self.peers.life(&row.session, since) {
                    Life::Named => continue,
                    Life::Unsure if judged => continue,
                    Life::Unsure => now,
                    Life::DeadAt(at) => at,
                },
            };
            if self.takes(key, now) {
                at.insert(key, from);
            }
        }
        let mut claimable = BTreeSet::new();
        for (key, at) in at {
            if self.due(at, now) {
                claimable.insert(key);
            }
        }
        claimable
    }

    /// When the free rows of an object may be claimed (rule 5): every Lease names the object, or
    /// is dead, also one that this process has not seen.
    fn free_at(&self, claims: &Claims, since: BootTime, unsure: BootTime) -> BootTime {
        let others = self
            .peers
            .leases()
            .filter(|lease| lease.node != self.config.node);
        let unread = others.filter(|lease| !lease.claims_read.contains(&claims.uid));
        let living = unread.map(|lease| match lease.holder {
            Some(_) => BootTime::NEVER,
            None => self.peers.all_dead_at(&lease.node, since, unsure),
        });
        let vanished = self
            .peers
            .vanished()
            .filter(|node| **node != self.config.node);
        let vanished = vanished.map(|node| self.peers.all_dead_at(node, since, unsure));
        let unseen = self.session.free_from;
        living
            .chain(vanished)
            .chain(unseen)
            .max()
            .unwrap_or_default()
    }

    /// The object with these rows under this session.
    pub(super) fn with_rows(&self, index: usize, gained: &BTreeSet<RowKey>) -> Option<Claims> {
        let session = self.session.id.as_ref()?;
        let mut put = self.objects[index].seen()?.clone();
        put.version += 1;
        for key in gained {
            put.rows.insert(*key, Row::of(session.clone()));
        }
        Some(put)
    }

    /// What there is to write about rows of this session; none: nothing.
    pub(super) fn given(&self, index: usize, now: BootTime) -> Option<Given> {
        let object = &self.objects[index];
        let claims = object.seen()?;
        if !claims.is_understood(self.config.layout) {
            return None;
        }
        let own = self.session.id.as_ref()?;
        let mut holdings = Holdings::of(self);
        let (mut changes, mut carved) = (BTreeMap::new(), Vec::new());
        let by_bucket = |vip: IpAddr, bucket: u32| {
            let row = claims.rows.get(&RowKey::Bucket(bucket));
            row.is_some_and(|row| row.session == *own)
                && !claims.rows.contains_key(&RowKey::Address(vip))
        };
        let layout = self.config.layout;
        let used: BTreeSet<_> = (self.vips_in(claims.index))
            .map(|(_, bucket)| RowKey::Bucket(bucket))
            .collect();
        let mut unproven = (object.carved()).any(|vip| by_bucket(vip, layout.bucket(vip)));
        let mut urgent = unproven || self.leaving;
        // Looked up for each row and VIP, of which there may be a thousand.
        let claiming = self.claiming();
        let bucket_heir = self.heir_of_buckets(claims, now);
        // Whoever receives a row writes the object to prove it: two would stand in each other's way.
        let mut first_heir = bucket_heir.clone();
        for (key, _) in claims.rows.iter().filter(|(_, row)| row.session == *own) {
            let waits = matches!(key, RowKey::Address(_)) || used.contains(key);
            unproven |= !object.is_proven(*key);
            urgent |= waits && !object.is_proven(*key);
            // Whoever receives a row does not claim its VIPs, so they have been claimed.
            if object.is_gained(*key) || claiming.contains(key) {
                continue;
            }
            if self.is_handed_back(*key, claims) {
                changes.insert(*key, None);
                continue;
            }
            let heir = match key {
                RowKey::Bucket(_) => bucket_heir.clone(),
                RowKey::Address(_) => {
                    self.heir(*key, claims, first_heir.as_ref(), &mut holdings, now)
                }
            };
            if let Some(heir) = heir {
                first_heir.get_or_insert_with(|| heir.clone());
                changes.insert(*key, Some(heir));
            }
        }
        for (vip, number) in self.vips_in(claims.index) {
            let bucket = RowKey::Bucket(number);
            let address = RowKey::Address(vip);
            let settled = !object.is_gained(bucket) && !claiming.contains(&bucket);
            if by_bucket(vip, number)
                && settled
                && !changes.contains_key(&bucket)
                && let Some(heir) =
                    self.heir(address, claims, first_heir.as_ref(), &mut holdings, now)
            {
                first_heir.get_or_insert_with(|| heir.clone());
                changes.insert(address, Some(heir));
                carved.push(vip);
            }
        }
        urgent |= !changes.is_empty();
        let full = self.cut(&mut changes, claims.index, by_bucket, now);
        carved.retain(|vip| changes.contains_key(&RowKey::Address(*vip)));
        let mut rows: BTreeSet<_> = changes.keys().copied().collect();
        for vip in &carved {
            rows.remove(&RowKey::Address(*vip));
        }
        for (key, heir) in self.balanced(claims, &used, &mut holdings, now) {
            if object.is_proven(key) && !changes.contains_key(&key) {
                changes.insert(key, Some(heir));
                rows.insert(key);
            }
        }
        if !unproven && changes.is_empty() {
            return None;
        }
        let mut put = claims.clone();
        put.version += 1;
        for (key, heir) in changes {
            match heir {
                Some(heir) => put.rows.insert(key, Row::of(heir)),
                None => put.rows.remove(&key),
            };
        }
        Some(Given {
            object: put,
            rows,
            carved,
            urgent,
            full,
        })
    }

    /// Buckets that this node gives away for the sake of balance (rule 9): those without addresses,
    /// of which it has more than its share, to whoever has the fewest. Every holder judges its own
    /// alone, and gives no more than what is above its share, so that two do not overfill a third.
    fn balanced(
        &self,
        claims: &Claims,
        used: &BTreeSet<RowKey>,
        holdings: &mut Holdings<'_>,
        now: BootTime,
    ) -> Vec<(RowKey, SessionId)> {
        let (Some(own), Some(_)) = (&self.session.id, &self.vips) else {
            return Vec::new();
        };
        // A share is known when every bucket is: read, and not about to change hands. A process that
        // has just begun knows some objects and peers before others.
        let is_known = |object: &Object| object.is_known() && object.is_idle();
        if !self.keeps_buckets() || !self.objects.iter().all(is_known) {
            return Vec::new();
        }
        let buckets = self.config.layout.buckets_of(claims.index).rev();
        let mut empty = buckets.map(RowKey::Bucket).filter(|key| {
            let row = claims.rows.get(key);
            row.is_some_and(|row| row.session == *own) && !used.contains(key)
        });
        let Some(first) = empty.next() else {
            return Vec::new();
        };
        let holdings = holdings.counted();
        let rows = |session: &SessionId| holdings.get(session).copied().unwrap_or(0);
        let mut heirs: Vec<_> = self
            .peers
            .living()
            .filter(|(lease, _, until)| {
                lease.node != self.config.node
                    && now < *until
                    && lease.serves.readiness == Readiness::Ready
            })
            .map(|(lease, session, _)| (rows(session), session, lease))
            .collect();
        let ready: BTreeSet<&SessionId> = heirs.iter().map(|(_, session, _)| *session).collect();
        // Beyond them a session is open for the sake of candidates alone, and ends with that.
        if heirs.len() >= self.config.max_announcers {
            heirs.retain(|(rows, ..)| *rows > 0);
        }
        let mut mine = rows(own);
        let all: usize = heirs.iter().map(|(rows, ..)| rows).sum::<usize>() + mine;
        let share = all.div_ceil(heirs.len() + 1);
        if mine <= share {
            return Vec::new();
        }
        let objects = self.objects.iter().filter_map(Object::seen);
        let mut rows_of_buckets = objects
            .flat_map(|claims| &claims.rows)
            .filter(|(key, _)| matches!(key, RowKey::Bucket(_)));
        let stays = |holder: &SessionId| holder == own || ready.contains(holder);
        if !rows_of_buckets.all(|(_, row)| stays(&row.session)) {
            return Vec::new();
        }
        let mut given = Vec::new();
        for key in [first].into_iter().chain(empty) {
            let reader = |lease: &Lease| lease.claims_read.contains(&claims.uid);
            let heirs = heirs.iter_mut().filter(|(_, _, lease)| reader(lease));
            let Some((rows, session, _)) = heirs.min_by_key(|(rows, ..)| *rows) else {
                break;
            };
            if mine <= share || *rows >= share {
                break;
            }
            *rows += 1;
            mine -= 1;
            given.push((key, (*session).clone()));
        }
        given
    }

    /// The VIPs of an object, each with its bucket.
    pub(super) fn vips_in(&self, index: u32) -> impl Iterator<Item = (IpAddr, u32)> {
        let home = self.homes.get(index as usize);
        home.into_iter().flatten().copied()
    }

    /// An address row that nothing asks for any more goes back to the bucket (rule 8).
    fn is_handed_back(&self, key: RowKey, claims: &Claims) -> bool {
        let (RowKey::Address(vip), Some(_)) = (key, &self.vips) else {
            return false;
        };
        let bucket = RowKey::Bucket(self.config.layout.bucket(vip));
        !self.wants_row(vip) && claims.rows.contains_key(&bucket)
    }

    /// Rows by session, to find who has the fewest.
    fn holdings(&self) -> BTreeMap<SessionId, usize> {
        let mut holdings = BTreeMap::<SessionId, usize>::new();
        let objects = self.objects.iter().filter_map(|object| object.seen());
        for row in objects.flat_map(|claims| claims.rows.values()) {
            match holdings.get_mut(&row.session) {
                Some(rows) => *rows += 1,
                None => drop(holdings.insert(row.session.clone(), 1)),
            }
        }
        holdings
    }

    /// This node is as good as any other: its buckets stay with it.
    fn keeps_buckets(&self) -> bool {
        !self.leaving && !self.deaf && self.serves.readiness == Readiness::Ready
    }

    /// The living session that this node's buckets of an object go to, if it is not to keep them:
    /// all to one, since two would stand in each other's way, writing the object to prove what
    /// they got. Objects before this one are counted as given.
    fn heir_of_buckets(&self, claims: &Claims, now: BootTime) -> Option<SessionId> {
        let own = self.session.id.as_ref()?;
        if self.keeps_buckets() {
            return None;
        }
        let mut holdings = Holdings::of(self);
        let mut heir = None;
        let objects = self.objects.iter().filter_map(|object| object.seen());
        for object in objects.take_while(|object| object.index <= claims.index) {
            let own_rows = object
                .rows
                .iter()
                .filter(|(key, row)| matches!(key, RowKey::Bucket(_)) && row.session == *own);
            let own_rows: Vec<_> = own_rows.map(|(key, _)| *key).collect();
            let Some((first, others)) = own_rows.split_first() else {
                continue;
            };
            heir = self.heir(*first, object, None, &mut holdings, now);
            if let Some(heir) = &heir {
                *holdings.counted().entry(heir.clone()).or_default() += others.len();
            }
        }
        heir
    }

    /// The living session that a row goes to, if this node is not to keep it (rule 9): rather one
    /// that is `before` others.
    fn heir(
        &self,
        key: RowKey,
        claims: &Claims,
        before: Option<&SessionId>,
        holdings: &mut Holdings<'_>,
        now: BootTime,
    ) -> Option<SessionId> {
        let candidates = match key {
            RowKey::Address(vip) => self.candidates(vip),
            RowKey::Bucket(_) => None,
        };
        let readiness = self.serves.readiness;
        let must_go = self.leaving || self.deaf || readiness == Readiness::Never;
        let elsewhere = candidates.is_some_and(|nodes| !nodes.contains(&self.config.node));
        if !must_go && !elsewhere && readiness == Readiness::Ready {
            return None;
        }
        // A bucket row's VIP gets a row of its own only for the sake of its candidates.
        if matches!(key, RowKey::Address(_)) && !claims.rows.contains_key(&key) && !elsewhere {
            return None;
        }
        let worst = match must_go || elsewhere {
            true => Readiness::LastChoice,
            false => Readiness::Ready,
        };
        let heirs = self.peers.living().filter(|(lease, _, until)| {
            lease.node != self.config.node
                && now < *until
                && lease.claims_read.contains(&claims.uid)
                && lease.serves.readiness <= worst
                && candidates.is_none_or(|nodes| nodes.contains(&lease.node))
        });
        let holdings = holdings.counted();
        let rows = |session: &SessionId| holdings.get(session).copied().unwrap_or(0);
        let rank = |lease: &Lease, session: &SessionId| {
            (
                lease.serves.readiness,
                before != Some(session),
                rows(session),
            )
        };
        let (_, heir, _) = heirs.min_by_key(|(lease, session, _)| rank(lease, session))?;
        *holdings.entry(heir.clone()).or_default() += 1;
        Some(heir.clone())
    }
}
