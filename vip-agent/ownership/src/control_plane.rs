//! VIPs of the API server itself (rule 12), before any object of ours: one Lease is session and
//! row in one.
//!
//! A candidate has no session. It counts L over quorum reads of its own, less than H apart, and
//! takes over by one CAS, which revokes and claims. Everything else is as for a session: what
//! happens to the slot's times, and what a VIP goes through before it is live.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use super::{
    Left, OnApiLoss, Vips,
    action::{Action, Exit, in_order},
    claims::RowKey,
    dice::Dice,
    entries::{Entries, Rows, Turn, Verdict},
    lease::{Lease, NodeName, Serves, SessionId},
    register::{Reply, Request, RequestId},
    rival::{Rival, is_held, mark},
    time::BootTime,
    timing::Timing,
};

/// What a machine is made with.
#[derive(Clone, Debug)]
pub struct PlaneConfig {
    /// This node.
    pub node: NodeName,
    /// Its boot id.
    pub boot: [u8; 16],
    /// L, renewal interval and H.
    pub timing: Timing,
    /// What happens past `confirmed`.
    pub on_api_loss: OnApiLoss,
    /// The VIPs.
    pub addresses: BTreeSet<IpAddr>,
    /// Random: session ids and pauses come from it.
    pub seed: u128,
}

/// Something that the machine is told.
#[derive(Clone, Debug)]
pub enum PlaneEvent {
    /// The time that [`ControlPlane::wake_at`] named has come.
    Tick,
    /// A request came to an end; also long after its time-out.
    Reply(RequestId, Reply),
    /// A watch shows the Lease, possibly an old state of it; none: it is gone. Only hastens reads.
    Seen(Option<Lease>),
    /// Whether the local API server passes `/readyz`, and an interface can carry the VIPs.
    Ready(bool),
    /// Whether no other Node is one of the control plane; others are assumed.
    Alone(bool),
    /// An [`Action::Extend`] was not carried out.
    NotExtended {
        /// The deadline had passed.
        passed: bool,
        /// VIPs that are yielded.
        yielded: BTreeSet<IpAddr>,
    },
    /// The kernel program yielded a VIP to a rival.
    Yielded(IpAddr),
    /// Somebody answered a probe for a VIP, or claimed it while this node was about to.
    ProbeAnswered(IpAddr),
    /// Neither gateway nor peers nor known neighbours answer this node; or they do again.
    Deaf(bool),
    /// The process is asked to go.
    Leave,
}

/// The state of one candidate. Its slot and its pinned session are its own, beside those of a
/// [`super::Machine`].
#[derive(Clone, Debug)]
pub struct ControlPlane {
    config: PlaneConfig,
    dice: Dice,
    vips: Vips,
    id: Option<SessionId>,
    epoch: u64,
    confirmed: BootTime,
    /// This process has written the Lease under this session.
    proven: bool,
    /// The session is that of an earlier process: what that left live stays so.
    inherited: bool,
    /// The Lease under this session, as this process read or wrote it last.
    lease: Option<Lease>,
    rival: Rival,
    state: State,
    /// What a watch showed while a read was under way, which may be of before.
    seen_meanwhile: Option<Option<Lease>>,
    /// The next renewal, or the next read of a candidate.
    turn_at: BootTime,
    extend_at: BootTime,
    /// Renewals of this session that may still succeed: sending time, and what they are good for.
    renewals: BTreeMap<RequestId, (BootTime, Duration)>,
    entries: Entries,
    /// None: not known yet, and nothing is taken or given up.
    ready: Option<bool>,
    alone: bool,
    deaf: bool,
    /// The session was taken by a deaf node, since nobody else took it.
    taken_deaf: bool,
    /// A session that replaced nothing known is silent until then.
    grace_until: BootTime,
    /// Since when this node is to give the Lease to another.
    fails_since: Option<BootTime>,
    /// The latest request had no answer.
    unanswered: bool,
    /// Requests have no answer; and since when they have one again.
    outage: bool,
    answered_since: BootTime,
    losses: u64,
    leaving: bool,
    leave_by: BootTime,
    done: bool,
    next_request: u64,
    wake: BootTime,
    out: Vec<Action>,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Idle,
    /// The Lease has to be read, from then on.
    Unread(BootTime),
    Waiting {
        request: RequestId,
        sent: BootTime,
        what: What,
    },
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Read,
    /// Takes the Lease, and is silent for so long.
    Take(SessionId, Duration),
    Renew,
    Park,
    Release,
}

