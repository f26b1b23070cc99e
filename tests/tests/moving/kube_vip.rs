//! docs/move-from-kube-vip.md.

use std::{thread::sleep, time::Duration};

use serde_json::json;
use tests::{
    cluster::{Cluster, Fetching, KUBE_VIP, KubeVip, NoPage, page_service},
    manual::rule,
    observer::{Observed, Observer},
    prometheus::Prometheus,
};

use crate::{Mover, PAUSE, kubectl, wait_restarted};

const PAGE: &str = "docs/move-from-kube-vip.md";
const VIPS: [&str; 2] = ["192.0.2.120", "2001:db8::120"];

/// The node whose MAC address answers for all VIPs.
fn answerer(cluster: &Cluster, observer: &Observer) -> usize {
    let by = VIPS.map(|vip| {
        observer
            .latest(vip)
            .and_then(|answer| cluster.node_of(answer.by))
    });
    assert_eq!(by[0], by[1], "kube-vip has one leader");
    by[0].unwrap()
}

/// What the observer and the fetching client saw of something that is to leave no trace.
fn unnoticed(cluster: &Cluster, what: &str, work: impl FnOnce(&Observer)) -> Observed {
    let observer = Observer::ask(&cluster.client, &VIPS, PAUSE).unwrap();
    let fetching = Fetching::start(&cluster.client, &VIPS, Duration::from_millis(40)).unwrap();
    sleep(Duration::from_millis(500));
    work(&observer);
    sleep(Duration::from_millis(1500));
    let fetches = fetching.finish().unwrap();
    let observed = observer.finish().unwrap();
    let failed: Vec<_> = (fetches.iter())
        .filter(|fetch| matches!(&fetch.page, Err(no) if !matches!(no, NoPage::Broken(_))))
        .collect();
    let gaps: Vec<_> = observed
        .timelines()
        .into_iter()
        .map(|(vip, line)| (vip, line.longest_gap()))
        .collect();
    println!(
        "{what}: of {} requests {} failed; unanswered at most {gaps:.1?}",
        fetches.len(),
        failed.len()
    );
    observed.one_answerer(None).unwrap();
    assert!(failed.is_empty(), "{what}: {failed:?}");
    observed
}

/// A Service that kube-vip serves.
fn served(cluster: &Cluster) -> KubeVip {
    cluster.serve_page().unwrap();
    let mut service = page_service("web", &["IPv4", "IPv6"], &[]);
    let annotation = ("kube-vip.io/loadbalancerIPs".to_owned(), VIPS.join(","));
    service.metadata.annotations = Some([annotation].into());
    if let Some(spec) = &mut service.spec {
        spec.load_balancer_class = None;
    }
    let text = serde_json::to_string(&service).unwrap();
    cluster.control.apply(&text).unwrap();
    let kube_vip = KubeVip::find(cluster).unwrap();
    kube_vip.start(cluster, "web", &VIPS).unwrap();
    cluster.wait_ingress("web", &VIPS).unwrap();
    for vip in VIPS {
        cluster.wait_page_at(vip, 80).unwrap();
    }
    kube_vip
}

