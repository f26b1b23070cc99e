//! One claims object: read, judged and written, one request at a time (rules 3, 5c and 7).

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use super::{
    Machine,
    claims::{Claims, Layout, RowKey},
    entries::Verdict,
    lease::{SessionId, Uid},
    register::{Reply, Request, RequestId},
    takeover::Takeover,
    time::BootTime,
};

/// How long a watch may show an older version before it is taken for a restored etcd.
const STALE: Duration = Duration::from_millis(300);

#[derive(Clone, Debug)]
enum Known {
    /// Not read by this process.
    Unread,
    Absent,
    Seen(Claims),
}

#[derive(Clone, Debug)]
enum Work {
    Idle,
    Waiting {
        request: RequestId,
        sent: BootTime,
        what: What,
    },
}

#[derive(Clone, Debug)]
enum What {
    /// Reads the object, of which this version was known when the read left.
    Read(u64),
    /// Lists Leases to judge the object of this uid and version, which was read before.
    Judge(Uid, u64),
    /// Claims rows of the dead, or free ones.
    Claim,
    /// Creates the object.
    Create,
    /// Gives rows away, or proves them.
    Give {
        /// The object's version after it.
        version: u64,
        /// VIPs are silent until another node has it.
        hands_over: bool,
        /// As many as may be at a time.
        full: bool,
    },
}

/// A claims object as this process knows it.
#[derive(Clone, Debug)]
pub(super) struct Object {
    index: u32,
    known: Known,
    /// Rows of this session by a write of this process since they were gained or fenced.
    proven: BTreeSet<RowKey>,
    /// Rows that this session gained, or may have gained, from the dead or from nobody, and that
    /// are not proven since: their VIPs are claimed first.
    gained: BTreeSet<RowKey>,
    /// When the dead whose rows are being gained were seen to live last.
    silent_since: Option<BootTime>,
    /// What was gained from them, and is not answered here yet.
    takeover: Option<Takeover>,
    /// VIPs that the bucket row does not prove: they have, or had, a row of their own.
    carved: BTreeSet<IpAddr>,
    /// This process has not written it: what an earlier one left live is as good as its rows.
    inherited: bool,
    work: Work,
    /// To be read from then on.
    read_at: BootTime,
    /// To be read then unless the watch has caught up with what is known.
    stale_at: BootTime,
    /// A write met another one, which the watch is about to show; to be read from then on.
    outrun_at: BootTime,
    not_before: BootTime,
    /// What is not urgent is not written before: others may be about to.
    calm_at: BootTime,
}

impl Object {
    pub(super) fn new(index: u32) -> Self {
        Self {
            index,
            known: Known::Unread,
            proven: BTreeSet::new(),
            gained: BTreeSet::new(),
            silent_since: None,
            takeover: None,
            carved: BTreeSet::new(),
            inherited: true,
            work: Work::Idle,
            read_at: BootTime::default(),
            stale_at: BootTime::NEVER,
            outrun_at: BootTime::NEVER,
            not_before: BootTime::default(),
            calm_at: BootTime::default(),
        }
    }

    pub(super) fn seen(&self) -> Option<&Claims> {
        match &self.known {
            Known::Seen(claims) => Some(claims),
            Known::Unread | Known::Absent => None,
        }
    }

    pub(super) fn takeover(&mut self) -> &mut Option<Takeover> {
        &mut self.takeover
    }

    /// When the dead whose rows were just gained were seen to live last; once.
    pub(super) fn take_silent_since(&mut self) -> Option<BootTime> {
        self.silent_since.take()
    }

    /// It is read, or known to be absent.
    pub(super) fn is_known(&self) -> bool {
        !matches!(self.known, Known::Unread)
    }

