//! Where all is well: two nodes that renew, and nothing else.

use super::*;

/// Runs the node beside one that renews from 10 s until `silent`, for 20 s.
fn beside_one_that_renews(silent: u64) -> (Machine, BTreeSet<NodeName>) {
    let layout = Layout {
        objects: 1,
        buckets_each: 2,
    };
    let left = left(at(13_500), at(13_500));
    let (mut machine, mut actions) =
        Machine::start(Config { layout, ..config() }, left, at(10_000));
    let own = session(9, BOOT);
    let other = SessionId {
        node: "node-b".into(),
        ..session(3, BOOT)
    };
    let mut claims = Claims::empty(0, layout);
    claims.uid = "claims-0".into();
    claims.rows = [own.clone(), other.clone()]
        .into_iter()
        .enumerate()
        .map(|(bucket, holder)| (RowKey::Bucket(bucket as u32), Row::of(holder)))
        .collect();
    let of = |holder: &SessionId, version: &str| Lease {
        node: holder.node.clone(),
        claims_read: [claims.uid.clone()].into(),
        ..lease(Some(holder.clone()), version)
    };
    machine.step(Event::Vips(BTreeMap::new()), at(10_000));
    let mut revoked = BTreeSet::new();
    for now in 10_000..30_000 {
        for (id, request) in asked(&std::mem::take(&mut actions)) {
            let reply = match request {
                Request::PutLease(put) if put.node != own.node => {
                    revoked.insert(put.node.clone());
                    Reply::Lease(Some(put))
                }
                Request::ReadLease(_) | Request::PutLease(_) => Reply::Lease(Some(of(&own, "7"))),
                Request::ListLeases => Reply::Leases(vec![of(&own, "7"), of(&other, "7")]),
                Request::ReadClaims(_) => Reply::Claims(Some(claims.clone())),
                Request::PutClaims(put) => Reply::Claims(Some(put)),
                request => panic!("{request:?}"),
            };
            actions.extend(machine.step(Event::Reply(id, reply), at(now)));
        }
        if now < silent && now % 1500 == 0 {
            machine.step(Event::LeaseSeen(of(&other, &now.to_string())), at(now));
        }
        if machine.wake_at() <= at(now) {
            actions.extend(machine.step(Event::Tick, at(now)));
        }
    }
    (machine, revoked)
}

#[test]
fn while_sessions_are_renewed_nothing_else_is_due() {
    let (machine, revoked) = beside_one_that_renews(30_000);
    assert!(machine.session().is_some() && revoked.is_empty());
    assert_eq!(
        machine.rest_at,
        BootTime::NEVER,
        "all VIPs are gone through"
    );
}

#[test]
fn a_session_that_is_not_renewed_is_revoked() {
    let (_, revoked) = beside_one_that_renews(20_000);
    assert_eq!(revoked, ["node-b".into()].into());
}
