//! The light test bed itself: what it starts, cuts, and reports.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tests::{
    agent::{PINS, VIP4, VIP6, config, names, until},
    kubernetes::{Backend, Bed, NAMESPACE, User, endpoint_slice, load_balancer},
    lan::CLIENT_MAC,
    observer::{Observer, PAUSE},
    wire::Wire,
};

fn pings(bed: &Bed, from: usize, address: &str) -> bool {
    let ping = format!("ping -c 1 -W 1 {address}");
    bed.nodes[from].peer().run(&ping).is_ok()
}

#[test]
#[ignore = "needs root"]
fn a_real_api_server_is_up_in_seconds_with_nodes_services_and_endpoints() {
    let started = Instant::now();
    let bed = Bed::new(3).unwrap();
    let took = started.elapsed();
    println!("API server, etcd and three nodes after {took:.1?}");
    assert!(took < Duration::from_secs(20), "{took:?}");

    let nodes = bed.control.kubectl(&["get", "nodes"], "").unwrap();
    assert_eq!(nodes.matches(" Ready ").count(), 3, "{nodes}");
    bed.cordon(0, true).unwrap();
    bed.set_ready(1, false).unwrap();
    bed.exclude(2, true).unwrap();
    let nodes = ["get", "nodes", "--show-labels"];
    let nodes = bed.control.kubectl(&nodes, "").unwrap();
    for said in [
        "Ready,SchedulingDisabled",
        "NotReady",
        "exclude-from-external-load-balancers=",
    ] {
        assert!(nodes.contains(said), "{said}: {nodes}");
    }

    let dual = load_balancer("web", &["IPv6", "IPv4"]);
    let spec = bed.create_service(&dual).unwrap().spec.unwrap();
    let cluster_ips = spec.cluster_ips.unwrap();
    assert!(cluster_ips[0].starts_with("fd00:96::"), "{cluster_ips:?}");
    assert!(cluster_ips[1].starts_with("10.96."), "{cluster_ips:?}");
    let backend = Backend {
        address: "10.244.1.7",
        node: "node-1",
        serving: true,
        terminating: false,
    };
    for backends in [&[backend][..], &[]] {
        bed.put_endpoints(&endpoint_slice("web", "IPv4", backends))
            .unwrap();
        let slices = [
            "get",
            "endpointslices",
            "-l",
            "kubernetes.io/service-name=web",
        ];
        let slices = bed.control.kubectl(&slices, "").unwrap();
        assert_eq!(
            slices.contains("10.244.1.7"),
            !backends.is_empty(),
            "{slices}"
        );
    }
    assert_eq!(bed.ingress("web").unwrap(), Vec::<String>::new());
    bed.delete_service("web").unwrap();
    assert!(bed.service("web").is_err());
}

#[test]
#[ignore = "needs root"]
fn the_agents_account_may_do_nothing_that_no_role_grants_and_its_calls_are_counted() {
    let bed = Bed::new(1).unwrap();
    let refused = bed
        .control
        .kubectl_as(User::Agent(1), &["get", "services"], "");
    let refused = refused.unwrap_err().to_string();
    let account = "system:serviceaccount:xvip-system:xvip-agent";
    assert!(
        refused.contains(account) && refused.contains("Forbidden"),
        "{refused}"
    );
    let calls = bed.control.calls().unwrap();
    let its: Vec<_> = calls.iter().filter(|call| call.by == "node-1").collect();
    let forbidden = its.iter().find(|call| call.resource == "services").unwrap();
    assert_eq!((&*forbidden.verb, forbidden.code), ("list", 403), "{its:?}");
    assert!(its.iter().all(|call| !call.is_write()), "{its:?}");
    assert!(
        calls
            .iter()
            .any(|call| call.by == "admin" && call.is_write())
    );
}