/// One row, which is the Lease.
struct OneRow<'a> {
    vips: &'a Vips,
    verdict: Verdict,
}

impl Rows for OneRow<'_> {
    fn vips(&self) -> Option<&Vips> {
        Some(self.vips)
    }

    fn verdict(&self, _: IpAddr) -> Verdict {
        self.verdict
    }

    fn deciding(&self, _: IpAddr) -> Option<RowKey> {
        Some(ROW)
    }

    /// The Lease is not taken before nobody else answers ([`PlaneEvent::Ready`]).
    fn is_unsettled(&self, _: IpAddr) -> bool {
        false
    }
}

const ROW: RowKey = RowKey::Bucket(0);

impl ControlPlane {
    /// The node that the Lease is named after: `xvip-control-plane`, in `kube-system`.
    pub const LEASE: &str = "control-plane";

    /// A machine that has observed nothing yet, and what it does first. The session of `left` is
    /// continued when it is of this boot.
    pub fn start(config: PlaneConfig, left: Left, now: BootTime) -> (Self, Vec<Action>) {
        let mut plane = Self {
            dice: Dice::new(config.seed),
            vips: config.addresses.iter().map(|vip| (*vip, None)).collect(),
            id: None,
            epoch: left.epoch + 1,
            confirmed: BootTime::default(),
            proven: false,
            inherited: false,
            lease: None,
            rival: Rival::default(),
            state: State::Unread(now),
            seen_meanwhile: None,
            turn_at: now,
            extend_at: now,
            renewals: BTreeMap::new(),
            entries: Entries::default(),
            ready: None,
            alone: false,
            deaf: false,
            taken_deaf: false,
            grace_until: BootTime::default(),
            fails_since: None,
            unanswered: false,
            outage: false,
            answered_since: BootTime::default(),
            losses: 0,
            leaving: false,
            leave_by: BootTime::NEVER,
            done: false,
            next_request: 0,
            wake: BootTime::NEVER,
            out: Vec::new(),
            config,
        };
        plane.take_over(left, now);
        plane.turn(now);
        let actions = in_order(std::mem::take(&mut plane.out));
        (plane, actions)
    }

    /// Takes an event.
    pub fn step(&mut self, event: PlaneEvent, now: BootTime) -> Vec<Action> {
        if !self.done {
            self.take(event, now);
            self.turn(now);
        }
        in_order(std::mem::take(&mut self.out))
    }

    /// When the machine wants a [`PlaneEvent::Tick`] if nothing happens before.
    pub fn wake_at(&self) -> BootTime {
        self.wake
    }

    /// The session that this node has, and until when it is confirmed.
    pub fn session(&self) -> Option<(&SessionId, BootTime)> {
        Some((self.id.as_ref()?, self.confirmed))
    }

    /// How many sessions this process lost; those that it gave back do not count.
    pub fn losses(&self) -> u64 {
        self.losses
    }

    /// Who holds the Lease, as last read.
    pub fn owner(&self) -> Option<&SessionId> {
        self.rival.lease()?.holder.as_ref()
    }

