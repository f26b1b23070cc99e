//! A real Kubernetes API with network namespaces as nodes, up in seconds.
//!
//! ```text
//!   control plane: kube-apiserver, etcd
//!     bridge br0 198.51.100.1/24         (management: the API, cut per node)
//!     |        |        |
//!    mgmt0    mgmt0    mgmt0             198.51.100.11 ...
//!   node-1   node-2   node-3             an agent each, with its own boot id and pins
//!    eth0     eth0     eth0              192.0.2.11 ..., 2001:db8::11 ...
//!     |        |        |
//!     bridge br0 192.0.2.254/24, 2001:db8::fe/64   (the LAN and its gateway, cut per node)
//!                  |
//!                 lan0 192.0.2.2, 2001:db8::2      the client, where observers ask
//! ```
//!
//! A [`Stacked`] bed has one more API server on each node, before the same etcd, and agents that are
//! static pods in all but the kubelet.
//!
//! No controllers run: tests write Services, EndpointSlices and Node conditions themselves.
//! A cut takes a port from its bridge: the node keeps its carrier, and hears nothing.

mod audit;
mod bed;
mod bridge;
mod control_plane;
mod daemon;
mod expect;
mod flood;
mod kubectl;
mod node;
mod objects;
mod quiet;
mod serving;
mod shared;
mod stacked;

pub use audit::Call;
pub use bed::Bed;
pub(crate) use bed::{lan, manifest, plug};
pub use bridge::Bridge;
pub use control_plane::{ControlPlane, PORT, User};
pub(crate) use control_plane::{binary, line};
pub use daemon::Daemon;
pub use flood::Flood;
pub(crate) use kubectl::kubectl;
pub use node::{Node, Seat};
pub use objects::{Backend, endpoint_slice, load_balancer};
pub use quiet::quiet;
pub use serving::{Times, VIPS};
pub use shared::SharedBed;
pub use stacked::{ROLE, Stacked};

/// The agent's namespace.
pub const NAMESPACE: &str = "xvip-system";
/// The class of Services that are ours.
pub const CLASS: &str = "xvip.io/vip";
