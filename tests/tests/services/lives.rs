//! Services that are ours or not, that change, and what is written to them.

use std::thread::sleep;

use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tests::{
    agent::until,
    kubernetes::{SharedBed, load_balancer},
    lan::RIVAL_MAC,
    wire::{Wire, arp_request},
};

use super::{annotated, asking, ms, observe};

const VIP: &str = "192.0.2.160";
const NEXT: &str = "192.0.2.161";

fn pool(bed: &SharedBed) {
    bed.put_pool("front", json!({"addresses": ["192.0.2.160/29"]}))
        .unwrap();
}

/// Configures all agents anew, and restarts them as a DaemonSet does whose agents crash.
fn restart_with(bed: &mut SharedBed, more: &str) {
    for index in 0..bed.nodes.len() {
        let config = bed.config(index, more);
        let agent = bed.nodes[index].agent_mut();
        agent.kill().unwrap();
        agent.configure(&config).unwrap();
        agent.restart().unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn services_of_another_class_are_left_alone_and_without_default_so_are_those_without_one() {
    let mut bed = SharedBed::take().unwrap();
    pool(&bed);
    let with_class = |name: &str, class: Option<&str>| {
        let mut service = load_balancer(name, &["IPv4"]);
        service.spec.as_mut().unwrap().load_balancer_class = class.map(Into::into);
        bed.create_service(&service).unwrap();
    };
    with_class("theirs", Some("other.example/lb"));
    with_class("ours", Some("xvip.io/vip"));
    with_class("unsaid", None);
    let ignored = json!({"xvip.io/ignore": "true"});
    bed.create_service(&annotated("ignored", &["IPv4"], ignored))
        .unwrap();
    bed.expect_ingress("ours", &[VIP]);
    bed.expect_ingress("unsaid", &[NEXT]);
    bed.expect_vips(&[VIP, NEXT]);
    for name in ["theirs", "ignored"] {
        assert_eq!(bed.ingress(name).unwrap(), [""; 0], "{name}");
    }
    let classes =
        "services: {loadBalancerClasses: [xvip.io/vip, other.example/lb], default: false}\n";
    restart_with(&mut bed, classes);
    bed.expect_ingress("unsaid", &[]);
    bed.expect_ingress("theirs", &["192.0.2.162"]);
    bed.expect_ingress("ours", &[VIP]);
    restart_with(&mut bed, "");
    bed.expect_ingress("unsaid", &[NEXT]);
}

#[test]
#[ignore = "needs root"]
fn a_change_of_type_and_an_ignored_service_give_the_address_back() {
    let bed = SharedBed::take().unwrap();
    pool(&bed);
    for (name, vip) in [("type", VIP), ("ignore", NEXT)] {
        bed.create_service(&load_balancer(name, &["IPv4"])).unwrap();
        bed.expect_ingress(name, &[vip]);
    }
    let observer = observe(&bed, &[VIP, NEXT]);
    for vip in [VIP, NEXT] {
        bed.expect_answer(&observer, vip, &[0, 1, 2]);
    }
    let inner = json!({"spec": {
        "type": "ClusterIP", "loadBalancerClass": null, "externalTrafficPolicy": null,
        "allocateLoadBalancerNodePorts": null,
    }});
    bed.patch_service("type", inner).unwrap();
    let ignore = json!({"metadata": {"annotations": {"kube-vip.io/ignore": "true"}}});
    bed.patch_service("ignore", ignore).unwrap();
    bed.expect_vips(&[]);
    for (name, vip) in [("type", VIP), ("ignore", NEXT)] {
        bed.expect_ingress(name, &[]);
        bed.expect_silence(&observer, vip);
    }
    observer.finish().unwrap().one_answerer(None).unwrap();
    let back = json!({"metadata": {"annotations": {"kube-vip.io/ignore": null}}});
    bed.patch_service("ignore", back).unwrap();
    bed.expect_ingress("ignore", &[VIP]);
}

fn managers_of_status(service: &Service) -> Vec<String> {
    let fields = service.metadata.managed_fields.iter().flatten();
    let of_status = fields.filter(|field| field.subresource.as_deref() == Some("status"));
    of_status
        .filter_map(|field| field.manager.clone())
        .collect()
}

#[test]
#[ignore = "needs root"]
fn a_status_that_something_wipes_is_written_again_by_the_one_field_manager_with_ip_mode_vip() {
    let bed = SharedBed::take().unwrap();
    bed.create_service(&asking("web", &["IPv4"], VIP)).unwrap();
    bed.expect_ingress("web", &[VIP]);
    let service = bed.service("web").unwrap();
    assert_eq!(managers_of_status(&service), ["xvip"]);
    let observer = observe(&bed, &[VIP]);
    bed.expect_answer(&observer, VIP, &[0, 1, 2]);
    let began = observer.now();
    let foreign = |ingress: Value| {
        let status = json!({"status": {"loadBalancer": {"ingress": ingress}}});
        bed.control
            .call(async |client| {
                let services: Api<Service> = Api::default_namespaced(client);
                let change = Patch::Merge(status);
                let params = PatchParams::default();
                services.patch_status("web", &params, &change).await
            })
            .unwrap();
    };
    for ingress in [
        json!(null),
        json!([{"ip": VIP, "ipMode": "Proxy"}]),
        json!([{"ip": NEXT, "ipMode": "VIP"}]),
    ] {
        foreign(ingress);
        bed.expect_ingress("web", &[VIP]);
        let is_vip = || {
            let status = bed.service("web")?.status.and_then(|it| it.load_balancer);
            let points = status.and_then(|it| it.ingress).unwrap_or_default();
            Ok(points.iter().all(|it| it.ip_mode.as_deref() == Some("VIP")))
        };
        until("ipMode", is_vip, || bed.described("web")).unwrap();
    }
    bed.expect_vips(&[VIP]);
    observer.finish().unwrap().undisturbed(began).unwrap();
}

#[test]
#[ignore = "needs root"]
fn events_tell_who_got_what_where_it_is_announced_where_it_moved_and_who_else_claims_it() {
    let bed = SharedBed::take().unwrap();
    pool(&bed);
    bed.create_service(&load_balancer("told", &["IPv4"]))
        .unwrap();
    let observer = observe(&bed, &[VIP]);
    let owner = bed.expect_answer(&observer, VIP, &[0, 1, 2]);
    bed.expect_event(
        "told",
        "AddressAllocated",
        &format!("{VIP} from pool front"),
    );
    bed.expect_event("told", "Announced", &bed.nodes[owner].name());
    let others: Vec<usize> = (0..bed.nodes.len())
        .filter(|index| *index != owner)
        .collect();
    bed.cordon(owner, true).unwrap();
    let next = bed.expect_answer(&observer, VIP, &others);
    bed.expect_event(
        "told",
        "Moved",
        &format!(
            "{} answers for {VIP}, in place of node-",
            bed.nodes[next].name()
        ),
    );
    bed.cordon(owner, false).unwrap();
    let rival = Wire::open(&bed.client, "lan0", ms(10)).unwrap();
    let vip = VIP.parse().unwrap();
    rival.send(&arp_request(RIVAL_MAC, vip, vip)).unwrap();
    bed.expect_event("told", "Conflict", &RIVAL_MAC.to_string());
    observer.finish().unwrap().one_answerer(None).unwrap();
    // Once each: nobody repeats what is no news.
    let events = bed.events().unwrap();
    let count = |reason: &str| {
        let of_it = events.iter().filter(|it| it.0 == "told" && it.1 == reason);
        of_it.count()
    };
    for reason in ["AddressAllocated", "Announced", "Conflict"] {
        assert_eq!(count(reason), 1, "{events:#?}");
    }
}

#[test]
#[ignore = "needs root"]
fn the_allocator_restarts_and_changes_and_no_address_moves() {
    let mut bed = SharedBed::take().unwrap();
    pool(&bed);
    for name in ["a", "b", "c", "d"] {
        bed.create_service(&load_balancer(name, &["IPv4"])).unwrap();
        sleep(ms(20));
    }
    let shown =
        |bed: &SharedBed| ["a", "b", "c", "d"].map(|name| bed.ingress(name).unwrap_or_default());
    let all = ["192.0.2.160", "192.0.2.161", "192.0.2.162", "192.0.2.163"];
    bed.expect_vips(&all);
    bed.expect_ingress("d", &[all[3]]);
    bed.delete_service("b").unwrap();
    bed.expect_vips(&[all[0], all[2], all[3]]);
    let before = shown(&bed);
    // Whoever of them allocates is among those that are restarted; then each leaves for good.
    restart_with(&mut bed, "");
    sleep(ms(1500));
    assert_eq!(shown(&bed)[0], before[0]);
    for index in 0..bed.nodes.len() {
        bed.nodes[index].agent_mut().terminate().unwrap();
        bed.nodes[index].agent_mut().restart().unwrap();
        sleep(ms(500));
        // What was given back is not lost.
        let lost = bed.nodes[index]
            .agent()
            .metric("xvip_session_lost_total", &[]);
        assert_eq!(lost.unwrap(), 0.0);
    }
    bed.create_service(&load_balancer("e", &["IPv4"])).unwrap();
    bed.expect_ingress("e", &[all[1]]);
    let after = shown(&bed);
    for kept in [0, 2, 3] {
        assert_eq!(after[kept], before[kept]);
    }
    bed.expect_vips(&all);
}
