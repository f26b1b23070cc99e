//! A configuration as its file: the keys that differ from the defaults.

use serde_json::{Map, Value, json};

use crate::config::{
    Config, Interfaces, Kubernetes, LogLevel, Ownership, PrefixPolicy, Wanted, written,
};

/// The keys that every agent of the cluster may have; those of a node and of the control plane
/// are left out.
pub(super) fn file(config: &Config) -> Map<String, Value> {
    let default = Config::default();
    let mut file = Map::new();
    let mut set = |key: &str, value: Value| file.insert(key.to_owned(), value);
    if let Interfaces::Listed(globs) = &config.interfaces {
        let names: Vec<&str> = globs.iter().map(|glob| glob.as_str()).collect();
        set("interfaces", json!(names));
    }
    if let Some(prefix) = prefix(config.prefix) {
        set("prefix", json!(prefix));
    }
    if config.http != default.http {
        set("http", json!(config.http));
    }
    if config.log.level != default.log.level {
        set("log", json!({"level": level(config.log.level)}));
    }
    if let Ownership::Kubernetes(cluster) = &config.ownership {
        set("ownership", json!("kubernetes"));
        if let Some(lease) = lease(cluster) {
            set("lease", lease);
        }
        let services = services(cluster);
        if !services.is_empty() {
            set("services", Value::Object(services));
        }
    }
    file
}

fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

fn lease(cluster: &Kubernetes) -> Option<Value> {
    let timing = &cluster.timing;
    (*timing != Kubernetes::default().timing).then(|| {
        json!({
            "duration": written(timing.duration()),
            "renew": written(timing.renew()),
            "hold": written(timing.hold()),
        })
    })
}

fn services(cluster: &Kubernetes) -> Map<String, Value> {
    let (services, default) = (&cluster.services, Kubernetes::default().services);
    let mut file = Map::new();
    if services.load_balancer_classes != default.load_balancer_classes {
        let classes = json!(services.load_balancer_classes);
        file.insert("loadBalancerClasses".into(), classes);
    }
    if services.default != default.default {
        file.insert("default".into(), json!(services.default));
    }
    if !services.namespaces.is_empty() {
        file.insert("namespaces".into(), json!(services.namespaces));
    }
    file
}

/// As the key takes it; none for host prefixes, which are the default.
fn prefix(policy: PrefixPolicy) -> Option<String> {
    fn part<const MAX: u8>(wanted: Wanted<MAX>) -> String {
        match wanted {
            Wanted::Host | Wanted::HostInstead(_) => MAX.to_string(),
            Wanted::Given(bits) => bits.get().to_string(),
            Wanted::Auto => "auto".to_owned(),
        }
    }
    let text = format!("{},{}", part(policy.ipv4), part(policy.ipv6));
    match text.as_str() {
        "32,128" => None,
        "auto,auto" => Some("auto".to_owned()),
        _ => Some(text),
    }
}