    fn take_over(&mut self, left: Left, now: BootTime) {
        let own = |id: &SessionId| id.node == self.config.node && id.boot == self.config.boot;
        if !left.session.as_ref().is_some_and(own) {
            return self.set_slot(BootTime::default());
        }
        let limit = now + self.config.timing.hold();
        self.id = left.session;
        self.epoch = left.epoch;
        self.confirmed = left.confirmed.min(limit);
        self.inherited = true;
        self.entries.inherit(left.live);
        // Parked times are lowered before the usual L is written (rule 9).
        if left.deadline > limit {
            self.set_slot(limit);
        }
    }

    fn take(&mut self, event: PlaneEvent, now: BootTime) {
        match event {
            PlaneEvent::Tick => {}
            PlaneEvent::Reply(id, reply) => self.replied(id, reply, now),
            PlaneEvent::Seen(lease) => self.seen(lease, now),
            PlaneEvent::Ready(ready) => self.ready = Some(ready),
            PlaneEvent::Alone(alone) => self.alone = alone,
            PlaneEvent::NotExtended { passed, yielded } if self.id.is_some() => {
                let (entries, turn) = self.entries(now);
                entries.not_extended(passed, yielded, turn);
            }
            PlaneEvent::NotExtended { .. } => {}
            PlaneEvent::Yielded(vip) => self.entries.suspend([vip].into(), now, &mut self.out),
            PlaneEvent::ProbeAnswered(vip) => {
                let (entries, turn) = self.entries(now);
                entries.probe_answered(vip, turn);
            }
            PlaneEvent::Deaf(deaf) => {
                self.deaf = deaf;
                self.taken_deaf &= deaf;
            }
            PlaneEvent::Leave if !self.leaving => {
                self.leaving = true;
                self.leave_by = now + self.config.timing.hold();
            }
            PlaneEvent::Leave => {}
        }
    }

    /// Whatever looks otherwise than it was read is read: a candidate counts L from the read after
    /// a renewal on.
    fn seen(&mut self, lease: Option<Lease>, now: BootTime) {
        if let State::Waiting { what, .. } = &self.state {
            if *what == What::Read {
                self.seen_meanwhile = Some(lease);
            }
            return;
        }
        let version = |lease: &Lease| lease.resource_version.clone();
        let news = match &self.id {
            Some(id) => lease.and_then(|lease| lease.holder).as_ref() != Some(id),
            None => lease.as_ref().map(version) != self.rival.lease().map(version),
        };
        if news {
            // Also while the register is left alone for a moment: it works.
            self.state = State::Unread(now);
        }
    }

    /// The entries, and what they go by.
    fn entries(&mut self, now: BootTime) -> (&mut Entries, Turn<'_, OneRow<'_>>) {
        let turn = Turn {
            now,
            rows: OneRow {
                vips: &self.vips,
                verdict: match (&self.id, self.proven, self.inherited) {
                    (Some(_), true, _) => Verdict::Ours,
                    (Some(_), false, true) => Verdict::Unproven,
                    _ => Verdict::NotOurs,
                },
            },
            confirmed: self.confirmed,
            epoch: self.epoch,
            hold: self.config.timing.hold(),
            on_api_loss: self.config.on_api_loss,
            deaf: self.deaf,
            dice: &mut self.dice,
            out: &mut self.out,
            wake: &mut self.wake,
        };
        (&mut self.entries, turn)
    }

    /// Does what is due.
    fn turn(&mut self, now: BootTime) {
        self.wake = BootTime::NEVER;
        if self.done {
            return;
        }
        self.hold_turn(now);
        if let State::Waiting { sent, .. } = self.state
            && self.due(sent + self.config.timing.time_out(), now)
        {
            (self.unanswered, self.outage) = (true, true);
            self.state = State::Unread(now);
        }
        if let State::Unread(at) = self.state
            && self.due(at, now)
        {
            self.read(now);
        }
        if self.state == State::Idle {
            self.lease_turn(now);
        }
        if self.id.is_some() {
            self.due(self.confirmed, now);
            let (entries, turn) = self.entries(now);
            entries.turn(turn);
        }
        self.leave_turn(now);
    }

