//! What goes wrong.

use vip_agent::ownership::{Event, Readiness};

use super::{
    dice::Dice,
    mutation::Mutation,
    world::{Happening, MILLISECOND, SECOND, World},
};

/// Kinds of faults; a seed has some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Crash,
    Reboot,
    Stop,
    StopInMidBatch,
    ApiCut,
    ApiDown,
    ApiSlow,
    WatchLag,
    LeaseEdited,
    ClaimsDeleted,
    LanCut,
    Leave,
    Readiness,
    Vips,
}

const FAULTS: [Fault; 14] = [
    Fault::Crash,
    Fault::Reboot,
    Fault::Stop,
    Fault::StopInMidBatch,
    Fault::ApiCut,
    Fault::ApiDown,
    Fault::ApiSlow,
    Fault::WatchLag,
    Fault::LeaseEdited,
    Fault::ClaimsDeleted,
    Fault::LanCut,
    Fault::Leave,
    Fault::Readiness,
    Fault::Vips,
];

/// The weather in which a mutant shows soonest.
fn weather(mutation: Mutation) -> &'static [Fault] {
    use Fault::*;
    match mutation {
        Mutation::AnchoredAtTheAnswer => &[ApiSlow, Crash, Stop, ApiSlow],
        Mutation::RowsWithoutSession => &[Stop, WatchLag, LeaseEdited, ApiCut],
        Mutation::LiveOnARead => &[ApiSlow, Readiness, Vips, WatchLag],
        Mutation::LiveAfterRestart => &[ApiSlow, Readiness, Crash, Crash],
        Mutation::EntriesRevived => &[LeaseEdited, Crash, LeaseEdited],
        Mutation::EmptiedTakenAsRevoked => &[LeaseEdited, ApiCut, Stop],
        Mutation::RecreatedTakenAsFree => &[ClaimsDeleted, ApiCut, WatchLag],
        Mutation::LeasesReadFirst => &[ClaimsDeleted, ApiSlow, WatchLag, ApiCut],
        Mutation::CarvedByAnother => &[WatchLag, ApiSlow],
        Mutation::FencedAfterGiving => &[Readiness, Vips, ApiSlow, WatchLag],
        Mutation::PassedDeadlineMoved
        | Mutation::PassedDeadlineNotesNothing
        | Mutation::LiftedWithoutClaim => &[Stop, ApiCut, ApiDown, LanCut, Stop],
        _ => &FAULTS,
    }
}

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
}

impl Chaos {
    pub(super) fn new(mutation: Option<Mutation>, dice: &mut Dice) -> Self {
        let kept = dice.between(2, 8) as usize;
        let mut faults = mutation.map_or(&FAULTS[..], weather).to_vec();
        while faults.len() > kept {
            faults.swap_remove(dice.index(faults.len()));
        }
        Self {
            faults,
            every: dice.between(300, 2500) * MILLISECOND,
            until: dice.between(8, 20) * SECOND,
            loss: [1000, 50, 8][dice.index(3)],
            api_down: false,
            slow: false,
            watch_lag: [0; 3],
            over: false,
        }
    }

    pub(super) fn loses(&self, dice: &mut Dice) -> bool {
        !self.over && dice.one_in(self.loss)
    }

    pub(super) fn delay(&self, dice: &mut Dice) -> u64 {
        match (self.slow, dice.one_in(20)) {
            (true, _) => dice.between(100, 3000) * MILLISECOND,
            (false, true) if !self.over => dice.between(10, 1500) * MILLISECOND,
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
            Fault::Crash | Fault::Reboot if self.nodes[node].machine.is_some() => {
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
            Fault::Leave => self.tell_in(0, node, Event::Leave),
            Fault::Readiness => {
                let levels = [Readiness::LastChoice, Readiness::Never];
                self.nodes[node].serves.readiness = levels[self.dice.index(2)];
                self.tell_in(0, node, Event::Serves(self.nodes[node].serves.clone()));
                let delay = millis(&mut self.dice, 200, 6000);
                self.happens_in(delay, Happening::ReadyAgain(node));
            }
            Fault::Vips => self.change_vips(),
            Fault::Crash | Fault::Reboot | Fault::Stop | Fault::StopInMidBatch => {}
        }
    }

    fn edit_lease(&mut self, node: usize) {
        let name = self.nodes[node].name.clone();
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
            self.api_back(Some(node));
            if self.nodes[node].serves.readiness != Readiness::Ready {
                self.ready_again(node);
            }
            self.resumes(node);
            if self.nodes[node].machine.is_none() {
                self.start_in(100 * MILLISECOND, node, false);
            }
            self.tell_in(0, node, Event::Vips(self.vips.clone()));
        }
        self.lan_moved();
    }
}
