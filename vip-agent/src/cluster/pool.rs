//! Pools: addresses that Services may have, and which Services those are.
//!
//! Every address of a CIDR is given out, its first and last too, as MetalLB does unless told
//! otherwise and as kube-vip's users know it: a pool is mostly a part of the nodes' subnet, and a
//! /28 of 16 addresses is expected to hold 16. What the subnet itself reserves (its network and
//! broadcast address, the subnet-router anycast address, the gateway) is known from the nodes'
//! interfaces and never given ([`Forbidden`](super::Forbidden)), whatever a pool says.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{
    change::Concern,
    condition::Condition,
    range::{Addresses, Range, RangeError},
    refusal::Refusal,
    selector::{Labels, NoOperator, Selector},
    service::Service,
};
use crate::{
    api::VipPool,
    config::{Glob, GlobError, PrefixError, PrefixPolicy},
};

/// What is wrong with a pool's spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolProblem {
    #[error("addresses: {0}")]
    Addresses(#[from] RangeError),
    /// Whom it would select is unknown: nobody.
    #[error("{field}: {error}: it selects nothing")]
    Selector {
        field: &'static str,
        error: NoOperator,
    },
    #[error("interfaces: {name:?}: {error}")]
    Interface { name: String, error: GlobError },
    #[error("prefix: {0}")]
    Prefix(PrefixError),
}

impl PoolProblem {
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Addresses(RangeError::Reversed { .. }) => "ReversedRange",
            Self::Addresses(_) => "InvalidAddresses",
            Self::Selector { .. } => "InvalidSelector",
            Self::Interface { .. } => "InvalidInterface",
            Self::Prefix(_) => "InvalidPrefix",
        }
    }
}

/// A selector of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Selects {
    /// None is given.
    Unsaid,
    By(Selector),
    /// It cannot be read.
    Nothing,
}

/// The part of a pool's status that is computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Number of its addresses; 2^128 - 1 for more.
    pub total: u128,
    /// How many of them have a `Vip`.
    pub used: u128,
    /// `total` less `used`.
    pub free: u128,
    /// Of the types of [`condition`](super::condition).
    pub conditions: Vec<Condition>,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its life.
    pub uid: String,
    /// What it has to give.
    pub addresses: Addresses,
    namespaces: BTreeSet<String>,
    namespace_selector: Selects,
    service_selector: Selects,
    node_selector: Selects,
    /// Interfaces that may carry its addresses; none: the agent's own.
    pub interfaces: Vec<Glob>,
    /// Prefix lengths of its addresses, as the configuration's key takes them.
    pub prefix: Option<String>,
    /// It gives to Services that ask for no pool.
    pub auto_assign: bool,
    /// What is wrong with its spec. The rest is used.
    pub problems: Vec<PoolProblem>,
    /// Its status, as it stands; none: it was never written.
    pub status: Option<PoolStatus>,
}

impl Pool {
    /// The status is the allocator's, who writes it.
    pub(super) fn concern(before: Option<&Self>, after: Option<&Self>) -> Concern {
        let (Some(before), Some(after)) = (before, after) else {
            return Concern::Everybody;
        };
        let with_its_status = Self {
            status: after.status.clone(),
            ..before.clone()
        };
        match with_its_status == *after {
            true if before.status == after.status => Concern::Nobody,
            true => Concern::Allocator,
            false => Concern::Everybody,
        }
    }

    /// Reads an object; none for one that no API server wrote.
    pub(super) fn read(object: &VipPool) -> Option<Self> {
        let spec = &object.spec;
        let mut problems = Vec::new();
        let ranges: Vec<Range> = spec
            .addresses
            .iter()
            .filter_map(|entry| {
                Range::parse(entry)
                    .map_err(|e| problems.push(e.into()))
                    .ok()
            })
            .collect();
        let mut select = |field, selector: &Option<LabelSelector>| match selector {
            None => Selects::Unsaid,
            Some(selector) => match Selector::parse(selector) {
                Ok(selector) => Selects::By(selector),
                Err(error) => {
                    problems.push(PoolProblem::Selector { field, error });
                    Selects::Nothing
                }
            },
        };
        let namespace_selector = select("namespaceSelector", &spec.namespace_selector);
        let service_selector = select("serviceSelector", &spec.service_selector);
        let node_selector = select("nodeSelector", &spec.node_selector);
        let mut interfaces = Vec::new();
        for name in &spec.interfaces {
            match Glob::new(name) {
                Ok(glob) => interfaces.push(glob),
                Err(error) => problems.push(PoolProblem::Interface {
                    name: name.clone(),
                    error,
                }),
            }
        }
        let prefix = spec.prefix.clone().filter(|text| {
            let errors = PrefixPolicy::parse(text).err().unwrap_or_default();
            let is_fine = errors.is_empty();
            problems.extend(errors.into_iter().map(PoolProblem::Prefix));
            is_fine
        });
        Some(Self {
            name: object.metadata.name.clone()?,
            uid: object.metadata.uid.clone().unwrap_or_default(),
            addresses: ranges.into_iter().collect(),
            namespaces: spec.namespaces.iter().cloned().collect(),
            namespace_selector,
            service_selector,
            node_selector,
            interfaces,
            prefix,
            auto_assign: spec.auto_assign,
            problems,
            status: object.status.as_ref().and_then(|status| {
                let number = |text: &Option<String>| text.as_deref()?.parse().ok();
                Some(PoolStatus {
                    total: number(&status.total)?,
                    used: number(&status.used)?,
                    free: number(&status.free)?,
                    conditions: Condition::ours(status.conditions.iter()),
                })
            }),
        })
    }

