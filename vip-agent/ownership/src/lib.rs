//! The lease machine (`ownership.md`): which VIPs this node may answer for, and until when.
//!
//! A machine without clock and I/O. [`Machine::step`] takes an [`Event`] and the time at which it
//! is taken, and gives [`Action`]s; [`Machine::wake_at`] says when to come back with a
//! [`Event::Tick`]. After every event the machine asks itself what ought to be done now, so an
//! event carries news and never an order.
//!
//! The time of the step that asks for a request counts as its sending time: it is read before the
//! request leaves, which is all that rule 2 needs.
//!
//! | file | rules |
//! |---|---|
//! | `session.rs` | 2, 3, 9 (parking, release), 11: this node's own Lease |
//! | `announcers.rs` | who opens a session and who gives it back |
//! | `peers.rs` | 5a, 6: other Leases, by our own clock |
//! | `revoke.rs` | 5b: revocation |
//! | `object.rs` | 5c, 7: one claims object at a time, one request at a time |
//! | `plan.rs` | 5, 6, 8, 9: which rows may be claimed, which are given away |
//! | `rows.rs`, `entries.rs` | 1, 10: which VIPs are live, after which claims and probes |
//! | `control_plane.rs`, `rival.rs` | 12: the one Lease of the control plane, a machine of its own |
//! | `takeover.rs` | how long a takeover took, for people |
//! | `account.rs` | what all of them know of one address, for people |
//! | `gone.rs` | Leases of Nodes that are gone |
//! | `timing.rs` | 4, 14 |

mod account;
mod action;
mod announcers;
mod claims;
mod control_plane;
mod dice;
mod entries;
mod gone;
mod hand_over;
mod lease;
mod object;
mod peers;
mod plan;
mod register;
mod revoke;
mod rival;
mod rows;
mod session;
mod takeover;
mod time;
mod timing;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

pub use self::{
    account::{Account, DecidingRow, PeerAccount},
    action::{Action, Event, Exit},
    claims::{Claims, HASH, Layout, Row, RowKey},
    control_plane::{ControlPlane, PlaneConfig, PlaneEvent},
    entries::Stage,
    gone::Gone,
    hand_over::PART,
    lease::{Lease, NoSession, NodeName, Readiness, ResourceVersion, Serves, SessionId, Uid},
    register::{Reply, Request, RequestId},
    time::BootTime,
    timing::{Timing, TimingError},
};
use self::{
    action::in_order, dice::Dice, entries::Entries, hand_over::HandedOver, object::Object,
    peers::Peers, revoke::Revocation, session::Session,
};

/// What a VIP does when the API server is away (rule 10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnApiLoss {
    /// Goes on answering, and yields to whoever claims it.
    #[default]
    Hold,
    /// Falls silent at `confirmed`.
    Fence,
}

/// What a machine is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub node: NodeName,
    /// Its boot id.
    pub boot: [u8; 16],
    /// L, renewal interval and H.
    pub timing: Timing,
    /// What happens past `confirmed`.
    pub on_api_loss: OnApiLoss,
    /// Number of sessions that are held without holding rows.
    pub max_announcers: usize,
    /// VIPs that are handed over at a time: [`PART`].
    pub part: usize,
    /// Buckets and objects.
    pub layout: Layout,
    /// Random: session ids and pauses come from it.
    pub seed: u128,
}

/// What is found pinned at the start; nothing after a boot.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// The pinned session.
    pub session: Option<SessionId>,
    /// Epoch of the session's slot.
    pub epoch: u64,
    /// Its deadline.
    pub deadline: BootTime,
    /// Its `confirmed`.
    pub confirmed: BootTime,
    /// VIPs whose entries name the slot and its epoch.
    pub live: BTreeSet<IpAddr>,
}

/// The VIPs of the cluster; with candidates where an address row is wanted.
type Vips = BTreeMap<IpAddr, Option<BTreeSet<NodeName>>>;

