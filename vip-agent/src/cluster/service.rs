//! Services, as far as addresses are concerned.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::{LoadBalancerStatus, Service as Object, ServiceSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::Timestamp,
};

use super::{
    annotation::{self, Wish},
    change::Concern,
    condition::Condition,
    family::{Family, FamilyPolicy},
    refusal::Refusal,
    selector::Labels,
    settings::Settings,
};

/// Namespace and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name there.
    pub name: Arc<str>,
}

impl ServiceKey {
    /// The key of a Service.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// None for an object that no API server wrote.
    pub(super) fn of(metadata: &ObjectMeta) -> Option<Self> {
        Some(Self::new(
            metadata.namespace.as_deref()?,
            metadata.name.as_deref()?,
        ))
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A port that clients use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Its number.
    pub number: u16,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// `status.loadBalancer`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingress {
    /// Addresses, in order.
    pub addresses: Vec<IpAddr>,
    /// There is nothing but addresses, each with `ipMode: VIP`.
    pub is_plain: bool,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub key: ServiceKey,
    /// Its life.
    pub uid: String,
    /// Who was first is served first.
    pub created: Option<Timestamp>,
    /// `type: LoadBalancer`, and not being deleted.
    pub is_load_balancer: bool,
    /// `loadBalancerClass`.
    pub class: Option<String>,
    /// An annotation says to leave it alone.
    pub is_ignored: bool,
    /// Its labels.
    pub labels: Labels,
    /// What it asks for.
    pub wish: Result<Wish, Vec<Refusal>>,
    /// `ipFamilies`, in order; never empty.
    pub families: Vec<Family>,
    /// `ipFamilyPolicy`.
    pub policy: FamilyPolicy,
    /// Its ports.
    pub ports: BTreeSet<Port>,
    /// `externalTrafficPolicy: Local`.
    pub is_local: bool,
    /// Labels of its pods; empty: endpoints come from elsewhere.
    pub selector: BTreeMap<String, String>,
    /// `healthCheckNodePort`.
    pub health_check_port: Option<u16>,
    /// Its addresses as they stand in its status.
    pub ingress: Ingress,
    /// Conditions of ours in its status.
    pub conditions: Vec<Condition>,
}

impl Service {
    /// The status is the allocator's, who writes it; what is no load balancer may have been one.
    pub(super) fn concern(before: Option<&Self>, after: Option<&Self>) -> Concern {
        if before == after {
            return Concern::Nobody;
        }
        let is_status = match (before, after) {
            (Some(before), Some(after)) => {
                let with_its_status = Self {
                    ingress: after.ingress.clone(),
                    conditions: after.conditions.clone(),
                    ..before.clone()
                };
                with_its_status == *after
            }
            _ => false,
        };
        let mut both = before.into_iter().chain(after);
        match both.any(|service| service.is_load_balancer) && !is_status {
            true => Concern::Everybody,
            false => Concern::Allocator,
        }
    }

    /// Reads an object; none for one that no API server wrote.
    pub(super) fn read(object: &Object) -> Option<Self> {
        let nothing = ServiceSpec::default();
        let spec = object.spec.as_ref().unwrap_or(&nothing);
        let metadata = &object.metadata;
        let annotations = metadata.annotations.clone().unwrap_or_default();
        let status = object.status.as_ref();
        let is_load_balancer = spec.type_.as_deref() == Some("LoadBalancer");
        let policy = spec.ip_family_policy.as_deref().unwrap_or_default();
        let ports = spec.ports.iter().flatten().filter_map(|port| {
            let protocol = port.protocol.as_deref().unwrap_or("TCP").to_owned();
            let number = u16::try_from(port.port).ok()?;
            Some(Port { protocol, number })
        });
        let conditions = status.and_then(|status| status.conditions.as_ref());
        Some(Self {
            key: ServiceKey::of(metadata)?,
            uid: metadata.uid.clone().unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            is_load_balancer: is_load_balancer && metadata.deletion_timestamp.is_none(),
            class: spec.load_balancer_class.clone(),
            is_ignored: annotation::is_ignored(&annotations),
            labels: metadata.labels.clone().unwrap_or_default(),
            wish: annotation::wish(&annotations, spec.load_balancer_ip.as_deref()),
            families: families(spec),
            policy: FamilyPolicy::parse(policy),
            ports: ports.collect(),
            is_local: spec.external_traffic_policy.as_deref() == Some("Local"),
            selector: spec.selector.clone().unwrap_or_default(),
            health_check_port: spec
                .health_check_node_port
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port > 0),
            ingress: Ingress::read(status.and_then(|status| status.load_balancer.as_ref())),
            conditions: Condition::ours(conditions.into_iter().flatten()),
        })
    }

    /// Whether its addresses are ours to give.
    pub fn is_ours(&self, settings: &Settings) -> bool {
        self.is_load_balancer
            && !self.is_ignored
            && match &self.class {
                Some(class) => settings.classes.contains(class),
                None => settings.default,
            }
            && (settings.namespaces.is_empty()
                || settings.namespaces.contains(&*self.key.namespace))
    }

    /// The families that it gets addresses of, in order.
    pub fn wanted_families(&self) -> &[Family] {
        match self.policy {
            FamilyPolicy::SingleStack => &self.families[..1],
            FamilyPolicy::PreferDualStack | FamilyPolicy::RequireDualStack => &self.families,
        }
    }

    /// The key by which it shares its addresses.
    pub fn share_key(&self) -> Option<&str> {
        self.wish.as_ref().ok()?.share_key.as_deref()
    }
}

/// The API server fills `ipFamilies` in; without them the ClusterIPs tell.
fn families(spec: &ServiceSpec) -> Vec<Family> {
    let named = spec.ip_families.iter().flatten();
    let mut families: Vec<_> = named.filter_map(|name| Family::parse(name)).collect();
    if families.is_empty() {
        let ips = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
        families.extend(ips.filter_map(|ip| ip.parse().ok().map(Family::of)));
    }
    if families.is_empty() {
        families.push(Family::Ipv4);
    }
    families.dedup();
    families
}

impl Ingress {
    fn read(status: Option<&LoadBalancerStatus>) -> Self {
        let entries = status.and_then(|status| status.ingress.as_ref());
        let mut ingress = Self {
            addresses: Vec::new(),
            is_plain: true,
        };
        for entry in entries.into_iter().flatten() {
            let address: Option<IpAddr> = entry.ip.as_deref().and_then(|ip| ip.parse().ok());
            ingress.is_plain &= address.is_some()
                && entry.hostname.as_deref().unwrap_or_default().is_empty()
                && entry.ip_mode.as_deref() == Some("VIP");
            ingress.addresses.extend(address);
        }
        ingress
    }
}
