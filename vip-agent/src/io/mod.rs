//! What touches the system. A file here may import pure modules, never a sibling.

pub mod datapath;
pub mod http;
pub mod lock;
pub mod netlink;
pub mod offload;
pub mod packet_socket;
