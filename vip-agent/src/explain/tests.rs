//! What contradicts what, layer by layer.

use std::collections::BTreeSet;

use super::*;
use crate::{
    cluster::{Change, Cluster, fixture},
    history::tests::happened,
    ownership::{Account, BootTime, PeerAccount, Readiness, Stage},
};

/// A VIP that is answered by a bucket row, and everything agrees.
pub(crate) fn explained(address: IpAddr) -> Explanation {
    gathered(address).conclude(&quiet())
}

fn gathered(address: IpAddr) -> Explanation {
    let since: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    Explanation {
        node: "node-a".into(),
        version: "0.1.0".into(),
        address,
        answers: false,
        summary: String::new(),
        findings: Vec::new(),
        vip: Some(Known {
            state: VipState::Answering,
            reason: None,
            since,
            interface: Some("eth0".into()),
            prefix: Some(32),
            answers: 42,
            conflicts: 0,
        }),
        assignment: Some(Assignment {
            pool: Some("default".into()),
            services: vec!["default/web".into()],
            control_plane: false,
            published: Some("node-a".into()),
        }),
        row: Some(Row {
            kind: RowKind::Bucket,
            name: "bucket 21 of VipClaims xvip-1".into(),
            node: Some("node-a".into()),
            session: Some("node-a/1/2".into()),
            since: Some(since),
            here: true,
            lives: true,
        }),
        candidates: vec![candidate("node-a", true), candidate("node-b", true)],
        session: Session {
            id: Some("node-a/1/2".into()),
            epoch: 3,
            deadline_in_ms: Some(3_500),
            confirmed_in_ms: Some(3_400),
        },
        entries: vec![
            entry(Some("eth0"), 1, Standing::Answered),
            entry(None, 0, Standing::Fenced),
        ],
        bound: vec![bound(true)],
        events: happened().events,
    }
}

fn quiet() -> Circumstances {
    Circumstances {
        binds: true,
        kubernetes: true,
        complete: true,
        stage: Stage::Live,
        proven: true,
        deaf: false,
        leaving: false,
        unguarded: None,
    }
}

fn candidate(node: &str, eligible: bool) -> Candidate {
    Candidate {
        node: node.into(),
        eligible,
        why: "ready".into(),
        session: Some(format!("{node}/1/2")),
        silent_in_ms: Some(4_000),
        interfaces: vec!["eth0 192.0.2.0/24".into()],
    }
}

fn entry(interface: Option<&str>, slot: u16, standing: Standing) -> Entry {
    Entry {
        interface: interface.map(str::to_owned),
        mac: "02:00:00:00:00:01".into(),
        slot,
        epoch: 3,
        standing,
    }
}

fn bound(ours: bool) -> Bound {
    Bound {
        interface: "eth0".into(),
        prefix: 32,
        ours,
        seconds: ours.then_some(299),
    }
}

fn vip() -> IpAddr {
    "192.0.2.100".parse().unwrap()
}

/// What is concluded after a change: the summary, and every finding.
fn concluded(change: impl FnOnce(&mut Explanation, &mut Circumstances)) -> Explanation {
    let (mut explanation, mut circumstances) = (gathered(vip()), quiet());
    change(&mut explanation, &mut circumstances);
    explanation.conclude(&circumstances)
}

/// The only finding after a change.
fn only(change: impl FnOnce(&mut Explanation, &mut Circumstances)) -> String {
    let explanation = concluded(change);
    let [finding] = explanation.findings.as_slice() else {
        panic!("{:#?}", explanation.findings);
    };
    assert!(!finding.fix.is_empty());
    finding.message.clone()
}

/// The row is another node's, as it should be.
fn elsewhere(explanation: &mut Explanation) {
    let row = explanation.row.as_mut().unwrap();
    row.here = false;
    row.node = Some("node-b".into());
    explanation.entries[0] = entry(Some("eth0"), 0, Standing::Fenced);
    explanation.bound.clear();
    explanation.assignment.as_mut().unwrap().published = Some("node-b".into());
    explanation.vip.as_mut().unwrap().state = VipState::Fenced;
}

#[test]
fn where_all_layers_agree_there_is_nothing_to_find() {
    let here = concluded(|_, _| ());
    assert_eq!(here.findings, []);
    assert!(here.answers);
    assert_eq!(
        here.summary,
        "node-a answers for 192.0.2.100 on eth0: bucket 21 of VipClaims xvip-1 names it"
    );
    let there = concluded(|explanation, _| elsewhere(explanation));
    assert_eq!(there.findings, []);
    assert!(!there.answers);
    assert_eq!(
        there.summary,
        "node-b answers for 192.0.2.100, not node-a: bucket 21 of VipClaims xvip-1 names it"
    );
}