#[test]
#[ignore = "needs root"]
fn every_service_keeps_its_addresses_from_kube_vip_to_xvip_and_nobody_notices() {
    let cluster = Cluster::shared();
    let cluster = &*cluster;
    println!("three nodes Ready after {:.1?}", cluster.took);
    let kube_vip = served(cluster);
    let files = ["kube-vip.yaml", "pools.yaml", "services.yaml", "xvip.yaml"];
    const ELSEWHERE: &str = "this control plane has no VIP: adoption.rs";
    let rules = vec![
        rule(PAGE, "kubectl get lease -n kube-system xvip-control-plane").not_here(ELSEWHERE),
        rule(PAGE, "vip-agent status").not_here(ELSEWHERE),
    ];
    let mut mover = Mover::new(cluster, PAGE, rules, &files);

    let mut leader = 0;
    let observed = unnoticed(cluster, "the move", |observer| {
        leader = answerer(cluster, observer);
        println!("kube-vip answers on {}", cluster.nodes[leader].seat.name());
        mover.follow("1. See what becomes of the settings");
        mover.follow("2. Install the agents beside kube-vip");
        for vip in VIPS {
            let holder = cluster.wait_holder(vip).unwrap();
            assert_eq!(holder, leader, "{vip} is adopted where it is answered");
        }
        mover.follow_only(ENDS, &[DELETE]);
        kube_vip.end(cluster, &VIPS).unwrap();
    });
    let mac = cluster.nodes[leader].seat.mac();
    for vip in VIPS {
        let line = observed.timeline(vip);
        assert_eq!(line.gaps(), [], "{vip}");
        assert_eq!(line.answerers(), [mac].into(), "{vip}");
    }
    cluster.wait_ingress("web", &VIPS).unwrap();
    mover.follow_without(ENDS, &[DELETE]);
    wait_restarted(cluster);
    is_scraped(cluster);

    back(cluster, kube_vip, &mut mover);
    mover.reader.finish(&[PAGE]);
    kubectl(cluster, &["delete", "service", "web"]);
    // The way back leaves them, and the other move begins without.
    kubectl(cluster, &["delete", "vips,vippools", "--all"]);
    let sets = ["delete", "daemonset", "-n", "kube-system", KUBE_VIP];
    kubectl(cluster, &sets);
    kube_vip.end(cluster, &VIPS).unwrap();
}

const ENDS: &str = "3. End kube-vip's Services";
const DELETE: &str = "kubectl delete ds -n kube-system kube-vip-ds --cascade=foreground";

/// A real Prometheus hears from all three that both VIPs are held.
fn is_scraped(cluster: &Cluster) {
    let nodes = cluster.nodes.iter().map(|node| {
        let address = format!("{}:9470", node.seat.ipv4());
        (node.seat.name(), address)
    });
    let targets: Vec<_> = nodes.collect();
    let targets: Vec<_> = (targets.iter())
        .map(|(name, address)| (&**name, &**address))
        .collect();
    let prometheus = Prometheus::start(&cluster.nodes[0].peer, &targets).unwrap();
    for (query, expected) in [("sum(up)", "=> 3 "), ("sum(xvip_vip_held)", "=> 2 ")] {
        let is_so = || {
            let said = prometheus.answer(query);
            Ok(said.is_ok_and(|said| said.contains(expected)))
        };
        let shown = || format!("{:?} {}", prometheus.answer(query), prometheus.last_words());
        cluster.wait(query, is_so, shown).unwrap();
    }
}

/// The way back: kube-vip binds beside the agents, and answers once they are gone and cleaned up.
fn back(cluster: &Cluster, kube_vip: KubeVip, mover: &mut Mover<'_>) {
    const COMES: [&str; 2] = [
        "kubectl apply -f kube-vip.yaml",
        "kubectl scale deployment -n kube-system kube-vip-cloud-provider --replicas=1",
    ];
    let observer = Observer::ask(&cluster.client, &VIPS, PAUSE).unwrap();
    mover.follow_only("Back", &COMES);
    kube_vip.serve(cluster, "web", &VIPS).unwrap();
    sleep(Duration::from_secs(8));
    let before = observer.now();
    mover.follow_without("Back", &COMES);
    for vip in VIPS {
        cluster.wait_page_at(vip, 80).unwrap();
    }
    sleep(Duration::from_millis(500));
    let observed = observer.finish().unwrap();
    for vip in VIPS {
        let line = observed.timeline(vip);
        assert_eq!(
            line.clone().before(before).gaps(),
            [],
            "{vip} beside kube-vip"
        );
        let overlaps: Vec<_> = line.overlaps().iter().map(|two| two.length()).collect();
        println!(
            "the way back: {vip} unanswered {:.1?}, by two {overlaps:.1?}",
            line.longest_gap()
        );
        assert_eq!(line.before(before).overlaps(), [], "{vip} beside kube-vip");
    }
    let services = cluster.json(&["service", "web"]).unwrap();
    let kept = &services["status"]["loadBalancer"]["ingress"];
    assert_eq!(kept[0]["ip"], json!(VIPS[0]));
}