/// The state of one agent.
#[derive(Clone, Debug)]
pub struct Machine {
    config: Config,
    dice: Dice,
    session: Session,
    peers: Peers,
    revocation: Revocation,
    objects: Vec<Object>,
    handed_over: Option<HandedOver>,
    entries: Entries,
    /// None before the first complete list: nothing is fenced for lack of it.
    vips: Option<Vips>,
    /// The same by object, each with its bucket: hashed once, not in every turn.
    homes: Vec<Vec<(IpAddr, u32)>>,
    unsettled: BTreeSet<IpAddr>,
    /// Where nodes with a living session answer by another load balancer's addresses.
    incumbents: BTreeMap<IpAddr, BTreeSet<NodeName>>,
    serves: Serves,
    deaf: bool,
    leaving: bool,
    /// When a process that leaves gives up handing over.
    leave_by: BootTime,
    /// The process is at its end.
    done: bool,
    next_request: u64,
    wake: BootTime,
    /// Something came that more than the session's own times depend on.
    stirred: bool,
    /// When more than these is due, though nothing came.
    rest_at: BootTime,
    /// The same, unless a renewal puts it off: the end of a session that lives, or of `confirmed`.
    ends_at: BootTime,
    out: Vec<Action>,
}

impl Machine {
    /// A machine that has observed nothing yet, and what it does first. The session of
    /// `left` is continued when it is of this boot.
    pub fn start(config: Config, left: Left, now: BootTime) -> (Self, Vec<Action>) {
        let objects = (0..config.layout.objects).map(Object::new).collect();
        let mut machine = Self {
            dice: Dice::new(config.seed),
            session: Session::new(now),
            peers: Peers::default(),
            revocation: Revocation::default(),
            objects,
            handed_over: None,
            entries: Entries::default(),
            vips: None,
            homes: Vec::new(),
            unsettled: BTreeSet::new(),
            incumbents: BTreeMap::new(),
            serves: Serves::default(),
            deaf: false,
            leaving: false,
            leave_by: BootTime::NEVER,
            done: false,
            next_request: 0,
            wake: BootTime::NEVER,
            stirred: true,
            rest_at: BootTime::NEVER,
            ends_at: BootTime::NEVER,
            out: Vec::new(),
            config,
        };
        machine.take_over(left, now);
        machine.turn(now);
        let actions = in_order(std::mem::take(&mut machine.out));
        (machine, actions)
    }

    /// Takes an event.
    pub fn step(&mut self, event: Event, now: BootTime) -> Vec<Action> {
        if !self.done {
            self.stirred |= !self.is_routine(&event, now);
            self.take(event, now);
            self.turn(now);
        }
        in_order(std::mem::take(&mut self.out))
    }

    /// What comes all the time where all is well: with a thousand VIPs most of a machine's work would
    /// be to find that nothing is to be done.
    fn is_routine(&self, event: &Event, now: BootTime) -> bool {
        match event {
            Event::Tick => true,
            Event::Reply(id, Reply::Lease(Some(_))) => self.session.is_renewed_by(*id, now),
            Event::LeaseSeen(lease) => self.peers.is_renewal(lease, now),
            _ => false,
        }
    }

    /// When the machine wants a [`Event::Tick`] if nothing happens before.
    pub fn wake_at(&self) -> BootTime {
        self.wake
    }

    /// The session that this node has, and until when it is confirmed.
    pub fn session(&self) -> Option<(&SessionId, BootTime)> {
        Some((self.session.id.as_ref()?, self.session.confirmed))
    }

    /// How many sessions this process lost; those that it gave back do not count.
    pub fn losses(&self) -> u64 {
        self.session.losses
    }

