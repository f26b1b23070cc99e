//! Which VIPs are live, and what goes before that (rules 1 and 10): of the session, and of the
//! control plane.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use super::{OnApiLoss, Vips, action::Action, claims::RowKey, dice::Dice, time::BootTime};

/// Claims before a VIP goes live after a revocation, a yield or a passed deadline.
const CLAIMS: u8 = 3;
const CLAIM_STEP: Duration = Duration::from_millis(10);
/// VIPs that are claimed at once.
const BATCH: usize = 50;
/// Probes that end a yield when nobody answers them.
const PROBES: u8 = 3;
const PROBE_STEP: Duration = Duration::from_secs(1);
/// Time between two tries to end a yield.
const RETRY: Duration = Duration::from_secs(10);
/// Between the probes for a VIP that none of our nodes has answered for yet; and how long after an
/// answer it is tried again, so that it is not dark for long when whoever answered has ended.
const ASK_STEP: Duration = Duration::from_millis(200);
const ASK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Entry {
    Live,
    /// Another load balancer may answer: silent until probes stay unanswered.
    Asking(Probes),
    /// Yielded: fenced until `confirmed` moves, or probes stay unanswered.
    Suspended(Probes),
    Claiming {
        claims: u8,
        claim_at: BootTime,
    },
}

/// Probes for a VIP that somebody else may answer for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Probes {
    sent: u8,
    /// When the next is due, or the last has stayed unanswered for long enough.
    at: BootTime,
}

/// How far a VIP is on the way to being answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Fenced: no right, or not yet.
    Fenced,
    /// None of our nodes has answered for it yet: asked for on the LAN, and not live while
    /// somebody answers.
    Asking,
    /// Yielded to a rival, or silent for a while: fenced until it is confirmed anew or probes
    /// stay unanswered.
    Suspended,
    /// Claimed on the LAN, and not live before that is done.
    Claiming,
    /// Live.
    Live,
}

/// VIPs that are live or on the way to it. All others are fenced.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    entries: BTreeMap<IpAddr, Entry>,
    probe_at: BootTime,
}

/// What the rows say about a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ours,
    /// Ours, or not known yet: what an earlier process left live stays so, nothing else goes live.
    Unproven,
    NotOurs,
}

/// Who answers for what, as a process knows it.
pub(super) trait Rows {
    /// The VIPs that there are; none before that is known.
    fn vips(&self) -> Option<&Vips>;

    /// Whether a VIP may be live.
    fn verdict(&self, vip: IpAddr) -> Verdict;

    /// The row that decides for a VIP, as far as rows are known.
    fn deciding(&self, vip: IpAddr) -> Option<RowKey>;

    /// Another load balancer may answer for a VIP, on another node.
    fn is_unsettled(&self, vip: IpAddr) -> bool;
}

/// What the entries of a session go by in one turn, and what comes of it.
pub(super) struct Turn<'a, R> {
    pub(super) now: BootTime,
    pub(super) rows: R,
    /// `confirmed` of the session's slot.
    pub(super) confirmed: BootTime,
    /// The session's epoch.
    pub(super) epoch: u64,
    /// H.
    pub(super) hold: Duration,
    pub(super) on_api_loss: OnApiLoss,
    pub(super) deaf: bool,
    pub(super) dice: &'a mut Dice,
    pub(super) out: &'a mut Vec<Action>,
    pub(super) wake: &'a mut BootTime,
}

impl<R> Turn<'_, R> {
    fn is_confirmed(&self) -> bool {
        self.now < self.confirmed
    }

    /// Whether a time has come; if not, the machine wakes then.
    fn due(&mut self, at: BootTime) -> bool {
        if self.now < at {
            *self.wake = (*self.wake).min(at);
        }
        self.now >= at
    }
}

impl Entries {
    pub(super) fn inherit(&mut self, live: BTreeSet<IpAddr>) {
        self.entries = live.into_iter().map(|vip| (vip, Entry::Live)).collect();
    }

    /// How far a VIP is.
    pub(super) fn stage(&self, vip: IpAddr) -> Stage {
        match self.entries.get(&vip) {
            None => Stage::Fenced,
            Some(Entry::Asking(_)) => Stage::Asking,
            Some(Entry::Suspended(_)) => Stage::Suspended,
            Some(Entry::Claiming { .. }) => Stage::Claiming,
            Some(Entry::Live) => Stage::Live,
        }
    }

    /// No VIP is live, or may become so by itself.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Does what is due. There is a session; when its `confirmed` passes, other things are.
    pub(super) fn turn(&mut self, mut turn: Turn<'_, impl Rows>) {
        self.follow_rows(&mut turn);
        if turn.is_confirmed() {
            for entry in self.entries.values_mut() {
                if let Entry::Suspended(_) = entry {
                    *entry = Entry::claiming(turn.now);
                }
            }
        } else if turn.on_api_loss == OnApiLoss::Hold {
            self.unconfirmed_turn(&mut turn);
        }
        self.ask_turn(&mut turn);
        self.claim_turn(&mut turn);
    }

