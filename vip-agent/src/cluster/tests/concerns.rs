//! Whose business a change is.

use Concern::{Allocator, Everybody, Nobody};
use serde_json::json;

use super::*;
use crate::cluster::fixture;

impl Bed {
    fn hear_service(&mut self, name: &str, change: Value) -> Concern {
        let service = fixture::service("web", name, change);
        self.hear(|cluster| cluster.services(Change::Applied(service)))
    }

    fn hear_slice(&mut self, service: &str, endpoints: &[(&str, &str)]) -> Concern {
        let slice = fixture::slice(service, service, endpoints);
        self.hear(|cluster| cluster.endpoint_slices(Change::Applied(slice)))
    }
}

#[test]
fn the_status_of_a_service_is_the_allocators() {
    let mut bed = Bed::new();
    assert_eq!(bed.hear_service("a", json!({})), Everybody);
    assert_eq!(bed.hear_service("a", json!({})), Nobody);
    let ingress = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.8"}]}}});
    assert_eq!(bed.hear_service("a", ingress), Allocator);
    let local = json!({"spec": {"externalTrafficPolicy": "Local"}});
    assert_eq!(bed.hear_service("a", local), Everybody);
}

#[test]
fn what_is_no_load_balancer_is_the_allocators_unless_it_was_one() {
    let mut bed = Bed::new();
    let no_more = || json!({"spec": {"type": "ClusterIP"}});
    assert_eq!(bed.hear_service("a", no_more()), Allocator);
    assert_eq!(bed.hear_service("a", json!({})), Everybody);
    assert_eq!(bed.hear_service("a", no_more()), Everybody);
    let gone = fixture::service("web", "a", no_more());
    let hear = |cluster: &mut Cluster| cluster.services(Change::Deleted(gone));
    assert_eq!(bed.hear(hear), Allocator);
}

#[test]
fn endpoints_concern_nobody_but_of_a_local_service_and_of_the_api_server() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/31"]));
    let (here, there) = ([("n1", "ready")], [("n2", "ready")]);
    assert_eq!(bed.hear_slice("a", &here), Nobody, "it is not seen yet");
    bed.service("a", json!({}));
    bed.settle();
    assert_eq!(bed.hear_slice("a", &there), Nobody);
    bed.service("a", json!({"spec": {"externalTrafficPolicy": "Local"}}));
    bed.settle();
    assert_eq!(bed.hear_slice("a", &here), Everybody);
    assert_eq!(bed.hear_slice("a", &here), Nobody);
    let gone = fixture::slice("a", "a", &here);
    let hear = |cluster: &mut Cluster| cluster.endpoint_slices(Change::Deleted(gone));
    assert_eq!(bed.hear(hear), Everybody);

    let mut slice = fixture::slice("kubernetes", "kubernetes", &here);
    slice.metadata.namespace = Some("default".into());
    let hear = |cluster: &mut Cluster| cluster.endpoint_slices(Change::Applied(slice));
    assert_eq!(bed.hear(hear), Allocator);
}

#[test]
fn the_status_of_a_vip_is_nobodys_and_that_of_a_pool_the_allocators() {
    let mut bed = Bed::with_pool(json!(["192.0.2.8/31"]));
    bed.service("a", json!({}));
    bed.settle();
    let assignment = &bed.cluster.vip(ip("192.0.2.8")).unwrap().assignment;
    let mut vip = api::Vip::new(&api::vip_name(ip("192.0.2.8")), assignment.into());
    vip.metadata.uid = Some(vip.metadata.name.clone().unwrap());
    vip.metadata.resource_version = Some("99".into());
    vip.status = serde_json::from_value(json!({"node": "n1"})).ok();
    let said = vip.clone();
    assert_eq!(bed.hear(|it| it.vips(Change::Applied(said))), Nobody);
    vip.metadata.uid = Some("another life".into());
    assert_eq!(bed.hear(|it| it.vips(Change::Applied(vip))), Everybody);

    let mut pool = bed.pools["main"].clone();
    assert_ne!(pool.status.take(), None);
    let without = pool.clone();
    assert_eq!(bed.hear(|it| it.pools(Change::Applied(without))), Allocator);
    pool.spec.addresses.push("192.0.2.16/31".into());
    assert_eq!(bed.hear(|it| it.pools(Change::Applied(pool))), Everybody);
}

#[test]
fn a_list_concerns_whom_the_greatest_change_in_it_does() {
    let mut bed = Bed::new();
    let a = || fixture::service("web", "a", json!({}));
    let other = |kind: &str| fixture::service("web", "b", json!({"spec": {"type": kind}}));
    let mut list = |all: Vec<_>| bed.hear(|it| it.services(Change::Listed(all)));
    assert_eq!(list(vec![a()]), Everybody);
    assert_eq!(list(vec![a()]), Nobody);
    assert_eq!(list(vec![a(), other("NodePort")]), Allocator);
    assert_eq!(list(vec![other("NodePort")]), Everybody, "one is gone");
    assert_eq!(list(vec![other("LoadBalancer")]), Everybody);

    let mut first = Cluster::default();
    assert_eq!(first.services(Change::Listed(Vec::new())), Everybody);
    assert_eq!(first.services(Change::Listed(Vec::new())), Nobody);
}
