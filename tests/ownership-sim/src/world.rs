//! Time, and what happens in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use vip_common::abi::LeaseSlot;
use vip_ownership::{
    Action, BootTime, Config, ControlPlane, Event, Exit, Layout, Lease, NodeName, OnApiLoss, PART,
    PlaneConfig, Reply, Request, RequestId, Serves, SessionId, Timing,
};

use super::{
    agent::{Agent, Kind},
    chaos::Chaos,
    check::{Observer, Violation},
    dice::Dice,
    kernel::Times,
    mutation::Mutation,
    node::Node,
    register::{Change, Register, Tally},
    saboteur::Sabotage,
    schedule::{Step, Wire},
};

pub(super) const MILLISECOND: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1000 * MILLISECOND;
/// After everything healed: a parked Lease has to run out, and then some.
const HEALED_WITHIN: u64 = 200 * SECOND;

/// L = 2 s, renewed every 600 ms, H = 1.6 s.
pub(super) fn short() -> Timing {
    let millis = Duration::from_millis;
    Timing::new(millis(2000), millis(600), millis(1600)).unwrap_or_default()
}

#[derive(Debug)]
pub(super) enum Happening {
    Arrives {
        node: usize,
        process: u64,
        id: RequestId,
        request: Request,
    },
    Told {
        node: usize,
        process: u64,
        event: Event,
    },
    Changed {
        node: usize,
        change: Change,
    },
    Wake {
        node: usize,
        process: u64,
        order: u64,
    },
    Frame {
        from: usize,
        to: usize,
        vip: IpAddr,
        is_claim: bool,
    },
    Starts {
        node: usize,
        process: u64,
        reboots: bool,
    },
    Resumes {
        node: usize,
        process: u64,
    },
    Fault,
    ApiBack(Option<usize>),
    ApiFast,
    LanHeals,
    ReadyAgain(usize),
    /// Nothing happens, and the observer looks.
    Look,
    Step(Step),
    /// A process that was asked to go is gone.
    Gone {
        node: usize,
        process: u64,
        asked: u64,
    },
    Heals,
}

pub(super) type Vips = BTreeMap<IpAddr, Option<BTreeSet<NodeName>>>;

#[derive(Debug)]
pub(super) struct World {
    pub(super) kind: Kind,
    pub(super) mutation: Option<Mutation>,
    tells: bool,
    pub(super) dice: Dice,
    pub(super) at: u64,
    order: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    pub(super) nodes: Vec<Node>,
    pub(super) register: Register,
    pub(super) chaos: Chaos,
    pub(super) observer: Observer,
    pub(super) sabotage: Sabotage,
    pub(super) lan_changed: u64,
    /// Somebody may answer who did not before.
    pub(super) stirred: bool,
    /// A node whose process was asked to go and did not.
    pub(super) stays: Option<usize>,
    pub(super) all_vips: [IpAddr; 3],
    pub(super) vips: Vips,
    pub(super) timing: Timing,
    pub(super) on_api_loss: OnApiLoss,
    pub(super) max_announcers: usize,
    /// VIPs that are handed over at a time.
    pub(super) part: usize,
    /// Until then the hand that edited an object may show two answerers.
    pub(super) edited_until: u64,
    pub(super) layout: Layout,
}

impl World {
    /// Three nodes in calm weather, with the default times.
    pub(super) fn new(kind: Kind, dice: u64, mutation: Option<Mutation>, tells: bool) -> Self {
        let all_vips = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
            .map(|vip| vip.parse().unwrap_or(IpAddr::V4([192, 0, 2, 3].into())));
        Self {
            kind,
            mutation,
            tells,
            dice: Dice::new(dice),
            at: SECOND,
            order: 0,
            queue: BTreeMap::new(),
            nodes: ["a", "b", "c"].map(Node::new).into(),
            register: Register::default(),
            chaos: Chaos::calm(),
            observer: Observer::default(),
            sabotage: Sabotage::default(),
            lan_changed: 0,
            stirred: false,
            stays: None,
            vips: all_vips.into_iter().map(|vip| (vip, None)).collect(),
            all_vips,
            timing: Timing::default(),
            on_api_loss: OnApiLoss::default(),
            max_announcers: 8,
            part: PART,
            edited_until: 0,
            layout: Layout {
                objects: 1,
                buckets_each: 1,
            },
        }
    }

