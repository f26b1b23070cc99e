//! What every agent programs, and where an address row is wanted (`ownership.md`, rule 8).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Cluster, selector::Selector, service::Service, vip::Assignment};
use crate::{
    config::{Glob, PrefixPolicy},
    ownership::NodeName,
};

/// A VIP as every agent programs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Interfaces that may carry it, in the order of preference; none: the agent's own.
    pub interfaces: Vec<Glob>,
    /// Its prefix lengths; none: the agent's own.
    pub prefix: Option<PrefixPolicy>,
    /// The nodes that may answer, where an address row is wanted; empty: there is none just now,
    /// and the address stays where it is. None: the row of its bucket will do.
    pub candidates: Option<BTreeSet<NodeName>>,
    /// `healthCheckNodePort`s of its Services with `externalTrafficPolicy: Local`.
    pub health_check_ports: BTreeSet<u16>,
    /// It is one of the control plane, which has a Lease of its own (rule 12): rows say nothing
    /// about it, and a node that is no candidate is silent.
    pub control_plane: bool,
}

/// All VIPs that have a `Vip`.
pub fn served(cluster: &Cluster) -> BTreeMap<IpAddr, Served> {
    let vips = cluster.vips.values().map(|vip| &vip.assignment);
    vips.map(|assignment| (assignment.address, one(assignment, cluster)))
        .collect()
}

fn one(assignment: &Assignment, cluster: &Cluster) -> Served {
    let services = assignment.services.iter();
    let services = services.filter_map(|key| cluster.services.get(key));
    let local: Vec<&Service> = services.filter(|service| service.is_local).collect();
    let pool = assignment.pool.as_ref();
    let pool = pool.and_then(|name| cluster.pools.get(name));
    let interfaces = assignment.interfaces.iter();
    let prefix = assignment.prefix.as_deref();
    Served {
        interfaces: interfaces.filter_map(|name| Glob::new(name).ok()).collect(),
        prefix: prefix.and_then(|text| PrefixPolicy::parse(text).ok()),
        candidates: candidates(&local, pool.and_then(|pool| pool.node_selector()), cluster),
        health_check_ports: local.iter().filter_map(|s| s.health_check_port).collect(),
        control_plane: assignment.control_plane,
    }
}

/// Where a node selector matches any node it is obeyed before endpoints: a node that it leaves
/// out may not even be on the VIP's network.
fn candidates(
    local: &[&Service],
    selector: Option<&Selector>,
    cluster: &Cluster,
) -> Option<BTreeSet<NodeName>> {
    let selected = selector.map(|selector| {
        let nodes = cluster.nodes.values();
        nodes
            .filter(|node| !node.is_excluded() && selector.matches(&node.labels))
            .map(|node| node.name.clone())
            .collect::<BTreeSet<_>>()
    });
    let with_endpoints = (!local.is_empty()).then(|| with_endpoints(local, cluster));
    match (selected, with_endpoints) {
        (None, with_endpoints) => with_endpoints,
        (Some(selected), None) => Some(selected),
        (Some(selected), Some(with_endpoints)) => {
            let both: BTreeSet<_> = selected.intersection(&with_endpoints).cloned().collect();
            Some(if both.is_empty() { selected } else { both })
        }
    }
}