    /// Whether a time has come; if not, the machine wakes then.
    fn due(&mut self, at: BootTime, now: BootTime) -> bool {
        if now < at {
            self.wake = self.wake.min(at);
        }
        now >= at
    }

    /// Moves the deadline while the session is not known to be lost (rule 10).
    fn hold_turn(&mut self, now: BootTime) {
        if self.id.is_none() || self.config.on_api_loss == OnApiLoss::Fence {
            return;
        }
        if self.due(self.extend_at, now) {
            self.out.push(Action::Extend {
                deadline: now + self.config.timing.hold(),
                confirmed: self.confirmed,
            });
            self.extend_at = now + Timing::HOLD_STEP;
            self.due(self.extend_at, now);
        }
    }

    fn lease_turn(&mut self, now: BootTime) {
        if self.id.is_some() {
            let fails = self.ready == Some(false) || self.deaf && !self.taken_deaf;
            self.fails_since = fails.then(|| self.fails_since.unwrap_or(now));
            match (self.leaving, self.alone) {
                (true, true) => self.renew(What::Park, now),
                (true, false) => self.release(now),
                // Where the register does not answer, nobody can take what is given back.
                (false, false) if self.fails_since > self.rival.read_at() => self.read(now),
                // When it answers again, so may this node's API server in a moment.
                (false, false)
                    if fails && self.due(self.answered_since + Timing::HOLD_STEP, now) =>
                {
                    self.release(now);
                }
                (false, _) if self.due(self.turn_at, now) => self.renew(What::Renew, now),
                (false, _) => {}
            }
        } else if !self.leaving {
            let free_at = self.rival.free_at(self.alone);
            let at = match self.takes(free_at, now) {
                true => self.turn_at.min(free_at.max(now)),
                false => self.turn_at,
            };
            if self.due(at, now) {
                self.read(now);
            }
        }
    }

    /// This node may take what is free from `free_at` on. A deaf one leaves it to others first.
    fn takes(&mut self, free_at: BootTime, now: BootTime) -> bool {
        let deaf_until = self.rival.changed().max(free_at) + self.config.timing.duration();
        self.ready == Some(true) && !self.leaving && (!self.deaf || self.due(deaf_until, now))
    }

