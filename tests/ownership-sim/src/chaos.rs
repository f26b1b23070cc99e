//! What goes wrong.

use std::time::Duration;

use vip_ownership::{Event, Readiness, Row};

use super::{
    agent::Kind,
    dice::Dice,
    world::{Happening, MILLISECOND, SECOND, World},
};

/// Kinds of faults; a seed has some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Crash,
    Reboot,
    Stop,
    StopInMidBatch,
    StopInStore,
    ApiCut,
    ApiDown,
    ApiSlow,
    WatchLag,
    LeaseEdited,
    DurationEdited,
    ClaimsDeleted,
    ClaimsEdited,
    LanCut,
    Leave,
    Readiness,
    Vips,
}

const FAULTS: [Fault; 17] = [
    Fault::Crash,
    Fault::Reboot,
    Fault::Stop,
    Fault::StopInMidBatch,
    Fault::StopInStore,
    Fault::ApiCut,
    Fault::ApiDown,
    Fault::ApiSlow,
    Fault::WatchLag,
    Fault::LeaseEdited,
    Fault::DurationEdited,
    Fault::ClaimsDeleted,
    Fault::ClaimsEdited,
    Fault::LanCut,
    Fault::Leave,
    Fault::Readiness,
    Fault::Vips,
];

/// Without meaning where there are no claims.
const OF_CLAIMS: [Fault; 3] = [Fault::ClaimsDeleted, Fault::ClaimsEdited, Fault::Vips];
/// Two may answer for a moment after each of these, so nothing that takes longer goes with them.
const EDITS: [Fault; 2] = [Fault::ClaimsEdited, Fault::DurationEdited];
const WITH_EDITS: [Fault; 4] = [
    Fault::ClaimsEdited,
    Fault::DurationEdited,
    Fault::Readiness,
    Fault::Vips,
];

/// The weather of a seed.
#[derive(Debug)]
pub(super) struct Chaos {
    faults: Vec<Fault>,
    /// Mean time between two faults.
    every: u64,
    pub(super) until: u64,
    /// One request, and one answer, in so many is lost.
    loss: u64,
    pub(super) api_down: bool,
    pub(super) slow: bool,
    pub(super) watch_lag: [u64; 3],
    over: bool,
    calm: bool,
    /// Every request is answered within milliseconds.
    swift: bool,
}

impl Chaos {
    pub(super) fn new(kind: Kind, dice: &mut Dice) -> Self {
        let kept = dice.between(2, 8) as usize;
        let mut faults = FAULTS.to_vec();
        if kind == Kind::ControlPlane {
            faults.retain(|fault| !OF_CLAIMS.contains(fault));
        }
        while faults.len() > kept {
            faults.swap_remove(dice.index(faults.len()));
        }
        if faults.iter().any(|fault| EDITS.contains(fault)) {
            match dice.one_in(2) {
                true => faults.retain(|fault| WITH_EDITS.contains(fault)),
                false => faults.retain(|fault| !EDITS.contains(fault)),
            }
        }
        if faults.is_empty() {
            faults.push(Fault::Crash);
        }
        let swift = faults.iter().any(|fault| EDITS.contains(fault));
        Self {
            faults,
            every: dice.between(300, 2500) * MILLISECOND,
            until: dice.between(8, 20) * SECOND,
            loss: match [1000, 50, 8][dice.index(3)] {
                _ if swift => u64::MAX,
                loss => loss,
            },
            swift,
            api_down: false,
            slow: false,
            watch_lag: [0; 3],
            over: false,
            calm: false,
        }
    }

    /// Nothing goes wrong, and everything takes a millisecond.
    pub(super) fn calm() -> Self {
        Self {
            faults: Vec::new(),
            every: 0,
            until: 0,
            loss: u64::MAX,
            api_down: false,
            slow: false,
            watch_lag: [0; 3],
            over: false,
            calm: true,
            swift: true,
        }
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm
    }

    pub(super) fn watch_delay(&self, dice: &mut Dice) -> u64 {
        match self.calm {
            true => MILLISECOND,
            false => dice.between(MILLISECOND / 2, 20 * MILLISECOND),
        }
    }

    pub(super) fn loses(&self, dice: &mut Dice) -> bool {
        !self.over && !self.calm && dice.one_in(self.loss)
    }

