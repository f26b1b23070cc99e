//! What `ownership: kubernetes` takes beside the keys of every mode.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::{NonZeroU16, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use super::{
    Key, PrefixPolicy, Problem,
    reader::Sources,
    source::Given,
    value::{all, collected, vip},
};
use crate::ownership::{OnApiLoss, Timing, TimingError};

/// Who decides: the cluster, by sessions and claims (`ownership.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// Credentials for the API server; without them in-cluster, else `$KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// The agent's own namespace, where the Leases live.
    pub namespace: String,
    /// L, the renewal interval and H.
    pub timing: Timing,
    /// Sessions that are held without need.
    pub max_announcers: NonZeroUsize,
    /// What VIPs do while the API server is away.
    pub on_api_loss: OnApiLoss,
    /// Which Services are served.
    pub services: Services,
    /// VIPs of the API server itself.
    pub control_plane: Option<ControlPlane>,
}

/// Which Services are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    /// Of these classes.
    pub load_balancer_classes: Vec<String>,
    /// Also those without a class.
    pub default: bool,
    /// Of these namespaces; of every one where the list is empty.
    pub namespaces: Vec<String>,
}

/// VIPs of the API server itself (`ownership.md`, rule 12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlane {
    /// Never empty.
    pub addresses: Vec<IpAddr>,
    /// Where the API server listens.
    pub port: NonZeroU16,
}

const MAX_ANNOUNCERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);
const API_PORT: NonZeroU16 = NonZeroU16::MIN.saturating_add(6442);

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            namespace: "xvip-system".to_owned(),
            timing: Timing::default(),
            max_announcers: MAX_ANNOUNCERS,
            on_api_loss: OnApiLoss::default(),
            services: Services::default(),
            control_plane: None,
        }
    }
}

impl Default for Services {
    fn default() -> Self {
        Self {
            load_balancer_classes: vec!["xvip.io/vip".to_owned()],
            default: true,
            namespaces: Vec::new(),
        }
    }
}

impl Services {
    /// No Service is served: neither one with a class nor one without.
    pub fn none(&self) -> bool {
        self.load_balancer_classes.is_empty() && !self.default
    }
}