    pub(super) fn uid(&self) -> Option<&Uid> {
        self.seen().map(|claims| &claims.uid)
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.work, Work::Idle)
    }

    /// VIPs are silent until its write has come back.
    pub(super) fn is_handed_over(&self) -> bool {
        let Work::Waiting { what, .. } = &self.work else {
            return false;
        };
        matches!(
            what,
            What::Give {
                hands_over: true,
                ..
            }
        )
    }

    pub(super) fn is_proven(&self, key: RowKey) -> bool {
        self.proven.contains(&key)
    }

    pub(super) fn is_gained(&self, key: RowKey) -> bool {
        self.gained.contains(&key)
    }

    /// VIPs that have, or had, a row of their own.
    pub(super) fn carved(&self) -> impl Iterator<Item = IpAddr> {
        self.carved.iter().copied()
    }

    /// No row is held any more, whatever the object says.
    pub(super) fn forget(&mut self) {
        self.proven.clear();
        self.gained.clear();
        self.silent_since = None;
        self.takeover = None;
        self.carved.clear();
        self.inherited = false;
        self.work = Work::Idle;
        self.outrun_at = BootTime::NEVER;
        self.read_at = BootTime::default();
    }

    pub(super) fn verdict(
        &self,
        vip: IpAddr,
        bucket: u32,
        session: &SessionId,
        layout: Layout,
    ) -> Verdict {
        let claims = match &self.known {
            Known::Unread if self.inherited => return Verdict::Unproven,
            Known::Seen(claims) if claims.is_understood(layout) => claims,
            _ => return Verdict::NotOurs,
        };
        match claims.deciding(vip, bucket) {
            Some((key, row)) if row.session == *session => {
                let by_bucket = key == RowKey::Bucket(bucket);
                if self.proven.contains(&key) && !(by_bucket && self.carved.contains(&vip)) {
                    Verdict::Ours
                } else if self.inherited {
                    Verdict::Unproven
                } else {
                    Verdict::NotOurs
                }
            }
            _ => Verdict::NotOurs,
        }
    }
}

impl Machine {
    pub(super) fn object_turn(&mut self, index: usize, now: BootTime) {
        let time_out = self.config.timing.time_out();
        if let Work::Waiting { sent, .. } = self.objects[index].work
            && self.due(sent + time_out, now)
        {
            self.objects[index].work = Work::Idle;
            self.objects[index].read_at = now;
        }
        let not_before = self.objects[index].not_before;
        if !self.objects[index].is_idle()
            || !self.session.is_confirmed(now)
            || !self.due(not_before, now)
        {
            return;
        }
        let read_at = self.objects[index]
            .read_at
            .min(self.objects[index].stale_at);
        if self.due(read_at, now) {
            return self.read_object(index, now);
        }
        let outrun_at = self.objects[index].outrun_at;
        if outrun_at != BootTime::NEVER {
            if self.due(outrun_at, now) {
                self.read_object(index, now);
            }
            return;
        }
        if self.objects[index].seen().is_none() {
            let new = Claims::empty(self.objects[index].index, self.config.layout);
            return self.object_ask(index, Request::CreateClaims(new), What::Create, now);
        }
        let given = self.given(index, now);
        let calm_at = self.objects[index].calm_at;
        if let Some(given) = given
            && (given.urgent || self.due(calm_at, now))
        {
            let (hands_over, full) = (given.hands_over(), given.full);
            if hands_over && self.hands_over_already(now) {
                return;
            }
            self.fence_rows(&given.rows);
            for key in given.rows {
                self.objects[index].proven.remove(&key);
            }
            for vip in given.carved {
                self.fence(vip);
                self.objects[index].carved.insert(vip);
            }
            let what = What::Give {
                version: given.object.version,
                hands_over,
                full,
            };
            self.object_ask(index, Request::PutClaims(given.object), what, now);
        } else if !self.claimable(index, false, now).is_empty() {
            self.read_object(index, now);
        }
    }

    fn read_object(&mut self, index: usize, now: BootTime) {
        let object = &mut self.objects[index];
        object.read_at = BootTime::NEVER;
        object.stale_at = BootTime::NEVER;
        object.outrun_at = BootTime::NEVER;
        let request = Request::ReadClaims(object.index);
        let version = object.seen().map_or(0, |claims| claims.version);
        self.object_ask(index, request, What::Read(version), now);
    }