    /// A walk by chance: clocks that are wrong, times, layout and weather as the dice have it.
    pub(super) fn walk(mut self) -> Result<Tally, Violation> {
        let alone = self.kind == Kind::ControlPlane && self.dice.one_in(8);
        if alone {
            self.nodes.truncate(1);
        }
        for node in 0..self.nodes.len() {
            let rates = [-10_000, -3_000, 0, 4_000, 10_000];
            self.nodes[node].ppm = rates[self.dice.index(rates.len())];
            self.nodes[node].boot(node as u128 + 1, 0);
            let delay = self.dice.between(0, 300) * MILLISECOND;
            self.start_in(delay, node, false);
        }
        self.chaos = Chaos::new(self.kind, &mut self.dice);
        if !self.dice.one_in(4) {
            self.timing = short();
        }
        if self.dice.one_in(4) {
            self.on_api_loss = OnApiLoss::Fence;
        }
        if self.dice.one_in(6) {
            self.max_announcers = 2;
        }
        self.layout = Layout {
            objects: 1 + self.dice.index(2) as u32,
            buckets_each: 1 + self.dice.index(3) as u32,
        };
        if self.layout.objects == 2 {
            self.part = 1;
        }
        if self.kind == Kind::ControlPlane && !self.dice.one_in(8) {
            self.leave_released();
        }
        self.happens_in(SECOND, Happening::Fault);
        let until = self.chaos.until;
        self.happens_in(until, Happening::Heals);
        self.run_queue()
    }

