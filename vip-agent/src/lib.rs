//! xvip's agent as a library: pure modules, an `io` folder, and the driver that joins them.

pub mod attachment;
pub mod config;
pub mod host;
pub mod io;
pub mod vip;
