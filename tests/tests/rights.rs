//! What the agents may do at the API server, and that they are heard there in a crowd.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    collections::BTreeSet,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::Api;
use serde_json::json;
use tests::{
    agent::until,
    kubernetes::{Bed, Call, Flood, NAMESPACE, User, load_balancer},
    observer::{Observer, PAUSE},
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A verb on a resource of a group, in a namespace or (empty) in the cluster.
type Right = (String, String, String, String);

/// What no test of minutes can show, and what needs it.
const UNUSED: [(&str, &str, &str); 1] =
    // Leases of Nodes that are gone for an hour.
    [("coordination.k8s.io", "leases", "delete")];

fn rights(namespace: &str, rules: Option<Vec<PolicyRule>>) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in rules.unwrap_or_default() {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                rights.extend(rule.verbs.iter().map(|verb| {
                    let text = str::to_owned;
                    (text(namespace), text(group), text(resource), text(verb))
                }));
            }
        }
    }
    rights
}

/// The rights that the shipped roles grant, those of the control plane's Lease apart: a static Pod
/// alone uses them.
fn granted(bed: &Bed) -> BTreeSet<Right> {
    bed.control
        .call(async |client| {
            let cluster: Api<ClusterRole> = Api::all(client.clone());
            let cluster = cluster.get("xvip-agent").await?.rules;
            let own: Api<Role> = Api::namespaced(client, NAMESPACE);
            let own = own.get("xvip-agent").await?.rules;
            let mut granted = rights("", cluster);
            granted.extend(rights(NAMESPACE, own));
            Ok(granted)
        })
        .unwrap()
}

fn is_an_agents(call: &Call) -> bool {
    call.by.starts_with("node-") && !call.resource.is_empty()
}

/// Rights that a call needs; one of them is enough.
fn needs(call: &Call) -> [Right; 2] {
    let right = |namespace: &str| {
        (
            namespace.to_owned(),
            call.group.clone(),
            call.resource.clone(),
            call.verb.clone(),
        )
    };
    [right(""), right(&call.namespace)]
}

/// A life that needs everything: Services come, share, are refused, change and go; agents start,
/// crash and leave.
fn live(bed: &mut Bed) {
    // Another allocator would begin the series anew.
    bed.wait_rows_at_rest().unwrap();
    bed.put_pool("front", json!({"addresses": ["192.0.2.100/30"]}))
        .unwrap();
    let sharing = |name: &str, port| {
        let mut service = load_balancer(name, &["IPv4"]);
        service.metadata.annotations = Some([("xvip.io/share-key".into(), "web".into())].into());
        service.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].port = port;
        service
    };
    for (name, port) in [("a", 80), ("b", 443)] {
        bed.create_service(&sharing(name, port)).unwrap();
        bed.expect_ingress(name, &["192.0.2.100"]);
    }
    let in_pool = |pool: &str| json!({"metadata": {"annotations": {"xvip.io/pool": pool}}});
    let mut refused = load_balancer("refused", &["IPv4"]);
    refused.metadata.annotations = Some([("xvip.io/pool".into(), "none".into())].into());
    bed.create_service(&refused).unwrap();
    bed.expect_event("refused", "AddressRefused", "none");
    // The same sentence twice is a series.
    for pool in ["nor-this", "none"] {
        bed.patch_service("refused", in_pool(pool)).unwrap();
        bed.expect_event("refused", "AddressRefused", pool);
        sleep(ms(500));
    }
    let is_series = |call: &Call| call.resource == "events" && call.verb == "patch";
    until(
        "the series",
        || Ok(bed.control.calls()?.iter().any(is_series)),
        || format!("{:#?}", bed.events()),
    )
    .unwrap();
    bed.delete_service("b").unwrap();
    bed.delete_service("refused").unwrap();
    bed.expect_vips(&["192.0.2.100"]);
    for index in 0..bed.nodes.len() {
        bed.nodes[index].agent_mut().terminate().unwrap();
        bed.nodes[index].agent_mut().restart().unwrap();
    }
    bed.delete_service("a").unwrap();
    bed.expect_vips(&[]);
}

