//! Values of keys: from text or YAML to types.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use serde_json::Value;

use super::{
    Adopt, Glob, Interfaces, PrefixError, PrefixPolicy, Problem, VipSpec, Wanted, address,
    source::{Form, Given},
};

pub(super) fn interfaces(globs: Vec<Glob>) -> Interfaces {
    if globs.is_empty() {
        Interfaces::DefaultRoute
    } else {
        Interfaces::Listed(globs)
    }
}

pub(super) fn globs(given: &Given<'_>, problems: &mut Vec<Problem>) -> Option<Vec<Glob>> {
    let example = "[eth0]";
    let elements = collected(given.list(example), problems)?;
    let one = |element: &Given<'_>| {
        let text = element.string("eth0")?;
        Glob::new(text).map_err(|error| {
            element.problem(
                error.to_string(),
                "write a name as `ip link` shows it, or a glob such as eth*",
            )
        })
    };
    Some(all(&elements, problems, one))
}

pub(super) fn prefix(given: &Given<'_>, problems: &mut Vec<Problem>) -> Option<PrefixPolicy> {
    let text = match given.form {
        Form::Yaml(Value::Object(_)) => {
            let example = "{ipv4: 32, ipv6: 128}";
            let [ipv4, ipv6] = given.mapping(["ipv4", "ipv6"], example, problems);
            return Some(PrefixPolicy {
                ipv4: family(ipv4, PrefixPolicy::ipv4, problems),
                ipv6: family(ipv6, PrefixPolicy::ipv6, problems),
            });
        }
        Form::Text(_) | Form::Seconds(_) | Form::Yaml(Value::Number(_) | Value::String(_)) => {
            given.shown()
        }
        Form::Yaml(_) => {
            problems.push(given.problem(
                "a prefix length, two, or a mapping belongs here",
                "write \"32,128\", 32, 128, auto, or {ipv4: 32, ipv6: 128}",
            ));
            return None;
        }
    };
    PrefixPolicy::parse(&text)
        .map_err(|errors| {
            let report = |error: &PrefixError| given.problem(error.to_string(), error.fix());
            problems.extend(errors.iter().map(report));
        })
        .ok()
}

/// One family of the mapping; a missing one gets its host prefix.
fn family<const MAX: u8>(
    part: Option<Given<'_>>,
    parse: fn(&str) -> Result<Wanted<MAX>, PrefixError>,
    problems: &mut Vec<Problem>,
) -> Wanted<MAX> {
    let Some(part) = part else {
        return Wanted::Host;
    };
    let wanted = match part.form {
        Form::Yaml(Value::Number(_) | Value::String(_)) => {
            parse(&part.shown()).map_err(|error| part.problem(error.to_string(), error.fix()))
        }
        _ => Err(part.problem("a prefix length belongs here", "write a number, or auto")),
    };
    collected(wanted, problems).unwrap_or_default()
}

/// The VIPs, each usable with its prefix as far as that is known without the host.
pub(super) fn vips(
    given: &Given<'_>,
    prefix: PrefixPolicy,
    problems: &mut Vec<Problem>,
) -> Option<Vec<VipSpec>> {
    let example = "a list of mappings: `- address: 192.0.2.100`";
    let elements = collected(given.list(example), problems)?;
    let mut seen = HashMap::new();
    let mut specs = Vec::with_capacity(elements.len());
    for element in elements {
        let (place, interfaces) = match element.form {
            Form::Text(_) | Form::Seconds(_) => (Some(element), None),
            Form::Yaml(_) => {
                let example = "`address: 192.0.2.100`";
                let before = problems.len();
                let [place, interfaces] =
                    element.mapping(["address", "interfaces"], example, problems);
                if place.is_none() && problems.len() == before {
                    problems.push(
                        element.problem("a VIP needs an address", format!("write {example}")),
                    );
                }
                (place, interfaces.and_then(|given| globs(&given, problems)))
            }
        };
        let address = place.map(|place| vip(&place, prefix, &mut seen));
        if let Some(address) = address.and_then(|address| collected(address, problems)) {
            specs.push(VipSpec {
                address,
                interfaces: interfaces.filter(|listed| !listed.is_empty()),
                prefix: None,
            });
        }
    }
    Some(specs)
}

/// The address of a VIP, usable with its prefix as far as that is known without the host, and
/// not among `seen`: addresses and where they stand.
pub(super) fn vip(
    given: &Given<'_>,
    prefix: PrefixPolicy,
    seen: &mut HashMap<IpAddr, String>,
) -> Result<IpAddr, Problem> {
    let address = address::parse(given)?;
    let reserved = prefix
        .fixed(address)
        .and_then(|bound| Some((bound, address::reserved_in(address, bound)?)));
    if let Some((bound, reason)) = reserved {
        return Err(given.problem(
            format!("with its prefix, {bound}, it is {reason}"),
            "choose another address of the subnet, or another `prefix`",
        ));
    }
    if let Some(first) = seen.get(&address) {
        return Err(given.problem(format!("listed twice: {first} has it too"), "remove one"));
    }
    seen.insert(address, given.field.clone());
    Ok(address)
}

pub(super) fn http(given: &Given<'_>) -> Result<SocketAddr, Problem> {
    let example = "an address and a port, as in 127.0.0.1:9470 or \"[::]:9470\"";
    let text = given.string(example)?;
    // As kube-vip writes it (Go's net.Listen): every address of the host.
    let all = text
        .strip_prefix(':')
        .and_then(|port| port.parse().ok())
        .map(|port: u16| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    match all {
        Some(all) => Ok(all),
        None => given.parsed("not an address with a port", example),
    }
}

/// As [`http`], with an address of either family in brackets: Kubernetes gives a Pod the node's
/// address without them (`[$(HOST_IP)]:9470`). An empty text is none.
pub(super) fn metrics(given: &Given<'_>) -> Result<Option<SocketAddr>, Problem> {
    let text = given.string("192.0.2.11:9470")?;
    if text.is_empty() {
        return Ok(None);
    }
    let bracketed = || {
        let (address, port) = text.strip_prefix('[')?.split_once("]:")?;
        let address: Ipv4Addr = address.parse().ok()?;
        Some(SocketAddr::from((address, port.parse().ok()?)))
    };
    bracketed().map_or_else(|| http(given), Ok).map(Some)
}

pub(super) fn pin_dir(given: &Given<'_>) -> Result<PathBuf, Problem> {
    let example = "/sys/fs/bpf/xvip";
    let path = PathBuf::from(given.string(example)?);
    if path.is_absolute() && !path.components().any(|part| part.as_os_str() == "..") {
        Ok(path)
    } else {
        Err(given.problem(
            "not an absolute path without `..`",
            format!("write a directory on bpffs, as in {example}"),
        ))
    }
}

pub(super) fn adopt(given: &Given<'_>, problems: &mut Vec<Problem>) -> Option<Vec<Adopt>> {
    let elements = collected(given.list("[kube-vip] or [metallb]"), problems)?;
    let mut adopt = all(&elements, problems, |element| {
        element.word(&[("kube-vip", Adopt::KubeVip), ("metallb", Adopt::MetalLb)])
    });
    adopt.dedup();
    Some(adopt)
}

pub(super) fn collected<T>(result: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

/// Those that can be read; the others are problems.
pub(super) fn all<'a, T>(
    elements: &[Given<'a>],
    problems: &mut Vec<Problem>,
    read: impl Fn(&Given<'a>) -> Result<T, Problem>,
) -> Vec<T> {
    elements
        .iter()
        .filter_map(|element| collected(read(element), problems))
        .collect()
}
