//! Which Services may have one address together.

use std::collections::HashMap;

use super::{
    refusal::Clash,
    service::{Port, Service, ServiceKey},
};

/// As many Services as the schema of a `Vip` takes.
const MOST: usize = 256;

/// The Services that have an address, or are about to.
#[derive(Debug, Default)]
pub(super) struct Tenants<'a> {
    tenants: Vec<Tenant<'a>>,
    /// Of all tenants; a Service has each port once.
    ports: HashMap<&'a Port, &'a Service>,
    has_local: bool,
}

#[derive(Clone, Copy, Debug)]
struct Tenant<'a> {
    service: &'a Service,
    /// It waits for the LAN, or for its other family.
    waits: bool,
}

impl<'a> Tenants<'a> {
    /// Whether a Service may join; if not, with whom it clashes.
    pub(super) fn admit(&self, service: &Service) -> Result<(), (ServiceKey, Clash)> {
        self.clash(service, true)
    }

    /// The same for a Service that has the address from elsewhere, where no key was needed.
    pub(super) fn admit_without_key(&self, service: &Service) -> Result<(), (ServiceKey, Clash)> {
        self.clash(service, false)
    }

    fn clash(&self, service: &Service, by_key: bool) -> Result<(), (ServiceKey, Clash)> {
        let clash = |with: &Service, clash| Err((with.key.clone(), clash));
        let others = || {
            let services = self.tenants.iter().map(|tenant| tenant.service);
            services.filter(|other| other.key != service.key)
        };
        let key = service.share_key();
        if self.tenants.len() >= MOST
            && let Some(other) = others().next()
        {
            return clash(other, Clash::Full);
        }
        if by_key
            && let Some(other) = others().find(|other| key.is_none() || other.share_key() != key)
        {
            return clash(other, Clash::Keys);
        }
        for port in &service.ports {
            if let Some(other) = self.ports.get(port)
                && other.key != service.key
            {
                return clash(other, Clash::Port(port.clone()));
            }
        }
        if (service.is_local || self.has_local)
            && let Some(other) =
                others().find(|o| (o.is_local || service.is_local) && !same_pods(o, service))
        {
            return clash(other, Clash::Selectors);
        }
        let interfaces = interfaces(service);
        if !interfaces.is_empty()
            && let Some(other) = others().find(|other| {
                !self::interfaces(other).is_empty() && self::interfaces(other) != interfaces
            })
        {
            return clash(other, Clash::Interfaces);
        }
        Ok(())
    }

    /// Lets a Service in; `waits`: not yet.
    pub(super) fn join(&mut self, service: &'a Service, waits: bool) {
        for port in &service.ports {
            self.ports.entry(port).or_insert(service);
        }
        self.has_local |= service.is_local;
        self.tenants.push(Tenant { service, waits });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    /// All that have the address by now, the first comer first.
    pub(super) fn settled(&self) -> impl Iterator<Item = &'a Service> {
        let settled = self.tenants.iter().filter(|tenant| !tenant.waits);
        settled.map(|tenant| tenant.service)
    }
}

/// They have the same endpoints, and therefore the same candidates.
fn same_pods(one: &Service, other: &Service) -> bool {
    !one.selector.is_empty()
        && one.selector == other.selector
        && one.key.namespace == other.key.namespace
}

pub(super) fn interfaces(service: &Service) -> &[crate::config::Glob] {
    service
        .wish
        .as_ref()
        .map_or(&[], |wish| wish.interfaces.as_slice())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::fixture;

    fn service(name: &str, key: &str, port: u16, change: Value) -> Service {
        let mut object = fixture::service("web", name, change);
        let annotations = object.metadata.annotations.get_or_insert_default();
        if !key.is_empty() {
            annotations.insert("xvip.io/share-key".into(), key.into());
        }
        let ports = object.spec.as_mut().unwrap().ports.as_mut().unwrap();
        ports[0].port = port.into();
        Service::read(&object).unwrap()
    }

    fn clash(one: &Service, other: &Service) -> Option<Clash> {
        let mut tenants = Tenants::default();
        tenants.join(one, false);
        tenants.admit(other).err().map(|(_, clash)| clash)
    }

    #[test]
    fn services_share_by_key_on_disjoint_ports() {
        let one = service("a", "web", 80, json!({}));
        assert_eq!(clash(&one, &service("b", "web", 443, json!({}))), None);
        assert_eq!(
            clash(&one, &service("b", "other", 443, json!({}))),
            Some(Clash::Keys)
        );
        assert_eq!(
            clash(&one, &service("b", "", 443, json!({}))),
            Some(Clash::Keys)
        );
        let port = Port {
            protocol: "TCP".into(),
            number: 80,
        };
        assert_eq!(
            clash(&one, &service("b", "web", 80, json!({}))),
            Some(Clash::Port(port))
        );
        let mut udp = service("b", "web", 80, json!({}));
        udp.ports = [Port {
            protocol: "UDP".into(),
            number: 80,
        }]
        .into();
        assert_eq!(clash(&one, &udp), None);
        // Neither has a key.
        let (one, other) = (
            service("a", "", 80, json!({})),
            service("b", "", 443, json!({})),
        );
        assert_eq!(clash(&one, &other), Some(Clash::Keys));
    }

    #[test]
    fn with_local_only_services_of_the_same_selector_share() {
        let local = |app: &str| json!({"spec": {"externalTrafficPolicy": "Local", "selector": {"app": app}}});
        let cluster = |app: &str| json!({"spec": {"selector": {"app": app}}});
        let one = service("a", "web", 80, local("x"));
        assert_eq!(clash(&one, &service("b", "web", 443, local("x"))), None);
        assert_eq!(clash(&one, &service("b", "web", 443, cluster("x"))), None);
        for other in [local("y"), cluster("y")] {
            let other = service("b", "web", 443, other);
            assert_eq!(clash(&one, &other), Some(Clash::Selectors));
            assert_eq!(clash(&other, &one), Some(Clash::Selectors));
        }
        let (one, other) = (
            service("a", "web", 80, cluster("x")),
            service("b", "web", 443, cluster("y")),
        );
        assert_eq!(clash(&one, &other), None);
    }

    #[test]
    fn the_same_selector_in_another_namespace_selects_other_pods() {
        let local = json!({"spec": {"externalTrafficPolicy": "Local", "selector": {"app": "x"}}});
        let one = service("a", "web", 80, local.clone());
        let mut other = service("b", "web", 443, local);
        other.key.namespace = "shop".into();
        assert_eq!(clash(&one, &other), Some(Clash::Selectors));
    }
}
