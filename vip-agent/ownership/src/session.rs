//! This node's own Lease: opened, renewed, continued, lost, parked and released.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Left, Machine, OnApiLoss,
    action::{Action, Exit},
    lease::{Lease, NodeName, Readiness, ResourceVersion, Serves, SessionId},
    register::{Reply, Request, RequestId},
    time::BootTime,
    timing::Timing,
};

/// This node's session, or the lack of one.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) id: Option<SessionId>,
    pub(super) epoch: u64,
    /// Sending time of the latest renewal known to have succeeded, and H.
    pub(super) confirmed: BootTime,
    /// Since when it has been confirmed without a break; means nothing while it is not.
    pub(super) confirmed_since: BootTime,
    /// The session that ended last: the next one names it as released.
    former: Option<SessionId>,
    /// The Lease as this process read or wrote it last.
    lease: Option<Lease>,
    state: State,
    renew_at: BootTime,
    extend_at: BootTime,
    /// Renewals of this session that may still succeed: sending time, and what they are good for.
    renewals: BTreeMap<RequestId, (BootTime, Duration)>,
    /// All Leases were listed once.
    listed: bool,
    /// Free rows may be claimed from then on. A node that has had a Lease is of a cluster where
    /// another may answer whose Lease was deleted before this process saw it.
    pub(super) free_from: Option<BootTime>,
    foreign: Option<Foreign>,
    /// Sessions that were lost, and not given back.
    pub(super) losses: u64,
}

/// A living session of another boot under this node's name (rule 11).
#[derive(Clone, Debug)]
struct Foreign {
    resource_version: ResourceVersion,
    since: BootTime,
    renewed: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    /// The Lease has to be read, from then on.
    Unread(BootTime),
    Idle,
    Waiting {
        request: RequestId,
        sent: BootTime,
        what: What,
    },
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Read,
    List,
    Open(SessionId),
    Renew,
    Park,
    Release,
}

impl Session {
    pub(super) fn new(now: BootTime) -> Self {
        Self {
            id: None,
            epoch: 0,
            confirmed: BootTime::default(),
            confirmed_since: now,
            former: None,
            lease: None,
            state: State::Unread(now),
            renew_at: now,
            extend_at: now,
            renewals: BTreeMap::new(),
            listed: false,
            free_from: None,
            foreign: None,
            losses: 0,
        }
    }

    pub(super) fn is_confirmed(&self, now: BootTime) -> bool {
        self.id.is_some() && now < self.confirmed
    }

    /// There is no session, and none is being opened.
    fn is_gone(&self) -> bool {
        let opens = matches!(
            &self.state,
            State::Waiting {
                what: What::Open(_),
                ..
            }
        );
        self.id.is_none() && !opens
    }

    /// A request that came to a good end was a renewal of a session that is confirmed.
    pub(super) fn is_renewed_by(&self, id: RequestId, now: BootTime) -> bool {
        let renews = matches!(
            &self.state,
            State::Waiting {
                request,
                what: What::Renew,
                ..
            } if *request == id
        );
        renews && self.is_confirmed(now)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    pub(super) fn renew_soon(&mut self, now: BootTime) {
        self.renew_at = self.renew_at.min(now);
    }
}

impl Machine {
    /// Continues what an earlier process of this boot left, or makes sure that it is silent.
    pub(super) fn take_over(&mut self, left: Left, now: BootTime) {
        let own = |id: &SessionId| id.node == self.config.node && id.boot == self.config.boot;
        let limit = now + self.config.timing.hold();
        if left.session.as_ref().is_some_and(own) {
            self.session.id = left.session;
            self.session.epoch = left.epoch;
            self.session.confirmed = left.confirmed.min(limit);
            self.entries.inherit(left.live);
            // Parked times are lowered before the usual L is written (rule 9).
            if left.deadline > limit {
                self.set_slot(limit);
            }
        } else {
            self.session.epoch = left.epoch + 1;
            self.set_slot(BootTime::default());
        }
    }

    pub(super) fn set_slot(&mut self, deadline: BootTime) {
        self.out.push(Action::Slot {
            deadline,
            confirmed: self.session.confirmed,
            epoch: self.session.epoch,
        });
    }