    pub(super) fn run_queue(mut self) -> Result<Tally, Violation> {
        let mut healed = None;
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            self.at = at;
            self.register.tally.events += 1;
            if let Happening::Heals = happening {
                healed = Some(at);
            }
            self.happen(happening);
            self.publish();
            self.observe()?;
            if let Some(healed) = healed
                && at > healed + 2 * SECOND
            {
                match self.is_healthy() {
                    Ok(()) => break,
                    Err(violation) if at > healed + HEALED_WITHIN => return Err(violation),
                    Err(_) => {}
                }
            }
        }
        Ok(self.register.tally)
    }

    /// The Lease as an orderly end left it: with none at all a minute passes first, unless a node
    /// is alone.
    pub(super) fn leave_released(&mut self) {
        let last = SessionId {
            node: "z".into(),
            boot: [0; 16],
            id: [0; 16],
        };
        let lease = Lease {
            node: ControlPlane::LEASE.into(),
            uid: "".into(),
            resource_version: "".into(),
            holder: None,
            revoked: Some(last),
            claims_read: BTreeSet::new(),
            serves: Serves::default(),
            duration: self.timing.duration(),
        };
        self.register.store_lease(lease, true);
    }

    /// L, renewal interval and H of a node.
    pub(super) fn timing_of(&self, node: usize) -> Timing {
        self.nodes[node].timing.unwrap_or(self.timing)
    }

    pub(super) fn happens_in(&mut self, delay: u64, happening: Happening) {
        self.order += 1;
        self.queue.insert((self.at + delay, self.order), happening);
    }

    pub(super) fn tell_in(&mut self, delay: u64, node: usize, event: Event) {
        let process = self.nodes[node].process;
        self.happens_in(
            delay,
            Happening::Told {
                node,
                process,
                event,
            },
        );
    }

    pub(super) fn say(&self, what: impl FnOnce() -> String) {
        if self.tells {
            println!("{:>12.6} {}", self.at as f64 / 1e9, what());
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives {
                node,
                process,
                id,
                request,
            } => self.arrives(node, process, id, request),
            Happening::Told {
                node,
                process,
                event,
            } if self.nodes[node].process == process => {
                // What is heard last is how it is.
                let event = match event {
                    Event::Deaf(_) => Event::Deaf(self.nodes[node].deaf),
                    event => event,
                };
                self.told(node, event);
            }
            Happening::Wake {
                node,
                process,
                order,
            } => {
                let is_next = self.nodes[node].wake.is_some_and(|(_, next)| next == order);
                if self.nodes[node].process == process && is_next {
                    self.nodes[node].wake = None;
                    self.told(node, Event::Tick);
                }
            }
            Happening::Changed { node, change } => self.watched(node, change),
            Happening::Frame {
                from,
                to,
                vip,
                is_claim,
            } => self.frame(from, to, vip, is_claim),
            Happening::Starts {
                node,
                process,
                reboots,
            } if self.nodes[node].process == process => self.starts(node, reboots),
            Happening::Resumes { node, process } if self.nodes[node].process == process => {
                self.resumes(node);
            }
            Happening::Told { .. } | Happening::Starts { .. } | Happening::Resumes { .. } => {}
            Happening::Fault => self.fault(),
            Happening::ApiBack(of) => self.api_back(of),
            Happening::ApiFast => self.chaos.slow = false,
            Happening::LanHeals => {
                for node in &mut self.nodes {
                    node.segment = 0;
                }
                self.lan_moved();
            }
            Happening::ReadyAgain(node) => self.ready_again(node),
            Happening::Look => {}
            Happening::Step(step) => self.step(step),
            Happening::Gone {
                node,
                process,
                asked,
            } => {
                let stays = &self.nodes[node];
                if stays.process == process && stays.is_running() && stays.ran_since < asked {
                    self.stays = Some(node);
                }
            }
            Happening::Heals => self.heal(),
        }
    }

    fn starts(&mut self, node: usize, reboots: bool) {
        if reboots {
            let boot = u128::from(self.dice.next());
            let at = self.at;
            self.nodes[node].boot(boot, at);
        }
        let seed = u128::from(self.dice.next()) << 64 | u128::from(self.dice.next());
        self.revive_rows(node);
        let left = self.nodes[node].left();
        self.register.tally.continued += u64::from(left.session.is_some());
        self.say(|| format!("node {node} starts: {left:?}"));
        let now = self.nodes[node].clock(self.at);
        let (name, boot) = (self.nodes[node].name.clone(), self.nodes[node].boot);
        let started = match self.kind {
            Kind::Sessions => {
                let config = Config {
                    node: name,
                    boot,
                    timing: self.timing_of(node),
                    on_api_loss: self.on_api_loss,
                    max_announcers: self.max_announcers,
                    part: self.part,
                    layout: self.layout,
                    seed,
                };
                Agent::session(config, left, now)
            }
            Kind::ControlPlane => {
                let config = PlaneConfig {
                    node: name,
                    boot,
                    timing: self.timing_of(node),
                    on_api_loss: self.on_api_loss,
                    addresses: self.all_vips.into(),
                    seed,
                };
                Agent::control_plane(config, left, self.nodes.len() == 1, now)
            }
        };
        let at = self.at;
        self.nodes[node].start(started, at);
        self.act(node);
        let deaf = self.nodes[node].deaf;
        let serves = self.nodes[node].serves.clone();
        let vips = self.vips.clone();
        self.tell_in(MILLISECOND, node, Event::Serves(serves));
        self.tell_in(MILLISECOND, node, Event::Deaf(deaf));
        self.tell_in(20 * MILLISECOND, node, Event::Vips(vips));
        self.relist(node);
    }

    /// Name of the Lease that a node renews.
    pub(super) fn lease_of(&self, node: usize) -> NodeName {
        match self.kind {
            Kind::Sessions => self.nodes[node].name.clone(),
            Kind::ControlPlane => ControlPlane::LEASE.into(),
        }
    }

    /// The watch begins anew: everything as it is now.
    pub(super) fn relist(&mut self, node: usize) {
        let leases = self.register.leases.values().cloned().map(Change::Lease);
        let claims = self.register.claims.values().cloned().map(Change::Claims);
        let mut changes: Vec<_> = leases.chain(claims).collect();
        // A list shows what is not there, too.
        let gone =
            (0..self.layout.objects).filter(|index| !self.register.claims.contains_key(index));
        changes.extend(gone.map(Change::ClaimsGone));
        let names = (0..self.nodes.len()).map(|node| self.lease_of(node));
        let gone = names.filter(|name| !self.register.leases.contains_key(name));
        changes.extend(gone.map(Change::LeaseGone));
        for change in changes {
            self.watch_in_order(node, change);
        }
    }

    fn watch_in_order(&mut self, node: usize, change: Change) {
        let lag = self.chaos.watch_lag[node] + self.chaos.watch_delay(&mut self.dice);
        let at = (self.at + lag).max(self.nodes[node].watched_until);
        self.nodes[node].watched_until = at;
        self.happens_in(at - self.at, Happening::Changed { node, change });
    }

    fn publish(&mut self) {
        for change in std::mem::take(&mut self.register.changes) {
            for node in 0..self.nodes.len() {
                self.watch_in_order(node, change.clone());
            }
        }
    }

    fn watched(&mut self, node: usize, change: Change) {
        if self.nodes[node].api_cut || self.chaos.api_down {
            self.nodes[node].stale = true;
            return;
        }
        let event = match change {
            Change::Lease(lease) => Event::LeaseSeen(self.shown_lease(node, lease)),
            Change::LeaseGone(of) => Event::LeaseGone(of),
            Change::Claims(claims) => Event::ClaimsSeen(self.shown_claims(node, claims)),
            Change::ClaimsGone(index) => Event::ClaimsGone(index),
        };
        self.told(node, event);
    }

    fn arrives(&mut self, node: usize, process: u64, id: RequestId, request: Request) {
        let shown = self.tells.then(|| format!("{request:?}"));
        let wire = Wire::of(&request);
        let reply = self.serve(node, request);
        self.say(|| {
            format!(
                "register: node {node} {} -> {reply:?}",
                shown.unwrap_or_default()
            )
        });
        if self.chaos.loses(&mut self.dice) {
            return;
        }
        let mut delay = self.chaos.delay(&mut self.dice);
        let held = &mut self.nodes[node].held_answers;
        if let Some(place) = held.iter().position(|(held, _)| *held == wire) {
            match held.remove(place) {
                (_, Some(held)) => delay = held,
                (_, None) => return,
            }
        }
        let reply = match self.nodes[node].process == process {
            true => self.shown(node, reply),
            false => return,
        };
        self.happens_in(
            delay,
            Happening::Told {
                node,
                process,
                event: Event::Reply(id, reply),
            },
        );
    }

    pub(super) fn told(&mut self, node: usize, event: Event) {
        if self.nodes[node].agent.is_none() {
            return;
        }
        self.nodes[node].inbox.push_back(event);
        if !self.nodes[node].paused {
            self.work(node);
        }
    }

    fn work(&mut self, node: usize) {
        self.act(node);
        while self.nodes[node].is_running()
            && let Some(event) = self.nodes[node].inbox.pop_front()
        {
            let cut = self.nodes[node].api_cut || self.chaos.api_down;
            // What is on its way when the connection breaks never comes.
            if cut
                && let Event::Reply(_, reply) = &event
                && *reply != Reply::Unknown
            {
                continue;
            }
            let now = self.nodes[node].clock(self.at);
            if let Event::Reply(..) = event {
                self.after_reply(node);
            }
            let by_rival = matches!(event, Event::Yielded(_) | Event::ProbeAnswered(_));
            if let Some(agent) = &mut self.nodes[node].agent {
                self.nodes[node].actions = agent.step(event, now).into();
            }
            if by_rival {
                self.note_yields(node);
            }
            self.act(node);
        }
        self.set_alarm(node);
    }

    fn set_alarm(&mut self, node: usize) {
        let wake = self.nodes[node].agent.as_ref().map(Agent::wake_at);
        let Some(wake) = wake.filter(|wake| *wake != BootTime::NEVER) else {
            return;
        };
        let at = self.nodes[node].true_time(wake).max(self.at + 1);
        if self.nodes[node]
            .wake
            .is_some_and(|(next, _)| next <= at && next > self.at)
        {
            return;
        }
        let process = self.nodes[node].process;
        let order = self.order + 1;
        self.nodes[node].wake = Some((at, order));
        self.happens_in(
            at - self.at,
            Happening::Wake {
                node,
                process,
                order,
            },
        );
    }

    fn act(&mut self, node: usize) {
        while !self.nodes[node].paused
            && let Some(action) = self.nodes[node].actions.pop_front()
        {
            self.say(|| format!("node {node}: {action:?}"));
            self.carry_out(node, action);
            if let Some((left, pause)) = self.nodes[node].stop_after {
                self.nodes[node].stop_after = Some((left.saturating_sub(1), pause));
                if left == 0 {
                    self.nodes[node].stop_after = None;
                    self.pause(node, pause);
                }
            }
        }
    }

    fn carry_out(&mut self, node: usize, action: Action) {
        let now = self.nodes[node].clock(self.at);
        match action {
            Action::Extend {
                deadline,
                confirmed,
            } => {
                let asked = Times {
                    deadline,
                    confirmed,
                };
                self.extend(node, asked, now);
            }
            Action::Slot {
                deadline,
                confirmed,
                epoch,
            } => {
                self.stirred = true;
                self.nodes[node].kernel.slot = LeaseSlot {
                    deadline_boot_ns: deadline.0,
                    confirmed_boot_ns: confirmed.0,
                    epoch: self.shown_epoch(epoch),
                };
                if deadline > now {
                    self.inherit_rows(node);
                }
            }
            Action::Remember { id, .. } => self.nodes[node].pinned = Some(id),
            Action::Live {
                address,
                epoch,
                yields_void_before,
            } => {
                self.stirred = true;
                let epoch = self.shown_epoch(epoch);
                self.nodes[node]
                    .kernel
                    .live(address, epoch, yields_void_before);
                // The announcement.
                if self.claims(node, address) {
                    self.broadcast(node, address, true);
                }
            }
            Action::Fence(vip) => self.fence(node, vip),
            Action::Claim(vips) => {
                for vip in vips {
                    if self.claims(node, vip) {
                        self.broadcast(node, vip, true);
                    }
                }
            }
            Action::Probe(vip) => self.broadcast(node, vip, false),
            Action::Ask { id, request, .. } => self.send(node, id, request),
            Action::Unbind | Action::TookOver { .. } => {}
            Action::Exit(exit) => {
                match exit {
                    Exit::Released => self.register.tally.released += 1,
                    Exit::Parked => self.register.tally.parked += 1,
                    Exit::OutOfTime => self.register.tally.out_of_time += 1,
                }
                self.ends(node);
            }
            Action::Refuse(_) => self.ends(node),
        }
    }

    fn ends(&mut self, node: usize) {
        self.nodes[node].kill();
        if !self.chaos.is_calm() {
            let delay = self.dice.between(0, 3000) * MILLISECOND;
            self.start_in(delay, node, false);
        }
    }

    pub(super) fn start_in(&mut self, delay: u64, node: usize, reboots: bool) {
        let process = self.nodes[node].process;
        self.happens_in(
            delay,
            Happening::Starts {
                node,
                process,
                reboots,
            },
        );
    }

    /// Looks for yields, and asks the kernel; the process may be stopped in between.
    fn extend(&mut self, node: usize, asked: Times, now: BootTime) {
        let asked = self.shown_times(asked, now, node);
        let kernel = &mut self.nodes[node].kernel;
        let moves = asked.confirmed.0 > kernel.slot.confirmed_boot_ns;
        let passed = kernel.is_passed(now);
        let yielded: BTreeSet<_> = match moves {
            true => kernel.yielded(now).into_iter().collect(),
            false => BTreeSet::new(),
        };
        let lifts = match self.mutation {
            // A hold leaves it as it is, and says nothing.
            Some(Mutation::LiftedWithoutClaim) if passed && !moves => return,
            Some(Mutation::LiftedWithoutClaim) => passed,
            Some(Mutation::PassedDeadlineMoved) => !moves,
            _ => false,
        };
        if !yielded.is_empty() && !lifts {
            self.refuse(node, passed, yielded);
        } else if let Some(pause) = self.nodes[node].stop_in_store.take() {
            self.nodes[node].stopped_store = Some(asked);
            self.pause(node, pause);
        } else if lifts {
            self.nodes[node].kernel.lift(asked);
            self.stored(node, moves);
        } else {
            self.store(node, asked, moves, now);
        }
    }

    fn store(&mut self, node: usize, asked: Times, moves: bool, now: BootTime) {
        match self.nodes[node].kernel.extend(asked, now) {
            true => self.stored(node, moves),
            false => self.refuse(node, true, BTreeSet::new()),
        }
    }

    fn stored(&mut self, node: usize, moves: bool) {
        self.stirred = true;
        if moves {
            self.end_yields(node);
        }
    }

    fn refuse(&mut self, node: usize, passed: bool, yielded: BTreeSet<IpAddr>) {
        let refused = Event::NotExtended { passed, yielded };
        self.nodes[node].inbox.push_front(refused);
    }

    fn send(&mut self, node: usize, id: RequestId, request: Request) {
        let process = self.nodes[node].process;
        if self.nodes[node].api_cut || self.chaos.api_down {
            if self.dice.one_in(2) {
                self.tell_in(20 * MILLISECOND, node, Event::Reply(id, Reply::Unknown));
            }
            return;
        }
        if self.chaos.loses(&mut self.dice) {
            return;
        }
        let mut delay = self.chaos.delay(&mut self.dice);
        let held = &mut self.nodes[node].held;
        let wire = Wire::of(&request);
        if let Some(place) = held.iter().position(|(held, _)| *held == wire) {
            match held.remove(place) {
                (_, Some(held)) => delay = held,
                (_, None) => return,
            }
        }
        self.sent(node, &request);
        self.happens_in(
            delay,
            Happening::Arrives {
                node,
                process,
                id,
                request,
            },
        );
    }

    pub(super) fn pause(&mut self, node: usize, pause: u64) {
        self.say(|| format!("node {node} stops for {} ms", pause / MILLISECOND));
        self.nodes[node].paused = true;
        let process = self.nodes[node].process;
        self.happens_in(pause, Happening::Resumes { node, process });
    }

    pub(super) fn resumes(&mut self, node: usize) {
        if self.nodes[node].paused {
            self.say(|| format!("node {node} goes on"));
            self.nodes[node].paused = false;
            self.nodes[node].ran_since = self.at;
            if let Some(asked) = self.nodes[node].stopped_store.take() {
                let now = self.nodes[node].clock(self.at);
                if self.mutation.is_some_and(Mutation::stores_late) {
                    self.nodes[node].kernel.lift(asked);
                    self.stirred = true;
                } else {
                    self.store(node, asked, false, now);
                }
                // What was heard meanwhile is not read at once.
                let pause = self.dice.between(20, 200) * MILLISECOND;
                return self.pause(node, pause);
            }
            self.nodes[node].inbox.push_back(Event::Tick);
            self.work(node);
        }
    }
}
