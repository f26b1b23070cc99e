//! Names of interfaces, as listed or matched, and the links behind them.

use std::{fmt, net::IpAddr};

use crate::host::{Host, Link};

/// Longest name of an interface in bytes (`IFNAMSIZ` less the final zero).
const LONGEST_NAME: usize = 15;

/// A name of interfaces in which `*` stands for any characters and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

/// A name that no interface can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    #[error("an interface needs a name")]
    Empty,
    #[error("the kernel allows no slash, colon or space in an interface's name")]
    Character,
    #[error("the kernel allows 15 bytes for an interface's name")]
    TooLong,
}

impl Glob {
    /// Refuses what the kernel (`dev_valid_name`) refuses as a name.
    pub fn new(text: &str) -> Result<Self, GlobError> {
        let glob = Self(text.to_owned());
        if text.is_empty() {
            Err(GlobError::Empty)
        } else if text
            .chars()
            .any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
        {
            Err(GlobError::Character)
        } else if glob.is_literal() && text.len() > LONGEST_NAME {
            Err(GlobError::TooLong)
        } else {
            Ok(glob)
        }
    }

    /// The text, as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// It names one interface.
    pub fn is_literal(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// Whether `name` is meant. Linear in practice: only the latest `*` is ever tried again.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut read) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while read < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at + 1, read));
                    at += 1;
                }
                Some(byte) if *byte == b'?' || *byte == name[read] => {
                    at += 1;
                    read += 1;
                }
                _ => match star.as_mut() {
                    Some((after, from)) => {
                        *from += 1;
                        (at, read) = (*after, *from);
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The interfaces that VIPs may live on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Interfaces {
    /// That of the default route.
    #[default]
    DefaultRoute,
    /// Those of these names, in the order of preference. Never empty.
    Listed(Vec<Glob>),
}

impl Interfaces {
    /// The links meant, in the order of preference. A listed name is taken even where `ignored`
    /// names it, a glob is not: `*` does not mean the veths of pods.
    pub fn candidates<'h>(&self, vip: IpAddr, host: &'h Host, ignored: &[Glob]) -> Vec<&'h Link> {
        let globs = match self {
            Self::DefaultRoute => return default_link(vip, host).into_iter().collect(),
            Self::Listed(globs) => globs,
        };
        let mut found: Vec<&Link> = Vec::new();
        for glob in globs {
            for link in host.links.values() {
                let meant = glob.matches(&link.name)
                    && (glob.is_literal() || !is_ignored(&link.name, ignored));
                if meant && !found.iter().any(|other| other.ifindex == link.ifindex) {
                    found.push(link);
                }
            }
        }
        found
    }
}

/// Whether `ignoreInterfaces` names it.
pub fn is_ignored(name: &str, ignored: &[Glob]) -> bool {
    ignored.iter().any(|glob| glob.matches(name))
}

/// The interface of the default route: of the VIP's family, else of the other.
fn default_link(vip: IpAddr, host: &Host) -> Option<&Link> {
    host.default_routes
        .iter()
        .min_by_key(|route| {
            let other_family = route
                .gateway
                .is_some_and(|gateway| gateway.is_ipv4() != vip.is_ipv4());
            (other_family, route.metric)
        })
        .and_then(|route| host.links.get(&route.ifindex))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::DefaultRoute;

    fn glob(text: &str) -> Glob {
        Glob::new(text).unwrap()
    }

    fn host(names: &[&str]) -> Host {
        let links = (1..).zip(names).map(|(ifindex, name)| {
            let link = Link {
                ifindex,
                name: (*name).to_owned(),
                ..Link::default()
            };
            (ifindex, link)
        });
        Host {
            links: links.collect(),
            ..Host::default()
        }
    }

    fn names(links: &[&Link]) -> Vec<String> {
        links.iter().map(|link| link.name.clone()).collect()
    }

    #[test]
    fn stars_and_question_marks_match() {
        for (pattern, name, expected) in [
            ("eth0", "eth0", true),
            ("eth0", "eth01", false),
            ("eth*", "eth0", true),
            ("eth*", "eth", true),
            ("*", "anything", true),
            ("e?h0", "eth0", true),
            ("e?h0", "eh0", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbx", false),
            ("**0", "eth0", true),
            ("cali*", "ecali0", false),
        ] {
            assert_eq!(glob(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn names_that_the_kernel_refuses_are_refused() {
        for text in ["", "a b", "a/b", "eth0:1", "sixteen-letters0"] {
            assert!(Glob::new(text).is_err(), "{text:?}");
        }
        assert!(Glob::new("fifteen-letter*").is_ok());
    }

    #[test]
    fn the_order_of_the_list_is_the_order_of_preference() {
        let host = host(&["eth0", "eth1", "veth7", "bond0"]);
        let listed = |globs: &[&str]| Interfaces::Listed(globs.iter().map(|g| glob(g)).collect());
        let vip = "192.0.2.1".parse().unwrap();
        let ignored = [glob("veth*")];
        let found = |globs| names(&listed(globs).candidates(vip, &host, &ignored));
        assert_eq!(found(&["bond0", "eth*"]), ["bond0", "eth0", "eth1"]);
        assert_eq!(found(&["*"]), ["eth0", "eth1", "bond0"]);
        assert_eq!(found(&["veth7", "eth0"]), ["veth7", "eth0"]);
        assert!(found(&["wlan0"]).is_empty());
    }

    #[test]
    fn the_default_route_of_the_same_family_is_taken_first() {
        let mut host = host(&["eth0", "eth1", "eth2"]);
        let route = |gateway: &str, ifindex, metric| DefaultRoute {
            gateway: Some(gateway.parse().unwrap()),
            ifindex,
            metric,
        };
        host.default_routes = vec![
            route("192.0.2.1", 1, 200),
            route("192.0.2.1", 2, 100),
            route("fe80::1", 3, 50),
        ];
        let of = |vip: &str| {
            names(&Interfaces::DefaultRoute.candidates(vip.parse().unwrap(), &host, &[]))
        };
        assert_eq!(of("192.0.2.9"), ["eth1"]);
        assert_eq!(of("2001:db8::9"), ["eth2"]);
        host.default_routes.truncate(2);
        let found = Interfaces::DefaultRoute.candidates("2001:db8::9".parse().unwrap(), &host, &[]);
        assert_eq!(names(&found), ["eth1"]);
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in "[*?a]{1,8}", name in "\\PC{0,8}") {
            let _ = glob(&pattern).matches(&name);
            prop_assert!(glob("*").matches(&name));
            prop_assert_eq!(glob(&pattern).matches(&pattern), true);
        }
    }
}