/// The nodes with endpoints of every one of these Services, else of any.
fn with_endpoints(local: &[&Service], cluster: &Cluster) -> BTreeSet<NodeName> {
    let usable = |name: &NodeName| {
        let node = cluster.nodes.get(name);
        node.is_some_and(|node| !node.is_excluded())
    };
    let each = local.iter().map(|service| {
        let nodes = cluster.endpoints.nodes(&service.key);
        nodes.into_iter().filter(usable).collect::<BTreeSet<_>>()
    });
    let each: Vec<_> = each.filter(|nodes| !nodes.is_empty()).collect();
    let all = each
        .iter()
        .cloned()
        .reduce(|one, other| one.intersection(&other).cloned().collect());
    match all {
        Some(all) if all.is_empty() => each.into_iter().flatten().collect(),
        all => all.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api,
        cluster::{Change, fixture},
    };

    const VIP: &str = "192.0.2.100";

    /// Nodes n1 to n3, of which n3 is labelled `edge`, and one VIP of Service `web/a`.
    fn cluster(service: Value, pool: Value) -> Cluster {
        let mut cluster = Cluster::default();
        for name in ["n1", "n2", "n3"] {
            let mut node = fixture::node(name, &[]);
            if name == "n3" {
                let labels = node.metadata.labels.get_or_insert_default();
                labels.insert("edge".into(), String::new());
            }
            cluster.nodes(Change::Applied(node));
        }
        cluster.services(Change::Applied(fixture::service("web", "a", service)));
        cluster.pools(Change::Applied(fixture::pool("main", pool)));
        give(&mut cluster, &["a"]);
        cluster
    }

    fn give(cluster: &mut Cluster, services: &[&str]) {
        let spec = api::VipSpec {
            address: VIP.into(),
            pool: Some("main".into()),
            services: services
                .iter()
                .map(|name| api::ServiceRef {
                    namespace: "web".into(),
                    name: (*name).into(),
                })
                .collect(),
            interfaces: vec!["eth*".into()],
            prefix: Some("24,64".into()),
            ..api::VipSpec::default()
        };
        cluster.vips(Change::Applied(api::Vip::new(VIP, spec)));
    }

    fn exclude(cluster: &mut Cluster, name: &str) {
        let mut node = fixture::node(name, &[]);
        let label = "node.kubernetes.io/exclude-from-external-load-balancers";
        let labels = node.metadata.labels.get_or_insert_default();
        labels.insert(label.into(), String::new());
        cluster.nodes(Change::Applied(node));
    }

    fn may_answer(cluster: &Cluster) -> Option<Vec<String>> {
        let served = served(cluster).remove(&VIP.parse().unwrap()).unwrap();
        let nodes = served.candidates?;
        Some(nodes.iter().map(ToString::to_string).collect())
    }

    fn anywhere() -> Value {
        json!({"addresses": ["192.0.2.0/24"]})
    }

    fn local() -> Value {
        json!({"spec": {"externalTrafficPolicy": "Local", "healthCheckNodePort": 30500}})
    }

    #[test]
    fn with_cluster_policy_the_row_of_the_bucket_will_do() {
        let cluster = cluster(json!({}), anywhere());
        assert_eq!(may_answer(&cluster), None);
        let served = served(&cluster).remove(&VIP.parse().unwrap()).unwrap();
        assert_eq!(served.interfaces, [Glob::new("eth*").unwrap()]);
        assert_eq!(served.prefix, PrefixPolicy::parse("24,64").ok());
    }

    #[test]
    fn an_address_of_the_control_plane_is_programmed_everywhere_and_is_in_no_row() {
        let mut cluster = cluster(json!({}), anywhere());
        let spec = api::VipSpec {
            address: "192.0.2.10".into(),
            control_plane: true,
            ..api::VipSpec::default()
        };
        cluster.vips(Change::Applied(api::Vip::new("192.0.2.10", spec)));
        let served = served(&cluster);
        let is_plane = |address: &str| served[&address.parse().unwrap()].control_plane;
        assert!(is_plane("192.0.2.10") && !is_plane(VIP));
    }

    #[test]
    fn local_follows_serving_endpoints() {
        let mut cluster = cluster(local(), anywhere());
        let slice = |endpoints| Change::Applied(fixture::slice("a", "a-1", endpoints));
        cluster.endpoint_slices(slice(&[("n1", "ready"), ("n2", "ready")]));
        assert_eq!(may_answer(&cluster).unwrap(), ["n1", "n2"]);
        cluster.endpoint_slices(slice(&[("n1", "leaving"), ("n2", "ready")]));
        assert_eq!(may_answer(&cluster).unwrap(), ["n2"]);
        cluster.endpoint_slices(slice(&[("n1", "leaving"), ("n2", "down")]));
        assert_eq!(may_answer(&cluster).unwrap(), ["n1"], "the last resort");
        let served = served(&cluster).remove(&VIP.parse().unwrap()).unwrap();
        assert_eq!(served.health_check_ports, [30500].into());
    }

    #[test]
    fn without_any_endpoint_an_address_stays_where_it_was() {
        let mut cluster = cluster(local(), anywhere());
        assert_eq!(may_answer(&cluster).unwrap(), Vec::<String>::new());
        let slice = fixture::slice("a", "a-1", &[("n1", "down")]);
        cluster.endpoint_slices(Change::Applied(slice));
        assert_eq!(may_answer(&cluster).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn node_selectors_of_the_pool_say_where() {
        let edge = |more: &str| {
            json!({"addresses": ["192.0.2.0/24"],
                "nodeSelector": {"matchExpressions": [{"key": more, "operator": "Exists"}]}})
        };
        let on_edge = cluster(json!({}), edge("edge"));
        assert_eq!(may_answer(&on_edge).unwrap(), ["n3"]);
        let mut with_local = cluster(local(), edge("edge"));
        let slice = fixture::slice("a", "a-1", &[("n1", "ready")]);
        with_local.endpoint_slices(Change::Applied(slice));
        assert_eq!(may_answer(&with_local).unwrap(), ["n3"]);
        let slice = fixture::slice("a", "a-1", &[("n1", "ready"), ("n3", "ready")]);
        with_local.endpoint_slices(Change::Applied(slice));
        assert_eq!(may_answer(&with_local).unwrap(), ["n3"]);
        assert!(
            may_answer(&cluster(json!({}), edge("none")))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn an_excluded_node_is_never_a_candidate() {
        let mut cluster = cluster(local(), anywhere());
        let slice = fixture::slice("a", "a-1", &[("n1", "ready"), ("n2", "ready")]);
        cluster.endpoint_slices(Change::Applied(slice));
        exclude(&mut cluster, "n1");
        assert_eq!(may_answer(&cluster).unwrap(), ["n2"]);
        cluster.nodes(Change::Applied(fixture::node("n1", &[])));
        assert_eq!(may_answer(&cluster).unwrap(), ["n1", "n2"]);
        cluster.nodes(Change::Deleted(fixture::node("n2", &[])));
        assert_eq!(may_answer(&cluster).unwrap(), ["n1"], "a Node that is gone");
    }

    #[test]
    fn a_shared_address_goes_where_all_of_its_local_services_have_endpoints() {
        let mut cluster = cluster(local(), anywhere());
        cluster.services(Change::Applied(fixture::service("web", "b", local())));
        cluster.services(Change::Applied(fixture::service("web", "c", json!({}))));
        give(&mut cluster, &["a", "b", "c"]);
        let a = fixture::slice("a", "a-1", &[("n1", "ready"), ("n2", "ready")]);
        let b = fixture::slice("b", "b-1", &[("n2", "ready"), ("n3", "ready")]);
        cluster.endpoint_slices(Change::Applied(a));
        cluster.endpoint_slices(Change::Applied(b));
        assert_eq!(may_answer(&cluster).unwrap(), ["n2"]);
    }
}