    pub(super) fn session_turn(&mut self, now: BootTime) {
        self.hold_turn(now);
        if let State::Waiting { sent, .. } = self.session.state
            && self.due(sent + self.config.timing.time_out(), now)
        {
            self.session.state = State::Unread(now);
        }
        if let State::Unread(at) = self.session.state
            && self.due(at, now)
        {
            let request = Request::ReadLease(self.config.node.clone());
            self.session_ask(request, What::Read, now);
        }
        if !self.session.is_idle() || self.leaving {
            return;
        }
        if self.session.id.is_some() {
            if self.is_dispensable(now) {
                self.release(now);
            } else {
                self.renew_turn(now);
            }
        } else if !self.session.listed {
            self.session_ask(Request::ListLeases, What::List, now);
        } else if self.wants_session(now) {
            self.open(now);
        }
    }

    /// Moves the deadline while the session is not known to be lost (rule 10).
    fn hold_turn(&mut self, now: BootTime) {
        if self.session.id.is_none() || self.config.on_api_loss == OnApiLoss::Fence {
            return;
        }
        if self.due(self.session.extend_at, now) {
            self.out.push(Action::Extend {
                deadline: now + self.config.timing.hold(),
                confirmed: self.session.confirmed,
            });
            self.session.extend_at = now + Timing::HOLD_STEP;
            self.due(self.session.extend_at, now);
        }
    }

    fn session_ask(&mut self, request: Request, what: What, now: BootTime) -> RequestId {
        let request = self.ask(request, what == What::Read);
        self.session.state = State::Waiting {
            request,
            sent: now,
            what,
        };
        self.due(now + self.config.timing.time_out(), now);
        request
    }

    fn renew_turn(&mut self, now: BootTime) {
        let Some(lease) = &self.session.lease else {
            self.session.state = State::Unread(now);
            return;
        };
        let news = !self.acknowledges(lease) || lease.serves != self.offer();
        if news || self.due(self.session.renew_at, now) {
            self.renew(What::Renew, now);
        }
    }

    /// The Lease names exactly the claims objects that were read.
    fn acknowledges(&self, lease: &Lease) -> bool {
        let read = self.objects.iter().filter_map(|object| object.uid());
        lease.claims_read.len() == read.clone().count()
            && read.clone().all(|uid| lease.claims_read.contains(uid))
    }

    fn renew(&mut self, what: What, now: BootTime) {
        let Some(lease) = self.session.lease.clone() else {
            return;
        };
        let timing = &self.config.timing;
        let (duration, hold) = match what {
            What::Park => (Timing::PARKED_DURATION, Timing::PARKED_HOLD),
            _ => (timing.duration(), timing.hold()),
        };
        self.session.renew_at = now + timing.renew();
        let lease = self.filled(lease, self.session.id.clone(), duration);
        let request = self.session_ask(Request::PutLease(lease), what, now);
        self.session
            .renewals
            .retain(|_, (sent, hold)| *sent + *hold > now);
        self.session.renewals.insert(request, (now, hold));
    }

    /// What this node serves as others are to see it: nobody hands a row to the deaf, who would
    /// hand it on.
    fn offer(&self) -> Serves {
        let mut offer = self.serves.clone();
        if self.deaf || self.leaving {
            offer.readiness = Readiness::Never;
        }
        offer
    }

    fn filled(&self, mut lease: Lease, holder: Option<SessionId>, duration: Duration) -> Lease {
        lease.holder = holder;
        lease.duration = duration;
        lease.serves = self.offer();
        lease.claims_read = self
            .objects
            .iter()
            .filter_map(|object| object.uid().cloned())
            .collect();
        lease
    }