    pub(super) fn delay(&self, dice: &mut Dice) -> u64 {
        if self.calm {
            return MILLISECOND;
        }
        match (self.slow, dice.one_in(20)) {
            (true, _) => dice.between(100, 3000) * MILLISECOND,
            (false, true) if !self.over && !self.swift => dice.between(10, 1500) * MILLISECOND,
            _ => dice.between(MILLISECOND / 2, 8 * MILLISECOND),
        }
    }
}

impl World {
    pub(super) fn fault(&mut self) {
        if self.chaos.over {
            return;
        }
        let next = self.dice.between(0, 2 * self.chaos.every);
        self.happens_in(next, Happening::Fault);
        let fault = self.chaos.faults[self.dice.index(self.chaos.faults.len())];
        let node = self.dice.index(self.nodes.len());
        let millis = |dice: &mut Dice, least, most| dice.between(least, most) * MILLISECOND;
        self.say(|| format!("fault: {fault:?}, node {node}"));
        match fault {
            Fault::Crash | Fault::Reboot if self.nodes[node].agent.is_some() => {
                self.nodes[node].kill();
                let reboots = fault == Fault::Reboot;
                let delay = match self.dice.one_in(2) {
                    true => millis(&mut self.dice, 10, 1000),
                    false => millis(&mut self.dice, 1000, 8000),
                };
                if reboots {
                    // Off at once: the kernel is gone with all that it answered.
                    let (boot, at) = (u128::from(self.dice.next()), self.at);
                    self.nodes[node].boot(boot, at);
                }
                self.start_in(delay, node, reboots);
            }
            Fault::Stop if self.nodes[node].is_running() => {
                let pause = millis(&mut self.dice, 10, 8000);
                self.pause(node, pause);
            }
            Fault::StopInMidBatch if self.nodes[node].is_running() => {
                let pause = millis(&mut self.dice, 10, 8000);
                self.nodes[node].stop_after = Some((self.dice.index(12), pause));
            }
            Fault::StopInStore if self.nodes[node].is_running() => {
                let pause = millis(&mut self.dice, 10, 8000);
                self.nodes[node].stop_in_store = Some(pause);
            }
            Fault::ApiCut => {
                self.nodes[node].api_cut = true;
                let delay = millis(&mut self.dice, 200, 9000);
                self.happens_in(delay, Happening::ApiBack(Some(node)));
            }
            Fault::ApiDown => {
                self.chaos.api_down = true;
                let delay = millis(&mut self.dice, 200, 9000);
                self.happens_in(delay, Happening::ApiBack(None));
            }
            Fault::ApiSlow => {
                self.chaos.slow = true;
                let delay = millis(&mut self.dice, 200, 4000);
                self.happens_in(delay, Happening::ApiFast);
            }
            Fault::WatchLag => {
                self.chaos.watch_lag[node] = millis(&mut self.dice, 0, 4000);
            }
            Fault::LeaseEdited => self.edit_lease(node),
            Fault::DurationEdited => self.edit_duration(node),
            Fault::ClaimsEdited => self.edit_claims(),
            Fault::ClaimsDeleted => {
                let index = self.dice.index(self.layout.objects as usize) as u32;
                self.register.delete_claims(index);
            }
            Fault::LanCut => {
                for node in &mut self.nodes {
                    node.segment = self.dice.between(0, 2);
                }
                self.lan_moved();
                let delay = millis(&mut self.dice, 200, 9000);
                self.happens_in(delay, Happening::LanHeals);
            }
            Fault::Leave => {
                self.tell_in(0, node, Event::Leave);
                let (process, asked) = (self.nodes[node].process, self.at);
                let hold = self.timing_of(node).hold().as_nanos() as u64;
                let gone = Happening::Gone {
                    node,
                    process,
                    asked,
                };
                // A slow clock, and an event of the same moment.
                self.happens_in(hold + hold / 50, gone);
            }
            Fault::Readiness => {
                let levels = [Readiness::LastChoice, Readiness::Never];
                self.nodes[node].serves.readiness = levels[self.dice.index(2)];
                self.tell_in(0, node, Event::Serves(self.nodes[node].serves.clone()));
                let delay = millis(&mut self.dice, 200, 6000);
                self.happens_in(delay, Happening::ReadyAgain(node));
            }
            Fault::Vips => self.change_vips(),
            Fault::Crash
            | Fault::Reboot
            | Fault::Stop
            | Fault::StopInMidBatch
            | Fault::StopInStore => {}
        }
    }

