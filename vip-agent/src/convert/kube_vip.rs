//! kube-vip's own settings: the environment of its Pods, or of a service's environment file.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Draft,
    objects::{Object, Objects, shown},
    settings,
};
use crate::config::{self, ControlPlane, Interfaces, Key, Ownership, Problem, Warning};

/// Variables of one node, which every agent finds out by itself.
const OF_NODE: [&str; 1] = ["vip_nodename"];
/// In a Pod the agent acts as its service account; the static Pod's file is a flag of its own.
const CREDENTIALS: &str = "k8s_config_file";
/// Where its metrics are.
const METRICS: &str = "prometheus_server";
/// What the manifest of a static Pod names unless told otherwise.
const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// Of the node of `kubeadm init`, and of no use once that is through.
const SUPER_ADMIN: &str = "/etc/kubernetes/super-admin.conf";
const POD_SPECS: [&str; 2] = ["/spec/template/spec", "/spec"];

/// One process of kube-vip.
struct Process {
    /// Where its settings stand.
    shown: String,
    environment: BTreeMap<String, String>,
}

pub(super) fn convert(objects: &Objects, draft: &mut Draft) {
    let mut processes: Vec<Process> = (objects.environments.iter())
        .map(|(name, environment)| Process {
            shown: name.clone(),
            environment: environment.clone(),
        })
        .collect();
    for object in objects.all() {
        processes.extend(pods(object, draft));
    }
    let planes: Vec<Plane> = processes
        .into_iter()
        .filter_map(|process| process.convert(draft))
        .collect();
    for plane in planes {
        plane.convert(draft);
    }
}

/// The containers of a workload that run kube-vip.
fn pods(object: &Object, draft: &mut Draft) -> Vec<Process> {
    let spec = POD_SPECS
        .iter()
        .find(|spec| object.at(&format!("{spec}/containers")).is_some());
    let Some(spec) = spec else {
        return Vec::new();
    };
    let containers = object.list(&format!("{spec}/containers")).iter();
    let text = |container: &Value, key: &str| shown(container.get(key).unwrap_or(&Value::Null));
    let ours = containers.filter(|container| {
        let of = [text(container, "image"), text(container, "name")];
        of.iter().any(|text| text.contains("kube-vip"))
            && !of.iter().any(|text| text.contains("cloud-provider"))
    });
    ours.map(|container| {
        let shown = object.shown();
        flags(container, &shown, draft);
        let environment = environment(container, &shown, draft);
        Process { shown, environment }
    })
    .collect()
}

/// kube-vip takes flags beside its environment.
fn flags(container: &Value, shown: &str, draft: &mut Draft) {
    let arguments = container.get("args").and_then(Value::as_array);
    let flags = arguments.into_iter().flatten().filter_map(Value::as_str);
    for flag in flags.filter(|argument| argument.starts_with('-')) {
        let why = (
            "flags are not read",
            "write it as the variable that kube-vip documents for it",
        );
        draft.refuse(format!("{shown}: args"), flag, why);
    }
}

fn environment(container: &Value, shown_as: &str, draft: &mut Draft) -> BTreeMap<String, String> {
    let variables = container.get("env").and_then(Value::as_array);
    let mut environment = BTreeMap::new();
    for variable in variables.into_iter().flatten() {
        let name = shown(variable.get("name").unwrap_or(&Value::Null));
        match variable.get("value") {
            Some(value) => drop(environment.insert(name, shown(value))),
            // Of the Pod or its node: found out by the agent.
            None if variable.pointer("/valueFrom/fieldRef").is_some() => {}
            None => {
                let value = variable.get("valueFrom").map(Value::to_string);
                let why = (
                    "its value stands elsewhere",
                    "write the value into a copy of the manifest, and convert that",
                );
                draft.refuse(
                    format!("{shown_as}: {name}"),
                    value.unwrap_or_default(),
                    why,
                );
            }
        }
    }
    if let Some(from) = container.get("envFrom") {
        let why = (
            "variables that stand elsewhere",
            "convert them as a file of NAME=VALUE lines",
        );
        draft.refuse(format!("{shown_as}: envFrom"), from, why);
    }
    environment
}

impl Process {
    fn field(&self, name: &str) -> String {
        format!("{}: {name}", self.shown)
    }

