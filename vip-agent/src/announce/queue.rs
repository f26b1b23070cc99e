//! The announcements of one interface.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    num::{NonZeroU32, NonZeroU64},
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

/// Number of a frame that is due, in the order in which frames became so.
type Arrival = NonZeroU64;

/// Where the next frame of a VIP stands. It stands in one place only, so that queues hold no
/// leftovers of VIPs that went.
#[derive(Clone, Copy, Debug)]
enum Place {
    Waiting(Duration),
    Due(Arrival),
}

#[derive(Debug)]
struct Entry {
    /// The step of the burst that comes next; past its end come refreshes.
    next: u8,
    first_sent: Duration,
    place: Place,
    /// A defence that is due.
    defence: Option<Arrival>,
}

impl Entry {
    /// The turn of the frame that comes next.
    fn turn(&self, vip: IpAddr) -> Turn {
        match self.next {
            0 => Turn::First,
            step if usize::from(step) < burst(vip).len() => Turn::Step(step),
            _ => Turn::Refresh,
        }
    }
}

/// VIPs of one interface, its rate, and whether it can send.
#[derive(Debug)]
pub(super) struct LinkQueue {
    sender: Option<Sender>,
    bucket: Bucket,
    entries: BTreeMap<IpAddr, Entry>,
    waiting: BTreeSet<(Duration, IpAddr)>,
    due: BTreeMap<(Turn, Arrival), IpAddr>,
    arrivals: Arrival,
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
            arrivals: Arrival::MIN,
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
        let arrival = self.queue(vip, Turn::First);
        let entry = Entry {
            next: 0,
            first_sent: Duration::ZERO,
            place: Place::Due(arrival),
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
            Place::Due(arrival) => {
                self.due.remove(&(entry.turn(vip), arrival));
            }
        }
        if let Some(arrival) = entry.defence {
            self.due.remove(&(Turn::Defence, arrival));
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
        let arrival = self.queue(vip, Turn::Defence);
        if let Some(entry) = self.entries.get_mut(&vip) {
            entry.defence = Some(arrival);
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
            sent += 1;
            // There is no frame of the third form where the interface has no address of its own.
            if let Some(form) = self.advance(vip, turn, now, jitter)
                && let Some(frame) = announcement(form, vip, &sender)
            {
                send(vip, form, frame);
            }
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
        jitter: &mut Jitter,
    ) -> Option<Form> {
        let entry = self.entries.get_mut(&vip)?;
        if turn == Turn::Defence {
            entry.defence = None;
            return Some(single(vip));
        }
        let steps = burst(vip);
        let form = steps
            .get(usize::from(entry.next))
            .map_or(single(vip), |step| step.form);
        if turn == Turn::First {
            entry.first_sent = now;
        }
        entry.next = entry.next.saturating_add(1).min(steps.len() as u8);
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
        Some(form)
    }

    /// The next frame of `vip` is due.
    fn ripen(&mut self, vip: IpAddr) {
        let Some(turn) = self.entries.get(&vip).map(|entry| entry.turn(vip)) else {
            return;
        };
        let arrival = self.queue(vip, turn);
        if let Some(entry) = self.entries.get_mut(&vip) {
            entry.place = Place::Due(arrival);
        }
    }

    fn queue(&mut self, vip: IpAddr, turn: Turn) -> Arrival {
        self.arrivals = self.arrivals.saturating_add(1);
        self.due.insert((turn, self.arrivals), vip);
        self.arrivals
    }
}
