//! A node that leaves, and two that receive what it held.

use super::*;

/// By then all VIPs have been claimed for the process, which has just begun.
const LEAVES: u64 = 12_000;

/// A part that was handed over.
#[derive(Debug)]
struct Handed {
    at: u64,
    object: u32,
    heirs: BTreeSet<NodeName>,
    /// VIPs that waited for their heirs then, with those of the part.
    silent: usize,
}

/// The node has all buckets of two objects and leaves.
struct Leaving {
    layout: Layout,
    machine: Machine,
    claims: [Claims; 2],
    vips: Vec<IpAddr>,
    /// Milliseconds that a write takes.
    write: u64,
    /// Milliseconds after which rows are proven by whoever they were given to.
    proof: u64,
    /// Requests that are answered then.
    pending: Vec<(u64, RequestId, Request)>,
    /// What was handed over and is to be proven then.
    unproven: Vec<(u64, Claims)>,
    silent: BTreeSet<IpAddr>,
    handed: Vec<Handed>,
    exits: Option<(u64, Exit)>,
}

impl Leaving {
    /// Every second VIP has a row of its own, which anybody may have.
    fn with(count: u16, buckets_each: u32, [write, proof]: [u64; 2]) -> Self {
        let layout = Layout {
            objects: 2,
            buckets_each,
        };
        let own = Row::of(session(9, BOOT));
        let vips: Vec<IpAddr> = (0..count)
            .map(|n| [192, 0, (n >> 8) as u8, n as u8].into())
            .collect();
        let claims = [0, 1].map(|index| {
            let mut claims = Claims::empty(index, layout);
            claims.uid = format!("claims-{index}").as_str().into();
            let buckets = layout.buckets_of(index).map(RowKey::Bucket);
            let of_object = |vip: &&IpAddr| layout.object(layout.bucket(**vip)) == index;
            let addresses = vips.iter().step_by(2).filter(of_object);
            claims.rows = buckets
                .chain(addresses.map(|vip| RowKey::Address(*vip)))
                .map(|key| (key, own.clone()))
                .collect();
            claims
        });
        let left = left(at(13_500), at(13_500));
        let (machine, actions) = Machine::start(Config { layout, ..config() }, left, at(10_000));
        let mut leaving = Self {
            layout,
            machine,
            claims,
            vips,
            write,
            proof,
            pending: Vec::new(),
            unproven: Vec::new(),
            silent: BTreeSet::new(),
            handed: Vec::new(),
            exits: None,
        };
        leaving.run(actions);
        leaving
    }

    fn read(&self) -> BTreeSet<Uid> {
        self.claims
            .iter()
            .map(|claims| claims.uid.clone())
            .collect()
    }

    fn run(&mut self, mut actions: Vec<Action>) {
        self.others_renew(10_000);
        let all: BTreeSet<NodeName> = ["node-a", "node-b", "node-c"].map(Into::into).into();
        let vips = self.vips.iter().enumerate();
        let vips = vips.map(|(n, vip)| (*vip, n.is_multiple_of(2).then(|| all.clone())));
        self.machine.step(Event::Vips(vips.collect()), at(10_000));
        for now in 10_001..LEAVES + 4_100 {
            let mut next = Vec::new();
            for (id, request) in asked(&actions) {
                let is_slow = now > LEAVES && matches!(request, Request::PutClaims(_));
                let at = now + if is_slow { self.write } else { 0 };
                self.pending.push((at, id, request));
            }
            let pending = self.pending.extract_if(.., |(at, ..)| *at <= now);
            for (_, id, request) in pending.collect::<Vec<_>>() {
                let reply = self.reply(request, now);
                next.extend(self.machine.step(Event::Reply(id, reply), at(now)));
            }
            for claims in self.proofs(now) {
                next.extend(self.machine.step(Event::ClaimsSeen(claims), at(now)));
            }
            if now == LEAVES {
                self.others_renew(now);
                next.extend(self.machine.step(Event::Leave, at(now)));
            }
            next.extend(self.machine.step(Event::Tick, at(now)));
            if let Some(exit) = exits(&next).first() {
                self.exits = Some((now, *exit));
                return;
            }
            actions = next;
        }
    }

    fn others_renew(&mut self, now: u64) {
        for (name, id) in [("node-b", 3), ("node-c", 4)] {
            let other = SessionId {
                node: name.into(),
                boot: [id; 16],
                id: [id; 16],
            };
            let living = Lease {
                node: name.into(),
                claims_read: self.read(),
                ..lease(Some(other), &now.to_string())
            };
            self.machine.step(Event::LeaseSeen(living), at(now));
        }
    }