    /// Opens a session, once nobody else can have the Lease (rules 3 and 11).
    fn open(&mut self, now: BootTime) {
        let found = self.session.lease.clone();
        let holder = found.as_ref().and_then(|lease| lease.holder.clone());
        if let (Some(lease), Some(holder)) = (&found, &holder)
            && holder.boot != self.config.boot
            && !self.foreign_is_silent(lease, holder, now)
        {
            return;
        }
        let id = SessionId {
            node: self.config.node.clone(),
            boot: self.config.boot,
            id: self.dice.id(),
        };
        let exists = found.is_some();
        let mut lease = found.unwrap_or_else(|| Lease {
            node: self.config.node.clone(),
            uid: "".into(),
            resource_version: "".into(),
            holder: None,
            revoked: None,
            claims_read: Default::default(),
            serves: self.offer(),
            duration: self.config.timing.duration(),
        });
        // Whoever this replaces is of an earlier boot, or fenced by this machine.
        if let Some(replaced) = holder.or(self.session.former.clone()) {
            lease.revoked = Some(replaced);
        }
        let lease = self.filled(lease, Some(id.clone()), self.config.timing.duration());
        let request = match exists {
            true => Request::PutLease(lease),
            false => Request::CreateLease(lease),
        };
        self.session_ask(request, What::Open(id), now);
    }

    /// A holder of another boot: this node before it rebooted, unless it goes on renewing.
    fn foreign_is_silent(&mut self, lease: &Lease, holder: &SessionId, now: BootTime) -> bool {
        let seen = self.session.foreign.get_or_insert_with(|| Foreign {
            resource_version: lease.resource_version.clone(),
            since: now,
            renewed: false,
        });
        if seen.resource_version != lease.resource_version {
            // One late renewal of a dead process may land, two do not.
            if seen.renewed {
                self.out.push(Action::Refuse(holder.clone()));
                self.done = true;
                return false;
            }
            seen.resource_version = lease.resource_version.clone();
            seen.since = now;
            seen.renewed = true;
        }
        let silent_at = seen.since + lease.duration;
        if now < silent_at {
            let at = silent_at.min(now + self.config.timing.renew());
            self.session.state = State::Unread(at);
            self.due(at, now);
        }
        now >= silent_at
    }

    /// A watch shows this node's Lease, possibly an old state: whatever looks wrong is read.
    pub(super) fn own_lease_watched(
        &mut self,
        lease: Option<&Lease>,
        of: &NodeName,
        now: BootTime,
    ) {
        let session = &mut self.session;
        let (Some(id), Some(known)) = (&session.id, &session.lease) else {
            return;
        };
        let ours = |lease: &Lease| lease.holder.as_ref() == Some(id) && lease.uid == known.uid;
        if *of == self.config.node && session.is_idle() && !lease.is_some_and(ours) {
            self.session.state = State::Unread(now);
        }
    }

    /// Takes replies to requests about this node's Lease, and gives back others.
    pub(super) fn session_replied(
        &mut self,
        id: RequestId,
        reply: Reply,
        now: BootTime,
    ) -> Option<Reply> {
        // Also the late success of a renewal counts, by its own sending time (rule 2).
        if let Some((sent, hold)) = self.session.renewals.remove(&id)
            && matches!(reply, Reply::Lease(Some(_)))
        {
            self.confirm(sent + hold, now);
        }
        let (what, sent) = match &self.session.state {
            State::Waiting {
                request,
                what,
                sent,
            } if *request == id => (what.clone(), *sent),
            _ => return Some(reply),
        };
        self.session.state = match (what, reply) {
            (_, Reply::Unknown) => State::Unread(now + self.dice.between(200, 600)),
            (What::Read, Reply::Lease(lease)) => {
                self.peers
                    .read(&self.config.node.clone(), lease.clone(), now);
                let duration = self.config.timing.duration();
                let free_from = lease.as_ref().map_or(now, |_| now + duration);
                self.session.free_from.get_or_insert(free_from);
                self.own_lease_read(lease, now);
                State::Idle
            }
            (What::List, Reply::Leases(leases)) => {
                self.peers.listed(leases, now);
                self.session.listed = true;
                State::Idle
            }
            (What::Open(id), Reply::Lease(Some(lease))) => {
                self.opened(id, lease, sent, now);
                State::Idle
            }
            (What::Renew, Reply::Lease(Some(lease))) => {
                self.session.lease = Some(lease);
                State::Idle
            }
            (What::Park, Reply::Lease(Some(_))) => {
                self.out.push(Action::Exit(Exit::Parked));
                self.done = true;
                State::Idle
            }
            (What::Release, Reply::Lease(lease)) => {
                self.session.id = None;
                self.session.lease = lease;
                State::Idle
            }
            // A conflict, or an answer to another question.
            _ => State::Unread(now),
        };
        None
    }

