//! What is concluded from objects.

use serde_json::json;

use super::*;
use crate::{
    cluster::{Change, fixture},
    ownership::{HASH, Readiness, Row, Serves},
};

const VIP: &str = "192.0.2.100";
/// Of [`VIP`], pinned for all versions.
const BUCKET: u32 = 21;

fn vip() -> IpAddr {
    VIP.parse().unwrap()
}

fn now() -> Timestamp {
    "2026-01-02T03:05:00Z".parse().unwrap()
}

fn session(node: &str, id: u128) -> SessionId {
    SessionId {
        node: node.into(),
        boot: [1; 16],
        id: id.to_be_bytes(),
    }
}

fn renewed(node: &str, seconds_ago: i64) -> Renewed {
    Renewed {
        lease: Lease {
            node: node.into(),
            uid: "".into(),
            resource_version: "".into(),
            holder: Some(session(node, 1)),
            revoked: None,
            claims_read: Default::default(),
            serves: Serves {
                readiness: Readiness::Ready,
                interfaces: ["eth0 192.0.2.0/24".into()].into(),
                incumbent: Default::default(),
            },
            duration: Duration::from_secs(5),
        },
        at: now()
            .checked_sub(jiff::Span::new().seconds(seconds_ago))
            .ok(),
    }
}

fn object(node: Option<&str>, state: Option<&str>) -> api::Vip {
    let object = json!({
        "apiVersion": "xvip.io/v1alpha1",
        "kind": "Vip",
        "metadata": {"name": VIP, "uid": "1", "resourceVersion": "1"},
        "spec": {
            "address": VIP,
            "pool": "default",
            "services": [{"namespace": "default", "name": "web"}],
        },
        "status": {
            "node": node, "interface": "eth0", "state": state, "since": "2026-01-02T03:04:05Z",
        },
    });
    serde_json::from_value(object).unwrap()
}

/// Two nodes; the first has the bucket, and says that it answers.
fn surveyed() -> Survey {
    let rows = BTreeMap::from([(RowKey::Bucket(BUCKET), Row::of(session("node-a", 1)))]);
    let claims = Claims {
        index: 1,
        uid: "".into(),
        resource_version: "".into(),
        version: 7,
        hash: HASH.into(),
        buckets: 64,
        rows,
        unknown: Default::default(),
    };
    let mut survey = Survey {
        namespace: "xvip-system".into(),
        vips: vec![object(Some("node-a"), Some("answering"))],
        leases: vec![renewed("node-a", 1), renewed("node-b", 2)],
        claims: [(1, claims)].into(),
        pods: [("node-a".to_owned(), "xvip-agent-x1".to_owned())].into(),
        ..Survey::default()
    };
    let nodes = ["node-a", "node-b", "node-c"].map(|name| fixture::node(name, &[]));
    survey.cluster.nodes(Change::Listed(nodes.into()));
    survey.cluster.vips(Change::Listed(survey.vips.clone()));
    survey
}

fn note(survey: &Survey) -> Option<String> {
    survey.status(now()).vips[0].note.clone()
}

#[test]
fn every_node_and_vip_has_a_line() {
    let survey = surveyed();
    assert_eq!(note(&survey), None);
    let table = survey.status(now()).table(now());
    let cells: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for row in [
        "node-a live 1s ready 1 1 eth0 192.0.2.0/24",
        "node-b live 2s ready 0 0 eth0 192.0.2.0/24",
        "192.0.2.100 node-a eth0 answering 55s default/web -",
    ] {
        let row: Vec<&str> = row.split(' ').collect();
        assert!(cells.contains(&row), "{row:?}\n{table}");
    }
}

#[test]
fn a_vip_says_what_is_not_as_it_should_be() {
    let with = |change: &dyn Fn(&mut Survey)| {
        let mut survey = surveyed();
        change(&mut survey);
        note(&survey).unwrap_or_default()
    };
    let row_of = |survey: &mut Survey, node: &str| {
        let claims = survey.claims.get_mut(&1).unwrap();
        let row = Row::of(session(node, 1));
        claims.rows.insert(RowKey::Bucket(BUCKET), row);
    };
    assert_eq!(with(&|it| it.claims.clear()), "nobody has claimed it");
    assert!(with(&|it| it.leases[0] = renewed("node-a", 7)).contains("silent or gone"));
    assert!(with(&|it| it.leases[0].lease.holder = Some(session("node-a", 2))).contains("silent"));
    assert_eq!(
        with(&|it| row_of(it, "node-b")),
        "its bucket names node-b now"
    );
    assert!(with(&|it| it.vips[0] = object(None, None)).contains("has not said"));
    assert!(with(&|it| it.vips[0] = object(Some("node-a"), Some("conflict"))).contains("conflict"));
}

#[test]
fn an_explanation_names_the_row_the_candidates_and_whom_to_ask() {
    let explained = surveyed().explain(vip(), now());
    assert_eq!(explained.findings, []);
    assert_eq!(
        explained.summary,
        "node-a answers for 192.0.2.100: bucket 21 of VipClaims xvip-1 names it"
    );
    let ask = explained.ask.clone().unwrap();
    assert_eq!(
        ask,
        "kubectl exec -n xvip-system xvip-agent-x1 -- /vip-agent explain 192.0.2.100"
    );
    let table = explained.table(now());
    for expected in [
        &*ask,
        "pool default, of default/web",
        "no Lease",
        "in 5000 ms",
    ] {
        assert!(table.contains(expected), "{expected}\n{table}");
    }
}

#[test]
fn an_explanation_says_that_nobody_can_answer() {
    let mut survey = surveyed();
    survey.leases = vec![renewed("node-a", 60)];
    let explained = survey.explain(vip(), now());
    let messages: Vec<&str> = (explained.findings.iter())
        .map(|finding| finding.message.as_str())
        .collect();
    assert!(messages[0].contains("silent or gone"), "{messages:?}");
    assert_eq!(messages[1..], ["no node is eligible"]);
    assert!(explained.summary.ends_with("and is silent"));
    let unknown = survey.explain("192.0.2.9".parse().unwrap(), now());
    assert_eq!(unknown.summary, "192.0.2.9 is nobody's");
    assert!(unknown.findings[0].message.contains("no Service has it"));
}
