//! The packages: chart and flat manifest say what the agent's own manifests say, Helm and a real
//! API server take them, and values that make no sense are refused.
//!
//! `XVIP_BLESS=1` (`cargo xtask manifests --bless`) writes what is generated anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    env, fs,
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tests::{
    agent,
    kubernetes::ControlPlane,
    packages::{CHART, FLAT, Helm, NAMESPACE, object, objects, parts, repository},
};
use vip_agent::manifest;

/// Sets of values that users have; each is linted, rendered and given to the API server.
const VALUES: [(&str, &[&str]); 5] = [
    ("default", &[]),
    ("k3s", &["--values", "deploy/helm/xvip/values-k3s.yaml"]),
    ("rke2", &["--values", "deploy/helm/xvip/values-rke2.yaml"]),
    ("everything", &["--values", "tests/values/everything.yaml"]),
    (
        "least",
        &[
            "--set",
            "crds.install=false,flowSchema.enabled=false,admissionPolicy.enabled=false,\
             metrics.enabled=false",
        ],
    ),
];
const IMAGE: &str = concat!("vip-agent:v", env!("CARGO_PKG_VERSION"));

/// Compares a file with what it should be, or writes it.
fn is_current(path: &str, text: &str) {
    let file = repository(path);
    if env::var_os("XVIP_BLESS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        return;
    }
    let is = fs::read_to_string(file).unwrap_or_default();
    let differs = is.lines().zip(text.lines()).find(|(is, new)| is != new);
    assert!(
        is == text,
        "{path} is not what it is made from; the first difference: {differs:?}\n\
         `cargo xtask manifests --bless` writes it anew"
    );
}

#[test]
fn parts_of_the_chart_are_what_their_sources_say() {
    for part in parts() {
        is_current(&format!("{CHART}/{}", part.path), &part.text);
    }
}

#[test]
#[ignore = "needs Helm"]
fn the_flat_manifest_is_the_chart_as_it_comes() {
    let helm = Helm::find().unwrap();
    let rendered = helm.template(&["--set", "namespace.create=true"]).unwrap();
    let text = format!(
        "# The chart deploy/helm/xvip, rendered by `cargo xtask manifests --bless`.\n{rendered}"
    );
    is_current(FLAT, &text);
}

/// Without what Helm alone understands, or what restarts Pods.
fn without_annotations(mut object: Value) -> Value {
    for at in ["/metadata", "/spec/template/metadata"] {
        if let Some(metadata) = object.pointer_mut(at).and_then(Value::as_object_mut) {
            metadata.remove("annotations");
        }
    }
    object
}

#[test]
#[ignore = "needs Helm"]
fn the_chart_installs_what_the_agent_prints_and_nothing_else() {
    let helm = Helm::find().unwrap();
    for beside in [false, true] {
        let enabled = format!("controlPlane.enabled={beside},namespace.create=true");
        let mut rendered = objects(&helm.template(&["--set", &enabled]).unwrap());
        for printed in [
            manifest::crds(),
            manifest::rbac(NAMESPACE),
            manifest::daemon_set(NAMESPACE, IMAGE, beside),
        ] {
            for expected in printed.unwrap().objects() {
                let place = rendered.iter().position(|object| {
                    let name =
                        |of: &Value| [&of["kind"], &of["metadata"]["name"]].map(Value::clone);
                    name(object) == name(expected)
                        && object["metadata"]["namespace"] == expected["metadata"]["namespace"]
                });
                let place = place.unwrap_or_else(|| panic!("not in the chart: {expected}"));
                let got = without_annotations(rendered.remove(place));
                let expected = without_annotations(expected.clone());
                assert_eq!(got, expected, "{got:#}\n{expected:#}");
            }
        }
        assert_eq!(rendered, Vec::<Value>::new());
    }
}

#[test]
#[ignore = "needs Helm"]
fn lint_has_nothing_to_say() {
    let helm = Helm::find().unwrap();
    for (name, values) in VALUES {
        let said = helm.run(&[&["lint", "--strict", CHART], values].concat());
        let said = said.unwrap();
        for word in ["[WARNING]", "[ERROR]"] {
            assert!(!said.contains(word), "{name}: {said}");
        }
        assert!(
            said.contains("1 chart(s) linted, 0 chart(s) failed"),
            "{said}"
        );
    }
}

#[test]
#[ignore = "needs Helm"]
fn values_that_make_no_sense_are_refused_by_name() {
    let helm = Helm::find().unwrap();
    for (given, said) in [
        ("imagee.tag=v1", "imagee"),
        ("image.digest=latest", "digest"),
        ("config.ownership=static", "ownership"),
        ("config.interfaces=eth0", "interfaces"),
        ("config.lease.duration=5", "duration"),
        ("config.attach=xdp", "attach"),
        ("config.prefix=129", "prefix"),
        ("config.prefix.ipv4=64", "prefix"),
        ("config.services.classes={a}", "classes"),
        ("controlPlane.enabled=maybe", "controlPlane"),
        ("metrics.port=0", "port"),
        ("updateStrategy.maxUnavailable=0", "maxUnavailable"),
        ("updateStrategy.maxSurge=1", "maxSurge"),
        ("podMonitor.interval=often", "interval"),
        ("tolerations=none", "tolerations"),
    ] {
        let refusal = helm.template(&["--set", given]).unwrap_err().to_string();
        assert!(
            refusal.contains("don't meet the specifications of the schema")
                && refusal.contains(said),
            "{given}: {refusal}"
        );
    }
    let old = helm.template(&["--kube-version", "1.30.0"]).unwrap_err();
    assert!(old.to_string().contains("1.31"), "{old}");
}

