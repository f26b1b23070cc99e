//! Single steps of the machine. Its behaviour among others is the simulator's affair, in
//! `tests/tests/ownership.rs`.

mod balance;
mod calm;
mod hand_over;
mod incumbent;

use std::time::Duration;

use super::*;

const NODE: &str = "node-a";
const BOOT: [u8; 16] = [1; 16];

fn at(milliseconds: u64) -> BootTime {
    BootTime(milliseconds * 1_000_000)
}

fn config() -> Config {
    Config {
        node: NODE.into(),
        boot: BOOT,
        timing: Timing::default(),
        on_api_loss: OnApiLoss::Hold,
        max_announcers: 8,
        part: PART,
        layout: Layout {
            objects: 1,
            buckets_each: 1,
        },
        seed: 7 << 64,
    }
}

fn session(id: u128, boot: [u8; 16]) -> SessionId {
    SessionId {
        node: NODE.into(),
        boot,
        id: id.to_be_bytes(),
    }
}

fn lease(holder: Option<SessionId>, resource_version: &str) -> Lease {
    Lease {
        node: NODE.into(),
        uid: "lease".into(),
        resource_version: resource_version.into(),
        holder,
        revoked: None,
        claims_read: BTreeSet::new(),
        serves: Serves::default(),
        duration: Duration::from_secs(5),
    }
}

/// The requests among actions.
fn asked(actions: &[Action]) -> Vec<(RequestId, Request)> {
    let asked = actions.iter().filter_map(|action| match action {
        Action::Ask { id, request, .. } => Some((*id, request.clone())),
        _ => None,
    });
    asked.collect()
}

/// A session of this boot, of which nothing is live.
fn left(deadline: BootTime, confirmed: BootTime) -> Left {
    Left {
        session: Some(session(9, BOOT)),
        epoch: 3,
        deadline,
        confirmed,
        live: BTreeSet::new(),
    }
}

/// A machine that continues a session, and what it asked for first.
fn continued(deadline: BootTime, confirmed: BootTime) -> (Machine, Vec<Action>) {
    Machine::start(config(), left(deadline, confirmed), at(10_000))
}

#[test]
fn the_first_session_names_nobody_and_its_times_are_anchored_at_sending() {
    let (mut machine, actions) = Machine::start(config(), Left::default(), at(0));
    let (read, request) = asked(&actions)[0].clone();
    assert_eq!(request, Request::ReadLease(NODE.into()));
    let actions = machine.step(Event::Reply(read, Reply::Lease(None)), at(10));
    let list = asked(&actions)[0].0;
    let actions = machine.step(Event::Reply(list, Reply::Leases(Vec::new())), at(20));
    let (create, request) = asked(&actions)[0].clone();
    let Request::CreateLease(mut written) = request else {
        panic!("{request:?}");
    };
    assert_eq!(written.revoked, None);
    written.uid = "lease".into();
    let actions = machine.step(Event::Reply(create, Reply::Lease(Some(written))), at(900));
    let times = actions.iter().find_map(|action| match action {
        Action::Slot {
            deadline,
            confirmed,
            epoch,
        } => Some((*deadline, *confirmed, *epoch)),
        _ => None,
    });
    assert_eq!(times, Some((at(4020), at(4020), 2)));
}

#[test]
fn a_parked_slot_is_lowered_before_anything_is_asked() {
    let (_, actions) = continued(at(55_000), at(55_000));
    let lowered = Action::Slot {
        deadline: at(14_000),
        confirmed: at(14_000),
        epoch: 3,
    };
    assert_eq!(actions[0], lowered);
}

#[test]
fn a_session_of_another_boot_is_not_continued() {
    let left = Left {
        session: Some(session(9, [2; 16])),
        epoch: 3,
        deadline: at(12_000),
        confirmed: at(12_000),
        live: ["192.0.2.1".parse().unwrap()].into(),
    };
    let (machine, actions) = Machine::start(config(), left, at(10_000));
    assert_eq!(machine.session(), None);
    let silent = Action::Slot {
        deadline: at(0),
        confirmed: at(0),
        epoch: 4,
    };
    assert_eq!(actions[0], silent);
}

