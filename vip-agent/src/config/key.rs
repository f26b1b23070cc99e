//! The keys of the configuration, and the names they go by in the file, the environment and on
//! the command line.

use std::fmt;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Node,
    Interfaces,
    Prefix,
    Attach,
    Bind,
    IgnoreInterfaces,
    AnnounceRate,
    Ownership,
    Vips,
    Http,
    Metrics,
    PinDir,
    Adopt,
    BootId,
    OnExit,
    LogLevel,
    LogFormat,
    Kubeconfig,
    Namespace,
    LeaseDuration,
    LeaseRenew,
    LeaseHold,
    LeaseMaxAnnouncers,
    OnApiLoss,
    ServicesLoadBalancerClasses,
    ServicesDefault,
    ServicesNamespaces,
    ControlPlaneAddresses,
    ControlPlanePort,
}

impl Key {
    /// All keys.
    pub const ALL: [Self; 29] = [
        Self::Node,
        Self::Interfaces,
        Self::Prefix,
        Self::Attach,
        Self::Bind,
        Self::IgnoreInterfaces,
        Self::AnnounceRate,
        Self::Ownership,
        Self::Vips,
        Self::Http,
        Self::Metrics,
        Self::PinDir,
        Self::Adopt,
        Self::BootId,
        Self::OnExit,
        Self::LogLevel,
        Self::LogFormat,
        Self::Kubeconfig,
        Self::Namespace,
        Self::LeaseDuration,
        Self::LeaseRenew,
        Self::LeaseHold,
        Self::LeaseMaxAnnouncers,
        Self::OnApiLoss,
        Self::ServicesLoadBalancerClasses,
        Self::ServicesDefault,
        Self::ServicesNamespaces,
        Self::ControlPlaneAddresses,
        Self::ControlPlanePort,
    ];

    /// Those that take effect with `ownership: kubernetes` alone.
    pub const OF_KUBERNETES: [Self; 12] = [
        Self::Kubeconfig,
        Self::Namespace,
        Self::LeaseDuration,
        Self::LeaseRenew,
        Self::LeaseHold,
        Self::LeaseMaxAnnouncers,
        Self::OnApiLoss,
        Self::ServicesLoadBalancerClasses,
        Self::ServicesDefault,
        Self::ServicesNamespaces,
        Self::ControlPlaneAddresses,
        Self::ControlPlanePort,
    ];

    /// Its path in the file.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Interfaces => "interfaces",
            Self::Prefix => "prefix",
            Self::Attach => "attach",
            Self::Bind => "bind",
            Self::IgnoreInterfaces => "ignoreInterfaces",
            Self::AnnounceRate => "announceRate",
            Self::Ownership => "ownership",
            Self::Vips => "vips",
            Self::Http => "http",
            Self::Metrics => "metrics",
            Self::PinDir => "pinDir",
            Self::Adopt => "adopt",
            Self::BootId => "bootId",
            Self::OnExit => "onExit",
            Self::LogLevel => "log.level",
            Self::LogFormat => "log.format",
            Self::Kubeconfig => "kubeconfig",
            Self::Namespace => "namespace",
            Self::LeaseDuration => "lease.duration",
            Self::LeaseRenew => "lease.renew",
            Self::LeaseHold => "lease.hold",
            Self::LeaseMaxAnnouncers => "lease.maxAnnouncers",
            Self::OnApiLoss => "onApiLoss",
            Self::ServicesLoadBalancerClasses => "services.loadBalancerClasses",
            Self::ServicesDefault => "services.default",
            Self::ServicesNamespaces => "services.namespaces",
            Self::ControlPlaneAddresses => "controlPlane.addresses",
            Self::ControlPlanePort => "controlPlane.port",
        }
    }

    /// Its flag: `--announce-rate`.
    pub fn flag(self) -> String {
        format!("--{}", self.words('-'))
    }

    /// Its environment variable: `XVIP_ANNOUNCE_RATE`.
    pub fn variable(self) -> String {
        format!("XVIP_{}", self.words('_').to_ascii_uppercase())
    }

    fn words(self, separator: char) -> String {
        let mut words = String::new();
        for c in self.path().chars() {
            if c == '.' {
                words.push(separator);
            } else {
                if c.is_ascii_uppercase() {
                    words.push(separator);
                }
                words.push(c.to_ascii_lowercase());
            }
        }
        words
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

/// The known name that was probably meant.
pub(super) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = plain(name);
    known
        .into_iter()
        .map(|known| (distance(&name, &plain(known)), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 5)
        .min()
        .map(|(_, known)| known)
}

/// `pin_dir`, `pin-dir` and `PINDIR` all mean `pinDir`.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-' | '.'))
        .map(|c| c.to_ascii_lowercase())
        .take(64)
        .collect()
}

/// Insertions, deletions and substitutions that make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_name_per_source() {
        assert_eq!(Key::AnnounceRate.variable(), "XVIP_ANNOUNCE_RATE");
        assert_eq!(Key::PinDir.flag(), "--pin-dir");
        assert_eq!(Key::LogLevel.variable(), "XVIP_LOG_LEVEL");
        assert_eq!(Key::Prefix.variable(), "XVIP_PREFIX");
    }

    #[test]
    fn a_misspelt_key_finds_the_one_that_was_meant() {
        let known = || Key::ALL.map(Key::path);
        for (wrong, meant) in [
            ("interface", Some("interfaces")),
            ("pin_dir", Some("pinDir")),
            ("prefx", Some("prefix")),
            ("anounceRate", Some("announceRate")),
            ("vip", Some("vips")),
            ("", None),
            ("somethingElse", None),
        ] {
            assert_eq!(closest(wrong, known()), meant, "{wrong}");
        }
    }
}