    /// All Leases of sessions, as last seen.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.peers.leases()
    }

    /// Rows that name this node's session, as last seen.
    pub fn rows(&self) -> impl Iterator<Item = RowKey> {
        let own = self.session.id.as_ref();
        let rows = self
            .objects
            .iter()
            .filter_map(Object::seen)
            .flat_map(|claims| &claims.rows);
        rows.filter(move |(_, row)| Some(&row.session) == own)
            .map(|(key, _)| *key)
    }

    /// The session that the rows name for an address, whoever's it is.
    pub fn owner(&self, address: IpAddr) -> Option<&SessionId> {
        let bucket = self.config.layout.bucket(address);
        let claims = self
            .objects
            .get(self.config.layout.object(bucket) as usize)?
            .seen()?;
        claims
            .deciding(address, bucket)
            .map(|(_, row)| &row.session)
    }

    fn take(&mut self, event: Event, now: BootTime) {
        match event {
            Event::Tick => {}
            Event::Reply(id, reply) => self.replied(id, reply, now),
            Event::LeaseSeen(lease) => {
                self.own_lease_watched(Some(&lease), &lease.node, now);
                self.peers.watched(lease, now);
            }
            Event::LeaseGone(node) => self.own_lease_watched(None, &node, now),
            Event::ClaimsSeen(claims) => self.claims_watched(claims, now),
            Event::ClaimsGone(index) => self.claims_gone(index),
            Event::Vips(vips) => self.take_vips(vips),
            Event::Unsettled(vips) => self.unsettled = vips,
            Event::Serves(serves) => {
                if self.serves != serves {
                    self.serves = serves;
                    self.session.renew_soon(now);
                }
            }
            Event::NotExtended { passed, yielded } => self.not_extended(passed, yielded, now),
            Event::Yielded(address) => self.yielded(address, now),
            Event::ProbeAnswered(address) => self.probe_answered(address, now),
            Event::Deaf(deaf) => self.deaf = deaf,
            Event::Leave => self.leave(now),
        }
    }

    fn take_vips(&mut self, vips: Vips) {
        let layout = self.config.layout;
        self.homes = vec![Vec::new(); layout.objects as usize];
        for vip in vips.keys() {
            let bucket = layout.bucket(*vip);
            if let Some(home) = self.homes.get_mut(layout.object(bucket) as usize) {
                home.push((*vip, bucket));
            }
        }
        self.vips = Some(vips);
    }

    fn replied(&mut self, id: RequestId, reply: Reply, now: BootTime) {
        let reply = match self.session_replied(id, reply, now) {
            Some(reply) => reply,
            None => return,
        };
        if let Some(reply) = self.revocation_replied(id, reply, now) {
            self.object_replied(id, reply, now);
        }
    }

    /// Does what is due.
    fn turn(&mut self, now: BootTime) {
        self.wake = BootTime::NEVER;
        if self.done {
            return;
        }
        self.session_turn(now);
        let session_at = self.wake;
        let due = now >= self.rest_at.min(self.ends_at);
        if std::mem::take(&mut self.stirred) || due || self.leaving {
            self.wake = BootTime::NEVER;
            self.rest_turn(now);
            self.rest_at = self.wake;
        }
        self.ends_at = self.peers.next_end(now);
        if self.session.is_confirmed(now) {
            self.ends_at = self.ends_at.min(self.session.confirmed);
        }
        self.wake = session_at.min(self.rest_at).min(self.ends_at);
        self.leave_turn(now);
    }

    /// All but the session.
    fn rest_turn(&mut self, now: BootTime) {
        self.revocation_turn(now);
        self.incumbents = self.find_incumbents(now);
        let (first, count) = (
            self.handed_over.as_ref().map_or(0, HandedOver::next),
            self.objects.len(),
        );
        for index in first..first + count {
            self.object_turn(index % count, now);
        }
        self.entries_turn(now);
        self.takeover_turn();
    }

    /// Whether a time has come; if not, the machine wakes then.
    fn due(&mut self, at: BootTime, now: BootTime) -> bool {
        if now < at {
            self.wake = self.wake.min(at);
        }
        now >= at
    }

    fn ask(&mut self, request: Request, anew: bool) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.out.push(Action::Ask { id, request, anew });
        id
    }
}
