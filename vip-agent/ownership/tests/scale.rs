//! A machine with a thousand VIPs, beside an API server that answers at once.

#![allow(
    clippy::unwrap_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use vip_ownership::{
    Action, BootTime, Claims, Config, Event, Layout, Lease, Left, Machine, NodeName, OnApiLoss,
    PART, Reply, Request, Row, RowKey, Serves, SessionId, Timing,
};

type Vips = BTreeMap<IpAddr, Option<BTreeSet<NodeName>>>;

const VIPS: u32 = 1000;

fn session(node: &str, id: u128) -> SessionId {
    SessionId {
        node: node.into(),
        boot: [1; 16],
        id: id.to_be_bytes(),
    }
}

fn at(milliseconds: u64) -> BootTime {
    BootTime(milliseconds * 1_000_000)
}

/// Leases and claims objects; every write lands.
struct Api {
    objects: Vec<Claims>,
    leases: Vec<Lease>,
    writes: u64,
}

impl Api {
    /// `node-b` has every row: those of the buckets, and for every other VIP one of its own.
    fn held_by(holder: &SessionId, vips: &Vips, layout: Layout) -> Self {
        let mut objects: Vec<Claims> = (0..layout.objects)
            .map(|index| Claims::empty(index, layout))
            .collect();
        for object in &mut objects {
            object.uid = format!("claims-{}", object.index).as_str().into();
            let own = vips.iter().filter(|(_, nodes)| nodes.is_some());
            let own = own.map(|(vip, _)| (RowKey::Address(*vip), layout.bucket(*vip)));
            let buckets = (0..layout.buckets()).map(|bucket| (RowKey::Bucket(bucket), bucket));
            let here = own
                .chain(buckets)
                .filter(|(_, bucket)| layout.object(*bucket) == object.index);
            let rows = here.map(|(key, _)| (key, Row::of(holder.clone())));
            object.rows = rows.collect();
        }
        Self {
            objects,
            leases: Vec::new(),
            writes: 0,
        }
    }

    fn lease(&mut self, node: &str, holder: Option<SessionId>, revoked: Option<SessionId>) {
        let uids = self.objects.iter().map(|object| object.uid.clone());
        self.leases.push(Lease {
            node: node.into(),
            uid: node.into(),
            resource_version: "1".into(),
            holder,
            revoked,
            claims_read: uids.collect(),
            serves: Serves::default(),
            duration: Duration::from_secs(5),
        });
    }

    fn reply(&mut self, request: Request) -> Reply {
        self.writes += 1;
        let version = self.writes.to_string();
        match request {
            Request::ReadLease(node) => {
                let found = self.leases.iter().find(|lease| lease.node == node);
                Reply::Lease(found.cloned())
            }
            Request::ListLeases => Reply::Leases(self.leases.clone()),
            Request::CreateLease(mut lease) | Request::PutLease(mut lease) => {
                lease.resource_version = version.as_str().into();
                self.leases.retain(|other| other.node != lease.node);
                self.leases.push(lease.clone());
                Reply::Lease(Some(lease))
            }
            Request::ReadClaims(index) => Reply::Claims(self.objects.get(index as usize).cloned()),
            Request::CreateClaims(mut claims) | Request::PutClaims(mut claims) => {
                claims.resource_version = version.as_str().into();
                self.objects[claims.index as usize] = claims.clone();
                Reply::Claims(Some(claims))
            }
        }
    }
}

/// Steps until nothing is under way, each millisecond of the machine's time until `end`; counts
/// the VIPs that go live and those that are fenced, and the time that it takes.
struct Run {
    machine: Machine,
    api: Api,
    now: u64,
    live: BTreeSet<IpAddr>,
}

impl Run {
    fn do_all(&mut self, actions: Vec<Action>) {
        let mut actions = actions;
        while !actions.is_empty() {
            let mut replies = Vec::new();
            for action in actions {
                match action {
                    Action::Live { address, .. } => drop(self.live.insert(address)),
                    Action::Fence(vip) => drop(self.live.remove(&vip)),
                    Action::Ask { id, request, .. } => {
                        replies.push(Event::Reply(id, self.api.reply(request)));
                    }
                    _ => {}
                }
            }
            actions = replies
                .into_iter()
                .flat_map(|reply| self.step(reply))
                .collect();
        }
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        self.machine.step(event, at(self.now))
    }

    fn until(&mut self, end: u64) {
        while self.now < end {
            self.now += 1;
            if self.machine.wake_at() <= at(self.now) {
                let actions = self.step(Event::Tick);
                self.do_all(actions);
            }
        }
    }
}

#[test]
fn a_thousand_vips_are_taken_over_held_and_given_away() {
    let layout = Layout::default();
    let (own, dead) = (session("node-a", 9), session("node-b", 1));
    let nodes: BTreeSet<NodeName> = ["node-a".into(), "node-b".into()].into();
    let vips: Vips = (0..VIPS)
        .map(|number| {
            let vip = IpAddr::from((0x0a09_0000 + number).to_be_bytes());
            (vip, (number % 2 == 0).then(|| nodes.clone()))
        })
        .collect();
    let mut api = Api::held_by(&dead, &vips, layout);
    api.lease("node-a", Some(own.clone()), None);
    api.lease("node-b", None, Some(dead));
    let config = Config {
        node: "node-a".into(),
        boot: own.boot,
        timing: Timing::default(),
        on_api_loss: OnApiLoss::Hold,
        max_announcers: 8,
        part: PART,
        layout,
        seed: 7 << 64,
    };
    let left = Left {
        session: Some(own),
        epoch: 3,
        deadline: at(14_000),
        confirmed: at(14_000),
        live: BTreeSet::new(),
    };
    let began = Instant::now();
    let (machine, actions) = Machine::start(config, left, at(10_000));
    let mut run = Run {
        machine,
        api,
        now: 10_000,
        live: BTreeSet::new(),
    };
    run.do_all(actions);
    for event in [Event::Serves(Serves::default()), Event::Vips(vips)] {
        let actions = run.step(event);
        run.do_all(actions);
    }
    run.until(12_500);
    assert_eq!(run.live.len(), VIPS as usize);
    let taken_over = began.elapsed();
    run.until(22_500);
    assert_eq!(run.live.len(), VIPS as usize);
    let held = began.elapsed();
    // A living peer, which has read everything.
    run.api.leases.retain(|lease| lease.node != "node-b".into());
    let living = session("node-b", 2);
    run.api.lease("node-b", Some(living), None);
    let mut peer = run.api.leases[1].clone();
    peer.resource_version = "later".into();
    for event in [Event::LeaseSeen(peer), Event::Leave] {
        let actions = run.step(event);
        run.do_all(actions);
    }
    // It proves nothing: each part waits for it, a little.
    run.until(26_500);
    assert_eq!(run.live.len(), 0);
    let given = began.elapsed() - held;
    println!(
        "computing: taken over {taken_over:.0?}, held for 10 s {:.0?}, given away {given:.0?}",
        held - taken_over
    );
}
