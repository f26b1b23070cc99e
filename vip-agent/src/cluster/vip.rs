//! Assigned addresses as the API server keeps them.

use std::{collections::BTreeSet, net::IpAddr};

use super::{change::Concern, service::ServiceKey};
use crate::api;

/// Who has an address, and how: the spec of a `Vip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The address.
    pub address: IpAddr,
    /// The pool that it was taken from; none: it lay in no pool.
    pub pool: Option<String>,
    /// The Services that have it.
    pub services: BTreeSet<ServiceKey>,
    /// It is one of the API server, and no business of the allocator.
    pub control_plane: bool,
    /// The key by which Services share it.
    pub share_key: Option<String>,
    /// Interfaces, by name or glob, that may carry it; none: the agent's own.
    pub interfaces: Vec<String>,
    /// Prefix lengths, as the configuration's key takes them; none: the agent's own.
    pub prefix: Option<String>,
}

/// A `Vip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// Its life.
    pub uid: String,
    /// Its state when it was read: a write of another spec names it.
    pub resource_version: String,
    /// Its spec.
    pub assignment: Assignment,
    /// The node that said last that it holds it.
    pub holder: Option<String>,
}

impl Vip {
    /// A change of the status is nobody's business: agents write it.
    pub(super) fn concern(before: Option<&Self>, after: Option<&Self>) -> Concern {
        match before.map(Self::spec) == after.map(Self::spec) {
            true => Concern::Nobody,
            false => Concern::Everybody,
        }
    }

    /// All but the status, and which life's.
    fn spec(&self) -> (&str, &Assignment) {
        (&self.uid, &self.assignment)
    }

    /// Reads an object; none for one that the API server would have refused.
    pub(super) fn read(object: &api::Vip) -> Option<Self> {
        let spec = &object.spec;
        let metadata = &object.metadata;
        let services = spec.services.iter();
        Some(Self {
            holder: object
                .status
                .as_ref()
                .and_then(|status| status.node.clone()),
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            assignment: Assignment {
                address: spec.address.parse().ok()?,
                pool: spec.pool.clone(),
                services: services
                    .map(|service| ServiceKey::new(&service.namespace, &service.name))
                    .collect(),
                control_plane: spec.control_plane,
                share_key: spec.share_key.clone(),
                interfaces: spec.interfaces.clone(),
                prefix: spec.prefix.clone(),
            },
        })
    }
}

impl From<&Assignment> for api::VipSpec {
    fn from(assignment: &Assignment) -> Self {
        let services = assignment.services.iter();
        Self {
            address: assignment.address.to_string(),
            pool: assignment.pool.clone(),
            services: services
                .map(|service| api::ServiceRef {
                    namespace: service.namespace.to_string(),
                    name: service.name.to_string(),
                })
                .collect(),
            control_plane: assignment.control_plane,
            share_key: assignment.share_key.clone(),
            interfaces: assignment.interfaces.clone(),
            prefix: assignment.prefix.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_reads_back_as_it_is_written() {
        let assignment = Assignment {
            address: "2001:db8::100".parse().unwrap(),
            pool: Some("front".into()),
            services: [ServiceKey::new("web", "a"), ServiceKey::new("web", "b")].into(),
            control_plane: false,
            share_key: Some("web".into()),
            interfaces: vec!["eth*".into()],
            prefix: Some("32,64".into()),
        };
        let object = api::Vip::new("2001-db8--100", (&assignment).into());
        assert_eq!(Vip::read(&object).unwrap().assignment, assignment);
    }
}
