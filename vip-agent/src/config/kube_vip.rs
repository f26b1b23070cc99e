//! kube-vip's environment: what takes effect here, what has become of the rest.

use std::collections::BTreeMap;

use super::{
    key::{Key, closest},
    problem::{Problem, Warning},
    reader::Mode,
    source::Given,
};

/// Variables that set a key of ours.
const TRANSLATED: [(&str, Key); 6] = [
    ("vip_subnet", Key::Prefix),
    ("vip_cidr", Key::Prefix),
    ("vip_interface", Key::Interfaces),
    ("vip_nodename", Key::Node),
    ("vip_loglevel", Key::LogLevel),
    ("prometheus_server", Key::Http),
];

/// The address of the control plane there; with static ownership it is a VIP like others.
const ADDRESSES: [&str; 2] = ["address", "vip_address"];

/// Variables that set a key of ours with `ownership: kubernetes`.
const OF_KUBERNETES: [(&str, Key); 9] = [
    // Before the others: what it switches off stays off.
    ("svc_enable", Key::ServicesLoadBalancerClasses),
    ("k8s_config_file", Key::Kubeconfig),
    ("vip_leaseduration", Key::LeaseDuration),
    ("vip_renewdeadline", Key::LeaseHold),
    ("vip_retryperiod", Key::LeaseRenew),
    ("port", Key::ControlPlanePort),
    ("svc_namespace", Key::ServicesNamespaces),
    ("lb_class_name", Key::ServicesLoadBalancerClasses),
    ("lb_class_only", Key::ServicesDefault),
];

/// The class that kube-vip serves when none is named.
const KUBE_VIP_CLASS: &str = "kube-vip.io/kube-vip-class";

