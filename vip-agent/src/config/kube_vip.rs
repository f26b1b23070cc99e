//! kube-vip's environment: what takes effect here, what has become of the rest.

use std::collections::BTreeMap;

use super::{
    key::{Key, closest},
    problem::{Problem, Warning},
    source::Given,
};

/// Variables that set a key of ours.
const TRANSLATED: [(&str, Key); 8] = [
    ("vip_subnet", Key::Prefix),
    ("vip_cidr", Key::Prefix),
    ("address", Key::Vips),
    ("vip_address", Key::Vips),
    ("vip_interface", Key::Interfaces),
    ("vip_nodename", Key::Node),
    ("vip_loglevel", Key::LogLevel),
    ("prometheus_server", Key::Http),
];

/// Variables without effect under static ownership, and what to use instead.
const REPLACED: [(&str, &str); 23] = [
    (
        "vip_servicesinterface",
        "no effect without Services: give a VIP its own `interfaces`",
    ),
    (
        "port",
        "no effect: a VIP answers for every port; `controlPlane.port` of `ownership: kubernetes` is its equivalent",
    ),
    (
        "k8s_config_file",
        "no effect: `kubeconfig` of `ownership: kubernetes` is its equivalent",
    ),
    (
        "health_check_port",
        "no effect: `/livez`, `/readyz` and `/healthz` are served at `http`",
    ),
    (
        "vip_arpRate",
        "no effect: it is a pause in milliseconds; xvip announces at once, then by a schedule of its own, and `announceRate` limits frames a second and interface",
    ),
    (
        "vip_leaderelection",
        "no effect: `ownership` says who owns a VIP; static means this node",
    ),
    (
        "vip_leasename",
        "no effect: sessions of `ownership: kubernetes` name their Leases themselves",
    ),
    (
        "vip_leaseduration",
        "no effect: `lease.duration` of `ownership: kubernetes` is its equivalent",
    ),
    (
        "vip_renewdeadline",
        "no effect: `lease.hold` of `ownership: kubernetes` is its equivalent",
    ),
    (
        "vip_retryperiod",
        "no effect: `lease.renew` of `ownership: kubernetes` is its equivalent",
    ),
    (
        "cp_enable",
        "no effect: list the control plane's address under `vips`, or use `controlPlane.addresses` of `ownership: kubernetes`",
    ),
    (
        "cp_namespace",
        "no effect: `namespace` of `ownership: kubernetes` is its equivalent",
    ),
    (
        "svc_enable",
        "no effect: `ownership: kubernetes` serves Services; list addresses under `vips`",
    ),
    (
        "svc_namespace",
        "no effect: `services.namespaces` of `ownership: kubernetes` is its equivalent",
    ),
    (
        "svc_election",
        "no effect: every VIP has an owner of its own with `ownership: kubernetes`",
    ),
    (
        "svc_leasename",
        "no effect: sessions of `ownership: kubernetes` name their Leases themselves",
    ),
    (
        "lb_class_only",
        "no effect: `services.default: false` of `ownership: kubernetes` is its equivalent",
    ),
    (
        "lb_class_name",
        "no effect: `services.loadBalancerClasses` of `ownership: kubernetes` is its equivalent",
    ),
    (
        "enable_node_labeling",
        "no effect: `vip-agent status` and the `Vip` objects say which node holds a VIP",
    ),
    (
        "vip_skipdad",
        "no effect: VIPs are always bound without duplicate address detection, and a rival is found by its frames",
    ),
    (
        "vip_arp",
        "no effect: VIPs are always answered by ARP and Neighbour Discovery",
    ),
    (
        "config_file",
        "not read: it is kube-vip's; write a file for `--config`",
    ),
    ("enable_endpoints", "no effect: remove it"),
];

/// Names whose feature is not here, with the name of the feature. `*` ends a common beginning.
const REFUSED: [(&str, &str); 14] = [
    ("bgp_*", "BGP"),
    ("zebra_*", "BGP by Zebra"),
    ("vip_routingtable*", "announcing by a routing table"),
    ("vip_wireguard", "WireGuard"),
    ("enable_upnp", "UPnP"),
    ("lb_enable", "kube-vip's load balancer"),
    ("lb_port", "kube-vip's load balancer"),
    ("lb_fwdmethod", "kube-vip's load balancer"),
    ("egress_*", "egress by the VIP"),
    ("EGRESS_*", "egress by the VIP"),
    ("dhcp_*", "an address by DHCP"),
    ("dns_mode", "an address by DNS"),
    ("vip_ddns", "an address by DHCP and dynamic DNS"),
    ("mirror_dest_interface", "mirroring"),
];