    fn edit_lease(&mut self, node: usize) {
        let name = self.lease_of(node);
        let Some(mut lease) = self.register.leases.get(&name).cloned() else {
            return;
        };
        match self.dice.index(4) {
            0 => {
                lease.holder = None;
                self.register.store_lease(lease, false);
            }
            1 => {
                // Stolen by hand: a session that nobody has.
                let mut thief = lease.holder.clone();
                if let Some(thief) = &mut thief {
                    thief.id = u128::from(self.dice.next()).to_be_bytes();
                }
                lease.holder = thief;
                self.register.store_lease(lease, false);
            }
            2 => self.register.delete_lease(&name),
            _ => {
                self.register.delete_lease(&name);
                self.register.store_lease(lease, true);
            }
        }
    }

    fn edit_duration(&mut self, node: usize) {
        let name = self.lease_of(node);
        if let Some(mut lease) = self.register.leases.get(&name).cloned() {
            lease.duration = Duration::from_secs(self.dice.between(1, 3));
            self.register.store_lease(lease, false);
            self.edited();
        }
    }

    fn edit_claims(&mut self) {
        let index = self.dice.index(self.layout.objects as usize) as u32;
        let Some(mut claims) = self.register.claims.get(&index).cloned() else {
            return;
        };
        let keys: Vec<_> = claims.rows.keys().copied().collect();
        let holders = self.register.leases.values();
        let holders: Vec<_> = holders.filter_map(|lease| lease.holder.clone()).collect();
        if keys.is_empty() || holders.is_empty() {
            return;
        }
        let key = keys[self.dice.index(keys.len())];
        let holder = holders[self.dice.index(holders.len())].clone();
        match self.dice.index(4) {
            0 => drop(claims.rows.remove(&key)),
            1 => claims.version = self.dice.between(0, claims.version),
            2 => {
                claims.version += 1;
                claims.rows.insert(key, Row::of(holder));
            }
            _ => drop(claims.rows.insert(key, Row::of(holder))),
        }
        self.register.store_claims(claims, false);
        self.edited();
    }

    fn edited(&mut self) {
        self.edited_until = self.at + 2 * SECOND;
    }

    fn change_vips(&mut self) {
        let vip = self.all_vips[self.dice.index(self.all_vips.len())];
        match self.dice.index(5) {
            0 if self.vips.len() > 1 => {
                self.vips.remove(&vip);
            }
            1 => {
                self.vips.insert(vip, None);
            }
            _ => {
                let mut nodes: std::collections::BTreeSet<_> =
                    self.nodes.iter().map(|node| node.name.clone()).collect();
                let out = self.nodes[self.dice.index(self.nodes.len())].name.clone();
                nodes.remove(&out);
                if self.dice.one_in(2) {
                    nodes.pop_first();
                }
                self.vips.insert(vip, Some(nodes));
            }
        }
        for node in 0..self.nodes.len() {
            let delay = self.chaos.watch_lag[node] + self.dice.between(1, 50) * MILLISECOND;
            self.tell_in(delay, node, Event::Vips(self.vips.clone()));
        }
    }

    pub(super) fn ready_again(&mut self, node: usize) {
        self.nodes[node].serves.readiness = Readiness::Ready;
        self.tell_in(0, node, Event::Serves(self.nodes[node].serves.clone()));
    }

    pub(super) fn api_back(&mut self, of: Option<usize>) {
        match of {
            Some(node) => self.nodes[node].api_cut = false,
            None => self.chaos.api_down = false,
        }
        for node in 0..self.nodes.len() {
            let back = !self.nodes[node].api_cut && !self.chaos.api_down;
            if back && std::mem::take(&mut self.nodes[node].stale) {
                self.relist(node);
            }
        }
    }

    /// Everything is as it should be, from now on.
    pub(super) fn heal(&mut self) {
        self.say(|| "everything heals".to_owned());
        self.chaos.over = true;
        self.chaos.slow = false;
        self.chaos.watch_lag = [0; 3];
        self.chaos.api_down = false;
        for node in 0..self.nodes.len() {
            self.nodes[node].segment = 0;
            self.nodes[node].stop_after = None;
            self.nodes[node].stop_in_store = None;
            self.api_back(Some(node));
            if self.nodes[node].serves.readiness != Readiness::Ready {
                self.ready_again(node);
            }
            self.resumes(node);
            if self.nodes[node].agent.is_none() {
                self.start_in(100 * MILLISECOND, node, false);
            }
            // Once more after whatever an earlier lag still holds back.
            for delay in [0, 5 * SECOND] {
                self.tell_in(delay, node, Event::Vips(self.vips.clone()));
            }
        }
        self.lan_moved();
    }
}