#[test]
fn a_lease_read_without_our_session_silences_it_at_once_and_is_not_written() {
    for found in [
        None,
        Some(lease(None, "5")),
        Some(lease(Some(session(8, [2; 16])), "5")),
    ] {
        let (mut machine, actions) = continued(at(12_000), at(12_000));
        let read = asked(&actions)[0].0;
        let actions = machine.step(Event::Reply(read, Reply::Lease(found)), at(10_010));
        let silent = Action::Slot {
            deadline: at(0),
            confirmed: at(0),
            epoch: 4,
        };
        assert_eq!(actions[0], silent);
        assert!(
            asked(&actions)
                .iter()
                .all(|(_, request)| *request == Request::ListLeases)
        );
    }
}

#[test]
fn a_late_success_counts_by_its_own_sending_time() {
    let (mut machine, actions) = continued(at(12_000), at(12_000));
    let read = asked(&actions)[0].0;
    let own = lease(Some(session(9, BOOT)), "5");
    let actions = machine.step(
        Event::Reply(read, Reply::Lease(Some(own.clone()))),
        at(10_010),
    );
    let put = asked(&actions)
        .into_iter()
        .find(|(_, request)| matches!(request, Request::PutLease(_)));
    let renewal = put.unwrap().0;
    // Timed out, and the Lease is being read again.
    let actions = machine.step(Event::Tick, at(11_010));
    assert!(
        matches!(asked(&actions)[0].1, Request::ReadLease(_)),
        "{actions:?}"
    );
    let actions = machine.step(Event::Reply(renewal, Reply::Lease(Some(own))), at(11_500));
    let extended = Action::Extend {
        deadline: at(14_010),
        confirmed: at(14_010),
    };
    assert!(actions.contains(&extended), "{actions:?}");
}

#[test]
fn a_second_machine_of_the_same_name_refuses_to_start_when_the_first_goes_on() {
    let other = session(8, [2; 16]);
    let (mut machine, mut actions) = Machine::start(config(), Left::default(), at(0));
    let mut now = 0;
    for renewal in 1..10 {
        for (id, request) in asked(&actions) {
            let reply = match request {
                Request::ReadLease(_) => {
                    Reply::Lease(Some(lease(Some(other.clone()), &renewal.to_string())))
                }
                Request::ListLeases => Reply::Leases(Vec::new()),
                request => panic!("{request:?}"),
            };
            actions = machine.step(Event::Reply(id, reply), at(now));
            if let [Action::Ask { .. }] = actions[..] {
                let id = asked(&actions)[0].0;
                let read = matches!(asked(&actions)[0].1, Request::ListLeases);
                if read {
                    actions = machine.step(Event::Reply(id, Reply::Leases(Vec::new())), at(now));
                }
            }
            if actions.contains(&Action::Refuse(other.clone())) {
                return;
            }
        }
        now += 1500;
        actions = machine.step(Event::Tick, at(now));
    }
    panic!("it never refused");
}

#[test]
fn an_object_is_acknowledged_when_nothing_is_answered_by_the_one_before() {
    let vip: IpAddr = "192.0.2.1".parse().unwrap();
    let left = Left {
        live: [vip].into(),
        ..left(at(12_000), at(12_000))
    };
    let (mut machine, mut actions) = Machine::start(config(), left, at(10_000));
    actions.extend(machine.step(Event::Vips([(vip, None)].into()), at(10_000)));
    let mut reading = None;
    while !actions.is_empty() {
        let mut next = Vec::new();
        for (id, request) in asked(&actions) {
            let reply = match request {
                Request::ReadLease(_) => Reply::Lease(Some(Lease {
                    claims_read: ["deleted".into()].into(),
                    ..lease(Some(session(9, BOOT)), "5")
                })),
                Request::PutLease(lease) => Reply::Lease(Some(lease)),
                Request::ReadClaims(_) => {
                    reading = Some(id);
                    continue;
                }
                request => panic!("{request:?}"),
            };
            next.extend(machine.step(Event::Reply(id, reply), at(10_001)));
        }
        actions = next;
    }
    let mut recreated = Claims::empty(0, config().layout);
    recreated.uid = "recreated".into();
    let uid = recreated.uid.clone();
    let read = Event::Reply(reading.unwrap(), Reply::Claims(Some(recreated)));
    let actions = machine.step(read, at(10_002));
    let silent = actions.iter().position(|it| *it == Action::Fence(vip));
    let acknowledged = actions.iter().position(|it| match it {
        Action::Ask { request, .. } => {
            matches!(request, Request::PutLease(lease) if lease.claims_read.contains(&uid))
        }
        _ => false,
    });
    assert!(silent.unwrap() < acknowledged.unwrap(), "{actions:?}");
}