    fn follow_rows(&mut self, turn: &mut Turn<'_, impl Rows>) {
        let vips = turn.rows.vips();
        let known = |vip: &IpAddr| vips.is_none_or(|vips| vips.contains_key(vip));
        let lost = self
            .entries
            .keys()
            .filter(|vip| !known(vip) || turn.rows.verdict(**vip) == Verdict::NotOurs);
        let lost: Vec<_> = lost.copied().collect();
        let won = vips.into_iter().flat_map(|vips| vips.keys()).filter(|vip| {
            !self.entries.contains_key(vip) && turn.rows.verdict(**vip) == Verdict::Ours
        });
        let won: Vec<_> = won.copied().collect();
        for vip in lost {
            self.fence(vip, turn.out);
        }
        for vip in won {
            if turn.rows.is_unsettled(vip) {
                self.entries.insert(vip, Entry::asking(turn.now));
            } else {
                self.go_live(vip, BootTime::default(), turn);
            }
        }
    }

    fn go_live<R>(
        &mut self,
        address: IpAddr,
        yields_void_before: BootTime,
        turn: &mut Turn<'_, R>,
    ) {
        self.entries.insert(address, Entry::Live);
        turn.out.push(Action::Live {
            address,
            epoch: turn.epoch,
            yields_void_before,
        });
    }

    /// A VIP is not to be answered any more.
    pub(super) fn fence(&mut self, vip: IpAddr, out: &mut Vec<Action>) {
        if let Some(Entry::Live | Entry::Claiming { .. }) = self.entries.remove(&vip) {
            out.push(Action::Fence(vip));
        }
    }

    pub(super) fn fence_where(&mut self, chosen: impl Fn(IpAddr) -> bool, out: &mut Vec<Action>) {
        let vips = self.entries.keys().copied();
        let vips: Vec<_> = vips.filter(|vip| chosen(*vip)).collect();
        for vip in vips {
            self.fence(vip, out);
        }
    }

    /// Rows were gained from the dead, or from nobody: their VIPs are claimed first.
    pub(super) fn claim_rows(&mut self, keys: &BTreeSet<RowKey>, rows: &impl Rows, now: BootTime) {
        let vips = rows
            .vips()
            .into_iter()
            .flat_map(|vips| vips.keys().copied());
        let gained = |vip: &IpAddr| rows.deciding(*vip).is_some_and(|key| keys.contains(&key));
        for vip in vips.filter(gained) {
            let first = match rows.is_unsettled(vip) {
                true => Entry::asking(now),
                false => Entry::claiming(now),
            };
            self.entries.entry(vip).or_insert(first);
        }
    }

    /// VIPs that are being claimed, and not live yet.
    pub(super) fn claimed(&self) -> impl Iterator<Item = IpAddr> {
        self.entries
            .iter()
            .filter(|(_, entry)| matches!(entry, Entry::Claiming { .. }))
            .map(|(vip, _)| *vip)
    }

    fn claim_turn<R>(&mut self, turn: &mut Turn<'_, R>) {
        let now = turn.now;
        let (mut claimed, mut live, mut next) = (Vec::new(), Vec::new(), BootTime::NEVER);
        let claiming = self
            .entries
            .iter_mut()
            .filter_map(|(vip, entry)| match entry {
                Entry::Claiming { claims, claim_at } => Some((vip, claims, claim_at)),
                Entry::Live | Entry::Asking(_) | Entry::Suspended(_) => None,
            });
        for (vip, claims, claim_at) in claiming.take(BATCH) {
            if now >= *claim_at {
                claimed.push(*vip);
                *claims += 1;
                *claim_at = now + CLAIM_STEP;
                if *claims == CLAIMS {
                    live.push(*vip);
                    continue;
                }
            }
            next = next.min(*claim_at);
        }
        if live.len() == BATCH {
            next = now + CLAIM_STEP;
        }
        if !claimed.is_empty() {
            turn.out.push(Action::Claim(claimed));
        }
        for vip in live {
            self.go_live(vip, now, turn);
        }
        turn.due(next);
    }

    /// Asks for VIPs that another load balancer may answer for.
    fn ask_turn<R>(&mut self, turn: &mut Turn<'_, R>) {
        self.probe_turn(turn, Entry::if_asking, ASK_AGAIN, |_| ASK_STEP);
    }

    /// Deaf, or probing, past `confirmed`.
    fn unconfirmed_turn(&mut self, turn: &mut Turn<'_, impl Rows>) {
        let now = turn.now;
        if turn.deaf {
            self.suspend_until(self.all(), now + PROBE_STEP, turn.out);
        }
        if turn.due(self.probe_at) {
            self.probe_at = now + PROBE_STEP;
            turn.due(self.probe_at);
            let live = self.entries.iter().filter(|(_, e)| **e == Entry::Live);
            let of_rows: BTreeMap<_, _> = live
                .map(|(vip, _)| (turn.rows.deciding(*vip), *vip))
                .collect();
            let probes = of_rows.into_values().map(Action::Probe);
            turn.out.extend(probes);
        }
        let wait = |dice: &mut Dice| dice.between(1000, 2000);
        self.probe_turn(turn, Entry::if_suspended, PROBE_STEP, wait);
    }

