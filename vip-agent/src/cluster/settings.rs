//! Which Services are ours to serve.

use std::collections::BTreeSet;

/// `services` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Load balancer classes that are served.
    pub classes: BTreeSet<String>,
    /// Services without a class are served too.
    pub default: bool,
    /// Namespaces whose Services are served; none: all.
    pub namespaces: BTreeSet<String>,
    /// Free addresses of each pool and family that are probed before anybody wants them.
    pub probe_ahead: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            classes: ["xvip.io/vip".to_owned()].into(),
            default: true,
            namespaces: BTreeSet::new(),
            probe_ahead: 8,
        }
    }
}