/// Variables without effect, or without effect under static ownership, and what to use instead.
const REPLACED: [(&str, &str); 23] = [
    (
        "vip_servicesinterface",
        "no effect: list it in `interfaces` beside that of `vip_interface`; a Service takes the interface whose subnet has its address, or those of its `VipPool` or of `xvip.io/interfaces`",
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
        "no effect: `ownership` says who owns a VIP; static means this node, and with kubernetes a VIP always has one owner",
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
        "no effect: the control plane's Lease lives in kube-system, and those of the agents in `namespace`",
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
    /// With `ownership: kubernetes`.
    cp_enable: Option<(&'a str, &'a str)>,
}

impl<'a> KubeVip<'a> {
    /// Sorts the environment.
    pub(super) fn read(
        environment: &'a BTreeMap<String, String>,
        mode: Mode,
        errors: &mut Vec<Problem>,
        warnings: &mut Vec<Warning>,
    ) -> Self {
        let set = |name: &str| {
            environment
                .get_key_value(name)
                .filter(|(_, value)| !value.trim().is_empty())
                .map(|(name, value)| (name.as_str(), value.as_str()))
        };
        let mut kube_vip = Self::default();
        for (name, key) in TRANSLATED {
            let Some((name, value)) = set(name) else {
                continue;
            };
            match key {
                Key::LogLevel => match log_level(value) {
                    Some(level) => kube_vip.give(key, Given::text(name, level)),
                    None => errors.push(Problem::new(
                        name,
                        value,
                        "not a log level of kube-vip",
                        "write -4, 0, 4 or 8, or set XVIP_LOG_LEVEL",
                    )),
                },
                _ => kube_vip.give(key, Given::text(name, value)),
            }
        }
        kube_vip.cp_enable = set("cp_enable").filter(|_| mode == Mode::Kubernetes);
        for (name, value) in ADDRESSES.into_iter().filter_map(set) {
            match (mode, kube_vip.control_plane()) {
                (Mode::Static, _) => kube_vip.give(Key::Vips, Given::text(name, value)),
                (Mode::Kubernetes, Some(true)) => {
                    kube_vip.give(Key::ControlPlaneAddresses, Given::text(name, value));
                }
                (Mode::Kubernetes, _) => {
                    let message = "no effect without `cp_enable`: write `controlPlane.addresses`";
                    warnings.push(Warning::new(name, value, message));
                }
            }
        }
        if mode == Mode::Kubernetes {
            for (name, key) in OF_KUBERNETES {
                if let Some((name, value)) = set(name) {
                    kube_vip.of_kubernetes(key, name, value, errors);
                }
            }
            kube_vip.services_interface(
                set("vip_servicesinterface"),
                set("vip_interface"),
                warnings,
            );
            if let Some((name, value)) = set("lb_class_only")
                && boolean(value) == Some(true)
                && set("lb_class_name").is_none()
            {
                let message = format!(
                    "Services of {KUBE_VIP_CLASS} are served only where \
                     `services.loadBalancerClasses` lists it"
                );
                warnings.push(Warning::new(name, value, message));
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
        let taken = |name: &str| {
            TRANSLATED.iter().any(|(known, _)| *known == name)
                || ADDRESSES.contains(&name)
                || mode == Mode::Kubernetes
                    && (OF_KUBERNETES.iter().any(|(known, _)| *known == name)
                        || ["cp_enable", "vip_servicesinterface"].contains(&name))
        };
        for (name, value) in environment {
            if value.trim().is_empty() || taken(name) {
                continue;
            }
            if let Some((_, instead)) = REPLACED.iter().find(|(known, _)| known == name) {
                warnings.push(Warning::new(name, value, *instead));
            } else if let Some((_, feature)) = REFUSED.iter().find(|(known, _)| covers(known, name))
            {
                refuse(name, value, feature, errors, warnings);
            } else if BEGINNINGS.iter().any(|start| name.starts_with(start)) {
                warnings.push(Warning::new(name, value, unknown(name)));
            }
        }
        kube_vip
    }

    fn give(&mut self, key: Key, given: Given<'a>) {
        self.given.push((key, given));
    }

    fn of_kubernetes(
        &mut self,
        key: Key,
        name: &'a str,
        value: &'a str,
        errors: &mut Vec<Problem>,
    ) {
        let not_boolean = || Problem::new(name, value, "not true or false", "write true or false");
        match (name, key) {
            ("svc_enable", _) => match boolean(value) {
                Some(true) => {}
                Some(false) => {
                    self.give(Key::ServicesLoadBalancerClasses, Given::text(name, ""));
                    self.give(Key::ServicesDefault, Given::text(name, "false"));
                }
                None => errors.push(not_boolean()),
            },
            (_, Key::ServicesDefault) => match boolean(value) {
                Some(true) => self.give(key, Given::text(name, "false")),
                Some(false) => self.give(key, Given::text(name, "true")),
                None => errors.push(not_boolean()),
            },
            (_, Key::LeaseDuration | Key::LeaseHold | Key::LeaseRenew) => {
                self.give(key, Given::seconds(name, value));
            }
            _ => self.give(key, Given::text(name, value)),
        }
    }

    /// That of Services alone, where no other is given.
    fn services_interface(
        &mut self,
        services: Option<(&'a str, &'a str)>,
        common: Option<(&str, &str)>,
        warnings: &mut Vec<Warning>,
    ) {
        match (services, common) {
            (Some((name, value)), None) => self.give(Key::Interfaces, Given::text(name, value)),
            (Some((name, value)), Some((_, common))) if value.trim() != common.trim() => {
                let message = format!(
                    "no effect beside vip_interface: write `interfaces: [{}, {}]`; a VIP takes \
                     the interface whose subnet has its address",
                    common.trim(),
                    value.trim()
                );
                warnings.push(Warning::new(name, value, message));
            }
            _ => {}
        }
    }

    /// What `cp_enable` says with `ownership: kubernetes`; none where it says nothing.
    fn control_plane(&self) -> Option<bool> {
        boolean(self.cp_enable?.1)
    }

    /// How `cp_enable` contradicts what the other sources say: whether there are addresses.
    pub(super) fn contradiction(&self, addresses: bool) -> Option<Problem> {
        let (name, value) = self.cp_enable?;
        let (message, fix) = match (self.control_plane(), addresses) {
            (Some(true), false) => (
                "the control plane has no address",
                "set `controlPlane.addresses`, or remove cp_enable",
            ),
            (Some(false), true) => (
                "contradicts `controlPlane.addresses`",
                "remove cp_enable, or the addresses",
            ),
            (None, _) => ("not true or false", "write true or false"),
            _ => return None,
        };
        Some(Problem::new(name, value, message, fix))
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
    if boolean(value) == Some(false) {
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

/// As Go's `strconv.ParseBool` reads it.
fn boolean(text: &str) -> Option<bool> {
    match text.trim() {
        "true" | "True" | "TRUE" | "t" | "T" | "1" => Some(true),
        "false" | "False" | "FALSE" | "f" | "F" | "0" => Some(false),
        _ => None,
    }
}

fn unknown(name: &str) -> String {
    let known = TRANSLATED
        .iter()
        .map(|(name, _)| *name)
        .chain(REPLACED.iter().map(|(name, _)| *name))
        .chain(ADDRESSES);
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
