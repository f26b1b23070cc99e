//! A DaemonSet that removes what the agents left on the nodes, for the end of an installation.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet},
        core::v1::{Container, PodTemplateSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{Manifest, ManifestError, metadata_in, pod, texts};

/// Name of the DaemonSet.
pub const CLEANUP: &str = "xvip-cleanup";

/// A Pod on every node, Ready when nothing of ours is left there. Where an agent still runs it
/// waits for its end. It asks the API server for nothing.
pub fn cleanup(namespace: &str, image: &str) -> Result<Manifest, ManifestError> {
    let labels: BTreeMap<_, _> = [("app.kubernetes.io/name".to_owned(), CLEANUP.to_owned())].into();
    let mut spec = pod::bare_spec(image, CLEANUP, texts(["/vip-agent", "cleanup"]));
    spec.automount_service_account_token = Some(false);
    // It comes first, again and again until it is through; the other keeps the Pod.
    let first = spec
        .containers
        .clone()
        .into_iter()
        .map(|container| Container {
            name: "first".to_owned(),
            ..container
        });
    spec.init_containers = Some(first.collect());
    for container in &mut spec.containers {
        container.args = Some(texts(["--stay"]));
    }
    let mut manifest = Manifest::default();
    manifest.add(DaemonSet {
        metadata: metadata_in(namespace, CLEANUP),
        spec: Some(DaemonSetSpec {
            selector: LabelSelector {
                match_labels: Some(labels.clone()),
                match_expressions: None,
            },
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDaemonSet {
                    max_unavailable: Some(IntOrString::String("100%".to_owned())),
                    max_surge: None,
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(spec),
            },
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    })?;
    Ok(manifest)
}
