//! What a Service asks for: annotations of ours, kube-vip's and MetalLB's, and
//! `spec.loadBalancerIP`.
//!
//! Names are listed by precedence. A later one may repeat what an earlier one says, or a part of
//! it (kube-vip's cloud provider writes the first of two addresses to `loadBalancerIP`, too); what
//! it adds is a contradiction, and nothing new is given until it is gone.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::IpNet;

use super::{
    family::Family,
    refusal::{Refusal, ValueError},
};
use crate::config::{Glob, address};

const ADDRESSES: [&str; 5] = [
    "xvip.io/addresses",
    "kube-vip.io/loadbalancerIPs",
    "metallb.io/loadBalancerIPs",
    "metallb.universe.tf/loadBalancerIPs",
    LOAD_BALANCER_IP,
];
const LOAD_BALANCER_IP: &str = "spec.loadBalancerIP";
const POOL: [&str; 3] = [
    "xvip.io/pool",
    "metallb.io/address-pool",
    "metallb.universe.tf/address-pool",
];
const SHARE_KEY: [&str; 3] = [
    "xvip.io/share-key",
    "metallb.io/allow-shared-ip",
    "metallb.universe.tf/allow-shared-ip",
];
const INTERFACES: [&str; 2] = ["xvip.io/interfaces", "kube-vip.io/serviceInterface"];
const IGNORE: [&str; 2] = ["xvip.io/ignore", "kube-vip.io/ignore"];

/// What a Service asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Addresses that it names, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// The pool that it names.
    pub pool: Option<String>,
    /// It shares its addresses with Services of the same key.
    pub share_key: Option<String>,
    /// Interfaces that may carry its addresses.
    pub interfaces: Vec<Glob>,
}

impl Wish {
    /// The address of a family that it names.
    pub(super) fn named(&self, family: Family) -> Option<IpAddr> {
        let mut addresses = self.addresses.iter().copied();
        addresses.find(|address| Family::of(*address) == family)
    }
}

type Annotations = BTreeMap<String, String>;

/// Whether the Service is to be left alone.
pub(super) fn is_ignored(annotations: &Annotations) -> bool {
    let mut said = IGNORE.iter().filter_map(|name| annotations.get(*name));
    said.any(|value| parse_bool(value) == Some(true))
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" | "" => Some(false),
        _ => None,
    }
}

/// What the Service asks for, or every reason why that cannot be told.
pub(super) fn wish(
    annotations: &Annotations,
    load_balancer_ip: Option<&str>,
) -> Result<Wish, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let said = |field: &'static str| match field {
        LOAD_BALANCER_IP => load_balancer_ip.filter(|text| !text.trim().is_empty()),
        _ => annotations
            .get(field)
            .map(String::as_str)
            .filter(|text| !text.trim().is_empty()),
    };
    let said = |fields: &[&'static str]| -> Vec<(&'static str, &str)> {
        let pairs = fields.iter().map(|field| (*field, said(field)));
        pairs
            .filter_map(|(field, text)| Some((field, text?)))
            .collect()
    };
    for (field, text) in said(&IGNORE) {
        if parse_bool(text).is_none() {
            refusals.push(invalid(field, text, ValueError::NotABool));
        }
    }
    let wish = Wish {
        addresses: addresses(&said(&ADDRESSES), &mut refusals),
        pool: agreed(&said(&POOL), &mut refusals),
        share_key: agreed(&said(&SHARE_KEY), &mut refusals),
        interfaces: interfaces(&said(&INTERFACES), &mut refusals),
    };
    match refusals.is_empty() {
        true => Ok(wish),
        false => Err(refusals),
    }
}

fn invalid(field: &'static str, value: &str, error: ValueError) -> Refusal {
    Refusal::Invalid {
        field,
        value: value.to_owned(),
        error,
    }
}