    fn object_ask(&mut self, index: usize, request: Request, what: What, now: BootTime) {
        let request = self.ask(request, false);
        self.objects[index].work = Work::Waiting {
            request,
            sent: now,
            what,
        };
        self.due(now + self.config.timing.time_out(), now);
    }

    /// Every object is at rest, and no row of ours waits for anything.
    pub(super) fn is_quiet(&self, now: BootTime) -> bool {
        let confirmed = self.session.is_confirmed(now);
        confirmed
            && (0..self.objects.len()).all(|index| {
                let object = &self.objects[index];
                object.is_idle()
                    && object.read_at == BootTime::NEVER
                    && object.outrun_at == BootTime::NEVER
                    && self.given(index, now).is_none()
            })
    }

    /// A watch shows an object, possibly an old state of it.
    pub(super) fn claims_watched(&mut self, claims: Claims, now: BootTime) {
        let Some(object) = self.objects.get_mut(claims.index as usize) else {
            return;
        };
        let old = match &object.known {
            Known::Seen(old) => old,
            Known::Absent => {
                object.read_at = now;
                return;
            }
            Known::Unread => return,
        };
        if old.uid == claims.uid && claims.version > old.version {
            self.adopt(claims, now);
        } else if old.uid == claims.uid && claims.version < old.version {
            object.stale_at = object.stale_at.min(now + STALE);
        } else if old.uid != claims.uid || old.resource_version != claims.resource_version {
            object.read_at = now;
        } else {
            object.stale_at = BootTime::NEVER;
        }
    }

    /// A watch shows that an object is gone; only a read makes it so.
    pub(super) fn claims_gone(&mut self, index: u32) {
        if let Some(object) = self.objects.get_mut(index as usize) {
            object.read_at = BootTime::default();
        }
    }

    /// The watch was faster than the answer that brought this object.
    fn is_outrun(&self, claims: &Claims) -> bool {
        let seen = self.objects[claims.index as usize].seen();
        seen.is_some_and(|seen| seen.uid == claims.uid && seen.version > claims.version)
    }

    /// Takes an object as it is now.
    fn adopt(&mut self, claims: Claims, now: BootTime) {
        let index = claims.index as usize;
        let Some(session) = self.session.id.clone() else {
            return;
        };
        let recreated = self.objects[index]
            .seen()
            .is_some_and(|old| old.uid != claims.uid || claims.version < old.version);
        if recreated {
            self.forget_object(index);
        }
        for row in claims.rows.values() {
            self.peers.noted(&row.session);
        }
        let calm_at = now + self.dice.between(300, 1000);
        let object = &mut self.objects[index];
        if object
            .seen()
            .is_none_or(|old| old.version != claims.version)
        {
            object.calm_at = calm_at;
        }
        // Whatever an earlier process gained and did not live to claim.
        if matches!(object.known, Known::Unread) {
            let own = claims.rows.iter().filter(|(_, row)| row.session == session);
            object.gained.extend(own.map(|(key, _)| *key));
        }
        object.proven.retain(|key| {
            claims
                .rows
                .get(key)
                .is_some_and(|row| row.session == session)
        });
        object
            .carved
            .extend(claims.rows.keys().filter_map(|key| match key {
                RowKey::Address(vip) => Some(*vip),
                RowKey::Bucket(_) => None,
            }));
        object.known = Known::Seen(claims);
        object.stale_at = BootTime::NEVER;
        object.outrun_at = BootTime::NEVER;
        let objects = &self.objects;
        self.peers.retain(|session| {
            let mut seen = objects.iter().filter_map(Object::seen);
            seen.any(|claims| claims.rows.values().any(|row| row.session == *session))
        });
    }

    /// Fences before anything else: the next renewal says that the new object was read.
    fn forget_object(&mut self, index: usize) {
        self.fence_object(self.objects[index].index);
        self.objects[index].forget();
    }