    fn ask(&mut self, request: Request, what: What, now: BootTime) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        let anew = std::mem::take(&mut self.unanswered);
        self.out.push(Action::Ask { id, request, anew });
        self.state = State::Waiting {
            request: id,
            sent: now,
            what,
        };
        self.due(now + self.config.timing.time_out(), now);
        id
    }

    fn read(&mut self, now: BootTime) {
        self.ask(Request::ReadLease(Self::LEASE.into()), What::Read, now);
    }

    fn renew(&mut self, what: What, now: BootTime) {
        let (Some(lease), Some(id)) = (self.lease.clone(), self.id.clone()) else {
            self.state = State::Unread(now);
            return;
        };
        let timing = self.config.timing;
        let (duration, hold) = match what {
            What::Park => (Timing::PARKED_DURATION, Timing::PARKED_HOLD),
            _ => (timing.duration(), timing.hold()),
        };
        self.turn_at = now + timing.renew();
        if now < self.grace_until {
            self.turn_at = self.turn_at.min(self.grace_until);
        }
        let lease = Lease {
            holder: Some(id),
            claims_read: mark(now >= self.grace_until),
            duration,
            ..lease
        };
        let request = self.ask(Request::PutLease(lease), what, now);
        self.renewals.retain(|_, (sent, hold)| *sent + *hold > now);
        self.renewals.insert(request, (now, hold));
    }

    /// Gives the Lease back: fence, unbind, then empty it.
    fn release(&mut self, now: BootTime) {
        self.fence_session();
        if self.leaving {
            self.out.push(Action::Unbind);
        }
        let Some(lease) = self.lease.clone() else {
            self.state = State::Unread(now);
            return;
        };
        let lease = Lease {
            holder: None,
            revoked: self.id.clone(),
            claims_read: match is_held(&lease) {
                true => BTreeSet::new(),
                // Whoever takes it waits as this session would have.
                false => lease.claims_read.clone(),
            },
            duration: self.config.timing.duration(),
            ..lease
        };
        self.ask(Request::PutLease(lease), What::Release, now);
    }

    /// Revokes whoever was silent for L and claims, in one CAS.
    fn claim(&mut self, now: BootTime) {
        let found = self.rival.lease().cloned();
        let grace = self.rival.grace(self.alone);
        let claims_read = mark(grace.is_zero());
        let replaced = found.as_ref().and_then(|lease| lease.holder.clone());
        let id = SessionId {
            node: self.config.node.clone(),
            boot: self.config.boot,
            id: self.dice.id(),
        };
        let former = self.rival.former().cloned();
        let holder = Some(id.clone());
        let duration = self.config.timing.duration();
        let request = match found {
            Some(lease) => Request::PutLease(Lease {
                holder,
                claims_read,
                revoked: replaced.or(former).or(lease.revoked),
                duration,
                ..lease
            }),
            None => Request::CreateLease(Lease {
                node: Self::LEASE.into(),
                uid: "".into(),
                resource_version: "".into(),
                holder,
                revoked: former,
                claims_read,
                serves: Serves::default(),
                duration,
            }),
        };
        self.ask(request, What::Take(id, grace), now);
    }

    fn replied(&mut self, id: RequestId, reply: Reply, now: BootTime) {
        // Also the late success of a renewal counts, by its own sending time (rule 2).
        if let Some((sent, hold)) = self.renewals.remove(&id)
            && matches!(reply, Reply::Lease(Some(_)))
        {
            self.confirm(sent + hold, now);
        }
        let (what, sent) = match &self.state {
            State::Waiting {
                request,
                what,
                sent,
            } if *request == id => (what.clone(), *sent),
            _ => return,
        };
        self.unanswered = reply == Reply::Unknown;
        if std::mem::replace(&mut self.outage, self.unanswered) && !self.unanswered {
            self.answered_since = now;
        }
        self.state = match (what, reply) {
            (_, Reply::Unknown) => State::Unread(now + self.dice.between(200, 600)),
            (What::Read, Reply::Lease(lease)) => {
                self.state = State::Idle;
                self.was_read(lease, now);
                if let Some(seen) = self.seen_meanwhile.take() {
                    self.seen(seen, now);
                }
                return;
            }
            (What::Take(id, grace), Reply::Lease(Some(lease))) => {
                self.grace_until = now + grace;
                self.taken(id, lease, sent, now);
                State::Idle
            }
            (What::Renew, Reply::Lease(Some(lease))) => {
                let hold = self.config.timing.hold();
                self.rival.read(Some(lease.clone()), now, hold);
                self.prove(&lease, now);
                self.lease = Some(lease);
                State::Idle
            }
            (What::Park, Reply::Lease(Some(_))) => {
                self.exit(Exit::Parked);
                State::Idle
            }
            (What::Release, Reply::Lease(Some(lease))) => {
                self.id = None;
                self.rival.read(Some(lease), now, self.config.timing.hold());
                // Whoever gave it away leaves it to others first.
                self.turn_at = now + self.config.timing.renew();
                State::Idle
            }
            // A conflict, or an answer to another question.
            _ => State::Unread(now + self.dice.between(0, 50)),
        };
    }

    fn was_read(&mut self, lease: Option<Lease>, now: BootTime) {
        let hold = self.config.timing.hold();
        self.rival.read(lease.clone(), now, hold);
        if let Some(id) = &self.id {
            let known = self.lease.as_ref();
            let ours = lease.as_ref().is_some_and(|lease| {
                lease.holder.as_ref() == Some(id)
                    && known.is_none_or(|known| known.uid == lease.uid)
            });
            if ours {
                let waits = !lease.as_ref().is_some_and(is_held);
                if self.inherited && waits && self.grace_until == BootTime::default() {
                    self.grace_until = now + Timing::UNSEEN_DURATION;
                }
                self.lease = lease;
                self.turn_at = self.turn_at.min(now);
            } else {
                self.id = None;
                self.losses += 1;
                self.rival.ended(self.lease.take());
                self.fence_session();
            }
        }
        if self.id.is_none() {
            let free_at = match self.owner() {
                // An earlier process of this boot, which is gone, or a try of this one.
                Some(holder)
                    if holder.node == self.config.node && holder.boot == self.config.boot =>
                {
                    BootTime::default()
                }
                _ => self.rival.free_at(self.alone),
            };
            // A watch shows renewals sooner; without one, reads stay less than H apart.
            let renew = self.config.timing.renew();
            self.turn_at = now + (renew * 5 / 4).min((renew + hold) / 2);
            if self.takes(free_at, now) && now >= free_at {
                self.claim(now);
            }
        }
    }

    fn taken(&mut self, id: SessionId, lease: Lease, sent: BootTime, now: BootTime) {
        self.epoch += 1;
        self.confirmed = sent + self.config.timing.hold();
        self.lease = Some(lease.clone());
        let hold = self.config.timing.hold();
        self.rival.read(Some(lease.clone()), now, hold);
        self.id = Some(id.clone());
        self.inherited = false;
        self.taken_deaf = self.deaf;
        self.turn_at = sent + self.config.timing.renew();
        if now < self.grace_until {
            self.turn_at = self.turn_at.min(self.grace_until);
        }
        self.extend_at = now + Timing::HOLD_STEP;
        let epoch = self.epoch;
        self.out.push(Action::Remember { id, epoch });
        // Lifts a deadline without claims: no entry has this epoch yet.
        self.set_slot(self.confirmed);
        self.prove(&lease, now);
    }

    /// A write of this session succeeded: what is not live yet is claimed, and goes live (rule 7).
    fn prove(&mut self, written: &Lease, now: BootTime) {
        if !self.proven && is_held(written) {
            self.proven = true;
            let (entries, turn) = self.entries(now);
            entries.claim_rows(&BTreeSet::from([ROW]), &turn.rows, now);
        }
    }

    /// A renewal of this session succeeded that is good until `confirmed`.
    fn confirm(&mut self, confirmed: BootTime, now: BootTime) {
        if confirmed > self.confirmed.max(now) {
            self.confirmed = confirmed;
            self.out.push(Action::Extend {
                deadline: confirmed,
                confirmed,
            });
        }
    }

    fn set_slot(&mut self, deadline: BootTime) {
        self.out.push(Action::Slot {
            deadline,
            confirmed: self.confirmed,
            epoch: self.epoch,
        });
    }

    /// Ends the session here: one store silences everything (rule 3).
    fn fence_session(&mut self) {
        self.epoch += 1;
        self.confirmed = BootTime::default();
        self.proven = false;
        self.inherited = false;
        self.grace_until = BootTime::default();
        self.renewals.clear();
        self.set_slot(BootTime::default());
        self.entries.fence_where(|_| true, &mut self.out);
    }

    /// Within H, whatever the register does.
    fn leave_turn(&mut self, now: BootTime) {
        if !self.leaving || self.done {
            return;
        }
        let is_late = self.due(self.leave_by, now);
        let takes = matches!(
            &self.state,
            State::Waiting {
                what: What::Take(..),
                ..
            }
        );
        if is_late || self.id.is_none() && !takes {
            self.exit(match self.entries.is_empty() {
                true => Exit::Released,
                false => Exit::OutOfTime,
            });
        }
    }

    fn exit(&mut self, exit: Exit) {
        if exit == Exit::Released {
            self.out.push(Action::Unbind);
        }
        self.out.push(Action::Exit(exit));
        self.done = true;
    }
}

#[cfg(test)]
#[path = "control_plane_tests.rs"]
mod tests;
