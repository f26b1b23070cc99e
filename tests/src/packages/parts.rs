//! The files of the chart that are generated: each has its source elsewhere.

use std::fs;

use serde_json::Value;
use vip_agent::manifest::{self, Manifest};

use super::repository;

/// A name that stands for the namespace of the release, and nowhere else.
const NAMESPACE: &str = "namespace-of-the-release";
const POLICY: &str = "helm.sh/resource-policy";

/// A generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Below the chart.
    pub path: &'static str,
    /// What stands in it.
    pub text: String,
}

/// All of them.
///
/// # Panics
/// When a source is not there.
pub fn parts() -> Vec<Part> {
    let permissions = manifest::rbac(NAMESPACE).unwrap();
    let of = |kinds: &[&str]| -> Vec<Value> {
        let objects = permissions.objects().iter();
        let of_kinds = objects.filter(|object| kinds.iter().any(|kind| object["kind"] == *kind));
        of_kinds.cloned().collect()
    };
    let kept = |mut objects: Vec<Value>| {
        for object in &mut objects {
            object["metadata"]["annotations"][POLICY] = "keep".into();
        }
        objects
    };
    let namespace = of(&["Namespace"]);
    let lane = of(&["PriorityLevelConfiguration", "FlowSchema"]);
    let policy = of(&[
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ]);
    let special = [&namespace[..], &lane, &policy].concat();
    let rest = permissions.objects().iter().cloned();
    let rest: Vec<_> = rest.filter(|object| !special.contains(object)).collect();
    let definitions = manifest::crds().unwrap().objects().to_vec();
    vec![
        template(
            "templates/crds.yaml",
            Some("crds.install"),
            &kept(definitions),
        ),
        template(
            "templates/namespace.yaml",
            Some("namespace.create"),
            &kept(namespace),
        ),
        template("templates/rbac.yaml", None, &rest),
        template(
            "templates/flowschema.yaml",
            Some("flowSchema.enabled"),
            &lane,
        ),
        template(
            "templates/admissionpolicy.yaml",
            Some("admissionPolicy.enabled"),
            &policy,
        ),
        copy("files/xvip.rules.yaml", "deploy/prometheus/xvip.rules.yaml"),
        copy("files/xvip.json", "deploy/grafana/xvip.json"),
    ]
}

fn template(path: &'static str, when: Option<&str>, objects: &[Value]) -> Part {
    assert!(!objects.is_empty(), "{path}");
    let yaml = Manifest::of(objects.to_vec()).to_yaml().unwrap();
    assert!(!yaml.contains("{{"), "{path}: Helm would read it");
    let yaml = yaml.replace(NAMESPACE, "{{ .Release.Namespace }}");
    let mut text =
        String::from("# Written by `cargo xtask manifests --bless`: change the source.\n");
    match when {
        Some(value) => {
            text.push_str(&format!(
                "{{{{- if .Values.{value} }}}}\n{yaml}{{{{- end }}}}\n"
            ));
        }
        None => text.push_str(&yaml),
    }
    Part { path, text }
}

fn copy(path: &'static str, from: &str) -> Part {
    let text = fs::read_to_string(repository(from)).unwrap();
    Part { path, text }
}