impl Sources<'_> {
    pub(super) fn kubernetes(&mut self, prefix: PrefixPolicy) -> Kubernetes {
        let default = Kubernetes::default();
        Kubernetes {
            kubeconfig: self
                .one(Key::Kubeconfig, |given| {
                    given.string("/etc/kubernetes/admin.conf")
                })
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            namespace: self
                .one(Key::Namespace, |given| namespace(given).map(str::to_owned))
                .unwrap_or(default.namespace),
            timing: self.timing(),
            max_announcers: self
                .one(Key::LeaseMaxAnnouncers, |given| {
                    given.number("not a number of nodes, 1 or more", "8")
                })
                .unwrap_or(default.max_announcers),
            on_api_loss: self
                .word(
                    Key::OnApiLoss,
                    &[("hold", OnApiLoss::Hold), ("fence", OnApiLoss::Fence)],
                )
                .unwrap_or_default(),
            services: Services {
                load_balancer_classes: self
                    .get(Key::ServicesLoadBalancerClasses, |given, problems| {
                        texts(given, "[xvip.io/vip]", class, problems)
                    })
                    .unwrap_or(default.services.load_balancer_classes),
                default: self
                    .one(Key::ServicesDefault, Given::boolean)
                    .unwrap_or(default.services.default),
                namespaces: self
                    .get(Key::ServicesNamespaces, |given, problems| {
                        texts(given, "[default]", namespace, problems)
                    })
                    .unwrap_or_default(),
            },
            control_plane: self.control_plane(prefix),
        }
    }

    fn timing(&mut self) -> Timing {
        let default = Timing::default();
        let known = self.errors.len();
        let mut time = |key, example, default| {
            self.one(key, |given| given.duration(example))
                .unwrap_or(default)
        };
        let duration = time(Key::LeaseDuration, "5s", default.duration());
        let renew = time(Key::LeaseRenew, "1500ms", default.renew());
        let hold = time(Key::LeaseHold, "4s", default.hold());
        Timing::new(duration, renew, hold).unwrap_or_else(|error| {
            // A time that could not be read has its own problem, and a default in its place.
            if self.errors.len() == known {
                self.errors.push(self.timing_problem(error));
            }
            default
        })
    }

    fn timing_problem(&self, error: TimingError) -> Problem {
        let (key, value, fix) = match error {
            TimingError::NotWholeSeconds(duration) => (
                Key::LeaseDuration,
                duration,
                "write whole seconds, as in 5s: a Lease counts no less".to_owned(),
            ),
            TimingError::RenewalTooRare { renew, hold } => (
                Key::LeaseRenew,
                renew,
                format!("write about a third of `lease.hold`: {}", written(hold / 3)),
            ),
            TimingError::HoldTooLong { hold, limit, .. } => (
                Key::LeaseHold,
                hold,
                format!(
                    "write less, as in {}, or raise `lease.duration` on every node first",
                    written(limit * 5 / 6)
                ),
            ),
        };
        let given = self.given(key).into_iter().next();
        let field = given.map_or_else(|| key.path().to_owned(), |given| given.field);
        Problem::new(field, written(value), error.to_string(), fix)
    }

    fn control_plane(&mut self, prefix: PrefixPolicy) -> Option<ControlPlane> {
        let addresses = self
            .get(Key::ControlPlaneAddresses, |given, problems| {
                let elements = collected(given.list("[192.0.2.10]"), problems)?;
                let mut seen = HashMap::new();
                let read = |element| collected(vip(element, prefix, &mut seen), problems);
                Some(elements.iter().filter_map(read).collect::<Vec<IpAddr>>())
            })
            .unwrap_or_default();
        let port = self
            .one(Key::ControlPlanePort, |given| {
                given.number("not a port from 1 to 65535", "6443")
            })
            .unwrap_or(API_PORT);
        (!addresses.is_empty()).then_some(ControlPlane { addresses, port })
    }
}

/// In milliseconds where it is not whole seconds, as it is written in the file.
pub fn written(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{}s", time.as_secs())
    } else {
        format!("{}ms", time.as_millis())
    }
}

fn texts<'a>(
    given: &Given<'a>,
    example: &str,
    read: fn(&Given<'a>) -> Result<&'a str, Problem>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<String>> {
    let elements = collected(given.list(example), problems)?;
    let mut texts = all(&elements, problems, |element| {
        read(element).map(str::to_owned)
    });
    texts.dedup();
    Some(texts)
}

/// The name of a namespace: an RFC 1123 label.
fn namespace<'a>(given: &Given<'a>) -> Result<&'a str, Problem> {
    let name = given.string("xvip-system")?;
    if label(name, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), "-") {
        Ok(name)
    } else {
        let fix = "write up to 63 lower case letters, digits and inner hyphens";
        Err(given.problem("not a name of a namespace", fix))
    }
}

/// A load balancer class: a label's key, with or without a domain before the slash.
fn class<'a>(given: &Given<'a>) -> Result<&'a str, Problem> {
    let class = given.string("xvip.io/vip")?;
    let (domain, name) = match class.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, class),
    };
    let is_domain = |domain: &str| {
        domain.len() <= 253
            && domain
                .split('.')
                .all(|part| label(part, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), "-"))
    };
    if domain.is_none_or(is_domain) && label(name, |c| c.is_ascii_alphanumeric(), "-_.") {
        Ok(class)
    } else {
        let fix = "write it as in `spec.loadBalancerClass`, for example xvip.io/vip";
        Err(given.problem("not a load balancer class", fix))
    }
}

/// 1 to 63 characters, and `inner` ones neither first nor last.
fn label(text: &str, outer: fn(char) -> bool, inner: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.chars().all(|c| outer(c) || inner.contains(c))
        && text.starts_with(outer)
        && text.ends_with(outer)
}

#[cfg(test)]
#[path = "kubernetes_tests.rs"]
mod tests;