/// When a new process claims a row that nobody has, where its node's Lease is as `found`.
fn first_claim(found: Option<Lease>) -> BootTime {
    let mut now = at(0);
    let (mut machine, mut actions) = Machine::start(config(), Left::default(), now);
    let vips = [("192.0.2.1".parse().unwrap(), None)].into();
    actions.extend(machine.step(Event::Vips(vips), now));
    let mut claims = Claims::empty(0, config().layout);
    claims.uid = "claims".into();
    let mut own = found;
    loop {
        let mut next = Vec::new();
        for (id, request) in asked(&actions) {
            let reply = match request {
                Request::ReadLease(_) => Reply::Lease(own.clone()),
                Request::ListLeases => Reply::Leases(own.iter().cloned().collect()),
                Request::CreateLease(written) | Request::PutLease(written) => {
                    own = Some(Lease {
                        uid: "lease".into(),
                        resource_version: now.0.to_string().as_str().into(),
                        ..written
                    });
                    Reply::Lease(own.clone())
                }
                Request::ReadClaims(_) => Reply::Claims(Some(claims.clone())),
                Request::PutClaims(_) => return now,
                request => panic!("{request:?}"),
            };
            next.extend(machine.step(Event::Reply(id, reply), now));
        }
        actions = next;
        if actions.is_empty() {
            now = machine.wake_at();
            actions = machine.step(Event::Tick, now);
        }
    }
}

#[test]
fn a_node_that_had_a_lease_waits_for_those_whose_leases_it_cannot_see() {
    assert_eq!(first_claim(None), at(0));
    let waited = first_claim(Some(lease(None, "5")));
    assert!((at(5_000)..at(5_500)).contains(&waited), "{waited:?}");
}

#[test]
fn an_object_with_another_hash_is_left_alone() {
    let (mut machine, actions) = continued(at(12_000), at(12_000));
    let mut claims = Claims::empty(0, config().layout);
    claims.hash = "siphash".to_owned();
    claims.uid = "claims".into();
    let (read, _) = asked(&actions)
        .into_iter()
        .find(|(_, request)| *request == Request::ReadClaims(0))
        .unwrap();
    machine.step(Event::Reply(read, Reply::Claims(Some(claims))), at(10_010));
    for tick in 0..100 {
        let actions = machine.step(Event::Tick, at(10_020 + 19 * tick));
        let writes = asked(&actions).into_iter();
        let writes = writes.filter(|(_, r)| !matches!(r, Request::ReadLease(_)));
        assert_eq!(writes.collect::<Vec<_>>(), Vec::new());
    }
}

#[test]
fn unknown_fields_of_an_object_survive_a_claim() {
    let (mut machine, actions) = continued(at(12_000), at(12_000));
    let mut claims = Claims::empty(0, config().layout);
    claims.uid = "claims".into();
    claims.unknown.insert("weight".to_owned(), 3.into());
    let (read, _) = asked(&actions)
        .into_iter()
        .find(|(_, request)| *request == Request::ReadClaims(0))
        .unwrap();
    let read = Event::Reply(read, Reply::Claims(Some(claims)));
    let actions = machine.step(read, at(10_010));
    let list = asked(&actions)[0].0;
    let actions = machine.step(Event::Reply(list, Reply::Leases(Vec::new())), at(10_020));
    let Some((_, Request::PutClaims(put))) = asked(&actions).pop() else {
        panic!("{actions:?}");
    };
    assert_eq!(put.version, 2);
    assert_eq!(put.unknown.get("weight"), Some(&3.into()));
    assert_eq!(put.rows[&RowKey::Bucket(0)].session, session(9, BOOT));
}