#[test]
fn a_vip_that_is_held_and_silent_says_what_silences_it() {
    let standing = |standing, stage, proven| {
        only(|explanation, of| {
            explanation.entries[0].standing = standing;
            (of.stage, of.proven) = (stage, proven);
        })
    };
    use Standing::{Fenced, Outdated, Passed, Unconfirmed, Yielded};
    assert!(
        standing(Passed, Stage::Suspended, true).contains("deadline of the session has passed")
    );
    assert!(standing(Unconfirmed, Stage::Live, true).starts_with("unconfirmed"));
    assert!(standing(Outdated, Stage::Live, true).contains("before the present one"));
    assert!(standing(Yielded, Stage::Suspended, true).contains("yielded to a rival"));
    assert!(standing(Fenced, Stage::Suspended, true).contains("yielded to a rival"));
    assert!(standing(Fenced, Stage::Claiming, true).contains("being claimed"));
    assert!(standing(Fenced, Stage::Fenced, false).contains("no write of this process"));
    assert!(standing(Fenced, Stage::Live, true).contains("held, and fenced"));
    let silent = concluded(|explanation, _| explanation.entries[0].standing = Passed);
    assert!(!silent.answers);
    assert!(
        silent.summary.contains("ought to answer"),
        "{}",
        silent.summary
    );
    assert!(silent.summary.contains("deadline"), "{}", silent.summary);
}

#[test]
fn a_vip_that_is_held_and_not_programmed_or_not_bound_is_found() {
    let message = only(|explanation, _| {
        explanation.entries.remove(0);
    });
    assert!(message.contains("held, and not programmed"), "{message}");
    let message = only(|explanation, _| explanation.bound.clear());
    assert!(message.contains("answered, and not bound"), "{message}");
    let elsewhere = concluded(|explanation, of| {
        of.binds = false;
        explanation.bound.clear();
    });
    assert_eq!(elsewhere.findings, [], "bind: none binds nothing");
    let message = only(|explanation, _| {
        let vip = explanation.vip.as_mut().unwrap();
        (vip.state, vip.interface) = (VipState::Pending, None);
        vip.reason = Some("no interface has its subnet".into());
        explanation.entries.remove(0);
        explanation.bound.clear();
    });
    assert_eq!(message, "pending: no interface has its subnet");
}

#[test]
fn what_answers_or_is_bound_on_a_node_that_does_not_own_it_is_found() {
    let message = only(|explanation, _| {
        elsewhere(explanation);
        explanation.entries[0] = entry(Some("eth0"), 1, Standing::Answered);
    });
    assert!(message.contains("this node does not own it"), "{message}");
    let message = only(|explanation, _| {
        elsewhere(explanation);
        explanation.bound = vec![bound(false)];
    });
    assert!(
        message.contains("somebody else has bound it to eth0"),
        "{message}"
    );
}

#[test]
fn a_row_without_a_living_holder_says_who_could_take_it() {
    let dead = only(|explanation, _| {
        elsewhere(explanation);
        explanation.row.as_mut().unwrap().lives = false;
    });
    assert!(dead.contains("is dead"), "{dead}");
    let nobody = concluded(|explanation, _| {
        elsewhere(explanation);
        explanation.row.as_mut().unwrap().lives = false;
        for candidate in &mut explanation.candidates {
            candidate.eligible = false;
        }
    });
    let fixes: Vec<&str> = nobody.findings.iter().map(|it| it.fix.as_str()).collect();
    assert!(fixes[0].contains("no candidate is eligible"), "{fixes:?}");
    assert_eq!(nobody.findings[1].message, "no node is eligible");
    let free = only(|explanation, _| {
        elsewhere(explanation);
        let row = explanation.row.as_mut().unwrap();
        (row.node, row.lives) = (None, false);
    });
    assert!(free.contains("nobody has claimed"), "{free}");
}

#[test]
fn an_address_that_is_not_known_says_where_it_would_come_from() {
    let unknown = |kubernetes, complete| {
        only(|explanation, of| {
            explanation.vip = None;
            explanation.row = None;
            explanation.entries.clear();
            explanation.bound.clear();
            (of.kubernetes, of.complete) = (kubernetes, complete);
        })
    };
    assert!(unknown(true, true).contains("no Service has it"));
    assert!(unknown(true, false).contains("has not seen the cluster's objects"));
    assert!(unknown(false, true).contains("is not listed"));
}

#[test]
fn conflicts_deafness_and_a_late_status_are_found() {
    let message = only(|explanation, _| {
        explanation.vip.as_mut().unwrap().state = VipState::Conflict;
    });
    assert!(
        message.contains("02:00:00:00:00:09 claims the VIP too"),
        "{message}"
    );
    assert!(only(|_, of| of.deaf = true).contains("neither gateway nor peers"));
    assert!(only(|_, of| of.leaving = true).contains("asked to end"));
    let message = only(|_, of| of.unguarded = Some("no programs are attached".into()));
    assert!(message.contains("not guarded"), "{message}");
    let message = only(|explanation, _| {
        explanation.assignment.as_mut().unwrap().published = Some("node-b".into());
    });
    assert!(
        message.contains("names node-b, the row names node-a"),
        "{message}"
    );
}

