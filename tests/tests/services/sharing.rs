//! Addresses that several Services have.

use k8s_openapi::api::core::v1::Service;
use serde_json::json;
use tests::kubernetes::{Backend, SharedBed, endpoint_slice};

use super::{annotated, local, observe, with_port};

const VIP: &str = "192.0.2.120";
const NEXT: &str = "192.0.2.121";

fn sharing(name: &str, key: &str, port: i32) -> Service {
    with_port(
        annotated(name, &["IPv4"], json!({"xvip.io/share-key": key})),
        port,
    )
}

fn pool(bed: &SharedBed) {
    bed.put_pool("shared", json!({"addresses": ["192.0.2.120/30"]}))
        .unwrap();
}

#[test]
#[ignore = "needs root"]
fn an_address_is_shared_by_key_on_disjoint_ports_and_removed_only_with_its_last_service() {
    let bed = SharedBed::take().unwrap();
    pool(&bed);
    bed.create_service(&sharing("http", "web", 80)).unwrap();
    bed.expect_ingress("http", &[VIP]);
    bed.create_service(&sharing("https", "web", 443)).unwrap();
    bed.expect_ingress("https", &[VIP]);
    // The same port, and another key.
    bed.create_service(&sharing("again", "web", 443)).unwrap();
    bed.expect_ingress("again", &[NEXT]);
    bed.create_service(&sharing("mail", "mail", 25)).unwrap();
    bed.expect_ingress("mail", &["192.0.2.122"]);
    let observer = observe(&bed, &[VIP]);
    let owner = bed.expect_answer(&observer, VIP, &[0, 1, 2]);
    let began = observer.now();
    bed.delete_service("http").unwrap();
    bed.expect_vips(&[VIP, NEXT, "192.0.2.122"]);
    bed.expect_ingress("https", &[VIP]);
    bed.expect_answer(&observer, VIP, &[owner]);
    let deleted = observer.now();
    bed.delete_service("https").unwrap();
    bed.expect_silence(&observer, VIP);
    bed.expect_vips(&[NEXT, "192.0.2.122"]);
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    let line = observed.timeline(VIP).since(began).before(deleted);
    assert_eq!(line.gaps(), [], "with a Service left");
}

#[test]
#[ignore = "needs root"]
fn metallbs_key_shares_an_explicit_address_and_a_clash_names_the_holder() {
    let bed = SharedBed::take().unwrap();
    let asking = |name: &str, key: &str, port| {
        let annotations = json!({
            "metallb.universe.tf/allow-shared-ip": key,
            "metallb.universe.tf/loadBalancerIPs": VIP,
        });
        with_port(annotated(name, &["IPv4"], annotations), port)
    };
    bed.create_service(&asking("a", "web", 80)).unwrap();
    bed.expect_ingress("a", &[VIP]);
    bed.create_service(&asking("b", "web", 443)).unwrap();
    bed.expect_ingress("b", &[VIP]);
    for (name, key, port) in [("port", "web", 80), ("key", "other", 8443)] {
        bed.create_service(&asking(name, key, port)).unwrap();
        let message = bed.expect_refusal(name, "AddressTaken");
        assert!(message.contains("default/a"), "{message}");
    }
    bed.expect_vips(&[VIP]);
}

#[test]
#[ignore = "needs root"]
fn with_local_only_services_of_the_same_selector_share() {
    let bed = SharedBed::take().unwrap();
    pool(&bed);
    let select = |mut service: Service, app: &str| {
        let selector = [("app".to_owned(), app.to_owned())];
        service.spec.as_mut().unwrap().selector = Some(selector.into());
        local(service)
    };
    bed.create_service(&select(sharing("http", "web", 80), "web"))
        .unwrap();
    bed.expect_ingress("http", &[VIP]);
    bed.create_service(&select(sharing("https", "web", 443), "web"))
        .unwrap();
    bed.expect_ingress("https", &[VIP]);
    bed.create_service(&select(sharing("other", "web", 8080), "other"))
        .unwrap();
    bed.expect_ingress("other", &[NEXT]);
    // Both have their endpoints on node-2: it answers.
    for service in ["http", "https"] {
        let backend = Backend {
            address: "10.244.1.5",
            node: "node-2",
            serving: true,
            terminating: false,
        };
        bed.put_endpoints(&endpoint_slice(service, "IPv4", &[backend]))
            .unwrap();
    }
    let observer = observe(&bed, &[VIP]);
    bed.expect_answer(&observer, VIP, &[1]);
    observer.finish().unwrap().one_answerer(None).unwrap();
}
