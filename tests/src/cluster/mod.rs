//! A real cluster of three nodes on this machine, up in some twelve seconds.
//!
//! ```text
//!   control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler
//!     bridge br0 198.51.100.1/24                 (management: the API)
//!     |        |        |
//!    mgmt0    mgmt0    mgmt0
//!   node-1   node-2   node-3    kubelet, containerd, runc, kube-proxy (nftables, iptables, nftables)
//!    eth0     eth0     eth0     192.0.2.11 ..., 2001:db8::11 ...
//!     |        |        |       pods 10.244.1.0/24 ..., fd44:0:0:1::/64 ... on cni0 of each node
//!     bridge br0 192.0.2.254/24, 2001:db8::fe/64 (the LAN and its gateway)
//!                  |
//!                 lan0 192.0.2.2, 2001:db8::2    the client: asks who has a VIP, and fetches pages
//! ```
//!
//! A node has network, mounts, processes, host name and IPC of its own, and a subtree of the
//! machine's cgroups. Its state is in memory: what it wrote is gone with its mounts. Whatever
//! becomes of the process that started the cluster, nothing of it stays: each node ends with a pipe
//! from that process, and so does the [`subtree::Undertaker`], which then removes cgroups and files.
//!
//! A [`Kubeadm`] bed has the same nodes without that control plane: kubeadm makes one on them.
//!
//! Shared by all nodes are the kernel, its log, and the ids of BPF objects.

mod bed;
mod client;
mod continuity;
mod ipvs;
mod kube_vip;
mod kubeadm;
mod machine;
mod metallb;
mod node;
mod settings;
mod site;
mod subtree;
mod workload;

pub use bed::Cluster;
pub use client::{Fetch, Fetching, NoPage};
pub use continuity::without_a_failed_request;
pub use kube_vip::{KUBE_VIP, KubeVip};
pub use kubeadm::{Kubeadm, Role};
pub use metallb::MetalLb;
pub use node::{ProxyMode, RealNode};
pub use workload::{AGENT, IMAGE, page, page_service};

/// Nodes of the cluster.
pub const NODES: usize = 3;