/// What `vip-agent check` says of a configuration.
fn checked(config: &str) -> Value {
    let mut check = Command::new(agent::binary());
    check.args(["check", "--config", "/dev/stdin", "-o", "json"]);
    // The tests' own variables look like its keys.
    let mut child = check
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(config.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
#[ignore = "needs Helm and the agent"]
fn every_configuration_that_the_schema_lets_through_is_one_for_the_agent() {
    let helm = Helm::find().unwrap();
    for (name, values) in VALUES {
        let rendered = objects(&helm.template(values).unwrap());
        let map = object(&rendered, "ConfigMap", manifest::ACCOUNT);
        let report = checked(map["data"][manifest::CONFIG_KEY].as_str().unwrap());
        assert_eq!(report["ok"], true, "{name}: {report:#}");
        let strange = report["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|warning| {
                // The interfaces of this machine are none of the values' business.
                !warning["field"].as_str().unwrap().starts_with("interfaces")
            });
        assert_eq!(strange.count(), 0, "{name}: {report:#}");
    }
    // Whatever the schema offers, the agent knows: "everything" sets each key.
    let schema = fs::read_to_string(repository(CHART).join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let offered = schema["properties"]["config"]["properties"]
        .as_object()
        .unwrap();
    let everything = fs::read_to_string(repository("tests/values/everything.yaml")).unwrap();
    let everything = objects(&everything).remove(0);
    for key in offered.keys() {
        assert!(!everything["config"][key].is_null(), "{key}");
    }
}

#[test]
#[ignore = "needs Helm"]
fn beside_static_pods_no_term_of_the_affinity_leads_to_the_control_plane() {
    let helm = Helm::find().unwrap();
    let rendered = helm.template(&["--values", "tests/values/everything.yaml"]);
    let rendered = objects(&rendered.unwrap());
    let set = object(&rendered, "DaemonSet", manifest::ACCOUNT);
    let affinity = &set["spec"]["template"]["spec"]["affinity"];
    let node = &affinity["nodeAffinity"];
    let terms = &node["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let terms = terms.as_array().unwrap();
    assert_eq!(terms.len(), 2);
    let rule = json!({"key": "node-role.kubernetes.io/control-plane", "operator": "DoesNotExist"});
    for term in terms {
        let rules = term["matchExpressions"].as_array().unwrap();
        assert_eq!((rules.len(), rules.last()), (2, Some(&rule)));
    }
    assert!(!node["preferredDuringSchedulingIgnoredDuringExecution"].is_null());
}

#[test]
#[ignore = "needs Helm"]
fn alerts_and_dashboard_arrive_as_they_are() {
    let helm = Helm::find().unwrap();
    let rendered = helm.template(&["--values", "tests/values/everything.yaml"]);
    let rendered = objects(&rendered.unwrap());
    let source = |path: &str| fs::read_to_string(repository(path)).unwrap();
    let rules = source("deploy/prometheus/xvip.rules.yaml");
    let rules = rules.replace("docs/runbooks/", "https://example.org/runbooks/");
    let alerts = object(&rendered, "PrometheusRule", "xvip");
    assert_eq!(alerts["spec"], objects(&rules)[0]);
    let dashboard = object(&rendered, "ConfigMap", "xvip-dashboard");
    let json: Value =
        serde_json::from_str(dashboard["data"]["xvip.json"].as_str().unwrap()).unwrap();
    let expected: Value = serde_json::from_str(&source("deploy/grafana/xvip.json")).unwrap();
    assert_eq!(json, expected);
}

#[test]
#[ignore = "needs root"]
fn a_real_api_server_takes_chart_and_flat_manifest() {
    let helm = Helm::find().unwrap();
    let control = ControlPlane::start(&[]).unwrap();
    control.apply(&source_of_operator_definitions()).unwrap();
    // What is only tried makes no namespace for the rest.
    control
        .kubectl(&["create", "namespace", NAMESPACE], "")
        .unwrap();
    let try_out = |text: &str| {
        let arguments = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
        control.kubectl(&arguments, text).unwrap()
    };
    for (name, values) in VALUES {
        let rendered = helm.template(values).unwrap();
        let taken = try_out(&rendered);
        let count = objects(&rendered).len();
        assert_eq!(taken.lines().count(), count, "{name}: {taken}");
    }
    let flat = fs::read_to_string(repository(FLAT)).unwrap();
    try_out(&flat);
    // In earnest, twice: the second time nothing changes. kubectl sends a policy's rules again, whose
    // list it cannot compare with what the server added to it.
    control.apply(&flat).unwrap();
    let again = control.apply(&flat).unwrap();
    let sent_again = "validatingadmissionpolicy.admissionregistration.k8s.io/";
    for line in again.lines().filter(|line| !line.starts_with(sent_again)) {
        assert!(line.ends_with(" unchanged"), "{line}");
    }
    let labels = control.kubectl(&["get", "namespace", NAMESPACE, "-o", "json"], "");
    let labels: Value = serde_json::from_str(&labels.unwrap()).unwrap();
    let level = &labels["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(level, "privileged");
}

/// The kinds of the Prometheus operator, any content: the bed has no operator.
fn source_of_operator_definitions() -> String {
    let definition = |kind: &str, plural: &str| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
            "spec": {
                "group": "monitoring.coreos.com",
                "names": {"kind": kind, "plural": plural},
                "scope": "Namespaced",
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    }},
                }],
            },
        })
    };
    let items = [
        definition("PodMonitor", "podmonitors"),
        definition("PrometheusRule", "prometheusrules"),
    ];
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}
