//! What `kubectl apply -f -` takes: definitions, permissions, and the agent's Pods.
//!
//! Everything is built from Kubernetes' own types, so that a field that does not exist does not
//! compile.

mod admission;
mod cleanup;
mod flow;
mod pod;
mod rbac;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

pub use self::cleanup::{CLEANUP, cleanup};
pub use self::pod::{CONFIG_KEY, DAEMON_SET_CONFIG, StaticPod, daemon_set, static_pod};
use crate::api;

/// Name of the service account, and of most objects beside it.
pub const ACCOUNT: &str = "xvip-agent";
/// The agent's namespace, unless another is asked for.
pub const NAMESPACE: &str = "xvip-system";
/// The Lease of control-plane VIPs, in [`CONTROL_PLANE_NAMESPACE`].
pub const CONTROL_PLANE_LEASE: &str = "xvip-control-plane";
/// Exists before anything of ours does.
pub const CONTROL_PLANE_NAMESPACE: &str = "kube-system";

/// A document that cannot be written.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// As JSON, on the way.
    #[error("writing a manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// As YAML.
    #[error("writing a manifest as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// Objects in the order in which they are to be created.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest(Vec<Value>);

impl Manifest {
    /// Of objects that are there already.
    pub fn of(objects: Vec<Value>) -> Self {
        Self(objects)
    }

    fn add(&mut self, object: impl Serialize) -> Result<(), ManifestError> {
        self.0.push(serde_json::to_value(object)?);
        Ok(())
    }

    /// All but the objects of a kind.
    pub fn without(mut self, kind: &str) -> Self {
        self.0.retain(|object| object["kind"] != kind);
        self
    }

    /// The objects as JSON.
    pub fn objects(&self) -> &[Value] {
        &self.0
    }

    /// YAML documents.
    pub fn to_yaml(&self) -> Result<String, ManifestError> {
        let mut text = String::new();
        for object in &self.0 {
            text.push_str("---\n");
            text.push_str(&serde_saphyr::to_string(object)?);
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
        Ok(text)
    }
}

/// The definitions of [`crate::api`].
pub fn crds() -> Result<Manifest, ManifestError> {
    let mut manifest = Manifest::default();
    for mut definition in api::definitions() {
        definition.metadata.labels = metadata("").labels;
        manifest.add(definition)?;
    }
    Ok(manifest)
}

/// The namespace, the service account, what it may do, and who beside it may not.
pub fn rbac(namespace: &str) -> Result<Manifest, ManifestError> {
    let mut manifest = Manifest::default();
    rbac::add(&mut manifest, namespace)?;
    flow::add(&mut manifest, namespace)?;
    admission::add(&mut manifest, namespace)?;
    Ok(manifest)
}

/// A name and the labels that all objects carry.
fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some([label()].into()),
        ..ObjectMeta::default()
    }
}

fn metadata_in(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        ..metadata(name)
    }
}

fn label() -> (String, String) {
    ("app.kubernetes.io/name".to_owned(), "xvip".to_owned())
}

/// Several texts, owned.
fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).into()
}

#[cfg(test)]
mod tests;
