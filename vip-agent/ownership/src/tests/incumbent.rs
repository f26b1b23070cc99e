//! VIPs that another load balancer answers for while it is being replaced.

use super::*;

const VIP: &str = "192.0.2.1";

fn vip() -> IpAddr {
    VIP.parse().unwrap()
}

fn peer() -> SessionId {
    SessionId {
        node: "node-b".into(),
        boot: [3; 16],
        id: [3; 16],
    }
}

/// A node that has the only bucket, and what becomes of a VIP in it.
struct Bed {
    machine: Machine,
    claims: Claims,
    pending: Vec<Action>,
    now: u64,
}

impl Bed {
    /// `rows` of the object, with this node's session for none.
    fn new(rows: &[(RowKey, Option<SessionId>)]) -> Self {
        let (machine, pending) = continued(at(13_500), at(13_500));
        let mut claims = Claims::empty(0, config().layout);
        claims.uid = "claims".into();
        let own = session(9, BOOT);
        let rows = rows.iter().cloned();
        let rows = rows.map(|(key, holder)| (key, Row::of(holder.unwrap_or(own.clone()))));
        claims.rows = rows.collect();
        Self {
            machine,
            claims,
            pending,
            now: 10_000,
        }
    }

    fn tell(&mut self, event: Event) {
        let actions = self.machine.step(event, at(self.now));
        self.pending.extend(actions);
    }

    fn unsettled(&mut self) {
        self.tell(Event::Unsettled([vip()].into()));
        self.tell(Event::Vips([(vip(), None)].into()));
    }

    fn serves(incumbent: bool) -> Serves {
        Serves {
            incumbent: incumbent.then(vip).into_iter().collect(),
            ..Serves::default()
        }
    }

    fn peer_serves(&mut self, incumbent: bool) {
        let lease = Lease {
            node: "node-b".into(),
            serves: Self::serves(incumbent),
            claims_read: ["claims".into()].into(),
            ..lease(Some(peer()), &format!("{}", self.now))
        };
        self.tell(Event::LeaseSeen(lease));
    }

    /// Runs for so many milliseconds, with somebody who answers probes or not: what is done, and
    /// when.
    fn run(&mut self, milliseconds: u64, answered: bool) -> Vec<(u64, Action)> {
        let mut done = Vec::new();
        let end = self.now + milliseconds;
        while self.now < end {
            for action in std::mem::take(&mut self.pending) {
                done.push((self.now, action.clone()));
                let event = match action {
                    Action::Probe(vip) if answered => Event::ProbeAnswered(vip),
                    Action::Ask { id, request, .. } => Event::Reply(id, self.reply(request)),
                    _ => continue,
                };
                self.tell(event);
            }
            self.now += 1;
            self.tell(Event::Tick);
        }
        done
    }

    fn reply(&mut self, request: Request) -> Reply {
        match request {
            Request::ReadLease(_) | Request::PutLease(_) => Reply::Lease(Some(Lease {
                claims_read: ["claims".into()].into(),
                ..lease(Some(session(9, BOOT)), "5")
            })),
            Request::ReadClaims(_) => Reply::Claims(Some(self.claims.clone())),
            Request::PutClaims(put) => {
                self.claims = put.clone();
                Reply::Claims(Some(put))
            }
            request => panic!("{request:?}"),
        }
    }
}

fn live_at(done: &[(u64, Action)]) -> Option<u64> {
    let mut live = (done.iter()).filter(|(_, action)| matches!(action, Action::Live { .. }));
    live.next().map(|(when, _)| *when)
}

fn probes(done: &[(u64, Action)]) -> usize {
    let probes = done
        .iter()
        .filter(|(_, action)| *action == Action::Probe(vip()));
    probes.count()
}

const BUCKET: RowKey = RowKey::Bucket(0);

#[test]
fn what_nobody_of_ours_has_answered_for_is_asked_for_and_goes_live_when_nobody_answers() {
    let mut bed = Bed::new(&[(BUCKET, None)]);
    bed.unsettled();
    let done = bed.run(1_000, false);
    assert_eq!(probes(&done), 3);
    let live = live_at(&done).unwrap();
    assert!((10_600..10_700).contains(&live), "{live}");
    let claims = |(_, action): &&(u64, Action)| matches!(action, Action::Claim(_));
    assert_eq!(done.iter().filter(claims).count(), 3);
}

#[test]
fn while_somebody_answers_it_stays_silent_and_not_for_long_after_that() {
    let mut bed = Bed::new(&[(BUCKET, None)]);
    bed.unsettled();
    let done = bed.run(2_900, true);
    assert_eq!(live_at(&done), None);
    assert_eq!(bed.machine.entries.stage(vip()), Stage::Asking);
    let ended = bed.now;
    let live = live_at(&bed.run(3_000, false)).unwrap();
    assert!(live - ended < 1_700, "{}", live - ended);
}

#[test]
fn the_deaf_do_not_take_silence_for_an_answer() {
    let mut bed = Bed::new(&[(BUCKET, None)]);
    bed.unsettled();
    bed.tell(Event::Deaf(true));
    assert_eq!(live_at(&bed.run(2_900, false)), None);
}

#[test]
fn where_this_node_itself_answers_it_is_taken_over_without_asking() {
    let mut bed = Bed::new(&[(BUCKET, None)]);
    bed.tell(Event::Serves(Bed::serves(true)));
    bed.unsettled();
    let done = bed.run(100, true);
    assert!(live_at(&done).is_some());
    assert_eq!(probes(&done), 0);
}

#[test]
fn where_another_node_answers_its_row_goes_there_without_having_been_live_here() {
    let mut bed = Bed::new(&[(BUCKET, None)]);
    bed.unsettled();
    bed.run(100, true);
    bed.peer_serves(true);
    let done = bed.run(100, true);
    assert_eq!(live_at(&done), None);
    let row = &bed.claims.rows[&RowKey::Address(vip())];
    assert_eq!(row.session, peer());
    // Its probes end with that.
    assert_eq!(probes(&bed.run(2_000, true)), 0);
}

#[test]
fn a_row_comes_back_when_its_holder_was_the_incumbent_for_long_enough() {
    let rows = [(BUCKET, Some(peer())), (RowKey::Address(vip()), None)];
    let mut bed = Bed::new(&rows);
    bed.peer_serves(false);
    bed.tell(Event::Serves(Bed::serves(true)));
    bed.unsettled();
    assert!(live_at(&bed.run(100, false)).is_some());
    assert!(bed.claims.rows.contains_key(&RowKey::Address(vip())));
    bed.tell(Event::Unsettled(BTreeSet::new()));
    bed.tell(Event::Serves(Bed::serves(false)));
    let done = bed.run(100, false);
    assert!(
        done.iter()
            .any(|(_, action)| *action == Action::Fence(vip()))
    );
    assert!(!bed.claims.rows.contains_key(&RowKey::Address(vip())));
}