    pub(super) fn object_replied(&mut self, id: RequestId, reply: Reply, now: BootTime) {
        let found =
            self.objects
                .iter()
                .enumerate()
                .find_map(|(index, object)| match &object.work {
                    Work::Waiting {
                        request,
                        sent,
                        what,
                    } if *request == id => Some((index, *sent, what.clone())),
                    _ => None,
                });
        let Some((index, sent, what)) = found else {
            return;
        };
        self.objects[index].work = Work::Idle;
        let part = match what {
            What::Give {
                version,
                full: true,
                ..
            } => Some(version),
            _ => None,
        };
        match (what, reply) {
            (What::Read(known), Reply::Claims(Some(claims))) if claims.index as usize == index => {
                if self.is_outrun(&claims) && claims.version >= known {
                    return;
                }
                let judged = What::Judge(claims.uid.clone(), claims.version);
                self.adopt(claims, now);
                if !self.claimable(index, false, now).is_empty() {
                    self.object_ask(index, Request::ListLeases, judged, now);
                }
            }
            (What::Read(_), Reply::Claims(None)) => {
                self.forget_object(index);
                self.objects[index].known = Known::Absent;
                self.objects[index].read_at = BootTime::NEVER;
            }
            (What::Judge(uid, version), Reply::Leases(leases)) => {
                self.peers.listed(leases, now);
                self.judged(index, uid, version, now);
            }
            (What::Claim | What::Create | What::Give { .. }, Reply::Claims(Some(claims)))
                if claims.index as usize == index =>
            {
                if let Some(version) = part {
                    self.part_left(index, version, sent, now);
                }
                // Rows of what was seen since may have been gained since, too.
                if !self.is_outrun(&claims) {
                    self.adopt(claims, now);
                    self.proved(index, now);
                }
            }
            // Somebody waits for a hand-over: it is tried again as soon as the watch shows what came
            // between, which mostly it has.
            (What::Give { version, .. }, Reply::Conflict)
                if self.objects[index]
                    .seen()
                    .is_some_and(|seen| seen.version < version) =>
            {
                self.objects[index].outrun_at = now + self.dice.between(5, 50);
            }
            (What::Give { .. }, Reply::Conflict) if self.objects[index].seen().is_some() => {}
            _ => {
                self.objects[index].read_at = now;
                self.objects[index].not_before = now + self.dice.between(5, 50);
            }
        }
    }

    /// Claims what was read before the Leases were (rule 6: row first, its holder's Lease after).
    fn judged(&mut self, index: usize, uid: Uid, version: u64, now: BootTime) {
        let Some(claims) = self.objects[index].seen() else {
            return;
        };
        if claims.uid != uid || claims.version != version {
            self.objects[index].read_at = now;
            return;
        }
        let gained = self.claimable(index, true, now);
        if gained.is_empty() || !self.session.is_confirmed(now) {
            self.objects[index].not_before = now + self.dice.between(100, 300);
            return;
        }
        if let Some(put) = self.with_rows(index, &gained) {
            self.objects[index].silent_since = self.silent_since(index, &gained);
            self.object_ask(index, Request::PutClaims(put), What::Claim, now);
            self.objects[index].gained.extend(gained);
        }
    }

    /// A write succeeded: its rows of ours may go live (rule 7).
    fn proved(&mut self, index: usize, now: BootTime) {
        let session = self.session.id.clone();
        let object = &mut self.objects[index];
        let Known::Seen(claims) = &object.known else {
            return;
        };
        let rows = claims
            .rows
            .iter()
            .filter(|(_, row)| Some(&row.session) == session.as_ref());
        object.proven = rows.map(|(key, _)| *key).collect();
        object
            .carved
            .retain(|vip| claims.rows.contains_key(&RowKey::Address(*vip)));
        object.inherited = false;
        let gained = std::mem::take(&mut object.gained);
        self.claim_rows(&gained, now);
        self.takeover_begins(index);
    }
}
