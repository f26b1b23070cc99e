//! Configuration: raw to typed, every error at once.
//!
//! [`read`] takes the command line, the environment and the file as text, and returns a
//! [`Reading`]: what it means as far as it can be told, with every error and warning. Only a
//! reading without errors becomes a [`Config`] to run with. Nothing here asks the host;
//! [`refusal`] judges a VIP by what was observed of it.

pub mod address;
mod interfaces;
mod key;
mod kube_vip;
mod kubernetes;
mod prefix;
mod problem;
mod reader;
pub mod refusal;
mod source;
mod value;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    path::PathBuf,
};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Serialize;

pub use self::{
    interfaces::{Glob, GlobError, Interfaces, is_ignored},
    key::Key,
    kubernetes::{ControlPlane, Kubernetes, Services, written},
    prefix::{Bits, Note, PrefixError, PrefixPolicy, Resolved, Wanted},
    problem::{Invalid, Problem, Warning},
    reader::{Reading, read},
};
use crate::host::{Host, Link};

/// A configuration without errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of this node.
    pub node: String,
    /// Where VIPs live that name no interfaces themselves.
    pub interfaces: Interfaces,
    /// Prefix lengths of VIPs.
    pub prefix: PrefixPolicy,
    /// How programs are attached.
    pub attach: Attach,
    /// Whether VIPs are bound to their interface.
    pub bind: Bind,
    /// Interfaces that are left alone: no program is attached there.
    pub ignore_interfaces: Vec<Glob>,
    /// Announcements a second and interface.
    pub announce_rate: NonZeroU32,
    /// Who decides what this node owns.
    pub ownership: Ownership,
    /// The VIPs of static ownership.
    pub vips: Vec<VipSpec>,
    /// Where `/metrics` and the like are served.
    pub http: SocketAddr,
    /// Where `/metrics` is served besides, and nothing else.
    pub metrics: Option<SocketAddr>,
    /// The directory on bpffs.
    pub pin_dir: PathBuf,
    /// Whose addresses are taken over when they equal a VIP.
    pub adopt: Vec<Adopt>,
    /// In place of the kernel's boot id, for tests.
    pub boot_id: Option<String>,
    /// What SIGTERM does to the VIPs.
    pub on_exit: OnExit,
    /// What is logged, and how.
    pub log: Log,
}

/// A VIP of static ownership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipSpec {
    /// Its address.
    pub address: IpAddr,
    /// Its own interfaces, in the order of preference.
    pub interfaces: Option<Vec<Glob>>,
    /// Its own prefix lengths.
    pub prefix: Option<PrefixPolicy>,
}

/// How programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// Native XDP, else tc.
    #[default]
    Auto,
    /// XDP in the driver, or an error.
    Native,
    /// tc.
    Tc,
    /// XDP in the stack: slows all traffic of the interface.
    Generic,
}

/// Whether VIPs are bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bind {
    /// To the interface that they live on.
    #[default]
    Interface,
    /// Not at all: the kernel answers nothing that the programs leave.
    None,
}

/// Who decides what this node owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// This node owns what is listed.
    #[default]
    Static,
    /// The agents of the cluster, by sessions and claims.
    Kubernetes(Box<Kubernetes>),
}

/// Whose addresses are taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopt {
    /// Those with a host prefix that equal a VIP, as kube-vip binds them.
    KubeVip,
    /// None: MetalLB's speakers answer by themselves. In Kubernetes their VIPs wait for their end.
    MetalLb,
}

/// What SIGTERM does to the VIPs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExit {
    /// Fence, unbind, detach.
    #[default]
    Withdraw,
    /// The kernel goes on answering until the next start.
    Keep,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least level that is logged.
    pub level: LogLevel,
    /// Its form.
    pub format: LogFormat,
}

/// The least level that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Interfaces left alone by default: those of pods, containers and kube-proxy.
const IGNORED: [&str; 8] = [
    "cali*",
    "cilium*",
    "lxc*",
    "veth*",
    "cni*",
    "flannel*",
    "docker*",
    "kube-ipvs0",
];

const ANNOUNCE_RATE: NonZeroU32 = NonZeroU32::MIN.saturating_add(4_999);

impl Default for Config {
    fn default() -> Self {
        Self {
            node: String::new(),
            interfaces: Interfaces::default(),
            prefix: PrefixPolicy::default(),
            attach: Attach::default(),
            bind: Bind::default(),
            ignore_interfaces: IGNORED
                .iter()
                .filter_map(|name| Glob::new(name).ok())
                .collect(),
            announce_rate: ANNOUNCE_RATE,
            ownership: Ownership::default(),
            vips: Vec::new(),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 9470)),
            metrics: None,
            pin_dir: PathBuf::from("/sys/fs/bpf/xvip"),
            adopt: Vec::new(),
            boot_id: None,
            on_exit: OnExit::default(),
            log: Log::default(),
        }
    }
}

impl Config {
    /// The VIPs that the configuration itself names: those of static ownership, or those of the
    /// control plane.
    pub fn named(&self) -> Vec<VipSpec> {
        let control_plane = match &self.ownership {
            Ownership::Kubernetes(cluster) => cluster.control_plane.as_ref(),
            Ownership::Static => None,
        };
        let addresses = control_plane.map_or(&[][..], |plane| &plane.addresses);
        let of_control_plane = addresses.iter().map(|address| VipSpec {
            address: *address,
            interfaces: None,
            prefix: None,
        });
        self.vips.iter().cloned().chain(of_control_plane).collect()
    }

    /// The interfaces that a VIP may live on.
    pub fn interfaces_of(&self, vip: &VipSpec) -> Interfaces {
        match &vip.interfaces {
            Some(listed) => Interfaces::Listed(listed.clone()),
            None => self.interfaces.clone(),
        }
    }

    /// The links that a VIP may live on, in the order of preference.
    pub fn candidates<'h>(&self, vip: &VipSpec, host: &'h Host) -> Vec<&'h Link> {
        self.interfaces_of(vip)
            .candidates(vip.address, host, &self.ignore_interfaces)
    }

    /// The VIP as it is to be bound to `link`; none where `link` is none and the prefix depends
    /// on it.
    pub fn bound_on(&self, vip: &VipSpec, link: Option<&Link>) -> Resolved {
        let connected: Option<Vec<IpNet>> = link.map(connected);
        let policy = vip.prefix.as_ref().unwrap_or(&self.prefix);
        policy.resolve(vip.address, connected.as_deref())
    }
}

/// The addresses of a link with their prefixes, without those that we bound.
fn connected(link: &Link) -> Vec<IpNet> {
    link.addresses
        .iter()
        .filter(|address| !address.is_ours())
        .map(|address| address.net)
        .collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