fn exits(actions: &[Action]) -> Vec<Exit> {
    let exits = actions.iter().filter_map(|action| match action {
        Action::Exit(exit) => Some(*exit),
        _ => None,
    });
    exits.collect()
}

#[test]
fn a_process_that_is_asked_to_go_is_gone_within_h_though_the_register_is_silent() {
    let left = Left {
        session: Some(session(9, BOOT)),
        epoch: 3,
        deadline: at(12_000),
        confirmed: at(12_000),
        live: ["192.0.2.1".parse().unwrap()].into(),
    };
    for (left, expected) in [
        (left.clone(), Exit::OutOfTime),
        (
            Left {
                live: BTreeSet::new(),
                ..left
            },
            Exit::Released,
        ),
    ] {
        let (mut machine, _) = Machine::start(config(), left, at(10_000));
        let mut actions = machine.step(Event::Leave, at(10_500));
        assert_eq!(exits(&actions), []);
        while exits(&actions).is_empty() {
            let wake = machine.wake_at();
            assert!(wake <= at(14_500), "{wake:?}");
            actions = machine.step(Event::Tick, wake);
            let touched = actions
                .iter()
                .any(|action| matches!(action, Action::Fence(_)));
            assert!(
                !touched,
                "the kernel answers until its deadline: {actions:?}"
            );
        }
        assert_eq!(exits(&actions), [expected]);
    }
}

#[test]
fn a_process_without_a_session_goes_at_once() {
    let (mut machine, _) = Machine::start(config(), Left::default(), at(0));
    let actions = machine.step(Event::Leave, at(10));
    assert_eq!(exits(&actions), [Exit::Released]);
}

#[test]
fn a_write_that_met_another_is_tried_again_when_the_watch_shows_that_and_without_a_read() {
    for watched_first in [true, false] {
        let layout = config().layout;
        let (mut machine, mut actions) = continued(at(13_500), at(13_500));
        let mut claims = Claims::empty(0, layout);
        claims.uid = "claims".into();
        claims.resource_version = "1".into();
        let row = Row::of(session(9, BOOT));
        claims.rows = [(RowKey::Bucket(0), row)].into();
        let own_lease = Lease {
            claims_read: ["claims".into()].into(),
            ..lease(Some(session(9, BOOT)), "5")
        };
        let vip = "192.0.2.1".parse().unwrap();
        actions.extend(machine.step(Event::Vips([(vip, None)].into()), at(10_000)));
        let mut put = None;
        for _ in 0..10 {
            let mut next = Vec::new();
            for (id, request) in asked(&actions) {
                let reply = match request {
                    Request::ReadLease(_) | Request::PutLease(_) => {
                        Reply::Lease(Some(own_lease.clone()))
                    }
                    Request::ReadClaims(_) => Reply::Claims(Some(claims.clone())),
                    Request::PutClaims(claims) => {
                        put = Some((id, claims));
                        continue;
                    }
                    request => panic!("{request:?}"),
                };
                next.extend(machine.step(Event::Reply(id, reply), at(10_001)));
            }
            actions = next;
        }
        let (id, _) = put.unwrap();
        let mut theirs = claims.clone();
        theirs.version += 1;
        theirs.resource_version = "2".into();
        let refused = Event::Reply(id, Reply::Conflict);
        let events = match watched_first {
            true => [Event::ClaimsSeen(theirs), refused],
            false => [refused, Event::ClaimsSeen(theirs)],
        };
        let steps = events.map(|event| asked(&machine.step(event, at(10_004))));
        let [before, again] = &steps;
        assert!(before.is_empty(), "{before:?}");
        let [(_, Request::PutClaims(put))] = &again[..] else {
            panic!("{again:?}");
        };
        assert_eq!((put.version, &put.resource_version), (3, &"2".into()));
    }
}