    /// Whether the address is one of its own.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.addresses.contains(address)
    }

    /// It is for some Services only: they are served from it before any other.
    pub fn is_dedicated(&self) -> bool {
        !self.namespaces.is_empty()
            || self.namespace_selector != Selects::Unsaid
            || self.service_selector != Selects::Unsaid
    }

    /// Whether a Service may have its addresses. `namespace`: labels of the Service's namespace.
    pub fn admits(&self, service: &Service, namespace: Option<&Labels>) -> Result<(), Refusal> {
        let named = self.namespaces.contains(&*service.key.namespace);
        let selected = match &self.namespace_selector {
            Selects::Unsaid => self.namespaces.is_empty(),
            Selects::By(selector) => namespace.is_some_and(|labels| selector.matches(labels)),
            Selects::Nothing => false,
        };
        let refused = |namespace| {
            Err(Refusal::NotAdmitted {
                pool: self.name.clone(),
                namespace,
            })
        };
        if !named && !selected {
            return refused(true);
        }
        match &self.service_selector {
            Selects::Unsaid => Ok(()),
            Selects::By(selector) if selector.matches(&service.labels) => Ok(()),
            _ => refused(false),
        }
    }

    /// The nodes that may answer for its addresses, by their labels; none: any. A selector that
    /// cannot be read leaves an address where it is.
    pub fn node_selector(&self) -> Option<&Selector> {
        match &self.node_selector {
            Selects::By(selector) => Some(selector),
            Selects::Unsaid | Selects::Nothing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::fixture;

    #[test]
    fn a_pool_says_which_namespaces_and_services_may_use_it() {
        let pool = fixture::pool(
            "front",
            json!({
                "addresses": ["192.0.2.0/28"],
                "namespaces": ["web"],
                "namespaceSelector": {"matchLabels": {"team": "front"}},
                "serviceSelector": {"matchLabels": {"tier": "public"}}
            }),
        );
        let pool = Pool::read(&pool).unwrap();
        let service = |namespace: &str, tier: &str| {
            let mut object = fixture::service(namespace, "a", json!({}));
            object.metadata.labels = Some([("tier".into(), tier.into())].into());
            Service::read(&object).unwrap()
        };
        let team: Labels = [("team".into(), "front".into())].into();
        assert_eq!(pool.admits(&service("web", "public"), None), Ok(()));
        assert_eq!(pool.admits(&service("shop", "public"), Some(&team)), Ok(()));
        let refused = |namespace| {
            Err(Refusal::NotAdmitted {
                pool: "front".into(),
                namespace,
            })
        };
        assert_eq!(pool.admits(&service("shop", "public"), None), refused(true));
        assert_eq!(pool.admits(&service("web", "inner"), None), refused(false));
        assert!(pool.is_dedicated());
    }

    #[test]
    fn named_namespaces_alone_leave_no_other_in() {
        let spec = json!({"addresses": ["192.0.2.0/28"], "namespaces": ["shop"]});
        let pool = Pool::read(&fixture::pool("front", spec)).unwrap();
        let service = Service::read(&fixture::service("web", "a", json!({}))).unwrap();
        assert!(pool.admits(&service, Some(&Labels::new())).is_err());
    }

    #[test]
    fn a_selector_alone_leaves_no_other_namespace_in() {
        let pool = fixture::pool(
            "front",
            json!({"addresses": ["192.0.2.0/28"], "namespaceSelector": {"matchLabels": {"team": "front"}}}),
        );
        let pool = Pool::read(&pool).unwrap();
        let service = Service::read(&fixture::service("web", "a", json!({}))).unwrap();
        assert!(pool.admits(&service, Some(&Labels::new())).is_err());
    }

    #[test]
    fn what_is_wrong_with_a_pool_is_said_and_the_rest_is_used() {
        let pool = fixture::pool(
            "front",
            json!({
                "addresses": ["2001:db8::9-2001:db8::1", "192.0.2.0/30"],
                "interfaces": ["eth0", "a b"],
                "prefix": "128,32",
                "serviceSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}
            }),
        );
        let pool = Pool::read(&pool).unwrap();
        let reasons: Vec<_> = pool.problems.iter().map(PoolProblem::reason).collect();
        let expected = [
            "ReversedRange",
            "InvalidSelector",
            "InvalidInterface",
            "InvalidPrefix",
        ];
        assert_eq!(reasons, expected);
        assert_eq!(pool.addresses.count(), 4);
        assert_eq!(pool.interfaces.len(), 1);
        assert_eq!(pool.prefix, None);
        let service = Service::read(&fixture::service("web", "a", json!({}))).unwrap();
        assert!(pool.admits(&service, None).is_err());
    }
}
