//! What touches the system. A file here may import pure modules, never a sibling.

pub mod netlink;
pub mod http;
pub mod packet_socket;
pub mod datapath;
pub mod lock;
