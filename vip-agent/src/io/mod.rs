//! What touches the system. A file here may import pure modules, never a sibling.

pub mod datapath;
pub mod http;
pub mod kube;
pub mod listener;
pub mod lock;
pub mod memory;
pub mod netlink;
pub mod offload;
pub mod packet_socket;
pub mod proxy_health;