    fn own_lease_read(&mut self, lease: Option<Lease>, now: BootTime) {
        if let Some(id) = &self.session.id {
            let known = self.session.lease.as_ref();
            let ours = lease.as_ref().is_some_and(|lease| {
                lease.holder.as_ref() == Some(id)
                    && known.is_none_or(|known| known.uid == lease.uid)
            });
            if ours {
                self.session.renew_soon(now);
            } else {
                self.lose();
            }
        }
        self.session.lease = lease;
    }

    fn opened(&mut self, id: SessionId, lease: Lease, sent: BootTime, now: BootTime) {
        self.session.epoch += 1;
        self.session.confirmed = sent + self.config.timing.hold();
        self.session.confirmed_since = now;
        self.session.former = None;
        self.session.foreign = None;
        self.session.lease = Some(lease);
        self.session.id = Some(id.clone());
        self.session.renew_at = sent + self.config.timing.renew();
        self.session.extend_at = now + Timing::HOLD_STEP;
        let epoch = self.session.epoch;
        self.out.push(Action::Remember { id, epoch });
        // Lifts a deadline without claims: no entry has this epoch yet.
        self.set_slot(self.session.confirmed);
    }

    /// A renewal of this session succeeded that is good until `confirmed`.
    fn confirm(&mut self, confirmed: BootTime, now: BootTime) {
        if confirmed <= self.session.confirmed.max(now) {
            return;
        }
        if now >= self.session.confirmed {
            self.session.confirmed_since = now;
        }
        self.session.confirmed = confirmed;
        self.out.push(Action::Extend {
            deadline: confirmed,
            confirmed,
        });
    }

    /// Ends the session here: one store silences everything (rule 3).
    fn fence_session(&mut self) {
        self.stirred = true;
        self.session.epoch += 1;
        self.session.confirmed = BootTime::default();
        self.session.renewals.clear();
        self.set_slot(BootTime::default());
        self.fence_everything();
        for object in &mut self.objects {
            object.forget();
        }
    }

    fn lose(&mut self) {
        self.session.losses += 1;
        self.session.former = self.session.id.take();
        self.fence_session();
    }

    /// Gives the session back: fence, unbind, then the Lease (rule 9).
    pub(super) fn release(&mut self, now: BootTime) {
        self.fence_session();
        if self.leaving {
            self.out.push(Action::Unbind);
        }
        let Some(lease) = self.session.lease.clone() else {
            self.session.state = State::Unread(now);
            return;
        };
        let mut lease = self.filled(lease, None, self.config.timing.duration());
        lease.revoked = self.session.id.clone();
        self.session_ask(Request::PutLease(lease), What::Release, now);
    }

    /// The process is asked to go: within H, whatever the register does.
    pub(super) fn leave(&mut self, now: BootTime) {
        if !self.leaving {
            self.leaving = true;
            self.leave_by = now + self.config.timing.hold();
        }
    }

    /// Leaves once nothing more can be handed over (rule 9).
    pub(super) fn leave_turn(&mut self, now: BootTime) {
        if !self.leaving {
            return;
        }
        let is_late = self.due(self.leave_by, now);
        if is_late || self.session.is_gone() {
            return self.exit();
        }
        if !self.session.is_idle() {
            return;
        }
        if self.rows().next().is_some() {
            match self.is_quiet(now) {
                true => self.renew(What::Park, now),
                // It may take longer than a renewal: another node has to answer first.
                false => self.renew_turn(now),
            }
        } else if self.is_quiet(now) {
            self.release(now);
        } else {
            self.renew_turn(now);
        }
    }

    fn exit(&mut self) {
        let exit = match self.entries.is_empty() {
            true => {
                self.out.push(Action::Unbind);
                Exit::Released
            }
            false => Exit::OutOfTime,
        };
        self.out.push(Action::Exit(exit));
        self.done = true;
    }
}
