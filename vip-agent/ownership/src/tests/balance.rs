//! Which buckets a node gives away for the sake of balance (rule 9).

use super::*;

const VIP: &str = "192.0.2.1";

/// A node beside two others: one that holds no bucket, and a cordoned one.
struct Case {
    objects: u32,
    /// As many objects can be read; the others stay unknown.
    read: u32,
    /// As many buckets are the node's own, the rest is to go from the cordoned one.
    held: u32,
    /// How long a write takes.
    write: u64,
}

/// Six buckets in each object, all of them the node's own.
const CASE: Case = Case {
    objects: 1,
    read: 1,
    held: 24,
    write: 1,
};

fn node(name: &str, id: u128) -> SessionId {
    SessionId {
        node: name.into(),
        ..session(id, BOOT)
    }
}

/// Runs the node for less than L. Buckets of whoever held none, and versions written.
fn balanced(case: Case) -> (Vec<RowKey>, Vec<u64>) {
    let layout = Layout {
        objects: case.objects,
        buckets_each: 6,
    };
    let config = Config { layout, ..config() };
    let left = left(at(13_500), at(13_500));
    let (mut machine, mut actions) = Machine::start(config, left, at(10_000));
    let (own, idle, cordoned) = (session(9, BOOT), node("node-b", 3), node("node-c", 7));
    let mut objects: Vec<Claims> = (0..case.objects)
        .map(|index| {
            let mut claims = Claims::empty(index, layout);
            claims.uid = format!("claims-{index}").as_str().into();
            let holder = |bucket| if bucket < case.held { &own } else { &cordoned };
            claims.rows = layout
                .buckets_of(index)
                .map(|bucket| (RowKey::Bucket(bucket), Row::of(holder(bucket).clone())))
                .collect();
            claims
        })
        .collect();
    let of = |holder: &SessionId, readiness| Lease {
        node: holder.node.clone(),
        claims_read: objects.iter().map(|claims| claims.uid.clone()).collect(),
        serves: Serves {
            readiness,
            ..Serves::default()
        },
        ..lease(Some(holder.clone()), "7")
    };
    let own_lease = of(&own, Readiness::Ready);
    machine.step(
        Event::Vips([(VIP.parse().unwrap(), None)].into()),
        at(10_000),
    );
    for lease in [
        of(&idle, Readiness::Ready),
        of(&cordoned, Readiness::LastChoice),
    ] {
        machine.step(Event::LeaseSeen(lease), at(10_000));
    }
    let (mut versions, mut replies) = (Vec::new(), Vec::new());
    for now in 10_001..14_900 {
        for (id, request) in asked(&actions) {
            let (after, reply) = match request {
                Request::ReadLease(_) | Request::PutLease(_) => {
                    (0, Reply::Lease(Some(own_lease.clone())))
                }
                Request::ReadClaims(index) if index < case.read => {
                    (0, Reply::Claims(Some(objects[index as usize].clone())))
                }
                Request::ReadClaims(_) => (0, Reply::Unknown),
                Request::PutClaims(put) => {
                    versions.push(put.version);
                    objects[put.index as usize] = put.clone();
                    (case.write, Reply::Claims(Some(put)))
                }
                request => panic!("{request:?}"),
            };
            replies.push((now + after, id, reply));
        }
        actions = machine.step(Event::Tick, at(now));
        for (_, id, reply) in replies.extract_if(.., |(due, ..)| *due <= now) {
            actions.extend(machine.step(Event::Reply(id, reply), at(now)));
        }
    }
    let rows = objects.iter().flat_map(|claims| &claims.rows);
    let theirs = rows.filter(|(_, row)| row.session == idle);
    (theirs.map(|(key, _)| *key).collect(), versions)
}

#[test]
fn who_has_more_than_its_share_gives_away_buckets_without_addresses_and_no_more() {
    let (theirs, versions) = balanced(CASE);
    assert_eq!(theirs.len(), 3, "{theirs:?}");
    let layout = Layout {
        objects: 1,
        buckets_each: 6,
    };
    let used = RowKey::Bucket(layout.bucket(VIP.parse().unwrap()));
    assert!(!theirs.contains(&used));
    assert!(
        !theirs.contains(&RowKey::Bucket(0)),
        "rows go from the last on"
    );
    // The proof of what was found, and one write for all that goes.
    assert_eq!(versions, [2, 3]);
}

#[test]
fn nobody_judges_its_share_while_another_is_to_give_its_buckets_away() {
    let (theirs, _) = balanced(Case { held: 2, ..CASE });
    assert_eq!(
        theirs,
        [],
        "two of six are a third, and the four come first"
    );
}

#[test]
fn nobody_judges_its_share_by_a_part_of_the_objects() {
    let (theirs, _) = balanced(Case { objects: 2, ..CASE });
    assert_eq!(theirs, [], "the other may hold all of the second object");
}

#[test]
fn what_is_on_its_way_is_not_given_twice() {
    let (theirs, _) = balanced(Case {
        objects: 4,
        read: 4,
        write: 500,
        ..CASE
    });
    assert_eq!(theirs.len(), 12, "{theirs:?}");
}
