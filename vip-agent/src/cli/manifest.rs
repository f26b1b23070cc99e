//! `vip-agent manifest`: what `kubectl apply -f -` takes, and what the kubelet's folder takes.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Subcommand};

use crate::manifest::{self, ManifestError, NAMESPACE, StaticPod};

/// Readable by the nodes of a kubeadm cluster once it stands.
const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// From kubeadm 1.29 on, `admin.conf` may do nothing before the first `kubeadm init` is through.
const SUPER_ADMIN: &str = "/etc/kubernetes/super-admin.conf";

/// Arguments of `vip-agent manifest`.
#[derive(Args, Clone, Debug)]
pub struct ManifestArgs {
    #[command(subcommand)]
    pub what: What,
}

/// What is printed.
#[derive(Subcommand, Clone, Debug)]
pub enum What {
    /// The definitions of VipPool, Vip and VipClaims
    Crds,
    /// Namespace, service account, its permissions, the lane of its renewals, the lock of claims
    Rbac {
        #[command(flatten)]
        place: Place,
    },
    /// The agent on every node, with its ConfigMap
    #[command(name = "daemonset")]
    DaemonSet {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        image: Image,
        /// Leave control-plane nodes out: they run the agent as a static Pod
        #[arg(long)]
        beside_static_pods: bool,
        /// Leave the ConfigMap out: it is there already, as `vip-agent convert` wrote it
        #[arg(long)]
        without_config: bool,
    },
    /// What removes the leavings of the agents from every node, at the end of an installation
    Cleanup {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        image: Image,
    },
    /// The agent on a control-plane node, for /etc/kubernetes/manifests, with VIPs of the API
    /// server
    StaticPod(StaticPodArgs),
}

/// Where the agent lives.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The agent's namespace
    #[arg(long, value_name = "NAME", default_value = NAMESPACE)]
    pub namespace: String,
}

/// What it is started from.
#[derive(Args, Clone, Debug)]
pub struct Image {
    /// The agent's image
    #[arg(long, value_name = "IMAGE", default_value = concat!("vip-agent:v", env!("CARGO_PKG_VERSION")))]
    pub image: String,
}

/// Arguments of `vip-agent manifest static-pod`.
#[derive(Args, Clone, Debug)]
pub struct StaticPodArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    image: Image,
    /// VIPs of the API server, separated by commas
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',', required = true)]
    addresses: Vec<IpAddr>,
    /// Where the API server listens
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    port: u16,
    /// Interfaces or globs that VIPs live on [default: that of the default route]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    interfaces: Vec<String>,
    /// Credentials on the node [default: /etc/kubernetes/admin.conf]
    #[arg(long, value_name = "FILE", conflicts_with = "first_node")]
    kubeconfig: Option<PathBuf>,
    /// For the node of `kubeadm init`: super-admin.conf in place of admin.conf, which may do
    /// nothing yet; write the manifest again without this flag when the cluster stands
    #[arg(long)]
    first_node: bool,
}

/// The text to print.
pub fn run(arguments: &ManifestArgs) -> Result<String, ManifestError> {
    match &arguments.what {
        What::Crds => manifest::crds(),
        What::Rbac { place } => manifest::rbac(&place.namespace),
        What::DaemonSet {
            place,
            image,
            beside_static_pods,
            without_config,
        } => manifest::daemon_set(&place.namespace, &image.image, *beside_static_pods).map(|set| {
            if *without_config {
                set.without("ConfigMap")
            } else {
                set
            }
        }),
        What::Cleanup { place, image } => manifest::cleanup(&place.namespace, &image.image),
        What::StaticPod(of) => manifest::static_pod(&StaticPod {
            image: of.image.image.clone(),
            namespace: of.place.namespace.clone(),
            kubeconfig: of
                .kubeconfig
                .clone()
                .unwrap_or_else(|| PathBuf::from(if of.first_node { SUPER_ADMIN } else { ADMIN })),
            addresses: of.addresses.clone(),
            port: of.port,
            interfaces: of.interfaces.clone(),
        }),
    }?
    .to_yaml()
}
