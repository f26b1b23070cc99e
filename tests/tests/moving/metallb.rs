//! docs/move-from-metallb.md.

use std::{thread::sleep, time::Duration};

use serde_json::Value;
use tests::{
    cluster::{Cluster, Fetching, MetalLb, page_service},
    observer::Observer,
};
use vip_agent::api::vip_name;

use crate::{Mover, PAUSE, kubectl, wait_restarted};

const PAGE: &str = "docs/move-from-metallb.md";
const SECTION: &str = "Move from MetalLB";
/// What the Service asks for.
const ASKED: &str = "192.0.2.130";
/// What MetalLB may give out besides.
const POOL: [&str; 3] = [
    "192.0.2.130/32",
    "192.0.2.140-192.0.2.149",
    "2001:db8::140-2001:db8::149",
];
/// From a speaker's end until somebody of ours answers.
const DARK: Duration = Duration::from_millis(4000);

/// The MAC address that the client's kernel finds when it asks for an IPv6 address anew.
fn answerer(cluster: &Cluster, vip: &str) -> Option<String> {
    let asked = format!(
        "ip -6 neigh flush {vip} dev lan0; ping -c 1 -W 1 {vip} > /dev/null; \
         ip -6 neigh show {vip} dev lan0"
    );
    let said = cluster.client.run(&asked).unwrap();
    let (_, mac) = said.split_once("lladdr ")?;
    mac.split_whitespace().next().map(str::to_owned)
}

/// Addresses in the status of a Service.
fn ingress(cluster: &Cluster, service: &str) -> Vec<String> {
    let service = cluster.json(&["service", service]).unwrap();
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
    let addresses = ingress.into_iter().flatten();
    addresses
        .filter_map(|one| one["ip"].as_str().map(str::to_owned))
        .collect()
}

#[test]
#[ignore = "needs root"]
fn every_service_keeps_its_addresses_from_metallb_to_xvip_and_none_has_two_answerers() {
    let cluster = Cluster::shared();
    let cluster = &*cluster;
    println!("three nodes Ready after {:.1?}", cluster.took);
    let Some(metallb) = MetalLb::find(cluster).unwrap() else {
        return;
    };
    cluster.serve_page().unwrap();
    metallb.start(cluster, &POOL).unwrap();
    // One asks for its address, one is given two by MetalLB's pool.
    let services: [(&str, &[&str]); 2] = [("asks", &["IPv4"]), ("given", &["IPv4", "IPv6"])];
    for (name, families) in services {
        let mut service = page_service(name, families, &[]);
        if name == "asks" {
            let asked = ("metallb.io/loadBalancerIPs".to_owned(), ASKED.to_owned());
            service.metadata.annotations = Some([asked].into());
        }
        if let Some(spec) = &mut service.spec {
            spec.load_balancer_class = None;
        }
        let text = serde_json::to_string(&service).unwrap();
        cluster.control.apply(&text).unwrap();
    }
    let has_all = || {
        Ok(services
            .iter()
            .all(|(name, families)| ingress(cluster, name).len() == families.len()))
    };
    let shown = || format!("{:?}", services.map(|(name, _)| ingress(cluster, name)));
    cluster
        .wait("MetalLB to give addresses", has_all, shown)
        .unwrap();
    let given = services.map(|(name, _)| ingress(cluster, name));
    assert_eq!(given[0], [ASKED]);
    let vips: Vec<&str> = given.iter().flatten().map(String::as_str).collect();
    println!("MetalLB gave {vips:?}");
    // MetalLB answers for IPv6 to whom the kernel finds: not to an observer's many senders.
    let (ipv6, ipv4): (Vec<&str>, Vec<&str>) = vips.iter().partition(|vip| vip.contains(':'));
    for vip in &vips {
        cluster.wait_page_at(vip, 80).unwrap();
    }

    let observer = Observer::ask(&cluster.client, &ipv4, PAUSE).unwrap();
    let fetching = Fetching::start(&cluster.client, &vips, PAUSE).unwrap();
    sleep(Duration::from_millis(500));
    let mut mover = Mover::new(
        cluster,
        PAGE,
        Vec::new(),
        &["metallb.yaml", "services.yaml", "xvip.yaml"],
    );
    mover.follow_without(SECTION, &[DELETE, EDIT, RESTART]);
    sleep(Duration::from_secs(3));
    for vip in &ipv6 {
        let by = answerer(cluster, vip).unwrap();
        let name = vip_name(vip.parse().unwrap());
        let held = cluster.json(&["vip", &name]).unwrap();
        // A speaker does not hear its own node ask: there the VIP is taken, by the same MAC address.
        let holder = held["status"]["node"].as_str().map(str::to_owned);
        let node = |name: &String| cluster.nodes.iter().find(|node| node.seat.name() == *name);
        let taken_by = holder
            .as_ref()
            .and_then(node)
            .map(|node| node.seat.mac().to_string());
        println!("{vip}: {by} answers beside the speakers, held by {holder:?}");
        assert!(
            taken_by.is_none_or(|mac| mac == by),
            "{vip}: {by}, {holder:?}"
        );
    }
    let ends = observer.now();
    mover.follow_only(SECTION, &[DELETE]);
    for vip in &vips {
        cluster.wait_holder(vip).unwrap();
        cluster.wait_page_at(vip, 80).unwrap();
    }
    sleep(Duration::from_millis(1500));
    let observed = observer.finish().unwrap();
    let fetches = fetching.finish().unwrap();

    observed.one_answerer(None).unwrap();
    for vip in &ipv6 {
        let holder = cluster.wait_holder(vip).unwrap();
        let mac = cluster.nodes[holder].seat.mac().to_string();
        assert_eq!(answerer(cluster, vip), Some(mac), "{vip}");
    }
    for vip in &ipv4 {
        let line = observed.timeline(vip);
        assert_eq!(
            line.clone().before(ends).gaps(),
            [],
            "{vip} beside the speakers"
        );
        let dark = line.longest_gap();
        println!("{vip}: unanswered for {dark:.1?} after the speakers ended");
        assert!(dark < DARK, "{vip}: {dark:?}");
    }
    let failed: Vec<_> = fetches.iter().filter(|fetch| fetch.page.is_err()).collect();
    println!(
        "of {} requests {} failed, while nobody answered",
        fetches.len(),
        failed.len()
    );
    let early: Vec<_> = failed.iter().filter(|fetch| fetch.at < ends).collect();
    assert!(early.is_empty(), "{early:?}");
    assert_eq!(
        services.map(|(name, _)| ingress(cluster, name)),
        given,
        "the addresses are the same"
    );
    let pools = cluster.json(&["vippools"]).unwrap();
    let pools = pools["items"].as_array().unwrap();
    let names: Vec<_> = pools.iter().map(name_of).collect();
    assert_eq!(names, ["lan"]);
    mover.follow_only(SECTION, &[EDIT, RESTART]);
    wait_restarted(cluster);
    mover.reader.finish(&[PAGE]);

    for (name, _) in services {
        kubectl(cluster, &["delete", "service", name]);
    }
    kubectl(
        cluster,
        &["delete", "namespace", "metallb-system", "xvip-system"],
    );
    kubectl(cluster, &["delete", "vips,vippools", "--all"]);
}

const DELETE: &str = "kubectl delete ds -n metallb-system speaker";
const EDIT: &str = "kubectl edit cm -n xvip-system xvip-agent";
const RESTART: &str = "kubectl rollout restart -n xvip-system ds/xvip-agent";

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}