#[test]
#[ignore = "needs root"]
fn the_shipped_manifests_apply_and_grant_the_agents_account_what_it_watches() {
    let bed = Bed::new(1).unwrap();
    bed.install().unwrap();
    let crds = bed
        .control
        .kubectl(&["get", "crds", "-o", "name"], "")
        .unwrap();
    for kind in ["vippools", "vips", "vipclaims"] {
        assert!(crds.contains(&format!("/{kind}.xvip.io")), "{crds}");
    }
    let allowed = |verb: &str, resource: &str| {
        let ask = ["auth", "can-i", verb, resource, "-n", NAMESPACE];
        bed.control.kubectl_as(User::Agent(1), &ask, "").is_ok()
    };
    for (verb, resource) in [
        ("watch", "services"),
        ("watch", "nodes"),
        ("watch", "endpointslices.discovery.k8s.io"),
        ("create", "vips.xvip.io"),
        ("update", "leases.coordination.k8s.io"),
        ("update", "vipclaims.xvip.io"),
    ] {
        assert!(allowed(verb, resource), "{verb} {resource}");
    }
    for (verb, resource) in [
        ("update", "services"),
        ("get", "secrets"),
        ("delete", "nodes"),
    ] {
        assert!(!allowed(verb, resource), "{verb} {resource}");
    }
}