fn agreed(said: &[(&'static str, &str)], refusals: &mut Vec<Refusal>) -> Option<String> {
    let (first, rest) = said.split_first()?;
    let differing = rest
        .iter()
        .filter(|(_, value)| value.trim() != first.1.trim());
    refusals.extend(differing.map(|other| contradiction(*first, *other)));
    Some(first.1.trim().to_owned())
}

fn contradiction(first: (&'static str, &str), other: (&'static str, &str)) -> Refusal {
    Refusal::Contradiction {
        field: first.0,
        value: first.1.to_owned(),
        other: other.0,
        other_value: other.1.to_owned(),
    }
}

fn addresses(said: &[(&'static str, &str)], refusals: &mut Vec<Refusal>) -> Vec<IpAddr> {
    let mut wanted: Option<((&'static str, &str), Vec<IpAddr>)> = None;
    for (field, text) in said {
        let mut listed = Vec::new();
        for part in text.split(',').map(str::trim) {
            match parse_address(part) {
                Ok(address) if listed.contains(&address) => {}
                Ok(address) => listed.push(address),
                Err(error) => refusals.push(invalid(field, part, error)),
            }
        }
        for family in [Family::Ipv4, Family::Ipv6] {
            if listed.iter().filter(|a| Family::of(**a) == family).count() > 1 {
                refusals.push(Refusal::TwoOfOneFamily {
                    field,
                    value: (*text).to_owned(),
                    family,
                });
            }
        }
        match &wanted {
            None => wanted = Some(((*field, *text), listed)),
            Some((first, wanted)) => {
                if listed.iter().any(|address| !wanted.contains(address)) {
                    refusals.push(contradiction(*first, (*field, *text)));
                }
            }
        }
    }
    wanted.map(|(_, listed)| listed).unwrap_or_default()
}

fn parse_address(text: &str) -> Result<IpAddr, ValueError> {
    let Ok(parsed) = text.parse::<IpAddr>() else {
        return Err(match text.parse::<IpNet>() {
            Ok(_) => ValueError::WithPrefix,
            Err(_) => ValueError::NotAnAddress,
        });
    };
    // kube-vip's way to ask for an address by DHCP.
    if parsed == Ipv4Addr::UNSPECIFIED {
        return Err(ValueError::Dhcp);
    }
    match address::reason(parsed) {
        Some(reason) => Err(ValueError::Unusable(reason)),
        None => Ok(parsed),
    }
}

fn interfaces(said: &[(&'static str, &str)], refusals: &mut Vec<Refusal>) -> Vec<Glob> {
    // kube-vip's `auto` is what we do where nothing is said.
    let said: Vec<_> = said
        .iter()
        .filter(|(_, text)| text.trim() != "auto")
        .copied()
        .collect();
    let Some(names) = agreed(&said, refusals) else {
        return Vec::new();
    };
    let field = said.first().map_or(INTERFACES[0], |(field, _)| *field);
    let mut globs = Vec::new();
    for name in names.split(',').map(str::trim) {
        match Glob::new(name) {
            Ok(glob) if globs.contains(&glob) => {}
            Ok(glob) => globs.push(glob),
            Err(error) => refusals.push(invalid(field, name, ValueError::Interface(error))),
        }
    }
    globs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(annotations: &[(&str, &str)], ip: Option<&str>) -> Result<Wish, Vec<Refusal>> {
        let annotations = annotations
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        wish(&annotations.collect(), ip)
    }

    fn refused(annotations: &[(&str, &str)], ip: Option<&str>) -> String {
        let refusals = asks(annotations, ip).unwrap_err();
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        format!("{}; {}", refusals[0], refusals[0].fix())
    }

    #[test]
    fn an_address_is_read_from_every_annotation_and_from_the_spec() {
        let expected: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap()];
        for name in &ADDRESSES[..4] {
            let wish = asks(&[(name, "192.0.2.1")], None).unwrap();
            assert_eq!(wish.addresses, expected, "{name}");
        }
        assert_eq!(asks(&[], Some("192.0.2.1")).unwrap().addresses, expected);
        assert!(asks(&[], Some("")).unwrap().addresses.is_empty());
    }

    #[test]
    fn addresses_of_both_families_are_listed_with_a_comma() {
        let wish = asks(
            &[("kube-vip.io/loadbalancerIPs", "2001:db8::1, 192.0.2.1")],
            None,
        );
        let expected: Vec<IpAddr> =
            vec!["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        assert_eq!(wish.unwrap().addresses, expected);
    }

    #[test]
    fn a_later_field_may_repeat_a_part_of_an_earlier_one() {
        let both = [("kube-vip.io/loadbalancerIPs", "192.0.2.1,2001:db8::1")];
        let wish = asks(&both, Some("192.0.2.1")).unwrap();
        assert_eq!(wish.addresses.len(), 2);
    }

    #[test]
    fn a_contradiction_names_both_fields_and_the_fix() {
        assert_eq!(
            refused(&[("xvip.io/addresses", "192.0.2.1")], Some("192.0.2.2")),
            "xvip.io/addresses says \"192.0.2.1\", spec.loadBalancerIP says \"192.0.2.2\"; \
             remove spec.loadBalancerIP, or make it agree with xvip.io/addresses"
        );
        let pools = [
            ("xvip.io/pool", "front"),
            ("metallb.universe.tf/address-pool", "back"),
        ];
        assert!(refused(&pools, None).starts_with("xvip.io/pool says \"front\""));
    }

    #[test]
    fn a_bad_address_is_refused_with_field_value_and_fix() {
        for (text, why) in [
            ("web.example", "not an IP address"),
            ("192.0.2.1/24", "an address with a prefix length"),
            ("0.0.0.0", "asks for DHCP"),
            ("127.0.0.1", "loopback"),
            ("fe80::1", "link-local"),
            ("192.0.2.1,", "not an IP address"),
        ] {
            let said = refused(&[("metallb.io/loadBalancerIPs", text)], None);
            assert!(said.starts_with("metallb.io/loadBalancerIPs: "), "{said}");
            assert!(said.contains(why), "{said}");
        }
        let two = refused(&[("xvip.io/addresses", "192.0.2.1,192.0.2.2")], None);
        assert!(two.contains("more than one IPv4 address"), "{two}");
    }

    #[test]
    fn pool_and_share_key_are_read_in_our_words_and_in_metallbs() {
        for (pool, key) in POOL.iter().zip(SHARE_KEY) {
            let wish = asks(&[(pool, "front"), (key, "web")], None).unwrap();
            assert_eq!(wish.pool.as_deref(), Some("front"));
            assert_eq!(wish.share_key.as_deref(), Some("web"));
        }
    }

    #[test]
    fn interfaces_are_names_and_globs() {
        let wish = asks(&[("xvip.io/interfaces", "eth1, bond*")], None).unwrap();
        let names: Vec<_> = wish.interfaces.iter().map(Glob::as_str).collect();
        assert_eq!(names, ["eth1", "bond*"]);
        let wish = asks(&[("kube-vip.io/serviceInterface", "auto")], None).unwrap();
        assert!(wish.interfaces.is_empty());
        let said = refused(&[("xvip.io/interfaces", "eth0 eth1")], None);
        assert!(
            said.starts_with("xvip.io/interfaces: \"eth0 eth1\""),
            "{said}"
        );
    }

    #[test]
    fn a_service_is_ignored_by_our_annotation_and_by_kube_vips() {
        let ignored = |name: &str, value: &str| is_ignored(&[(name.into(), value.into())].into());
        assert!(ignored("xvip.io/ignore", "true"));
        assert!(ignored("kube-vip.io/ignore", "true"));
        assert!(!ignored("xvip.io/ignore", "false"));
        assert!(!ignored("other.example/ignore", "true"));
        assert!(refused(&[("xvip.io/ignore", "maybe")], None).contains("neither true nor false"));
    }
}