/// Beginnings of names that only kube-vip uses.
const BEGINNINGS: [&str; 5] = ["vip_", "cp_", "svc_", "lb_", "mpbgp_"];

/// kube-vip's part of the environment. An empty variable counts as not set, as there.
#[derive(Debug, Default)]
pub(super) struct KubeVip<'a> {
    given: Vec<(Key, Given<'a>)>,
}

impl<'a> KubeVip<'a> {
    /// Sorts the environment.
    pub(super) fn read(
        environment: &'a BTreeMap<String, String>,
        errors: &mut Vec<Problem>,
        warnings: &mut Vec<Warning>,
    ) -> Self {
        let set = |name: &str| {
            environment
                .get_key_value(name)
                .filter(|(_, value)| !value.trim().is_empty())
                .map(|(name, value)| (name.as_str(), value.as_str()))
        };
        let mut given = Vec::new();
        for (name, key) in TRANSLATED {
            let Some((name, value)) = set(name) else {
                continue;
            };
            match key {
                Key::LogLevel => match log_level(value) {
                    Some(level) => given.push((key, Given::text(name, level))),
                    None => errors.push(Problem::new(
                        name,
                        value,
                        "not a log level of kube-vip",
                        "write -4, 0, 4 or 8, or set XVIP_LOG_LEVEL",
                    )),
                },
                _ => given.push((key, Given::text(name, value))),
            }
        }
        for pair in [["vip_subnet", "vip_cidr"], ["address", "vip_address"]] {
            if let [Some((name, value)), Some((other, second))] = pair.map(set)
                && value.trim() != second.trim()
            {
                errors.push(Problem::new(
                    other,
                    second,
                    format!("contradicts {name}, which is {value}"),
                    format!("remove {other}"),
                ));
            }
        }
        for (name, value) in environment {
            if value.trim().is_empty() {
                continue;
            }
            if let Some((_, instead)) = REPLACED.iter().find(|(known, _)| known == name) {
                warnings.push(Warning::new(name, value, *instead));
            } else if let Some((_, feature)) = REFUSED.iter().find(|(known, _)| covers(known, name))
            {
                refuse(name, value, feature, errors, warnings);
            } else if BEGINNINGS.iter().any(|start| name.starts_with(start))
                && !TRANSLATED.iter().any(|(known, _)| known == name)
            {
                warnings.push(Warning::new(name, value, unknown(name)));
            }
        }
        Self { given }
    }

    /// What was given for a key.
    pub(super) fn get(&self, key: Key) -> impl Iterator<Item = &Given<'a>> {
        self.given
            .iter()
            .filter(move |(other, _)| *other == key)
            .map(|(_, given)| given)
    }
}

fn covers(known: &str, name: &str) -> bool {
    match known.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => known == name,
    }
}

/// A feature that is not here is refused; one that is switched off is not asked for.
fn refuse(
    name: &str,
    value: &str,
    feature: &str,
    errors: &mut Vec<Problem>,
    warnings: &mut Vec<Warning>,
) {
    if matches!(value.trim(), "false" | "False" | "FALSE" | "f" | "F" | "0") {
        let message = format!("no effect: {feature} is not part of xvip; remove it");
        warnings.push(Warning::new(name, value, message));
    } else {
        errors.push(Problem::new(
            name,
            value,
            format!("{feature} is not part of xvip, which answers by ARP and Neighbour Discovery"),
            format!("remove {name}, or keep kube-vip for this"),
        ));
    }
}

fn unknown(name: &str) -> String {
    let known = TRANSLATED
        .iter()
        .map(|(name, _)| *name)
        .chain(REPLACED.iter().map(|(name, _)| *name));
    match closest(name, known) {
        Some(meant) => format!("no effect: unknown; did you mean `{meant}`?"),
        None => {
            "no effect: unknown; remove it, or see docs/configuration.md for xvip's keys".into()
        }
    }
}

/// kube-vip counted 4 as info and 5 as debug, and since its 1.0 as `log/slog` does: -4 debug,
/// 0 info, 4 warn, 8 error. A 4 may be either, so that it hides nothing.
fn log_level(text: &str) -> Option<&'static str> {
    Some(match text.trim().parse::<i32>() {
        Ok(..0) => "debug",
        Ok(0..=4) => "info",
        Ok(5..=7) => "debug",
        Ok(8..) => "error",
        Err(_) => {
            return ["error", "warn", "info", "debug"]
                .into_iter()
                .find(|level| level.eq_ignore_ascii_case(text.trim()));
        }
    })
}