    fn reply(&mut self, request: Request, now: u64) -> Reply {
        match request {
            Request::ReadLease(_) => Reply::Lease(Some(Lease {
                claims_read: self.read(),
                ..lease(Some(session(9, BOOT)), "5")
            })),
            Request::PutLease(put) => Reply::Lease(Some(put)),
            Request::ReadClaims(index) => Reply::Claims(Some(self.claims[index as usize].clone())),
            Request::PutClaims(put) => {
                if now > LEAVES {
                    self.hand_over(&put, now);
                }
                self.claims[put.index as usize] = put.clone();
                Reply::Claims(Some(put))
            }
            request => panic!("{request:?}"),
        }
    }

    fn hand_over(&mut self, put: &Claims, now: u64) {
        let before = &self.claims[put.index as usize];
        let owner = |claims: &Claims, vip: IpAddr| {
            let row = claims.deciding(vip, self.layout.bucket(vip));
            row.map(|(_, row)| row.session.clone())
        };
        let moved = self.vips.iter().filter(|vip| {
            let of_object = self.layout.object(self.layout.bucket(**vip)) == put.index;
            of_object && owner(before, **vip) != owner(put, **vip)
        });
        let moved: Vec<IpAddr> = moved.copied().collect();
        let heirs = moved.iter().filter_map(|vip| owner(put, *vip));
        let heirs = heirs.map(|session| session.node).collect();
        self.silent.extend(moved);
        self.handed.push(Handed {
            at: now,
            object: put.index,
            heirs,
            silent: self.silent.len(),
        });
        self.unproven.push((now + self.proof, put.clone()));
    }

    /// Objects as their heirs have written them by now.
    fn proofs(&mut self, now: u64) -> Vec<Claims> {
        let due = |(at, _): &mut (u64, Claims)| *at <= now;
        let proven: Vec<Claims> = (self.unproven.extract_if(.., due).map(|(_, claims)| claims))
            .filter(|claims| claims.version == self.claims[claims.index as usize].version)
            .map(|mut claims| {
                claims.version += 1;
                claims
            })
            .collect();
        for claims in &proven {
            self.claims[claims.index as usize] = claims.clone();
            let layout = self.layout;
            (self.silent).retain(|vip| layout.object(layout.bucket(*vip)) != claims.index);
        }
        proven
    }
}

#[test]
fn few_vips_go_object_by_object_and_each_to_one_heir() {
    let leaving = Leaving::with(16, 4, [1, 30]);
    let handed = &leaving.handed;
    assert!(
        matches!(&handed[..], [first, second]
        if (first.object, second.object) == (0, 1) && first.at < second.at),
        "{handed:?}"
    );
    let heirs = [&handed[0].heirs, &handed[1].heirs];
    assert_eq!(
        heirs,
        [&["node-b".into()].into(), &["node-c".into()].into()]
    );
    let (left, exit) = leaving.exits.unwrap();
    assert!(
        exit == Exit::Released && left < LEAVES + 30,
        "waits for no proof: {left}"
    );
}

#[test]
fn of_many_vips_no_more_are_silent_at_a_time_than_one_part_has() {
    let leaving = Leaving::with(600, 32, [1, 30]);
    let handed = &leaving.handed;
    // A bucket has some VIPs.
    assert!(handed.len() >= 9, "{handed:?}");
    assert!(
        handed.iter().all(|part| part.silent < PART + 20),
        "{handed:?}"
    );
    let both = handed
        .windows(2)
        .take(6)
        .filter(|two| two[0].object != two[1].object);
    assert!(both.count() >= 5, "heirs bind in turn: {handed:?}");
    let (left, exit) = leaving.exits.unwrap();
    assert!(exit == Exit::Released && left < LEAVES + 600, "{left}");
}

#[test]
fn heirs_have_time_to_bind_though_they_prove_at_once() {
    let leaving = Leaving::with(600, 32, [1, 1]);
    // What is left over of each object is no full part.
    let full = &leaving.handed[..leaving.handed.len() - 1];
    let steps: Vec<u64> = full.windows(2).map(|two| two[1].at - two[0].at).collect();
    assert!(
        steps.len() > 6 && steps.iter().all(|step| *step >= 40),
        "{steps:?}"
    );
}

#[test]
fn who_leaves_is_gone_in_time_though_nobody_proves_or_each_write_takes_long() {
    for [write, proof] in [[1, 60_000], [450, 60_000]] {
        let leaving = Leaving::with(600, 32, [write, proof]);
        let (left, exit) = leaving.exits.unwrap();
        assert!(
            exit == Exit::Released && left < LEAVES + 4_000,
            "{exit:?} {left}"
        );
        let rows = leaving
            .claims
            .iter()
            .flat_map(|claims| claims.rows.values());
        let own = session(9, BOOT);
        assert!(rows.clone().count() > 300 && rows.clone().all(|row| row.session != own));
    }
}
