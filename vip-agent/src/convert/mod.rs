//! `vip-agent convert kube-vip|metallb`: another load balancer's settings as ours.
//!
//! Everything is judged by the code that will judge it in the cluster: kube-vip's environment by
//! `config`, Services and pools by `cluster`, which decides over them as the allocator would. So
//! what is converted here is taken there, and every Service that would not keep its addresses is
//! named before anything is installed.
//!
//! | file | reads |
//! |---|---|
//! | `objects.rs` | manifests and environment files |
//! | `kube_vip.rs` | kube-vip's Pods |
//! | `cloud_provider.rs` | the pools of kube-vip's cloud provider |
//! | `metallb.rs`, `legacy.rs` | MetalLB's pools and advertisements, as objects and in its old ConfigMap |
//! | `services.rs` | Services, for both |
//! | `spans.rs`, `settings.rs` | writes addresses and settings in our form |

mod cloud_provider;
mod kube_vip;
mod legacy;
mod metallb;
mod objects;
mod services;
mod settings;
mod spans;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use self::objects::Objects;
pub use self::objects::Source;
use crate::{
    api::VipPoolSpec,
    config::{Problem, Warning},
    manifest::{ACCOUNT, CONFIG_KEY, NAMESPACE},
};

/// Whose settings are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// kube-vip, and its cloud provider.
    KubeVip,
    /// MetalLB in layer 2 mode.
    MetalLb,
}

/// What `vip-agent convert -o json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "vip-agent convert")]
pub struct Conversion {
    /// Nothing is refused.
    pub ok: bool,
    /// The agents' configuration: the keys that differ from the defaults.
    pub configuration: Map<String, Value>,
    /// `VipPool`s.
    pub pools: Vec<Value>,
    /// Commands for what no object says.
    pub steps: Vec<String>,
    /// What is converted, and not as its author may believe.
    pub warnings: Vec<Warning>,
    /// What is refused, each with the reason and what to do.
    pub errors: Vec<Problem>,
}

/// A conversion that is being made.
#[derive(Debug, Default)]
struct Draft {
    configuration: Map<String, Value>,
    pools: BTreeMap<String, VipPoolSpec>,
    steps: Vec<String>,
    warnings: Vec<Warning>,
    errors: Vec<Problem>,
}

/// Converts what the sources hold; what does not concern the peer is left out without a word.
pub fn convert(peer: Peer, sources: &[Source]) -> Conversion {
    let mut draft = Draft::default();
    let objects = Objects::read(sources, &mut draft.errors);
    match peer {
        Peer::KubeVip => {
            kube_vip::convert(&objects, &mut draft);
            cloud_provider::convert(&objects, &mut draft);
        }
        Peer::MetalLb => {
            legacy::convert(&objects, &mut draft);
            metallb::convert(&objects, &mut draft);
            draft.set("ownership", json!("kubernetes"));
            // Its speakers go on answering until they end.
            draft.set("adopt", json!(["metallb"]));
        }
    }
    services::convert(peer, &objects, &mut draft);
    if objects.is_empty() && draft.errors.is_empty() {
        draft.errors.push(Problem::new(
            "input",
            "",
            "it holds no settings",
            "name files with -f, or pipe `kubectl get -o yaml` into it",
        ));
    }
    draft.finish()
}

impl Draft {
    fn warn(&mut self, field: impl Into<String>, value: impl ToString, message: impl Into<String>) {
        let value = value.to_string();
        self.warnings.push(Warning::new(field, value, message));
    }

    fn refuse(&mut self, field: impl Into<String>, value: impl ToString, why: (&str, &str)) {
        let (message, fix) = why;
        let problem = Problem::new(field, value.to_string(), message, fix);
        self.errors.push(problem);
    }

    /// Sets a key of the file.
    fn set(&mut self, key: &str, value: Value) {
        self.configuration.insert(key.to_owned(), value);
    }

    /// Adds a pool under a name that is none other's.
    fn pool(&mut self, field: &str, name: &str, spec: VipPoolSpec) {
        if spec.addresses.is_empty() {
            return;
        }
        if self.pools.contains_key(name) {
            let why = ("there are two pools of this name", "rename one of them");
            self.refuse(field, name, why);
            return;
        }
        self.pools.insert(name.to_owned(), spec);
    }

    fn finish(self) -> Conversion {
        let pools = self.pools.into_iter().map(|(name, spec)| {
            json!({
                "apiVersion": "xvip.io/v1alpha1",
                "kind": "VipPool",
                "metadata": {"name": name},
                "spec": spec,
            })
        });
        Conversion {
            ok: self.errors.is_empty(),
            configuration: self.configuration,
            pools: pools.collect(),
            steps: self.steps,
            warnings: self.warnings,
            errors: self.errors,
        }
    }
}

impl Conversion {
    /// What `kubectl apply -f -` takes, after the manifests of the agent, with the steps as
    /// comments before it.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        let mut text = String::new();
        for step in &self.steps {
            for (number, line) in step.lines().enumerate() {
                text += if number == 0 { "# - " } else { "#   " };
                text += line;
                text.push('\n');
            }
        }
        let config = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": ACCOUNT,
                "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/name": "xvip"},
            },
            "data": {CONFIG_KEY: serde_saphyr::to_string(&self.configuration)?},
        });
        let config = (!self.configuration.is_empty()).then_some(&config);
        for object in config.into_iter().chain(&self.pools) {
            text += "---\n";
            text += &serde_saphyr::to_string(object)?;
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
        Ok(text)
    }
}
