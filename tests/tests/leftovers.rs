//! Addresses that others bind on every node: still only the owner answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{collections::BTreeSet, thread, time::Duration};

use tests::{
    agent::{VIP4, VIP6, until},
    kubernetes::{Bed, load_balancer},
    observer::{Observer, PAUSE},
};

/// kube-proxy in IPVS mode binds every LoadBalancer address on `kube-ipvs0` of every node
/// (`syncProxyRules`); kube-vip leaves its address on the interface itself when it crashes. A
/// bridge stands for the dummy device that this kernel may lack.
#[test]
#[ignore = "needs root"]
fn an_address_that_ipvs_and_a_dead_load_balancer_left_on_every_node_is_answered_by_one() {
    let mut bed = Bed::new(3).unwrap();
    bed.install().unwrap();
    for node in &bed.nodes {
        node.peer()
            .run("ip link add kube-ipvs0 type bridge && ip link set kube-ipvs0 up")
            .unwrap();
    }
    bed.start_agents("").unwrap();
    let mut service = load_balancer("web", &["IPv4", "IPv6"]);
    let wanted = [("xvip.io/addresses".to_owned(), format!("{VIP4},{VIP6}"))];
    service.metadata.annotations = Some(wanted.into());
    bed.create_service(&service).unwrap();
    until(
        "the Service to have both addresses",
        || Ok(bed.ingress("web")? == [VIP4, VIP6]),
        || format!("{:?}", bed.control.kubectl(&["get", "vips"], "")),
    )
    .unwrap();
    // kube-proxy does so once the status names them.
    for node in &bed.nodes {
        for vip in [VIP4, VIP6] {
            let nodad = if vip.contains(':') { "nodad" } else { "" };
            node.peer()
                .run(&format!("ip addr add {vip} dev kube-ipvs0 {nodad}"))
                .unwrap();
        }
    }
    // The status may name them before anybody answers.
    let answers = |index: &usize| {
        let vip = bed.nodes[*index].agent().vip(VIP4);
        vip.is_ok_and(|vip| vip["state"] == "answering")
    };
    let mut owner = None;
    until(
        "a node to answer",
        || {
            owner = (0..3).find(answers);
            Ok(owner.is_some())
        },
        || format!("{:?}", bed.control.kubectl(&["get", "vips"], "")),
    )
    .unwrap();
    let owner = owner.unwrap();
    // As a dead kube-vip leaves it: on the interface itself.
    let other = (owner + 1) % 3;
    bed.nodes[other]
        .peer()
        .run(&format!("ip addr add {VIP4}/32 dev eth0"))
        .unwrap();
    thread::sleep(Duration::from_millis(500));
    let observer = Observer::ask(&bed.client, &[VIP4, VIP6], PAUSE).unwrap();
    thread::sleep(Duration::from_secs(2));
    let observed = observer.finish().unwrap();
    for vip in [VIP4, VIP6] {
        let timeline = observed.timeline(vip);
        timeline.one_answerer(None).unwrap();
        assert_eq!(timeline.answerers().len(), 1, "{:?}", timeline.answerers());
        assert!(timeline.longest_gap() < Duration::from_millis(100));
    }
    assert_eq!(
        observed.timeline(VIP4).answerers(),
        BTreeSet::from([bed.nodes[owner].mac()])
    );
}