    /// Probes for the VIPs whose entries are `chosen`. What stays unanswered, is claimed; but
    /// nothing counts while this node is deaf.
    fn probe_turn<R>(
        &mut self,
        turn: &mut Turn<'_, R>,
        chosen: fn(&mut Entry) -> Option<&mut Probes>,
        while_deaf: Duration,
        wait: impl Fn(&mut Dice) -> Duration,
    ) {
        let now = turn.now;
        let mut next = BootTime::NEVER;
        for (vip, entry) in &mut self.entries {
            let Some(probes) = chosen(entry) else {
                continue;
            };
            if now >= probes.at {
                if turn.deaf {
                    *probes = Probes::from(now + while_deaf);
                } else if probes.sent == PROBES {
                    *entry = Entry::claiming(now);
                    continue;
                } else {
                    probes.sent += 1;
                    probes.at = now + wait(turn.dice);
                    turn.out.push(Action::Probe(*vip));
                }
            }
            next = next.min(probes.at);
        }
        turn.due(next);
    }

    fn all(&self) -> BTreeSet<IpAddr> {
        self.entries.keys().copied().collect()
    }

    /// Yields VIPs that are live or about to be.
    pub(super) fn suspend(&mut self, vips: BTreeSet<IpAddr>, now: BootTime, out: &mut Vec<Action>) {
        self.suspend_until(vips, now + RETRY, out);
    }

    fn suspend_until(&mut self, vips: BTreeSet<IpAddr>, probe_at: BootTime, out: &mut Vec<Action>) {
        for vip in vips {
            if let Some(entry @ (Entry::Live | Entry::Claiming { .. })) = self.entries.get_mut(&vip)
            {
                *entry = Entry::Suspended(Probes::from(probe_at));
                out.push(Action::Fence(vip));
            }
        }
    }

    /// Somebody answered a probe for a VIP, or claimed it.
    pub(super) fn probe_answered(&mut self, vip: IpAddr, turn: Turn<'_, impl Rows>) {
        if let Some(Entry::Asking(probes)) = self.entries.get_mut(&vip) {
            *probes = Probes::from(turn.now + ASK_AGAIN);
            return;
        }
        if turn.is_confirmed() {
            return;
        }
        match self.entries.get_mut(&vip) {
            // One VIP is asked for its whole row.
            Some(Entry::Live) => {
                let row = turn.rows.deciding(vip);
                let vips = self.entries.keys().copied();
                let of_row = vips.filter(|vip| turn.rows.deciding(*vip) == row).collect();
                self.suspend(of_row, turn.now, turn.out);
            }
            Some(Entry::Suspended(probes)) => *probes = Probes::from(turn.now + RETRY),
            Some(Entry::Claiming { .. }) => self.suspend([vip].into(), turn.now, turn.out),
            Some(Entry::Asking(_)) | None => {}
        }
    }

    /// The slot kept its times: nothing goes on as if there had been no silence.
    pub(super) fn not_extended<R>(
        &mut self,
        passed: bool,
        yielded: BTreeSet<IpAddr>,
        turn: Turn<'_, R>,
    ) {
        let (now, confirmed) = (turn.now, turn.confirmed);
        if !passed {
            self.suspend(yielded, now, turn.out);
            turn.out.push(Action::Extend {
                deadline: confirmed,
                confirmed,
            });
            return;
        }
        let first_probe = now + turn.dice.between(0, 1000);
        self.suspend_until(self.all(), first_probe, turn.out);
        let deadline = match turn.on_api_loss {
            OnApiLoss::Hold => confirmed.max(now + turn.hold),
            OnApiLoss::Fence => confirmed,
        };
        // Every entry is fenced, so none goes live by this.
        if deadline > now {
            turn.out.push(Action::Slot {
                deadline,
                confirmed,
                epoch: turn.epoch,
            });
        }
    }
}

impl Entry {
    fn asking(now: BootTime) -> Self {
        Self::Asking(Probes::from(now))
    }

    fn if_asking(&mut self) -> Option<&mut Probes> {
        match self {
            Self::Asking(probes) => Some(probes),
            _ => None,
        }
    }

    fn if_suspended(&mut self) -> Option<&mut Probes> {
        match self {
            Self::Suspended(probes) => Some(probes),
            _ => None,
        }
    }

    fn claiming(now: BootTime) -> Self {
        Self::Claiming {
            claims: 0,
            claim_at: now,
        }
    }
}

impl Probes {
    /// None is sent yet; the first is due `at` that time.
    fn from(at: BootTime) -> Self {
        Self { sent: 0, at }
    }
}