#[test]
fn the_table_says_the_reason_first_and_holds_every_layer() {
    let mut explanation = concluded(|explanation, _| explanation.bound.clear());
    explanation.bound = vec![bound(true)];
    let table = explanation.table("2026-01-02T04:04:05Z".parse().unwrap());
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], explanation.summary);
    assert!(lines[2].starts_with("! answered, and not bound"), "{table}");
    for expected in [
        "192.0.2.100/32 on eth0, answering for 60m, 42 answers, 0 conflicts",
        "pool default, of default/web",
        "bucket 21 of VipClaims xvip-1 names node-a for 60m",
        "node-a/1/2, epoch 3, silent in 3500 ms, yields in 3400 ms",
        "eth0: 02:00:00:00:00:01, slot 1, epoch 3, answered",
        "all others: 02:00:00:00:00:01, slot 0, epoch 3, silent",
        "192.0.2.100/32 on eth0 by xvip, for 299 s",
        "Conflict",
    ] {
        assert!(table.contains(expected), "{expected}\n{table}");
    }
    let row = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = lines.iter().map(|line| row(line)).collect();
    assert!(
        rows.contains(&row("node-b yes in 4000 ms ready")),
        "{table}"
    );
}

fn peer(node: &str, readiness: Readiness, silent_at: u64) -> PeerAccount {
    PeerAccount {
        node: node.into(),
        session: format!("{node}/{:032x}/{:032x}", 1, 2).parse().ok(),
        silent_at: Some(BootTime(silent_at * 1_000_000)),
        readiness,
        interfaces: BTreeSet::from(["eth0 192.0.2.0/24".into()]),
    }
}

fn account(peers: Vec<PeerAccount>) -> Account {
    Account {
        bucket: 21,
        object: 1,
        version: Some(7),
        row: None,
        proven: false,
        stage: Stage::Fenced,
        session: None,
        deaf: false,
        leaving: false,
        peers,
    }
}

#[test]
fn every_node_says_why_it_could_or_could_not_answer() {
    let mut cluster = Cluster::default();
    let mut nodes: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"]
        .iter()
        .map(|name| fixture::node(name, &[]))
        .collect();
    nodes[1].spec.get_or_insert_default().unschedulable = Some(true);
    let label = "node.kubernetes.io/exclude-from-external-load-balancers".to_owned();
    let labels = &mut nodes[2].metadata.labels;
    labels.get_or_insert_default().insert(label, String::new());
    cluster.nodes(Change::Listed(nodes));
    let mut idle = peer("f", Readiness::Ready, 9_000);
    idle.session = None;
    let peers = vec![
        peer("a", Readiness::Ready, 9_000),
        peer("b", Readiness::LastChoice, 9_000),
        peer("c", Readiness::Never, 9_000),
        peer("d", Readiness::Never, 9_000),
        peer("e", Readiness::Ready, 5_000),
        idle,
    ];
    let wanted = |nodes: &[&str]| nodes.iter().map(|node| (*node).into()).collect();
    let judged = |peers: Vec<PeerAccount>, wanted: Option<BTreeSet<_>>| {
        let now = BootTime(5_000_000_000);
        candidates(&account(peers), cluster.all_nodes(), wanted.as_ref(), now)
    };
    let all = judged(peers.clone(), None);
    let says: Vec<(&str, bool, &str)> = all
        .iter()
        .map(|it| (it.node.as_str(), it.eligible, it.why.as_str()))
        .collect();
    for (node, eligible, why) in [
        ("a", true, "ready"),
        ("b", false, "last choice: cordoned; others are ready"),
        ("c", false, "excluded"),
        ("d", false, "it cannot serve"),
        ("e", false, "silent"),
        ("f", false, "no session"),
        ("g", false, "no Lease"),
    ] {
        let found = says.iter().find(|it| it.0 == node).unwrap();
        assert_eq!(found.1, eligible, "{node}");
        assert!(found.2.starts_with(why), "{node}: {}", found.2);
    }
    assert_eq!(all[0].silent_in_ms, Some(4_000));
    let only_b = judged(peers.clone(), Some(wanted(&["b"])));
    assert!(only_b[0].why.starts_with("not wanted"), "{}", only_b[0].why);
    let anybody = judged(peers.clone(), Some(BTreeSet::new()));
    assert!(
        anybody[0].eligible,
        "no candidate at all leaves it where it is"
    );
    let alone = judged(peers[1..].to_vec(), None);
    assert!(alone[1].eligible && alone[1].why.ends_with("no other is ready"));
}