#[test]
#[ignore = "needs root"]
fn the_shipped_roles_grant_what_the_agents_use_and_nothing_else() {
    let mut bed = Bed::new(3).unwrap();
    bed.install().unwrap();
    bed.start_agents("").unwrap();
    live(&mut bed);
    let calls = bed.control.calls().unwrap();
    let calls: Vec<&Call> = calls.iter().filter(|call| is_an_agents(call)).collect();
    let forbidden: Vec<_> = calls.iter().filter(|call| call.code == 403).collect();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
    let used: BTreeSet<Right> = calls.iter().flat_map(|call| needs(call)).collect();
    let is_named = |right: &Right| {
        let named =
            |it: &(&str, &str, &str)| (it.0, it.1, it.2) == (&*right.1, &*right.2, &*right.3);
        UNUSED.iter().any(named)
    };
    let idle: Vec<_> = granted(&bed)
        .into_iter()
        .filter(|right| !used.contains(right) && !is_named(right))
        .collect();
    assert!(idle.is_empty(), "granted, and never used: {idle:#?}");
}

#[test]
#[ignore = "needs root"]
fn who_gives_addresses_keeps_two_connections_open() {
    let (bed, _observer) = Bed::serving(2, "").unwrap();
    let calls = bed.control.calls().unwrap();
    let by = |index: usize, verb: &str, resource: &str| {
        let name = bed.nodes[index].name();
        let its = calls.iter().filter(|call| call.by == name);
        its.filter(|call| (&*call.verb, &*call.resource) == (verb, resource))
            .count()
    };
    let allocator = (0..2).find(|index| by(*index, "create", "vips") > 0);
    // Each node asks for the version when it starts; who allocates asks by two connections.
    let asked = by(allocator.unwrap(), "get", "");
    assert!(asked >= 3, "{asked}: {calls:#?}");
}

#[test]
#[ignore = "needs root"]
fn renewals_are_heard_while_a_crowd_occupies_the_api_server() {
    let few = [
        "--max-requests-inflight=80",
        "--max-mutating-requests-inflight=40",
    ];
    let mut bed = Bed::with_api_server(3, &few).unwrap();
    bed.install().unwrap();
    bed.start_agents("").unwrap();
    let vip = "192.0.2.100";
    let mut service = load_balancer("web", &["IPv4"]);
    service.metadata.annotations = Some([("xvip.io/addresses".into(), vip.into())].into());
    bed.create_service(&service).unwrap();
    let bed = Arc::new(bed);
    let observer = Observer::ask(&bed.client, &[vip], PAUSE).unwrap();
    bed.expect_answer(&observer, vip, &[0, 1, 2]);
    let flood = Flood::start(&bed).unwrap();
    sleep(ms(3000));
    let began = observer.now();
    // It is a flood: others wait for seconds.
    let asked = Instant::now();
    let stranger = bed.control.call_as(User::Stranger(1), async |client| {
        let services: Api<k8s_openapi::api::core::v1::Service> = Api::default_namespaced(client);
        services.get("web").await
    });
    println!(
        "a stranger waited {:?}: {:?}",
        asked.elapsed(),
        stranger.err()
    );
    assert!(asked.elapsed() > ms(2000), "{:?}", asked.elapsed());
    let mut late = 0;
    let watched = Instant::now();
    while watched.elapsed() < ms(10_000) {
        for index in 0..bed.nodes.len() {
            late += usize::from(bed.renewed_ago(index) > ms(3000));
        }
        sleep(ms(50));
    }
    println!(
        "{} requests of the flood ended; late renewals: {late}",
        flood.ended()
    );
    let observed = observer.finish().unwrap();
    drop(flood);
    assert_eq!(late, 0);
    observed.undisturbed(began).unwrap();
    for node in &bed.nodes {
        let lost = node.agent().metric("xvip_session_lost_total", &[]).unwrap();
        assert_eq!(lost, 0.0, "{}", node.name());
    }
}
