//! Endpoints of Services: on which nodes they are, and which of them serve.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::service::ServiceKey;
use crate::ownership::NodeName;

/// The label that names a slice's Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The Service whose endpoints are the API servers.
const API_SERVER: (&str, &str) = ("default", "kubernetes");

/// What one slice says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Slice {
    ready: BTreeSet<NodeName>,
    /// Terminating, and still serving.
    leaving: BTreeSet<NodeName>,
    /// Kept for the API servers alone.
    addresses: BTreeSet<IpAddr>,
}

/// The endpoints of all Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    services: BTreeMap<ServiceKey, BTreeMap<Arc<str>, Slice>>,
    /// The Service of each slice: its label is gone when the slice is.
    owners: HashMap<(Arc<str>, Arc<str>), ServiceKey>,
}

impl Endpoints {
    /// Takes a slice; the Services whose endpoints are others by it.
    pub(super) fn apply(&mut self, object: &EndpointSlice) -> Vec<ServiceKey> {
        let metadata = &object.metadata;
        let service = metadata.labels.as_ref().and_then(|l| l.get(SERVICE_NAME));
        let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else {
            return Vec::new();
        };
        let Some(service) = service.map(|service| ServiceKey::new(namespace, service)) else {
            return self.delete(object);
        };
        let slice = Slice::read(object, is_api_server(&service));
        let name: Arc<str> = name.as_str().into();
        let id = (Arc::clone(&service.namespace), Arc::clone(&name));
        let mut changed = match self.owners.get(&id) {
            Some(owner) if *owner != service => self.delete(object),
            _ => Vec::new(),
        };
        self.owners.insert(id, service.clone());
        let slices = self.services.entry(service.clone()).or_default();
        if slices.insert(name, slice.clone()) != Some(slice) {
            changed.push(service);
        }
        changed
    }

    /// Forgets a slice; the Service whose endpoints are others by it.
    pub(super) fn delete(&mut self, object: &EndpointSlice) -> Vec<ServiceKey> {
        let metadata = &object.metadata;
        let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else {
            return Vec::new();
        };
        let id = (namespace.as_str().into(), name.as_str().into());
        let Some(service) = self.owners.remove(&id) else {
            return Vec::new();
        };
        if let Some(slices) = self.services.get_mut(&service) {
            slices.remove(&id.1);
            if slices.is_empty() {
                self.services.remove(&service);
            }
        }
        vec![service]
    }

    /// The nodes with ready endpoints of a Service; where there are none at all, those with
    /// endpoints that still serve while they terminate.
    pub fn nodes(&self, service: &ServiceKey) -> BTreeSet<NodeName> {
        let slices = self.services.get(service);
        let slices = || slices.into_iter().flat_map(BTreeMap::values);
        let ready: BTreeSet<_> = slices().flat_map(|s| &s.ready).cloned().collect();
        match ready.is_empty() {
            true => slices().flat_map(|s| &s.leaving).cloned().collect(),
            false => ready,
        }
    }

    /// Addresses of the API servers.
    pub fn api_servers(&self) -> impl Iterator<Item = IpAddr> {
        let service = ServiceKey::new(API_SERVER.0, API_SERVER.1);
        let slices = self.services.get(&service).into_iter();
        slices
            .flat_map(BTreeMap::values)
            .flat_map(|slice| slice.addresses.iter().copied())
    }
}

pub(super) fn is_api_server(service: &ServiceKey) -> bool {
    (&*service.namespace, &*service.name) == API_SERVER
}

impl Slice {
    fn read(object: &EndpointSlice, keeps_addresses: bool) -> Self {
        let mut slice = Self::default();
        for endpoint in &object.endpoints {
            if keeps_addresses {
                let addresses = endpoint.addresses.iter();
                slice
                    .addresses
                    .extend(addresses.filter_map(|address| address.parse::<IpAddr>().ok()));
            }
            let Some(node) = endpoint.node_name.as_deref() else {
                continue;
            };
            match State::of(endpoint) {
                State::Ready => slice.ready.insert(node.into()),
                State::Leaving => slice.leaving.insert(node.into()),
                State::Dead => continue,
            };
        }
        slice
    }
}

enum State {
    Ready,
    Leaving,
    Dead,
}

impl State {
    /// Conditions that are not said mean: ready, serving, not terminating.
    fn of(endpoint: &Endpoint) -> Self {
        let Some(conditions) = &endpoint.conditions else {
            return Self::Ready;
        };
        let ready = conditions.ready.unwrap_or(true);
        let terminating = conditions.terminating.unwrap_or(false);
        match (ready, conditions.serving.unwrap_or(ready), terminating) {
            (true, ..) => Self::Ready,
            (false, true, true) => Self::Leaving,
            _ => Self::Dead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fixture;

    fn nodes(endpoints: &Endpoints) -> Vec<String> {
        let nodes = endpoints.nodes(&ServiceKey::new("web", "a"));
        nodes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nodes_with_ready_endpoints_come_from_all_slices_of_a_service() {
        let mut endpoints = Endpoints::default();
        endpoints.apply(&fixture::slice(
            "a",
            "a-1",
            &[("n1", "ready"), ("n2", "down")],
        ));
        endpoints.apply(&fixture::slice("a", "a-2", &[("n3", "ready")]));
        endpoints.apply(&fixture::slice("b", "b-1", &[("n4", "ready")]));
        assert_eq!(nodes(&endpoints), ["n1", "n3"]);
    }

    #[test]
    fn terminating_endpoints_that_serve_are_the_last_resort() {
        let mut endpoints = Endpoints::default();
        endpoints.apply(&fixture::slice(
            "a",
            "a-1",
            &[("n1", "ready"), ("n2", "leaving")],
        ));
        assert_eq!(nodes(&endpoints), ["n1"]);
        endpoints.apply(&fixture::slice(
            "a",
            "a-1",
            &[("n1", "down"), ("n2", "leaving")],
        ));
        assert_eq!(nodes(&endpoints), ["n2"]);
        endpoints.apply(&fixture::slice("a", "a-1", &[("n2", "gone")]));
        assert!(nodes(&endpoints).is_empty());
    }

    #[test]
    fn a_slice_that_is_deleted_or_given_to_another_service_counts_no_more() {
        let mut endpoints = Endpoints::default();
        let slice = fixture::slice("a", "s", &[("n1", "ready")]);
        let (a, b) = (ServiceKey::new("web", "a"), ServiceKey::new("web", "b"));
        assert_eq!(endpoints.apply(&slice), [ServiceKey::new("web", "a")]);
        assert_eq!(endpoints.apply(&slice), [], "nothing changed");
        let given = endpoints.apply(&fixture::slice("b", "s", &[("n1", "ready")]));
        assert_eq!(given, [a.clone(), b.clone()]);
        assert!(nodes(&endpoints).is_empty());
        assert_eq!(endpoints.apply(&slice), [b, a.clone()]);
        assert_eq!(endpoints.delete(&slice), [a]);
        assert!(nodes(&endpoints).is_empty());
        assert_eq!(endpoints, Endpoints::default());
    }

    #[test]
    fn addresses_of_the_api_servers_are_the_endpoints_of_their_service() {
        let mut slice = fixture::slice("kubernetes", "kubernetes", &[("n1", "ready")]);
        slice.metadata.namespace = Some("default".into());
        slice.endpoints[0].addresses = vec!["192.0.2.11".into()];
        let mut endpoints = Endpoints::default();
        endpoints.apply(&slice);
        let found: Vec<_> = endpoints.api_servers().collect();
        assert_eq!(found, ["192.0.2.11".parse::<IpAddr>().unwrap()]);
    }
}
