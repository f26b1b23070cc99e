//! Who may use what.

use std::path::{Component, Path};

use super::paths::What;

/// A file's place in the house.
#[derive(Debug)]
pub(super) struct Place {
    crate_name: String,
    /// Names from the crate's `src` down: `io`, `netlink`, `monitor`. Empty for the crate's root.
    module: Vec<String>,
    /// All names of the file's way, for [`Self::refused_name`].
    names: Vec<String>,
    layer: Layer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Layer {
    /// `vip-common`; whether the file is the map layout.
    Shared {
        abi: bool,
    },
    Kernel,
    /// A pure module of the agent, or of `vip-ownership`, which has no other.
    Pure,
    /// A file of the agent's `io` folder and the module below `io` that it belongs to.
    Io(Option<String>),
    /// What joins the agent's modules.
    Shell,
    Tool,
    /// Test code, which imports what its crate may.
    Tests,
}

/// Crates that a pure module of the agent does without: runtimes, the API server, the kernel.
const IMPURE: [&str; 8] = [
    "tokio",
    "kube",
    "aya",
    "aya_log",
    "rtnetlink",
    "netlink_proto",
    "netlink_sys",
    "socket2",
];
/// The crates of this workspace.
const OURS: [&str; 7] = [
    "vip_common",
    "vip_ebpf",
    "vip_ownership",
    "vip_agent",
    "xtask",
    "ownership_sim",
    "tests",
];
/// Crates that lie in the directory of another.
const WITHIN: [(&str, &str); 2] = [
    ("vip-agent/ownership", "vip-ownership"),
    ("tests/ownership-sim", "ownership-sim"),
];
/// The agent's modules above the pure ones.
const SHELL: [&str; 3] = ["driver", "cli", "main"];
/// Types with a `now` that reads a clock.
const CLOCKS: [&str; 4] = ["Instant", "SystemTime", "Timestamp", "Zoned"];
const NAMES: [&str; 5] = ["utils", "util", "helpers", "helper", "common"];

impl Place {
    /// `file` is relative to the repository's root.
    pub(super) fn of(file: &Path) -> Self {
        let names: Vec<String> = file
            .with_extension("")
            .components()
            .filter_map(|component| match component {
                Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect();
        let within = WITHIN.iter().find(|(dir, _)| file.starts_with(dir));
        let (crate_name, rest) = match (names.split_first(), within) {
            (Some((_, rest)), Some((_, inner))) => ((*inner).to_owned(), rest[1..].to_vec()),
            (Some((first, rest)), None) => (first.clone(), rest.to_vec()),
            (None, _) => (String::new(), Vec::new()),
        };
        let mut module: Vec<String> = match rest.split_first() {
            Some((src, module)) if src == "src" => module.to_vec(),
            _ => Vec::new(),
        };
        let is_root = module.len() == 1 && (module[0] == "lib" || module[0] == "main");
        let is_bin = module.first().is_some_and(|first| first == "bin");
        // Integration tests, examples, build scripts, and unit tests in a file of their own.
        let beside =
            rest.first().is_none_or(|src| src != "src") || module.iter().any(|m| m == "tests");
        let layer = match (crate_name.as_str(), module.first().map(String::as_str)) {
            _ if beside => Layer::Tests,
            ("vip-common", first) => Layer::Shared {
                abi: first == Some("abi"),
            },
            ("vip-ebpf", _) => Layer::Kernel,
            ("vip-ownership", _) => Layer::Pure,
            ("vip-agent", Some(first)) if is_root || is_bin || SHELL.contains(&first) => {
                Layer::Shell
            }
            ("vip-agent", Some("io")) => Layer::Io(module.get(1).filter(|m| *m != "mod").cloned()),
            ("vip-agent", Some(_)) => Layer::Pure,
            ("xtask", _) => Layer::Tool,
            _ => Layer::Tests,
        };
        if is_root || is_bin {
            module.clear();
        } else if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        Self {
            crate_name,
            module,
            names: rest,
            layer,
        }
    }

    /// The module's path within its crate.
    pub(super) fn module(&self) -> Vec<String> {
        self.module.clone()
    }

    /// The name on the file's way that says nothing of what is in it.
    pub(super) fn refused_name(&self) -> Option<&str> {
        let mut names = self.names.iter().map(String::as_str);
        names.find(|name| NAMES.contains(name))
    }

    /// Why this place may not use `what`.
    pub(super) fn refuses(&self, what: &What) -> Option<String> {
        let path = match what {
            What::Path(path) => path.iter().map(String::as_str).collect::<Vec<_>>(),
            What::Unsafe if self.layer == (Layer::Shared { abi: false }) => {
                return Some("`unsafe` in vip-common stands in abi.rs alone".into());
            }
            What::Unsafe => return None,
        };
        let first = *path.first()?;
        if let Some(why) = self.refuses_crate(first) {
            return Some(why);
        }
        match &self.layer {
            // The derive of the API's types alone (ADR 14).
            Layer::Pure
                if self.module.first().is_some_and(|first| first == "api") && first == "kube" =>
            {
                None
            }
            Layer::Pure => pure(&path),
            Layer::Io(own) => io(own.as_deref(), &path),
            _ => None,
        }
    }

    fn refuses_crate(&self, first: &str) -> Option<String> {
        let allowed: &[&str] = match self.layer {
            Layer::Shared { .. } | Layer::Tool => &[],
            Layer::Kernel => &["vip_common"],
            // Below the agent.
            Layer::Pure if self.crate_name == "vip-ownership" => &["vip_common"],
            Layer::Pure | Layer::Io(_) | Layer::Shell => &["vip_common", "vip_ownership"],
            Layer::Tests if self.crate_name == "ownership-sim" => &["vip_common", "vip_ownership"],
            Layer::Tests => &[
                "vip_common",
                "vip_ownership",
                "vip_agent",
                "ownership_sim",
                "tests",
            ],
        };
        let own = self.crate_name.replace('-', "_");
        if OURS.contains(&first) && first != own && !allowed.contains(&first) {
            return Some(format!("{} may not import {first}", self.crate_name));
        }
        if matches!(self.layer, Layer::Shared { .. }) && ["std", "alloc"].contains(&first) {
            return Some(format!("vip-common runs in the kernel: no `{first}`"));
        }
        None
    }
}

fn pure(path: &[&str]) -> Option<String> {
    let shown = path.join("::");
    match path {
        [first, ..] if IMPURE.contains(first) => {
            Some(format!("a pure module does without `{first}`: {shown}"))
        }
        ["crate" | "vip_agent", first, ..] if *first == "io" || SHELL.contains(first) => {
            Some(format!("a pure module imports no io and no shell: {shown}"))
        }
        [.., clock, "now"] if CLOCKS.contains(clock) => {
            Some(format!("time is an argument of a pure module: {shown}"))
        }
        ["std", "time", "SystemTime", ..] => {
            Some(format!("time is an argument of a pure module: {shown}"))
        }
        _ => None,
    }
}

fn io(own: Option<&str>, path: &[&str]) -> Option<String> {
    let shown = path.join("::");
    match path {
        ["crate" | "vip_agent", "io", sibling, ..] if own.is_some_and(|own| own != *sibling) => {
            Some(format!("an io module imports no sibling: {shown}"))
        }
        ["crate" | "vip_agent", first, ..] if SHELL.contains(first) => {
            Some(format!("an io module imports no shell: {shown}"))
        }
        _ => None,
    }
}