    /// Converts it; what is left is for a static Pod.
    fn convert(mut self, draft: &mut Draft) -> Option<Plane> {
        for name in OF_NODE {
            if let Some(value) = self.environment.remove(name) {
                let message = "left out: the agent takes the name of its node from its Pod";
                draft.warn(self.field(name), value, message);
            }
        }
        if let Some(value) = self.environment.remove(METRICS) {
            let message = "left out: kube-vip listens there while both run; the agents serve /metrics at the address of their node, port 9470";
            draft.warn(self.field(METRICS), value, message);
        }
        let credentials = self.environment.remove(CREDENTIALS);
        let environment = self.environment.clone();
        let flags = [(Key::Ownership, "kubernetes".to_owned())];
        let reading = config::read(&flags, environment, None, "node");
        for Problem {
            field,
            value,
            message,
            fix,
        } in reading.errors()
        {
            draft.refuse(self.field(field), value, (message, fix));
        }
        for Warning {
            field,
            value,
            message,
        } in reading.warnings()
        {
            draft.warn(self.field(field), value, message);
        }
        let config = reading.shown();
        let Ownership::Kubernetes(cluster) = &config.ownership else {
            return None;
        };
        let mut file = settings::file(config);
        // Addresses that kube-vip has bound are taken over, not bound beside it.
        file.insert("adopt".to_owned(), json!(["kube-vip"]));
        let plane = cluster.control_plane.clone().map(|plane| Plane {
            plane,
            interfaces: config.interfaces.clone(),
            credentials,
            file: file.clone(),
        });
        if !cluster.services.none() {
            self.merge(file, draft);
        }
        plane
    }

    /// Two processes say the same, or one of them says nothing.
    fn merge(&self, file: Map<String, Value>, draft: &mut Draft) {
        for (key, value) in file {
            match draft.configuration.get(&key) {
                Some(other) if *other != value => {
                    let message =
                        format!("another kube-vip has {other}, and there is one configuration");
                    let fix = "convert each by itself, and choose";
                    draft.refuse(self.field(&key), value, (&message, fix));
                }
                _ => draft.set(&key, value),
            }
        }
    }
}

const BESIDE: &str = "on the other nodes:\nvip-agent manifest daemonset --beside-static-pods --image IMAGE | kubectl apply -f -";

/// Addresses of the API server, and what the static Pod that answers for them takes.
struct Plane {
    plane: ControlPlane,
    interfaces: Interfaces,
    credentials: Option<String>,
    /// What the process says of the rest.
    file: Map<String, Value>,
}

impl Plane {
    /// The API server's own VIPs are answered by a static Pod, before there is an API server. It
    /// runs the whole agent, so it takes what the others take, where there are others.
    fn convert(self, draft: &mut Draft) {
        let addresses: Vec<String> = self
            .plane
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        let mut command = format!(
            "vip-agent manifest static-pod --image IMAGE --addresses {}",
            addresses.join(",")
        );
        if self.plane.port.get() != 6443 {
            command += &format!(" --port {}", self.plane.port);
        }
        if let Interfaces::Listed(globs) = &self.interfaces {
            let names: Vec<&str> = globs.iter().map(|glob| glob.as_str()).collect();
            command += &format!(" --interfaces {}", names.join(","));
        }
        let usual = |path: &String| [ADMIN, SUPER_ADMIN].contains(&path.as_str());
        if let Some(credentials) = self.credentials.filter(|path| !usual(path)) {
            command += &format!(" --kubeconfig {credentials}");
        }
        let serves = !draft.configuration.is_empty();
        let file = if serves {
            &draft.configuration
        } else {
            &self.file
        };
        let arguments = arguments(file).join(" ");
        draft.steps.push(format!(
            "on every control-plane node, in place of kube-vip's manifest:\n{command} > /etc/kubernetes/manifests/xvip.yaml\nwith these further arguments in it: {arguments}"
        ));
        if serves {
            draft.steps.push(BESIDE.to_owned());
        }
    }
}

/// What the manifest of a static Pod does not say by itself: it has no ConfigMap.
fn arguments(file: &Map<String, Value>) -> Vec<String> {
    let mut arguments = Vec::new();
    for key in Key::ALL {
        let stands_there = [Key::Ownership, Key::Interfaces].contains(&key);
        let mut path = key.path().split('.');
        let value = path.next().and_then(|part| file.get(part));
        let value = path
            .try_fold(value, |value, part| Some(value?.get(part)))
            .flatten();
        if let Some(value) = value.filter(|_| !stands_there) {
            let text = match value {
                Value::Array(parts) => parts.iter().map(shown).collect::<Vec<_>>().join(","),
                other => shown(other),
            };
            arguments.push(format!("{}={text}", key.flag()));
        }
    }
    arguments
}
