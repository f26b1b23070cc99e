//! What touches the system. A file here may import pure modules, never a sibling.

pub mod datapath;
pub mod lock;
