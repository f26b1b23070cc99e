//! The pools of kube-vip's cloud provider: the ConfigMap `kubevip`.
//!
//! It looks for `cidr-NAMESPACE`, `cidr-global`, `range-NAMESPACE`, `range-global` and takes the
//! first that there is: ranges are dead beside a global CIDR. A namespace with a pool of its own
//! never takes from the global one.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Draft,
    objects::{Object, Objects},
    spans::Span,
};
use crate::api::VipPoolSpec;

const NAME: &str = "kubevip";
const GLOBAL: &str = "global";
/// The name of the pool that was the global one.
const DEFAULT: &str = "default";

pub(super) fn convert(objects: &Objects, draft: &mut Draft) {
    for object in objects.of("ConfigMap").filter(|object| object.name == NAME) {
        Pools {
            shown: object.shown(),
            data: object.entries("/data"),
        }
        .convert(draft);
        refuse_binary(object, draft);
    }
}

fn refuse_binary(object: &Object, draft: &mut Draft) {
    for (key, value) in object.entries("/binaryData") {
        let why = ("pools are texts", "write it under `data`");
        draft.refuse(format!("{}: {key}", object.shown()), value, why);
    }
}

struct Pools {
    shown: String,
    data: BTreeMap<String, String>,
}

impl Pools {
    fn field(&self, key: &str) -> String {
        format!("{}: {key}", self.shown)
    }

    fn convert(&self, draft: &mut Draft) {
        let mut namespaces = BTreeSet::new();
        for (key, value) in &self.data {
            match key.split_once('-') {
                Some(("cidr" | "range" | "interface", namespace)) => {
                    namespaces.insert(namespace);
                }
                _ => self.setting(key, value, draft),
            }
        }
        let takes = |namespace: &str| {
            let keys = [
                format!("cidr-{namespace}"),
                format!("cidr-{GLOBAL}"),
                format!("range-{namespace}"),
                format!("range-{GLOBAL}"),
            ];
            keys.into_iter().find(|key| self.data.contains_key(key))
        };
        for namespace in &namespaces {
            let taken = takes(namespace);
            for kind in ["cidr", "range"] {
                let key = format!("{kind}-{namespace}");
                let Some(value) = self.data.get(&key) else {
                    continue;
                };
                match &taken {
                    Some(taken) if *taken == key => self.pool(&key, namespace, draft),
                    Some(other) => {
                        let message = format!(
                            "no effect in kube-vip's cloud provider, which takes {other} before it: not converted"
                        );
                        draft.warn(self.field(&key), value, message);
                    }
                    None => {}
                }
            }
            self.interface_alone(namespace, taken.as_deref(), draft);
        }
    }

    fn pool(&self, key: &str, namespace: &str, draft: &mut Draft) {
        let value = self.data.get(key).map(String::as_str).unwrap_or_default();
        let mut addresses = Vec::new();
        for part in value
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            match Span::parse(part) {
                Ok(span) => {
                    let skips = self.is_true("skip-end-ips-in-cidr");
                    let span = if skips { span.without_ends() } else { span };
                    addresses.push(span.written());
                }
                Err(why) => {
                    let fix = "correct it, or remove it";
                    draft.refuse(self.field(key), part, (why, fix));
                }
            }
        }
        addresses.dedup();
        let is_global = namespace == GLOBAL;
        let interface = self.data.get(&format!("interface-{namespace}"));
        let interface = interface.or_else(|| self.data.get(&format!("interface-{GLOBAL}")));
        let name = if is_global { DEFAULT } else { namespace };
        let spec = VipPoolSpec {
            addresses,
            namespaces: (!is_global)
                .then(|| namespace.to_owned())
                .into_iter()
                .collect(),
            interfaces: interface
                .filter(|name| !name.trim().is_empty() && name.trim() != "auto")
                .map(|name| name.trim().to_owned())
                .into_iter()
                .collect(),
            auto_assign: true,
            ..VipPoolSpec::default()
        };
        if !is_global && self.data.keys().any(|key| key.ends_with("-global")) {
            let message = "Services of this namespace take from the pool `default` once this one is \
                           exhausted; kube-vip's cloud provider leaves them without an address";
            draft.warn(self.field(key), value, message);
        }
        draft.pool(&self.field(key), name, spec);
    }

    /// An interface of a namespace that takes from the global pool.
    fn interface_alone(&self, namespace: &str, taken: Option<&str>, draft: &mut Draft) {
        let key = format!("interface-{namespace}");
        let Some(value) = self.data.get(&key).filter(|_| namespace != GLOBAL) else {
            return;
        };
        let own = taken.is_some_and(|taken| taken.ends_with(&format!("-{namespace}")));
        if !own {
            let why = (
                "interfaces belong to a pool, and this namespace has none of its own",
                "give it a pool, or annotate its Services: xvip.io/interfaces",
            );
            draft.refuse(self.field(&key), value, why);
        }
    }

    fn is_true(&self, key: &str) -> bool {
        let value = self.data.get(key).map(|value| value.trim());
        matches!(value, Some("true" | "True" | "TRUE" | "t" | "T" | "1"))
    }

    fn setting(&self, key: &str, value: &str, draft: &mut Draft) {
        let field = self.field(key);
        if key == "skip-end-ips-in-cidr" {
            // Taken into account by the pools.
        } else if key == "search-order" {
            if value.trim() == "desc" {
                draft.warn(
                    field,
                    value,
                    "no effect: the lowest free address is given first",
                );
            }
        } else if key.starts_with("allow-share-") {
            if self.is_true(key) {
                let message = "no effect: Services share an address when they have the same \
                               xvip.io/share-key; those that share one now keep it";
                draft.warn(field, value, message);
            }
        } else if key == "kubevip-services" {
            // What an old version noted for itself.
        } else {
            draft.warn(
                field,
                value,
                "no effect: unknown to kube-vip's cloud provider, too",
            );
        }
    }
}