#[test]
#[ignore = "needs root"]
fn the_api_server_freezes_restarts_and_stops_as_told_and_keeps_what_it_stored() {
    let mut bed = Bed::new(1).unwrap();
    bed.create_service(&load_balancer("kept", &["IPv4"]))
        .unwrap();
    let api = "timeout 2 bash -c '</dev/tcp/198.51.100.1/6443'";
    let answers = |bed: &Bed| {
        bed.control
            .kubectl(&["get", "--raw", "/livez", "--request-timeout=1s"], "")
    };
    bed.control.apiserver.signal(Signal::SIGSTOP).unwrap();
    assert!(answers(&bed).is_err(), "it is frozen");
    bed.nodes[0]
        .peer()
        .run(api)
        .expect("its kernel goes on to accept");
    bed.control.apiserver.signal(Signal::SIGCONT).unwrap();
    answers(&bed).expect("it is thawed");
    bed.control.restart().unwrap();
    bed.service("kept").unwrap();
    bed.control.apiserver.terminate().unwrap();
    bed.nodes[0].peer().run(api).expect_err("nobody listens");
    bed.control.apiserver.run().unwrap();
    bed.control.wait_ready().unwrap();
    bed.service("kept").unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_cut_takes_the_lan_or_the_api_from_a_node_whose_carrier_stays() {
    let bed = Bed::new(2).unwrap();
    let api = "198.51.100.1";
    let lan = ["192.0.2.12", "2001:db8::12", "192.0.2.254", "2001:db8::fe"];
    let reached = || {
        (
            lan.map(|address| pings(&bed, 0, address)),
            pings(&bed, 0, api),
        )
    };
    assert_eq!(reached(), ([true; 4], true));
    bed.cut_api(0).unwrap();
    assert_eq!(reached(), ([true; 4], false));
    assert!(pings(&bed, 1, api), "the other's is its own");
    bed.heal_api(0).unwrap();
    bed.cut_lan(0).unwrap();
    assert_eq!(reached(), ([false; 4], true));
    let carrier = "cat /sys/class/net/eth0/carrier; ip -br link show eth0";
    let carrier = bed.nodes[0].peer().run(carrier).unwrap();
    assert!(carrier.contains("LOWER_UP"), "{carrier}");
    bed.heal_lan(0).unwrap();
    assert_eq!(reached(), ([true; 4], true));
    bed.split_lan(&[0, 1]).unwrap();
    assert_eq!(reached(), ([true, true, false, false], true));
    bed.heal_lan(0).unwrap();
    // What was just found silent is asked again within a second or two (`retrans_time_ms`).
    let healed = ([false, false, true, true], true);
    until(
        "the LAN to be healed",
        || Ok(reached() == healed),
        || format!("{:?}", reached()),
    )
    .unwrap();
}

#[test]
#[ignore = "needs root"]
fn two_answerers_set_up_on_purpose_are_reported_and_so_is_a_gap() {
    let mut bed = Bed::new(2).unwrap();
    let (first, second) = (bed.nodes[0].mac(), bed.nodes[1].mac());
    // Each believes that it alone owns what is listed.
    bed.start_agent(0, &config("native", "")).unwrap();
    bed.nodes[0].agent().wait_ready().unwrap();
    let observer = Observer::ask(&bed.client, &[VIP4, VIP6], PAUSE).unwrap();
    thread::sleep(Duration::from_millis(500));
    let doubled = observer.now();
    bed.start_agent(1, &config("native", "")).unwrap();
    bed.nodes[1].agent().wait_ready().unwrap();
    thread::sleep(Duration::from_millis(500));
    let alone = observer.now();
    bed.power_off(0).unwrap();
    observer.wait_answer(VIP4, second, alone).unwrap();
    thread::sleep(Duration::from_millis(300));
    let cut = observer.now();
    bed.cut_lan(1).unwrap();
    thread::sleep(Duration::from_millis(300));
    bed.heal_lan(1).unwrap();
    let back = observer
        .wait_answer(VIP4, second, cut + Duration::from_millis(250))
        .unwrap();
    thread::sleep(Duration::from_millis(100));
    let observed = observer.finish().unwrap();
    for vip in [VIP4, VIP6] {
        let line = observed.timeline(vip);
        line.clone().before(doubled).one_answerer(None).unwrap();
        let said = line
            .one_answerer(Some(Duration::from_millis(400)))
            .unwrap_err();
        assert!(
            said.contains(&first.to_string()) && said.contains(&second.to_string()),
            "{said}"
        );
        assert_eq!(line.answerers(), BTreeSet::from([first, second]));
        let overlap = line
            .overlaps()
            .into_iter()
            .max_by_key(|overlap| overlap.length())
            .unwrap();
        assert!(
            overlap.from > doubled && overlap.length() > Duration::from_millis(450),
            "{overlap:?}"
        );
        let line = line.since(alone + Duration::from_millis(200));
        line.one_answerer(None).unwrap();
        assert_eq!(line.answerers(), BTreeSet::from([second]));
        let gap = line.longest_gap();
        assert!(
            gap >= Duration::from_millis(280) && gap <= back - cut + Duration::from_millis(50),
            "{gap:?}"
        );
    }
    // Static agents announce what they own.
    let announced = observed.timeline(VIP6).announcements().to_vec();
    assert!(
        announced.iter().any(|announced| announced.by == second),
        "{announced:?}"
    );
}

#[test]
#[ignore = "needs root"]
fn an_observer_that_is_dropped_asks_no_more() {
    let mut bed = Bed::new(1).unwrap();
    bed.start_agent(0, &config("native", "")).unwrap();
    bed.nodes[0].agent().wait_ready().unwrap();
    let wire = Wire::open(&bed.client, "lan0", PAUSE).unwrap();
    let answers = || {
        let time = Duration::from_millis(300);
        wire.heard(VIP4.parse().unwrap(), CLIENT_MAC, time)
            .unwrap()
            .len()
    };
    let observer = Observer::ask(&bed.client, &[VIP4], PAUSE).unwrap();
    let before = answers();
    drop(observer);
    // What was underway, and announcements of the agent's start.
    answers();
    let after = answers();
    assert!(before > 20 && after <= 2, "{before}, then {after}");
}

#[test]
#[ignore = "needs root"]
fn a_node_that_reboots_has_lost_what_was_pinned_and_has_another_boot_id() {
    let mut bed = Bed::new(1).unwrap();
    bed.start_agent(0, &config("native", "")).unwrap();
    bed.nodes[0].agent().wait_ready().unwrap();
    let before = bed.nodes[0].boot_id();
    bed.nodes[0].agent_mut().kill().unwrap();
    assert!(
        !names(bed.nodes[0].peer(), "").is_empty(),
        "a kill leaves the pins at {PINS}"
    );
    let mac = bed.nodes[0].mac();
    let observer = Observer::ask(&bed.client, &[VIP4], PAUSE).unwrap();
    observer.wait_answer(VIP4, mac, Duration::ZERO).unwrap();
    bed.power_off(0).unwrap();
    let off = observer.now();
    thread::sleep(Duration::from_millis(300));
    bed.power_on(0).unwrap();
    assert_eq!(names(bed.nodes[0].peer(), ""), Vec::<String>::new());
    assert_ne!(bed.nodes[0].boot_id(), before);
    until(
        "the API from the new boot",
        || Ok(pings(&bed, 0, "198.51.100.1")),
        String::new,
    )
    .unwrap();
    let observed = observer.finish().unwrap();
    let after = observed.timeline(VIP4).since(off);
    assert!(
        after.questions() > 20 && after.answerers().is_empty(),
        "{after:?}"
    );
}
