//! The announcements of one interface.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    num::NonZeroU32,
    time::Duration,
};

use bytes::Bytes;

use super::{
    BATCH,
    bucket::Bucket,
    jitter::Jitter,
    schedule::{KEEP_SWITCH, REFRESH, burst, single},
};
use crate::frame::{Form, Sender, announcement};

/// Place in the order of frames that are due: the lower goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    First,
    Defence,
    /// A later step of the burst, by its number.
    Step(u8),
    Refresh,
}

/// A frame that is due: its turn, and a number that grows with every frame that became due.
type Due = (Turn, u64);

/// Where the next frame of a VIP stands. It stands in one place only, so that queues hold no
/// leftovers of VIPs that went.
#[derive(Clone, Copy, Debug)]
enum Place {
    Waiting(Duration),
    Due(Due),
}

#[derive(Debug)]
struct Entry {
    /// The step of the burst that comes next; past its end come refreshes.
    next: u8,
    first_sent: Duration,
    place: Place,
    /// A defence that is due.
    defence: Option<Due>,
}

/// VIPs of one interface, its rate, and whether it can send.
#[derive(Debug)]
pub(super) struct LinkQueue {
    sender: Option<Sender>,
    bucket: Bucket,
    entries: BTreeMap<IpAddr, Entry>,
    waiting: BTreeSet<(Duration, IpAddr)>,
    due: BTreeMap<Due, IpAddr>,
    arrivals: u64,
    /// When a refresh is brought forward to keep the switch's table.
    keep_switch_at: Duration,
}

impl LinkQueue {
    pub(super) fn new(rate: Option<NonZeroU32>) -> Self {
        Self {
            sender: None,
            bucket: Bucket::new(rate),
            entries: BTreeMap::new(),
            waiting: BTreeSet::new(),
            due: BTreeMap::new(),
            arrivals: 0,
            keep_switch_at: Duration::ZERO,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn can_send(&self) -> bool {
        self.sender.is_some()
    }

    pub(super) fn set_sender(&mut self, sender: Option<Sender>) {
        let mac_before = self.sender.map(|sender| sender.mac);
        self.sender = sender;
        if sender.is_some_and(|sender| Some(sender.mac) != mac_before) {
            self.restart_all();
        }
    }

    pub(super) fn start(&mut self, vip: IpAddr) -> bool {
        if self.entries.contains_key(&vip) {
            return false;
        }
        let due = self.queue(vip, Turn::First);
        let entry = Entry {
            next: 0,
            first_sent: Duration::ZERO,
            place: Place::Due(due),
            defence: None,
        };
        self.entries.insert(vip, entry);
        true
    }

    pub(super) fn stop(&mut self, vip: IpAddr) -> bool {
        let Some(entry) = self.entries.remove(&vip) else {
            return false;
        };
        match entry.place {
            Place::Waiting(until) => {
                self.waiting.remove(&(until, vip));
            }
            Place::Due(due) => {
                self.due.remove(&due);
            }
        }
        if let Some(due) = entry.defence {
            self.due.remove(&due);
        }
        true
    }

    pub(super) fn restart(&mut self, vip: IpAddr) -> bool {
        // A first frame that is still due keeps its turn.
        match self.entries.get(&vip) {
            None => false,
            Some(entry) if entry.next == 0 => true,
            Some(_) => self.stop(vip) && self.start(vip),
        }
    }

    pub(super) fn restart_all(&mut self) {
        let vips: Vec<IpAddr> = self.entries.keys().copied().collect();
        for vip in vips {
            self.restart(vip);
        }
    }

    pub(super) fn defend(&mut self, vip: IpAddr) -> bool {
        match self.entries.get(&vip) {
            None => return false,
            // The first frame goes sooner than a defence would.
            Some(entry) if entry.next == 0 || entry.defence.is_some() => return true,
            Some(_) => {}
        }
        let due = self.queue(vip, Turn::Defence);
        if let Some(entry) = self.entries.get_mut(&vip) {
            entry.defence = Some(due);
        }
        true
    }

    /// Hands the frames that may go now to `send`.
    pub(super) fn poll(
        &mut self,
        now: Duration,
        jitter: &mut Jitter,
        mut send: impl FnMut(IpAddr, Form, Bytes),
    ) {
        let Some(sender) = self.sender else { return };
        while let Some(&(until, vip)) = self.waiting.first()
            && until <= now
        {
            self.waiting.pop_first();
            self.ripen(vip);
        }
        if self.due.is_empty()
            && self.keep_switch_at <= now
            && let Some((_, vip)) = self.waiting.pop_first()
        {
            self.ripen(vip);
        }
        let mut sent = 0;
        while sent < BATCH && !self.due.is_empty() && self.bucket.take(now) {
            let Some(((turn, _), vip)) = self.due.pop_first() else {
                break;
            };
            let form = self.advance(vip, turn, now, &sender, jitter);
            if let Some(frame) = announcement(form, vip, &sender) {
                send(vip, form, frame);
            }
            sent += 1;
        }
        if sent > 0 {
            self.keep_switch_at = now + jitter.between(*KEEP_SWITCH.start(), *KEEP_SWITCH.end());
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.sender?;
        if !self.due.is_empty() {
            return Some(self.bucket.ready_at(self.due.len()));
        }
        self.waiting
            .first()
            .map(|&(until, _)| until.min(self.keep_switch_at))
    }

    /// The frame that `vip` sends in this turn; plans the one after it.
    fn advance(
        &mut self,
        vip: IpAddr,
        turn: Turn,
        now: Duration,
        sender: &Sender,
        jitter: &mut Jitter,
    ) -> Form {
        let Some(entry) = self.entries.get_mut(&vip) else {
            return single(vip);
        };
        if turn == Turn::Defence {
            entry.defence = None;
            return single(vip);
        }
        let steps = burst(vip);
        let form = steps
            .get(usize::from(entry.next))
            .map_or(single(vip), |step| step.form);
        if turn == Turn::First {
            entry.first_sent = now;
        }
        entry.next = entry.next.saturating_add(1).min(steps.len() as u8);
        let needs_own = |next: u8| {
            steps
                .get(usize::from(next))
                .is_some_and(|step| step.form == Form::RequestFromVip)
        };
        if needs_own(entry.next) && sender.own_ipv4.is_none() {
            entry.next += 1;
        }
        let until = match steps.get(usize::from(entry.next)) {
            Some(step) => entry.first_sent + step.after,
            None => now + jitter.between(*REFRESH.start(), *REFRESH.end()),
        };
        if until <= now {
            self.ripen(vip);
        } else {
            entry.place = Place::Waiting(until);
            self.waiting.insert((until, vip));
        }
        form
    }

    /// The next frame of `vip` is due.
    fn ripen(&mut self, vip: IpAddr) {
        let Some(next) = self.entries.get(&vip).map(|entry| entry.next) else {
            return;
        };
        let turn = if usize::from(next) < burst(vip).len() {
            Turn::Step(next)
        } else {
            Turn::Refresh
        };
        let due = self.queue(vip, turn);
        if let Some(entry) = self.entries.get_mut(&vip) {
            entry.place = Place::Due(due);
        }
    }

    fn queue(&mut self, vip: IpAddr, turn: Turn) -> Due {
        self.arrivals += 1;
        let due = (turn, self.arrivals);
        self.due.insert(due, vip);
        due
    }
}
